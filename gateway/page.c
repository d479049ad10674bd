#include "gateway/page.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/api.h"

#include <stdlib.h>

enum { FROM_MAX = 1000000 };

struct showing {
    struct gateway *gateway;
    struct http_request *request;
    size_t first;
};

/* list NULL: nobody may list. */
static void reply(void *context, json_t *list, size_t total, uint64_t next) {
    struct showing *showing = context;
    (void)next; /* its pages have numbers that can be gone back to */
    struct gateway *gateway = showing->gateway;
    struct http_request *request = showing->request;
    const struct settings *settings = gateway->settings;
    const struct auth_identity *identity = http_request_identity(request);
    bool is_admin = identity->role == AUTH_ADMIN;
    struct page_view view = {
        .user = auth_is_required(gateway->auth) ? identity->name : NULL,
        .role = identity->role,
        .is_adopting = kernels_is_adopting(gateway->kernels),
        .now_us = clock_wall_us(),
        .started_us = gateway->started_us,
        .max_kernels = settings->max_kernels,
        .max_kernels_per_user = settings->max_kernels_per_user,
        .max_kernels_per_spec = settings->max_kernels_per_spec,
        .problem = is_admin ? settings_problem(settings, NULL) : NULL,
        .pending = is_admin ? settings_pending(settings) : NULL,
        .done = http_request_query(request, "done"),
        .done_to = http_request_query(request, "kernel"),
        .kernels = list,
        .first = showing->first,
        .total = total,
    };
    struct buffer out = {0};
    page_render(&view, &out);
    http_reply_bytes(request, 200, "text/html; charset=utf-8", out.data, out.length);
    buffer_free(&out);
    json_decref(list);
    free(showing);
}

static void show(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    struct error err = {0};
    int64_t first = 0;
    if (api_take_number(request, "from", 0, FROM_MAX, &first, &err) < 0) {
        http_reply_failure(request, &err);
        return;
    }
    struct showing *showing = memory_alloc(sizeof *showing);
    *showing = (struct showing){.gateway = gateway, .request = request, .first = (size_t)first};
    if (gateway->settings->list_kernels)
        api_list_kernels(gateway, http_request_identity(request),
                         &(struct api_page){.first = showing->first, .max = PAGE_ROWS}, reply,
                         showing);
    else
        reply(showing, NULL, 0, 0);
}

const struct http_route page_routes[] = {
    {"GET", "/elara", show, HTTP_PAGE},
    {"POST", "/elara", page_act, HTTP_PAGE},
    {NULL, NULL, NULL, 0},
};
