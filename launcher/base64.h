/* Base64 (RFC 4648, section 4: with padding) for messages inside JSON. */
#pragma once

#include "base/buffer.h"

#include <stddef.h>

/* Appends; -1 at out's limit. */
int base64_encode(const void *data, size_t length, struct buffer *out);
/* The whole of `text`, strictly: no spaces, complete padding, no stray bits. Appends; -1 when it is
 * no base64 or at out's limit. */
int base64_decode(const char *text, size_t length, struct buffer *out);
