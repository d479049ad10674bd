/* What has arrived: turns the bytes that left for one WebSocket client into the acknowledgements of
 * its attachment (docs/link-protocol.md, ACK). Consumed is what has left our memory: it returns
 * credit. Delivered is what the client's TCP has acknowledged: it moves the session's cursor.
 * Neither is said at write(). */
#pragma once

#include "gateway/links.h"
#include "gateway/loop.h"
#include "gateway/websocket.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct delivery_mark;

struct delivery {
    struct loop *loop;
    struct websocket *ws;
    struct attachment *attachment; /* NULL: nothing to acknowledge to */
    size_t window;
    bool has_spoken;   /* only a client that has sent something is known to read */
    bool is_proxy;     /* a notebook server: it may read for a browser that is gone */
    uint64_t received; /* payload bytes of this attachment, ever */
    uint64_t consumed;
    uint64_t acked_consumed;
    uint64_t delivered; /* seq */
    uint64_t sure;      /* the same when the client was last heard: it was there to read it */
    uint64_t acked_delivered, acked_sure;
    uint64_t marked_from; /* in the byte stream: where the messages of the first mark begin */
    struct delivery_mark *marks; /* a ring, oldest first: where messages end in the byte stream */
    size_t mark_first, mark_count, mark_capacity;
    size_t marks_consumed; /* of the marks, how many have left our memory */
    struct loop_deadline later;
};

void delivery_init(struct delivery *delivery, struct loop *loop, struct websocket *ws,
                   size_t window);
/* The attachment is attached, perhaps again (attachment_events.attached): bytes are counted on,
 * numbers begin again when they are anew. */
void delivery_start(struct delivery *delivery, struct attachment *attachment, uint64_t cursor,
                    bool anew);
/* The attachment is gone. */
void delivery_stop(struct delivery *delivery);

/* After the message was given to the websocket (or dropped). is_repeat: it moves no cursor. */
void delivery_note(struct delivery *delivery, uint64_t seq, size_t length, bool is_repeat);
/* The client says something. */
void delivery_heard(struct delivery *delivery);
/* How far it came: `left`, `sure` and `suspect` of the client's end. */
void delivery_measure_end(const struct delivery *delivery, struct attachment_ending *ret);
/* Says at once what has arrived: before the session is attached again, or the client is let go of,
 * so that nothing that has arrived is sent a second time. */
void delivery_flush(struct delivery *delivery);
/* The websocket's queue moved. */
void delivery_update(struct delivery *delivery);
