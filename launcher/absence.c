#include "launcher/absence.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

#define ERROR_NAME "KernelNotRunning"

/* One answer being given. */
struct answer {
    struct absence *answerer;
    const struct kernel_message *request;
    const char *session;
};

static void say(const struct answer *answer, enum kernel_channel channel, const char *type,
                json_t *content) {
    answer->answerer->say(answer->answerer->context,
                          &(struct message_recipe){.channel = channel,
                                                   .type = type,
                                                   .session = answer->session,
                                                   .parent_header = answer->request->header,
                                                   .content = content});
}

static void say_status(const struct answer *answer, const char *state) {
    say(answer, CHANNEL_IOPUB, "status", json_pack("{s:s}", "execution_state", state));
}

static json_t *parse_content(const struct kernel_message *request) {
    return json_loadb((const char *)request->content.data, request->content.length, JSON_ALLOW_NUL,
                      NULL);
}

bool absence_is_visible_cell(const struct kernel_message *request) {
    if (request->channel != CHANNEL_SHELL || !kernel_message_is(request->header, "execute_request"))
        return false;
    cleanup_json json_t *content = parse_content(request);
    return !json_is_true(json_object_get(content, "silent"));
}

void absence_answer_begin(struct absence *answerer, const struct kernel_message *request,
                          const char *session) {
    struct answer answer = {.answerer = answerer, .request = request, .session = session};
    cleanup_json json_t *content = parse_content(request);
    const char *code = json_string_value(json_object_get(content, "code"));
    say_status(&answer, "busy");
    say(&answer, CHANNEL_IOPUB, "execute_input",
        json_pack("{s:s, s:i}", "code", code ? code : "", "execution_count", answerer->cells + 1));
}

static json_t *error_content(const char *reason, json_t *traceback) {
    return json_pack("{s:s, s:s, s:s, s:o}", "status", "error", "ename", ERROR_NAME, "evalue",
                     reason, "traceback", traceback);
}

/* The first line in red, as a kernel's own tracebacks have it; the rest as it is. */
static json_t *make_traceback(const char *reason, const char *kernel_name) {
    json_t *lines = json_array();
    cleanup_free char *head =
        memory_printf("\033[0;31m%s: %s is not running\033[0m", ERROR_NAME, kernel_name);
    json_array_append_new(lines, json_string(head));
    cleanup_free char *text = memory_strdup(reason);
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n"))
        json_array_append_new(lines, json_string(line));
    json_array_append_new(lines,
                          json_string("Restart the kernel to try again once the cause is mended."));
    return lines;
}

static void end_cell(const struct answer *answer, const char *reason, const char *kernel_name) {
    json_t *content = error_content(reason, make_traceback(reason, kernel_name));
    json_t *reply = json_deep_copy(content);
    json_object_set_new(reply, "execution_count", json_integer(answer->answerer->cells));
    json_object_set_new(reply, "payload", json_array());
    json_object_set_new(reply, "user_expressions", json_object());
    say(answer, CHANNEL_IOPUB, "error", content);
    say(answer, CHANNEL_SHELL, "execute_reply", reply);
    say_status(answer, "idle");
}

static void answer_cell(const struct answer *answer, const char *reason, const char *kernel_name) {
    absence_answer_begin(answer->answerer, answer->request, answer->session);
    answer->answerer->cells++;
    end_cell(answer, reason, kernel_name);
}

void absence_answer_lost(struct absence *answerer, const struct kernel_message *request,
                         const char *session, const char *reason, const char *kernel_name) {
    struct answer answer = {.answerer = answerer, .request = request, .session = session};
    cleanup_free char *why = utf8_repair(reason);
    end_cell(&answer, why, kernel_name);
}

/* Lab shows a notebook's cells as runnable only after a kernel_info_reply. */
static json_t *kernel_info(const char *reason) {
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:[], s:{s:s, s:s, s:s, s:s}}", "status", "ok",
                     "protocol_version", "5.3", "implementation", "elara", "implementation_version",
                     ELARA_VERSION, "banner", reason, "help_links", "language_info", "name", "text",
                     "version", "", "mimetype", "text/plain", "file_extension", ".txt");
}

static json_t *reply_content(const char *type, const char *reason) {
    if (strcmp(type, "kernel_info_request") == 0)
        return kernel_info(reason);
    if (strcmp(type, "comm_info_request") == 0)
        return json_pack("{s:s, s:{}}", "status", "ok", "comms");
    if (strcmp(type, "history_request") == 0)
        return json_pack("{s:s, s:[]}", "status", "ok", "history");
    if (strcmp(type, "is_complete_request") == 0)
        return json_pack("{s:s}", "status", "unknown");
    return error_content(reason, json_array());
}

void absence_answer(struct absence *answerer, const struct kernel_message *request,
                    const char *session, const char *reason, const char *kernel_name) {
    char type[64];
    if (json_scan_text(request->header, "msg_type", type, sizeof type) < 0 ||
        !text_ends_with(type, "_request"))
        return; /* comm messages and input replies have no answer */
    struct answer answer = {.answerer = answerer, .request = request, .session = session};
    cleanup_free char *why = utf8_repair(reason ? reason : "the kernel has ended");
    if (strcmp(type, "execute_request") == 0) {
        answer_cell(&answer, why, kernel_name);
        return;
    }
    char reply_type[sizeof type];
    strcpy(reply_type, type);
    strcpy(reply_type + strlen(type) - strlen("_request"), "_reply");
    say_status(&answer, "busy");
    say(&answer, request->channel, reply_type, reply_content(type, why));
    say_status(&answer, "idle");
}
