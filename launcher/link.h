/* The kernel link's frames (docs/link-protocol.md). Bytes only: sockets, sessions and clocks are
 * the users' business. Shared by the gateway (gateway/links.c) and the launcher
 * (launcher/link_server.c). */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LINK_VERSION = 1,
    LINK_HEADER_SIZE = 16,
    LINK_BATCH_MAX = 64 << 10, /* first part of a message */
    LINK_INLINE_MAX = 8 << 10, /* larger payloads are parts of their own */
    LINK_EXTERNAL_MAX = 64,    /* further parts of a message */
    LINK_SEGMENT_SIZE = 24,    /* payload with LINK_FLAG_SEGMENT */
    /* Which messages are only named. Below, the calls cost more than the copies; above, the reader
     * would be away from its loop for too long. */
    LINK_SEGMENT_MIN = 64 << 10,
    LINK_SEGMENT_MAX = 4 << 20,
    LINK_PAYLOAD_MAX = 1 << 30,
    LINK_WINDOW_DEFAULT = 4 << 20, /* bytes under way to one attachment */
    LINK_GRANT_DEFAULT = 1 << 20,  /* bytes under way from one attachment */
    LINK_PING_INTERVAL_MS = 5000,
    LINK_DEAD_AFTER_MS = 15000,
    LINK_FORGET_AFTER_MS = 30000,
    LINK_SESSION_ID_MAX = 255,
};

enum link_type {
    LINK_HELLO = 1,
    LINK_WELCOME = 2,
    LINK_RESET = 3,
    LINK_PING = 4,
    LINK_PONG = 5,
    LINK_ATTACH = 10,
    LINK_ATTACHED = 11,
    LINK_DETACH = 12,
    LINK_DETACHED = 13,
    LINK_MESSAGE = 20,
    LINK_ACK = 21,
    LINK_REQUEST = 22,
    LINK_GRANT = 23,
    LINK_ANNOUNCE = 24,
    LINK_COMMAND = 30,
    LINK_RESULT = 31,
    LINK_STATUS = 40,
    LINK_EXIT = 41,
};

/* seq of an ANNOUNCE */
enum link_announcement {
    LINK_ANNOUNCE_MAY_COME = 0,
    LINK_ANNOUNCE_GIVEN_UP = 1,
};

enum {
    LINK_FLAG_EXTERNAL = 1, /* the payload is a further part */
    LINK_FLAG_REPEAT = 2,   /* a MESSAGE that rebuilds a cell */
    LINK_FLAG_SEGMENT = 4,  /* the payload says where in the journal's files the message is */
};

/* What a payload with LINK_FLAG_SEGMENT says. */
struct link_segment {
    uint64_t first_seq; /* the file's name */
    uint64_t offset;    /* of the record */
    uint64_t length;    /* of the message */
};

struct link_frame {
    uint8_t type; /* enum link_type, or one of a later version */
    uint8_t flags;
    uint16_t attachment;
    uint32_t length;
    uint64_t seq;
    const uint8_t *payload; /* NULL for an EXTERNAL frame: take the next part */
};

/* Appends one frame to a batch. With LINK_FLAG_EXTERNAL only the header is written and the caller
 * sends the payload as a further part. -1 when the batch would pass LINK_BATCH_MAX (send what there
 * is, start a new one). */
int link_frame_write(struct buffer *batch, enum link_type type, uint16_t attachment, uint64_t seq,
                     const void *payload, size_t length, uint8_t flags);

/* Walks a batch: *at starts at 0. Returns 1 with a frame, 0 at the end, -1 when it is malformed. */
int link_frame_next(const uint8_t *batch, size_t length, size_t *at, struct link_frame *ret,
                    struct error *err);

const char *link_type_name(uint8_t type); /* for logs; "type 77" forms come as "unknown" */

/* Payloads that are one u64 (GRANT). */
void link_u64_write(uint8_t out[8], uint64_t value);
int link_u64_read(const struct link_frame *frame, const uint8_t *payload, uint64_t *ret);

/* ACK; sure: UINT64_MAX when it is not told. Returns how many bytes of `out` it takes. */
enum { LINK_ACK_SIZE = 16 };
size_t link_ack_write(uint8_t out[LINK_ACK_SIZE], uint64_t consumed, uint64_t sure);
int link_ack_read(const struct link_frame *frame, const uint8_t *payload, uint64_t *consumed,
                  uint64_t *sure);

/* Payloads with LINK_FLAG_SEGMENT; -1 for what no launcher sends. */
void link_segment_write(uint8_t out[LINK_SEGMENT_SIZE], const struct link_segment *segment);
int link_segment_read(const struct link_frame *frame, struct link_segment *ret);
