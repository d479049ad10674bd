#include "base/cleanup.h"
#include "gateway/kernels_internal.h"
#include "launcher/kernel_message.h"

#include <string.h>

/* Requests that a client sent while there was no launcher to take them. Their headers are on the
 * kernel's record before anybody is told that they run, so that somebody answers them whatever
 * becomes of us. */

enum { HELD_MAX = 200, HELD_HEADER_MAX = 2048 };

bool kernel_may_hold(const struct kernel *kernel) {
    return kernel->status.phase == KERNEL_LAUNCHING && kernel->provision != NULL &&
           !kernel->is_unaccepted && kernel->kernels->provisioner->ops->note != NULL &&
           json_array_size(kernel->held) < HELD_MAX;
}

static void note(struct kernel *kernel) {
    cleanup_json json_t *all = json_array();
    json_array_extend(all, kernel->held);
    json_array_extend(all, kernel->orphans);
    kernel->is_held_on_record = false;
    kernel->kernels->provisioner->ops->note(kernel->provision, all);
}

/* What is no cell is asked again by whoever reconnects. */
void kernel_hold(struct kernel *kernel, const char *session_id, const void *message,
                 size_t length) {
    struct kernel_message request;
    if (!kernel_may_hold(kernel) || session_id == NULL ||
        kernel_message_parse(message, length, &request, NULL) < 0 ||
        !kernel_message_is(request.header, "execute_request") ||
        request.header.length > HELD_HEADER_MAX)
        return;
    json_t *entry = json_pack("{s:s, s:s%}", "session", session_id, "header",
                              (const char *)request.header.data, request.header.length);
    if (entry == NULL)
        return; /* not UTF-8: no launcher would take it */
    if (kernel->held == NULL)
        kernel->held = json_array();
    json_array_append_new(kernel->held, entry);
    note(kernel);
}

bool kernel_is_held_on_record(const struct kernel *kernel) {
    return kernel->is_held_on_record;
}

/* The launcher has them now. */
void kernel_drop_held(struct kernel *kernel) {
    if (json_array_size(kernel->held) == 0 || kernel->provision == NULL)
        return;
    json_array_clear(kernel->held);
    note(kernel);
}

/* One that another gateway starts may still be in that one's hands. */
bool kernel_take_orphan(struct kernel *kernel, const char *session_id, struct buffer *header) {
    size_t at;
    const json_t *entry;
    enum kernel_phase phase = kernel->status.phase;
    if (session_id == NULL || (phase != KERNEL_READY && phase != KERNEL_DEAD))
        return false;
    json_array_foreach(kernel->orphans, at, entry) {
        const char *session = json_string_value(json_object_get(entry, "session"));
        const char *text = json_string_value(json_object_get(entry, "header"));
        if (session == NULL || text == NULL || strcmp(session, session_id) != 0)
            continue;
        buffer_clear(header);
        bool is_kept = buffer_append(header, text, strlen(text)) == 0;
        json_array_remove(kernel->orphans, at);
        if (json_array_size(kernel->orphans) == 0)
            kernel_drop_orphans(kernel);
        return is_kept;
    }
    return false;
}

void kernel_drop_orphans(struct kernel *kernel) {
    if (kernel->orphans == NULL)
        return;
    json_decref(steal(&kernel->orphans));
    if (kernel->provision != NULL && kernel->kernels->provisioner->ops->note != NULL)
        note(kernel);
}

void kernel_take_orphans(struct kernel *kernel, const json_t *record) {
    const json_t *held = json_object_get(record, "held");
    if (json_array_size(held) == 0 || json_array_size(kernel->held) > 0)
        return;
    json_decref(kernel->orphans);
    kernel->orphans = json_deep_copy(held);
}
