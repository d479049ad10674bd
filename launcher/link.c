#include "launcher/link.h"

#include <endian.h>
#include <string.h>

static void put(uint8_t *at, const void *value, size_t size) {
    memcpy(at, value, size);
}

static void write_header(uint8_t out[LINK_HEADER_SIZE], const struct link_frame *frame) {
    uint16_t attachment = htole16(frame->attachment);
    uint32_t length = htole32(frame->length);
    uint64_t seq = htole64(frame->seq);
    out[0] = frame->type;
    out[1] = frame->flags;
    put(out + 2, &attachment, sizeof attachment);
    put(out + 4, &length, sizeof length);
    put(out + 8, &seq, sizeof seq);
}

static void read_header(const uint8_t in[LINK_HEADER_SIZE], struct link_frame *ret) {
    uint16_t attachment;
    uint32_t length;
    uint64_t seq;
    memcpy(&attachment, in + 2, sizeof attachment);
    memcpy(&length, in + 4, sizeof length);
    memcpy(&seq, in + 8, sizeof seq);
    *ret = (struct link_frame){
        .type = in[0],
        .flags = in[1],
        .attachment = le16toh(attachment),
        .length = le32toh(length),
        .seq = le64toh(seq),
    };
}

int link_frame_write(struct buffer *batch, enum link_type type, uint16_t attachment, uint64_t seq,
                     const void *payload, size_t length, uint8_t flags) {
    bool external = flags & LINK_FLAG_EXTERNAL;
    if (length > LINK_PAYLOAD_MAX)
        return -1;
    size_t size = LINK_HEADER_SIZE + (external ? 0 : length);
    if (batch->length > LINK_BATCH_MAX || size > LINK_BATCH_MAX - batch->length ||
        buffer_reserve(batch, size) < 0)
        return -1;
    struct link_frame frame = {
        .type = (uint8_t)type,
        .flags = flags,
        .attachment = attachment,
        .length = (uint32_t)length,
        .seq = seq,
    };
    write_header(batch->data + batch->length, &frame);
    batch->length += LINK_HEADER_SIZE;
    return external ? 0 : buffer_append(batch, payload, length);
}

int link_frame_next(const uint8_t *batch, size_t length, size_t *at, struct link_frame *ret,
                    struct error *err) {
    if (length > LINK_BATCH_MAX)
        return error_set(err, ERROR_LIMIT, "batch: %zu bytes are more than %d", length,
                         LINK_BATCH_MAX);
    if (*at >= length)
        return 0;
    size_t left = length - *at;
    if (left < LINK_HEADER_SIZE)
        return error_set(err, ERROR_INVALID, "frame at %zu: %zu bytes are no header", *at, left);
    struct link_frame frame;
    read_header(batch + *at, &frame);
    left -= LINK_HEADER_SIZE;
    if (frame.length > LINK_PAYLOAD_MAX)
        return error_set(err, ERROR_LIMIT, "frame at %zu: a payload of %u bytes is more than %d",
                         *at, frame.length, LINK_PAYLOAD_MAX);
    if (frame.flags & LINK_FLAG_EXTERNAL) {
        *at += LINK_HEADER_SIZE;
    } else {
        if (frame.length > left)
            return error_set(err, ERROR_INVALID,
                             "frame at %zu: a payload of %u bytes is beyond the batch's %zu bytes",
                             *at, frame.length, length);
        frame.payload = batch + *at + LINK_HEADER_SIZE;
        *at += LINK_HEADER_SIZE + frame.length;
    }
    *ret = frame;
    return 1;
}

const char *link_type_name(uint8_t type) {
    static const char *const names[] = {
        [LINK_HELLO] = "HELLO",       [LINK_WELCOME] = "WELCOME", [LINK_RESET] = "RESET",
        [LINK_PING] = "PING",         [LINK_PONG] = "PONG",       [LINK_ATTACH] = "ATTACH",
        [LINK_ATTACHED] = "ATTACHED", [LINK_DETACH] = "DETACH",   [LINK_DETACHED] = "DETACHED",
        [LINK_MESSAGE] = "MESSAGE",   [LINK_ACK] = "ACK",         [LINK_REQUEST] = "REQUEST",
        [LINK_GRANT] = "GRANT",       [LINK_COMMAND] = "COMMAND", [LINK_RESULT] = "RESULT",
        [LINK_ANNOUNCE] = "ANNOUNCE", [LINK_STATUS] = "STATUS",   [LINK_EXIT] = "EXIT",
    };
    const char *name = type < sizeof names / sizeof *names ? names[type] : NULL;
    return name ? name : "unknown";
}

void link_u64_write(uint8_t out[8], uint64_t value) {
    value = htole64(value);
    memcpy(out, &value, sizeof value);
}

static uint64_t read_u64(const uint8_t *from) {
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return le64toh(value);
}

int link_u64_read(const struct link_frame *frame, const uint8_t *payload, uint64_t *ret) {
    if (frame->length != sizeof *ret || payload == NULL)
        return -1;
    *ret = read_u64(payload);
    return 0;
}

size_t link_ack_write(uint8_t out[LINK_ACK_SIZE], uint64_t consumed, uint64_t sure) {
    link_u64_write(out, consumed);
    link_u64_write(out + 8, sure);
    return sure != UINT64_MAX ? LINK_ACK_SIZE : 8;
}

int link_ack_read(const struct link_frame *frame, const uint8_t *payload, uint64_t *consumed,
                  uint64_t *sure) {
    if ((frame->length != 8 && frame->length != LINK_ACK_SIZE) || payload == NULL)
        return -1;
    *consumed = read_u64(payload);
    *sure = frame->length == LINK_ACK_SIZE ? read_u64(payload + 8) : UINT64_MAX;
    return 0;
}

void link_segment_write(uint8_t out[LINK_SEGMENT_SIZE], const struct link_segment *segment) {
    link_u64_write(out, segment->first_seq);
    link_u64_write(out + 8, segment->offset);
    link_u64_write(out + 16, segment->length);
}

int link_segment_read(const struct link_frame *frame, struct link_segment *ret) {
    uint64_t values[3];
    if (frame->length != sizeof values || frame->payload == NULL)
        return -1;
    memcpy(values, frame->payload, sizeof values);
    *ret = (struct link_segment){le64toh(values[0]), le64toh(values[1]), le64toh(values[2])};
    return ret->length >= LINK_SEGMENT_MIN && ret->length <= LINK_SEGMENT_MAX ? 0 : -1;
}
