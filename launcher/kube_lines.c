#include "launcher/kube_lines.h"

#include <string.h>

static size_t without_end(const char *text, size_t length) {
    return length > 0 && text[length - 1] == '\r' ? length - 1 : length;
}

enum kube_lines_result kube_lines_feed(struct kube_lines *lines, const char *data, size_t length,
                                       bool (*line)(void *context, const char *text, size_t length),
                                       void *context) {
    struct buffer *partial = &lines->partial;
    const char *end = data + length;
    for (const char *stop; data < end && (stop = memchr(data, '\n', (size_t)(end - data))) != NULL;
         data = stop + 1) {
        const char *text = data;
        size_t size = (size_t)(stop - data);
        if (partial->length + size > partial->limit)
            return KUBE_LINES_TOO_LONG;
        struct buffer whole = {.limit = partial->limit};
        if (partial->length > 0) { /* taken out: lines may be gone after the call */
            buffer_append(partial, data, size);
            whole = *partial;
            *partial = (struct buffer){.limit = whole.limit};
            text = (const char *)whole.data;
            size = whole.length;
        }
        size = without_end(text, size);
        bool goes_on = size == 0 || line(context, text, size);
        buffer_free(&whole);
        if (!goes_on)
            return KUBE_LINES_STOPPED;
    }
    if (buffer_append(partial, data, (size_t)(end - data)) < 0)
        return KUBE_LINES_TOO_LONG;
    return KUBE_LINES_DONE;
}

void kube_lines_free(struct kube_lines *lines) {
    buffer_free(&lines->partial);
}
