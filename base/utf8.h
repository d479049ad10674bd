/* UTF-8 (RFC 3629): is it, make it, cut it. */
#pragma once

#include "base/buffer.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* RFC 3629: no surrogates, no overlong forms, nothing beyond U+10FFFF. */
bool utf8_is_valid(const void *data, size_t length);
/* The same of a text that is still coming: looks on from *checked (0 at first; then up to where all
 * sequences are whole). False: whatever follows, this becomes none. */
bool utf8_may_become_valid(const void *data, size_t length, size_t *checked);

/* A copy in which every byte that is no valid UTF-8 is '?'; malloc'ed. For texts from processes and
 * cut-off messages. */
char *utf8_repair(const char *text);

/* Appends the text with U+FFFD for each bad sequence of bytes (the Unicode Standard, "U+FFFD
 * Substitution of Maximal Subparts"), as browsers and Python's "replace" read it. -1 at out's
 * limit, with a part of it appended. */
int utf8_append_readable(struct buffer *out, const void *data, size_t length);

/* vsnprintf that cuts no UTF-8 sequence where the text is too long; size > 0. */
void utf8_format(char *text, size_t size, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/* The largest n <= max so that data[0..n) does not cut a UTF-8 sequence. */
size_t utf8_floor(const char *data, size_t length, size_t max);
