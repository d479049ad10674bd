/* The administrator's policy of culling: the settings, what they are for one kernel (overrides by
 * user and kernelspec, its own timeout), and how they are checked. docs/culling.md. */
#pragma once

#include "base/error.h"
#include "culler/culler.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Settings of the group "Culling" (gateway/settings_table.c); durations in ms, 0: off. */
struct culling_settings {
    int64_t idle_ms;
    int64_t interval_ms; /* as it was given: culling_interval_ms */
    bool connected;
    int64_t idle_connected_ms, stalled_ms, detached_ms, unattached_ms, age_ms;
    int64_t warn_ms;
    int64_t own_max_ms; /* of the timeouts that kernels ask for themselves, and of keep; 0: none */
    json_t *overrides;  /* {"owners": {pattern: {...}}, "specs": {...}} or NULL */
    bool notice;
};

/* 0 is 300 s, as in Enterprise Gateway. */
int64_t culling_interval_ms(const struct culling_settings *settings);

/* For the setting's row: the const json_t * of cull-overrides. */
int culling_check_overrides(const void *value, struct error *err);

/* The settings, made ready for many kernels. */
struct culling_policies;
/* A copy. Overrides that culling_check_overrides refuses are an error here, too. */
int culling_policies_create(const struct culling_settings *settings, struct culling_policies **ret,
                            struct error *err);
void culling_policies_destroy(struct culling_policies *policies);
const struct culling_settings *culling_policies_settings(const struct culling_policies *policies);

/* For kernels of which no override says anything. */
struct culler_policy culling_policy_of(const struct culling_settings *settings);

struct culling_subject {
    const char *user; /* as it counts in max-kernels-per-user */
    const char *spec;
    int64_t own_idle_ms; /* what it asks for itself; -1: nothing, 0: never */
};
/* The most that such a kernel may ask for itself, and its user for it (keep); 0: no limit. */
int64_t culling_own_max_ms(const struct culling_policies *policies,
                           const struct culling_subject *subject);
/* Of the overrides the first pattern that fits counts, and the user's go before the kernelspec's.
 * Its own timeout goes into the kernel's inputs, within what is allowed. A warning comes no earlier
 * than in the second half of the shortest limit: it is no news after each cell. */
void culling_policy_for(const struct culling_policies *policies,
                        const struct culling_subject *subject, struct culler_kernel *kernel,
                        struct culler_policy *ret);
