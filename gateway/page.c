#include "gateway/page.h"

#include "base/clock.h"
#include "base/text.h"
#include "gateway/api.h"

#include <stdlib.h>

enum { FROM_MAX = 1000000 };

/* From kernel number `first` on; counts them all. */
static json_t *list_kernels(const struct gateway *gateway, const struct auth_identity *identity,
                            size_t first, size_t *total) {
    json_t *list = json_array();
    *total = 0;
    for (struct kernel *at = NULL; (at = kernels_next(gateway->kernels, at)) != NULL;) {
        if (!auth_may_use(identity, kernel_owner(at)))
            continue;
        size_t number = (*total)++;
        if (number < first || number - first >= PAGE_ROWS)
            continue;
        json_t *model = kernel_model(at, identity);
        const char *display_name = kernel_display_name(at);
        if (display_name != NULL)
            json_object_set_new(model, "display_name", json_string(display_name));
        json_array_append_new(list, model);
    }
    return list;
}

static int take_first(const struct http_request *request, size_t *ret, struct error *err) {
    const char *from = http_request_query(request, "from");
    int64_t number = 0;
    if (from != NULL && text_parse_int(from, 0, FROM_MAX, "from", &number, err) < 0)
        return -1;
    *ret = (size_t)number;
    return 0;
}

static void show(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    const struct settings *settings = gateway->settings;
    const struct auth_identity *identity = http_request_identity(request);
    struct page_view view = {
        .user = auth_is_required(gateway->auth) ? identity->name : NULL,
        .is_admin = identity->role == AUTH_ADMIN,
        .is_adopting = kernels_is_adopting(gateway->kernels),
        .now_us = clock_wall_us(),
        .started_us = gateway->started_us,
        .max_kernels = settings->max_kernels,
        .max_kernels_per_user = settings->max_kernels_per_user,
        .done = http_request_query(request, "done"),
        .done_to = http_request_query(request, "kernel"),
    };
    struct error err = {0};
    if (take_first(request, &view.first, &err) < 0) {
        http_reply_failure(request, &err);
        return;
    }
    json_t *kernels = NULL;
    if (settings->list_kernels)
        kernels = list_kernels(gateway, identity, view.first, &view.total);
    view.kernels = kernels;
    struct buffer out = {0};
    page_render(&view, &out);
    http_reply_bytes(request, 200, "text/html; charset=utf-8", out.data, out.length);
    buffer_free(&out);
    json_decref(kernels);
}

const struct http_route page_routes[] = {
    {"GET", "/elara", show, HTTP_PAGE},
    {"POST", "/elara", page_act, HTTP_PAGE},
    {NULL, NULL, NULL, 0},
};
