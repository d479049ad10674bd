/* Messages between the WebSocket formats and the link's layout: what real clients send, and what
 * nobody should. */
#include "base/text.h"
#include "gateway/json_slice.h"
#include "gateway/message_format.h"

#include <endian.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEADER  "{\"msg_id\":\"m1\",\"msg_type\":\"execute_request\",\"session\":\"s\"}"
#define CONTENT "{\"code\":\"1</2\"}"

static struct bytes text_bytes(const char *text) {
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

static void assert_bytes(struct bytes bytes, const char *text) {
    if (!text_equal_n((const char *)bytes.data, bytes.length, text))
        fail_msg("\"%.*s\" is not \"%s\"", (int)bytes.length, (const char *)bytes.data, text);
}

/* The frame as a message of the link; out keeps its bytes. */
static struct kernel_message take(enum message_format format, bool binary, const void *data,
                                  size_t length, struct buffer *out) {
    struct kernel_message message;
    struct error err = {0};
    buffer_clear(out);
    if (message_from_client(format, binary, data, length, out, &err) < 0)
        fail_msg("refused: %s", err.text);
    if (kernel_message_parse(out->data, out->length, &message, &err) < 0)
        fail_msg("wrote nonsense: %s", err.text);
    return message;
}

static struct kernel_message take_text(const char *text, struct buffer *out) {
    return take(FORMAT_LEGACY, false, text, strlen(text), out);
}

static void refuse(enum message_format format, bool binary, const void *data, size_t length,
                   enum error_code code, const char *why) {
    struct buffer out = {0};
    struct error err = {0};
    assert_int_equal(message_from_client(format, binary, data, length, &out, &err), -1);
    if (err.code != code || strstr(err.text, why) == NULL)
        fail_msg("code %d, \"%s\" does not say \"%s\"", err.code, err.text, why);
    assert_int_equal(out.length, 0);
    buffer_free(&out);
}

static void refuse_text(const char *text, enum error_code code, const char *why) {
    refuse(FORMAT_LEGACY, false, text, strlen(text), code, why);
}

static void test_text_keeps_the_clients_bytes(void **state) {
    (void)state;
    struct buffer out = {0};
    struct kernel_message message =
        take_text("{\"channel\":\"stdin\", \"header\" : {\"msg_type\" :\"a\",\"x\":[1, 2],"
                  "\"msg_id\":\"\\u00e9\",\"date\":1700000000.25} ,\"parent_header\":{\"p\":1},"
                  "\"metadata\":{ },\"content\":{\"t\":\"<\\/a> \\ud83d\xc3\xa9\"},\"buffers\":[]}",
                  &out);
    assert_int_equal(message.channel, CHANNEL_STDIN);
    assert_bytes(message.header, "{\"msg_type\" :\"a\",\"x\":[1, 2],\"msg_id\":\"\\u00e9\","
                                 "\"date\":1700000000.25}");
    assert_bytes(message.parent_header, "{\"p\":1}");
    assert_bytes(message.metadata, "{ }");
    assert_bytes(message.content, "{\"t\":\"<\\/a> \\ud83d\xc3\xa9\"}");
    assert_int_equal(message.buffer_count, 0);
    buffer_free(&out);
}

static void test_text_of_lenient_clients(void **state) {
    (void)state;
    struct buffer out = {0};
    struct kernel_message message = take_text("{\"header\":" HEADER ",\"content\":" CONTENT
                                              ",\"parent_header\":null,\"buffers\":{}}",
                                              &out);
    assert_int_equal(message.channel, CHANNEL_SHELL);
    assert_bytes(message.parent_header, "{}");
    assert_bytes(message.metadata, "{}");
    message =
        take_text("{\"header\":" HEADER ",\"content\":{},\"metadata\":null,\"buffers\":null,"
                  "\"channel\":null,\"msg_id\":\"m1\",\"unknown\":[{\"a\":[]},NaN,-Infinity]}",
                  &out);
    assert_int_equal(message.channel, CHANNEL_SHELL);
    message =
        take_text("{\"header\":" HEADER ",\"content\":{},\"chann\\u0065l\":\"control\"}", &out);
    assert_int_equal(message.channel, CHANNEL_CONTROL);
    message = take_text("{\"content\":1,\"header\":" HEADER ",\"content\":{\"last\":1}}", &out);
    assert_bytes(message.content, "{\"last\":1}");
    message = take_text("  {\"header\":" HEADER ",\"content\":{}}\r\n", &out);
    assert_bytes(message.header, HEADER);
    buffer_free(&out);
}

static void test_text_that_is_refused(void **state) {
    (void)state;
    refuse_text("", ERROR_INVALID, "message: is empty");
    refuse_text("[]", ERROR_INVALID, "message: byte 0: must be an object");
    refuse_text("nonsense", ERROR_INVALID, "message: byte 0");
    refuse_text("{\"header\":" HEADER "}", ERROR_INVALID, "content: is missing");
    refuse_text("{\"content\":{}}", ERROR_INVALID, "header: is missing");
    refuse_text("{\"header\":\"x\",\"content\":{}}", ERROR_INVALID, "header: must be an object");
    refuse_text("{\"header\":" HEADER ",\"content\":[]}", ERROR_INVALID, "content: must be");
    refuse_text("{\"header\":" HEADER ",\"content\":{},\"metadata\":1}", ERROR_INVALID,
                "metadata:");
    refuse_text("{\"header\":" HEADER ",\"content\":{},\"parent_header\":\"\"}", ERROR_INVALID,
                "parent_header:");
    refuse_text("{\"header\":{\"msg_type\":\"a\"},\"content\":{}}", ERROR_INVALID, "header.msg_id");
    refuse_text("{\"header\":{\"msg_id\":\"a\",\"msg_type\":7},\"content\":{}}", ERROR_INVALID,
                "header.msg_type");
    refuse_text("{\"header\":" HEADER ",\"content\":{},\"buffers\":[\"x\"]}", ERROR_INVALID,
                "buffers:");
    refuse_text("{\"header\":" HEADER ",\"content\":{},\"channel\":7}", ERROR_INVALID, "channel:");
    refuse_text("{\"header\":" HEADER ",\"content\":{},\"channel\":\"hb\"}", ERROR_UNSUPPORTED,
                "\"hb\"");
    refuse_text("{\"header\":" HEADER ",\"content\":{}} x", ERROR_INVALID, "something follows");
    refuse_text("{\"header\":" HEADER ",\"content\":{\"a\":\"\xff\"}}", ERROR_INVALID, "UTF-8");
}

static void test_json_checks(void **state) {
    (void)state;
    static const char *const good[] = {"0",
                                       "-0.5e+10",
                                       "1E9",
                                       "\"\"",
                                       "[]",
                                       "{}",
                                       "[[],{}]",
                                       "true",
                                       " null ",
                                       "[1,2 , 3]",
                                       "NaN",
                                       "{\"a\":{\"b\":[1,{\"c\":2}]},\"d\":3}",
                                       "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u12aF\"",
                                       "\"\xf0\x9f\x98\x80 eight bytes and more\""};
    static const char *const bad[] = {"",
                                      " ",
                                      "01",
                                      "1.",
                                      "-",
                                      ".5",
                                      "1e",
                                      "+1",
                                      "tru",
                                      "nul",
                                      "[1,]",
                                      "{,}",
                                      "{\"a\"}",
                                      "[",
                                      "]",
                                      "{\"a\":1,}",
                                      "{a:1}",
                                      "\"",
                                      "\"\\",
                                      "\"\\x\"",
                                      "\"\\u12\"",
                                      "\"\n\"",
                                      "1 2",
                                      "[1 2]",
                                      "\"\xc0\x80\"",
                                      "\"\xed\xa0\x80\"",
                                      "\"\xf4\x90\x80\x80\"",
                                      "\"\xe2\x82\"",
                                      "[}",
                                      "{\"a\":1]",
                                      "Inf"};
    struct error err;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (json_slice_check(text_bytes(good[i]), &err) < 0)
            fail_msg("%s: %s", good[i], err.text);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (json_slice_check(text_bytes(bad[i]), &err) == 0)
            fail_msg("%s was taken", bad[i]);
}

static void test_json_depth_ends_before_the_stack(void **state) {
    (void)state;
    static char deep[200001];
    memset(deep, '[', 200000);
    struct error err;
    assert_int_equal(json_slice_check(text_bytes(deep), &err), -1);
    assert_string_equal(err.text, "byte 512: nested too deep");
    char fits[2 * JSON_SLICE_DEPTH_MAX + 1];
    memset(fits, '[', JSON_SLICE_DEPTH_MAX);
    memset(fits + JSON_SLICE_DEPTH_MAX, ']', JSON_SLICE_DEPTH_MAX);
    fits[2 * JSON_SLICE_DEPTH_MAX] = '\0';
    assert_int_equal(json_slice_check(text_bytes(fits), &err), 0);
}

/* Big-endian u32 count, offsets, JSON, buffers. */
static size_t legacy_binary(uint8_t *frame, const char *json, const char *buffer) {
    uint32_t words[3] = {htobe32(2), htobe32(12), htobe32((uint32_t)(12 + strlen(json)))};
    memcpy(frame, words, sizeof words);
    strcpy((char *)frame + 12, json);
    strcpy((char *)frame + 12 + strlen(json), buffer);
    return 12 + strlen(json) + strlen(buffer);
}

static const char comm[] = "{\"header\":" HEADER ",\"content\":" CONTENT ",\"channel\":\"shell\"}";

static void test_legacy_binary_also_as_text(void **state) {
    (void)state;
    uint8_t frame[512];
    size_t length = legacy_binary(frame, comm, "\xff\xfe raw");
    struct buffer out = {0};
    for (int binary = 0; binary < 2; binary++) { /* the text frame begins with NUL */
        struct kernel_message message = take(FORMAT_LEGACY, binary, frame, length, &out);
        assert_int_equal(message.buffer_count, 1);
        assert_bytes(kernel_message_buffer(&message, 0), "\xff\xfe raw");
        assert_bytes(message.content, CONTENT);
    }
    uint32_t alone[2] = {htobe32(1), htobe32(8)};
    memcpy(frame, alone, sizeof alone);
    strcpy((char *)frame + 8, comm);
    struct kernel_message message = take(FORMAT_LEGACY, true, frame, 8 + strlen(comm), &out);
    assert_int_equal(message.buffer_count, 0);
    buffer_free(&out);
}

static void set_u32(uint8_t *frame, size_t index, uint32_t value) {
    value = htobe32(value);
    memcpy(frame + 4 * index, &value, sizeof value);
}

static void test_legacy_binary_offsets(void **state) {
    (void)state;
    uint8_t frame[512];
    size_t length = legacy_binary(frame, comm, "buffer");
    refuse(FORMAT_LEGACY, true, "\0\0", 2, ERROR_INVALID, "offset count");
    set_u32(frame, 0, 0);
    refuse(FORMAT_LEGACY, true, frame, length, ERROR_INVALID, "offset count: 0");
    set_u32(frame, 0, UINT32_MAX);
    refuse(FORMAT_LEGACY, true, frame, length, ERROR_INVALID, "offset count: 4294967295");
    set_u32(frame, 0, 100);
    refuse(FORMAT_LEGACY, true, frame, length, ERROR_INVALID, "do not fit");
    set_u32(frame, 0, 2);
    set_u32(frame, 2, 5);
    refuse(FORMAT_LEGACY, true, frame, length, ERROR_INVALID, "offset 1: 5 is before");
    set_u32(frame, 2, 5000);
    refuse(FORMAT_LEGACY, true, frame, length, ERROR_INVALID, "offset 1: 5000 is beyond");
    set_u32(frame, 2, (uint32_t)length + 1);
    refuse(FORMAT_LEGACY, true, frame, length, ERROR_INVALID, "is beyond");
    set_u32(frame, 1, 4);
    refuse(FORMAT_LEGACY, true, frame, length, ERROR_INVALID, "offset 0: 4 is before");
}

static void write_v1(struct buffer *out, const char *header, const char *parent,
                     const char *content) {
    struct bytes raw = text_bytes("raw");
    buffer_clear(out);
    assert_int_equal(kernel_message_write(out, CHANNEL_CONTROL, text_bytes(header),
                                          text_bytes(parent), text_bytes("{}"), text_bytes(content),
                                          &raw, 1),
                     0);
}

static void test_v1_is_passed_on_untouched(void **state) {
    (void)state;
    struct buffer frame = {0}, out = {0};
    write_v1(&frame, HEADER, "{}", CONTENT);
    take(FORMAT_V1, true, frame.data, frame.length, &out);
    assert_int_equal(out.length, frame.length);
    assert_memory_equal(out.data, frame.data, frame.length);
    write_v1(&frame, HEADER, "", CONTENT); /* nothing for a parent */
    struct kernel_message message = take(FORMAT_V1, true, frame.data, frame.length, &out);
    assert_bytes(message.parent_header, "{}");
    assert_bytes(kernel_message_buffer(&message, 0), "raw");
    message = take(FORMAT_V1, false, comm, strlen(comm), &out);
    assert_bytes(message.content, CONTENT);
    buffer_free(&frame);
    buffer_free(&out);
}

static void test_v1_that_is_refused(void **state) {
    (void)state;
    struct buffer frame = {0};
    write_v1(&frame, HEADER, "{}", "[1]");
    refuse(FORMAT_V1, true, frame.data, frame.length, ERROR_INVALID, "content: must be an object");
    write_v1(&frame, HEADER, "{\"a\":}", CONTENT);
    refuse(FORMAT_V1, true, frame.data, frame.length, ERROR_INVALID, "parent_header: byte 5");
    write_v1(&frame, "{\"msg_id\":\"a\"}", "{}", CONTENT);
    refuse(FORMAT_V1, true, frame.data, frame.length, ERROR_INVALID, "header.msg_type");
    write_v1(&frame, HEADER, "{}", CONTENT);
    frame.data[8 * 4] = 0xff; /* the third offset */
    refuse(FORMAT_V1, true, frame.data, frame.length, ERROR_INVALID, "offset");
    write_v1(&frame, HEADER, "{}", CONTENT);
    memcpy(strstr((char *)frame.data + 64, "control"), "contrxl", 7);
    refuse(FORMAT_V1, true, frame.data, frame.length, ERROR_UNSUPPORTED, "contrxl");
    refuse(FORMAT_V1, true, frame.data, 40, ERROR_INVALID, "offset");
    buffer_free(&frame);
}

static void test_output_limit(void **state) {
    (void)state;
    struct buffer out = {.limit = 64};
    struct error err = {0};
    assert_int_equal(
        message_from_client(FORMAT_LEGACY, false, (const uint8_t *)comm, strlen(comm), &out, &err),
        -1);
    assert_int_equal(err.code, ERROR_LIMIT);
    buffer_free(&out);
}

static struct kernel_message from_kernel(struct buffer *store, const char *header,
                                         const char *content) {
    struct kernel_message message;
    struct bytes raw[2] = {text_bytes("one"), text_bytes("")};
    buffer_clear(store);
    kernel_message_write(store, CHANNEL_IOPUB, text_bytes(header), text_bytes("{\"msg_id\":\"p\"}"),
                         text_bytes("{}"), text_bytes(content), raw, 2);
    assert_int_equal(kernel_message_parse(store->data, store->length, &message, NULL), 0);
    return message;
}

static void test_to_legacy_text(void **state) {
    (void)state;
    struct buffer store = {0}, out = {0};
    struct error err = {0};
    struct kernel_message message = from_kernel(
        &store, "{\"msg_type\":\"stre\\u0061m\",\"msg_id\":\"k\\\"1\"}", "{ \"text\":\"x\"}");
    assert_int_equal(message_to_legacy_text(&message, &out, &err), 0);
    assert_string_equal(
        buffer_text(&out),
        "{\"header\":{\"msg_type\":\"stre\\u0061m\",\"msg_id\":\"k\\\"1\"},\"msg_id\":\"k\\\"1\","
        "\"msg_type\":\"stre\\u0061m\",\"parent_header\":{\"msg_id\":\"p\"},\"metadata\":{},"
        "\"content\":{ \"text\":\"x\"},\"buffers\":[],\"channel\":\"iopub\"}");
    buffer_free(&store);
    buffer_free(&out);
}

static void test_to_legacy_binary(void **state) {
    (void)state;
    struct buffer store = {0}, out = {0};
    struct error err = {0};
    struct kernel_message message = from_kernel(&store, HEADER, CONTENT);
    buffer_append_text(&out, "before"); /* appended, not overwritten */
    assert_int_equal(message_to_legacy_binary(&message, &out, &err), 0);
    uint32_t words[4];
    const uint8_t *frame = out.data + 6;
    memcpy(words, frame, sizeof words);
    assert_int_equal(be32toh(words[0]), 3);
    assert_int_equal(be32toh(words[1]), 16);
    json_t *json = json_loadb((const char *)frame + 16, be32toh(words[2]) - 16, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "msg_id")), "m1");
    assert_null(json_object_get(json, "buffers"));
    json_decref(json);
    assert_memory_equal(frame + be32toh(words[2]), "one", 3);
    assert_int_equal(be32toh(words[3]), out.length - 6);
    buffer_free(&store);
    buffer_free(&out);
}

