/* Where users' directories lie: the setting home-path, such as "{user}" or "staff/{user}". */
#pragma once

#include "base/error.h"

#include <stddef.h>

/* Components of a path that is relative, or (is_absolute) begins with a slash, none of them empty,
 * "." or "..", and no more than home.h takes. what: the setting, for the text. */
int home_path_check(const char *path, int is_absolute, const char *what, struct error *err);
/* The same, and {user} has to be in its last component. */
int home_template_check(const char *template, const char *what, struct error *err);
/* user: escaped (user_name.h). given: how many components stand before the first that has {user}.
 * malloc'ed. */
int home_template_fill(const char *template, const char *user, char **ret, size_t *given,
                       struct error *err);
/* The path is the directory or below it; both are absolute. Neither need exist. */
int home_path_is_below(const char *path, const char *directory);
