#include "base/clock.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "gateway/websocket_internal.h"

#include <endian.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    READ_MAX = 64 << 10, /* of one client in one turn */
    WRITE_MAX = 1 << 20,
    LOW_WATERMARK = 64 << 10, /* drained() below it */
    CLOSE_WAIT_MS = 5000,
    SILENCE_MIN_MS = 30000,
    TAKEN_MIN = 4096,
    KEY_SIZE = 24, /* 16 bytes in base64 */
    ACCEPT_SIZE = 29,
    CODE_NORMAL = 1000,
    CODE_GOING_AWAY = 1001,
};

static void stop(struct websocket *ws) {
    ws->phase = WEBSOCKET_ENDED;
    loop_deadline_clear(ws->loop, &ws->deadline);
    loop_cancel(&ws->read_task);
    loop_cancel(&ws->flush_task);
    bufferevent_disable(ws->io, EV_READ | EV_WRITE);
    loop_post(ws->loop, &ws->end_task);
}

void websocket_end(struct websocket *ws, const char *why) {
    if (ws->phase == WEBSOCKET_ENDED)
        return;
    if (ws->phase == WEBSOCKET_OPEN) { /* else why was said when closing began */
        snprintf(ws->why, sizeof ws->why, "%s", why);
        ws->is_broken = true;
    }
    stop(ws);
}

void websocket_drop(struct websocket *ws) {
    ws->is_dropped = true;
    if (ws->phase != WEBSOCKET_ENDED)
        stop(ws);
}

/* The last task: nobody is in a callback of this websocket any more. */
static void run_end(void *context) {
    struct websocket *ws = context;
    if (!ws->is_dropped && ws->events.closed)
        ws->events.closed(ws->context, ws->why);
    evbuffer_free(ws->fresh);
    websocket_reader_destroy(ws->reader);
    bufferevent_free(ws->io);
    http_seat_free(ws->seat);
    free(ws);
}

/* Closing. */

static void start_closing(struct websocket *ws, uint16_t code, const char *reason) {
    uint8_t payload[125];
    size_t length = 0;
    if (code != WEBSOCKET_NO_CODE) {
        uint16_t big = htobe16(code);
        memcpy(payload, &big, sizeof big);
        size_t text = reason ? utf8_floor(reason, strlen(reason), sizeof payload - 2) : 0;
        memcpy(payload + 2, reason ? reason : "", text);
        length = 2 + text;
    }
    websocket_send_control(ws, WEBSOCKET_OPCODE_CLOSE, payload, length);
    ws->phase = WEBSOCKET_CLOSING;
    loop_deadline_set(ws->loop, &ws->deadline, CLOSE_WAIT_MS);
    if (ws->is_paused)
        bufferevent_enable(ws->io, EV_READ); /* for the peer's close frame */
    ws->is_paused = false;
    loop_post(ws->loop, &ws->read_task);
}

void websocket_close(struct websocket *ws, uint16_t code, const char *reason) {
    if (ws->phase != WEBSOCKET_OPEN)
        return;
    snprintf(ws->why, sizeof ws->why, "closed by the gateway with %u: %s", code,
             reason ? reason : "");
    start_closing(ws, code, reason);
}

/* RFC 6455, 7.1.7: say why, then end; but read on for a moment, or a reset overtakes the close
 * frame. */
static void fail(struct websocket *ws, uint16_t code, const char *what, const char *why) {
    ws->is_unreadable = true;
    if (ws->phase != WEBSOCKET_OPEN)
        return;
    snprintf(ws->why, sizeof ws->why, "%s%s", what, why);
    start_closing(ws, code, why);
    websocket_flush(ws);
    if (!ws->is_tls && ws->phase == WEBSOCKET_CLOSING)
        shutdown(bufferevent_getfd(ws->io), SHUT_WR);
}

/* The peer's close frame: echo it, unless it answers ours, and that is it. */
static void on_close(struct websocket *ws, const struct websocket_item *item) {
    if (ws->phase == WEBSOCKET_OPEN) {
        snprintf(ws->why, sizeof ws->why, "closed by the client with %u", item->code);
        ws->is_broken = item->code != CODE_NORMAL && item->code != CODE_GOING_AWAY &&
                        item->code != WEBSOCKET_NO_CODE;
        start_closing(ws, item->code, NULL);
        websocket_flush(ws);
    }
    ws->ends_when_sent = true; /* TLS writes in the next turn */
    if (websocket_queued(ws) == 0)
        websocket_end(ws, "");
}

bool websocket_is_broken(const struct websocket *ws) {
    return ws->is_broken;
}

/* Reading. */

static void on_pong(struct websocket *ws, const struct websocket_item *item) {
    uint64_t value;
    if (item->length == sizeof value && ws->probe != 0) {
        memcpy(&value, item->data, sizeof value);
        if (be64toh(value) == ws->probe) {
            ws->proved = ws->probe;
            ws->probe = 0;
        }
    }
    ws->ping_is_out = false;
    if (ws->phase == WEBSOCKET_OPEN && ws->events.ponged)
        ws->events.ponged(ws->context);
}

