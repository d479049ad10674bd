/* elara status */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/option.h"
#include "base/text.h"
#include "gateway/admin.h"

#include <stdio.h>
#include <string.h>

static json_int_t number_at(const json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

/* "2 idle, 1 busy": the members that are not 0; "none" without one. */
static void append_counts(struct buffer *out, const json_t *counts, const char *none) {
    const char *name;
    json_t *count;
    size_t start = out->length;
    json_object_foreach((json_t *)(uintptr_t)counts, name, count) {
        if (json_integer_value(count) > 0)
            buffer_printf(out, "%s%" JSON_INTEGER_FORMAT " %s", out->length > start ? ", " : "",
                          json_integer_value(count), name);
    }
    if (out->length == start)
        buffer_append_text(out, none);
}

static void print_kernels(const json_t *status) {
    static const char *const limits[] = {"max_kernels", "max_kernels_per_user",
                                         "max_kernels_per_spec"};
    const json_t *kernels = json_object_get(status, "kernels");
    cleanup_buffer struct buffer text = {.limit = 4096};
    append_counts(&text, json_object_get(kernels, "states"), "none");
    printf("kernels   %s; %" JSON_INTEGER_FORMAT " connections\n", buffer_text(&text),
           number_at(status, "connections"));
    buffer_clear(&text);
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        json_int_t limit = number_at(json_object_get(status, "limits"), limits[i]);
        if (limit >= 0)
            buffer_printf(&text, "%s%s %" JSON_INTEGER_FORMAT, text.length > 0 ? ", " : "",
                          limits[i], limit);
    }
    printf("limits    %s\n", text.length > 0 ? buffer_text(&text) : "none");
}

static void append_rule(struct buffer *out, const json_t *policy, const char *key,
                        const char *what) {
    if (number_at(policy, key) <= 0)
        return;
    buffer_printf(out, "%s%s ", out->length > 0 ? ", " : "", what);
    text_append_duration(out, number_at(policy, key));
}

static void print_culling(const json_t *culling) {
    const json_t *policy = json_object_get(culling, "policy");
    bool connected = json_is_true(json_object_get(policy, "connected"));
    cleanup_buffer struct buffer rules = {.limit = 4096};
    cleanup_buffer struct buffer culled = {.limit = 4096};
    cleanup_free char *next = admin_duration_at(culling, "next_pass_ms", "?");
    append_rule(&rules, policy, "idle_ms",
                connected ? "idle for" : "idle without a connection for");
    if (number_at(policy, "idle_ms") > 0) /* it is off with that */
        append_rule(&rules, policy, "idle_connected_ms", "idle while connected for");
    append_rule(&rules, policy, "stalled_ms", "a cell stalled for");
    append_rule(&rules, policy, "detached_ms", "detached for");
    append_rule(&rules, policy, "unattached_ms", "never connected to for");
    append_rule(&rules, policy, "max_age_ms", "older than");
    if (json_object_size(json_object_get(policy, "overrides")) > 0)
        buffer_append_text(&rules, "; with overrides");
    append_counts(&culled, json_object_get(culling, "culled"), "none");
    printf("culling   %s; next look in %s\n",
           rules.length > 0 ? buffer_text(&rules) : "no rule is on", next);
    if (json_object_get(culling, "culled") != NULL) /* not told to a user */
        printf("culled    %s\n", buffer_text(&culled));
    if (number_at(culling, "quiet_ms") > 0) {
        cleanup_free char *quiet = admin_duration_at(culling, "quiet_ms", "");
        printf("          not yet: clients of an earlier gateway have %s to come back\n", quiet);
    }
}

static void print_settings(const json_t *settings) {
    cleanup_free char *problem = admin_printable(admin_text_at(settings, "problem"));
    cleanup_free char *pending = admin_printable(admin_text_at(settings, "pending"));
    cleanup_free char *file = admin_printable(admin_text_at(settings, "file"));
    if (*problem != '\0')
        printf("settings  PROBLEM since %s: %s\n", admin_text_at(settings, "problem_since"),
               problem);
    else if (*file != '\0')
        printf("settings  %s is in effect\n", file);
    if (*pending != '\0')
        printf("          waiting for a restart: %s\n", pending);
}

static void print_status(const json_t *status) {
    cleanup_free char *up = admin_duration_at(status, "uptime_ms", "?");
    cleanup_free char *version = admin_printable(admin_text_at(status, "version"));
    printf("gateway   %s, up %s%s\n", version, up,
           json_is_true(json_object_get(status, "adopting"))
               ? "; still finding the kernels of an earlier one"
               : "");
    print_kernels(status);
    print_culling(json_object_get(status, "culling"));
    print_settings(json_object_get(status, "settings"));
}

int admin_status(int argc, char **argv, struct error *err) {
    bool wants_json = option_take_flag(&argc, argv, "json", NULL);
    cleanup_json json_t *status = NULL;
    if (admin_ask(argc, argv, "GET", "api/elara/status", NULL, JSON_OBJECT, &status, err) < 0)
        return -1;
    if (wants_json)
        admin_print_json(steal(&status));
    else
        print_status(status);
    return 0;
}
