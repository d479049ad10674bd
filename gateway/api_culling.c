/* Why a kernel is kept or will go (/api/kernels/{id}/why), the mark that keeps it
 * (/api/kernels/{id}/keep), and what would go by this policy or another one (/api/elara/cull). */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/api.h"
#include "gateway/culling.h"
#include "gateway/culling_view.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct kernel *find_kernel(struct gateway *gateway, struct http_request *request,
                                  enum kernel_right right) {
    return api_find_kernel(gateway, request, http_request_param(request, "kernel_id"), right);
}

/* Why. */

static void on_why(void *context, struct kernel *kernel, const struct error *err) {
    struct api_pending pending = api_pending_take(context);
    struct culling_view view;
    if (kernel == NULL) /* ended meanwhile: 404, with the reason */
        kernel = api_known_kernel(pending.gateway, pending.request, pending.id, KERNEL_RIGHT_VIEW);
    if (kernel == NULL)
        return;
    culling_look(pending.gateway->culling, NULL, kernel, &view);
    http_reply_json(pending.request, 200, culling_why(kernel, &view, err == NULL));
}

static void get_why(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    struct kernel *kernel = find_kernel(gateway, request, KERNEL_RIGHT_VIEW);
    struct culling_view view;
    if (kernel == NULL)
        return;
    if (kernel_may_ask_activity(kernel)) {
        kernel_ask_activity(kernel, on_why,
                            api_pending_create(gateway, request, kernel_id(kernel)));
        return;
    }
    culling_look(gateway->culling, NULL, kernel, &view);
    http_reply_json(request, 200, culling_why(kernel, &view, false));
}

/* Keep. */

static void on_kept(void *context, const struct error *err) {
    struct api_pending pending = api_pending_take(context);
    if (err != NULL)
        http_reply_failure(pending.request, err);
    else
        http_reply_json(pending.request, 200,
                        json_pack("{s:I}", "keep_ms", (json_int_t)pending.number));
}

static int read_keep(struct http_request *request, int64_t max_ms, int64_t *ret,
                     struct error *err) {
    json_t *body = NULL;
    if (http_request_json(request, &body, err) < 0)
        return -1;
    const json_t *value = json_object_get(body, "for");
    if (value == NULL || json_is_null(value))
        return error_set(err, ERROR_INVALID,
                         "for: must say how long, such as {\"for\": \"4h\"}; \"0\" takes it back");
    if (culling_duration(value, "for", ret, err) < 0)
        return -1;
    if (max_ms <= 0 || *ret <= max_ms)
        return 0;
    cleanup_buffer struct buffer text = {0};
    text_append_duration(&text, max_ms);
    return error_set(err, ERROR_DENIED, "for: at most %s may be asked for (cull-max-own-timeout)",
                     buffer_text(&text));
}

static void post_keep(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    struct kernel *kernel = find_kernel(gateway, request, KERNEL_RIGHT_OWN);
    struct error err = {0};
    int64_t for_ms = 0;
    if (kernel == NULL)
        return;
    const struct auth_identity *identity = http_request_identity(request);
    int64_t max_ms = culling_keep_max_ms(gateway->culling, kernel, identity);
    if (read_keep(request, max_ms, &for_ms, &err) < 0) {
        http_reply_failure(request, &err);
        return;
    }
    struct api_pending *pending = api_pending_create(gateway, request, kernel_id(kernel));
    pending->number = for_ms;
    kernel_keep(kernel, for_ms, identity->name, on_kept, pending);
}

/* Cull. */

struct culls {
    struct gateway *gateway;
    struct http_request *request;
    const struct auth_identity *identity;
    struct culling_policies *policies; /* NULL: those in effect */
    bool is_dry;
    json_t *list;
    bool is_gathered;
    size_t ordered; /* ends that are not answered yet */
};

/* One of them. */
struct order {
    struct culls *culls;
    json_t *entry;
};

static int by_end(const void *a, const void *b) {
    json_int_t first = json_integer_value(json_object_get(*(json_t *const *)a, "in_ms"));
    json_int_t second = json_integer_value(json_object_get(*(json_t *const *)b, "in_ms"));
    return (first > second) - (first < second);
}

/* Those that end first come first. */
static json_t *sorted(json_t *list) {
    size_t count = json_array_size(list);
    cleanup_free json_t **items = memory_alloc((count + 1) * sizeof *items);
    for (size_t i = 0; i < count; i++)
        items[i] = json_array_get(list, i);
    qsort(items, count, sizeof *items, by_end);
    json_t *result = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append(result, items[i]);
    json_decref(list);
    return result;
}

/* Once all is known. */
static void reply_cull(struct culls *culls) {
    if (!culls->is_gathered || culls->ordered > 0)
        return;
    http_reply_json(culls->request, 200, sorted(culls->list));
    culling_policies_destroy(culls->policies);
    free(culls);
}

