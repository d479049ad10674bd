/* Text: checked comparison, parsing, ids. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length-checked equality of a counted text and a C string. */
bool text_equal_n(const char *text, size_t length, const char *other);
bool text_starts_with(const char *text, const char *prefix);
bool text_ends_with(const char *text, const char *suffix);
void text_lower(char *text);                /* ASCII, in place */
const char *text_or_null(const char *text); /* NULL for an empty one too */
/* Frees *text and copies value, which may be (a part of) it, or NULL. */
void text_replace(char **text, const char *value);

/* The whole of `text` as a decimal number within [min, max]; else ERROR_INVALID naming `what`. */
int text_parse_int(const char *text, int64_t min, int64_t max, const char *what, int64_t *ret,
                   struct error *err);

void text_hex(const uint8_t *data, size_t length, char *hex); /* 2 * length + 1 bytes */

/* A random version-4 UUID (RFC 9562), lower case: 37 bytes with the NUL. */
void text_uuid4(char uuid[37]);

/* Five groups of word characters joined by '-' (the form of kernel and session ids in
 * jupyter_server), at most 128 bytes. */
bool text_is_kernel_id(const char *text);

/* A duration for people, in its two largest units: "2 d 3 h", "1 h", "59 min 3 s", "10 ms". */
void text_append_duration(struct buffer *out, int64_t ms);

/* Match with * (any bytes, also none) and ? (one byte); all others mean themselves. */
bool text_glob(const char *pattern, const char *text);

/* Lists end with NULL; a NULL list is an empty one, of which the copy is NULL. */
char **text_list_copy(char *const *list);
void text_list_free(char **list);
bool text_list_has(char *const *list, const char *text);

/* FNV-1a, 64 bits: to tell texts apart, not against who wants them to collide. */
uint64_t text_hash(const char *text);
