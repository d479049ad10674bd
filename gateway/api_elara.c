/* /api/elara: what the command elara and the status page show, and a kernel's own log. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/api.h"
#include "gateway/culling.h"
#include "gateway/culling_view.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOGS_TIMEOUT_MS = 30000,
    LOGS_MAX = 1 << 20,   /* bytes, as the launcher's */
    FRESH_FOR_MS = 10000, /* memory and CPU time that are no older are not asked for again */
    PATIENCE_MS = 3000,   /* with launchers that do not answer */
};

/* The list. */

struct listing {
    struct gateway *gateway;
    const struct auth_identity *identity;
    uint64_t from, to; /* kernel_number; 0 and 0: the page is empty */
    api_listed *done;
    void *context;
};

static json_t *details(struct gateway *gateway, struct kernel *kernel,
                       const struct auth_identity *identity) {
    static const char *const of_entry[] = {"owner", "user", "verdict", "rule", "text"};
    struct culling_view view;
    const struct kernel_activity *activity = kernel_activity(kernel);
    culling_look(gateway->culling, NULL, kernel, &view);
    json_t *model = kernel_model(kernel, identity);
    cleanup_json json_t *entry = culling_entry(kernel, &view);
    enum kernel_right right = kernel_right(kernel, identity);
    const json_t *session = right == KERNEL_RIGHT_OWN ? kernel_session(kernel) : NULL;
    for (size_t i = 0; i < sizeof of_entry / sizeof *of_entry; i++)
        json_object_set(model, of_entry[i], json_object_get(entry, of_entry[i]));
    json_object_set(model, "cull_in_ms", json_object_get(entry, "in_ms"));
    json_object_set_new(model, "display_name", json_string(kernel_display_name(kernel)));
    json_object_set_new(model, "stage", json_string(kernel_status(kernel)->stage));
    json_object_set_new(model, "session", session ? json_deep_copy(session) : json_null());
    json_object_set_new(model, "age_ms", culling_number(view.is_known ? view.inputs.age_ms : -1));
    json_object_set_new(model, "idle_ms",
                        culling_number(view.is_known ? culler_idle_for(&view.inputs) : -1));
    json_object_set_new(model, "keep_ms", culling_number(view.is_known ? view.inputs.keep_ms : -1));
    int64_t keep_max_ms =
        right == KERNEL_RIGHT_OWN ? culling_keep_max_ms(gateway->culling, kernel, identity) : -1;
    json_object_set_new(model, "right", json_string(kernel_right_name(right)));
    json_object_set_new(model, "keep_max_ms", culling_number(keep_max_ms > 0 ? keep_max_ms : -1));
    json_object_set_new(model, "rss_bytes", culling_number(activity->rss_bytes));
    json_object_set_new(model, "cpu_ms", culling_number(activity->cpu_ms));
    json_object_set_new(model, "processes", culling_number(activity->processes));
    return model;
}

static bool is_shown(const struct listing *listing, const struct kernel *kernel) {
    return kernel_number(kernel) >= listing->from && kernel_number(kernel) <= listing->to &&
           kernel_right(kernel, listing->identity) != KERNEL_RIGHT_NONE;
}

static bool is_stale(void *context, struct kernel *kernel) {
    const struct kernel_activity *activity = kernel_activity(kernel);
    return is_shown(context, kernel) &&
           (activity->answered_ms == 0 ||
            clock_monotonic_ms() - activity->answered_ms > FRESH_FOR_MS);
}

/* Whoever has not answered is shown as known. */
static void tell(void *context) {
    struct listing *listing = context;
    struct gateway *gateway = listing->gateway;
    json_t *list = json_array();
    size_t total = 0;
    uint64_t next = 0;
    struct kernel *kernel = NULL;
    while ((kernel = kernels_next(gateway->kernels, kernel)) != NULL) {
        if (kernel_right(kernel, listing->identity) == KERNEL_RIGHT_NONE)
            continue;
        total++;
        if (is_shown(listing, kernel))
            json_array_append_new(list, details(gateway, kernel, listing->identity));
        else if (kernel_number(kernel) > listing->to)
            next = listing->to;
    }
    listing->done(listing->context, list, total, next);
    free(listing);
}

