/* Answers to requests for a kernel that is dead: what the gateway's stand-in says, and the launcher
 * to requests that waited for it. */
#pragma once

#include "launcher/kernel_message.h"
#include "launcher/message_make.h"

#include <stdbool.h>

struct absence {
    void (*say)(void *context, const struct message_recipe *recipe);
    void *context;
    int cells; /* answered so far: the execution count */
};

/* An execute_request that is not silent: somebody looks at its cell. */
bool absence_is_visible_cell(const struct kernel_message *request);

/* busy and execute_input: the cell is being worked on. */
void absence_answer_begin(struct absence *answerer, const struct kernel_message *request,
                          const char *session);

/* The end of an execute_request (only its header is looked at) that the kernel had when it was
 * lost: error output, reply, idle. */
void absence_answer_lost(struct absence *answerer, const struct kernel_message *request,
                         const char *session, const char *reason, const char *kernel_name);

/* Busy, the answer of the request's kind, idle. A cell gets an error output with the reason;
 * kernel_info an answer that lets the client go on and show the rest; messages that have no reply
 * get none. */
void absence_answer(struct absence *answerer, const struct kernel_message *request,
                    const char *session, const char *reason, const char *kernel_name);
