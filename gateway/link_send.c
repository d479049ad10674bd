#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "gateway/links_internal.h"
#include "launcher/journal_segment.h"

#include <errno.h>
#include <string.h>

#define LOG_AREA "gateway/link_send"

void link_outgoing_clear(struct link_outgoing *out) {
    for (unsigned i = 0; i < out->part_count; i++)
        zmq_msg_close(&out->parts[i]);
    out->part_count = 0;
    buffer_free(&out->batch);
}

static bool is_empty(const struct link_outgoing *out) {
    return out->batch.length == 0;
}

/* Once the routing id was taken libzmq takes the rest: it looked at the high-water mark there. */
static enum link_sent send_outgoing(struct link *link, struct link_outgoing *out) {
    void *router = link->links->router;
    if (link->route == NULL)
        return LINK_UNREACHABLE;
    if (zmq_send(router, link->route, strlen(link->route), ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
        return zmq_errno() == EAGAIN ? LINK_FULL : LINK_UNREACHABLE; /* and never the body */
    zmq_send(router, out->batch.data, out->batch.length,
             ZMQ_DONTWAIT | (out->part_count > 0 ? ZMQ_SNDMORE : 0));
    for (unsigned i = 0; i < out->part_count; i++) {
        bool more = i + 1 < out->part_count;
        if (zmq_msg_send(&out->parts[i], router, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) < 0)
            zmq_msg_close(&out->parts[i]);
    }
    out->part_count = 0;
    buffer_clear(&out->batch);
    return LINK_SENT;
}

/* Sends what was built. A full pipe's message waits with its link, so that the scratch is free for
 * the next one. */
static enum link_sent push(struct link *link) {
    struct link_outgoing *out = &link->links->out;
    if (is_empty(out))
        return LINK_SENT;
    enum link_sent sent = send_outgoing(link, out);
    if (sent == LINK_FULL) {
        link->stash = memory_alloc(sizeof *link->stash);
        *link->stash =
            *out; /* moves buffer and parts; zmq_msg_t below is moved as libzmq wants it */
        for (unsigned i = 0; i < out->part_count; i++) {
            zmq_msg_init(&link->stash->parts[i]);
            zmq_msg_move(&link->stash->parts[i], &out->parts[i]);
        }
        out->batch = (struct buffer){.limit = out->batch.limit};
    }
    for (unsigned i = 0; i < out->part_count; i++)
        zmq_msg_close(&out->parts[i]);
    out->part_count = 0;
    buffer_clear(&out->batch);
    return sent;
}

/* Room for one more frame, with a part of its own when `external`. */
static enum link_sent make_room(struct link *link, size_t inline_length, bool external) {
    const struct link_outgoing *out = &link->links->out;
    if (out->batch.length + LINK_HEADER_SIZE + inline_length <= LINK_BATCH_MAX &&
        (!external || out->part_count < LINK_EXTERNAL_MAX))
        return LINK_SENT;
    return push(link);
}

enum link_sent link_emit_message(struct link *link, enum link_type type, uint16_t attachment,
                                 uint64_t seq, zmq_msg_t *message) {
    struct link_outgoing *out = &link->links->out;
    size_t length = zmq_msg_size(message);
    bool external = length > LINK_INLINE_MAX;
    enum link_sent sent = make_room(link, external ? 0 : length, external);
    if (sent != LINK_SENT)
        return sent;
    if (link_frame_write(&out->batch, type, attachment, seq, zmq_msg_data(message), length,
                         external) < 0) {
        log_error("kernel %s: a %s of %zu bytes does not fit the link", link->kernel_id,
                  link_type_name((uint8_t)type), length);
        return LINK_SENT;
    }
    if (external) {
        zmq_msg_t *part = &out->parts[out->part_count++];
        zmq_msg_init(part);
        zmq_msg_copy(part, message); /* shares the bytes */
    }
    return LINK_SENT;
}

enum link_sent link_emit(struct link *link, enum link_type type, uint16_t attachment, uint64_t seq,
                         const void *payload, size_t length) {
    if (length > LINK_INLINE_MAX) {
        zmq_msg_t message;
        if (zmq_msg_init_size(&message, length) < 0) {
            log_error("kernel %s: no memory for a %s of %zu bytes", link->kernel_id,
                      link_type_name((uint8_t)type), length);
            return LINK_SENT;
        }
        memcpy(zmq_msg_data(&message), payload, length);
        enum link_sent sent = link_emit_message(link, type, attachment, seq, &message);
        zmq_msg_close(&message);
        return sent;
    }
    enum link_sent sent = make_room(link, length, false);
    if (sent == LINK_SENT)
        link_frame_write(&link->links->out.batch, type, attachment, seq, payload, length, false);
    return sent;
}

static enum link_sent emit_hello(struct link *link) {
    cleanup_json json_t *hello = link_terms_offer(link->links->capabilities);
    if (link->journal != NULL)
        json_array_append_new(json_object_get(hello, "capabilities"),
                              json_string(SEGMENT_CAPABILITY));
    json_object_set_new(hello, "gateway", json_string(link->links->nonce));
    json_object_set_new(hello, "kernel_id", json_string(link->kernel_id));
    cleanup_free char *text = json_dumps(hello, JSON_COMPACT);
    return link_emit(link, LINK_HELLO, 0, 0, text, strlen(text));
}

/* With the question goes an ACK for nothing: a launcher to which libzmq connected again by itself
 * knows neither us nor our attachments, and says so to any frame but HELLO and PING. */
static enum link_sent emit_ping(struct link *link) {
    uint8_t nothing[8] = {0};
    enum link_sent sent = link_emit(link, LINK_PING, 0, ++link->ping_seq, NULL, 0);
    return sent == LINK_SENT ? link_emit(link, LINK_ACK, 0, 0, nothing, sizeof nothing) : sent;
}

static enum link_sent flush_own(struct link *link) {
    enum link_sent sent = LINK_SENT;
    if (link->reset_due && (sent = link_emit(link, LINK_RESET, 0, 0, NULL, 0)) == LINK_SENT)
        link->reset_due = false;
    if (sent == LINK_SENT && link->hello_due && (sent = emit_hello(link)) == LINK_SENT)
        link->hello_due = false;
    if (sent == LINK_SENT && link->pong_due &&
        (sent = link_emit(link, LINK_PONG, 0, link->pong_seq, NULL, 0)) == LINK_SENT)
        link->pong_due = false;
    if (sent == LINK_SENT && link->ping_due && (sent = emit_ping(link)) == LINK_SENT)
        link->ping_due = false;
    return sent;
}

static enum link_sent flush_stash(struct link *link) {
    if (link->stash == NULL)
        return LINK_SENT;
    enum link_sent sent = send_outgoing(link, link->stash);
    if (sent == LINK_SENT) {
        link_outgoing_clear(link->stash);
        free(steal(&link->stash));
    }
    return sent;
}

enum link_sent link_flush(struct link *link) {
    if (link->route == NULL)
        return LINK_SENT; /* on_check connects it; then all of this is said */
    enum link_sent sent = flush_stash(link);
    if (sent == LINK_SENT)
        sent = flush_own(link);
    if (sent == LINK_SENT && link->state == LINK_STATE_UP)
        sent = link_commands_flush(link); /* an interrupt overtakes requests */
    if (sent == LINK_SENT && link->state == LINK_STATE_UP)
        sent = link_attachments_flush(link);
    if (sent == LINK_SENT)
        sent = push(link);
    return sent;
}
