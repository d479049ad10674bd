#include "base/clock.h"
#include "base/memory.h"
#include "gateway/http_internal.h"

#include <arpa/inet.h>
#include <event2/bufferevent_ssl.h>
#include <stdlib.h>
#include <string.h>

enum {
    BODY_STEP = 64 << 10,
    PAUSE_MAX_MS = 100,
};

static void advance(void *context);

static void set_deadline(struct http_connection *connection, int64_t in_ms) {
    loop_deadline_set(connection->http->loop, &connection->deadline, in_ms);
}

static void close_soon(struct http_connection *connection) {
    connection->state = HTTP_CLOSED;
    bufferevent_disable(connection->io, EV_READ | EV_WRITE);
    loop_post(connection->http->loop, &connection->task);
}

/* Reads on after the answer: closing with unread bytes would send a reset, and that may overtake
 * the answer. */
static void linger(struct http_connection *connection) {
    connection->state = HTTP_LINGERING;
    if (connection->http->tls == NULL)
        shutdown(bufferevent_getfd(connection->io), SHUT_WR);
    bufferevent_enable(connection->io, EV_READ);
    set_deadline(connection, HTTP_LINGER_MS);
    loop_post(connection->http->loop, &connection->task);
}

/* While a request is waited for, or its answer is on its way, no more is read than a head may take.
 * Not by a read watermark: libevent then calls back again and again. */
static void on_read(struct bufferevent *io, void *context) {
    struct http_connection *connection = context;
    bool is_busy = connection->state == HTTP_ADMITTING || connection->state == HTTP_HANDLING ||
                   connection->state == HTTP_SENDING || connection->state == HTTP_HELD;
    size_t ahead = evbuffer_get_length(bufferevent_get_input(io));
    if (!is_busy)
        loop_post(connection->http->loop, &connection->task);
    else if (ahead > (size_t)connection->http->settings.header_max)
        bufferevent_disable(io, EV_READ);
}

static void start_waiting(struct http_connection *connection) {
    connection->state = HTTP_READING_HEAD;
    connection->head_started = connection->body_done = false;
    http_seat_hold(connection->seat, 0, NULL);
    bufferevent_enable(connection->io, EV_READ);
    set_deadline(connection, connection->http->settings.idle_timeout_ms);
    loop_post(connection->http->loop, &connection->task); /* the next request may be there */
}

/* One that was refused ends, and may come back as another: then all new ones wait. */
static void hold_new(struct http *http, int64_t wait_ms) {
    if (wait_ms > 0 && !http->stopping)
        http_pause_accepting(http, wait_ms < PAUSE_MAX_MS ? wait_ms : PAUSE_MAX_MS);
}

/* True: it goes on at its deadline. */
static bool hold_refused(struct http_connection *connection) {
    struct http *http = connection->http;
    connection->is_refused = false;
    int64_t wait_ms =
        http_refusals_note(&http->refusals, clock_monotonic_us(), connection->spent_us);
    connection->spent_us = 0;
    if (connection->closes)
        hold_new(http, wait_ms);
    if (wait_ms == 0 || connection->closes)
        return false;
    connection->state = HTTP_HELD;
    set_deadline(connection, wait_ms);
    return true;
}

static void finish_sending(struct http_connection *connection) {
    struct evbuffer *input = bufferevent_get_input(connection->io);
    if (connection->is_refused && hold_refused(connection))
        return;
    if (!connection->closes && !connection->http->stopping)
        start_waiting(connection);
    else if (connection->body_done && evbuffer_get_length(input) == 0)
        close_soon(connection);
    else
        linger(connection);
}

/* The output is empty. */
static void on_written(struct bufferevent *io, void *context) {
    struct http_connection *connection = context;
    if (connection->state == HTTP_SENDING && evbuffer_get_length(bufferevent_get_output(io)) == 0)
        finish_sending(connection);
}

static void on_event(struct bufferevent *io, short what, void *context) {
    struct http_connection *connection = context;
    if (what & BEV_EVENT_CONNECTED) /* the TLS handshake is done */
        return;
    if (connection->state == HTTP_HELD)
        hold_new(connection->http,
                 http_refusals_wait(&connection->http->refusals, clock_monotonic_us()));
    bool has_output = evbuffer_get_length(bufferevent_get_output(io)) > 0;
    if ((what & BEV_EVENT_EOF) && connection->state == HTTP_SENDING && has_output)
        connection->closes = true; /* it may have closed its sending side only */
    else
        close_soon(connection);
}

