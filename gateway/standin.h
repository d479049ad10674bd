/* The stand-in: speaks the Jupyter protocol to one client for a kernel that is not there yet, or
 * not any more, since that is the only way a reason reaches the person at the notebook. While the
 * kernel starts, the first cell shows what is going on; requests go to the launcher, in order
 * (before there is one no client is read); when it is dead each request is answered with an error
 * that says why. */
#pragma once

#include "gateway/kernels.h"
#include "gateway/loop.h"
#include "launcher/kernel_message.h"

#include <stdbool.h>
#include <stddef.h>

struct standin;

/* One message in the kernel link's layout. */
typedef void standin_message(void *context, const void *message, size_t length);

/* False: there is no way to the launcher yet. */
typedef bool standin_forward(void *context, const void *message, size_t length);

/* The launcher knows of everything that was forwarded: it will be answered, also without us. */
typedef bool standin_recorded(void *context);

/* say: a message to the client. forward: a request to the launcher. None may destroy the
 * stand-in. */
struct standin *standin_create(struct loop *loop, struct kernel *kernel, standin_message *say,
                               standin_forward *forward, standin_recorded *recorded, void *context);
void standin_destroy(struct standin *standin);

/* To a client that has just connected: that the kernel starts, if it does. JupyterLab shows its
 * state as unknown until it is told one. */
void standin_welcome(struct standin *standin);

/* True while requests must come here: the kernel is not ready, or some are still held (order!). */
bool standin_is_needed(const struct standin *standin);
void standin_take(struct standin *standin, const void *message, size_t length);
/* Too much is held already: stop reading the client until standin_update changed that. */
bool standin_is_full(const struct standin *standin);

/* The header of an execute_request that the kernel had when it was lost with its launcher: its cell
 * ends with why, NULL for the reason of the kernel's end. */
void standin_end_lost(struct standin *standin, const void *header, size_t length, const char *why);

/* A cell that waits (its header; empty: none does) says, once, that its kernel's node is in doubt;
 * the same cell that it is well again. Call it when either may have changed. */
void standin_tell_doubt(struct standin *standin, struct bytes waiting);

/* The kernel's status changed: shows the stage, hands over, or answers with the reason. */
void standin_update(struct standin *standin);
/* A message of the kernel's comes: the cell that showed the stage is emptied first. */
void standin_before_kernel(struct standin *standin);
