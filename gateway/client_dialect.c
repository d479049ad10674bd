#include "gateway/client_dialect.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "gateway/json_slice.h"
#include "gateway/websocket.h"
#include "launcher/message_make.h"

#include <string.h>

/* What a frame may have besides the header (twice), parent_header, metadata and content of its
 * message. */
enum { ENVELOPE_ROOM = 64 << 10 };
/* Escaped as JSON a byte of text takes at most six, so that a slice of an eighth leaves a quarter
 * of the frame for the rest. */
enum { SLICE_SHARE = 8 };
enum { MESSAGE_MAX = 1 << 30 };
enum { TEXT_SIZE = 256 }; /* of a type, a session, an id */

void client_dialect_init(struct client_dialect *dialect, const struct http_request *request,
                         size_t gateway_client_max) {
    *dialect = (struct client_dialect){.frame.limit = MESSAGE_MAX};
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
}

struct writing {
    struct client_dialect *dialect;
    const struct kernel_message *message;
    client_frame *send;
    void *context;
    struct error *err; /* of what returns -1 below */
};

static int send_frame(const struct writing *writing, const struct kernel_message *message,
                      bool binary) {
    struct buffer *frame = &writing->dialect->frame;
    buffer_clear(frame);
    int result = binary ? message_to_legacy_binary(message, frame, writing->err)
                        : message_to_legacy_text(message, frame, writing->err);
    if (result == 0)
        writing->send(writing->context, binary, frame->data, frame->length);
    return result;
}

static size_t slice_bytes(const struct writing *writing) {
    return writing->dialect->frame_max / SLICE_SHARE;
}

/* The message with other content. */
static int send_content(const struct writing *writing, json_t *content /* stolen */) {
    cleanup_free char *text = json_dumps(content, JSON_COMPACT);
    json_decref(content);
    struct kernel_message changed = *writing->message;
    changed.content = bytes_of_text(text);
    if (changed.metadata.length > slice_bytes(writing)) /* it may be what was too large */
        changed.metadata = bytes_of_text("{}");
    changed.buffer_count = 0;
    return send_frame(writing, &changed, false);
}

static int send_made(const struct writing *writing, const struct message_recipe *recipe) {
    cleanup_buffer struct buffer made = {.limit = MESSAGE_MAX};
    struct kernel_message message;
    if (message_make(&made, recipe) < 0)
        return error_set(writing->err, ERROR_LIMIT, "message: too large");
    if (kernel_message_parse(made.data, made.length, &message, writing->err) < 0)
        return -1;
    return send_frame(writing, &message, false);
}

/* A text member of the object, or `otherwise`. */
static void read_text(struct bytes object, const char *member, const char *otherwise,
                      char ret[TEXT_SIZE]) {
    if (json_scan_text(object, member, ret, TEXT_SIZE) < 0)
        strcpy(ret, otherwise);
}

static json_t *make_stderr(const char *text) {
    return json_pack("{s:s, s:s}", "name", "stderr", "text", text);
}

/* A line on stderr in the cell that the message belongs to. */
static int send_notice(const struct writing *writing, const char *text) {
    char session[TEXT_SIZE];
    read_text(writing->message->header, "session", "elara", session);
    return send_made(writing,
                     &(struct message_recipe){.channel = CHANNEL_IOPUB,
                                              .type = "stream",
                                              .session = session,
                                              .parent_header = writing->message->parent_header,
                                              .content = make_stderr(text)});
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
    if (send_notice(writing,
                    "Binary data (a widget's buffers) was left out: this notebook server's "
                    "gateway client cannot take binary messages.\n") == 0)
        strcpy(writing->dialect->told, cell);
}

static int send_without_buffers(const struct writing *writing) {
    const struct kernel_message *message = writing->message;
    cleanup_json json_t *metadata = json_loadb((const char *)message->metadata.data,
                                               message->metadata.length, JSON_ALLOW_NUL, NULL);
    if (!json_is_object(metadata)) {
        if (json_slice_check(message->metadata, writing->err) < 0)
            return -1;
        metadata = json_object();
    }
    json_object_set_new(metadata, "elara_buffers_left_out",
                        json_integer((json_int_t)message->buffer_count));
    cleanup_free char *text = json_dumps(metadata, JSON_COMPACT);
    struct kernel_message changed = *message;
    changed.metadata = bytes_of_text(text);
    changed.buffer_count = 0;
    tell_buffers_missing(writing);
    return send_frame(writing, &changed, false);
}

static int send_stream_slices(const struct writing *writing, const json_t *content) {
    const json_t *text = json_object_get(content, "text");
    const char *rest = json_string_value(text);
    size_t left = json_string_length(text);
    while (left > 0) {
        size_t size = utf8_floor(rest, left, slice_bytes(writing));
        if (send_content(writing, json_pack("{s:O, s:s%}", "name", json_object_get(content, "name"),
                                            "text", rest, size)) < 0)
            return -1;
        rest += size;
        left -= size;
    }
    return 0;
}

/* What a message says instead of what it cannot: replies and the end of a cell must come or the
 * cell hangs, so that they keep their kind. */
