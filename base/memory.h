/* Allocation that does not fail: small, fixed-size needs of our own. Running out of memory for
 * those ends the process with a log line (kernels live on beside their launchers). Sizes that input
 * decides are bounded before they come here. */
#pragma once

#include <stddef.h>

void *memory_alloc(size_t size); /* zeroed; never NULL */
void *memory_resize(void *pointer, size_t size);
char *memory_strdup(const char *text);
char *memory_strndup(const char *text, size_t length); /* length bytes at most, as strndup */
char *memory_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