static void refuse(struct http_connection *connection, int status, const char *message) {
    if (connection->request == NULL)
        connection->request = http_request_create(connection);
    connection->state = HTTP_HANDLING;
    connection->closes = true;
    http_reply_error(connection->request, status, NULL, "%s", message);
}

static void reply_refusal(struct http_request *request, const struct error *err) {
    request->refusal = err->text; /* until it is answered */
    http_reply_failure(request, err);
}

static void check_sending(struct http_connection *connection) {
    size_t left = evbuffer_get_length(bufferevent_get_output(connection->io));
    if (left == connection->progress) {
        close_soon(connection);
        return;
    }
    connection->progress = left;
    set_deadline(connection, connection->http->settings.body_timeout_ms);
}

/* The other server hangs, or too many are asked about before this one. */
static void end_admission(struct http_connection *connection) {
    struct http_request *request = connection->request;
    struct error err;
    if (!list_node_is_linked(&request->waiter.node))
        return; /* it is known just now */
    list_remove(&request->waiter.node);
    connection->state = HTTP_HANDLING;
    error_set(&err, ERROR_UNAVAILABLE,
              "who you are is asked of another server, which did not say so in time "
              "(header-timeout): try again");
    reply_refusal(request, &err);
}

static void on_deadline(void *context) {
    struct http_connection *connection = context;
    if (connection->state == HTTP_READING_HEAD && connection->head_started)
        refuse(connection, 408, "header: did not arrive in time");
    else if (connection->state == HTTP_READING_BODY)
        refuse(connection, 408, "body: did not arrive in time");
    else if (connection->state == HTTP_ADMITTING)
        end_admission(connection);
    else if (connection->state == HTTP_SENDING)
        check_sending(connection);
    else if (connection->state == HTTP_HELD)
        finish_sending(connection);
    else
        close_soon(connection);
}

static void write_address(const struct sockaddr *peer, char address[HTTP_ADDRESS_SIZE]) {
    const void *raw = &((const struct sockaddr_in *)(const void *)peer)->sin_addr;
    int family = peer->sa_family;
    if (family == AF_INET6) {
        const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
        raw = six;
        if (IN6_IS_ADDR_V4MAPPED(six)) {
            family = AF_INET;
            raw = (const uint8_t *)six + 12;
        }
    }
    if (inet_ntop(family, raw, address, HTTP_ADDRESS_SIZE) == NULL)
        strcpy(address, "-");
}

void http_connection_open(struct http *http, evutil_socket_t fd, const struct sockaddr *peer) {
    char address[HTTP_ADDRESS_SIZE];
    struct error err;
    struct http_seat *seat;
    write_address(peer, address);
    bool is_refused = http_seat_connection(http->limits, address, fd, &seat, &err) < 0;
    struct bufferevent *io =
        seat == NULL ? NULL
        : http->tls  ? http_tls_accept(http, fd)
                     : bufferevent_socket_new(loop_base(http->loop), fd, BEV_OPT_CLOSE_ON_FREE);
    if (io == NULL) {
        http_seat_free(seat);
        evutil_closesocket(fd);
        return;
    }
    struct http_connection *connection = memory_alloc(sizeof *connection);
    connection->http = http;
    connection->io = io;
    connection->seat = seat;
    connection->task = (struct loop_task){.run = advance, .context = connection};
    connection->deadline = (struct loop_deadline){.run = on_deadline, .context = connection};
    strcpy(connection->address, address);
    list_append(&http->connections, &connection->node);
    bufferevent_setcb(io, on_read, on_written, on_event, connection);
    bufferevent_enable(io, EV_READ | EV_WRITE);
    set_deadline(connection, http->settings.header_timeout_ms);
    if (is_refused) {
        connection->request = http_request_create(connection);
        connection->state = HTTP_HANDLING;
        connection->closes = true;
        reply_refusal(connection->request, &err);
    }
}

