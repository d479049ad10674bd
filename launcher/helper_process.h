/* What may block for ever (a file server, a directory service) is done by a process of its own, so
 * that it costs its deadline and no more. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { HELPER_REPLY_SIZE = 64 << 10 };

/* In the helper. reply: HELPER_REPLY_SIZE bytes for a text. */
typedef int helper_work(const void *context, char *reply, struct error *err);

/* reply: the same, empty at first. The error is the work's (its code is ERROR_SYSTEM), or
 * ERROR_TIMEOUT, whose text is the caller's to write. */
int helper_process_run(helper_work *work, const void *context, int64_t deadline_ms, char *reply,
                       struct error *err);
