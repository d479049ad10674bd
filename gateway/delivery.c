#include "gateway/delivery.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum {
    ACK_DELAY_MS =
        200, /* a cursor may lag this much: what it misses is only repeated after a crash */
    RECHECK_MS = 1000,    /* while the client's TCP has not acknowledged everything */
    MARKS_KEPT = 16,      /* an idle client's ring shrinks to this */
    MARK_BYTES = 8 << 10, /* messages closer together than this share a mark */
};

/* Where a message ends: in the websocket's byte stream, in the journal, in the attachment's
 * count. */
struct delivery_mark {
    uint64_t stream_end; /* websocket_accepted behind it */
    uint64_t seq;        /* 0: of a journal that is no more, or only repeats */
    uint64_t last;       /* of the last message, also when that is a repeat */
    uint64_t received;
};

static void ack_later(void *context);

void delivery_init(struct delivery *delivery, struct loop *loop, struct websocket *ws,
                   size_t window) {
    *delivery = (struct delivery){.loop = loop, .ws = ws, .window = window};
    delivery->later = (struct loop_deadline){.run = ack_later, .context = delivery};
}

static void free_marks(struct delivery *delivery) {
    free(delivery->marks);
    delivery->marks = NULL;
    delivery->mark_first = delivery->mark_count = delivery->mark_capacity = 0;
    delivery->marks_consumed = 0;
}

void delivery_stop(struct delivery *delivery) {
    if (delivery->loop != NULL)
        loop_deadline_clear(delivery->loop, &delivery->later);
    free_marks(delivery);
    delivery->attachment = NULL;
}

static struct delivery_mark *mark_at(const struct delivery *delivery, size_t index) {
    return &delivery->marks[(delivery->mark_first + index) % delivery->mark_capacity];
}

static uint64_t known_sure(const struct delivery *delivery) {
    return delivery->is_proxy ? UINT64_MAX : delivery->sure;
}

void delivery_start(struct delivery *delivery, struct attachment *attachment, uint64_t cursor,
                    bool anew) {
    if (delivery->attachment != attachment) {
        delivery_stop(delivery);
        delivery->attachment = attachment;
        delivery->received = delivery->consumed = delivery->acked_consumed = 0;
    }
    if (!anew && cursor <= delivery->delivered)
        return;
    delivery->delivered = delivery->acked_delivered = delivery->sure = cursor;
    delivery->acked_sure = known_sure(delivery);
    for (size_t i = 0; anew && i < delivery->mark_count; i++)
        mark_at(delivery, i)->seq = 0;
}

static struct delivery_mark *add_mark(struct delivery *delivery) {
    if (delivery->mark_count == delivery->mark_capacity) {
        size_t capacity = delivery->mark_capacity ? delivery->mark_capacity * 2 : MARKS_KEPT;
        struct delivery_mark *marks = memory_alloc(capacity * sizeof *marks);
        for (size_t i = 0; i < delivery->mark_count; i++)
            marks[i] = *mark_at(delivery, i);
        free(delivery->marks);
        delivery->marks = marks;
        delivery->mark_capacity = capacity;
        delivery->mark_first = 0;
    }
    return mark_at(delivery, delivery->mark_count++);
}

static void ack_soon(struct delivery *delivery) {
    if (delivery->later.node.place == 0)
        loop_deadline_set(delivery->loop, &delivery->later, ACK_DELAY_MS);
}

void delivery_note(struct delivery *delivery, uint64_t seq, size_t length, bool is_repeat) {
    if (delivery->attachment == NULL)
        return;
    delivery->received += length;
    uint64_t end = websocket_accepted(delivery->ws);
    struct delivery_mark *last = delivery->mark_count > delivery->marks_consumed
                                     ? mark_at(delivery, delivery->mark_count - 1)
                                     : NULL;
    struct delivery_mark *before =
        delivery->mark_count > 1 ? mark_at(delivery, delivery->mark_count - 2) : NULL;
    uint64_t start = before != NULL ? before->stream_end : 0;
    if (last == NULL || end - start > MARK_BYTES)
        last = add_mark(delivery);
    *last = (struct delivery_mark){
        .stream_end = end, .seq = is_repeat ? 0 : seq, .last = seq, .received = delivery->received};
    ack_soon(delivery);
}

