/* What a message is to the journal: which cell it belongs to, and what is lost when it goes. Kept
 * in each record's header, so that replay and the cap walk the journal without reading JSON. Values
 * are part of the journal's format: never reuse one. */
#pragma once

#include "launcher/kernel_message.h"

#include <stdint.h>

enum message_class {
    MESSAGE_OTHER,  /* comm messages, replies other than execute_reply, what we do not know */
    MESSAGE_STREAM, /* stream */
    MESSAGE_OUTPUT, /* display_data, execute_result, error */
    MESSAGE_UPDATE, /* update_display_data */
    MESSAGE_CLEAR,  /* clear_output */
    MESSAGE_BUSY,   /* status */
    MESSAGE_IDLE,   /* status */
    MESSAGE_STATE,  /* any other status */
    MESSAGE_INPUT,  /* execute_input */
    MESSAGE_REPLY,  /* execute_reply */
    MESSAGE_PROMPT, /* input_request */
    /* execute_request: the header of one that a client sent, noted when the launcher took it; for
     * no client's eyes */
    MESSAGE_REQUEST,
    MESSAGE_CLASS_COUNT
};

/* cell: a hash of the msg_id of the execute_request it belongs to (of its own header's for
 * MESSAGE_REQUEST), never 0 for one; 0 when it belongs to none. display: a hash of a
 * MESSAGE_UPDATE's transient.display_id, 0 for none and for other classes. */
struct message_mark {
    enum message_class class;
    uint32_t cell;
    uint32_t display;
};

struct message_mark message_mark(const struct kernel_message *message);
/* The cell of an execute_request by its header; 0 when the header is of another request or has no
 * msg_id. */
uint32_t message_cell(struct bytes header);
