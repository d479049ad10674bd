#include "gateway/metrics_text.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "base/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const type_names[] = {"counter", "gauge", "histogram"};

static void add_escaped(struct buffer *out, const char *text) {
    cleanup_free char *clean = utf8_repair(text);
    for (const char *at = clean; *at != '\0'; at++) {
        if (*at == '\\' || *at == '"')
            buffer_printf(out, "\\%c", *at);
        else if (*at == '\n')
            buffer_append_text(out, "\\n");
        else
            buffer_append(out, at, 1);
    }
}

void metrics_text_head(struct buffer *out, const char *name, enum metrics_type type,
                       const char *help) {
    buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type_names[type]);
}

static void add_name(struct buffer *out, const char *name, const char *suffix,
                     const struct metrics_label *labels, size_t label_count) {
    buffer_printf(out, "%s%s", name, suffix);
    for (size_t i = 0; i < label_count; i++) {
        buffer_printf(out, "%c%s=\"", i == 0 ? '{' : ',', labels[i].name);
        add_escaped(out, labels[i].value);
        buffer_append_text(out, "\"");
    }
    buffer_append_text(out, label_count > 0 ? "} " : " ");
}

static void add_time(struct buffer *out, int64_t value_us) {
    buffer_printf(out, "%" PRId64 ".%06" PRId64 "\n", value_us / 1000000, value_us % 1000000);
}

void metrics_text_number(struct buffer *out, const char *name, const struct metrics_label *labels,
                         size_t label_count, uint64_t value) {
    add_name(out, name, "", labels, label_count);
    buffer_printf(out, "%" PRIu64 "\n", value);
}

void metrics_text_time(struct buffer *out, const char *name, const struct metrics_label *labels,
                       size_t label_count, int64_t value_us) {
    add_name(out, name, "", labels, label_count);
    add_time(out, value_us);
}

void metrics_text_histogram(struct buffer *out, const char *name,
                            const struct metrics_label *labels, size_t label_count,
                            const struct histogram *histogram,
                            const struct histogram_scale *scale) {
    struct metrics_label all[METRICS_LABELS_MAX + 1];
    assert(label_count <= METRICS_LABELS_MAX);
    for (size_t i = 0; i < label_count; i++)
        all[i] = labels[i];
    uint64_t count = 0;
    for (size_t class = 0; class <= scale->count; class ++) {
        char bound[32] = "+Inf";
        if (class < scale->count)
            snprintf(bound, sizeof bound, "%g", (double)scale->bounds_us[class] / 1e6);
        all[label_count] = (struct metrics_label){"le", bound};
        count += histogram->counts[class];
        add_name(out, name, "_bucket", all, label_count + 1);
        buffer_printf(out, "%" PRIu64 "\n", count);
    }
    add_name(out, name, "_sum", labels, label_count);
    add_time(out, histogram->sum_us);
    add_name(out, name, "_count", labels, label_count);
    buffer_printf(out, "%" PRIu64 "\n", count);
}
