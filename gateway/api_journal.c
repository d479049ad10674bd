/* /api/kernels/{id}/journal: what the kernel has sent, as its launcher keeps it, for services and
 * for support. One message a line (JSON lines), a page at a time: the next one begins behind the
 * last line's seq. */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "gateway/api.h"
#include "gateway/message_format.h"
#include "launcher/base64.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAGE_DEFAULT = 1 << 20, /* bytes of messages */
    PAGE_MAX = 16 << 20,    /* as the launcher's */
    LINES_MAX = 128 << 20,
    TIMEOUT_MS = 30000,
};

static void append_text(struct buffer *out, const char *text) {
    (void)buffer_append(out, text, strlen(text)); /* a full buffer is seen at the line's end */
}

static int append_buffers(const struct kernel_message *message, struct buffer *out) {
    append_text(out, "\"buffers_base64\":[");
    for (size_t i = 0; i < message->buffer_count; i++) {
        struct bytes part = kernel_message_buffer(message, i);
        append_text(out, i > 0 ? ",\"" : "\"");
        if (base64_encode(part.data, part.length, out) < 0)
            return -1;
        append_text(out, "\"");
    }
    append_text(out, "],");
    return 0;
}

/* The kernel's own JSON may stand on several lines; inside a text a line break is always
 * escaped. */
static void join_lines(uint8_t *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (text[i] == '\n' || text[i] == '\r')
            text[i] = ' ';
}

static int write_message(struct bytes bytes, struct buffer *out, struct error *err) {
    struct kernel_message message;
    cleanup_buffer struct buffer text = {.limit = LINES_MAX};
    if (kernel_message_parse(bytes.data, bytes.length, &message, err) < 0 ||
        message_to_legacy_text(&message, &text, err) < 0)
        return -1;
    join_lines(text.data, text.length);
    if (message.buffer_count > 0 && append_buffers(&message, out) < 0)
        return error_set(err, ERROR_LIMIT, "message: too large");
    return buffer_append(out, text.data + 1, text.length - 1); /* its brace is open already */
}

static void write_line(const json_t *entry, struct buffer *out) {
    size_t start = out->length;
    json_int_t seq = json_integer_value(json_object_get(entry, "seq"));
    const json_t *encoded = json_object_get(entry, "message");
    const json_t *folded = json_object_get(entry, "folded");
    cleanup_buffer struct buffer bytes = {.limit = LINES_MAX};
    cleanup_free char *head = memory_printf("{\"seq\":%" JSON_INTEGER_FORMAT ",", seq);
    struct error err;
    append_text(out, head);
    if (json_is_object(folded))
        error_set(&err, ERROR_LIMIT,
                  "%" JSON_INTEGER_FORMAT " messages (%" JSON_INTEGER_FORMAT
                  " bytes) up to this one were left out: the kernel sent more than is kept",
                  json_integer_value(json_object_get(folded, "messages")),
                  json_integer_value(json_object_get(folded, "bytes")));
    else if (!json_is_string(encoded))
        error_set(&err, ERROR_LIMIT, "a message of %" JSON_INTEGER_FORMAT " bytes is too large",
                  json_integer_value(json_object_get(entry, "length")));
    else if (base64_decode(json_string_value(encoded), json_string_length(encoded), &bytes) < 0)
        error_set(&err, ERROR_SYSTEM, "the launcher's answer holds no message");
    else if (write_message((struct bytes){bytes.data, bytes.length}, out, &err) == 0) {
        append_text(out, "\n");
        return;
    }
    out->length = start;
    cleanup_free char *reason = utf8_repair(err.text);
    cleanup_json json_t *line = json_pack("{s:I, s:s}", "seq", seq, "reason", reason);
    cleanup_free char *text = json_dumps(line, JSON_COMPACT);
    append_text(out, text);
    append_text(out, "\n");
}

static void set_number(struct http_request *request, const char *name, const json_t *value) {
    char text[32];
    snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    http_reply_header(request, name, text);
}

static void on_journal(void *context, const json_t *result, const struct error *err) {
    struct api_pending pending = api_pending_take(context);
    struct http_request *request = pending.request;
    int64_t since = pending.number, last = json_integer_value(json_object_get(result, "last"));
    if (err != NULL) {
        http_reply_failure(request, err);
    } else if (since > last) {
        http_reply_error(request, 400, NULL,
                         "since: %" PRId64 " is beyond the journal's end, which is %" PRId64, since,
                         last);
    } else {
        cleanup_buffer struct buffer lines = {.limit = LINES_MAX};
        size_t i;
        json_t *entry;
        json_array_foreach(json_object_get(result, "messages"), i, entry) {
            write_line(entry, &lines);
        }
        set_number(request, "Elara-Journal-Next", json_object_get(result, "next"));
        set_number(request, "Elara-Journal-Oldest", json_object_get(result, "oldest"));
        set_number(request, "Elara-Journal-Last", json_object_get(result, "last"));
        http_reply_bytes(request, 200, "application/x-ndjson", lines.data, lines.length);
    }
}

static void explain_missing(const struct kernel *kernel, struct error *err) {
    bool is_dead = kernel_status(kernel)->phase == KERNEL_DEAD;
    if (is_dead && kernel_is_elsewhere(kernel))
        error_set(err, ERROR_UNAVAILABLE,
                  "The kernel's journal was kept in its pod, which is gone: what it said cannot be "
                  "read any more");
    else
        error_set(err, ERROR_UNAVAILABLE,
                  "The kernel's launcher, which keeps its journal, is not %s",
                  is_dead ? "running any more" : "there yet");
}

static void read_journal(struct http_request *request, void *context) {
    struct gateway *gateway = context;
    struct kernel *kernel = api_find_kernel(
        gateway, request, http_request_param(request, "kernel_id"), KERNEL_RIGHT_VIEW);
    if (kernel == NULL)
        return;
    struct error err = {0};
    int64_t since = 0, max_bytes = PAGE_DEFAULT;
    if (api_take_number(request, "since", 0, INT64_MAX, &since, &err) < 0 ||
        api_take_number(request, "max_bytes", 0, PAGE_MAX, &max_bytes, &err) < 0) {
        http_reply_failure(request, &err);
        return;
    }
    struct link *link = kernel_link(kernel);
    if (link == NULL) {
        explain_missing(kernel, &err);
        http_reply_failure(request, &err);
        return;
    }
    struct api_pending *pending = api_pending_create(gateway, request, kernel_id(kernel));
    pending->number = since;
    link_command(link, "journal", json_pack("{s:I, s:I}", "since", since, "max_bytes", max_bytes),
                 TIMEOUT_MS, on_journal, pending);
}

const struct http_route api_journal_routes[] = {
    {"GET", "/api/kernels/{kernel_id}/journal", read_journal, HTTP_CONTENT},
    {NULL, NULL, NULL, 0},
};
