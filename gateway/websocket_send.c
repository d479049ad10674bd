#include "gateway/websocket_internal.h"

#include "base/memory.h"

#include <endian.h>
#include <errno.h>
#include <event2/buffer.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
    QUEUE_MAX_DEFAULT = 64 << 20,
    REFERENCE_MIN = 4096, /* below, a copy costs less than the bookkeeping */
    FRAME_HEADER_MAX = 10,
};

static size_t write_header(uint8_t *header, uint8_t opcode, size_t length) {
    header[0] = (uint8_t)(0x80 | opcode);
    if (length < 126) {
        header[1] = (uint8_t)length;
        return 2;
    }
    if (length <= UINT16_MAX) {
        uint16_t big = htobe16((uint16_t)length);
        header[1] = 126;
        memcpy(header + 2, &big, sizeof big);
        return 4;
    }
    uint64_t big = htobe64(length);
    header[1] = 127;
    memcpy(header + 2, &big, sizeof big);
    return 10;
}

static void add_header(struct websocket *ws, uint8_t opcode, size_t length) {
    uint8_t header[FRAME_HEADER_MAX];
    size_t size = write_header(header, opcode, length);
    evbuffer_add(ws->fresh, header, size);
    ws->accepted += size + length;
    ws->is_drained_due = true;
    loop_post(ws->loop, &ws->flush_task);
}

/* False when nothing may be sent any more. A peer that has stopped reading is let go of. */
static bool may_send(struct websocket *ws) {
    if (ws->phase != WEBSOCKET_OPEN)
        return false;
    size_t max = ws->settings.queue_max > 0 ? (size_t)ws->settings.queue_max : QUEUE_MAX_DEFAULT;
    if (websocket_queued(ws) <= max)
        return true;
    websocket_end(ws, "it does not read what it is sent");
    return false;
}

static uint8_t opcode_of(bool binary) {
    return binary ? 2 : 1;
}

void websocket_send(struct websocket *ws, bool binary, const void *data, size_t length) {
    if (!may_send(ws))
        return;
    add_header(ws, opcode_of(binary), length);
    evbuffer_add(ws->fresh, data, length);
}

struct reference {
    void (*release)(void *argument);
    void *argument;
};

static void release_reference(const void *data, size_t length, void *context) {
    (void)data, (void)length;
    struct reference *reference = context;
    reference->release(reference->argument);
    free(reference);
}

void websocket_send_reference(struct websocket *ws, bool binary, const void *data, size_t length,
                              void (*release)(void *argument), void *argument) {
    if (length < REFERENCE_MIN || ws->phase != WEBSOCKET_OPEN) {
        websocket_send(ws, binary, data, length);
        release(argument);
        return;
    }
    if (!may_send(ws)) {
        release(argument);
        return;
    }
    struct reference *reference = memory_alloc(sizeof *reference);
    *reference = (struct reference){release, argument};
    add_header(ws, opcode_of(binary), length);
    if (evbuffer_add_reference(ws->fresh, data, length, release_reference, reference) < 0)
        abort(); /* out of memory */
}

/* Also while closing; data is at most 125 bytes. */
void websocket_send_control(struct websocket *ws, uint8_t opcode, const void *data, size_t length) {
    add_header(ws, opcode, length);
    evbuffer_add(ws->fresh, data, length);
}

size_t websocket_queued(const struct websocket *ws) {
    return evbuffer_get_length(ws->fresh) + evbuffer_get_length(bufferevent_get_output(ws->io));
}

uint64_t websocket_accepted(const struct websocket *ws) {
    return ws->accepted;
}

/* A ping that carries how far the stream had come: its pong proves that the peer has read up to
 * there. */
static void send_probe(struct websocket *ws) {
    if (ws->probe != 0 || ws->proved == ws->accepted || ws->phase != WEBSOCKET_OPEN)
        return;
    ws->probe = ws->accepted;
    uint64_t payload = htobe64(ws->probe);
    websocket_send_control(ws, WEBSOCKET_OPCODE_PING, &payload, sizeof payload);
}

uint64_t websocket_taken(const struct websocket *ws) {
    uint64_t sent = ws->accepted - websocket_queued(ws);
    int waiting = 0;
    if (ioctl(bufferevent_getfd(ws->io), SIOCOUTQ, &waiting) < 0 || waiting < 0)
        return 0;
    return sent > (uint64_t)waiting ? sent - (uint64_t)waiting : 0;
}

uint64_t websocket_acknowledged(struct websocket *ws) {
    if (!ws->is_tls)
        return websocket_taken(ws);
    send_probe(ws);
    return ws->proved;
}

static void tell_drained(struct websocket *ws) {
    if (!ws->is_drained_due || ws->phase != WEBSOCKET_OPEN)
        return;
    if (websocket_queued(ws) == 0)
        ws->is_drained_due = false;
    if (ws->events.drained)
        ws->events.drained(ws->context);
}

/* The output fell below the low watermark. */
void websocket_on_written(struct bufferevent *io, void *context) {
    (void)io;
    struct websocket *ws = context;
    if (ws->ends_when_sent && websocket_queued(ws) == 0)
        websocket_end(ws, "");
    else
        tell_drained(ws);
}

/* The end of the turn: one write for all of its frames. When nothing waits before them they go
 * straight to the socket, which saves two epoll_ctl and a trip round the loop for each message;
 * what the socket does not take is the bufferevent's. */
void websocket_flush(void *context) {
    struct websocket *ws = context;
    if (ws->phase == WEBSOCKET_ENDED)
        return;
    struct evbuffer *output = bufferevent_get_output(ws->io);
    if (!ws->is_tls && evbuffer_get_length(output) == 0 &&
        evbuffer_write(ws->fresh, bufferevent_getfd(ws->io)) < 0 && errno != EAGAIN &&
        errno != EINTR) {
        websocket_end(ws, "the connection broke");
        return;
    }
    if (evbuffer_get_length(ws->fresh) > 0)
        evbuffer_add_buffer(output, ws->fresh);
    if (evbuffer_get_length(output) == 0)
        tell_drained(ws);
}
