/* What websocket.c (a connection's life and what comes in) and websocket_send.c (what goes out)
 * share. */
#pragma once

#include "gateway/websocket.h"
#include "gateway/websocket_reader.h"

#include <event2/bufferevent.h>
#include <event2/event.h>

enum { WEBSOCKET_OPCODE_CLOSE = 8, WEBSOCKET_OPCODE_PING = 9, WEBSOCKET_OPCODE_PONG = 10 };

enum websocket_phase {
    WEBSOCKET_OPEN,
    WEBSOCKET_CLOSING, /* our close frame is out; the peer's is awaited */
    WEBSOCKET_ENDED,   /* the end task is posted; nothing but free happens any more */
};

struct websocket {
    struct loop *loop;
    struct bufferevent *io;
    struct http_seat *seat;
    struct websocket_reader *reader;
    struct websocket_settings settings;
    struct websocket_events events;
    void *context;
    enum websocket_phase phase;
    bool is_tls;
    bool is_paused;
    bool is_dropped;     /* no closed() */
    bool is_unreadable;  /* the peer broke the protocol: what follows is thrown away */
    bool ends_when_sent; /* the peer's close frame has come */
    bool is_broken;
    const char *lost; /* the connection is: how; NULL: it is not */
    char why[128];    /* it ended */
    struct loop_task read_task, flush_task, end_task;
    struct loop_deadline deadline; /* next ping, or the end of closing */

    struct evbuffer *fresh; /* frames of this turn */
    uint64_t accepted;      /* bytes, all frames and the 101 */
    bool is_drained_due;    /* something was sent since drained() was last called */

    uint64_t proved;     /* TLS: bytes a pong has proved */
    uint64_t probe;      /* TLS: what the outstanding probe will prove; 0: none */
    uint64_t seen_taken; /* websocket_taken at the last ping */
    int64_t heard_ms;    /* when the peer last said or took something */
    bool ping_is_out;
};

/* websocket.c */
void websocket_end(struct websocket *ws, const char *why);

/* websocket_send.c */
void websocket_send_control(struct websocket *ws, uint8_t opcode, const void *data, size_t length);
void websocket_flush(void *context);
/* What is no longer in our memory or our kernel's. With TLS roughly: the records' overhead is not
 * known. */
uint64_t websocket_taken(const struct websocket *ws);
void websocket_on_written(struct bufferevent *io, void *context);
