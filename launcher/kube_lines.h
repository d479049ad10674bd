/* The lines of a stream that comes in pieces. Zero-initialise with a limit in partial; free with
 * kube_lines_free. */
#pragma once

#include "base/buffer.h"

#include <stdbool.h>

struct kube_lines {
    struct buffer partial; /* the line that has not ended yet */
};

enum kube_lines_result {
    KUBE_LINES_DONE,
    KUBE_LINES_STOPPED,  /* line returned false; lines may be gone */
    KUBE_LINES_TOO_LONG, /* a line is longer than the limit */
};

/* Hands over each complete line that is not empty, without its end ("\n" or "\r\n"). text:
 * borrowed. */
enum kube_lines_result kube_lines_feed(struct kube_lines *lines, const char *data, size_t length,
                                       bool (*line)(void *context, const char *text, size_t length),
                                       void *context);
void kube_lines_free(struct kube_lines *lines);
