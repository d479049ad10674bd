#include "gateway/message_format.h"

#include "base/utf8.h"
#include "gateway/json_slice.h"

#include <endian.h>
#include <string.h>

enum { BUFFERS_MAX = KERNEL_MESSAGE_PARTS_MAX - 5 };

/* What a message is made of, as slices of the frame it came in. data NULL: not there. */
struct parts {
    enum kernel_channel channel;
    struct bytes header, parent_header, metadata, content;
    const struct bytes *buffers;
    size_t buffer_count;
};

static const struct bytes empty_object = {(const uint8_t *)"{}", 2};

/* msg_id and msg_type of a header, as JSON texts with their quotes. */
struct header_texts {
    struct bytes msg_id, msg_type;
};

static int read_header(struct bytes header, struct header_texts *ret, struct error *err) {
    struct json_walk walk = {.text = header};
    struct json_member member;
    int more;
    *ret = (struct header_texts){0};
    while ((more = json_walk_next(&walk, &member, err)) > 0) {
        if (member.key.length < 6) /* shorter than "msg_id" */
            continue;
        if (json_key_is(member.key, "msg_id"))
            ret->msg_id = member.value;
        else if (json_key_is(member.key, "msg_type"))
            ret->msg_type = member.value;
    }
    if (more < 0)
        return error_wrap(err, "header");
    if (!json_slice_is_text(ret->msg_id))
        return error_set(err, ERROR_INVALID, "header.msg_id: must be a text");
    if (!json_slice_is_text(ret->msg_type))
        return error_set(err, ERROR_INVALID, "header.msg_type: must be a text");
    return 0;
}

/* A part of its own (v1, or from a kernel): checked here. Nothing and null stand for {} where that
 * is allowed. */
static int check_object(struct bytes *part, const char *name, bool may_be_null, struct error *err) {
    if (part->length == 0 && may_be_null) {
        *part = empty_object;
        return 0;
    }
    struct error why;
    if (json_slice_check(*part, &why) < 0)
        return error_set(err, ERROR_INVALID, "%s: %s", name, why.text);
    struct bytes value = *part;
    while (memchr(" \n\r\t", value.data[0], 4)) {
        value.data++;
        value.length--;
    }
    if (json_slice_is_object(value))
        return 0;
    if (value.data[0] != 'n' || !may_be_null)
        return error_set(err, ERROR_INVALID, "%s: must be an object", name);
    *part = empty_object;
    return 0;
}

static int write_parts(const struct parts *parts, struct buffer *out, struct error *err) {
    if (kernel_message_write(out, parts->channel, parts->header, parts->parent_header,
                             parts->metadata, parts->content, parts->buffers,
                             parts->buffer_count) < 0)
        return error_set(err, ERROR_LIMIT, "message: too large");
    return 0;
}

/* From the client: JSON. */

static int read_channel(struct bytes value, enum kernel_channel *ret, struct error *err) {
    if (value.data == NULL || json_slice_is_null(value)) {
        *ret = CHANNEL_SHELL; /* jupyter_server's own WebSocket client names none */
        return 0;
    }
    if (!json_slice_is_text(value))
        return error_set(err, ERROR_INVALID, "channel: must be a text");
    struct bytes name = {value.data + 1, value.length - 2};
    for (unsigned i = 0; i < CHANNEL_COUNT; i++) {
        if (json_key_is(name, kernel_channel_name((enum kernel_channel)i))) {
            *ret = (enum kernel_channel)i;
            return 0;
        }
    }
    return error_set(err, ERROR_UNSUPPORTED, "channel: \"%.*s\" is unknown",
                     (int)(name.length < 64 ? name.length : 64), (const char *)name.data);
}

static bool is_empty_container(struct bytes value) {
    for (size_t i = 1; i + 1 < value.length; i++)
        if (!memchr(" \n\r\t", value.data[i], 4))
            return false;
    return value.data[0] == '[' || value.data[0] == '{';
}