static void take_item(struct websocket *ws, const struct websocket_item *item) {
    switch (item->kind) {
    case WEBSOCKET_MESSAGE:
        if (ws->phase == WEBSOCKET_OPEN && ws->events.message)
            ws->events.message(ws->context, item->binary, item->data, item->length);
        break;
    case WEBSOCKET_PING:
        if (ws->phase == WEBSOCKET_OPEN && websocket_queued(ws) <= READ_MAX)
            websocket_send_control(ws, WEBSOCKET_OPCODE_PONG, item->data, item->length);
        break; /* else it pings without reading: our pongs must not pile up */
    case WEBSOCKET_PONG:
        on_pong(ws, item);
        break;
    case WEBSOCKET_CLOSE:
        on_close(ws, item);
        break;
    case WEBSOCKET_BROKEN:
        fail(ws, item->code, "it broke the WebSocket protocol: ", item->why);
        break;
    case WEBSOCKET_NONE:
        break;
    }
}

/* What came of a message that is not whole takes its part of max-input-bytes. */
static void hold_input(struct websocket *ws) {
    struct error err;
    if (ws->phase == WEBSOCKET_OPEN && !ws->is_unreadable &&
        http_seat_hold(ws->seat, websocket_reader_held(ws->reader), &err) < 0)
        fail(ws, WEBSOCKET_TRY_LATER, "", err.text);
}

/* A callback may pause, close or drop this websocket. */
static void run_read(void *context) {
    struct websocket *ws = context;
    struct websocket_item item = {.kind = WEBSOCKET_PING};
    bool heard = false;
    ws->heard_ms = clock_monotonic_ms();
    while (item.kind != WEBSOCKET_NONE && ws->phase != WEBSOCKET_ENDED && !ws->is_paused &&
           !ws->is_unreadable && !ws->ends_when_sent) {
        websocket_reader_next(ws->reader, &item);
        if (!heard && item.kind != WEBSOCKET_NONE && item.kind != WEBSOCKET_CLOSE) {
            heard = true;
            if (ws->events.heard)
                ws->events.heard(ws->context);
        }
        take_item(ws, &item);
    }
    hold_input(ws);
    if (ws->phase == WEBSOCKET_ENDED)
        return;
    if (ws->is_unreadable || ws->ends_when_sent) {
        struct evbuffer *input = bufferevent_get_input(ws->io);
        evbuffer_drain(input, evbuffer_get_length(input));
    }
    if (ws->lost != NULL)
        websocket_end(ws, ws->lost);
}

static void on_read(struct bufferevent *io, void *context) {
    (void)io;
    struct websocket *ws = context;
    if (!ws->is_paused)
        loop_post(ws->loop, &ws->read_task);
}

/* With TLS this comes from inside calls into the bufferevent, so it only leaves a note. What came
 * before the end still counts. */
static void on_event(struct bufferevent *io, short what, void *context) {
    (void)io;
    struct websocket *ws = context;
    if ((what & BEV_EVENT_CONNECTED) || ws->phase == WEBSOCKET_ENDED)
        return;
    ws->lost = what & BEV_EVENT_EOF ? "the client went away" : "the connection broke";
    loop_post(ws->loop, &ws->read_task);
}

void websocket_pause(struct websocket *ws) {
    if (ws->phase != WEBSOCKET_OPEN || ws->is_paused)
        return;
    ws->is_paused = true;
    bufferevent_disable(ws->io, EV_READ);
}

void websocket_resume(struct websocket *ws) {
    if (ws->phase != WEBSOCKET_OPEN || !ws->is_paused)
        return;
    ws->is_paused = false;
    ws->heard_ms = clock_monotonic_ms(); /* it was we who did not listen */
    bufferevent_enable(ws->io, EV_READ);
    loop_post(ws->loop, &ws->read_task);
}

/* Time. */

static int64_t silence_max(const struct websocket *ws) {
    if (ws->settings.silence_max_ms > 0)
        return ws->settings.silence_max_ms;
    int64_t three = 3 * ws->settings.ping_interval_ms;
    return three > SILENCE_MIN_MS ? three : SILENCE_MIN_MS;
}

/* A slow line that is still taking megabytes answers no ping until it has them: taking counts as a
 * sign of life. A few bytes do not: the peer's kernel acknowledges pings whether anybody reads them
 * or not. */
static void on_ping_time(struct websocket *ws) {
    int64_t now = clock_monotonic_ms();
    uint64_t taken = websocket_taken(ws);
    if (ws->is_paused || taken >= ws->seen_taken + TAKEN_MIN)
        ws->heard_ms = now;
    ws->seen_taken = taken;
    if (now - ws->heard_ms >= silence_max(ws)) {
        websocket_end(ws, "it answers no ping");
        return;
    }
    if (!ws->ping_is_out || websocket_queued(ws) == 0)
        websocket_send_control(ws, WEBSOCKET_OPCODE_PING, "", 0);
    ws->ping_is_out = true;
    loop_deadline_set(ws->loop, &ws->deadline, ws->settings.ping_interval_ms);
}

