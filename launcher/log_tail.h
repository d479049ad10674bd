/* The end of a log, for reasons and for people: always valid UTF-8 without control characters. */
#pragma once

#include <stddef.h>

/* The last max_bytes of the file and of what was rotated from it (path.1); lines > 0: at most that
 * many lines. malloc'ed, never NULL. */
char *log_tail_read(const char *path, size_t max_bytes, int lines);

/* The same of a text at hand, which is consumed (malloc'ed). is_cut: its first line is not
 * whole. */
char *log_tail_of(char *text, size_t length, int lines, int is_cut);
