/* Makes one user's directory ready where the homes are mounted here, by the rules of home.h. Calls
 * block, for ever when the file server hangs: for a process that may. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed. */
struct home_mounted {
    const char *directory; /* the administrator's; a symbolic link is followed */
    const char *path;      /* below it, checked by home_path.h */
    size_t given;          /* so many of its components have to be there; the others are made */
    int64_t uid, gid;      /* the owner, for root alone; -1: whoever makes it */
};

int home_mounted_prepare(const struct home_mounted *home, struct error *err);
