#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "gateway/links_internal.h"

#include <stdlib.h>
#include <string.h>

#define LOG_AREA "gateway/link_attachments"

enum { FIRST_SLOTS = 2, ATTACHMENTS_MAX = 16384 };

/* Numbers. One is not used again for a long time, so that frames still under way to an earlier
 * attachment find nobody; slots make finding one cost nothing. */

struct attachment *link_attachment_find(const struct link *link, uint16_t number) {
    if (link->slot_count == 0)
        return NULL;
    struct attachment *attachment = link->slots[number & (link->slot_count - 1)];
    return attachment && attachment->number == number ? attachment : NULL;
}

static void grow_slots(struct link *link) {
    size_t count = link->slot_count ? link->slot_count * 2 : FIRST_SLOTS;
    struct attachment **slots = memory_alloc(count * sizeof(struct attachment *));
    for (size_t i = 0; i < link->slot_count; i++)
        if (link->slots[i] != NULL)
            slots[link->slots[i]->number & (count - 1)] = link->slots[i];
    free(link->slots);
    link->slots = slots;
    link->slot_count = count;
}

static void take_number(struct link *link, struct attachment *attachment) {
    if (link->attachment_count >= link->slot_count)
        grow_slots(link);
    size_t slot;
    do {
        if (++link->next_number == 0)
            link->next_number = 1; /* 0 is the kernel */
        slot = link->next_number & (link->slot_count - 1);
    } while (link->slots[slot] != NULL);
    attachment->number = link->next_number;
    link->slots[slot] = attachment;
    link->attachment_count++;
}

/* Sessions. */

static struct link_session *join_session(struct link *link, const char *id) {
    if (id != NULL) {
        list_each (&link->sessions, struct link_session, node, session) {
            if (session->id != NULL && strcmp(session->id, id) == 0) {
                session->attachments++;
                return session;
            }
        }
    }
    struct link_session *session = memory_alloc(sizeof *session);
    session->id = id ? memory_strdup(id) : NULL;
    session->attachments = 1;
    session->next_number = 1;
    list_init(&session->sent);
    list_append(&link->sessions, &session->node);
    return session;
}

static void drop_sent(struct link_session *session, const struct attachment *owner) {
    list_each (&session->sent, struct link_request, node, request)
        if (request->attachment == owner)
            link_request_free(request);
}

static void leave_session(struct link_session *session, struct attachment *attachment) {
    drop_sent(session, attachment);
    if (attachment->state == ATTACHMENT_DUE || attachment->state == ATTACHMENT_ASKED)
        session->attaching--;
    if (--session->attachments > 0)
        return;
    list_remove(&session->node);
    free(session->id);
    free(session);
}

/* Every change of state passes here: the session counts who still waits. */
static void set_state(struct attachment *attachment, enum attachment_state state) {
    struct link_session *session = attachment->session;
    bool waited = attachment->state == ATTACHMENT_DUE || attachment->state == ATTACHMENT_ASKED;
    bool waits = state == ATTACHMENT_DUE || state == ATTACHMENT_ASKED;
    if (waits && !waited)
        session->attaching++;
    if (waited && !waits)
        session->attaching--;
    attachment->state = state;
}

static void wake(struct attachment *attachment) {
    if (attachment->state == ATTACHMENT_ENDED)
        return;
    if (!list_node_is_linked(&attachment->work))
        list_append(&attachment->link->work, &attachment->work);
    link_wake(attachment->link);
}

/* Ends it here; the launcher is told by the caller, if it has to be. The memory goes after the
 * turn. */
static void end(struct attachment *attachment) {
    struct link *link = attachment->link;
    list_each (&attachment->queue, struct link_request, node, request)
        link_request_free(request);
    leave_session(attachment->session, attachment);
    attachment->session = NULL;
    attachment->state = ATTACHMENT_ENDED;
    link->slots[attachment->number & (link->slot_count - 1)] = NULL;
    link->attachment_count--;
    if (attachment->closing)
        link->lingering--;
    list_remove(&attachment->work);
    list_append(&link->links->attachments_ended, &attachment->work);
    loop_post(link->links->loop, &link->links->reap);
}

void link_attachments_reap(struct links *links) {
    list_each (&links->attachments_ended, struct attachment, work, attachment) {
        list_remove(&attachment->work);
        free(attachment);
    }
}