/* {} in place of null or nothing; anything but an object is an error. */
static int want_object(struct bytes *value, const char *name, bool may_be_null, struct error *err) {
    bool is_missing = value->data == NULL || json_slice_is_null(*value);
    if (is_missing && may_be_null)
        *value = empty_object;
    else if (value->data == NULL)
        return error_set(err, ERROR_INVALID, "%s: is missing", name);
    else if (!json_slice_is_object(*value))
        return error_set(err, ERROR_INVALID, "%s: must be an object", name);
    return 0;
}

static int check_json_parts(struct parts *parts, struct bytes channel, struct error *err) {
    struct header_texts texts;
    if (want_object(&parts->header, "header", false, err) < 0 ||
        want_object(&parts->parent_header, "parent_header", true, err) < 0 ||
        want_object(&parts->metadata, "metadata", true, err) < 0 ||
        want_object(&parts->content, "content", false, err) < 0 ||
        read_header(parts->header, &texts, err) < 0)
        return -1;
    return read_channel(channel, &parts->channel, err);
}

enum { HEADER, PARENT_HEADER, METADATA, CONTENT, CHANNEL, BUFFERS, MEMBER_COUNT };

static const struct {
    const char *name;
    size_t length;
} members[MEMBER_COUNT] = {
    [HEADER] = {"header", 6},     [PARENT_HEADER] = {"parent_header", 13},
    [METADATA] = {"metadata", 8}, [CONTENT] = {"content", 7},
    [CHANNEL] = {"channel", 7},   [BUFFERS] = {"buffers", 7},
};

/* MEMBER_COUNT: none that matters. */
static size_t find_member(struct bytes key) {
    size_t i;
    for (i = 0; i < MEMBER_COUNT; i++)
        if (key.length == members[i].length && memcmp(key.data, members[i].name, key.length) == 0)
            return i;
    for (i = 0; i < MEMBER_COUNT; i++) /* once more for names with escapes */
        if (key.length > members[i].length && json_key_is(key, members[i].name))
            break;
    return i;
}

static int read_json(struct bytes json, struct parts *parts, struct error *err) {
    struct json_walk walk = {.text = json};
    struct json_member member;
    struct bytes values[MEMBER_COUNT + 1] = {0};
    int more;
    while ((more = json_walk_next(&walk, &member, err)) > 0)
        values[find_member(member.key)] = member.value; /* the last one counts, as in Python */
    if (more < 0)
        return error_wrap(err, "message");
    struct bytes buffers = values[BUFFERS];
    if (buffers.data != NULL && !json_slice_is_null(buffers) && !is_empty_container(buffers))
        return error_set(err, ERROR_INVALID,
                         "buffers: must be empty in JSON; buffers travel in binary messages");
    parts->header = values[HEADER];
    parts->parent_header = values[PARENT_HEADER];
    parts->metadata = values[METADATA];
    parts->content = values[CONTENT];
    return check_json_parts(parts, values[CHANNEL], err);
}

static int from_legacy_text(struct bytes frame, struct buffer *out, struct error *err) {
    struct parts parts = {0};
    if (read_json(frame, &parts, err) < 0)
        return -1;
    return write_parts(&parts, out, err);
}

/* From the client: big-endian u32 count, offsets, JSON, buffers. */

static size_t read_u32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return be32toh(value);
}

static int check_legacy_offsets(struct bytes frame, size_t count, struct error *err) {
    size_t previous = 4 * (count + 1);
    if (previous > frame.length)
        return error_set(err, ERROR_INVALID,
                         "offset count: %zu offsets do not fit the frame's %zu bytes", count,
                         frame.length);
    for (size_t i = 0; i < count; i++) {
        size_t offset = read_u32(frame.data + 4 * (i + 1));
        if (offset < previous)
            return error_set(err, ERROR_INVALID,
                             "offset %zu: %zu is before %zu, where the part before it %s", i,
                             offset, previous, i == 0 ? "(the offsets) ends" : "starts");
        if (offset > frame.length)
            return error_set(err, ERROR_INVALID, "offset %zu: %zu is beyond the frame's %zu bytes",
                             i, offset, frame.length);
        previous = offset;
    }
    return 0;
}

static struct bytes legacy_part(struct bytes frame, size_t count, size_t index) {
    size_t start = read_u32(frame.data + 4 * (index + 1));
    size_t end = index + 1 < count ? read_u32(frame.data + 4 * (index + 2)) : frame.length;
    return (struct bytes){frame.data + start, end - start};
}

