/* A user's name as one component of a path. No two names give the same component. */
#pragma once

#include "base/error.h"

enum user_name_scheme {
    USER_NAME_HUB,       /* KubeSpawner's "escape": a-z and 0-9 stay, other bytes are -xx in hex */
    USER_NAME_SAFE_SLUG, /* KubeSpawner's "safe" (7.0 and later): names that are DNS labels stay,
                            others are shortened and get a hash */
    USER_NAME_RAW,       /* as it is; names that are no component are refused */
};

/* "hub", "safe-slug", "raw". */
int user_name_scheme_parse(const char *text, enum user_name_scheme *ret, struct error *err);

/* malloc'ed. ERROR_INVALID: the empty name, one that is no UTF-8 or whose component would have more
 * than 255 bytes; with USER_NAME_RAW also one that holds a slash or control characters, or begins
 * with a dot. */
int user_name_escape(enum user_name_scheme scheme, const char *name, char **ret, struct error *err);
