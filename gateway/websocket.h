/* WebSocket connections (RFC 6455) on an HTTP connection taken over at the upgrade: wslay's frame
 * API for what comes in, our own frame headers for what goes out, so that large payloads go by
 * reference. No extensions. Frames given within one turn of the loop leave as one write at its
 * end. */
#pragma once

#include "gateway/http.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct websocket;

struct websocket_events {
    /* A whole message. Text is checked UTF-8, except one that begins with NUL: jupyter_server's
     * gateway client sends binary messages as such text. */
    void (*message)(void *context, bool binary, const uint8_t *data, size_t length);
    void (*drained)(void *context); /* the send queue got shorter: ask websocket_queued again */
    void (*ponged)(void *context);
    void (*heard)(void *context); /* before something that is no farewell is handed on */
    void (*closed)(
        void *context,
        const char *why); /* by the peer, an error or a time-out; the websocket is gone after it */
};

struct websocket_settings {
    int64_t message_max;      /* of one incoming message; above: close 1009 */
    int64_t ping_interval_ms; /* 0 = none */
    /* A pinged peer that neither says nor takes anything for so long is dropped. 0 = three
     * intervals, at least 30 s */
    int64_t silence_max_ms;
    /* bytes; more waiting to be sent than that ends the connection. 0 = 64 MiB. One message may be
     * larger when nothing waits */
    int64_t queue_max;
};

/* Answers 101 and takes the request over; or answers 400/426 and returns -1 when it is no valid
 * upgrade. subprotocol may be NULL. No event comes from inside the call. */
int websocket_accept(struct loop *loop, struct http_request *request, const char *subprotocol,
                     const struct websocket_settings *settings,
                     const struct websocket_events *events, void *context, struct websocket **ret);
/* True when the client's Sec-WebSocket-Protocol list offers it. */
bool websocket_is_offered(const struct http_request *request, const char *subprotocol);

void websocket_send(struct websocket *ws, bool binary, const void *data,
                    size_t length); /* copies */
/* By reference: release(argument) once the bytes are no longer needed. */
void websocket_send_reference(struct websocket *ws, bool binary, const void *data, size_t length,
                              void (*release)(void *argument), void *argument);

size_t websocket_queued(
    const struct websocket *ws); /* bytes still in our memory, frame headers included */
/* Running total of all bytes written for the peer so far: read it behind a send to know where that
 * message ends. */
uint64_t websocket_accepted(const struct websocket *ws);
/* Running total of those the peer's TCP has acknowledged (accepted - queued - SIOCOUTQ). With TLS:
 * what a pong has proved; asking sends the ping. */
uint64_t websocket_acknowledged(struct websocket *ws);

/* It ended against our will: without a farewell of the peer, or with one that complains (RFC 6455,
 * 7.4.1: other than 1000 and 1001). */
bool websocket_is_broken(const struct websocket *ws);

void websocket_pause(struct websocket *ws); /* stop reading: the client's TCP window fills */
void websocket_resume(struct websocket *ws);

/* Starts the closing handshake; no message event comes after it; closed() does, at the latest after
 * 5 s. 1012 for "come back", never 1000/1001 for that. */
void websocket_close(struct websocket *ws, uint16_t code, const char *reason);
void websocket_drop(struct websocket *ws); /* ends the connection now, without closed() */
