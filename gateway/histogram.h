/* How long something took, counted in classes: a few words of memory, no allocation. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_BOUNDS_MAX = 16 };

/* Upper bounds of the classes, ascending, in microseconds. */
struct histogram_scale {
    size_t count;
    int64_t bounds_us[HISTOGRAM_BOUNDS_MAX];
};

extern const struct histogram_scale histogram_requests; /* 1 ms to 60 s */
extern const struct histogram_scale histogram_starts;   /* 50 ms to 10 min */
extern const struct histogram_scale histogram_lag;      /* 1 ms to 10 s */

struct histogram {
    uint64_t counts[HISTOGRAM_BOUNDS_MAX + 1]; /* of each class; the last: above all bounds */
    int64_t sum_us;
};

void histogram_add(struct histogram *histogram, const struct histogram_scale *scale,
                   int64_t took_us);
