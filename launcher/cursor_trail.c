#include "launcher/cursor_trail.h"

enum { STEP_MS = 1000 };

void cursor_trail_reset(struct cursor_trail *trail, int64_t now_ms, uint64_t cursor) {
    trail->points[0].when_ms = now_ms;
    trail->points[0].cursor = cursor;
    trail->count = 1;
}

/* The point goes whose neighbours are the closest for its age; the oldest stays. */
static void thin_out(struct cursor_trail *trail, int64_t now_ms) {
    unsigned chosen = 1;
    double smallest = 0;
    for (unsigned i = 1; i + 1 < trail->count; i++) {
        int64_t gap_ms = trail->points[i + 1].when_ms - trail->points[i - 1].when_ms;
        double share = (double)gap_ms / (double)(now_ms - trail->points[i].when_ms + STEP_MS);
        if (i == 1 || share < smallest) {
            chosen = i;
            smallest = share;
        }
    }
    trail->count--;
    for (unsigned i = chosen; i < trail->count; i++)
        trail->points[i] = trail->points[i + 1];
}

void cursor_trail_move(struct cursor_trail *trail, int64_t now_ms, uint64_t cursor) {
    /* The newest point is exact and moves along until it is a step away from the one before. */
    unsigned last = trail->count - 1;
    if (last == 0 || now_ms - trail->points[last - 1].when_ms >= STEP_MS) {
        if (trail->count == CURSOR_TRAIL_POINTS)
            thin_out(trail, now_ms);
        last = trail->count++;
    }
    trail->points[last].when_ms = now_ms;
    trail->points[last].cursor = cursor;
}

uint64_t cursor_trail_at(const struct cursor_trail *trail, int64_t when_ms) {
    unsigned i = trail->count - 1;
    while (i > 0 && trail->points[i].when_ms > when_ms)
        i--;
    return trail->points[i].cursor;
}
