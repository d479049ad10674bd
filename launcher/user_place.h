/* Where a kernel that runs as another user (run-as-owner) finds its connection file and makes its
 * sockets: <runtime-dir>/users/<kernel id>, 0700 and his. All else of a kernel stays closed to him
 * in the kernel directory. What he puts there is his business: nothing follows a link of his. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

/* Makes it, or gives it to the user if it is there. Its parent is ours. */
int user_place_make(const char *path, uid_t uid, gid_t gid, struct error *err);
/* With what is in it. Others wait, so no more than 1,000 entries are looked at: false if something
 * is left, which the log says. Called again it goes on. A missing one is fine. */
bool user_place_remove(const char *path);
