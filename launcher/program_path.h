/* Where a program lies, by a PATH that is not our own. */
#pragma once

#include <stdbool.h>

/* python, python3, python3.N: what jupyter_client replaces by the interpreter it runs in. */
bool program_is_python(const char *name);
/* The path of an executable file of this name, malloc'ed; NULL when there is none. path may be
 * NULL. */
char *program_find(const char *path, const char *name);
/* The same, or of python3 where that alone is there. */
char *program_find_python(const char *path, const char *name);
