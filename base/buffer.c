#include "base/buffer.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_LIMIT = 16 << 20, FIRST_CAPACITY = 256 };

int buffer_reserve(struct buffer *buffer, size_t more) {
    size_t limit = buffer->limit ? buffer->limit : DEFAULT_LIMIT;
    if (more > limit || buffer->length > limit - more)
        return -1;
    size_t need = buffer->length + more + 1; /* buffer_text's NUL */
    if (need <= buffer->capacity)
        return 0;
    size_t capacity = buffer->capacity ? buffer->capacity : FIRST_CAPACITY;
    while (capacity < need)
        capacity *= 2;
    buffer->data = memory_resize(buffer->data, capacity);
    buffer->capacity = capacity;
    return 0;
}

int buffer_append(struct buffer *buffer, const void *data, size_t length) {
    if (buffer_reserve(buffer, length) < 0)
        return -1;
    if (length > 0)
        memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
    return 0;
}

int buffer_append_text(struct buffer *buffer, const char *text) {
    return buffer_append(buffer, text, strlen(text));
}

int buffer_printf(struct buffer *buffer, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0 || buffer_reserve(buffer, (size_t)length) < 0)
        return -1;
    va_start(args, format);
    vsnprintf((char *)buffer->data + buffer->length, (size_t)length + 1, format, args);
    va_end(args);
    buffer->length += (size_t)length;
    return 0;
}

void buffer_clear(struct buffer *buffer) {
    buffer->length = 0;
}

void buffer_free(struct buffer *buffer) {
    free(buffer->data);
    *buffer = (struct buffer){.limit = buffer->limit};
}

const char *buffer_text(struct buffer *buffer) {
    if (buffer->data == NULL)
        return "";
    buffer->data[buffer->length] = '\0';
    return (const char *)buffer->data;
}