static void measure_consumed(struct delivery *delivery) {
    uint64_t left = websocket_accepted(delivery->ws) - websocket_queued(delivery->ws);
    while (delivery->marks_consumed < delivery->mark_count &&
           mark_at(delivery, delivery->marks_consumed)->stream_end <= left)
        delivery->consumed = mark_at(delivery, delivery->marks_consumed++)->received;
}

static void measure_delivered(struct delivery *delivery) {
    if (delivery->mark_count == 0)
        return; /* with TLS asking costs a ping, whose pong must not make us ask again */
    uint64_t arrived = websocket_acknowledged(delivery->ws);
    while (delivery->marks_consumed > 0 && mark_at(delivery, 0)->stream_end <= arrived) {
        if (mark_at(delivery, 0)->seq > delivery->delivered)
            delivery->delivered = mark_at(delivery, 0)->seq;
        delivery->marked_from = mark_at(delivery, 0)->stream_end;
        delivery->mark_first = (delivery->mark_first + 1) % delivery->mark_capacity;
        delivery->mark_count--;
        delivery->marks_consumed--;
    }
    if (delivery->mark_count == 0 && delivery->mark_capacity > MARKS_KEPT)
        free_marks(delivery);
}

void delivery_measure_end(const struct delivery *delivery, struct attachment_ending *ret) {
    uint64_t gone = websocket_accepted(delivery->ws) - websocket_queued(delivery->ws);
    uint64_t start = delivery->marked_from;
    ret->left = delivery->delivered;
    ret->sure = known_sure(delivery);
    ret->suspect = 0;
    for (size_t i = 0; i < delivery->mark_count && start < gone; i++) {
        const struct delivery_mark *mark = mark_at(delivery, i);
        if (i == 0)
            ret->suspect = mark->last;
        if (mark->seq > ret->left)
            ret->left = mark->seq;
        start = mark->stream_end;
    }
}

static void send_ack(struct delivery *delivery) {
    uint64_t cursor = delivery->has_spoken && delivery->delivered > delivery->acked_delivered
                          ? delivery->delivered
                          : 0;
    uint64_t sure = known_sure(delivery);
    if (cursor == 0 && delivery->consumed == delivery->acked_consumed &&
        sure == delivery->acked_sure)
        return;
    attachment_ack(delivery->attachment, cursor, delivery->consumed, sure);
    delivery->acked_consumed = delivery->consumed;
    delivery->acked_sure = sure;
    if (cursor != 0)
        delivery->acked_delivered = cursor;
}

void delivery_flush(struct delivery *delivery) {
    if (delivery->attachment == NULL)
        return;
    measure_consumed(delivery);
    measure_delivered(delivery);
    send_ack(delivery);
}

static void ack_later(void *context) {
    struct delivery *delivery = context;
    delivery_flush(delivery);
    if (delivery->attachment != NULL && delivery->mark_count > 0)
        loop_deadline_set(delivery->loop, &delivery->later, RECHECK_MS);
}

void delivery_heard(struct delivery *delivery) {
    if (delivery->attachment == NULL)
        return;
    measure_consumed(delivery);
    measure_delivered(delivery);
    delivery->sure = delivery->delivered;
    if (known_sure(delivery) != delivery->acked_sure)
        ack_soon(delivery);
}

/* Credit goes back at once when a good part of the window is free; the rest can wait for the
 * deadline. */
void delivery_update(struct delivery *delivery) {
    if (delivery->attachment == NULL)
        return;
    measure_consumed(delivery);
    if (delivery->consumed - delivery->acked_consumed >= delivery->window / 4)
        delivery_flush(delivery);
}