int attachment_open(struct link *link, const struct attachment_wish *wish,
                    const struct attachment_events *events, void *context, struct attachment **ret,
                    struct error *err) {
    const char *session_id = wish->session_id;
    if (link->state == LINK_STATE_CLOSED)
        return error_set(err, ERROR_UNAVAILABLE, "the kernel is gone");
    if (link->attachment_count >= ATTACHMENTS_MAX)
        return error_set(err, ERROR_LIMIT, "%d clients are connected to this kernel already",
                         ATTACHMENTS_MAX);
    if (session_id != NULL) {
        size_t length = strlen(session_id);
        if (length == 0 || length > LINK_SESSION_ID_MAX || !utf8_is_valid(session_id, length))
            return error_set(err, ERROR_INVALID, "session_id must be 1 to %d bytes of UTF-8",
                             LINK_SESSION_ID_MAX);
    }
    struct attachment *attachment = memory_alloc(sizeof *attachment);
    attachment->link = link;
    attachment->session = join_session(link, session_id);
    attachment->session->attaching++; /* it begins as ATTACHMENT_DUE */
    attachment->window = wish->window;
    attachment->from_cursor = attachment->rebuilding = wish->from_cursor && session_id != NULL;
    attachment->unsure_ms = wish->unsure_ms;
    attachment->sure = wish->sure;
    attachment->heard = UINT64_MAX;
    attachment->events = *events;
    attachment->context = context;
    attachment->granted_bytes = LINK_GRANT_DEFAULT;
    list_init(&attachment->queue);
    take_number(link, attachment);
    wake(attachment);
    *ret = attachment;
    return 0;
}

/* What its client sent is still to reach the kernel, also when the client has left: then it
 * lingers, without events, until the launcher has taken that. */
static bool has_unfinished(const struct attachment *attachment) {
    if (!list_is_empty(&attachment->queue))
        return true;
    if (attachment->session->id == NULL)
        return false;
    list_each (&attachment->session->sent, struct link_request, node, request)
        if (request->attachment == attachment && !(attachment->is_given_up && request->in_flight))
            return true;
    return false;
}

void attachment_close(struct attachment *attachment, const struct attachment_ending *ending) {
    if (attachment == NULL || attachment->state == ATTACHMENT_ENDED || attachment->closing)
        return;
    struct link *link = attachment->link;
    attachment->closing = true;
    attachment->has_ending = ending != NULL;
    if (ending != NULL)
        attachment->ending = *ending;
    attachment->events = (struct attachment_events){0};
    if (++link->lingering > LINK_LINGERING_MAX && has_unfinished(attachment)) {
        log_warning("kernel %s: requests of a client that left are given up: the kernel takes none",
                    link->kernel_id);
        attachment->is_given_up = true;
    }
    if (attachment->state == ATTACHMENT_DUE && !has_unfinished(attachment))
        end(attachment); /* the launcher never heard of it */
    else
        wake(attachment);
}

/* Acknowledgements. */

void attachment_ack(struct attachment *attachment, uint64_t delivered, uint64_t consumed,
                    uint64_t sure) {
    if (delivered > attachment->delivered && !attachment->renumbered)
        attachment->delivered = delivered;
    if (!attachment->renumbered)
        attachment->heard = sure;
    if (consumed > attachment->consumed)
        attachment->consumed = consumed;
    attachment->ack_due = true;
    wake(attachment);
}

/* Totals count since ATTACH, so what was received before it does not. A cursor beyond what was sent
 * since then waits until the repeated messages have come. */
static enum link_sent emit_ack(struct attachment *attachment) {
    uint64_t total = attachment->skipped;
    if (attachment->consumed > attachment->received_base)
        total += attachment->consumed - attachment->received_base;
    uint64_t cursor = attachment->delivered;
    if (cursor > attachment->seen_seq)
        cursor = attachment->seen_seq;
    uint64_t sure = link_has_capability(attachment->link, "sure") ? attachment->heard : UINT64_MAX;
    uint8_t payload[LINK_ACK_SIZE];
    size_t length = link_ack_write(payload, total, sure);
    enum link_sent sent =
        link_emit(attachment->link, LINK_ACK, attachment->number, cursor, payload, length);
    if (sent == LINK_SENT)
        attachment->ack_due = false;
    return sent;
}

void attachment_on_message(struct attachment *attachment, const struct link_frame *frame,
                           const struct link_payload *payload) {
    bool is_repeat = frame->flags & LINK_FLAG_REPEAT;
    if (attachment->state != ATTACHMENT_ATTACHED)
        return;
    if (!is_repeat) {
        attachment->rebuilding = false;
        if (frame->seq > attachment->seen_seq)
            attachment->seen_seq = frame->seq;
    }
    if (attachment->closing || (!is_repeat && frame->seq <= attachment->last_seq)) {
        attachment->skipped += payload->length; /* it has it from before the break */
        attachment->ack_due = true;
        wake(attachment);
        return;
    }
    if (!is_repeat)
        attachment->last_seq = frame->seq;
    attachment->received += payload->length;
    attachment->events.message(attachment->context, frame->seq, payload, is_repeat);
}