static bool is_theirs(void *context, struct kernel *kernel) {
    const struct culls *culls = context;
    return auth_may_use(culls->identity, kernel_owner(kernel));
}

/* Somebody came in that moment, or another gateway was first: it is told as what has not ended. */
static void mark_spared(json_t *entry, const struct error *err) {
    bool is_unsure = err->code == ERROR_TIMEOUT || err->code == ERROR_UNAVAILABLE;
    cleanup_free char *text = memory_printf(
        is_unsure ? "Nobody knows whether it was ended: %s" : "It was not ended. %s", err->text);
    json_object_set_new(entry, "verdict", json_string("keep"));
    json_object_set_new(entry, "in_ms", json_null());
    json_object_set_new(entry, "text", json_string(text));
}

static void on_ordered(void *context, struct kernel *kernel, const struct error *err) {
    struct order *order = context;
    struct culls *culls = order->culls;
    (void)kernel;
    if (err != NULL)
        mark_spared(order->entry, err);
    json_array_append_new(culls->list, order->entry);
    free(order);
    culls->gateway->answers_owed--;
    culls->ordered--;
    reply_cull(culls);
}

/* Ends a kernel only upon its own answer: whoever does not give one is kept. A dry run tells of it
 * as it was known. */
static void on_answer(void *context, struct kernel *kernel, const struct error *err) {
    struct culls *culls = context;
    struct culling *culling = culls->gateway->culling;
    struct culling_view view;
    if (culls->is_dry || kernel == NULL || err != NULL)
        return;
    culling_look(culling, NULL, kernel, &view);
    if (view.decision.verdict != CULLER_CULL)
        return;
    struct order *order = memory_alloc(sizeof *order);
    *order = (struct order){culls, culling_entry(kernel, &view)};
    culls->gateway->answers_owed++;
    culls->ordered++;
    culling_end(culling, kernel, &view, on_ordered, order);
}

static void list_what_would_go(struct culls *culls) {
    struct culling_view view;
    struct kernel *kernel = NULL;
    while ((kernel = kernels_next(culls->gateway->kernels, kernel)) != NULL) {
        if (!is_theirs(culls, kernel))
            continue;
        culling_look(culls->gateway->culling, culls->policies, kernel, &view);
        if (view.decision.rule != CULLER_NO_RULE)
            json_array_append_new(culls->list, culling_entry(kernel, &view));
    }
}

static void on_gathered(void *context) {
    struct culls *culls = context;
    if (culls->is_dry)
        list_what_would_go(culls);
    culls->is_gathered = true;
    reply_cull(culls);
}

static int read_cull(struct http_request *request, const struct gateway *gateway, bool *is_dry,
                     struct culling_policies **ret, struct error *err) {
    json_t *body = NULL;
    if (http_request_json(request, &body, err) < 0)
        return -1;
    if (body != NULL && !json_is_object(body))
        return error_set(err, ERROR_INVALID, "the body must be a JSON object");
    const json_t *dry = json_object_get(body, "dry_run");
    const json_t *policy = json_object_get(body, "policy");
    if (dry != NULL && !json_is_boolean(dry))
        return error_set(err, ERROR_INVALID, "dry_run: must be true or false");
    *is_dry = json_is_true(dry);
    if (policy == NULL || json_is_null(policy))
        return 0;
    if (!*is_dry)
        return error_set(err, ERROR_INVALID,
                         "policy: only with dry_run; the settings say what is done");
    return culling_read_policy(policy, gateway->settings, ret, err);
}

static void post_cull(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    struct culling_policies *policies = NULL;
    struct error err = {0};
    bool is_dry = false;
    if (api_reply_adopting(gateway, request))
        return;
    if (read_cull(request, gateway, &is_dry, &policies, &err) < 0) {
        http_reply_failure(request, &err);
        return;
    }
    struct culls *culls = memory_alloc(sizeof *culls);
    *culls = (struct culls){.gateway = gateway,
                            .request = request,
                            .identity = http_request_identity(request),
                            .policies = policies,
                            .is_dry = is_dry,
                            .list = json_array()};
    const struct api_gather plan = {.gateway = gateway,
                                    .wants = is_theirs,
                                    .answered = on_answer,
                                    .done = on_gathered,
                                    .context = culls};
    api_gather(&plan);
}

const struct http_route api_culling_routes[] = {
    {"GET", "/api/kernels/{kernel_id}/why", get_why, 0},
    {"POST", "/api/kernels/{kernel_id}/keep", post_keep, 0},
    {"POST", "/api/elara/cull", post_cull, 0},
    {NULL, NULL, NULL, 0},
};
