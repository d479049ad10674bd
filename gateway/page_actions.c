/* The buttons of the page. Each answers 303 back to the page once it is done, so that reloading
 * does it no second time. */
#include "base/memory.h"
#include "gateway/api.h"
#include "gateway/kernel_activity.h"
#include "gateway/page.h"

#include <stdlib.h>
#include <string.h>

enum { KEEP_MS = 4 * 60 * 60 * 1000 };

struct acting;

struct action {
    const char *name;
    const char *done; /* what the address of the page says afterwards */
    const char *text;
    void (*begin)(struct kernel *kernel, struct acting *acting);
};

struct acting {
    struct gateway *gateway;
    struct http_request *request;
    const struct action *action;
    char kernel_id[129];
};

static void on_done(void *context, const struct error *err) {
    struct acting *acting = context;
    acting->gateway->answers_owed--;
    if (err != NULL) {
        http_reply_failure(acting->request, err);
    } else {
        char *place =
            memory_printf("?done=%s&kernel=%s#done", acting->action->done, acting->kernel_id);
        http_reply_header(acting->request, "Location", place);
        http_reply_bytes(acting->request, 303, "text/html; charset=utf-8", "", 0);
        free(place);
    }
    free(acting);
}

static void interrupt(struct kernel *kernel, struct acting *acting) {
    kernel_interrupt(kernel, on_done, acting);
}

static void restart(struct kernel *kernel, struct acting *acting) {
    kernel_restart(kernel, on_done, acting);
}

static void shut_down(struct kernel *kernel, struct acting *acting) {
    kernel_shutdown(kernel, NULL, on_done, acting);
}

int64_t page_keep_ms(const struct gateway *gateway, const struct auth_identity *identity) {
    int64_t max_ms = gateway->settings->cull.own_max_ms;
    bool is_bound = identity->role != AUTH_ADMIN && max_ms > 0 && max_ms < KEEP_MS;
    return is_bound ? max_ms : KEEP_MS;
}

static void keep(struct kernel *kernel, struct acting *acting) {
    const struct auth_identity *identity = http_request_identity(acting->request);
    kernel_keep(kernel, page_keep_ms(acting->gateway, identity), identity->name, on_done, acting);
}

static const struct action actions[] = {
    {"interrupt", "interrupted", "was interrupted", interrupt},
    {"restart", "restarted", "was restarted", restart},
    {"delete", "deleted", "was ended and deleted", shut_down},
    {"keep", "kept", "will be kept", keep},
};
enum { ACTIONS = sizeof actions / sizeof actions[0] };

const char *page_done_text(const char *done) {
    for (size_t i = 0; i < ACTIONS; i++)
        if (strcmp(actions[i].done, done) == 0)
            return actions[i].text;
    return NULL;
}

static const struct action *find_action(const char *name) {
    for (size_t i = 0; name != NULL && i < ACTIONS; i++)
        if (strcmp(actions[i].name, name) == 0)
            return &actions[i];
    return NULL;
}

void page_act(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    const char *name = http_request_query(request, "do");
    const char *id = http_request_query(request, "kernel");
    const struct action *action = find_action(name);
    if (action == NULL) {
        http_reply_error(request, 400, NULL, "do: \"%.64s\" is nothing that this page does",
                         name != NULL ? name : "");
        return;
    }
    struct kernel *kernel = api_find_kernel(gateway, request, id != NULL ? id : "");
    if (kernel == NULL)
        return;
    struct acting *acting = memory_alloc(sizeof *acting);
    *acting = (struct acting){.gateway = gateway, .request = request, .action = action};
    snprintf(acting->kernel_id, sizeof acting->kernel_id, "%s", kernel_id(kernel));
    gateway->answers_owed++;
    action->begin(kernel, acting);
}