static int from_legacy_binary(struct bytes frame, struct buffer *out, struct error *err) {
    if (frame.length < 4)
        return error_set(err, ERROR_INVALID,
                         "offset count: a frame of %zu bytes is too short for it", frame.length);
    size_t count = read_u32(frame.data);
    if (count < 1 || count > BUFFERS_MAX + 1)
        return error_set(err, ERROR_INVALID, "offset count: %zu is not within 1 to %d", count,
                         BUFFERS_MAX + 1);
    if (check_legacy_offsets(frame, count, err) < 0)
        return -1;
    struct bytes buffers[BUFFERS_MAX];
    struct parts parts = {.buffers = buffers, .buffer_count = count - 1};
    for (size_t i = 1; i < count; i++)
        buffers[i - 1] = legacy_part(frame, count, i);
    if (read_json(legacy_part(frame, count, 0), &parts, err) < 0)
        return -1;
    return write_parts(&parts, out, err);
}

/* From the client: v1. */

/* kernel_message_parse looks at the channel last, so a known one means that something else is
 * wrong. */
static bool has_unknown_channel(struct bytes frame) {
    uint64_t offsets[3]; /* the count, the channel's start and end */
    if (frame.length < sizeof offsets)
        return false;
    memcpy(offsets, frame.data, sizeof offsets);
    uint64_t start = le64toh(offsets[1]), end = le64toh(offsets[2]);
    if (start > end || end > frame.length)
        return false;
    enum kernel_channel channel;
    return kernel_channel_parse((const char *)frame.data + start, (size_t)(end - start), &channel) <
           0;
}

static int from_v1(struct bytes frame, struct buffer *out, struct error *err) {
    struct kernel_message message;
    struct error why;
    if (kernel_message_parse(frame.data, frame.length, &message, &why) < 0) {
        bool unknown = has_unknown_channel(frame) && strncmp(why.text, "channel", 7) == 0;
        return error_set(err, unknown ? ERROR_UNSUPPORTED : ERROR_INVALID, "%s", why.text);
    }
    struct header_texts texts;
    struct bytes parent = message.parent_header, metadata = message.metadata;
    if (read_header(message.header, &texts, err) < 0 ||
        check_object(&message.parent_header, "parent_header", true, err) < 0 ||
        check_object(&message.metadata, "metadata", true, err) < 0 ||
        check_object(&message.content, "content", false, err) < 0)
        return -1;
    if (parent.data == message.parent_header.data && metadata.data == message.metadata.data) {
        if (buffer_append(out, frame.data, frame.length) < 0)
            return error_set(err, ERROR_LIMIT, "message: too large");
        return 0;
    }
    struct bytes buffers[BUFFERS_MAX];
    for (size_t i = 0; i < message.buffer_count; i++)
        buffers[i] = kernel_message_buffer(&message, i);
    struct parts parts = {message.channel, message.header, message.parent_header, message.metadata,
                          message.content, buffers,        message.buffer_count};
    return write_parts(&parts, out, err);
}

int message_from_client(enum message_format format, bool binary, const uint8_t *data, size_t length,
                        struct buffer *out, struct error *err) {
    struct bytes frame = {data, length};
    if (length == 0)
        return error_set(err, ERROR_INVALID, "message: is empty");
    if (!binary && data[0] != '\0')
        return from_legacy_text(frame, out, err);
    return format == FORMAT_V1 ? from_v1(frame, out, err) : from_legacy_binary(frame, out, err);
}

/* To the client. */

#define APPEND(out, literal)                                                                       \
    append(out, (struct bytes){(const uint8_t *)(literal), sizeof(literal) - 1})

static void append(struct buffer *out, struct bytes part) {
    memcpy(out->data + out->length, part.data, part.length);
    out->length += part.length;
}

/* The parts and what the envelope repeats from the header; all checked. */
struct envelope {
    struct kernel_message message;
    struct header_texts texts;
    size_t length_max; /* of the JSON */
};

enum { ENVELOPE_FIXED = 160 };

