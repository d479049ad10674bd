/* Counting, and what it looks like as Prometheus' text. */
#include "base/cleanup.h"
#include "gateway/http.h"
#include "gateway/metrics.h"
#include "gateway/metrics_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct histogram_scale scale = {3, {1000, 250000, 2000000}};

static void test_histogram_bounds(void **state) {
    (void)state;
    struct histogram histogram = {0};
    const int64_t took[] = {0, 1000, 1001, 250000, 2000000, 2000001, INT64_C(1) << 40};
    for (size_t i = 0; i < sizeof took / sizeof *took; i++)
        histogram_add(&histogram, &scale, took[i]);
    assert_int_equal(histogram.counts[0], 2); /* a bound belongs to its class */
    assert_int_equal(histogram.counts[1], 2);
    assert_int_equal(histogram.counts[2], 1);
    assert_int_equal(histogram.counts[3], 2);
}

static void test_scales_ascend(void **state) {
    (void)state;
    const struct histogram_scale *const all[] = {&histogram_requests, &histogram_starts,
                                                 &histogram_lag};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_in_range(all[i]->count, 1, HISTOGRAM_BOUNDS_MAX);
        for (size_t at = 1; at < all[i]->count; at++)
            assert_true(all[i]->bounds_us[at] > all[i]->bounds_us[at - 1]);
        assert_true(all[i]->bounds_us[0] > 0);
    }
}

static void test_text(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {0};
    struct metrics_label labels[] = {{"a", "x\"y\\z\n\xff"}, {"b", "h\xc3\xa4"}};
    metrics_text_head(&out, "elara_x_total", METRICS_COUNTER, "Help.");
    metrics_text_number(&out, "elara_x_total", labels, 2, UINT64_MAX);
    metrics_text_number(&out, "elara_y", NULL, 0, 0);
    metrics_text_time(&out, "elara_z_seconds", NULL, 0, 12000034);
    assert_string_equal(
        buffer_text(&out),
        "# HELP elara_x_total Help.\n# TYPE elara_x_total counter\n"
        "elara_x_total{a=\"x\\\"y\\\\z\\n?\",b=\"h\xc3\xa4\"} 18446744073709551615\n"
        "elara_y 0\nelara_z_seconds 12.000034\n");
}

static void test_histogram_text(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {0};
    struct histogram histogram = {{1, 2, 0, 4}, 1500000};
    struct metrics_label labels[] = {{"stage", "x"}};
    metrics_text_histogram(&out, "h_seconds", labels, 1, &histogram, &scale);
    assert_string_equal(buffer_text(&out), "h_seconds_bucket{stage=\"x\",le=\"0.001\"} 1\n"
                                           "h_seconds_bucket{stage=\"x\",le=\"0.25\"} 3\n"
                                           "h_seconds_bucket{stage=\"x\",le=\"2\"} 3\n"
                                           "h_seconds_bucket{stage=\"x\",le=\"+Inf\"} 7\n"
                                           "h_seconds_sum{stage=\"x\"} 1.500000\n"
                                           "h_seconds_count{stage=\"x\"} 7\n");
}

static void test_requests(void **state) {
    (void)state;
    static const struct http_route routes[METRICS_ROUTES_MAX + 5];
    struct metrics *metrics = metrics_create();
    metrics_add_request(metrics, &routes[0], 200, 5);
    metrics_add_request(metrics, &routes[1], 404, 5);
    metrics_add_request(metrics, &routes[0], 200, 5);
    metrics_add_request(metrics, NULL, 404, 5);
    metrics_add_request(metrics, &routes[0], 99, 5);
    metrics_add_request(metrics, &routes[0], 600, 5);
    assert_int_equal(metrics->route_count, 3);
    assert_null(metrics->routes[0]);
    assert_ptr_equal(metrics->routes[1], &routes[0]);
    assert_int_equal(metrics->requests[1].statuses[200 - METRICS_STATUS_MIN], 2);
    assert_int_equal(metrics->requests[2].statuses[404 - METRICS_STATUS_MIN], 1);
    assert_int_equal(metrics->requests[0].statuses[404 - METRICS_STATUS_MIN], 1);
    for (size_t i = 0; i < METRICS_ROUTES_MAX + 5; i++)
        metrics_add_request(metrics, &routes[i], 500, 5);
    assert_int_equal(metrics->route_count, METRICS_ROUTES_MAX);
    assert_int_equal(metrics->requests[0].statuses[500 - METRICS_STATUS_MIN], 6);
    metrics_add_request(NULL, NULL, 200, 5);
    metrics_destroy(metrics);
}

static void test_messages(void **state) {
    (void)state;
    struct metrics *metrics = metrics_create();
    cleanup_buffer struct buffer message = {0};
    struct bytes empty = bytes_of_text("{}");
    for (int channel = 0; channel < CHANNEL_COUNT; channel++) {
        buffer_clear(&message);
        kernel_message_write(&message, (enum kernel_channel)channel, empty, empty, empty, empty,
                             NULL, 0);
        metrics_add_message(metrics, METRICS_TO_CLIENT, message.data, message.length);
        assert_int_equal(metrics->traffic[METRICS_TO_CLIENT][channel].messages, 1);
        assert_int_equal(metrics->traffic[METRICS_TO_CLIENT][channel].bytes, message.length);
        assert_int_equal(metrics->traffic[METRICS_TO_KERNEL][channel].messages, 0);
    }
    for (size_t length = 0; length < message.length; length++) { /* cut off, and nothing beyond */
        uint8_t *copy = malloc(length + 1);
        memcpy(copy, message.data, length);
        copy = realloc(copy, length > 0 ? length : 1);
        metrics_add_message(metrics, METRICS_TO_KERNEL, copy, length);
        free(copy);
    }
    uint8_t wrong[64];
    memset(wrong, 0xff, sizeof wrong);
    metrics_add_message(metrics, METRICS_TO_CLIENT, wrong, sizeof wrong);
    metrics_add_message(NULL, METRICS_TO_CLIENT, message.data, message.length);
    assert_int_equal(metrics->traffic[METRICS_TO_CLIENT][CHANNEL_SHELL].messages, 1);
    metrics_destroy(metrics);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram_bounds),
        cmocka_unit_test(test_scales_ascend),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_histogram_text),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