static void refuse_kernel(const char *header, const char *content, const char *why) {
    struct buffer store = {0}, out = {0};
    struct error err = {0};
    struct kernel_message message = from_kernel(&store, header, content);
    assert_int_equal(message_to_legacy_text(&message, &out, &err), -1);
    if (strstr(err.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    assert_int_equal(message_to_legacy_binary(&message, &out, &err), -1);
    assert_int_equal(out.length, 0);
    buffer_free(&store);
    buffer_free(&out);
}

static void test_what_a_kernel_must_not_send(void **state) {
    (void)state;
    refuse_kernel(HEADER, "{\"a\":\"\xff\"}", "content: byte 6: not UTF-8");
    refuse_kernel(HEADER, "{} , \"channel\":\"shell\"", "content: byte 3");
    refuse_kernel(HEADER, "[]", "content: must be an object");
    refuse_kernel("{}", "{}", "header.msg_id");
    refuse_kernel("", "{}", "header: is empty");
}

static void test_repair(void **state) {
    (void)state;
    struct buffer store = {0}, out = {0}, text = {0};
    struct kernel_message repaired;
    struct kernel_message message =
        from_kernel(&store, "{\"msg_id\":\"\xC3\",\"msg_type\":\"a\"}", "{\"a\":\"\xFF\xFE\"}");
    buffer_append_text(&out, "before"); /* appended, not overwritten */
    assert_int_equal(message_repair(&message, &out, &repaired), 0);
    assert_bytes(repaired.header, "{\"msg_id\":\"\xEF\xBF\xBD\",\"msg_type\":\"a\"}");
    assert_bytes(repaired.parent_header, "{\"msg_id\":\"p\"}");
    assert_bytes(repaired.metadata, "{}");
    assert_bytes(repaired.content, "{\"a\":\"\xEF\xBF\xBD\xEF\xBF\xBD\"}");
    assert_int_equal(repaired.channel, CHANNEL_IOPUB);
    assert_int_equal(repaired.buffer_count, 2);
    assert_bytes(kernel_message_buffer(&repaired, 0), "one");
    assert_int_equal(message_to_legacy_text(&repaired, &text, NULL), 0);
    assert_int_equal(message_to_legacy_binary(&repaired, &text, NULL), 0);
    struct buffer small = {.limit = 40};
    assert_int_equal(message_repair(&message, &small, &repaired), -1);
    buffer_free(&small);
    buffer_free(&store);
    buffer_free(&out);
    buffer_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_keeps_the_clients_bytes),
        cmocka_unit_test(test_text_of_lenient_clients),
        cmocka_unit_test(test_text_that_is_refused),
        cmocka_unit_test(test_json_checks),
        cmocka_unit_test(test_json_depth_ends_before_the_stack),
        cmocka_unit_test(test_legacy_binary_also_as_text),
        cmocka_unit_test(test_legacy_binary_offsets),
        cmocka_unit_test(test_v1_is_passed_on_untouched),
        cmocka_unit_test(test_v1_that_is_refused),
        cmocka_unit_test(test_output_limit),
        cmocka_unit_test(test_to_legacy_text),
        cmocka_unit_test(test_to_legacy_binary),
        cmocka_unit_test(test_what_a_kernel_must_not_send),
        cmocka_unit_test(test_repair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
