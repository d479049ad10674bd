/* A launcher's process on this machine, as the local provisioner sees it: a child of this gateway,
 * or of an earlier one. */
#pragma once

#include "base/error.h"
#include "launcher/spawner.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct local_process {
    pid_t pid;    /* 0: none */
    int pidfd;    /* readable once it has ended; -1 */
    int ready_fd; /* where it says "ready"; -1 */
    bool is_child;
};

#define LOCAL_PROCESS_NONE ((struct local_process){.pidfd = -1, .ready_fd = -1})

/* Locks a kernel directory; returns the descriptor that holds the lock. ERROR_EXISTS when a
 * launcher holds it. */
int local_process_lock(const char *directory, struct error *err);

struct local_process_plan {
    struct spawner *spawner;
    const char *launcher_path;
    const char *directory;
    int lock_fd;
    int64_t open_files; /* soft limit, and with it the kernel's; 0: as here */
    const char *resume; /* "policy" ...: it follows an earlier launcher; NULL */
    const char *resume_reason;
};

/* Starts elara-launcher in a session of its own, with stderr in launcher.log and nothing else open
 * but a ready pipe and the lock. */
int local_process_spawn(const struct local_process_plan *plan, struct local_process *ret,
                        struct error *err);
/* A launcher of an earlier gateway. -1 when pid is none of this directory. */
int local_process_open(pid_t pid, const char *directory, struct local_process *ret);
/* Lets go of it without touching it. */
void local_process_close(struct local_process *process);
void local_process_close_ready(struct local_process *process);

int local_process_signal(const struct local_process *process, int signum, struct error *err);
void local_process_kill(const struct local_process *process);
/* It has ended: takes its status if it is ours to take, and says how it ended, without a full stop.
 * ERROR_SYSTEM: not of its own accord. True when somebody killed it, so that the next one may fare
 * better. */
bool local_process_reap(struct local_process *process, struct error *cause);

/* Kills the process group of a kernel, if the process is one of this directory. */
void local_process_kill_group(pid_t pid, const char *directory);
/* The launcher of a directory whose record is unreadable; 0 when there is none. */
pid_t local_process_find_launcher(const char *directory);
