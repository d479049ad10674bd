/* Which execute_requests a launcher has taken, as notes in the journal: whoever goes on after its
 * death answers those that have no reply. A note is a record of class MESSAGE_REQUEST for
 * JOURNAL_NOBODY; its payload:
 *
 *   u32 session that asked | u32 zero | header of the request */
#pragma once

#include "launcher/journal.h"

#include <stdbool.h>

enum {
    REQUEST_NOTE_HEADER_MAX = 64 << 10, /* a longer one is not noted */
    REQUEST_NOTES_MAX = 10000, /* waiting ones that are remembered; of more, the oldest are not */
};

struct request_note {
    uint32_t session;
    struct bytes header;
    bool is_running; /* the kernel had begun with it */
};

/* Does nothing for other messages than execute_requests. */
void request_note_append(struct journal *journal, uint32_t session,
                         const struct kernel_message *message);

/* Calls for each noted request without a reply, oldest first. header is valid during the call,
 * which must not append. last: the latest noted request, with a reply or not. */
typedef void request_note_waiting(void *context, const struct request_note *note);
void request_notes_walk(const struct journal *journal, request_note_waiting *waiting,
                        request_note_waiting *last, void *context);