/* Which they are is settled before they are asked: some may end meanwhile. */
static void find_page(struct listing *listing, const struct api_page *page) {
    struct kernel *kernel = NULL;
    size_t found = 0;
    while ((kernel = kernels_next(listing->gateway->kernels, kernel)) != NULL) {
        if (kernel_number(kernel) <= page->after ||
            kernel_right(kernel, listing->identity) == KERNEL_RIGHT_NONE)
            continue;
        if (found >= page->first && found - page->first < page->max) {
            if (listing->from == 0)
                listing->from = kernel_number(kernel);
            listing->to = kernel_number(kernel);
        }
        found++;
    }
}

void api_list_kernels(struct gateway *gateway, const struct auth_identity *identity,
                      const struct api_page *page, api_listed *done, void *context) {
    struct listing *listing = memory_alloc(sizeof *listing);
    *listing = (struct listing){
        .gateway = gateway, .identity = identity, .done = done, .context = context};
    find_page(listing, page);
    const struct api_gather plan = {.gateway = gateway,
                                    .wants = is_stale,
                                    .done = tell,
                                    .context = listing,
                                    .patience_ms = PATIENCE_MS};
    api_gather(&plan);
}

static void reply_list(void *context, json_t *list, size_t total, uint64_t next) {
    char text[24];
    (void)total;
    snprintf(text, sizeof text, "%" PRIu64, next);
    if (next > 0)
        http_reply_header(context, "Elara-Continue", text);
    http_reply_json(context, 200, list);
}

static void list_kernels(struct http_request *request, void *context) {
    struct error err = {0};
    int64_t after = 0, max = API_ASKED_MAX;
    if (api_reply_adopting(context, request))
        return;
    if (api_take_number(request, "continue", 0, INT64_MAX, &after, &err) < 0 ||
        api_take_number(request, "limit", 1, API_ASKED_MAX, &max, &err) < 0) {
        http_reply_failure(request, &err);
        return;
    }
    const struct api_page page = {.after = (uint64_t)after, .max = (size_t)max};
    api_list_kernels(context, http_request_identity(request), &page, reply_list, request);
}

/* The status. */

static json_t *count_kernels(struct gateway *gateway, const struct auth_identity *identity,
                             int *connections) {
    json_t *states = json_pack("{s:i, s:i, s:i, s:i, s:i}", "starting", 0, "idle", 0, "busy", 0,
                               "restarting", 0, "dead", 0);
    int live = 0;
    struct kernel *kernel = NULL;
    while ((kernel = kernels_next(gateway->kernels, kernel)) != NULL) {
        if (!auth_may_use(identity, kernel_owner(kernel)))
            continue;
        const struct kernel_status *status = kernel_status(kernel);
        json_t *count = json_object_get(states, status->execution_state);
        json_integer_set(count, json_integer_value(count) + 1);
        live += status->phase < KERNEL_DEAD;
        *connections += (int)kernel_connections(kernel);
    }
    return json_pack("{s:i, s:o}", "live", live, "states", states);
}

/* Overrides name users: they are for admins. Counts are of all users' kernels: not for one of
 * them. */
static json_t *culling_status(const struct gateway *gateway, enum auth_role role) {
    const struct culling_counters *counters = culling_counters(gateway->culling);
    json_t *policy = culling_settings_model(&gateway->settings->cull, role == AUTH_ADMIN);
    json_int_t next_ms = culling_next_pass_ms(gateway->culling);
    json_int_t quiet_ms = culling_quiet_ms(gateway->culling);
    if (role == AUTH_USER)
        return json_pack("{s:I, s:I, s:o}", "next_pass_ms", next_ms, "quiet_ms", quiet_ms, "policy",
                         policy);
    json_t *culled = json_object();
    for (enum culler_rule rule = CULLER_NO_RULE + 1; rule < CULLER_RULES; rule++)
        json_object_set_new(culled, culler_rule_name(rule),
                            json_integer((json_int_t)counters->culled[rule]));
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "culled", culled, "warned",
                     (json_int_t)counters->warned, "unanswered", (json_int_t)counters->unanswered,
                     "passes", (json_int_t)counters->passes, "last_pass_us",
                     (json_int_t)counters->last_pass_us, "longest_pass_us",
                     (json_int_t)counters->longest_pass_us, "next_pass_ms", next_ms, "quiet_ms",
                     quiet_ms, "policy", policy);
}

