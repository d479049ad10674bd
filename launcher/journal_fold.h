/* Folding: segments are written anew without what the cap takes. What is taken leaves its numbers,
 * how many messages and bytes it was, and the header of its cell, as FOLDED records
 * (launcher/journal_segment.h). What nobody would see goes without being told. */
#pragma once

#include "launcher/journal_view.h"

/* Each takes what those before it take, too. Values are part of the journal's format. */
enum fold_level {
    FOLD_NOTHING, /* a copy */
    FOLD_STREAMS, /* and what is not seen any more */
    /* comm messages, replies but execute_reply, execute_input, status but a cell's idle */
    FOLD_STATES,
    FOLD_OUTPUTS,
    FOLD_ALL, /* execute_reply, a cell's idle, pending questions, notes of requests */
};

struct fold {
    const char *directory;
    const struct journal_view *view;
    struct segment *const *inputs; /* their numbers follow each other */
    size_t count;
    enum fold_level level;
    size_t page;
};

/* About how many bytes of a segment folding it would take. */
uint64_t fold_gain(const struct segment *segment, enum fold_level level);
/* Writes a segment in the place of the inputs, whose files stay as they are until segment_replace.
 * Returns NULL when it would be no smaller. */
struct segment *fold_segments(const struct fold *fold, int *disk_errno);
