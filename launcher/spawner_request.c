#include "launcher/spawner_request.h"

#include "base/memory.h"

#include <string.h>

static size_t count_texts(const char *body, size_t size) {
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += body[i] == '\0';
    return count;
}

char **spawner_request_texts(const struct spawner_head *head, char *body) {
    size_t size = head->body_size, arguments = head->argument_count,
           count = arguments + head->environment_count;
    if (arguments == 0 || size > SPAWNER_BODY_MAX || size == 0 || body[size - 1] != '\0' ||
        count_texts(body, size) != count)
        return NULL;
    char **texts = memory_alloc((count + 2) * sizeof *texts), **next = texts, *at = body;
    for (size_t i = 0; i < count; i++, at += strlen(at) + 1) {
        if (i == arguments)
            next++; /* the NULL behind them */
        *next++ = at;
    }
    return texts;
}
