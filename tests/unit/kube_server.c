#include "kube_server.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/list.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/listener.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PATIENCE_MS = 30000 };

struct kube_server {
    struct event_base *loop;
    struct evconnlistener *listener;
    SSL_CTX *tls;
    kube_handler *handler;
    void *context;
    struct list connections;
    int port;
    unsigned accepted;
};

struct kube_connection {
    struct kube_server *server;
    struct list_node node;
    struct bufferevent *stream;
    bool is_closing;
};

static void free_connection(struct kube_connection *connection) {
    SSL *tls =
        connection->server->tls != NULL ? bufferevent_openssl_get_ssl(connection->stream) : NULL;
    list_remove(&connection->node);
    if (tls != NULL) { /* a close without it looks like an attack to the client */
        SSL_set_shutdown(tls, SSL_RECEIVED_SHUTDOWN);
        SSL_shutdown(tls);
    }
    bufferevent_free(connection->stream);
    free(connection);
}

/* A request in `input` is complete: its length; 0: not yet. */
static size_t request_length(const char *input, size_t *head_length) {
    const char *end = strstr(input, "\r\n\r\n");
    if (end == NULL)
        return 0;
    *head_length = (size_t)(end - input) + 4;
    const char *length = strcasestr(input, "\r\nContent-Length:");
    size_t body = length != NULL && length < end ? strtoul(length + 17, NULL, 10) : 0;
    return strlen(input) >= *head_length + body ? *head_length + body : 0;
}

static void on_input(struct bufferevent *stream, void *context) {
    struct kube_connection *connection = context;
    struct kube_server *server = connection->server;
    struct evbuffer *input = bufferevent_get_input(stream);
    size_t length = evbuffer_get_length(input), head_length = 0;
    char *text = memory_alloc(length + 1);
    evbuffer_copyout(input, text, length);
    size_t taken = request_length(text, &head_length);
    if (taken > 0) {
        char *head = memory_strndup(text, head_length),
             *body = memory_strndup(text + head_length, taken - head_length);
        char method[16], path[4096];
        assert_int_equal(sscanf(head, "%15s %4095s", method, path), 2);
        evbuffer_drain(input, taken);
        struct kube_incoming request = {method, path, head, body};
        server->handler(server->context, connection, &request);
        free(head);
        free(body);
    }
    free(text);
}

static void on_written(struct bufferevent *stream, void *context) {
    struct kube_connection *connection = context;
    if (connection->is_closing && evbuffer_get_length(bufferevent_get_output(stream)) == 0)
        free_connection(connection);
}

static void on_event(struct bufferevent *stream, short what, void *context) {
    (void)stream;
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
        free_connection(context);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from,
                      int length, void *context) {
    (void)listener, (void)from, (void)length;
    struct kube_server *server = context;
    struct kube_connection *connection = memory_alloc(sizeof *connection);
    connection->server = server;
    server->accepted++;
    connection->stream =
        server->tls != NULL
            ? bufferevent_openssl_socket_new(server->loop, fd, SSL_new(server->tls),
                                             BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE)
            : bufferevent_socket_new(server->loop, fd, BEV_OPT_CLOSE_ON_FREE);
    list_append(&server->connections, &connection->node);
    bufferevent_setcb(connection->stream, on_input, on_written, on_event, connection);
    bufferevent_enable(connection->stream, EV_READ | EV_WRITE);
}

struct kube_server *kube_server_start(struct event_base *loop, int port,
                                      const struct kube_pems *tls, kube_handler *handler,
                                      void *context) {
    struct kube_server *server = memory_alloc(sizeof *server);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    server->loop = loop;
    server->handler = handler;
    server->context = context;
    list_init(&server->connections);
    server->listener = evconnlistener_new_bind(
        loop, on_accept, server, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC,
        128, (struct sockaddr *)&address, sizeof address);
    assert_non_null(server->listener);
    assert_int_equal(
        getsockname(evconnlistener_get_fd(server->listener), (struct sockaddr *)&address, &length),
        0);
    server->port = ntohs(address.sin_port);
    if (tls != NULL) {
        server->tls = SSL_CTX_new(TLS_server_method());
        assert_int_equal(SSL_CTX_use_certificate(server->tls, tls->certificate), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(server->tls, tls->key), 1);
    }
    return server;
}

void kube_server_stop(struct kube_server *server) {
    if (server == NULL)
        return;
    evconnlistener_free(server->listener);
    list_each (&server->connections, struct kube_connection, node, connection)
        free_connection(connection);
    SSL_CTX_free(server->tls);
    free(server);
}

