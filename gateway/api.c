#include "gateway/api.h"

#include "base/memory.h"
#include "base/text.h"
#include "gateway/page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void api_add_routes(struct gateway *gateway) {
    http_add_routes(gateway->http, api_health_routes, gateway);
    http_add_routes(gateway->http, api_root_routes, gateway);
    http_add_routes(gateway->http, api_kernels_routes, gateway);
    http_add_routes(gateway->http, api_journal_routes, gateway);
    http_add_routes(gateway->http, api_kernelspecs_routes, gateway);
    http_add_routes(gateway->http, api_sessions_routes, gateway);
    http_add_routes(gateway->http,
                    gateway->settings->metrics_public ? api_public_metrics_routes
                                                      : api_metrics_routes,
                    gateway);
    http_add_routes(gateway->http, api_culling_routes, gateway);
    http_add_routes(gateway->http, api_shares_routes, gateway);
    http_add_routes(gateway->http, api_elara_routes, gateway);
    http_add_routes(gateway->http, page_routes, gateway);
}

bool api_reply_adopting(struct gateway *gateway, struct http_request *request) {
    if (!kernels_is_adopting(gateway->kernels))
        return false;
    struct error err = {0};
    error_set(&err, ERROR_UNAVAILABLE,
              "The gateway has just started and is taking over the running kernels; try again");
    http_reply_failure(request, &err);
    return true;
}

static void on_looked(void *context) {
    http_request_repeat(api_pending_take(context).request);
}

struct kernel *api_look_for_kernel(struct gateway *gateway, struct http_request *request,
                                   const char *id, bool *is_pending) {
    struct kernel *kernel = kernels_look_for(gateway->kernels, id, is_pending);
    if (!*is_pending)
        return kernel;
    kernels_await_look(gateway->kernels, id, on_looked, api_pending_create(gateway, request, id));
    return NULL;
}

struct kernel *api_find_kernel(struct gateway *gateway, struct http_request *request,
                               const char *id, enum kernel_right right) {
    bool is_pending;
    (void)api_look_for_kernel(gateway, request, id, &is_pending);
    return is_pending ? NULL : api_known_kernel(gateway, request, id, right);
}

static void refuse_share(struct http_request *request, const struct kernel *kernel,
                         enum kernel_right granted) {
    http_reply_error(request, 403, NULL,
                     granted == KERNEL_RIGHT_VIEW
                         ? "%s shares this kernel with you to look at (view): its state, its "
                           "journal and its log"
                         : "%s shares this kernel with you to use: ending, restarting, keeping and "
                           "sharing it is for its owner",
                     kernel_owner(kernel));
}

struct kernel *api_known_kernel(struct gateway *gateway, struct http_request *request,
                                const char *id, enum kernel_right right) {
    struct kernel *kernel = kernels_find(gateway->kernels, id);
    enum kernel_right granted =
        kernel != NULL ? kernel_right(kernel, http_request_identity(request)) : KERNEL_RIGHT_NONE;
    if (granted >= right)
        return kernel;
    if (granted != KERNEL_RIGHT_NONE) {
        refuse_share(request, kernel, granted);
        return NULL;
    }
    bool can_exist = text_is_kernel_id(id);
    if (can_exist && api_reply_adopting(gateway, request))
        return NULL;
    const char *why = kernel == NULL && can_exist
                          ? kernels_tombstone(gateway->kernels, id, http_request_identity(request))
                          : NULL;
    http_reply_error(request, 404, why, "Kernel does not exist: %.128s", id);
    return NULL;
}

struct api_pending *api_pending_create(struct gateway *gateway, struct http_request *request,
                                       const char *id) {
    struct api_pending *pending = memory_alloc(sizeof *pending);
    pending->gateway = gateway;
    pending->request = request;
    snprintf(pending->id, sizeof pending->id, "%s", id);
    gateway->answers_owed++;
    return pending;
}

struct api_pending api_pending_take(struct api_pending *pending) {
    struct api_pending taken = *pending;
    taken.gateway->answers_owed--;
    free(pending);
    return taken;
}

bool api_refuse_in_notebook(const struct gateway *gateway, const struct http_request *request) {
    const char *style = gateway->settings->refusal_style;
    if (strcmp(style, "auto") == 0)
        return http_request_is_gateway_client(request);
    return strcmp(style, "notebook") == 0;
}

int api_take_number(const struct http_request *request, const char *name, int64_t min, int64_t max,
                    int64_t *ret, struct error *err) {
    const char *text = http_request_query(request, name);
    return text != NULL ? text_parse_int(text, min, max, name, ret, err) : 0;
}

int api_take_text(const json_t *object, const char *field, size_t max, const char **ret,
                  struct error *err) {
    const json_t *value = json_object_get(object, field);
    *ret = NULL;
    if (value == NULL || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return error_set(err, ERROR_INVALID, "%s: must be a text", field);
    if (json_string_length(value) > max)
        return error_set(err, ERROR_INVALID, "%s: is longer than %zu bytes", field, max);
    *ret = json_string_value(value);
    return 0;
}