static int open_envelope(const struct kernel_message *message, struct envelope *ret,
                         struct error *err) {
    ret->message = *message;
    struct kernel_message *checked = &ret->message;
    if (read_header(message->header, &ret->texts, err) < 0 ||
        check_object(&checked->parent_header, "parent_header", true, err) < 0 ||
        check_object(&checked->metadata, "metadata", true, err) < 0 ||
        check_object(&checked->content, "content", false, err) < 0)
        return -1;
    ret->length_max = ENVELOPE_FIXED + 2 * checked->header.length + checked->parent_header.length +
                      checked->metadata.length + checked->content.length;
    return 0;
}

/* Room was reserved. */
static void write_envelope(const struct envelope *envelope, bool with_buffers, struct buffer *out) {
    const struct kernel_message *message = &envelope->message;
    const char *channel = kernel_channel_name(message->channel);
    APPEND(out, "{\"header\":");
    append(out, message->header);
    APPEND(out, ",\"msg_id\":");
    append(out, envelope->texts.msg_id);
    APPEND(out, ",\"msg_type\":");
    append(out, envelope->texts.msg_type);
    APPEND(out, ",\"parent_header\":");
    append(out, message->parent_header);
    APPEND(out, ",\"metadata\":");
    append(out, message->metadata);
    APPEND(out, ",\"content\":");
    append(out, message->content);
    if (with_buffers)
        APPEND(out, ",\"buffers\":[]");
    APPEND(out, ",\"channel\":\"");
    append(out, (struct bytes){(const uint8_t *)channel, strlen(channel)});
    APPEND(out, "\"}");
}

int message_to_legacy_text(const struct kernel_message *message, struct buffer *out,
                           struct error *err) {
    struct envelope envelope;
    if (open_envelope(message, &envelope, err) < 0)
        return -1;
    if (buffer_reserve(out, envelope.length_max) < 0)
        return error_set(err, ERROR_LIMIT, "message: too large");
    write_envelope(&envelope, true, out);
    return 0;
}

static void append_u32(struct buffer *out, size_t value) {
    uint32_t big = htobe32((uint32_t)value);
    append(out, (struct bytes){(const uint8_t *)&big, sizeof big});
}

int message_to_legacy_binary(const struct kernel_message *message, struct buffer *out,
                             struct error *err) {
    struct envelope envelope;
    if (open_envelope(message, &envelope, err) < 0)
        return -1;
    size_t count = message->buffer_count + 1;
    size_t total = 4 * (count + 1) + envelope.length_max;
    for (size_t i = 0; i < message->buffer_count; i++)
        total += kernel_message_buffer(message, i).length;
    if (total > UINT32_MAX || buffer_reserve(out, total) < 0)
        return error_set(err, ERROR_LIMIT, "message: too large");

    size_t start = out->length;
    append_u32(out, count);
    out->length += 4 * count; /* the offsets, known once the JSON is there */
    uint32_t offset = htobe32((uint32_t)(out->length - start));
    memcpy(out->data + start + 4, &offset, sizeof offset);
    write_envelope(&envelope, false, out);
    for (size_t i = 0; i < message->buffer_count; i++) {
        offset = htobe32((uint32_t)(out->length - start));
        memcpy(out->data + start + 4 * (i + 2), &offset, sizeof offset);
        struct bytes part = kernel_message_buffer(message, i);
        if (part.length > 0)
            append(out, part);
    }
    return 0;
}

int message_repair(const struct kernel_message *message, struct buffer *out,
                   struct kernel_message *ret) {
    *ret = *message;
    struct bytes *parts[] = {&ret->header, &ret->parent_header, &ret->metadata, &ret->content};
    enum { PART_COUNT = sizeof parts / sizeof parts[0] };
    size_t starts[PART_COUNT + 1];
    for (size_t i = 0; i < PART_COUNT; i++) {
        starts[i] = out->length;
        if (utf8_append_readable(out, parts[i]->data, parts[i]->length) < 0)
            return -1;
    }
    starts[PART_COUNT] = out->length;
    for (size_t i = 0; i < PART_COUNT; i++) /* now that `out` moves no more */
        *parts[i] = (struct bytes){out->data + starts[i], starts[i + 1] - starts[i]};
    return 0;
}
