/* Starts programs for a gateway that has locked itself in (gateway/confine.h): a small process of
 * its own, forked before that, so that what it starts may do what the gateway no longer may. The
 * programs are children of the gateway all the same (clone(2), CLONE_PARENT), which waits for
 * them. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { SPAWNER_FDS_MAX = 16, SPAWNER_FIRST_FD = 3 };

struct spawner;

/* Forks: before there are threads, and with the signals as what is started is to have them. */
int spawner_create(struct spawner **ret, struct error *err);
void spawner_destroy(struct spawner *spawner); /* what it started goes on */

/* Borrowed. */
struct spawner_plan {
    const char *program; /* a path */
    char *const *argv, *const *environment;
    const int *fds; /* become 3, 4, ...; nothing else is open but 0, 1 and 2 */
    size_t fd_count;
    /* 1 and 2 are appended there, and 0 is /dev/null; NULL: those of the gateway. */
    const char *log_path;
    bool is_apart; /* in a session of its own, in /, with all signals as by default */
};

/* Returns when the program runs: 0, or an errno. */
int spawner_spawn(struct spawner *spawner, const struct spawner_plan *plan, pid_t *ret);
