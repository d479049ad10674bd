/* The buttons of the page. Each answers 303 back to the page once it is done, so that reloading
 * does it no second time. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "gateway/api.h"
#include "gateway/culling_view.h"
#include "gateway/kernel_activity.h"
#include "gateway/page.h"

#include <string.h>

enum { KEEP_MS = 4 * 60 * 60 * 1000 };

struct action {
    const char *name;
    const char *done; /* what the address of the page says afterwards */
    const char *text;
    enum kernel_right right; /* that it takes */
    void (*begin)(struct kernel *kernel, struct api_pending *pending);
};

static void on_done(void *context, const struct error *err);

static void interrupt(struct kernel *kernel, struct api_pending *pending) {
    kernel_interrupt(kernel, on_done, pending);
}

static void restart(struct kernel *kernel, struct api_pending *pending) {
    kernel_restart(kernel, on_done, pending);
}

static void shut_down(struct kernel *kernel, struct api_pending *pending) {
    kernel_shutdown(kernel, NULL, on_done, pending);
}

int64_t page_keep_ms(int64_t max_ms) {
    return max_ms > 0 && max_ms < KEEP_MS ? max_ms : KEEP_MS;
}

static void keep(struct kernel *kernel, struct api_pending *pending) {
    const struct auth_identity *identity = http_request_identity(pending->request);
    int64_t max_ms = culling_keep_max_ms(pending->gateway->culling, kernel, identity);
    kernel_keep(kernel, page_keep_ms(max_ms), identity->name, on_done, pending);
}

static const struct action actions[] = {
    {"interrupt", "interrupted", "was interrupted", KERNEL_RIGHT_USE, interrupt},
    {"restart", "restarted", "was restarted", KERNEL_RIGHT_OWN, restart},
    {"delete", "deleted", "was ended and deleted", KERNEL_RIGHT_OWN, shut_down},
    {"keep", "kept", "will be kept", KERNEL_RIGHT_OWN, keep},
};
enum { ACTIONS = sizeof actions / sizeof actions[0] };

/* Its number is the action's. */
static void on_done(void *context, const struct error *err) {
    struct api_pending pending = api_pending_take(context);
    if (err != NULL) {
        http_reply_failure(pending.request, err);
        return;
    }
    cleanup_free char *place =
        memory_printf("?done=%s&kernel=%s#done", actions[pending.number].done, pending.id);
    http_reply_header(pending.request, "Location", place);
    http_reply_bytes(pending.request, 303, "text/html; charset=utf-8", "", 0);
}

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
    struct kernel *kernel = api_find_kernel(gateway, request, id != NULL ? id : "", action->right);
    if (kernel == NULL)
        return;
    struct api_pending *pending = api_pending_create(gateway, request, kernel_id(kernel));
    pending->number = action - actions;
    action->begin(kernel, pending);
}
