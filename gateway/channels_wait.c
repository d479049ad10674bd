#include "gateway/channels_wait.h"

#include "base/memory.h"
#include "gateway/kernel_shares.h"

#include <stdlib.h>

/* The client gives its connection up when it has read nothing for KERNEL_LAUNCH_TIMEOUT, which it
 * has sent with its POST if its user has set it; its own default is 40 s. */
enum { CLIENT_WAIT_MS = 40000, MARGIN_MS = 2000 };

struct wait {
    struct loop *loop;
    struct channels *channels;
    struct kernel *kernel;
    struct http_request *request;
    struct kernel_watcher watcher;
    struct loop_deadline deadline;
};

static bool is_starting(const struct kernel *kernel) {
    enum kernel_phase phase = kernel_status(kernel)->phase;
    return phase == KERNEL_LAUNCHING || phase == KERNEL_STARTING || phase == KERNEL_RESTARTING;
}

/* Ends the waiting; the request is the caller's. */
static struct http_request *wait_end(struct wait *wait) {
    struct http_request *request = wait->request;
    http_request_on_gone(request, NULL, NULL);
    kernel_unwatch(&wait->watcher);
    loop_deadline_clear(wait->loop, &wait->deadline);
    free(wait);
    return request;
}

static void refuse(struct wait *wait, const struct kernel *kernel) {
    http_reply_error(wait_end(wait), 404, NULL, "Kernel does not exist: %s", kernel_id(kernel));
}

/* Its owner may have stopped sharing it. */
static void wait_open(void *context) {
    struct wait *wait = context;
    struct channels *channels = wait->channels;
    struct kernel *kernel = wait->kernel;
    if (kernel_right(kernel, http_request_identity(wait->request)) < KERNEL_RIGHT_USE)
        refuse(wait, kernel);
    else
        channels_open(channels, kernel, wait_end(wait));
}

static int64_t wait_max_ms(const struct kernel *kernel) {
    int64_t client_ms = kernel_launch_timeout_ms(kernel, CLIENT_WAIT_MS);
    return client_ms > 2 * MARGIN_MS ? client_ms - MARGIN_MS : client_ms / 2;
}

static void on_changed(void *context, struct kernel *kernel) {
    enum kernel_phase phase = kernel_status(kernel)->phase;
    if (phase == KERNEL_GONE)
        refuse(context, kernel);
    else if (phase == KERNEL_READY || phase == KERNEL_DEAD)
        wait_open(context);
}

static void on_gone(void *context) {
    http_reply_empty(wait_end(context), 204); /* goes nowhere, and frees it */
}

void channels_open_patiently(struct channels *channels, struct loop *loop, struct kernel *kernel,
                             struct http_request *request) {
    bool is_impatient = http_request_header(request, "User-Agent") == NULL &&
                        http_request_header_lists(request, "Upgrade", "websocket", false);
    if (!is_impatient || !is_starting(kernel)) {
        channels_open(channels, kernel, request);
        return;
    }
    struct wait *wait = memory_alloc(sizeof *wait);
    *wait = (struct wait){.loop = loop, .channels = channels, .kernel = kernel, .request = request};
    wait->watcher = (struct kernel_watcher){.changed = on_changed, .context = wait};
    wait->deadline = (struct loop_deadline){.run = wait_open, .context = wait};
    kernel_watch(kernel, &wait->watcher);
    loop_deadline_set(loop, &wait->deadline, wait_max_ms(kernel));
    http_request_on_gone(request, on_gone, wait);
}
