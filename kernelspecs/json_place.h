/* Where in a JSON text a value stands: jansson's trees do not remember it, and a problem is told
 * with its line. */
#pragma once

#include <stddef.h>

struct json_step {
    const char *key; /* of an object's member; NULL: an array's element */
    size_t index;
};

/* The line (from 1) of the member's key or the element that the steps lead to; 0 when the text has
 * none. Of equal keys the last one counts, as in every JSON parser. text: valid JSON, as jansson
 * has just parsed it. */
size_t json_place_line(const char *text, size_t length, const struct json_step *steps,
                       size_t count);
