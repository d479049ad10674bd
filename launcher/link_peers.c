#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "launcher/journal_segment.h"
#include "launcher/link_server_internal.h"

#include <stdlib.h>
#include <string.h>

#define LOG_AREA "launcher/link_peers"

enum {
    BATCH_KEEP = 16 << 10,
    NAMED_MAX = 1 << 20, /* in a batch: its gateway reads all of it in one turn */
};

struct control_frame {
    struct list_node node;
    struct link_frame head;
    uint8_t payload[];
};

struct link_peer *link_peer_find(struct link_server *server, const void *route, size_t length) {
    list_each (&server->peers, struct link_peer, node, peer)
        if (peer->route_length == length && memcmp(peer->route, route, length) == 0)
            return peer;
    return NULL;
}

static void on_silence(void *owner, int64_t now_ms) {
    struct link_peer *peer = owner;
    int64_t when_ms = peer->heard_ms + LINK_FORGET_AFTER_MS;
    if (now_ms < when_ms)
        link_server_set_deadline(peer->server, &peer->silence, when_ms);
    else
        link_peer_forget(peer, "it is silent");
}

static void forget_most_silent(struct link_server *server) {
    struct link_peer *oldest = NULL;
    list_each (&server->peers, struct link_peer, node, peer)
        if (oldest == NULL || peer->heard_ms < oldest->heard_ms)
            oldest = peer;
    if (oldest != NULL)
        link_peer_forget(oldest, "there are too many connections");
}

struct link_peer *link_peer_add(struct link_server *server, const void *route, size_t length) {
    if (server->peer_count >= SERVER_PEERS_MAX)
        forget_most_silent(server);
    struct link_peer *peer = memory_alloc(sizeof *peer);
    peer->server = server;
    memcpy(peer->route, route, length);
    peer->route_length = length;
    peer->batch.limit = LINK_BATCH_MAX;
    list_init(&peer->control);
    list_append(&server->peers, &peer->node);
    server->peer_count++;
    peer->heard_ms = clock_monotonic_ms();
    peer->silence = (struct server_deadline){.due = on_silence, .owner = peer};
    link_server_set_deadline(server, &peer->silence, peer->heard_ms + LINK_FORGET_AFTER_MS);
    return peer;
}

static void drop_output(struct link_peer *peer) {
    for (unsigned i = 0; i < peer->part_count; i++)
        zmq_msg_close(&peer->parts[i]);
    peer->part_count = 0;
    buffer_free(&peer->batch);
    list_each (&peer->control, struct control_frame, node, frame) {
        list_remove(&frame->node);
        free(frame);
    }
    peer->control_bytes = 0;
}

void link_peer_forget(struct link_peer *peer, const char *why) {
    if (peer->is_gone)
        return;
    struct link_server *server = peer->server;
    log_info("gateway %.36s: the connection is forgotten: %s", peer->gateway, why);
    peer->is_gone = true; /* first: what follows must not send to it */
    while (peer->attachment_count > 0)
        link_session_detach(peer->attachments[peer->attachment_count - 1], NULL);
    link_commands_forget_peer(server, peer);
    link_announce_gateway_gone(server, peer->gateway_hash);
    link_server_clear_deadline(server, &peer->silence);
    drop_output(peer);
    list_remove(&peer->node);
    list_append(&server->peers_gone, &peer->node);
    server->peer_count--;
}

bool link_peer_has_capability(const struct link_peer *peer, const char *name) {
    return link_terms_have(&peer->terms, peer->server->capabilities, name);
}

void link_peers_reap(struct link_server *server) {
    list_each (&server->peers_gone, struct link_peer, node, peer) {
        list_remove(&peer->node);
        free(peer->attachments);
        free(peer);
    }
}

/* The routing id decides: libzmq looks at the high-water mark and the address there, then takes all
 * further parts. After a refusal the body must not follow: it would be taken for a routing id. */
static int send_route(struct link_server *server, const void *route, size_t length) {
    return zmq_send(server->router, route, length, ZMQ_DONTWAIT | ZMQ_SNDMORE);
}

void link_peer_send_stray(struct link_server *server, const void *route, size_t length,
                          enum link_type type, uint64_t seq) {
    cleanup_buffer struct buffer batch = {.limit = LINK_BATCH_MAX};
    link_frame_write(&batch, type, 0, seq, NULL, 0, false);
    if (send_route(server, route, length) >= 0)
        zmq_send(server->router, batch.data, batch.length, ZMQ_DONTWAIT);
}

static bool send_batch(struct link_peer *peer) {
    if (peer->batch.length == 0)
        return !peer->is_gone;
    struct link_server *server = peer->server;
    if (send_route(server, peer->route, peer->route_length) < 0) {
        if (zmq_errno() != EAGAIN) {
            link_peer_forget(peer, zmq_strerror(zmq_errno()));
            return false;
        }
        peer->is_blocked = true; /* POLLOUT says nothing about one peer: it is tried again */
        link_server_set_deadline(server, &server->retry, clock_monotonic_ms() + SERVER_RETRY_MS);
        return false;
    }
    zmq_send(server->router, peer->batch.data, peer->batch.length,
             ZMQ_DONTWAIT | (peer->part_count > 0 ? ZMQ_SNDMORE : 0));
    for (unsigned i = 0; i < peer->part_count; i++) {
        bool more = i + 1 < peer->part_count;
        if (zmq_msg_send(&peer->parts[i], server->router, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) <
            0)
            zmq_msg_close(&peer->parts[i]);
    }
    peer->part_count = 0;
    peer->named = 0;
    peer->is_blocked = false;
    buffer_clear(&peer->batch);
    return true;
}

