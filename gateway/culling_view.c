#include "gateway/culling_view.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/option.h"

#include <stddef.h>
#include <string.h>

enum { ROWS_MAX = 32 };

static const char *verdict_name(enum culler_verdict verdict) {
    static const char *const names[] = {
        [CULLER_KEEP] = "keep", [CULLER_WARN] = "warn", [CULLER_CULL] = "cull"};
    return names[verdict];
}

static json_t *in_ms(const struct culling_view *view) {
    int64_t left_ms = view->decision.in_ms;
    return left_ms == CULLER_NEVER ? json_null() : json_integer(left_ms);
}

json_t *culling_number(int64_t value) {
    return value >= 0 ? json_integer(value) : json_null();
}

static json_t *inputs_model(struct kernel *kernel, const struct culling_view *view) {
    const struct culler_kernel *inputs = &view->inputs;
    const struct kernel_activity *activity = kernel_activity(kernel);
    if (!view->is_known)
        return json_null();
    json_t *model = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:i, s:I, s:i}", "state",
        culler_state_name(inputs->state), "age_ms", (json_int_t)inputs->age_ms, "state_for_ms",
        (json_int_t)inputs->state_for_ms, "untouched_for_ms", (json_int_t)inputs->untouched_for_ms,
        "silent_for_ms", (json_int_t)inputs->silent_for_ms, "at_rest_for_ms",
        (json_int_t)inputs->at_rest_for_ms, "unattached_for_ms", (json_int_t)inputs->unheard_for_ms,
        "waits_for_input", inputs->waits_for_input, "busy_subshells", (int)inputs->busy_subshells,
        "keep_ms", (json_int_t)inputs->keep_ms, "connections", (int)kernel_connections(kernel));
    json_object_set_new(model, "was_attached", json_boolean(!inputs->is_new));
    json_object_set_new(model, "own_idle_ms",
                        inputs->has_own_idle_ms ? json_integer(inputs->own_idle_ms) : json_null());
    json_object_set_new(model, "cpu_ms", culling_number(activity->cpu_ms));
    json_object_set_new(model, "rss_bytes", culling_number(activity->rss_bytes));
    json_object_set_new(model, "processes", culling_number(activity->processes));
    return model;
}

static json_t *policy_model(const struct culler_policy *policy) {
    return json_pack("{s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "idle_ms",
                     (json_int_t)policy->idle_ms, "connected", policy->culls_connected,
                     "idle_connected_ms", (json_int_t)policy->idle_connected_ms, "stalled_ms",
                     (json_int_t)policy->stalled_ms, "detached_ms", (json_int_t)policy->detached_ms,
                     "unattached_ms", (json_int_t)policy->unattached_ms, "max_age_ms",
                     (json_int_t)policy->age_ms, "warn_ms", (json_int_t)policy->warn_ms);
}

json_t *culling_settings_model(const struct culling_settings *settings, bool with_overrides) {
    const struct culler_policy policy = culling_policy_of(settings);
    json_t *model = policy_model(&policy);
    json_object_set_new(model, "interval_ms", json_integer(culling_interval_ms(settings)));
    json_object_set_new(model, "max_own_ms", json_integer(settings->own_max_ms));
    bool has_overrides = with_overrides && settings->overrides != NULL;
    json_object_set_new(model, "overrides",
                        has_overrides ? json_incref(settings->overrides) : json_null());
    return model;
}

static json_t *explanation(const struct culling_view *view) {
    cleanup_buffer struct buffer text = {0};
    culling_explain(view, &text);
    return json_string(buffer_text(&text));
}

json_t *culling_why(struct kernel *kernel, const struct culling_view *view, bool is_fresh) {
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:b}", "id", kernel_id(kernel), "verdict",
                     verdict_name(view->decision.verdict), "rule",
                     culler_rule_name(view->decision.rule), "in_ms", in_ms(view), "text",
                     explanation(view), "inputs", inputs_model(kernel, view), "policy",
                     policy_model(&view->policy), "fresh", is_fresh);
}

json_t *culling_entry(struct kernel *kernel, const struct culling_view *view) {
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "id", kernel_id(kernel), "name",
                     kernel_spec_name(kernel), "owner", kernel_owner(kernel), "user",
                     kernel_user(kernel), "verdict", verdict_name(view->decision.verdict), "rule",
                     culler_rule_name(view->decision.rule), "in_ms", in_ms(view), "text",
                     explanation(view));
}

int64_t culling_keep_max_ms(const struct culling *culling, const struct kernel *kernel,
                            const struct auth_identity *identity) {
    const struct culling_subject subject = {.user = kernel_user(kernel),
                                            .spec = kernel_spec_name(kernel)};
    return identity->role == AUTH_ADMIN ? 0
                                        : culling_own_max_ms(culling_policies(culling), &subject);
}

/* What comes in. */

int culling_duration(const json_t *value, const char *what, int64_t *ret_ms, struct error *err) {
    const struct option_row rows[] = {
        {.name = what, .type = OPTION_DURATION, .max = INT64_C(365) * 86400 * 1000}, {0}};
    cleanup_json json_t *file = json_object();
    json_object_set(file, what, (json_t *)(uintptr_t)value);
    struct option_input input = {.file = file, .file_name = "body"};
    *ret_ms = 0;
    return option_load(rows, &input, ret_ms, NULL, err);
}

/* The rows of the group, whose fields are those of settings.cull. */
static void own_rows(struct option_row *ret, size_t max) {
    size_t count = 0;
    for (const struct option_row *row = settings_table(); row->name != NULL; row++) {
        if (strncmp(row->name, "cull-", strlen("cull-")) != 0 || count + 1 == max)
            continue;
        ret[count] = *row;
        ret[count++].offset -= offsetof(struct settings, cull);
    }
    ret[count] = (struct option_row){0};
}

static void swap_field(const struct option_row *row, struct culling_settings *a,
                       struct culling_settings *b) {
    char spare[sizeof(int64_t)];
    size_t size = row->type == OPTION_BOOL ? sizeof(bool) : sizeof spare;
    memcpy(spare, (char *)a + row->offset, size);
    memcpy((char *)a + row->offset, (char *)b + row->offset, size);
    memcpy((char *)b + row->offset, spare, size);
}

/* Exchanges what no file can change for what is in effect, and back again. */
static void exchange(const struct option_row *rows, const struct settings *settings,
                     struct culling_settings *wanted, struct culling_settings *now) {
    for (size_t i = 0; rows[i].name != NULL; i++)
        if (settings_is_fixed(settings, rows[i].name))
            swap_field(&rows[i], wanted, now);
}

int culling_read_policy(const json_t *policy, const struct settings *settings,
                        struct culling_policies **ret, struct error *err) {
    struct option_row rows[ROWS_MAX];
    struct culling_settings wanted = {0}, now = settings->cull;
    struct option_input input = {.file = policy, .file_name = "policy"};
    own_rows(rows, ROWS_MAX);
    if (!json_is_object(policy))
        return error_set(err, ERROR_INVALID,
                         "policy: must be an object such as {\"cull_idle_timeout\": \"1h\"}");
    if (option_load(rows, &input, &wanted, NULL, err) < 0)
        return -1;
    exchange(rows, settings, &wanted, &now);
    int failed = culling_policies_create(&wanted, ret, err);
    exchange(rows, settings, &wanted, &now);
    option_free(rows, &wanted);
    return failed;
}
