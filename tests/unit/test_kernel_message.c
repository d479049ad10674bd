#include "launcher/kernel_message.h"

#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct bytes text(const char *value) {
    return (struct bytes){(const uint8_t *)value, strlen(value)};
}

static void expect_bytes(struct bytes bytes, const char *value) {
    assert_int_equal(bytes.length, strlen(value));
    assert_memory_equal(bytes.data, value, bytes.length);
}

static void write_sample(struct buffer *out) {
    const struct bytes buffers[] = {text("one"), {NULL, 0}, {(const uint8_t *)"\0\xFF", 2}};
    assert_int_equal(kernel_message_write(out, CHANNEL_IOPUB, text("{\"h\":1}"), text("{}"),
                                          text("{\"m\":2}"), text("{\"c\":3}"), buffers, 3),
                     0);
}

static void set_u64(struct buffer *buffer, size_t index, uint64_t value) {
    value = htole64(value);
    memcpy(buffer->data + 8 * index, &value, sizeof value);
}

static uint64_t get_u64(const struct buffer *buffer, size_t index) {
    uint64_t value;
    memcpy(&value, buffer->data + 8 * index, sizeof value);
    return le64toh(value);
}

static void test_messages_survive_the_trip(void **state) {
    (void)state;
    struct buffer out = {0};
    write_sample(&out);
    assert_true(get_u64(&out, 0) == 9);      /* 8 parts */
    assert_true(get_u64(&out, 1) == 8 * 10); /* count and 9 offsets */
    assert_true(get_u64(&out, 9) == out.length);
    struct kernel_message message;
    assert_int_equal(kernel_message_parse(out.data, out.length, &message, NULL), 0);
    assert_int_equal(message.channel, CHANNEL_IOPUB);
    expect_bytes(message.header, "{\"h\":1}");
    expect_bytes(message.parent_header, "{}");
    expect_bytes(message.metadata, "{\"m\":2}");
    expect_bytes(message.content, "{\"c\":3}");
    assert_int_equal(message.buffer_count, 3);
    expect_bytes(kernel_message_buffer(&message, 0), "one");
    assert_int_equal(kernel_message_buffer(&message, 1).length, 0);
    assert_int_equal(kernel_message_buffer(&message, 2).length, 2);
    assert_memory_equal(kernel_message_buffer(&message, 2).data, "\0\xFF", 2);
    assert_null(kernel_message_buffer(&message, 3).data);
    buffer_free(&out);
}

static void test_writing_appends_and_has_a_limit(void **state) {
    (void)state;
    struct buffer out = {.limit = 200};
    buffer_append_text(&out, "before");
    assert_int_equal(kernel_message_write(&out, CHANNEL_SHELL, text("{}"), text("{}"), text("{}"),
                                          text("{}"), NULL, 0),
                     0);
    struct kernel_message message;
    assert_int_equal(kernel_message_parse(out.data + 6, out.length - 6, &message, NULL), 0);
    size_t length = out.length;
    assert_int_equal(kernel_message_write(&out, CHANNEL_SHELL, text("{}"), text("{}"), text("{}"),
                                          (struct bytes){out.data, 150}, NULL, 0),
                     -1);
    assert_int_equal(out.length, length);
    buffer_free(&out);
}

static void test_part_limit(void **state) {
    (void)state;
    struct bytes *buffers = calloc(KERNEL_MESSAGE_PARTS_MAX, sizeof *buffers);
    struct buffer out = {0};
    assert_int_equal(kernel_message_write(&out, CHANNEL_SHELL, text("{}"), text("{}"), text("{}"),
                                          text("{}"), buffers, KERNEL_MESSAGE_PARTS_MAX - 4),
                     -1);
    assert_int_equal(kernel_message_write(&out, CHANNEL_SHELL, text("{}"), text("{}"), text("{}"),
                                          text("{}"), buffers, KERNEL_MESSAGE_PARTS_MAX - 5),
                     0);
    struct kernel_message message;
    assert_int_equal(kernel_message_parse(out.data, out.length, &message, NULL), 0);
    assert_int_equal(message.buffer_count, KERNEL_MESSAGE_PARTS_MAX - 5);
    free(buffers);
    buffer_free(&out);
}

static void expect_refused(const struct buffer *bytes, const char *why) {
    struct kernel_message message;
    struct error err = {0};
    /* A copy of the exact size, so that a read beyond it is seen. */
    uint8_t *copy = malloc(bytes->length ? bytes->length : 1);
    if (bytes->length > 0)
        memcpy(copy, bytes->data, bytes->length);
    assert_int_equal(kernel_message_parse(copy, bytes->length, &message, &err), -1);
    if (strstr(err.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    assert_int_equal(err.code, ERROR_INVALID);
    free(copy);
}

static void test_bad_offsets_are_named(void **state) {
    (void)state;
    static const struct {
        size_t index;
        uint64_t value;
        const char *why;
    } rows[] = {
        {0, 0, "offset count: 0 is not within"},
        {0, 5, "offset count: 5 is not within"},
        {0, 1026, "offset count: 1026 is not within"},
        {0, UINT64_MAX, "offset count: "},
        {0, UINT64_C(1) << 61, "offset count: "}, /* 8 times it is 0 again */
        {0, 900, "900 offsets do not fit"},
        {1, 79, "offset 0: 79 must be 80"},
        {1, 81, "offset 0: 81 must be 80"},
        {3, 900, "offset 2: 900 is beyond the frame's"},
        {4, 81, "offset 3: 81 is before offset 2"},
        {9, 0, "offset 8: 0 is before offset 7"},
        {9, UINT64_MAX, "is beyond"},
        {2, 80, "channel: \"\" is unknown"},
        {2, 84, "channel: \"iopu\" is unknown"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buffer bytes = {0};
        write_sample(&bytes);
        set_u64(&bytes, rows[i].index, rows[i].value);
        expect_refused(&bytes, rows[i].why);
        buffer_free(&bytes);
    }
}

static void test_cut_and_extended_frames(void **state) {
    (void)state;
    struct buffer bytes = {0};
    write_sample(&bytes);
    size_t whole = bytes.length;
    for (bytes.length = 0; bytes.length < whole; bytes.length++)
        expect_refused(&bytes, "offset");
    bytes.length = whole;
    buffer_append_text(&bytes, "x");
    expect_refused(&bytes, "must be the frame's end");
    buffer_free(&bytes);
}

static void test_channels(void **state) {
    (void)state;
    for (unsigned i = 0; i < CHANNEL_COUNT; i++) {
        enum kernel_channel channel;
        const char *name = kernel_channel_name((enum kernel_channel)i);
        assert_int_equal(kernel_channel_parse(name, strlen(name), &channel), 0);
        assert_int_equal(channel, i);
    }
    enum kernel_channel channel;
    assert_int_equal(kernel_channel_parse("hb", 2, &channel), -1);
    assert_int_equal(kernel_channel_parse("shellx", 6, &channel), -1);
    assert_int_equal(kernel_channel_parse("shellx", 5, &channel), 0);
    assert_string_equal(kernel_channel_name(CHANNEL_COUNT), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_survive_the_trip),
        cmocka_unit_test(test_writing_appends_and_has_a_limit),
        cmocka_unit_test(test_part_limit),
        cmocka_unit_test(test_bad_offsets_are_named),
        cmocka_unit_test(test_cut_and_extended_frames),
        cmocka_unit_test(test_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
