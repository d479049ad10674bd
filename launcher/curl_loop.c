#include "launcher/curl_loop.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

struct curl_loop {
    struct event_base *loop;
    CURLM *multi;
    struct event *timer;
    struct curl_loop_events events;
    void *context;
};

static void take_finished(struct curl_loop *loop) {
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(loop->multi, &left)) != NULL;) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURL *easy = message->easy_handle;
        CURLcode code = message->data.result;
        curl_multi_remove_handle(loop->multi, easy); /* message is gone now */
        loop->events.finished(loop->context, easy, code);
    }
}

static void act(struct curl_loop *loop, curl_socket_t fd, int what) {
    int running;
    curl_multi_socket_action(loop->multi, fd, what, &running);
    take_finished(loop);
    if (loop->events.after != NULL)
        loop->events.after(loop->context);
}

static void on_socket(evutil_socket_t fd, short what, void *context) {
    act(context, fd,
        (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    act(context, CURL_SOCKET_TIMEOUT, 0);
}

static int set_timer(CURLM *multi, long timeout_ms, void *context) {
    (void)multi;
    struct curl_loop *loop = context;
    if (timeout_ms < 0) {
        event_del(loop->timer);
        return 0;
    }
    struct timeval in = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    event_add(loop->timer, &in);
    return 0;
}

/* The event goes in this callback: libcurl closes the descriptor next, whose number comes again. */
static int set_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *assigned) {
    (void)easy;
    struct curl_loop *loop = context;
    struct event *event = assigned;
    if (event != NULL)
        event_free(event);
    event = NULL;
    if (what != CURL_POLL_REMOVE) {
        short wanted = (short)((what & CURL_POLL_IN ? EV_READ : 0) |
                               (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);
        event = event_new(loop->loop, fd, wanted, on_socket, loop);
        event_add(event, NULL);
    }
    curl_multi_assign(loop->multi, fd, event);
    return 0;
}

struct curl_loop *curl_loop_create(struct event_base *base, long idle_max,
                                   const struct curl_loop_events *events, void *context) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return NULL;
    struct curl_loop *loop = memory_alloc(sizeof *loop);
    loop->loop = base;
    loop->events = *events;
    loop->context = context;
    loop->multi = curl_multi_init();
    loop->timer = event_new(base, -1, 0, on_timer, loop);
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
    curl_multi_setopt(loop->multi, CURLMOPT_MAXCONNECTS, idle_max);
    return loop;
}

void curl_loop_destroy(struct curl_loop *loop) {
    if (loop == NULL)
        return;
    curl_multi_cleanup(loop->multi); /* tells set_socket of the connections it closes */
    event_free(loop->timer);
    free(loop);
    curl_global_cleanup();
}

void curl_loop_add(struct curl_loop *loop, CURL *easy) {
    CURLMcode added = curl_multi_add_handle(loop->multi, easy);
    assert(added == CURLM_OK); /* out of memory is the only other answer */
    (void)added;
}

void curl_loop_remove(struct curl_loop *loop, CURL *easy) {
    curl_multi_remove_handle(loop->multi, easy);
}
