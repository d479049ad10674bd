#include "launcher/message_make.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "base/utf8.h"

int message_make(struct buffer *out, const struct message_recipe *recipe) {
    char id[37], now[CLOCK_TEXT_SIZE];
    text_uuid4(id);
    clock_format(clock_wall_us(), now);
    cleanup_json json_t *content = recipe->content;
    cleanup_json json_t *header =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "msg_id", id, "msg_type", recipe->type,
                  "username", "elara", "session", recipe->session, "date", now, "version", "5.4");
    cleanup_free char *header_text = header != NULL ? json_dumps(header, JSON_COMPACT) : NULL;
    cleanup_free char *content_text = content != NULL ? json_dumps(content, JSON_COMPACT) : NULL;
    if (header_text == NULL || content_text == NULL)
        return -1;
    struct bytes nothing = bytes_of_text("{}"), parent = recipe->parent_header;
    buffer_clear(out);
    return kernel_message_write(out, recipe->channel, bytes_of_text(header_text),
                                parent.length > 0 ? parent : nothing, nothing,
                                bytes_of_text(content_text), NULL, 0);
}

int message_make_stderr(struct buffer *out, const char *session, struct bytes parent,
                        const char *text) {
    cleanup_free char *clean = utf8_repair(text);
    return message_make(
        out, &(struct message_recipe){CHANNEL_IOPUB, "stream", session, parent,
                                      json_pack("{s:s, s:s}", "name", "stderr", "text", clean)});
}

int message_make_status(struct buffer *out, const char *session, struct bytes parent,
                        const char *execution_state) {
    return message_make(
        out, &(struct message_recipe){CHANNEL_IOPUB, "status", session, parent,
                                      json_pack("{s:s}", "execution_state", execution_state)});
}

int message_make_error_reply(struct buffer *out, const char *session, struct bytes parent,
                             const char *name, const char *text) {
    cleanup_free char *clean = utf8_repair(text);
    json_t *content = json_pack("{s:s, s:s, s:s, s:[s], s:i, s:{}, s:[]}", "status", "error",
                                "ename", name, "evalue", clean, "traceback", clean,
                                "execution_count", 0, "user_expressions", "payload");
    return message_make(
        out, &(struct message_recipe){CHANNEL_SHELL, "execute_reply", session, parent, content});
}

int message_make_aborted_reply(struct buffer *out, const char *session, struct bytes parent) {
    return message_make(out,
                        &(struct message_recipe){CHANNEL_SHELL, "execute_reply", session, parent,
                                                 json_pack("{s:s}", "status", "aborted")});
}