void link_attachments_renumber(struct link *link) {
    for (size_t i = 0; i < link->slot_count; i++) {
        if (link->slots[i] == NULL)
            continue;
        link->slots[i]->last_seq = 0;
        link->slots[i]->delivered = 0;
        link->slots[i]->heard = UINT64_MAX;
        link->slots[i]->renumbered = true;
    }
}

/* Requests. */

bool attachment_may_send(const struct attachment *attachment) {
    return attachment->state == ATTACHMENT_ATTACHED && !attachment->closing &&
           !attachment->is_given_up &&
           attachment->sent_bytes + attachment->queued_bytes < attachment->granted_bytes;
}

void attachment_send(struct attachment *attachment, const void *message, size_t length) {
    if (attachment->state == ATTACHMENT_ENDED || attachment->closing)
        return;
    struct link_request *request = memory_alloc(sizeof *request);
    if (length > LINK_PAYLOAD_MAX || zmq_msg_init_size(&request->message, length) < 0) {
        log_error("kernel %s: a client message of %zu bytes could not be kept",
                  attachment->link->kernel_id, length);
        free(request);
        return;
    }
    memcpy(zmq_msg_data(&request->message), message, length);
    request->attachment = attachment;
    request->is_held = attachment->link->is_holding;
    request->length = length;
    list_append(&attachment->queue, &request->node);
    attachment->queued_bytes += length;
    wake(attachment);
}

static enum link_sent emit_request(struct link_request *request) {
    struct attachment *attachment = request->attachment;
    enum link_sent sent = link_emit_message(attachment->link, LINK_REQUEST, attachment->number,
                                            request->number, &request->message);
    if (sent != LINK_SENT)
        return sent;
    request->in_flight = true;
    attachment->sent_bytes += request->length;
    attachment->outstanding++;
    return LINK_SENT;
}

static bool is_granted(const struct link_request *request) {
    const struct attachment *attachment = request->attachment;
    return attachment->outstanding == 0 ||
           attachment->sent_bytes + request->length <= attachment->granted_bytes;
}

/* New requests waited behind the repeated ones. */
static void wake_waiting(const struct link_session *session, struct link *link) {
    for (size_t i = 0; i < link->slot_count; i++)
        if (link->slots[i] != NULL && link->slots[i]->session == session &&
            !list_is_empty(&link->slots[i]->queue))
            wake(link->slots[i]);
}

/* The launcher takes numbers in increasing order and drops what is behind: so the repeated ones go
 * first, in their order, and not before all attachments that asked them are attached again. */
static enum link_sent resend(struct link_session *session, struct link *link) {
    if (session->attaching > 0)
        return LINK_SENT;
    for (struct list_node *node = session->sent.head.next; node != &session->sent.head;
         node = node->next) {
        struct link_request *request = list_entry(node, struct link_request, node);
        if (request->in_flight)
            continue;
        if (!is_granted(request))
            return LINK_SENT;
        enum link_sent sent = emit_request(request);
        if (sent != LINK_SENT)
            return sent;
    }
    session->resend = false;
    wake_waiting(session, link);
    return LINK_SENT;
}

static enum link_sent flush_requests(struct attachment *attachment) {
    struct link_session *session = attachment->session;
    if (session->resend) {
        enum link_sent sent = resend(session, attachment->link);
        if (sent != LINK_SENT)
            return sent;
    }
    while (!session->resend && !list_is_empty(&attachment->queue)) {
        struct link_request *request =
            list_entry(attachment->queue.head.next, struct link_request, node);
        if (!is_granted(request) || (request->is_held && attachment->link->is_holding))
            return link_announce_queue(attachment);
        request->number = session->next_number;
        enum link_sent sent = emit_request(request);
        if (sent != LINK_SENT)
            return sent;
        session->next_number++;
        attachment->queued_bytes -= request->length;
        list_remove(&request->node);
        list_append(&session->sent, &request->node);
    }
    return LINK_SENT;
}