int kube_server_port(const struct kube_server *server) {
    return server->port;
}

unsigned kube_server_accepted(const struct kube_server *server) {
    return server->accepted;
}

void kube_write(struct kube_connection *connection, const void *data, size_t length) {
    bufferevent_write(connection->stream, data, length);
}

static void print(struct kube_connection *connection, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void print(struct kube_connection *connection, const char *format, ...) {
    va_list args;
    va_start(args, format);
    evbuffer_add_vprintf(bufferevent_get_output(connection->stream), format, args);
    va_end(args);
}

void kube_answer(struct kube_connection *connection, int status, const char *more_headers,
                 const char *body) {
    print(connection, "HTTP/1.1 %d Whatever\r\nContent-Length: %zu\r\n%s\r\n%s", status,
          strlen(body), more_headers, body);
}

void kube_answer_json(struct kube_connection *connection, int status, json_t *tree) {
    char *text = json_dumps(tree, JSON_COMPACT);
    kube_answer(connection, status, "Content-Type: application/json\r\n", text);
    free(text);
    json_decref(tree);
}

void kube_answer_status(struct kube_connection *connection, int status, const char *reason,
                        const char *message) {
    kube_answer_json(connection, status,
                     json_pack("{s:s, s:s, s:s, s:s, s:i}", "kind", "Status", "status", "Failure",
                               "message", message, "reason", reason, "code", status));
}

void kube_stream_begin(struct kube_connection *connection) {
    print(connection, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
}

void kube_stream_write(struct kube_connection *connection, const char *data, size_t length) {
    print(connection, "%zx\r\n", length);
    kube_write(connection, data, length);
    print(connection, "\r\n");
}

void kube_stream_event(struct kube_connection *connection, const char *type, json_t *object) {
    json_t *event = json_pack("{s:s, s:o}", "type", type, "object", object);
    char *text = json_dumps(event, JSON_COMPACT), *line = memory_printf("%s\n", text);
    kube_stream_write(connection, line, strlen(line));
    free(line);
    free(text);
    json_decref(event);
}

void kube_close(struct kube_connection *connection) {
    connection->is_closing = true;
    bufferevent_disable(connection->stream, EV_READ);
    if (evbuffer_get_length(bufferevent_get_output(connection->stream)) == 0)
        free_connection(connection);
}

void kube_abort(struct kube_connection *connection) {
    struct linger reset = {.l_onoff = 1};
    setsockopt(bufferevent_getfd(connection->stream), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    list_remove(&connection->node);
    bufferevent_free(connection->stream);
    free(connection);
}

/* The loop */

static void on_patience(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    *(bool *)context = true;
}

static struct event *set_patience(struct event_base *loop, int ms, bool *ended) {
    struct timeval in = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    struct event *timer = evtimer_new(loop, on_patience, ended);
    evtimer_add(timer, &in);
    return timer;
}

void kube_run_until(struct event_base *loop, const bool *flag) {
    bool ended = false;
    struct event *timer = set_patience(loop, PATIENCE_MS, &ended);
    while (!*flag && !ended)
        event_base_loop(loop, EVLOOP_ONCE);
    event_free(timer);
    if (!*flag)
        fail_msg("what was waited for has not come within %d ms", PATIENCE_MS);
}

void kube_run_until_count(struct event_base *loop, const unsigned *count, unsigned at_least) {
    bool ended = false;
    struct event *timer = set_patience(loop, PATIENCE_MS, &ended);
    while (*count < at_least && !ended)
        event_base_loop(loop, EVLOOP_ONCE);
    event_free(timer);
    if (*count < at_least)
        fail_msg("only %u of %u came within %d ms", *count, at_least, PATIENCE_MS);
}

void kube_run_for(struct event_base *loop, int ms) {
    bool ended = false;
    struct event *timer = set_patience(loop, ms, &ended);
    while (!ended)
        event_base_loop(loop, EVLOOP_ONCE);
    event_free(timer);
}

/* Files */

static char directory[64];

const char *kube_directory(void) {
    if (directory[0] == '\0') {
        strcpy(directory, "/tmp/elara-kube-XXXXXX");
        assert_non_null(mkdtemp(directory));
    }
    return directory;
}

char *kube_write_file(const char *name, const char *text) {
    char *path = memory_printf("%s/%s", kube_directory(), name);
    struct error err;
    if (file_write(path, text, strlen(text), 0600, &err) < 0)
        fail_msg("%s", err.text);
    return path;
}

void kube_remove_directory(void) {
    if (directory[0] != '\0')
        file_remove_tree(directory, NULL);
    directory[0] = '\0';
}
