#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "launcher/link_server_internal.h"
#include "launcher/request_notes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_AREA "launcher/link_requests"

/* A GRANT of a quarter of the credit does not wait for company. */
enum { GRANT_URGENT = LINK_GRANT_DEFAULT / 4, NUMBER_GAP_MAX = 1 << 16 };

/* A client message that the kernel does not take yet. */
struct queued_request {
    struct list_node node;
    struct link_session *session;       /* NULL: it was an attachment's own and went with it */
    struct link_attachment *attachment; /* NULL: it is gone */
    session_number session_number;
    uint64_t gateway; /* whose numbering it is in */
    uint64_t number;
    bool is_invalid; /* only its place in the order counts */
    size_t length;   /* as sent */
    uint8_t message[];
};

static void mark_grant(struct link_attachment *attachment) {
    if (attachment->is_gone)
        return;
    struct link_peer *peer = attachment->peer;
    struct link_server *server = peer->server;
    attachment->grant_due = peer->grants_due = true;
    if (attachment->accepted - attachment->granted >= GRANT_URGENT)
        peer->grants_urgent = true;
    if (server->grants.node.place == 0)
        link_server_set_deadline(server, &server->grants,
                                 clock_monotonic_ms() + SERVER_GRANT_DELAY_MS);
}

/* The kernel has it: its bytes are granted again, and the gateway's attachments of the session are
 * told the number. */
static void take_over(struct link_session *session, struct link_attachment *attachment,
                      uint64_t gateway, uint64_t number, size_t length) {
    if (attachment != NULL)
        attachment->accepted += length;
    struct session_gateway *numbers =
        session != NULL ? session_gateway_find(session->slot, gateway) : NULL;
    if (numbers == NULL)
        return;
    numbers->accepted = number;
    list_each (&session->attachments, struct link_attachment, node, each)
        if (each->numbers == numbers)
            mark_grant(each);
}

void link_requests_emit_grants(struct link_peer *peer) {
    peer->grants_due = peer->grants_urgent = false;
    for (size_t i = 0; i < peer->attachment_count; i++) {
        struct link_attachment *attachment = peer->attachments[i];
        if (!attachment->grant_due)
            continue;
        attachment->grant_due = false;
        attachment->granted = attachment->accepted;
        uint8_t total[8];
        link_u64_write(total, attachment->accepted + LINK_GRANT_DEFAULT);
        link_peer_emit(peer, LINK_GRANT, attachment->number, attachment->numbers->accepted, total,
                       sizeof total);
        if (peer->is_gone)
            return;
    }
}

static void enqueue(struct link_attachment *attachment, uint64_t number, const void *message,
                    size_t length, bool is_invalid) {
    struct link_session *session = attachment->session;
    size_t kept = is_invalid ? 0 : length;
    struct queued_request *request = memory_alloc(sizeof *request + kept);
    request->session = session;
    request->attachment = attachment;
    request->session_number = session->number;
    request->gateway = attachment->numbers->gateway;
    request->number = number;
    request->is_invalid = is_invalid;
    request->length = length;
    if (kept > 0)
        memcpy(request->message, message, kept);
    session->queued++;
    list_append(&session->server->queue, &request->node);
    session->server->queue_bytes += sizeof *request + length;
}

static void drop_request(struct link_server *server, struct queued_request *request) {
    server->queue_bytes -= sizeof *request + request->length;
    if (request->session != NULL)
        request->session->queued--;
    list_remove(&request->node);
    free(request);
}