/* All numbers up to it were taken. */
static void drop_taken(struct link_session *session, uint64_t number) {
    while (!list_is_empty(&session->sent)) {
        struct link_request *request =
            list_entry(session->sent.head.next, struct link_request, node);
        if (request->number > number)
            return;
        struct attachment *owner = request->attachment;
        if (request->in_flight)
            owner->outstanding--;
        if (owner->closing || !list_is_empty(&owner->queue))
            wake(owner); /* it may leave now, or send a large one */
        link_request_free(request);
    }
}

void attachment_on_grant(struct attachment *attachment, const struct link_frame *frame,
                         const uint8_t *payload) {
    uint64_t granted;
    if (attachment->state != ATTACHMENT_ATTACHED ||
        link_u64_read(frame, payload, &granted) < 0) /* of an earlier ATTACH, or malformed */
        return;
    bool could = attachment_may_send(attachment);
    drop_taken(attachment->session, frame->seq);
    if (granted > attachment->granted_bytes)
        attachment->granted_bytes = granted;
    if (attachment->session->resend || !list_is_empty(&attachment->queue))
        wake(attachment);
    if (!could && attachment_may_send(attachment) && attachment->events.granted != NULL)
        attachment->events.granted(attachment->context);
}

/* ATTACH and its answers. */

/* UINT64_MAX: it is not known. */
static void set_seq(json_t *json, const char *member, uint64_t seq) {
    if (seq != UINT64_MAX)
        json_object_set_new(json, member, json_integer((json_int_t)seq));
}

static enum link_sent emit_attach(struct attachment *attachment) {
    bool cursor = attachment->from_cursor || attachment->was_attached;
    if (!link_has_capability(attachment->link, "rebuild"))
        attachment->rebuilding = false;
    cleanup_json json_t *json =
        json_pack("{s:s?, s:I, s:s, s:b, s:I}", "session_id", attachment->session->id, "window",
                  (json_int_t)attachment->window, "from",
                  cursor && attachment->session->id != NULL ? "cursor" : "live", "rebuild",
                  attachment->rebuilding, "unsure_ms", (json_int_t)attachment->unsure_ms);
    set_seq(json, "sure", attachment->sure);
    if (attachment->is_unnamed)
        json_object_set_new(json, "named", json_false());
    cleanup_free char *text = json_dumps(json, JSON_COMPACT);
    enum link_sent sent =
        link_emit(attachment->link, LINK_ATTACH, attachment->number, 0, text, strlen(text));
    if (sent == LINK_SENT)
        set_state(attachment, ATTACHMENT_ASKED);
    return sent;
}

/* The session's numbering goes on where the launcher says. Requests that were under way are
 * repeated, except those it has taken; when it has no memory of the session they are numbered
 * anew. */
static void continue_numbering(struct attachment *attachment, uint64_t next, bool resumed) {
    struct link_session *session = attachment->session;
    if (session->attachments > session->attaching) { /* another one is at work already */
        if (next > session->next_number)
            session->next_number = next;
        return;
    }
    if (resumed) {
        drop_taken(session, next - 1);
    } else {
        uint64_t number = next;
        list_each (&session->sent, struct link_request, node, request)
            request->number = number++;
        session->next_number = number;
    }
    if (list_is_empty(&session->sent)) {
        session->next_number = next;
        session->resend = false;
    }
}

void attachment_on_attached(struct attachment *attachment, const struct link_frame *frame,
                            const uint8_t *payload) {
    if (attachment->state != ATTACHMENT_ASKED)
        return;
    cleanup_json json_t *json = NULL;
    if (frame->length <= LINK_CONTROL_MAX)
        json = json_loadb((const char *)payload, frame->length, 0, NULL);
    json_int_t next = json_integer_value(json_object_get(json, "next_request"));
    bool resumed = json_is_true(json_object_get(json, "resumed"));
    continue_numbering(attachment, next > 0 ? (uint64_t)next : 1, resumed);
    set_state(attachment, ATTACHMENT_ATTACHED);
    attachment->seen_seq = frame->seq;
    bool anew = !attachment->was_attached || attachment->renumbered || attachment->rebuilding;
    if (!attachment->was_attached || attachment->rebuilding || attachment->session->id == NULL)
        attachment->last_seq = frame->seq;
    attachment->was_attached = true;
    attachment->renumbered = false;
    attachment->ack_due = attachment->delivered > 0;
    wake(attachment);
    if (attachment->events.attached != NULL)
        attachment->events.attached(attachment->context, frame->seq, anew);
    if (attachment->state == ATTACHMENT_ATTACHED && attachment_may_send(attachment) &&
        attachment->events.granted != NULL)
        attachment->events.granted(attachment->context); /* a full queue may have room again */
}

