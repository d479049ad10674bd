/* JSON as slices of the text it stands in: a whole-text check and a walk over an object's members,
 * without building a tree. For messages that are passed on byte for byte. The grammar is RFC
 * 8259's, in UTF-8, plus the NaN, Infinity and -Infinity that Python's json module writes and
 * reads. */
#pragma once

#include "base/error.h"
#include "launcher/kernel_message.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    JSON_SLICE_DEPTH_MAX = 512
}; /* nested arrays and objects; Python's parser gives up near 1000 */

/* One walk over the members of an object. Zero-initialise with the text: struct json_walk walk =
 * {.text = text}; */
struct json_walk {
    struct bytes text;
    size_t at;
    bool started;
};

struct json_member {
    struct bytes key;   /* raw, without the quotes: may hold escapes */
    struct bytes value; /* raw and checked, without white space around it */
};

/* Returns 1 with the next member, 0 at the end (nothing but white space follows the object), -1
 * when the text is no JSON object. Errors name the byte: "byte 17: expected ':'". */
int json_walk_next(struct json_walk *walk, struct json_member *ret, struct error *err);

/* The whole text is one value and nothing else. */
int json_slice_check(struct bytes text, struct error *err);

bool json_key_is(struct bytes key, const char *name); /* escapes in key are understood */
bool json_slice_is_object(struct bytes value);        /* of a checked value */
bool json_slice_is_text(struct bytes value);
bool json_slice_is_null(struct bytes value);
