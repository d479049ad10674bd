#include "gateway/histogram.h"

#define MS *INT64_C(1000)
#define S  *INT64_C(1000000)

const struct histogram_scale histogram_requests = {
    12, {1 MS, 2500, 5 MS, 10 MS, 25 MS, 50 MS, 100 MS, 250 MS, 1 S, 5 S, 15 S, 60 S}};
const struct histogram_scale histogram_starts = {
    12, {50 MS, 100 MS, 250 MS, 500 MS, 1 S, 2 S, 5 S, 10 S, 30 S, 60 S, 180 S, 600 S}};
const struct histogram_scale histogram_lag = {
    11, {1 MS, 2 MS, 5 MS, 10 MS, 25 MS, 50 MS, 100 MS, 250 MS, 1 S, 2500 MS, 10 S}};

void histogram_add(struct histogram *histogram, const struct histogram_scale *scale,
                   int64_t took_us) {
    size_t class = 0;
    while (class < scale->count && took_us > scale->bounds_us[class])
        class ++;
    histogram->counts[class]++;
    histogram->sum_us += took_us;
}