void http_connection_free(struct http_connection *connection) {
    struct http_request *request = connection->request;
    list_remove(&connection->node);
    loop_cancel(&connection->task);
    loop_deadline_clear(connection->http->loop, &connection->deadline);
    if (connection->io != NULL)
        bufferevent_free(connection->io);
    http_seat_free(connection->seat);
    free(connection);
    if (request == NULL)
        return;
    request->connection = NULL;
    if (request->is_handled)
        http_request_tell_gone(request);
    else
        http_request_free(request);
}

void http_connection_answered(struct http_connection *connection) {
    connection->is_refused = !connection->request->is_handled;
    connection->request = NULL;
    connection->state = HTTP_SENDING;
    connection->has_served = true;
    connection->progress = 0;
    set_deadline(connection, connection->http->settings.body_timeout_ms);
}

/* The head's length with its empty line; 0: not all there. A line may end in LF alone here: the
 * parser refuses it, and says so. */
static size_t find_head_end(const char *data, size_t length) {
    const char *at = data;
    const char *end = data + length;
    while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        at++;
        if (at < end && *at == '\n')
            return (size_t)(at + 1 - data);
        if (end - at >= 2 && at[0] == '\r' && at[1] == '\n')
            return (size_t)(at + 2 - data);
    }
    return 0;
}

static void skip_empty_lines(struct evbuffer *input) {
    char end[2]; /* some clients send one behind a body */
    while (evbuffer_copyout(input, end, 2) == 2 && end[0] == '\r' && end[1] == '\n')
        evbuffer_drain(input, 2);
}

static void parse_head(struct http_connection *connection, size_t length) {
    struct http_request *request = connection->request = http_request_create(connection);
    struct evbuffer *input = bufferevent_get_input(connection->io);
    struct error err;
    int status = 400;
    request->text = memory_alloc(length + 1);
    evbuffer_remove(input, request->text, length);
    if (http_head_parse(request->text, length, &request->head, &status, &err) < 0 ||
        http_target_parse(request->head.target, &request->target, &err) < 0) {
        refuse(connection, status, err.text);
        return;
    }
    if (connection->http->settings.trust_xheaders)
        http_request_trust_proxy(request);
    connection->closes = !request->head.keeps_alive;
    connection->state = HTTP_READING_BODY;
    connection->progress = 0;
    set_deadline(connection, connection->http->settings.body_timeout_ms);
    if (request->head.content_length > connection->http->settings.body_max)
        refuse(connection, 413, "body: larger than the limit");
}

/* What has come of the request and is not done with. False: it was too much, which was answered. */
static bool hold_input(struct http_connection *connection) {
    struct http_request *request = connection->request;
    struct http_seat *seat = connection->seat;
    struct error err;
    size_t bytes = evbuffer_get_length(request != NULL ? request->body
                                                       : bufferevent_get_input(connection->io));
    if (request != NULL && request->seat != NULL) {
        http_seat_hold(seat, 0, NULL);
        seat = request->seat;
    }
    if (http_seat_hold(seat, bytes, &err) == 0)
        return true;
    if (request == NULL)
        connection->request = request = http_request_create(connection);
    connection->state = HTTP_HANDLING;
    connection->closes = true;
    reply_refusal(request, &err);
    return false;
}

/* True when it went on. */
static bool read_head(struct http_connection *connection) {
    struct evbuffer *input = bufferevent_get_input(connection->io);
    skip_empty_lines(input);
    size_t length = evbuffer_get_length(input);
    if (length == 0)
        return false;
    if (!connection->head_started) {
        connection->head_started = true;
        set_deadline(connection, connection->http->settings.header_timeout_ms);
    }
    size_t limit = (size_t)connection->http->settings.header_max;
    const char *data = (const char *)evbuffer_pullup(input, -1);
    size_t head = find_head_end(data, length);
    if (head > limit || (head == 0 && length > limit))
        refuse(connection, 431, "header: larger than the limit");
    else if (head > 0)
        parse_head(connection, head);
    else if ((unsigned char)*data <= ' ' || (unsigned char)*data >= 0x7f)
        refuse(connection, 400, "request line: this is a plain HTTP/1.1 port"); /* TLS, for one */
    else
        return !hold_input(connection);
    return true;
}

