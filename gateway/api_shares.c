/* /api/kernels/{id}/shares: whom a kernel's owner lets use it, or look at it. Whether there is
 * somebody of that name is never said. */
#include "base/log.h"
#include "gateway/api.h"
#include "launcher/launch.h"

#include <string.h>

#define LOG_AREA "gateway/api_shares"

static struct kernel *find_kernel(struct gateway *gateway, struct http_request *request) {
    return api_find_kernel(gateway, request, http_request_param(request, "kernel_id"),
                           KERNEL_RIGHT_OWN);
}

static void reply_shares(struct http_request *request, const struct kernel *kernel) {
    http_reply_json(request, 200, json_pack("{s:o}", "shares", kernel_shares(kernel)));
}

static void get_shares(struct http_request *request, void *context) {
    const struct kernel *kernel = find_kernel(context, request);
    if (kernel != NULL)
        reply_shares(request, kernel);
}

static int check_name(const char *user, struct error *err) {
    if (auth_is_user_name(user))
        return 0;
    return error_set(err, ERROR_INVALID,
                     "user: \"%.130s\" cannot be a user's name: at most %d bytes without "
                     "slashes, control characters or spaces at an end, and not \"default\"",
                     user, LAUNCH_SHARE_NAME_MAX);
}

/* All who have the shared token are one to us: whom they mean, nobody can tell. */
static int check_owner(const struct auth_identity *identity, struct error *err) {
    if (identity->verified)
        return 0;
    return error_set(err, ERROR_DENIED,
                     "Kernels are shared by name, and this client has none: it came without a "
                     "token of its own. Give everybody one (auth-token-file), or another way to "
                     "be known");
}

static int read_right(struct http_request *request, enum kernel_right *ret, struct error *err) {
    json_t *body = NULL;
    const char *right;
    if (http_request_json(request, &body, err) < 0 ||
        api_take_text(body, "right", API_ID_MAX, &right, err) < 0)
        return -1;
    if (right == NULL || !kernel_right_parse(right, ret))
        return error_set(err, ERROR_INVALID,
                         "right: must be \"use\" or \"view\", as in {\"right\": \"use\"}");
    return 0;
}

static void on_shared(void *context, const struct error *err) {
    struct api_pending pending = api_pending_take(context);
    const struct kernel *kernel = NULL;
    if (err != NULL)
        http_reply_failure(pending.request, err);
    else
        kernel = api_known_kernel(pending.gateway, pending.request, pending.id, KERNEL_RIGHT_OWN);
    if (kernel != NULL)
        reply_shares(pending.request, kernel);
}

static void set_right(struct gateway *gateway, struct http_request *request, struct kernel *kernel,
                      enum kernel_right right) {
    const char *user = http_request_param(request, "user");
    log_info("kernel %s: %s grants %s: %s", kernel_id(kernel), http_request_identity(request)->name,
             user, kernel_right_name(right));
    kernel_share(kernel, user, right, on_shared,
                 api_pending_create(gateway, request, kernel_id(kernel)));
}

static void put_share(struct http_request *request, void *context) {
    struct kernel *kernel = find_kernel(context, request);
    enum kernel_right right;
    struct error err = {0};
    if (kernel == NULL)
        return;
    if (check_owner(http_request_identity(request), &err) < 0 ||
        check_name(http_request_param(request, "user"), &err) < 0 ||
        read_right(request, &right, &err) < 0)
        http_reply_failure(request, &err);
    else
        set_right(context, request, kernel, right);
}

static void delete_share(struct http_request *request, void *context) {
    struct kernel *kernel = find_kernel(context, request);
    struct error err = {0};
    if (kernel == NULL)
        return;
    if (check_name(http_request_param(request, "user"), &err) < 0)
        http_reply_failure(request, &err);
    else
        set_right(context, request, kernel, KERNEL_RIGHT_NONE);
}

const struct http_route api_shares_routes[] = {
    {"GET", "/api/kernels/{kernel_id}/shares", get_shares, 0},
    {"PUT", "/api/kernels/{kernel_id}/shares/{user}", put_share, 0},
    {"DELETE", "/api/kernels/{kernel_id}/shares/{user}", delete_share, 0},
    {NULL, NULL, NULL, 0},
};
