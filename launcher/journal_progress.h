/* Progress bars: stream texts that move back to the start of their line and write over it. */
#pragma once

#include "launcher/kernel_message.h"

#include <stdbool.h>

struct progress_text {
    /* one line without control characters but carriage returns, of which it has one at least */
    bool is_progress;
    bool is_open;                /* no newline in it: what comes behind it may write over it */
    bool starts_over, ends_over; /* its first, last character is a carriage return */
    size_t width;                /* characters of its first line that are written over for sure */
    char stream[8];              /* "stdout", "stderr" */
};

/* A message of class stream. Cheap when it has no carriage return. */
struct progress_text progress_read(const void *message, size_t length);
/* Whether nothing of `earlier` is seen once `later` stands behind it, with nothing of this cell in
 * between, if `earlier` began where its line does. */
bool progress_overwrites(const struct progress_text *later, const struct progress_text *earlier);
