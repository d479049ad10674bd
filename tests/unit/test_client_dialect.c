/* What a client that takes text frames of a limited size is given instead of what it cannot
 * take. */
#include "gateway/client_dialect.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FRAME_MAX = 8 << 20, SMALLEST_FRAME_MAX = 1 << 20 /* as settings have it */ };

static size_t frame_max = FRAME_MAX;

static const char header[] = "{\"msg_id\":\"m\",\"msg_type\":\"%s\",\"session\":\"s\"}";

struct taken {
    json_t *frames; /* an array */
    size_t largest;
};

static void take(void *context, bool binary, const void *data, size_t length) {
    struct taken *taken = context;
    assert_false(binary);
    if (length > taken->largest)
        taken->largest = length;
    json_t *frame = json_loadb(data, length, JSON_ALLOW_NUL, NULL);
    assert_non_null(frame);
    json_array_append_new(taken->frames, frame);
}

static json_t *write_to(const char *type, const char *metadata, struct bytes content,
                        size_t buffer_count) {
    struct client_dialect dialect = {.text_only = true,
                                     .frame_max = frame_max,
                                     .frame.limit = (size_t)1 << 30,
                                     .content.limit = (size_t)1 << 30};
    struct taken taken = {.frames = json_array()};
    char text[128];
    snprintf(text, sizeof text, header, type);
    const struct bytes buffers[] = {{(const uint8_t *)"\xFF", 1}};
    cleanup_buffer struct buffer whole = {.limit = (size_t)1 << 30};
    struct kernel_message message;
    assert_int_equal(kernel_message_write(&whole, CHANNEL_IOPUB, bytes_of_text(text),
                                          bytes_of_text("{}"), bytes_of_text(metadata), content,
                                          buffers, buffer_count),
                     0);
    assert_int_equal(kernel_message_parse(whole.data, whole.length, &message, NULL), 0);
    client_dialect_write(&dialect, &message, take, &taken);
    client_dialect_free(&dialect);
    assert_true(taken.largest <= frame_max);
    return taken.frames;
}

static const json_t *content_of(const json_t *frames, size_t index) {
    return json_object_get(json_array_get(frames, index), "content");
}

/* A stream output of `filler`, `count` times: what the frames' texts are together. */
static void check_split(const char *filler, const char *meaning, size_t meaning_length,
                        size_t count) {
    cleanup_buffer struct buffer content = {.limit = (size_t)1 << 30}, want = content,
                                 got = content;
    buffer_append_text(&content, "{\"name\":\"stdout\",\"text\":\"");
    for (size_t i = 0; i < count; i++) {
        buffer_append_text(&content, filler);
        buffer_append(&want, meaning, meaning_length);
    }
    buffer_append_text(&content, "\"}");
    cleanup_json json_t *frames =
        write_to("stream", "{}", (struct bytes){content.data, content.length}, 0);
    assert_true(json_array_size(frames) > 1);
    for (size_t i = 0; i < json_array_size(frames); i++) {
        const json_t *text = json_object_get(content_of(frames, i), "text");
        assert_string_equal(json_string_value(json_object_get(content_of(frames, i), "name")),
                            "stdout");
        buffer_append(&got, json_string_value(text), json_string_length(text));
    }
    assert_int_equal(got.length, want.length);
    assert_memory_equal(got.data, want.data, want.length);
}

static void test_a_large_stream_is_split(void **state) {
    (void)state;
    check_split("x", "x", 1, 9 << 20);
    check_split("\xC3\xBC", "\xC3\xBC", 2, 9 << 19); /* never within a character */
}

/* NUL takes six bytes as JSON: the frame's limit holds for those. */
static void test_a_stream_with_nul_is_split_too(void **state) {
    (void)state;
    check_split("nul \\u0000\\n", "nul \0\n", 6, 1 << 20);
}

