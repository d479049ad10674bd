#include "launcher/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_frames_survive_the_trip(void **state) {
    (void)state;
    struct buffer batch = {.limit = LINK_BATCH_MAX};
    assert_int_equal(link_frame_write(&batch, LINK_HELLO, 0, 0, "{}", 2, false), 0);
    assert_int_equal(link_frame_write(&batch, LINK_MESSAGE, 0xBEEF, UINT64_C(0x0102030405060708),
                                      NULL, 100000, true),
                     0);
    assert_int_equal(link_frame_write(&batch, LINK_PING, 7, UINT64_MAX, NULL, 0, false), 0);
    assert_int_equal(batch.length, 3 * LINK_HEADER_SIZE + 2);

    struct link_frame frame;
    size_t at = 0;
    assert_int_equal(link_frame_next(batch.data, batch.length, &at, &frame, NULL), 1);
    assert_int_equal(frame.type, LINK_HELLO);
    assert_int_equal(frame.length, 2);
    assert_memory_equal(frame.payload, "{}", 2);
    assert_int_equal(link_frame_next(batch.data, batch.length, &at, &frame, NULL), 1);
    assert_int_equal(frame.type, LINK_MESSAGE);
    assert_int_equal(frame.flags, LINK_FLAG_EXTERNAL);
    assert_int_equal(frame.attachment, 0xBEEF);
    assert_int_equal(frame.length, 100000);
    assert_true(frame.seq == UINT64_C(0x0102030405060708));
    assert_null(frame.payload);
    assert_int_equal(link_frame_next(batch.data, batch.length, &at, &frame, NULL), 1);
    assert_int_equal(frame.type, LINK_PING);
    assert_true(frame.seq == UINT64_MAX);
    assert_int_equal(link_frame_next(batch.data, batch.length, &at, &frame, NULL), 0);
    buffer_free(&batch);
}

static void test_the_header_is_little_endian(void **state) {
    (void)state;
    struct buffer batch = {.limit = LINK_BATCH_MAX};
    link_frame_write(&batch, LINK_ACK, 0x0201, UINT64_C(0x0807060504030201), "abc", 3, false);
    static const uint8_t expected[] = {LINK_ACK, 0, 1, 2, 3, 0, 0,   0,   1,  2,
                                       3,        4, 5, 6, 7, 8, 'a', 'b', 'c'};
    assert_int_equal(batch.length, sizeof expected);
    assert_memory_equal(batch.data, expected, sizeof expected);
    buffer_free(&batch);
}

static void test_a_batch_has_a_limit(void **state) {
    (void)state;
    static const uint8_t payload[LINK_INLINE_MAX];
    struct buffer batch = {.limit = 1 << 20};
    int count = 0;
    while (link_frame_write(&batch, LINK_MESSAGE, 1, 1, payload, sizeof payload, false) == 0)
        count++;
    assert_int_equal(count, 7);
    size_t length = batch.length;
    assert_true(length <= LINK_BATCH_MAX);
    assert_int_equal(link_frame_write(&batch, LINK_MESSAGE, 1, 1, NULL, sizeof payload, true), 0);
    size_t rest = LINK_BATCH_MAX - batch.length - LINK_HEADER_SIZE;
    assert_int_equal(link_frame_write(&batch, LINK_MESSAGE, 1, 1, payload, rest + 1, false), -1);
    assert_int_equal(batch.length, length + LINK_HEADER_SIZE);
    assert_int_equal(link_frame_write(&batch, LINK_MESSAGE, 1, 1, payload, rest, false), 0);
    assert_int_equal(batch.length, LINK_BATCH_MAX);
    size_t too_much = (size_t)LINK_PAYLOAD_MAX + 1;
    buffer_clear(&batch);
    assert_int_equal(link_frame_write(&batch, LINK_MESSAGE, 1, 1, NULL, too_much, true), -1);
    buffer_free(&batch);
}

static void expect_malformed(const uint8_t *data, size_t length, const char *text) {
    struct link_frame frame;
    struct error err = {0};
    size_t at = 0;
    int result;
    while ((result = link_frame_next(data, length, &at, &frame, &err)) > 0)
        ;
    assert_int_equal(result, -1);
    assert_non_null(strstr(err.text, text));
}

