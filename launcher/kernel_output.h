/* What the kernel process writes to stdout and stderr: appended to kernel.log, which is capped (at
 * half the cap it becomes kernel.log.1 and a new one begins, so the last half is always there),
 * with the last lines at hand for reasons. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct kernel_output;

enum { KERNEL_OUTPUT_TAIL_BYTES = 4096, KERNEL_OUTPUT_TAIL_LINES = 20 };

/* A file that cannot be written is logged once: the kernel runs on without it. */
struct kernel_output *kernel_output_create(const char *path, int64_t cap_bytes);
void kernel_output_destroy(struct kernel_output *output); /* NULL is fine */

/* Takes what is there, up to a turn's share. 0: more may come, 1: the share is used up, -1: every
 * writer has closed it. */
int kernel_output_read(struct kernel_output *output, int fd);
/* Takes all that is there: the last words before an exit report. */
void kernel_output_drain(struct kernel_output *output, int fd);

/* What comes from now on is what a reason may quote: a new process, or one that has started up. */
void kernel_output_begin(struct kernel_output *output);
/* The last lines of this process, as valid UTF-8; malloc'ed, never NULL. */
char *kernel_output_tail(const struct kernel_output *output);
