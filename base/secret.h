/* Keys that are held for long: in pages of their own, which are never swapped out, are in no core
 * dump and in no child, and are wiped when they are freed. Where too little memory may be locked
 * (RLIMIT_MEMLOCK) they are kept all the same, which the log says once. For one thread. */
#pragma once

#include <stddef.h>

enum { SECRET_MAX = 256 }; /* bytes of one */

void *secret_alloc(size_t size); /* zeroed; never NULL */
char *secret_dup(const char *text);
void secret_free(void *secret); /* NULL is fine */
