/* Users' ids from a file of the form of passwd(5): NAME:...:UID:GID:... */
#pragma once

#include "base/error.h"

#include <jansson.h>

/* {"alice": "1001:100"}. Without those that have 0 as a uid or gid: nobody's kernel runs as that.
 * Empty lines and those that begin with "#" are passed over; any other mistake is an ERROR_INVALID
 * that names file and line. A new reference. */
int user_ids_read(const char *path, json_t **ret, struct error *err);
