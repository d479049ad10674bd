/* /api/kernels: what JupyterLab, nbclient and jupyter_server's gateway client call to have
 * kernels. */
#include "base/memory.h"
#include "base/text.h"
#include "gateway/api.h"
#include "gateway/channels_wait.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 255, PATH_MAX_BYTES = 4096 };

static void reply_done(void *context, const struct error *err) {
    struct api_pending pending = api_pending_take(context);
    if (err != NULL)
        http_reply_failure(pending.request, err);
    else
        http_reply_empty(pending.request, 204);
}

static void reply_kernel(struct http_request *request, int status, const struct kernel *kernel) {
    http_reply_json(request, status, kernel_model(kernel, http_request_identity(request)));
}

static void reply_model(void *context, const struct error *err) {
    struct api_pending pending = api_pending_take(context);
    struct kernel *kernel = NULL;
    if (err != NULL)
        http_reply_failure(pending.request, err);
    else /* it may have been deleted in the turn in which it had restarted */
        kernel = api_known_kernel(pending.gateway, pending.request, pending.id, KERNEL_RIGHT_OWN);
    if (kernel != NULL)
        reply_kernel(pending.request, 200, kernel);
}

static void list_kernels(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    if (!gateway->settings->list_kernels) {
        http_reply_error(request, 403, NULL, "Listing kernels is switched off (list-kernels)");
        return;
    }
    if (!api_reply_adopting(gateway, request))
        http_reply_json(request, 200,
                        kernels_list(gateway->kernels, http_request_identity(request)));
}

static int check_name(const char *name, struct error *err) {
    for (; name != NULL && *name != '\0'; name++)
        if (*name == '/' || *name == '\\' || (unsigned char)*name < ' ')
            return error_set(err, ERROR_INVALID,
                             "name: must be the name of a kernelspec, without slashes or control "
                             "characters");
    return 0;
}

static int read_request(struct http_request *request, struct kernel_request *ret,
                        struct error *err) {
    json_t *body = NULL;
    if (http_request_json(request, &body, err) < 0)
        return -1;
    if (body == NULL)
        return 0; /* the default kernel */
    if (!json_is_object(body))
        return error_set(err, ERROR_INVALID, "the body must be a JSON object");
    if (api_take_text(body, "name", NAME_MAX_BYTES, &ret->name, err) < 0 ||
        check_name(ret->name, err) < 0 ||
        api_take_text(body, "path", PATH_MAX_BYTES, &ret->path, err) < 0 ||
        api_take_text(body, "kernel_id", API_ID_MAX, &ret->kernel_id, err) < 0)
        return -1;
    const json_t *env = json_object_get(body, "env");
    if (json_is_null(env))
        return 0;
    if (env != NULL && !json_is_object(env))
        return error_set(err, ERROR_INVALID, "env: must be an object of texts");
    ret->env = env;
    return 0;
}

static void reply_created(struct http_request *request, const struct kernel *kernel) {
    char *location = memory_printf("%sapi/kernels/%s", http_base_url(request), kernel_id(kernel));
    http_reply_header(request, "Location", location);
    free(location);
    reply_kernel(request, 201, kernel);
}

static void on_recorded(void *context, const struct error *err) {
    struct api_pending pending = api_pending_take(context);
    struct kernel *kernel = NULL;
    if (err != NULL)
        http_reply_failure(pending.request, err);
    else
        kernel = api_known_kernel(pending.gateway, pending.request, pending.id, KERNEL_RIGHT_OWN);
    if (kernel != NULL)
        reply_created(pending.request, kernel);
}

static void start_kernel(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    struct kernel_request wish = {
        .identity = http_request_identity(request),
        .refuse_in_notebook = api_refuse_in_notebook(gateway, request),
    };
    struct error err = {0};
    struct kernel *kernel;
    if (read_request(request, &wish, &err) < 0 ||
        kernels_start(gateway->kernels, &wish, &kernel, &err) < 0) {
        http_reply_failure(request, &err);
        return;
    }
    struct api_pending *pending = api_pending_create(gateway, request, kernel_id(kernel));
    if (!kernel_await_record(kernel, on_recorded, pending)) /* it is there */
        on_recorded(pending, NULL);
}

static struct kernel *find_kernel(struct gateway *gateway, struct http_request *request,
                                  enum kernel_right right) {
    return api_find_kernel(gateway, request, http_request_param(request, "kernel_id"), right);
}

static void get_kernel(struct http_request *request, void *context) {
    const struct kernel *kernel = find_kernel(context, request, KERNEL_RIGHT_VIEW);
    if (kernel != NULL)
        reply_kernel(request, 200, kernel);
}

static void delete_kernel(struct http_request *request, void *context) {
    struct kernel *kernel = find_kernel(context, request, KERNEL_RIGHT_OWN);
    if (kernel != NULL)
        kernel_shutdown(kernel, NULL, reply_done,
                        api_pending_create(context, request, kernel_id(kernel)));
}

static void interrupt_kernel(struct http_request *request, void *context) {
    struct kernel *kernel = find_kernel(context, request, KERNEL_RIGHT_USE);
    if (kernel != NULL)
        kernel_interrupt(kernel, reply_done,
                         api_pending_create(context, request, kernel_id(kernel)));
}

static void restart_kernel(struct http_request *request, void *context) {
    struct kernel *kernel = find_kernel(context, request, KERNEL_RIGHT_OWN);
    if (kernel != NULL)
        kernel_restart(kernel, reply_model,
                       api_pending_create(context, request, kernel_id(kernel)));
}

static void open_channels(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    struct kernel *kernel = find_kernel(gateway, request, KERNEL_RIGHT_USE);
    if (kernel != NULL)
        channels_open_patiently(gateway->channels, gateway->loop, kernel, request);
}

const struct http_route api_kernels_routes[] = {
    {"GET", "/api/kernels", list_kernels, 0},
    {"POST", "/api/kernels", start_kernel, 0},
    {"GET", "/api/kernels/{kernel_id}", get_kernel, 0},
    {"DELETE", "/api/kernels/{kernel_id}", delete_kernel, 0},
    {"POST", "/api/kernels/{kernel_id}/interrupt", interrupt_kernel, 0},
    {"POST", "/api/kernels/{kernel_id}/restart", restart_kernel, 0},
    {"GET", "/api/kernels/{kernel_id}/channels", open_channels, 0},
    {NULL, NULL, NULL, 0},
};