/* For admins: the texts name files and values. */
static json_t *settings_status(const struct settings *settings,
                               const struct auth_identity *identity) {
    char since[CLOCK_TEXT_SIZE] = "";
    int64_t since_us = 0;
    if (identity->role != AUTH_ADMIN)
        return json_null();
    const char *problem = settings_problem(settings, &since_us);
    if (problem != NULL)
        clock_format(since_us, since);
    return json_pack("{s:s?, s:s?, s:s?, s:s?}", "file", settings_file_name(settings), "problem",
                     problem, "problem_since", problem != NULL ? since : NULL, "pending",
                     settings_pending(settings));
}

static json_t *http_status(const struct http *http, enum auth_role role) {
    struct http_load load;
    if (role == AUTH_USER)
        return json_null();
    http_measure(http, &load);
    return json_pack("{s:I, s:I, s:I, s:I, s:b}", "connections", (json_int_t)load.connections,
                     "requests", (json_int_t)load.requests, "refused", (json_int_t)load.refused,
                     "input_bytes", (json_int_t)load.input, "lacks_files", load.lacks_files);
}

static void get_status(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    const struct settings *settings = gateway->settings;
    const struct auth_identity *identity = http_request_identity(request);
    char started[CLOCK_TEXT_SIZE];
    int connections = 0;
    clock_format(gateway->started_us, started);
    json_t *kernels = count_kernels(gateway, identity, &connections);
    http_reply_json(request, 200,
                    json_pack("{s:s, s:s, s:I, s:b, s:i, s:o, s:{s:I, s:I, s:I}, s:o, s:o, s:o}",
                              "version", ELARA_VERSION, "started", started, "uptime_ms",
                              (json_int_t)((clock_wall_us() - gateway->started_us) / 1000),
                              "adopting", kernels_is_adopting(gateway->kernels), "connections",
                              connections, "kernels", kernels, "limits", "max_kernels",
                              (json_int_t)settings->max_kernels, "max_kernels_per_user",
                              (json_int_t)settings->max_kernels_per_user, "max_kernels_per_spec",
                              (json_int_t)settings->max_kernels_per_spec, "http",
                              http_status(gateway->http, identity->role), "culling",
                              culling_status(gateway, identity->role), "settings",
                              settings_status(settings, identity)));
}

/* A kernel's own log. */

static void on_logs(void *context, const json_t *result, const struct error *err) {
    struct api_pending pending = api_pending_take(context);
    const json_t *text = json_object_get(result, "text");
    if (err != NULL)
        http_reply_failure(pending.request, err);
    else
        http_reply_bytes(pending.request, 200, "text/plain; charset=utf-8",
                         json_is_string(text) ? json_string_value(text) : "",
                         json_string_length(text));
}

static void get_logs(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    struct kernel *kernel = api_find_kernel(
        gateway, request, http_request_param(request, "kernel_id"), KERNEL_RIGHT_VIEW);
    struct error err = {0};
    int64_t max_bytes = LOGS_MAX;
    if (kernel == NULL)
        return;
    if (api_take_number(request, "max_bytes", 1, LOGS_MAX, &max_bytes, &err) < 0) {
        http_reply_failure(request, &err);
        return;
    }
    struct link *link = kernel_link(kernel);
    if (link == NULL) {
        error_set(&err, ERROR_UNAVAILABLE, "The kernel's launcher, which keeps its log, is not %s",
                  kernel_status(kernel)->phase == KERNEL_DEAD ? "running any more" : "there yet");
        http_reply_failure(request, &err);
        return;
    }
    link_command(link, "logs", json_pack("{s:I}", "max_bytes", (json_int_t)max_bytes),
                 LOGS_TIMEOUT_MS, on_logs, api_pending_create(gateway, request, kernel_id(kernel)));
}

const struct http_route api_elara_routes[] = {
    {"GET", "/api/elara/kernels", list_kernels, 0},
    {"GET", "/api/elara/status", get_status, 0},
    {"GET", "/api/kernels/{kernel_id}/logs", get_logs, HTTP_CONTENT},
    {NULL, NULL, NULL, 0},
};