/* true: the attachment ends, this is more than it may send. */
static bool is_refused(struct link_attachment *attachment, const struct link_frame *frame) {
    const struct link_session *session = attachment->session;
    const struct link_server *server = session->server;
    uint64_t outstanding = attachment->received - attachment->accepted;
    uint64_t received = attachment->numbers->received;
    char reason[256];
    if (frame->length > server->payload_max)
        snprintf(reason, sizeof reason, "REQUEST: a message of %u bytes is more than %" PRIu64,
                 frame->length, server->payload_max);
    /* A number may be left out: its gateway gave it up, since the link keeps the order. */
    else if (frame->seq == 0 || (frame->seq > received && frame->seq - received > NUMBER_GAP_MAX))
        snprintf(reason, sizeof reason, "REQUEST: number %" PRIu64 " came, %" PRIu64 " is the next",
                 frame->seq, received + 1);
    else if (outstanding > 0 && outstanding + frame->length > LINK_GRANT_DEFAULT)
        snprintf(reason, sizeof reason,
                 "REQUEST: %" PRIu64 " bytes are outstanding, %d were granted",
                 outstanding + frame->length, LINK_GRANT_DEFAULT);
    else if (server->queue_bytes > 0 && server->queue_bytes + frame->length > SERVER_QUEUE_MAX)
        snprintf(reason, sizeof reason,
                 "REQUEST: %zu bytes wait for the kernel already; try again when it is ready",
                 server->queue_bytes);
    else
        return false;
    link_session_detach(attachment, reason);
    return true;
}

/* false: not now. */
static bool offer(struct link_server *server, session_number session, const void *message,
                  size_t length) {
    struct kernel_message parsed;
    if (!server->events.request(server->context, session, message, length))
        return false;
    if (kernel_message_parse(message, length, &parsed, NULL) == 0 &&
        parsed.channel == CHANNEL_STDIN)
        cells_answered(server->cells, session);
    return true;
}

void link_request_take(struct link_attachment *attachment, const struct link_frame *frame,
                       const uint8_t *payload) {
    struct link_session *session = attachment->session;
    struct link_server *server = session->server;
    struct session_gateway *numbers = attachment->numbers;
    if (is_refused(attachment, frame))
        return;
    attachment->received += frame->length;
    if (frame->seq <= numbers->received) { /* repeated after a break: once is enough */
        attachment->accepted += frame->length;
        mark_grant(attachment);
        return;
    }
    struct kernel_message message;
    struct error err;
    bool is_invalid = kernel_message_parse(payload, frame->length, &message, &err) < 0;
    bool is_late = !is_invalid && !link_announce_came(attachment, &message);
    if (!is_invalid &&
        !is_late) /* before its number counts as received: from then on it is not repeated */
        request_note_append(server->journal, session->number, &message);
    numbers->received = frame->seq;
    if (is_invalid)
        log_warning("session %u: request %" PRIu64 " is dropped: %s", session->number, frame->seq,
                    err.text);
    if (is_late && server->requests_late++ == 0)
        log_info("session %u: request %" PRIu64
                 " comes too late: it was answered as lost (said once)",
                 session->number, frame->seq);
    is_invalid |= is_late;
    bool taken = false;
    if (list_is_empty(&server->queue) && !server->is_draining)
        taken = is_invalid || offer(server, session->number, payload, frame->length);
    if (taken)
        take_over(session, attachment, numbers->gateway, frame->seq, frame->length);
    else
        enqueue(attachment, frame->seq, payload, frame->length, is_invalid);
}

static bool give_to_kernel(struct link_server *server, struct queued_request *request) {
    if (!request->is_invalid &&
        !offer(server, request->session_number, request->message, request->length))
        return false;
    take_over(request->session, request->attachment, request->gateway, request->number,
              request->length);
    drop_request(server, request);
    return true;
}

/* The callback may call back: this walk goes on anyway. */
void link_requests_drain(struct link_server *server) {
    if (server->is_draining)
        return;
    server->is_draining = true;
    while (!list_is_empty(&server->queue) &&
           give_to_kernel(server, list_entry(server->queue.head.next, struct queued_request, node)))
        ;
    server->is_draining = false;
}

void link_requests_orphan(struct link_attachment *attachment) {
    list_each (&attachment->session->server->queue, struct queued_request, node, request) {
        if (request->attachment != attachment)
            continue;
        request->attachment = NULL;
        if (request->session->id == NULL) {
            request->session->queued--;
            request->session = NULL;
        }
    }
}

void link_requests_free(struct link_server *server) {
    list_each (&server->queue, struct queued_request, node, request)
        drop_request(server, request);
}
