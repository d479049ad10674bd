/* Prometheus' text format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format). */
#pragma once

#include "base/buffer.h"
#include "gateway/histogram.h"

#include <stddef.h>
#include <stdint.h>

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

/* Values are escaped; what is no UTF-8 is replaced. */
struct metrics_label {
    const char *name, *value;
};
enum { METRICS_LABELS_MAX = 4 };

/* The lines before the samples of one name. */
void metrics_text_head(struct buffer *out, const char *name, enum metrics_type type,
                       const char *help);
void metrics_text_number(struct buffer *out, const char *name, const struct metrics_label *labels,
                         size_t label_count, uint64_t value);
/* In seconds. */
void metrics_text_time(struct buffer *out, const char *name, const struct metrics_label *labels,
                       size_t label_count, int64_t value_us);
void metrics_text_histogram(struct buffer *out, const char *name,
                            const struct metrics_label *labels, size_t label_count,
                            const struct histogram *histogram, const struct histogram_scale *scale);
