/* Jupyter messages of our own making (Jupyter messaging documentation, "General message format"): the stand-in's and the notices'. */
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

/* Replaces what `out` holds by the message, in the layout of the kernel link. */
void message_make(struct buffer *out, const struct message_recipe *recipe);
