/* Starts launchers, and the gateway's successor, for a gateway that has locked itself in
 * (gateway/confine.h): a small process of its own, forked before that, so that what it starts may
 * do what the gateway no longer may. It starts these two programs alone and opens no files. What it
 * starts are children of the gateway all the same (clone(2), CLONE_PARENT), which waits for them.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { SPAWNER_FDS_MAX = 16, SPAWNER_FIRST_FD = 3 };

struct spawner;

/* Forks: before there are threads and secrets, and with the signals as what is started is to have
 * them. The helper forgets its environment, and is closed to those who look into memory. */
int spawner_create(struct spawner **ret, struct error *err);
void spawner_destroy(struct spawner *spawner); /* what it started goes on; NULL is fine */

/* Which program the launcher is, an absolute path: once, before any client is served. 0 or an
 * errno, EPERM: it has been another one. */
int spawner_name_launcher(struct spawner *spawner, const char *path);

/* Borrowed. */
struct spawner_plan {
    bool is_gateway; /* the program that lies where ours did at first; else the launcher */
    char *const *argv, *const *environment;
    const int *fds; /* become 3, 4, ...; nothing else is open but 0, 1 and 2 */
    size_t fd_count;
    int output_fd; /* becomes 1 and 2, and 0 is /dev/null; -1: those of the gateway */
    bool is_apart; /* in a session of its own, in /, with all signals as by default */
};

/* Returns when the program runs: 0, or an errno. EPERM: no launcher was named. */
int spawner_spawn(struct spawner *spawner, const struct spawner_plan *plan, pid_t *ret);
