/* A real HTTP server on loopback, on a loop in a thread of its own, and a client of few words in
 * the test's thread. */
#pragma once

#include "base/log.h"
#include "gateway/http.h"
#include "gateway/loop.h"
#include "launcher/background.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct server {
    struct loop *loop;
    struct http *http;
    struct http_settings settings;
    struct auth *auth;
    struct event *stop;
    struct background *background;
    int stop_fd;
    int told[2]; /* a pipe: what handlers tell the test */
    pthread_t thread;
};

static inline struct http_settings server_settings(void) {
    return (struct http_settings){.ip = "127.0.0.1",
                                  .base_url = "/",
                                  .body_max = 100000,
                                  .header_max = 65536,
                                  .header_timeout_ms = 10000,
                                  .body_timeout_ms = 10000,
                                  .idle_timeout_ms = 10000};
}

static inline void server_on_stop(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    loop_stop(context);
}

static inline void *server_run(void *context) {
    loop_run(context);
    return NULL;
}

/* Fill in settings and auth before, and the loop when auth needs it; the routes' context is the
 * server. */
static inline void server_start(struct server *server, const struct http_route *routes) {
    struct error err = {0};
    signal(SIGPIPE, SIG_IGN);
    if (server->loop == NULL)
        server->loop = loop_create();
    server->background = background_create(loop_base(server->loop));
    if (http_create(server->loop, &server->settings, server->auth, &server->http, &err) < 0)
        fail_msg("%s", err.text);
    http_add_routes(server->http, routes, server);
    if (http_listen(server->http, &err) < 0)
        fail_msg("%s", err.text);
    server->stop_fd = eventfd(0, EFD_CLOEXEC);
    server->stop =
        event_new(loop_base(server->loop), server->stop_fd, EV_READ, server_on_stop, server->loop);
    event_add(server->stop, NULL);
    assert_int_equal(pipe(server->told), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, server_run, server->loop), 0);
}

static inline void server_stop(struct server *server) {
    uint64_t one = 1;
    assert_int_equal(write(server->stop_fd, &one, sizeof one), sizeof one);
    pthread_join(server->thread, NULL);
    http_destroy(server->http);
    background_destroy(server->background);
    auth_destroy(server->auth);
    event_free(server->stop);
    loop_destroy(server->loop);
    close(server->stop_fd);
    close(server->told[0]);
    close(server->told[1]);
}

/* From a handler to the test: one byte. */
static inline void server_tell(struct server *server, char what) {
    if (write(server->told[1], &what, 1) != 1)
        abort();
}

static inline char server_told(struct server *server) {
    char what = 0;
    assert_int_equal(read(server->told[0], &what, 1), 1);
    return what;
}

static inline int dial(const struct server *server) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)http_port(server->http)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail_msg("cannot connect");
    return fd;
}

static inline void say_bytes(int fd, const void *data, size_t length) {
    const char *at = data;
    while (length > 0) {
        ssize_t sent = send(fd, at, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the server has had enough: what it says is looked at */
        at += sent;
        length -= (size_t)sent;
    }
}

static inline void say(int fd, const char *text) {
    say_bytes(fd, text, strlen(text));
}

/* All that comes until the server closes. */
static inline char *hear(int fd) {
    size_t length = 0, size = 1 << 16;
    char *text = malloc(size);
    ssize_t got;
    while ((got = recv(fd, text + length, size - length - 1, 0)) > 0) {
        length += (size_t)got;
        if (size - length < 1 << 15)
            text = realloc(text, size *= 2);
    }
    text[length] = '\0';
    if (got < 0) {
        fprintf(stderr, "heard only: %s\n", text);
        fail_msg("the server did not close the connection");
    }
    return text;
}

/* Exactly one answer of a connection that stays open. */
static inline char *hear_one(int fd) {
    static char text[1 << 16];
    size_t length = 0, whole = sizeof text - 1;
    while (length < whole) {
        ssize_t got = recv(fd, text + length, whole == sizeof text - 1 ? 1 : whole - length, 0);
        if (got <= 0)
            fail_msg("no answer, only \"%.*s\"", (int)length, text);
        length += (size_t)got;
        text[length] = '\0';
        char *end = whole == sizeof text - 1 ? strstr(text, "\r\n\r\n") : NULL;
        if (end != NULL) {
            char *body = strstr(text, "Content-Length: ");
            whole = (size_t)(end + 4 - text) + (body ? strtoul(body + 16, NULL, 10) : 0);
        }
    }
    return text;
}

/* One request whose answer ends the connection. */
static inline char *ask_bytes(const struct server *server, const void *data, size_t length) {
    int fd = dial(server);
    say_bytes(fd, data, length);
    char *answer = hear(fd);
    close(fd);
    return answer;
}

static inline char *ask(const struct server *server, const char *text) {
    return ask_bytes(server, text, strlen(text));
}

static inline int status_of(const char *answer) {
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : 0;
}

static inline void assert_answer(const char *answer, int status, const char *part) {
    if (status_of(answer) != status || strstr(answer, part) == NULL)
        fail_msg("not %d with \"%s\":\n%s", status, part, answer);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
