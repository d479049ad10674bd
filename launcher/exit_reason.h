/* How a kernel process ended, as one sentence for the person who waits for it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { EXIT_REASON_SIZE = 1024 };

struct kernel_exit {
    int code;   /* -1: not known or killed by a signal */
    int signum; /* 0: not by a signal */
    int oom;    /* 1, 0, or -1: unknown */
};

/* wait_status as from waitpid. oom is what oom_watch_compare said. */
struct kernel_exit kernel_exit_from_status(int wait_status, int oom);

/* output: the last lines of its stdout and stderr. program: argv[0], for the hint where to install
 * what is missing. */
void exit_reason_write(const struct kernel_exit *exit, const char *output, const char *program,
                       char text[EXIT_REASON_SIZE]);
/* Whether all of the output (or NULL) stands in the reason: then it need not be said again. */
bool exit_reason_has_output(const char *reason, const char *output);
/* Whether the output says that a port was taken by somebody else. */
bool exit_reason_is_port_race(const char *output);
/* The EXIT frame's payload (docs/link-protocol.md); a new reference. */
json_t *exit_report_create(const struct kernel_exit *exit, const char *reason, const char *output,
                           bool is_restarting);
