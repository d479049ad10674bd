/* The members of one kernel.json, looked at one by one; each mistake is told with its line. */
#pragma once

#include "kernelspecs/json_place.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { SPEC_CHECK_STEPS_MAX = 4 };

struct spec_check {
    const char *file;
    const char *text;
    size_t length;
    json_t *problems;         /* as kernelspecs_problems has it */
    size_t count;             /* of those that make it unusable */
    bool has_foreign_starter; /* somebody else's provisioner, which may do without argv */
    struct json_step steps[SPEC_CHECK_STEPS_MAX]; /* to the member that is looked at */
    size_t depth;
};

/* One step down: key of an object's member, or NULL and an array's index. Up is depth--. */
void spec_check_push(struct spec_check *check, const char *key, size_t index);
/* About the member that is looked at. The kernelspec cannot be used. */
void spec_complain(struct spec_check *check, const char *problem);
/* The same, but it can. */
void spec_warn(struct spec_check *check, const char *problem);
/* Is it an array of texts that begins with a program? */
void spec_check_command(struct spec_check *check, const json_t *value);

/* metadata.elara, which this gateway alone reads; value may be NULL. */
void spec_elara_check(struct spec_check *check, const json_t *value);
/* metadata.elara.image and .resources are short for variables of env: adds those that env lacks. */
void spec_elara_spread(json_t *kernel_json);
