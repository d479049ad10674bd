#include "gateway/client_dialect.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/websocket.h"
#include "launcher/message_make.h"

#include <string.h>

#define LOG_AREA "gateway/client_dialect"

/* What a frame may have besides the header (twice), parent_header, metadata and content of its
 * message. */
enum { ENVELOPE_ROOM = 64 << 10 };
/* Escaped as JSON a byte of text takes at most six, so that a slice of an eighth leaves a quarter
 * of the frame for the rest. */
enum { SLICE_SHARE = 8 };

void client_dialect_init(struct client_dialect *dialect, const struct http_request *request,
                         size_t gateway_client_max) {
    *dialect =
        (struct client_dialect){.frame.limit = (size_t)1 << 30, .content.limit = (size_t)1 << 30};
    if (websocket_is_offered(request, MESSAGE_V1_SUBPROTOCOL)) {
        dialect->format = FORMAT_V1;
        return;
    }
    bool unnamed =
        http_request_header(request, "User-Agent") == NULL; /* jupyter_client's WebSocket */
    dialect->text_only = unnamed || http_request_is_gateway_client(request);
    dialect->frame_max = dialect->text_only ? gateway_client_max : 0;
}

void client_dialect_free(struct client_dialect *dialect) {
    buffer_free(&dialect->frame);
    buffer_free(&dialect->content);
}

struct writing {
    struct client_dialect *dialect;
    const struct kernel_message *message;
    client_frame *send;
    void *context;
};

static void send_text(const struct writing *writing, const struct kernel_message *message) {
    struct buffer *frame = &writing->dialect->frame;
    struct error err;
    buffer_clear(frame);
    if (message_to_legacy_text(message, frame, &err) < 0)
        log_warning("a message of the kernel cannot be sent as JSON text: %s", err.text);
    else
        writing->send(writing->context, false, frame->data, frame->length);
}

static size_t slice_bytes(const struct writing *writing) {
    return writing->dialect->frame_max / SLICE_SHARE;
}

/* The message with other content. */
static void send_content(const struct writing *writing, json_t *content /* stolen */) {
    cleanup_free char *text = json_dumps(content, JSON_COMPACT);
    json_decref(content);
    struct kernel_message changed = *writing->message;
    changed.content = bytes_of_text(text);
    if (changed.metadata.length > slice_bytes(writing)) /* it may be what was too large */
        changed.metadata = bytes_of_text("{}");
    changed.buffer_count = 0;
    send_text(writing, &changed);
}

/* A line on stderr in the cell that the message belongs to. */
static void send_notice(const struct writing *writing, const char *text) {
    char session[256];
    if (json_scan_text(writing->message->header, "session", session, sizeof session) < 0)
        strcpy(session, "elara");
    cleanup_buffer struct buffer made = {0};
    struct kernel_message notice;
    if (message_make_stderr(&made, session, writing->message->parent_header, text) == 0 &&
        kernel_message_parse(made.data, made.length, &notice, NULL) == 0)
        send_text(writing, &notice);
}

/* Once a cell, and once for all that is no cell's: a widget sends hundreds of them. */
static void tell_buffers_missing(const struct writing *writing) {
    struct bytes parent = writing->message->parent_header;
    char cell[sizeof writing->dialect->told];
    if (!kernel_message_is(parent, "execute_request") ||
        json_scan_text(parent, "msg_id", cell, sizeof cell) < 0)
        strcpy(cell, "no cell");
    if (strcmp(cell, writing->dialect->told) == 0)
        return;
    strcpy(writing->dialect->told, cell);
    send_notice(
        writing,
        "Binary data (a widget's buffers) was left out: this notebook server's gateway client "
        "cannot take binary messages.\n");
}