/* Room in the batch for one more frame; sends a full one. */
static bool make_room(struct link_peer *peer, size_t length, bool external) {
    if (peer->is_gone || peer->is_blocked)
        return false;
    size_t size = LINK_HEADER_SIZE + (external ? 0 : length);
    bool fits = peer->batch.length + size <= LINK_BATCH_MAX && peer->named < NAMED_MAX &&
                (!external || peer->part_count < LINK_EXTERNAL_MAX);
    return fits || send_batch(peer);
}

static void copy_part(zmq_msg_t *part, const void *payload, size_t length) {
    if (zmq_msg_init_size(part, length) < 0) {
        log_error("no memory for a payload of %zu bytes", length);
        abort();
    }
    memcpy(zmq_msg_data(part), payload, length);
}

static bool emit_now(struct link_peer *peer, const struct link_frame *head, const void *payload) {
    size_t length = head->length;
    bool external = length > LINK_INLINE_MAX;
    if (!make_room(peer, length, external))
        return false;
    link_frame_write(&peer->batch, head->type, head->attachment, head->seq, payload, length,
                     head->flags | (external ? LINK_FLAG_EXTERNAL : 0));
    if (external)
        copy_part(&peer->parts[peer->part_count++], payload, length);
    return true;
}

void link_peer_emit(struct link_peer *peer, enum link_type type, uint16_t attachment, uint64_t seq,
                    const void *payload, size_t length) {
    struct link_frame head = {
        .type = (uint8_t)type, .attachment = attachment, .length = (uint32_t)length, .seq = seq};
    if (list_is_empty(&peer->control) && emit_now(peer, &head, payload))
        return;
    if (peer->is_gone)
        return;
    if (peer->control_bytes + length + sizeof(struct control_frame) > SERVER_CONTROL_QUEUE_MAX) {
        link_peer_forget(peer, "it does not read what is sent to it");
        return;
    }
    struct control_frame *frame = memory_alloc(sizeof *frame + length);
    frame->head = head;
    if (length > 0)
        memcpy(frame->payload, payload, length);
    list_append(&peer->control, &frame->node);
    peer->control_bytes += length + sizeof *frame;
}

void link_peer_emit_json(struct link_peer *peer, enum link_type type, uint16_t attachment,
                         uint64_t seq, const json_t *json) {
    cleanup_free char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
    const char *payload = text != NULL ? text : "{}";
    link_peer_emit(peer, type, attachment, seq, payload, strlen(payload));
}

/* A gateway on this machine reads the message from the journal's file: two copies less. */
static bool locate(const struct link_peer *peer, const struct journal_record *record,
                   uint8_t ret[LINK_SEGMENT_SIZE]) {
    struct link_segment place = {.length = record->length};
    if (record->length < LINK_SEGMENT_MIN || record->length > LINK_SEGMENT_MAX ||
        !link_peer_has_capability(peer, SEGMENT_CAPABILITY) ||
        !journal_locate(peer->server->journal, record, &place.first_seq, &place.offset))
        return false;
    link_segment_write(ret, &place);
    return true;
}

static bool emit_place(struct link_peer *peer, const struct link_frame *head,
                       const uint8_t place[LINK_SEGMENT_SIZE]) {
    struct link_frame named = *head;
    named.length = LINK_SEGMENT_SIZE;
    named.flags |= LINK_FLAG_SEGMENT;
    if (!emit_now(peer, &named, place))
        return false;
    peer->named += head->length;
    return true;
}

bool link_peer_emit_message(struct link_peer *peer, const struct link_frame *head,
                            const void *payload, const struct journal_record *record,
                            bool may_name) {
    size_t length = head->length;
    if (!list_is_empty(&peer->control))
        return false;
    if (record == NULL || length <= LINK_INLINE_MAX)
        return emit_now(peer, head, payload);
    uint8_t place[LINK_SEGMENT_SIZE];
    if (may_name && locate(peer, record, place))
        return emit_place(peer, head, place);
    if (!make_room(peer, length, true))
        return false;
    link_frame_write(&peer->batch, head->type, head->attachment, head->seq, NULL, length,
                     head->flags | LINK_FLAG_EXTERNAL);
    zmq_msg_t *part = &peer->parts[peer->part_count++];
    void *hold = journal_hold(peer->server->journal, record);
    if (hold == NULL || zmq_msg_init_data(part, (void *)(uintptr_t)payload, length,
                                          journal_hold_release, hold) < 0) {
        journal_hold_release(NULL, hold);
        copy_part(part, payload, length);
    }
    return true;
}

void link_peer_flush(struct link_peer *peer) {
    if (peer->is_gone || (peer->is_blocked && !send_batch(peer)))
        return;
    while (!list_is_empty(&peer->control)) {
        struct control_frame *frame =
            list_entry(peer->control.head.next, struct control_frame, node);
        if (!emit_now(peer, &frame->head, frame->payload))
            return;
        list_remove(&frame->node);
        peer->control_bytes -= frame->head.length + sizeof *frame;
        free(frame);
    }
    if (!link_sessions_pump(peer))
        return;
    /* A GRANT rides with what is sent anyway: alone it would wake the gateway once more for each
     * request. */
    if (peer->grants_due && (peer->grants_urgent || peer->batch.length > 0))
        link_requests_emit_grants(peer);
    if (send_batch(peer) && peer->batch.capacity > BATCH_KEEP)
        buffer_free(&peer->batch); /* an idle kernel's launcher is small */
}