static void test_buffers_are_left_out_and_metadata_stays(void **state) {
    (void)state;
    cleanup_json json_t *frames = write_to("display_data", "{\"key\":\"a\\u0000b\"}",
                                           bytes_of_text("{\"data\":{},\"metadata\":{}}"), 1);
    assert_int_equal(json_array_size(frames), 2);
    assert_string_equal(json_string_value(json_object_get(content_of(frames, 0), "name")),
                        "stderr");
    const json_t *metadata = json_object_get(json_array_get(frames, 1), "metadata");
    assert_int_equal(json_string_length(json_object_get(metadata, "key")), 3);
    assert_int_equal(json_integer_value(json_object_get(metadata, "elara_buffers_left_out")), 1);
}

static void test_another_large_output_is_told_of(void **state) {
    (void)state;
    cleanup_buffer struct buffer content = {.limit = (size_t)1 << 30};
    buffer_append_text(&content, "{\"metadata\":{},\"data\":{\"text/plain\":\"");
    for (size_t i = 0; i < FRAME_MAX; i++)
        buffer_append(&content, "x", 1);
    buffer_append_text(&content, "\"}}");
    cleanup_json json_t *frames =
        write_to("display_data", "{}", (struct bytes){content.data, content.length}, 0);
    assert_int_equal(json_array_size(frames), 1);
    assert_non_null(strstr(json_string_value(json_object_get(content_of(frames, 0), "text")),
                           "An output of 8 MiB was left out"));
}

static int set_smallest(void **state) {
    (void)state;
    frame_max = SMALLEST_FRAME_MAX;
    return 0;
}

static int set_usual(void **state) {
    (void)state;
    frame_max = FRAME_MAX;
    return 0;
}

static void test_the_smallest_limit_is_kept(void **state) {
    (void)state;
    check_split("x", "x", 1, 3 << 20);
    check_split("nul \\u0000\\n", "nul \0\n", 6, 1 << 18);
    check_split("\\u0000", "\0", 1, 1 << 20);
}

/* Metadata that leave no room for a slice's text go, smaller ones stay. */
static void test_the_smallest_limit_is_kept_with_metadata(void **state) {
    (void)state;
    for (size_t length = 1 << 10; length <= 1 << 20; length *= 4) {
        cleanup_buffer struct buffer content = {.limit = (size_t)1 << 30}, metadata = content;
        buffer_append_text(&content, "{\"name\":\"stdout\",\"text\":\"");
        for (size_t i = 0; i < 1 << 18; i++)
            buffer_append_text(&content, "\\u0000");
        buffer_append_text(&content, "\"}");
        buffer_append_text(&metadata, "{\"key\":\"");
        for (size_t i = 0; i < length; i++)
            buffer_append(&metadata, "x", 1);
        buffer_append_text(&metadata, "\"}");
        cleanup_json json_t *frames = write_to("stream", buffer_text(&metadata),
                                               (struct bytes){content.data, content.length}, 0);
        assert_true(json_array_size(frames) > 1);
        size_t got = 0;
        for (size_t i = 0; i < json_array_size(frames); i++)
            got += json_string_length(json_object_get(content_of(frames, i), "text"));
        assert_int_equal(got, 1 << 18);
        const json_t *kept = json_object_get(json_array_get(frames, 0), "metadata");
        assert_int_equal(json_object_size(kept), length < SMALLEST_FRAME_MAX / 8 ? 1 : 0);
    }
}

static void test_small_outputs_pass_at_the_smallest_limit(void **state) {
    (void)state;
    cleanup_json json_t *frames =
        write_to("display_data", "{}",
                 bytes_of_text("{\"data\":{\"text/plain\":\"1\"},\"metadata\":{}}"), 0);
    assert_int_equal(json_array_size(frames), 1);
    assert_non_null(json_object_get(content_of(frames, 0), "data"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_large_stream_is_split),
        cmocka_unit_test(test_a_stream_with_nul_is_split_too),
        cmocka_unit_test(test_buffers_are_left_out_and_metadata_stays),
        cmocka_unit_test(test_another_large_output_is_told_of),
        cmocka_unit_test_setup_teardown(test_the_smallest_limit_is_kept, set_smallest, set_usual),
        cmocka_unit_test_setup_teardown(test_the_smallest_limit_is_kept_with_metadata, set_smallest,
                                        set_usual),
        cmocka_unit_test_setup_teardown(test_small_outputs_pass_at_the_smallest_limit, set_smallest,
                                        set_usual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
