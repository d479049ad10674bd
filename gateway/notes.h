/* Small JSON objects under a key, a file each, in a directory that outlives the gateway and that
 * all gateways of one runtime directory share: why kernels ended. At the limit the oldest go. Calls
 * read and write at once. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stddef.h>

struct notes;

enum { NOTE_MAX_BYTES = 16 << 10 };

/* directory: made 0700 if missing. max: notes that are kept, give or take an eighth; 16 at
 * least. */
int notes_create(const char *directory, size_t max, struct notes **ret, struct error *err);
void notes_destroy(struct notes *notes);

/* Replaces what is under the key. note is stolen. */
int notes_put(struct notes *notes, const char *key, json_t *note, struct error *err);
json_t *notes_get(const struct notes *notes, const char *key); /* a new reference, or NULL */
/* The same, and it is gone: of several who take it one gets it. */
json_t *notes_take(struct notes *notes, const char *key);