static json_t *make_replacement(const struct kernel_message *message, char type[TEXT_SIZE],
                                const char *name, const char *text) {
    char state[TEXT_SIZE];
    switch (message->channel) {
    case CHANNEL_IOPUB:
        if (strcmp(type, "status") == 0 &&
            json_scan_text(message->content, "execution_state", state, sizeof state) >= 0)
            return json_pack("{s:s}", "execution_state", state);
        strcpy(type, "stream");
        return make_stderr(text);
    case CHANNEL_STDIN:
        return json_pack("{s:s, s:b}", "prompt", text, "password", 0);
    default:
        return json_pack("{s:s, s:s, s:s, s:[s]}", "status", "error", "ename", name, "evalue", text,
                         "traceback", text);
    }
}

/* Header and metadata are made anew, and the parent_header when it cannot be sent: each may be what
 * is wrong. */
static int send_replacement(const struct writing *writing, const char *name, const char *text) {
    const struct kernel_message *message = writing->message;
    char type[TEXT_SIZE], session[TEXT_SIZE], parent_id[TEXT_SIZE];
    read_text(message->header, "msg_type", "execute_reply", type);
    read_text(message->header, "session", "elara", session);
    read_text(message->parent_header, "msg_id", "", parent_id);
    cleanup_json json_t *bare = json_pack("{s:s}", "msg_id", parent_id);
    cleanup_free char *bare_text = json_dumps(bare, JSON_COMPACT);
    bool is_readable = json_slice_check(message->parent_header, NULL) == 0;
    struct message_recipe recipe = {.channel = message->channel,
                                    .type = type,
                                    .session = session,
                                    .parent_header = is_readable ? message->parent_header
                                                                 : bytes_of_text(bare_text),
                                    .content = make_replacement(message, type, name, text)};
    return send_made(writing, &recipe);
}

static int send_too_large(const struct writing *writing) {
    const struct kernel_message *message = writing->message;
    cleanup_free char *text =
        memory_printf("An output of %zu MiB was left out: the notebook server takes at most %zu "
                      "MiB in one message.\n",
                      (message->content.length + message->metadata.length) >> 20,
                      writing->dialect->frame_max >> 20);
    return send_replacement(writing, "MessageTooLarge", text);
}

static int send_oversized(const struct writing *writing) {
    const struct kernel_message *message = writing->message;
    if (message->channel == CHANNEL_IOPUB && kernel_message_is(message->header, "stream")) {
        cleanup_json json_t *content = json_loadb((const char *)message->content.data,
                                                  message->content.length, JSON_ALLOW_NUL, NULL);
        if (json_is_string(json_object_get(content, "text")) &&
            json_is_string(json_object_get(content, "name")))
            return send_stream_slices(writing, content);
        if (json_slice_check(message->content, writing->err) < 0)
            return -1;
    }
    return send_too_large(writing);
}

static int write_legacy(const struct writing *writing) {
    const struct client_dialect *dialect = writing->dialect;
    const struct kernel_message *message = writing->message;
    size_t parts = message->header.length * 2 + message->parent_header.length +
                   message->metadata.length + message->content.length;
    if (dialect->frame_max > 0 && parts + ENVELOPE_ROOM > dialect->frame_max)
        return send_oversized(writing);
    if (message->buffer_count == 0)
        return send_frame(writing, message, false);
    if (dialect->text_only)
        return send_without_buffers(writing);
    return send_frame(writing, message, true);
}

/* Nothing of the message has been sent: either its header fails, and all frames have that, or the
 * first frame does. */
static void write_otherwise(const struct writing *writing) {
    cleanup_buffer struct buffer parts = {.limit = MESSAGE_MAX};
    struct kernel_message repaired;
    struct error why = *writing->err;
    struct writing again = *writing;
    again.err = &why;
    if (message_repair(writing->message, &parts, &repaired) == 0) {
        again.message = &repaired;
        if (write_legacy(&again) == 0)
            return;
    }
    char type[TEXT_SIZE];
    read_text(again.message->header, "msg_type", "unreadable", type);
    cleanup_free char *text = memory_printf(
        "The kernel's %s message was left out: it cannot be sent as JSON (%s).\n", type, why.text);
    send_replacement(&again, "MessageUnreadable", text);
}

int client_dialect_write(struct client_dialect *dialect, const struct kernel_message *message,
                         client_frame *send, void *context, struct error *err) {
    struct writing writing = {
        .dialect = dialect, .message = message, .send = send, .context = context, .err = err};
    if (dialect->format == FORMAT_LEGACY) {
        int result = write_legacy(&writing);
        if (result < 0)
            write_otherwise(&writing);
        return result;
    }
    cleanup_buffer struct buffer whole = {.limit = MESSAGE_MAX};
    struct bytes buffers[KERNEL_MESSAGE_PARTS_MAX];
    for (size_t i = 0; i < message->buffer_count; i++)
        buffers[i] = kernel_message_buffer(message, i);
    if (kernel_message_write(&whole, message->channel, message->header, message->parent_header,
                             message->metadata, message->content, buffers,
                             message->buffer_count) < 0)
        return error_set(err, ERROR_LIMIT, "message: too large");
    send(context, true, whole.data, whole.length);
    return 0;
}
