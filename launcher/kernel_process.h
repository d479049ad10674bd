/* The kernel's process: started, signalled, and what its end means. The loop's owner watches the
 * two descriptors and reaps. */
#pragma once

#include "base/error.h"
#include "launcher/launch.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct kernel_process;

/* argv: what launch->argv became after substitution. */
int kernel_process_start(const struct launch *launch, char *const *argv,
                         struct kernel_process **ret, struct error *err);
/* Does not end it. */
void kernel_process_destroy(struct kernel_process **process);

pid_t kernel_process_pid(const struct kernel_process *process);
int kernel_process_output_fd(
    const struct kernel_process *process); /* non-blocking; its stdout and stderr */

/* Readable (or at its end) once the program runs or could not be run: then ask
 * kernel_process_check. -1 when that is known. */
int kernel_process_report_fd(const struct kernel_process *process);
/* 0: not known yet, 1: the program runs, -1: it could not be run and the process has ended or will;
 * err says why and what to do. */
int kernel_process_check(struct kernel_process *process, struct error *err);

/* To the process group. ERROR_UNAVAILABLE when it is gone. */
int kernel_process_signal(const struct kernel_process *process, int signum, struct error *err);
