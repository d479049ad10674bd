#include "gateway/culling_policy.h"

#include "base/cleanup.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/option.h"
#include "base/text.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { INTERVAL_OF_ZERO_MS = 300000, INTERVAL_MIN_MS = 50, PATTERNS_MAX = 1000 };
#define YEAR_MS (INT64_C(365) * 86400 * 1000)

enum {
    IDLE,
    IDLE_CONNECTED,
    STALLED,
    DETACHED,
    UNATTACHED,
    AGE,
    WARN,
    OWN_MAX,
    DURATIONS,
    CONNECTED = DURATIONS,
    ROWS
};

/* What an override may say, under the settings' names without "cull-". */
struct override {
    int64_t duration_ms[DURATIONS];
    bool connected;
    bool is_set[ROWS];
};

#define DURATION(row_name, index)                                                                  \
    [index] = {.name = (row_name),                                                                 \
               .type = OPTION_DURATION,                                                            \
               .offset = offsetof(struct override, duration_ms[index]),                            \
               .max = YEAR_MS}

static const struct option_row rows[ROWS + 1] = {
    DURATION("idle-timeout", IDLE),
    DURATION("idle-connected-timeout", IDLE_CONNECTED),
    DURATION("stalled-timeout", STALLED),
    DURATION("detached-timeout", DETACHED),
    DURATION("unattached-timeout", UNATTACHED),
    DURATION("max-age", AGE),
    DURATION("warn-before", WARN),
    DURATION("max-own-timeout", OWN_MAX),
    [CONNECTED] = {.name = "connected",
                   .type = OPTION_BOOL,
                   .offset = offsetof(struct override, connected)},
};

struct pattern {
    struct list_node node;
    char *text; /* * and ? allowed */
    struct override says;
};

struct culling_policies {
    struct culling_settings settings; /* without the overrides */
    struct list owners, specs;
};

int64_t culling_interval_ms(const struct culling_settings *settings) {
    if (settings->interval_ms <= 0)
        return INTERVAL_OF_ZERO_MS;
    return settings->interval_ms < INTERVAL_MIN_MS ? INTERVAL_MIN_MS : settings->interval_ms;
}

static int read_override(const char *where, const json_t *json, struct override *ret,
                         struct error *err) {
    struct option_source sources[ROWS];
    struct option_input input = {.file = json, .file_name = where};
    if (!json_is_object(json))
        return error_set(err, ERROR_INVALID,
                         "%s: must be a mapping of limits, such as {idle_timeout: 8h}", where);
    if (option_load(rows, &input, ret, sources, err) < 0)
        return -1;
    for (size_t i = 0; i < ROWS; i++)
        ret->is_set[i] = strcmp(sources[i].text, "default") != 0;
    return 0;
}

static void free_patterns(struct list *list) {
    list_each (list, struct pattern, node, pattern) {
        list_remove(&pattern->node);
        free(pattern->text);
        free(pattern);
    }
}

static int read_patterns(const char *group, const json_t *json, struct list *ret,
                         struct error *err) {
    if (json == NULL || json_is_null(json))
        return 0;
    if (!json_is_object(json))
        return error_set(err, ERROR_INVALID, "%s: must be a mapping of names", group);
    if (json_object_size(json) > PATTERNS_MAX)
        return error_set(err, ERROR_INVALID, "%s: has %zu names, %d may be; use * and ?", group,
                         json_object_size(json), PATTERNS_MAX);
    const char *text;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, text, value) {
        struct override says = {0};
        cleanup_free char *where = memory_printf("%s.%s", group, text);
        if (read_override(where, value, &says, err) < 0)
            return -1;
        struct pattern *pattern = memory_alloc(sizeof *pattern);
        pattern->text = memory_strdup(text);
        pattern->says = says;
        list_append(ret, &pattern->node);
    }
    return 0;
}

static int read_overrides(const json_t *json, struct culling_policies *policies,
                          struct error *err) {
    const char *group;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, group, value) {
        bool is_owners = strcmp(group, "owners") == 0;
        if (!is_owners && strcmp(group, "specs") != 0)
            return error_set(err, ERROR_INVALID,
                             "%.64s: unknown; overrides are for \"owners\" and \"specs\"", group);
        if (read_patterns(group, value, is_owners ? &policies->owners : &policies->specs, err) < 0)
            return -1;
    }
    return 0;
}

