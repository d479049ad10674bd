/* A byte buffer that grows up to a limit. Zero-initialise with a limit: struct buffer b = {.limit =
 * 65536}; a limit of 0 means 16 MiB. Free with buffer_free. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct buffer {
    uint8_t *data;
    size_t length;
    size_t capacity;
    size_t limit;
};

/* Each returns 0, or -1 with the buffer unchanged when the limit would be passed. */
int buffer_append(struct buffer *buffer, const void *data, size_t length);
int buffer_append_text(struct buffer *buffer, const char *text);
int buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int buffer_reserve(struct buffer *buffer, size_t more); /* room for `more` bytes behind length */

void buffer_clear(struct buffer *buffer); /* keeps the memory */
void buffer_free(struct buffer *buffer);

/* The bytes with a NUL behind them, valid until the next change. */
const char *buffer_text(struct buffer *buffer);

#define cleanup_buffer __attribute__((cleanup(buffer_free)))
