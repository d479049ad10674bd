#include "launcher/kernel_message.h"

#include <endian.h>
#include <inttypes.h>
#include <string.h>

/* Parts before the buffers: channel, header, parent_header, metadata, content. */
enum { FIXED_PARTS = 5 };

static const char *const channel_names[CHANNEL_COUNT] = {
    [CHANNEL_SHELL] = "shell",
    [CHANNEL_CONTROL] = "control",
    [CHANNEL_STDIN] = "stdin",
    [CHANNEL_IOPUB] = "iopub",
};

static uint64_t read_u64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return le64toh(value);
}

/* Number `index` behind the count. */
static uint64_t offset_at(const uint8_t *base, size_t index) {
    return read_u64(base + 8 * (index + 1));
}

static struct bytes part_at(const uint8_t *base, size_t index) {
    uint64_t start = offset_at(base, index);
    return (struct bytes){base + start, (size_t)(offset_at(base, index + 1) - start)};
}

static int check_offsets(const uint8_t *base, size_t length, uint64_t count, struct error *err) {
    uint64_t previous = 8 * (count + 1);
    if (offset_at(base, 0) != previous)
        return error_set(err, ERROR_INVALID,
                         "offset 0: %" PRIu64 " must be %" PRIu64 ", the end of the offsets",
                         offset_at(base, 0), previous);
    for (size_t i = 1; i < count; i++) {
        uint64_t offset = offset_at(base, i);
        if (offset < previous)
            return error_set(err, ERROR_INVALID,
                             "offset %zu: %" PRIu64 " is before offset %zu, which is %" PRIu64, i,
                             offset, i - 1, previous);
        if (offset > length)
            return error_set(err, ERROR_INVALID,
                             "offset %zu: %" PRIu64 " is beyond the frame's %zu bytes", i, offset,
                             length);
        previous = offset;
    }
    if (previous != length)
        return error_set(err, ERROR_INVALID,
                         "offset %" PRIu64 ": %" PRIu64 " must be the frame's end at %zu bytes",
                         count - 1, previous, length);
    return 0;
}

int kernel_message_parse(const void *data, size_t length, struct kernel_message *ret,
                         struct error *err) {
    const uint8_t *base = data;
    if (length < 8)
        return error_set(err, ERROR_INVALID,
                         "offset count: a frame of %zu bytes is too short for it", length);
    uint64_t count = read_u64(base);
    if (count < FIXED_PARTS + 1 || count > KERNEL_MESSAGE_PARTS_MAX + 1)
        return error_set(err, ERROR_INVALID, "offset count: %" PRIu64 " is not within %d to %d",
                         count, FIXED_PARTS + 1, KERNEL_MESSAGE_PARTS_MAX + 1);
    if (8 * (count + 1) > length)
        return error_set(err, ERROR_INVALID,
                         "offset count: %" PRIu64 " offsets do not fit the frame's %zu bytes",
                         count, length);
    if (check_offsets(base, length, count, err) < 0)
        return -1;
    struct bytes name = part_at(base, 0);
    enum kernel_channel channel;
    if (kernel_channel_parse((const char *)name.data, name.length, &channel) < 0)
        return error_set(err, ERROR_INVALID,
                         "channel: \"%.*s\" is unknown; it may be shell, control, stdin or iopub",
                         (int)(name.length < 32 ? name.length : 32), (const char *)name.data);
    *ret = (struct kernel_message){
        .channel = channel,
        .header = part_at(base, 1),
        .parent_header = part_at(base, 2),
        .metadata = part_at(base, 3),
        .content = part_at(base, 4),
        .buffer_count = (size_t)count - 1 - FIXED_PARTS,
        .base = base,
    };
    return 0;
}

struct bytes bytes_of_text(const char *text) {
    return (struct bytes){.data = (const uint8_t *)text, .length = strlen(text)};
}

int kernel_message_channel(const void *data, size_t length, enum kernel_channel *ret) {
    const uint8_t *base = data;
    if (length < 24)
        return -1;
    uint64_t start = offset_at(base, 0), end = offset_at(base, 1);
    if (start > end || end > length)
        return -1;
    return kernel_channel_parse((const char *)base + start, (size_t)(end - start), ret);
}

struct bytes kernel_message_buffer(const struct kernel_message *message, size_t index) {
    if (index >= message->buffer_count)
        return (struct bytes){NULL, 0};
    return part_at(message->base, FIXED_PARTS + index);
}

static void append_u64(struct buffer *out, uint64_t value) {
    value = htole64(value);
    memcpy(out->data + out->length, &value, sizeof value);
    out->length += sizeof value;
}

static void append_part(struct buffer *out, struct bytes part) {
    if (part.length > 0)
        memcpy(out->data + out->length, part.data, part.length);
    out->length += part.length;
}

int kernel_message_write(struct buffer *out, enum kernel_channel channel, struct bytes header,
                         struct bytes parent_header, struct bytes metadata, struct bytes content,
                         const struct bytes *buffers, size_t buffer_count) {
    if (buffer_count > KERNEL_MESSAGE_PARTS_MAX - FIXED_PARTS)
        return -1;
    const char *name = kernel_channel_name(channel);
    const struct bytes fixed[FIXED_PARTS] = {
        {(const uint8_t *)name, strlen(name)}, header, parent_header, metadata, content};
    uint64_t count = FIXED_PARTS + buffer_count + 1;
    size_t total = (size_t)(8 * (count + 1));
    for (size_t i = 0; i < FIXED_PARTS; i++)
        if (__builtin_add_overflow(total, fixed[i].length, &total))
            return -1;
    for (size_t i = 0; i < buffer_count; i++)
        if (__builtin_add_overflow(total, buffers[i].length, &total))
            return -1;
    if (buffer_reserve(out, total) < 0) /* once: the appends below cannot fail */
        return -1;

    uint64_t offset = 8 * (count + 1);
    append_u64(out, count);
    append_u64(out, offset);
    for (size_t i = 0; i < FIXED_PARTS; i++)
        append_u64(out, offset += fixed[i].length);
    for (size_t i = 0; i < buffer_count; i++)
        append_u64(out, offset += buffers[i].length);
    for (size_t i = 0; i < FIXED_PARTS; i++)
        append_part(out, fixed[i]);
    for (size_t i = 0; i < buffer_count; i++)
        append_part(out, buffers[i]);
    return 0;
}

const char *kernel_channel_name(enum kernel_channel channel) {
    return (unsigned)channel < CHANNEL_COUNT ? channel_names[channel] : "unknown";
}

int kernel_channel_parse(const char *name, size_t length, enum kernel_channel *ret) {
    for (unsigned i = CHANNEL_COUNT; i-- > 0;) { /* nearly all are iopub, the last */
        if (strlen(channel_names[i]) == length && memcmp(channel_names[i], name, length) == 0) {
            *ret = (enum kernel_channel)i;
            return 0;
        }
    }
    return -1;
}

bool kernel_message_is(struct bytes header, const char *type) {
    char found[64];
    return json_scan_text(header, "msg_type", found, sizeof found) >= 0 && strcmp(found, type) == 0;
}
