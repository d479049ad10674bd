/* What a gateway would make of a request, and why, without making it: its own kernels (kernels.h)
 * on a provisioner that starts nothing, so that whatever refuses a start refuses here. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

struct auth_identity;
struct kernelspecs;
struct settings;

struct explain_request {
    const char *name, *path; /* as a POST has them, or NULL */
    const json_t *env;
    const struct auth_identity *identity; /* of who asks */
};

struct explanation {
    bool is_allowed;
    struct error refusal; /* what the client would be told */
    char *kernelspec;     /* the name that counts; NULL when it was refused before */
    json_t *pod;          /* what would be made, secrets masked; NULL: a process, or nothing */
    json_t *launch;       /* a process: {"argv", "cwd", "env"}, secrets masked */
    json_t *fields;       /* array of {"field", "value", "said_by", "allowed_by"} */
};

/* -1: the settings themselves cannot be used. */
int explain(struct settings *settings, struct kernelspecs *specs,
            const struct explain_request *request, struct explanation *ret, struct error *err);
void explain_free(struct explanation *explanation);