static void on_deadline(void *context) {
    struct websocket *ws = context;
    if (ws->phase == WEBSOCKET_OPEN)
        on_ping_time(ws);
    else
        websocket_end(ws, "");
}

/* The upgrade. */

static bool is_key(const char *key) {
    uint8_t raw[KEY_SIZE];
    return key != NULL && strlen(key) == KEY_SIZE && strcmp(key + KEY_SIZE - 2, "==") == 0 &&
           EVP_DecodeBlock(raw, (const uint8_t *)key, KEY_SIZE) == 18;
}

static void make_accept(const char *key, char accept[ACCEPT_SIZE]) {
    static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t text[KEY_SIZE + sizeof magic - 1], digest[EVP_MAX_MD_SIZE];
    memcpy(text, key, KEY_SIZE);
    memcpy(text + KEY_SIZE, magic, sizeof magic - 1);
    if (EVP_Digest(text, sizeof text, digest, NULL, EVP_sha1(), NULL) != 1)
        abort();
    EVP_EncodeBlock((uint8_t *)accept, digest, 20);
}

/* -1: refused, and answered. */
static int check_upgrade(struct http_request *request) {
    static const char wrong[] = "Can \"Upgrade\" only to \"WebSocket\".";
    const char *version = http_request_header(request, "Sec-WebSocket-Version");
    if (strcmp(http_request_method(request), "GET") != 0 ||
        !http_request_header_lists(request, "Upgrade", "websocket", false) ||
        !http_request_header_lists(request, "Connection", "upgrade", false)) {
        http_reply_bytes(request, 400, "text/plain; charset=UTF-8", wrong, sizeof wrong - 1);
    } else if (version == NULL || strcmp(version, "13") != 0) {
        http_reply_header(request, "Sec-WebSocket-Version", "13");
        http_reply_error(request, 426, NULL, "header Sec-WebSocket-Version: must be 13");
    } else if (!is_key(http_request_header(request, "Sec-WebSocket-Key"))) {
        http_reply_error(request, 400, NULL,
                         "header Sec-WebSocket-Key: must be 16 bytes in base64");
    } else {
        return 0;
    }
    return -1;
}

bool websocket_is_offered(const struct http_request *request, const char *subprotocol) {
    return http_request_header_lists(request, "Sec-WebSocket-Protocol", subprotocol, true);
}

static void start(struct websocket *ws, struct bufferevent *io) {
    ws->io = io;
    ws->is_tls = bufferevent_openssl_get_ssl(io) != NULL;
    ws->fresh = evbuffer_new();
    if (ws->fresh == NULL)
        abort();
    ws->reader =
        websocket_reader_create(bufferevent_get_input(io), (size_t)ws->settings.message_max);
    ws->accepted = evbuffer_get_length(bufferevent_get_output(io)); /* the 101 */
    ws->heard_ms = clock_monotonic_ms();
    ws->read_task = (struct loop_task){.run = run_read, .context = ws};
    ws->flush_task = (struct loop_task){.run = websocket_flush, .context = ws};
    ws->end_task = (struct loop_task){.run = run_end, .context = ws};
    ws->deadline = (struct loop_deadline){.run = on_deadline, .context = ws};
    bufferevent_setcb(io, on_read, websocket_on_written, on_event, ws);
    bufferevent_setwatermark(io, EV_WRITE, LOW_WATERMARK, 0);
    bufferevent_set_max_single_read(io, READ_MAX);
    bufferevent_set_max_single_write(io, WRITE_MAX); /* libevent's own is 16 KiB */
    bufferevent_set_timeouts(io, NULL, NULL);
    bufferevent_enable(io, EV_READ | EV_WRITE);
    if (ws->settings.ping_interval_ms > 0)
        loop_deadline_set(ws->loop, &ws->deadline, ws->settings.ping_interval_ms);
    loop_post(ws->loop, &ws->read_task); /* frames may stand right behind the request */
}

int websocket_accept(struct loop *loop, struct http_request *request, const char *subprotocol,
                     const struct websocket_settings *settings,
                     const struct websocket_events *events, void *context, struct websocket **ret) {
    char accept[ACCEPT_SIZE];
    if (check_upgrade(request) < 0)
        return -1;
    make_accept(http_request_header(request, "Sec-WebSocket-Key"), accept);
    http_reply_header(request, "Upgrade", "websocket");
    http_reply_header(request, "Connection", "Upgrade");
    http_reply_header(request, "Sec-WebSocket-Accept", accept);
    if (subprotocol != NULL)
        http_reply_header(request, "Sec-WebSocket-Protocol", subprotocol);
    struct http_seat *seat = NULL;
    struct bufferevent *io = http_request_take(request, &seat);
    if (io == NULL)
        return -1;
    struct websocket *ws = memory_alloc(sizeof *ws);
    ws->loop = loop;
    ws->seat = seat;
    ws->settings = *settings;
    ws->events = *events;
    ws->context = context;
    start(ws, io);
    *ret = ws;
    return 0;
}
