/* One Jupyter message in the layout of the WebSocket subprotocol v1.kernel.websocket.jupyter.org
 * (jupyter_server documentation, "WebSocket wire protocols"): u64 count, count u64 offsets, then
 * the parts; all little-endian. Part 0 is the channel name, 1 header, 2 parent_header, 3 metadata,
 * 4 content (JSON texts), 5.. binary buffers. offset[0] is 8 * (count + 1), the last offset is the
 * length of the whole: count = parts + 1. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kernel_channel {
    CHANNEL_SHELL,
    CHANNEL_CONTROL,
    CHANNEL_STDIN,
    CHANNEL_IOPUB,
    CHANNEL_COUNT,
};

enum { KERNEL_MESSAGE_PARTS_MAX = 1024 }; /* JSON parts and buffers of one message */

struct bytes {
    const uint8_t *data;
    size_t length;
};
struct bytes bytes_of_text(const char *text); /* without its NUL */

/* A parsed message: everything points into the bytes it was parsed from. */
struct kernel_message {
    enum kernel_channel channel;
    struct bytes header, parent_header, metadata, content;
    size_t buffer_count;
    const uint8_t *base; /* buffers are found through kernel_message_buffer */
};

/* Checks counts, offset order and bounds. Does not look into the JSON. Errors name the offset
 * ("offset 3: 900 is beyond the frame's 512 bytes"). An unknown channel is ERROR_INVALID naming
 * it. */
int kernel_message_parse(const void *data, size_t length, struct kernel_message *ret,
                         struct error *err);
/* The channel alone, of a message that nobody may have checked; -1 when it names none. */
int kernel_message_channel(const void *data, size_t length, enum kernel_channel *ret);
struct bytes kernel_message_buffer(const struct kernel_message *message, size_t index);

/* Appends the layout of the parts to `out`. Fails only at out's limit. */
int kernel_message_write(struct buffer *out, enum kernel_channel channel, struct bytes header,
                         struct bytes parent_header, struct bytes metadata, struct bytes content,
                         const struct bytes *buffers, size_t buffer_count);

const char *kernel_channel_name(enum kernel_channel channel); /* "shell" ... "iopub" */
/* -1 if unknown */
int kernel_channel_parse(const char *name, size_t length, enum kernel_channel *ret);

/* A text member of a JSON object, found by a scan without building a tree: header["msg_type"] and
 * the like on the hot path. Only top-level members. Copies the decoded text to ret (NUL-terminated,
 * at most size bytes). Returns its length, or -1 when the member is missing, not a text, too long,
 * holds a NUL, or the object is malformed before it. */
int json_scan_text(struct bytes object, const char *member, char *ret, size_t size);
/* The same for a member that is an object: its bytes, braces included. -1 when there is none, or
 * the object is malformed before its end. */
int json_scan_object(struct bytes object, const char *member, struct bytes *ret);

/* True when header["msg_type"] is `type`. */
bool kernel_message_is(struct bytes header, const char *type);