static void send_without_buffers(const struct writing *writing) {
    const struct kernel_message *message = writing->message;
    cleanup_json json_t *metadata = json_loadb((const char *)message->metadata.data,
                                               message->metadata.length, JSON_ALLOW_NUL, NULL);
    if (!json_is_object(metadata))
        metadata = json_object();
    json_object_set_new(metadata, "elara_buffers_left_out",
                        json_integer((json_int_t)message->buffer_count));
    cleanup_free char *text = json_dumps(metadata, JSON_COMPACT);
    struct kernel_message changed = *message;
    changed.metadata = bytes_of_text(text);
    changed.buffer_count = 0;
    tell_buffers_missing(writing);
    send_text(writing, &changed);
}

static void send_stream_slices(const struct writing *writing, const json_t *content) {
    const json_t *text = json_object_get(content, "text");
    const char *rest = json_string_value(text);
    size_t left = json_string_length(text);
    while (left > 0) {
        size_t size = text_utf8_floor(rest, left, slice_bytes(writing));
        send_content(writing, json_pack("{s:O, s:s%}", "name", json_object_get(content, "name"),
                                        "text", rest, size));
        rest += size;
        left -= size;
    }
}

/* A reply must come or the cell hangs: it keeps its kind and loses its bulk. */
static void send_too_large(const struct writing *writing) {
    const struct kernel_message *message = writing->message;
    cleanup_free char *text =
        memory_printf("An output of %zu MiB was left out: the notebook server takes at most %zu "
                      "MiB in one message.\n",
                      (message->content.length + message->metadata.length) >> 20,
                      writing->dialect->frame_max >> 20);
    if (message->channel == CHANNEL_IOPUB)
        send_notice(writing, text);
    else
        send_content(writing, json_pack("{s:s, s:s, s:s, s:[]}", "status", "error", "ename",
                                        "MessageTooLarge", "evalue", text, "traceback"));
}

static void send_oversized(const struct writing *writing) {
    const struct kernel_message *message = writing->message;
    if (message->channel == CHANNEL_IOPUB && kernel_message_is(message->header, "stream")) {
        cleanup_json json_t *content = json_loadb((const char *)message->content.data,
                                                  message->content.length, JSON_ALLOW_NUL, NULL);
        if (json_is_string(json_object_get(content, "text")) &&
            json_is_string(json_object_get(content, "name"))) {
            send_stream_slices(writing, content);
            return;
        }
    }
    send_too_large(writing);
}

static void write_legacy(const struct writing *writing) {
    struct client_dialect *dialect = writing->dialect;
    const struct kernel_message *message = writing->message;
    size_t parts = message->header.length * 2 + message->parent_header.length +
                   message->metadata.length + message->content.length;
    if (dialect->frame_max > 0 && parts + ENVELOPE_ROOM > dialect->frame_max) {
        send_oversized(writing);
    } else if (message->buffer_count == 0) {
        send_text(writing, message);
    } else if (dialect->text_only) {
        send_without_buffers(writing);
    } else {
        struct error err;
        buffer_clear(&dialect->frame);
        if (message_to_legacy_binary(message, &dialect->frame, &err) < 0)
            log_warning("a message of the kernel cannot be sent: %s", err.text);
        else
            writing->send(writing->context, true, dialect->frame.data, dialect->frame.length);
    }
}

void client_dialect_write(struct client_dialect *dialect, const struct kernel_message *message,
                          client_frame *send, void *context) {
    struct writing writing = {
        .dialect = dialect, .message = message, .send = send, .context = context};
    if (dialect->format == FORMAT_V1) {
        cleanup_buffer struct buffer whole = {.limit = (size_t)1 << 30};
        struct bytes buffers[KERNEL_MESSAGE_PARTS_MAX];
        for (size_t i = 0; i < message->buffer_count; i++)
            buffers[i] = kernel_message_buffer(message, i);
        if (kernel_message_write(&whole, message->channel, message->header, message->parent_header,
                                 message->metadata, message->content, buffers,
                                 message->buffer_count) == 0)
            send(context, true, whole.data, whole.length);
        return;
    }
    write_legacy(&writing);
}
