#include "launcher/notice.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"

#include <string.h>

static struct bytes bytes_of(const char *text) {
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

int notice_write(struct buffer *out, enum kernel_channel channel, const char *type,
                 const char *session, const char *id, struct bytes parent, json_t *content) {
    char now[CLOCK_TEXT_SIZE];
    clock_format(clock_wall_us(), now);
    cleanup_json json_t *header =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "msg_id", id, "msg_type", type, "username",
                  "elara", "session", session, "date", now, "version", "5.4");
    cleanup_free char *header_text = header != NULL ? json_dumps(header, JSON_COMPACT) : NULL;
    cleanup_free char *content_text = content != NULL ? json_dumps(content, JSON_COMPACT) : NULL;
    if (header_text == NULL || content_text == NULL)
        return -1;
    return kernel_message_write(out, channel, bytes_of(header_text),
                                parent.length > 0 ? parent : bytes_of("{}"), bytes_of("{}"),
                                bytes_of(content_text), NULL, 0);
}

int notice_write_stderr(struct buffer *out, const char *session, const char *id,
                        struct bytes parent, const char *text) {
    cleanup_free char *clean = text_repair(text);
    cleanup_json json_t *content = json_pack("{s:s, s:s}", "name", "stderr", "text", clean);
    return notice_write(out, CHANNEL_IOPUB, "stream", session, id, parent, content);
}

int notice_write_status(struct buffer *out, const char *session, const char *id,
                        struct bytes parent, const char *execution_state) {
    cleanup_json json_t *content = json_pack("{s:s}", "execution_state", execution_state);
    return notice_write(out, CHANNEL_IOPUB, "status", session, id, parent, content);
}

int notice_write_error_reply(struct buffer *out, const char *session, const char *id,
                             struct bytes parent, const char *name, const char *text) {
    cleanup_free char *clean = text_repair(text);
    cleanup_json json_t *content = json_pack(
        "{s:s, s:s, s:s, s:[s], s:i, s:{}, s:[]}", "status", "error", "ename", name, "evalue",
        clean, "traceback", clean, "execution_count", 0, "user_expressions", "payload");
    return notice_write(out, CHANNEL_SHELL, "execute_reply", session, id, parent, content);
}

int notice_write_aborted_reply(struct buffer *out, const char *session, const char *id,
                               struct bytes parent) {
    cleanup_json json_t *content = json_pack("{s:s}", "status", "aborted");
    return notice_write(out, CHANNEL_SHELL, "execute_reply", session, id, parent, content);
}
