/* Where a session's cursor was, and when: what a client acknowledged lately may have been swallowed
 * on its way, so that one has to look back. Coarse, and the coarser the longer ago; it errs towards
 * the past. */
#pragma once

#include <stdint.h>

enum { CURSOR_TRAIL_POINTS = 32 };

struct cursor_trail {
    struct {
        int64_t when_ms;
        uint64_t cursor;
    } points[CURSOR_TRAIL_POINTS]; /* oldest first */
    unsigned count;
};

/* Forgets what was; at no time before or after now was it further than cursor, until it is
 * moved. */
void cursor_trail_reset(struct cursor_trail *trail, int64_t now_ms, uint64_t cursor);
void cursor_trail_move(struct cursor_trail *trail, int64_t now_ms, uint64_t cursor);
/* Never beyond where it was at that time. Needs a reset before. */
uint64_t cursor_trail_at(const struct cursor_trail *trail, int64_t when_ms);