static void tell_detached(struct attachment *attachment, const char *reason) {
    struct attachment_events events = attachment->events;
    void *context = attachment->context;
    end(attachment);
    if (events.detached != NULL)
        events.detached(context, reason);
}

void attachment_on_detached(struct attachment *attachment, const uint8_t *payload, size_t length) {
    cleanup_json json_t *json = NULL;
    if (length <= LINK_CONTROL_MAX)
        json = json_loadb((const char *)payload, length, 0, NULL);
    const char *reason = json_string_value(json_object_get(json, "reason"));
    tell_detached(attachment, reason ? reason : "the kernel's launcher ended it");
}

/* The launcher knows none of them any more: totals begin again with the next ATTACH. */
static void forget(struct attachment *attachment) {
    struct link_session *session = attachment->session;
    if (session->id == NULL)
        drop_sent(session, attachment); /* without a session_id nothing is repeated */
    list_each (&session->sent, struct link_request, node, request)
        request->in_flight = false;
    session->resend = !list_is_empty(&session->sent);
    if (session->id == NULL)
        session->next_number = 1;
    list_each (&attachment->queue, struct link_request, node, waiting)
        waiting->is_announced = false;
    attachment->outstanding = 0;
    attachment->sent_bytes = 0;
    attachment->granted_bytes = LINK_GRANT_DEFAULT;
    attachment->received_base = attachment->received;
    attachment->skipped = 0;
    attachment->ack_due = false;
    if (attachment->closing && !has_unfinished(attachment)) {
        end(attachment);
        return;
    }
    set_state(attachment, ATTACHMENT_DUE);
    wake(attachment);
}

void link_attachment_again(struct attachment *attachment) {
    attachment->is_unnamed = true;
    forget(attachment);
}

void link_hold_requests(struct link *link, bool is_holding) {
    if (link->is_holding == is_holding)
        return;
    link->is_holding = is_holding;
    for (size_t i = 0; i < link->slot_count; i++)
        if (link->slots[i] != NULL && !list_is_empty(&link->slots[i]->queue))
            wake(link->slots[i]);
}

void link_attachments_give_up(struct link *link) {
    for (size_t i = 0; i < link->slot_count; i++) {
        if (link->slots[i] == NULL)
            continue;
        link->slots[i]->is_given_up = true;
        wake(link->slots[i]);
    }
}

void link_attachments_forget(struct link *link) {
    for (size_t i = 0; i < link->slot_count; i++)
        if (link->slots[i] != NULL)
            forget(link->slots[i]);
}

void link_attachments_end(struct link *link, const char *reason) {
    for (size_t i = 0; i < link->slot_count; i++)
        if (link->slots[i] != NULL)
            tell_detached(link->slots[i], reason);
}

static enum link_sent emit_detach(const struct attachment *attachment) {
    const struct attachment_ending *ending = &attachment->ending;
    if (!attachment->has_ending)
        return link_emit(attachment->link, LINK_DETACH, attachment->number, 0, NULL, 0);
    cleanup_json json_t *json =
        json_pack("{s:I, s:b, s:I}", "left", (json_int_t)ending->left, "broken", ending->is_broken,
                  "suspect", (json_int_t)ending->suspect);
    set_seq(json, "sure", ending->sure);
    cleanup_free char *text = json_dumps(json, JSON_COMPACT);
    return link_emit(attachment->link, LINK_DETACH, attachment->number, 0, text, strlen(text));
}

static enum link_sent flush_one(struct attachment *attachment) {
    enum link_sent sent = LINK_SENT;
    if (attachment->state == ATTACHMENT_DUE)
        sent = emit_attach(attachment);
    if (sent == LINK_SENT && attachment->state == ATTACHMENT_ATTACHED) {
        if (attachment->ack_due)
            sent = emit_ack(attachment);
        if (sent == LINK_SENT)
            sent = attachment->is_given_up ? link_announce_given_up(attachment)
                                           : flush_requests(attachment);
    }
    if (sent == LINK_SENT && attachment->closing && !has_unfinished(attachment)) {
        sent = emit_detach(attachment);
        if (sent == LINK_SENT)
            end(attachment);
    }
    return sent;
}

enum link_sent link_attachments_flush(struct link *link) {
    while (!list_is_empty(&link->work)) {
        struct attachment *attachment = list_entry(link->work.head.next, struct attachment, work);
        enum link_sent sent = flush_one(attachment);
        if (sent != LINK_SENT)
            return sent;
        if (attachment->state != ATTACHMENT_ENDED)
            list_remove(&attachment->work);
    }
    return LINK_SENT;
}
