#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "gateway/kernels_internal.h"

#include <string.h>

#define LOG_AREA "gateway/kernel_record"

/* record.json, as launcher/launch.h describes it. was_attached: to an earlier start of it. user and
 * request are the gateway's own: whose limit the kernel counts in, and what any gateway starts it
 * from again. */
json_t *kernel_record(const struct kernel *kernel) {
    json_t *marks = json_object();
    if (kernel->notice != NULL)
        json_object_set_new(marks, "notice", json_string(kernel->notice));
    json_t *record =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:O?, s:o, s:O}", "kernel_id", kernel->id, "name",
                  kernel->name, "display_name", kernel->display_name, "owner", kernel->owner,
                  "user", kernel->user, "created", kernel->created, "session", kernel->session,
                  "marks", marks, "request", kernel->request);
    if (kernel->shares != NULL)
        json_object_set(record, "shares", kernel->shares);
    if (kernel->inherited != NULL)
        json_object_set(record, "inherited", kernel->inherited);
    if (kernel->activity.was_attached)
        json_object_set_new(record, "was_attached", json_true());
    return record;
}

/* In the client's own words: a notebook server's directories need not be there. */
struct kernel_heir kernel_heir_of(const struct kernel *kernel) {
    const json_t *request = kernel->request;
    const char *directory =
        json_string_value(json_object_get(json_object_get(request, "env"), "KERNEL_WORKING_DIR"));
    const char *path = json_string_value(json_object_get(request, "path"));
    return (struct kernel_heir){.user = kernel_user(kernel),
                                .spec = kernel->name,
                                .directory = directory ? directory
                                             : path    ? path
                                                       : ""};
}

static void take_text(char **text, const json_t *record, const char *member) {
    const char *value = json_string_value(json_object_get(record, member));
    if (value != NULL)
        text_replace(text, value);
}

/* Texts that are there replace ours; the session does unless ours is newer. The owner of a kernel
 * that somebody was told about never changes. */
void kernel_take_record(struct kernel *kernel, const json_t *record) {
    if (!json_is_object(record))
        return;
    if (kernel->owner == NULL || kernel->is_unrecorded)
        take_text(&kernel->owner, record, "owner");
    if (kernel->user == NULL || kernel->is_unrecorded)
        take_text(&kernel->user, record, "user");
    kernel->is_unrecorded = false;
    take_text(&kernel->name, record, "name");
    take_text(&kernel->display_name, record, "display_name");
    const char *created = json_string_value(json_object_get(record, "created"));
    if (created != NULL && strlen(created) == CLOCK_TEXT_SIZE - 1)
        memcpy(kernel->created, created, CLOCK_TEXT_SIZE);
    if (json_is_true(json_object_get(record, "was_attached")))
        kernel->activity.was_attached = true;
    kernel->was_heard = kernel->was_heard || json_is_true(json_object_get(record, "heard"));
    const char *phase = json_string_value(json_object_get(record, "phase"));
    if (phase != NULL && strcmp(phase, "dead") == 0)
        kernel->died_ms = json_integer_value(json_object_get(record, "died_ms"));
    json_t *request = json_object_get(record, "request");
    if (kernel->request == NULL && json_is_object(request))
        kernel->request = json_deep_copy(request);
    kernel_take_own_idle(kernel);
    kernel_take_shares(kernel, json_object_get(record, "shares"));
    text_replace(&kernel->notice,
                 json_string_value(json_object_get(json_object_get(record, "marks"), "notice")));
    json_t *inherited = json_object_get(record, "inherited");
    if (json_is_object(inherited)) {
        json_decref(kernel->inherited);
        kernel->inherited = json_deep_copy(inherited);
    }
    json_t *session = json_object_get(record, "session");
    if (kernel->session_unsaid)
        return;
    json_decref(kernel->session);
    kernel->session = json_is_object(session) ? json_deep_copy(session) : NULL;
}

static void on_said(struct kernel *kernel, kernel_done *done, void *context, const json_t *result,
                    const struct error *err) {
    (void)done, (void)context, (void)result;
    if (kernel == NULL || err == NULL)
        return;
    log_warning("kernel %s: its record could not be written: %s", kernel->id, err->text);
}

void kernel_mend_record(struct kernel *kernel) {
    log_info("kernel %s: its launcher knows what its record held, and writes it again", kernel->id);
    kernel_order(kernel, "record_set", json_pack("{s:{}}", "set"), KERNEL_RECORD_TIMEOUT_MS,
                 on_said, NULL, NULL);
}

void kernel_say_session(struct kernel *kernel) {
    if (!kernel->session_unsaid || kernel->link == NULL)
        return;
    kernel->session_unsaid = false; /* the command itself is repeated over breaks */
    kernel_order(kernel, "record_set", json_pack("{s:{s:O?}}", "set", "session", kernel->session),
                 KERNEL_RECORD_TIMEOUT_MS, on_said, NULL, NULL);
}

const json_t *kernel_session(const struct kernel *kernel) {
    return kernel->session;
}

void kernel_set_session(struct kernel *kernel, json_t *session) {
    json_decref(kernel->session);
    kernel->session = session;
    kernel->session_unsaid = true;
    kernel_say_session(kernel);
}
