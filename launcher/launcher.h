/* elara-launcher: the process beside one kernel. It starts the kernel that launch.json describes,
 * joins its five sockets with the kernel link (docs/link-protocol.md), and stays until it is told
 * to end or the kernel's end is final and fetched. Gateways come and go. */
#pragma once

#include "base/error.h"
#include "launcher/link_curve.h"
#include "launcher/oom_score.h"

#include <stdbool.h>
#include <stdint.h>

struct launcher;

enum launcher_resume {
    LAUNCHER_RESUME_BY_POLICY, /* as after a death of the kernel's own */
    LAUNCHER_RESUME_START,     /* also one that was dead */
    LAUNCHER_RESUME_DEAD,      /* it stays dead, its output is there to be read */
};

/* Where an earlier launcher was: what is to become of the kernel. By argument, so that a full disk
 * does not stand in the way. */
struct launcher_succession {
    enum launcher_resume how;
    const char *reason; /* a sentence: what became of the earlier one; NULL: nobody knows */
};

struct launcher_settings {
    /* Must be private and have no other launcher. */
    const char *directory;
    int lock_fd; /* a descriptor of it whose lock (flock) is handed over, or -1 */
    struct launcher_succession succession;
    const char *endpoint;               /* of the link; NULL: the socket in the directory */
    const struct link_curve_keys *keys; /* with endpoint, and only then */
    /* It is the first process of a container: what ends it ends the container, and whoever comes
     * after it in this directory is the same container, started again. */
    bool is_container;
    const struct oom_score *oom_score; /* opened; the launcher closes it. NULL: let it be */
};

/* Reads the kernel directory and binds the link; the kernel is started by launcher_run. A record
 * that is there and cannot be read is an error: it may be whole again when somebody has looked, and
 * would be lost with the first change. */
int launcher_create(const struct launcher_settings *settings, struct launcher **ret,
                    struct error *err);

/* Starts the kernel and serves it until it was shut down. */
void launcher_run(struct launcher *launcher);
void launcher_destroy(struct launcher *launcher); /* NULL is fine */

/* Makes this process one that can be a launcher: a session of its own, subreaper, small, its
 * signals kept for launcher_run. The first thing in main, before any thread exists. open_files: the
 * soft limit for it and its kernel, -1: as it is. is_container: as in launcher_settings. */
void launcher_become(int64_t open_files, bool is_container);
