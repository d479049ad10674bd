/* Jupyter messages on WebSockets: legacy JSON text, legacy binary with buffers, and
 * v1.kernel.websocket.jupyter.org (jupyter_server documentation, "WebSocket wire protocols"); to
 * and from the one layout of the kernel link (launcher/kernel_message.h). */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "launcher/kernel_message.h"

#include <stdbool.h>

enum message_format { FORMAT_LEGACY, FORMAT_V1 };

#define MESSAGE_V1_SUBPROTOCOL "v1.kernel.websocket.jupyter.org"

/* One client frame into the link's layout, appended to `out`. The JSON parts keep the client's own
 * bytes. Accepts what real clients send: no channel (shell), buffers missing or {}, date a number,
 * parent_header null or missing ({}), a text frame beginning with NUL (legacy binary). Header and
 * content must be objects and valid JSON; header.msg_id and header.msg_type texts. Errors name the
 * field. An unknown channel is ERROR_UNSUPPORTED (the caller ignores the message). */
int message_from_client(enum message_format format, bool binary, const uint8_t *data, size_t length,
                        struct buffer *out, struct error *err);

/* One message as legacy text ({"header", "msg_id", "msg_type", "parent_header", "metadata",
 * "content", "buffers": [], "channel"}), appended to `out`; its buffers, if any, are left out.
 * Sliced, not parsed: the kernel's JSON bytes stay as they are. Invalid UTF-8 or JSON parts that
 * are no objects: ERROR_INVALID, naming the part. */
int message_to_legacy_text(const struct kernel_message *message, struct buffer *out,
                           struct error *err);
/* The same with buffers: big-endian u32 count, offsets, JSON, buffers. */
int message_to_legacy_binary(const struct kernel_message *message, struct buffer *out,
                             struct error *err);

/* The message with U+FFFD in its JSON parts for what is no UTF-8. They are put into `out`, which
 * ret then points into; its buffers are the message's. -1 only at out's limit. */
int message_repair(const struct kernel_message *message, struct buffer *out,
                   struct kernel_message *ret);
