/* Messages that the launcher makes itself, in kernel_message.h's layout: requests to the kernel of its own, and what it says in the
 * kernel's place when that has died. */
#pragma once

#include "base/buffer.h"
#include "launcher/kernel_message.h"

#include <jansson.h>
#include <stdint.h>

/* Writes a message; parent NULL or empty: {}. session is the header's session, id unique for the launcher. content is borrowed.
 * -1 only at out's limit or when a text is not UTF-8. */
int notice_write(struct buffer *out, enum kernel_channel channel, const char *type,
                 const char *session, const char *id, struct bytes parent, json_t *content);

/* iopub stream on stderr. */
int notice_write_stderr(struct buffer *out, const char *session, const char *id,
                        struct bytes parent, const char *text);
/* iopub status. */
int notice_write_status(struct buffer *out, const char *session, const char *id,
                        struct bytes parent, const char *execution_state);
/* shell execute_reply with status error. */
int notice_write_error_reply(struct buffer *out, const char *session, const char *id,
                             struct bytes parent, const char *name, const char *text);
/* shell execute_reply with status aborted, for a request that was never run. */
int notice_write_aborted_reply(struct buffer *out, const char *session, const char *id,
                               struct bytes parent);
