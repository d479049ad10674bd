/* The processes that a kernel left behind when its launcher was killed: the kernel itself dies with
 * the launcher (PR_SET_PDEATHSIG), but what it had started lives on, and no longer below anybody of
 * ours. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct process_remains {
    pid_t kernel;            /* 0: unknown. It led a session of its own */
    uint64_t kernel_started; /* as process_started said; tells another process of the same number */
    const char *variable;    /* "NAME=value" that everything the kernel started inherits */
};

/* When a process was started, in clock ticks since boot (proc(5), stat, starttime); 0: there is
 * none. */
uint64_t process_started(pid_t pid);

/* Kills them, again and again until none is left or wait_ms have passed; returns how many are
 * left. */
int process_remains_kill(const struct process_remains *what, int wait_ms);