static void test_malformed_batches(void **state) {
    (void)state;
    struct buffer batch = {.limit = LINK_BATCH_MAX};
    link_frame_write(&batch, LINK_ACK, 1, 1, "12345678", 8, false);
    for (size_t length = 1; length < LINK_HEADER_SIZE; length++)
        expect_malformed(batch.data, length, "no header");
    for (size_t length = LINK_HEADER_SIZE; length < batch.length; length++)
        expect_malformed(batch.data, length, "a payload of 8 bytes is beyond");
    batch.data[7] = 0x7F; /* 2 GiB */
    expect_malformed(batch.data, batch.length, "is more than");
    static const uint8_t large[LINK_BATCH_MAX + 1];
    expect_malformed(large, sizeof large, "are more than 65536");
    buffer_free(&batch);
}

static void test_unknown_types_and_flags_pass(void **state) {
    (void)state;
    uint8_t raw[LINK_HEADER_SIZE] = {77, 0xFE};
    struct link_frame frame;
    size_t at = 0;
    assert_int_equal(link_frame_next(raw, sizeof raw, &at, &frame, NULL), 1);
    assert_int_equal(frame.type, 77);
    assert_non_null(frame.payload); /* bit 0 is not set: it is not EXTERNAL */
    assert_string_equal(link_type_name(77), "unknown");
    assert_string_equal(link_type_name(0), "unknown");
    assert_string_equal(link_type_name(255), "unknown");
    assert_string_equal(link_type_name(LINK_EXIT), "EXIT");
    assert_string_equal(link_type_name(LINK_DETACHED), "DETACHED");
}

static void test_u64_payloads(void **state) {
    (void)state;
    uint8_t bytes[8];
    link_u64_write(bytes, UINT64_C(0x1122334455667788));
    assert_int_equal(bytes[0], 0x88);
    uint64_t value = 0;
    struct link_frame frame = {.length = 8};
    assert_int_equal(link_u64_read(&frame, bytes, &value), 0);
    assert_true(value == UINT64_C(0x1122334455667788));
    frame.length = 7;
    assert_int_equal(link_u64_read(&frame, bytes, &value), -1);
    frame.length = 9;
    assert_int_equal(link_u64_read(&frame, bytes, &value), -1);
    frame.length = 8;
    assert_int_equal(link_u64_read(&frame, NULL, &value), -1);
}

static void test_ack_payloads(void **state) {
    (void)state;
    uint8_t bytes[LINK_ACK_SIZE];
    uint64_t consumed = 0, sure = 0;
    struct link_frame frame = {.length = (uint32_t)link_ack_write(bytes, 7, 258)};
    assert_int_equal(frame.length, 16);
    assert_int_equal(bytes[8], 2);
    assert_int_equal(link_ack_read(&frame, bytes, &consumed, &sure), 0);
    assert_int_equal(consumed, 7);
    assert_int_equal(sure, 258);
    frame.length = (uint32_t)link_ack_write(bytes, 8, UINT64_MAX);
    assert_int_equal(frame.length, 8); /* as a gateway that does not know it says it */
    assert_int_equal(link_ack_read(&frame, bytes, &consumed, &sure), 0);
    assert_int_equal(consumed, 8);
    assert_true(sure == UINT64_MAX);
    for (frame.length = 0; frame.length < 20; frame.length++)
        if (frame.length != 8 && frame.length != 16)
            assert_int_equal(link_ack_read(&frame, bytes, &consumed, &sure), -1);
    frame.length = 16;
    assert_int_equal(link_ack_read(&frame, NULL, &consumed, &sure), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_survive_the_trip),
        cmocka_unit_test(test_the_header_is_little_endian),
        cmocka_unit_test(test_a_batch_has_a_limit),
        cmocka_unit_test(test_malformed_batches),
        cmocka_unit_test(test_unknown_types_and_flags_pass),
        cmocka_unit_test(test_u64_payloads),
        cmocka_unit_test(test_ack_payloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
