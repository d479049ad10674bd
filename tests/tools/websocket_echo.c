/* The gateway's own WebSocket code behind one route, GET /, that sends every message back. Prints
 * the port that it listens on; ends when its standard input does. */
#include "gateway/http.h"
#include "gateway/websocket.h"

#include "base/memory.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { MESSAGE_MAX = 64 << 20 };

struct echo {
    struct loop *loop;
    struct websocket *ws;
};

static void on_message(void *context, bool binary, const uint8_t *data, size_t length) {
    struct echo *echo = context;
    websocket_send(echo->ws, binary, data, length);
}

static void on_closed(void *context, const char *why) {
    (void)why;
    free(context);
}

static void open_echo(struct http_request *request, void *context) {
    static const struct websocket_events events = {.message = on_message, .closed = on_closed};
    const struct websocket_settings settings = {.message_max = MESSAGE_MAX};
    struct echo *echo = memory_alloc(sizeof *echo);
    echo->loop = context;
    if (websocket_accept(echo->loop, request, NULL, &settings, &events, echo, &echo->ws) < 0)
        free(echo);
}

static void on_input(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    loop_stop(context);
}

int main(void) {
    static const struct http_route routes[] = {{"GET", "/", open_echo, 0}, {0}};
    const struct http_settings settings = {.ip = "127.0.0.1",
                                           .base_url = "/",
                                           .body_max = 1 << 20,
                                           .header_max = 64 << 10,
                                           .header_timeout_ms = 10000,
                                           .body_timeout_ms = 10000,
                                           .idle_timeout_ms = 10000};
    struct error err = {0};
    struct http *http = NULL;
    signal(SIGPIPE, SIG_IGN);
    struct loop *loop = loop_create();
    if (http_create(loop, &settings, NULL, &http, &err) < 0 || http_listen(http, &err) < 0) {
        fprintf(stderr, "websocket_echo: %s\n", err.text);
        return 1;
    }
    http_add_routes(http, routes, loop);
    struct event *input = event_new(loop_base(loop), 0, EV_READ, on_input, loop);
    event_add(input, NULL);
    printf("%d\n", http_port(http));
    fflush(stdout);
    loop_run(loop);
    event_free(input);
    http_destroy(http);
    loop_finish(loop);
    loop_destroy(loop);
    return 0;
}
