/* The gateway locks itself in before it listens: it writes below its runtime directory and beside
 * its event log only, runs no program, and gains no privileges (Linux: landlock(7),
 * PR_SET_NO_NEW_PRIVS). What it starts, launchers and its successor, comes from a process that is
 * not (launcher/spawner.h). */
#pragma once

#include "base/error.h"

/* Before there are threads: it holds for the calling one and those that it makes. The directory is
 * made if it is missing. event_log: NULL or "": none. A system without Landlock is logged. */
int confine(const char *runtime_directory, const char *event_log, struct error *err);
