/* Jupyter messages of our own making (Jupyter messaging documentation, "General message format"),
 * in kernel_message.h's layout: the launcher's requests to its kernel, and what launcher and
 * gateway say in the place of a kernel that cannot. */
#pragma once

#include "base/buffer.h"
#include "launcher/kernel_message.h"

#include <jansson.h>

struct message_recipe {
    enum kernel_channel channel;
    const char *type;
    const char *session;        /* header.session */
    struct bytes parent_header; /* as it came; empty = {} */
    json_t *content;            /* stolen */
};

/* Replaces what `out` holds by the message, under a msg_id of its own. -1 only at out's limit or
 * when a text is not UTF-8. */
int message_make(struct buffer *out, const struct message_recipe *recipe);

/* iopub stream on stderr; a text that is not UTF-8 is repaired. */
int message_make_stderr(struct buffer *out, const char *session, struct bytes parent,
                        const char *text);
/* iopub status. */
int message_make_status(struct buffer *out, const char *session, struct bytes parent,
                        const char *execution_state);
/* shell execute_reply with status error. */
int message_make_error_reply(struct buffer *out, const char *session, struct bytes parent,
                             const char *name, const char *text);
/* shell execute_reply with status aborted, for a request that was never run. */
int message_make_aborted_reply(struct buffer *out, const char *session, struct bytes parent);