int culling_policies_create(const struct culling_settings *settings, struct culling_policies **ret,
                            struct error *err) {
    struct culling_policies *policies = memory_alloc(sizeof *policies);
    policies->settings = *settings;
    policies->settings.overrides = NULL;
    list_init(&policies->owners);
    list_init(&policies->specs);
    if (read_overrides(settings->overrides, policies, err) < 0) {
        culling_policies_destroy(policies);
        return -1;
    }
    *ret = policies;
    return 0;
}

void culling_policies_destroy(struct culling_policies *policies) {
    if (policies == NULL)
        return;
    free_patterns(&policies->owners);
    free_patterns(&policies->specs);
    free(policies);
}

int culling_check_overrides(const void *value, struct error *err) {
    struct culling_settings settings = {.overrides = (json_t *)(uintptr_t)value};
    struct culling_policies *policies = NULL;
    int failed = culling_policies_create(&settings, &policies, err);
    culling_policies_destroy(policies);
    return failed;
}

const struct culling_settings *culling_policies_settings(const struct culling_policies *policies) {
    return &policies->settings;
}

/* For one kernel. */

static void apply(const struct override *says, struct culler_policy *policy, int64_t *own_max_ms) {
    int64_t *const fields[DURATIONS] = {
        [IDLE] = &policy->idle_ms,
        [IDLE_CONNECTED] = &policy->idle_connected_ms,
        [STALLED] = &policy->stalled_ms,
        [DETACHED] = &policy->detached_ms,
        [UNATTACHED] = &policy->unattached_ms,
        [AGE] = &policy->age_ms,
        [WARN] = &policy->warn_ms,
        [OWN_MAX] = own_max_ms,
    };
    for (size_t i = 0; i < DURATIONS; i++)
        if (says->is_set[i])
            *fields[i] = says->duration_ms[i];
    if (says->is_set[CONNECTED])
        policy->culls_connected = says->connected;
}

static void apply_first(const struct list *patterns, const char *name, struct culler_policy *policy,
                        int64_t *own_max_ms) {
    for (const struct list_node *at = patterns->head.next; at != &patterns->head; at = at->next) {
        const struct pattern *pattern =
            (const struct pattern *)(const void *)((const char *)at -
                                                   offsetof(struct pattern, node));
        if (!text_glob(pattern->text, name))
            continue;
        apply(&pattern->says, policy, own_max_ms);
        return;
    }
}

static void apply_own(const struct culling_subject *subject, int64_t max_ms,
                      struct culler_kernel *kernel) {
    kernel->has_own_idle_ms = subject->own_idle_ms >= 0;
    kernel->own_idle_ms = kernel->has_own_idle_ms ? subject->own_idle_ms : 0;
    bool is_too_long = kernel->own_idle_ms == 0 || kernel->own_idle_ms > max_ms;
    if (kernel->has_own_idle_ms && max_ms > 0 && is_too_long)
        kernel->own_idle_ms = max_ms;
}

static void bound_warning(const struct culler_kernel *kernel, struct culler_policy *policy) {
    const int64_t limits[] = {
        kernel->has_own_idle_ms ? kernel->own_idle_ms : policy->idle_ms,
        policy->idle_connected_ms,
        policy->stalled_ms,
        policy->detached_ms,
        policy->age_ms,
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (limits[i] > 0 && policy->warn_ms > limits[i] / 2)
            policy->warn_ms = limits[i] / 2;
}

struct culler_policy culling_policy_of(const struct culling_settings *settings) {
    return (struct culler_policy){
        .idle_ms = settings->idle_ms,
        .culls_connected = settings->connected,
        .idle_connected_ms = settings->idle_connected_ms,
        .stalled_ms = settings->stalled_ms,
        .detached_ms = settings->detached_ms,
        .unattached_ms = settings->unattached_ms,
        .age_ms = settings->age_ms,
        .warn_ms = settings->warn_ms,
    };
}

static int64_t apply_overrides(const struct culling_policies *policies,
                               const struct culling_subject *subject, struct culler_policy *ret) {
    int64_t own_max_ms = policies->settings.own_max_ms;
    *ret = culling_policy_of(&policies->settings);
    apply_first(&policies->specs, subject->spec, ret, &own_max_ms);
    apply_first(&policies->owners, subject->user, ret, &own_max_ms);
    return own_max_ms;
}

int64_t culling_own_max_ms(const struct culling_policies *policies,
                           const struct culling_subject *subject) {
    struct culler_policy policy;
    return apply_overrides(policies, subject, &policy);
}

void culling_policy_for(const struct culling_policies *policies,
                        const struct culling_subject *subject, struct culler_kernel *kernel,
                        struct culler_policy *ret) {
    apply_own(subject, apply_overrides(policies, subject, ret), kernel);
    bound_warning(kernel, ret);
}