/* 1: all there, 0: not yet, -1: refused. */
static int move_body(struct http_connection *connection) {
    struct http_request *request = connection->request;
    struct evbuffer *input = bufferevent_get_input(connection->io);
    size_t before = evbuffer_get_length(request->body);
    int done;
    if (request->head.is_chunked) {
        struct error err;
        done = http_chunks_move(&request->chunks, input, request->body,
                                (size_t)connection->http->settings.body_max, &err);
        if (done < 0) {
            refuse(connection, err.code == ERROR_LIMIT ? 413 : 400, err.text);
            return -1;
        }
    } else {
        size_t whole = request->head.content_length > 0 ? (size_t)request->head.content_length : 0;
        evbuffer_remove_buffer(input, request->body, whole - before);
        done = evbuffer_get_length(request->body) == whole;
    }
    connection->progress += evbuffer_get_length(request->body) - before;
    if (connection->progress >= BODY_STEP) {
        connection->progress = 0;
        set_deadline(connection, connection->http->settings.body_timeout_ms);
    }
    return done;
}

static void send_continue(struct http_connection *connection) {
    static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    connection->request->head.expects_continue = false;
    bufferevent_write(connection->io, line, sizeof line - 1);
}

/* False: there is none, which was answered. */
static bool find_room(struct http_connection *connection) {
    struct http_request *request = connection->request;
    struct error err;
    if (http_seat_use(connection->seat, request->identity, &err) == 0 &&
        http_seat_request(connection->http->limits, request->identity, &request->seat, &err) == 0)
        return true;
    reply_refusal(request, &err);
    return false;
}

/* False: not yet, or not at all. */
static bool admit(struct http_connection *connection) {
    struct http_request *request = connection->request;
    int64_t began_us = clock_monotonic_us();
    connection->state = HTTP_HANDLING; /* it may be answered in there */
    enum http_admission admission = http_route_admit(request);
    connection->spent_us = clock_monotonic_us() - began_us;
    switch (admission) {
    case HTTP_ADMITTED:
        break;
    case HTTP_WAITS:
        connection->state = HTTP_ADMITTING;
        set_deadline(connection, connection->http->settings.header_timeout_ms);
        return false;
    case HTTP_ANSWERED:
        return false;
    }
    if ((request->route->flags & HTTP_PUBLIC) == 0 && !find_room(connection))
        return false;
    request->is_admitted = true;
    if (!hold_input(connection)) /* it is the request's from now on */
        return false;
    connection->state = HTTP_READING_BODY;
    bufferevent_enable(connection->io, EV_READ); /* it may have been too much to wait with */
    set_deadline(connection, connection->http->settings.body_timeout_ms);
    return true;
}

/* Admission comes before the body has arrived: who may not ask need not send it. A body that was
 * all there when it began to wait is not looked at again: what follows is the next request. */
static void read_body(struct http_connection *connection) {
    struct http_request *request = connection->request;
    int done = connection->body_done ? 1 : move_body(connection);
    if (done < 0)
        return;
    connection->body_done = done;
    if (!hold_input(connection) || (!request->is_admitted && !admit(connection)))
        return;
    if (!done) {
        if (request->head.expects_continue)
            send_continue(connection);
        return;
    }
    connection->state = HTTP_HANDLING;
    loop_deadline_clear(connection->http->loop, &connection->deadline);
    request->is_handled = true;
    request->route->handler(request, request->route_context); /* may end the connection */
}

static void discard_input(struct http_connection *connection) {
    struct evbuffer *input = bufferevent_get_input(connection->io);
    evbuffer_drain(input, evbuffer_get_length(input));
}

static void advance(void *context) {
    struct http_connection *connection = context;
    switch (connection->state) {
    case HTTP_READING_HEAD:
        if (read_head(connection) && connection->state == HTTP_READING_BODY)
            read_body(connection);
        break;
    case HTTP_READING_BODY:
        read_body(connection);
        break;
    case HTTP_ADMITTING:
        if (!list_node_is_linked(&connection->request->waiter.node))
            read_body(connection);
        break;
    case HTTP_HANDLING:
    case HTTP_SENDING:
    case HTTP_HELD:
        break; /* what came early waits in the input, up to the watermark */
    case HTTP_LINGERING:
        discard_input(connection);
        break;
    case HTTP_CLOSED:
        http_connection_free(connection);
        break;
    }
}
