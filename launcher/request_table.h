/* The requests that were handed to the kernel, so that its answers find whoever asked. A kernel
 * names a request by its parent_header, so the key is header.session and header.msg_id together
 * (clients that count "1", "2", ... may share msg_ids).
 *
 * An entry stays when its reply has come: input_request may follow a reply (a thread that asks),
 * and nothing forbids a second reply. It leaves when REQUEST_TABLE_MAX later requests have come; an
 * answer to it is then dropped. Entries are small (keys are kept as 64-bit hashes with a random
 * seed), since every launcher of a long-used kernel ends up with a full table.
 *
 * The header of an execute_request is kept until its reply: if the kernel dies, the launcher
 * answers in its place. */
#pragma once

#include "launcher/kernel_message.h"
#include "launcher/link_server.h"

#include <stdbool.h>
#include <stddef.h>

struct request_table;

enum {
    REQUEST_TABLE_MAX = 10000,
    REQUEST_ID_MAX = 512,               /* bytes of session or msg_id; longer ones are not routed */
    REQUEST_HEADERS_MAX_BYTES = 4 << 20 /* of waiting execute_requests; beyond it none is kept */
};

struct request_table *request_table_create(void);
void request_table_destroy(struct request_table *table);

/* Notes a request that went to the kernel on shell or control. False when its header has no usable
 * msg_id: no answer will find it. */
bool request_table_add(struct request_table *table, enum kernel_channel channel,
                       struct bytes header, session_number session);

/* Who asked, by an answer's parent_header. False when nobody is known. */
bool request_table_find(const struct request_table *table, struct bytes parent_header,
                        session_number *ret);
/* The same for a shell or control reply, which ends the wait for one. */
bool request_table_replied(struct request_table *table, struct bytes parent_header,
                           session_number *ret);

/* What the kernel has said of a request. */
struct request_facts {
    /* it came on shell and is of no subshell: such requests are done one after the other */
    bool is_in_row;
    bool is_replied, was_idle;
};
/* By a parent_header. False when nobody is known who asked. */
bool request_table_look(const struct request_table *table, struct bytes parent_header,
                        struct request_facts *ret);
/* The kernel is idle after it: was_idle from now on. Facts as before that. */
bool request_table_idle(struct request_table *table, struct bytes parent_header,
                        struct request_facts *ret);
/* Whether an execute_request waits for its reply. */
bool request_table_is_waiting(const struct request_table *table);
/* The same, but one after which the kernel was idle has ended, though its reply never came. */
bool request_table_is_at_work(const struct request_table *table);

/* The header of the oldest of those, borrowed; empty when there is none. */
struct bytes request_table_at_work(const struct request_table *table);

/* Each execute_request that waits for its reply, oldest first; it counts as replied afterwards. */
typedef void request_table_waiting(void *context, session_number session, struct bytes header);
void request_table_end(struct request_table *table, request_table_waiting *waiting, void *context);
