#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *pointer, size_t size) {
    if (pointer == NULL) {
        fprintf(stderr, "out of memory: %zu bytes refused\n", size);
        abort();
    }
    return pointer;
}

void *memory_alloc(size_t size) {
    return checked(calloc(1, size ? size : 1), size);
}

void *memory_resize(void *pointer, size_t size) {
    return checked(realloc(pointer, size ? size : 1), size);
}

char *memory_strdup(const char *text) {
    return memory_strndup(text, strlen(text));
}

char *memory_strndup(const char *text, size_t length) {
    char *copy = memory_alloc(length + 1);
    memcpy(copy, text, strnlen(text, length));
    return copy;
}

char *memory_printf(const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    return checked(length < 0 ? NULL : text, 0);
}
