/* What a gateway asks of its spawner (spawner.h), as it goes over their socket: a head with the
 * descriptors, then the body, texts that each end with a NUL: arguments, then environment. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SPAWNER_BODY_MAX = 8 << 20 };

enum spawner_wish {
    SPAWNER_NAME_LAUNCHER, /* the one argument is its path */
    SPAWNER_START_LAUNCHER,
    SPAWNER_START_GATEWAY,
};

struct spawner_head {
    uint32_t wish, body_size, argument_count, environment_count;
    /* has_output: the first descriptor becomes 1 and 2, and 0 is /dev/null. */
    uint32_t is_apart, has_output;
};

/* The arguments, NULL, the environment, NULL: pointers into the body, which has body_size bytes, in
 * an array to be freed. NULL: these are not the texts that the head counts. */
char **spawner_request_texts(const struct spawner_head *head, char *body);
