/* What a client that takes text frames of a limited size is given instead of what it cannot
 * take. */
#include "gateway/client_dialect.h"

#include "base/cleanup.h"

#include <endian.h>
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

/* Of a binary frame the JSON. */
static void take(void *context, bool binary, const void *data, size_t length) {
    struct taken *taken = context;
    size_t start = 0;
    if (binary) {
        uint32_t offsets[3]; /* their count, where the JSON begins and ends */
        memcpy(offsets, data, sizeof offsets);
        start = be32toh(offsets[1]);
        length = be32toh(offsets[2]);
    }
    if (length > taken->largest)
        taken->largest = length;
    json_t *frame = json_loadb((const char *)data + start, length - start, JSON_ALLOW_NUL, NULL);
    assert_non_null(frame);
    json_object_set_new(frame, "binary", json_boolean(binary));
    json_array_append_new(taken->frames, frame);
}

/* A kernel's message, and what kind of client is to take it. */
struct given {
    enum kernel_channel channel;
    const char *header, *parent, *metadata;
    struct bytes content;
    size_t buffer_count;
    bool takes_binary;
    const char *why; /* what is said of it; NULL: it is given to the client as it is */
};

static json_t *write_given(const struct given *given) {
    struct client_dialect dialect = {.text_only = !given->takes_binary,
                                     .frame_max = given->takes_binary ? 0 : frame_max,
                                     .frame.limit = (size_t)1 << 30};
    struct taken taken = {.frames = json_array()};
    const struct bytes buffers[] = {{(const uint8_t *)"\xFF", 1}};
    cleanup_buffer struct buffer whole = {.limit = (size_t)1 << 30};
    struct kernel_message message;
    struct error err = {0};
    assert_int_equal(kernel_message_write(&whole, given->channel, bytes_of_text(given->header),
                                          bytes_of_text(given->parent),
                                          bytes_of_text(given->metadata), given->content, buffers,
                                          given->buffer_count),
                     0);
    assert_int_equal(kernel_message_parse(whole.data, whole.length, &message, NULL), 0);
    assert_int_equal(client_dialect_write(&dialect, &message, take, &taken, &err),
                     given->why ? -1 : 0);
    assert_string_equal(err.text, given->why ? given->why : "");
    client_dialect_free(&dialect);
    assert_true(given->takes_binary || taken.largest <= frame_max);
    return taken.frames;
}

static json_t *write_to(const char *type, const char *metadata, struct bytes content,
                        size_t buffer_count) {
    char text[128];
    snprintf(text, sizeof text, header, type);
    return write_given(&(struct given){.channel = CHANNEL_IOPUB,
                                       .header = text,
                                       .parent = "{}",
                                       .metadata = metadata,
                                       .content = content,
                                       .buffer_count = buffer_count});
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

#define CELL         "{\"msg_id\":\"cell\",\"msg_type\":\"execute_request\"}"
#define HEADER(type) "{\"msg_id\":\"m\",\"msg_type\":\"" type "\",\"session\":\"s\"}"
#define REPLACED     "\xEF\xBF\xBD"
#define TEN(text)    text text text text text text text text text text
#define DEEP         "{\"a\":" TEN(TEN(TEN("["))) TEN(TEN(TEN("]"))) "}" /* 1,000 levels */

static const char *at(const json_t *frames, size_t index, const char *part, const char *member) {
    const json_t *frame = json_array_get(frames, index);
    const char *text = json_string_value(json_object_get(json_object_get(frame, part), member));
    return text ? text : "(none)";
}

static void test_bad_utf8_is_repaired(void **state) {
    (void)state;
    struct given given = {.channel = CHANNEL_IOPUB,
                          .header = HEADER("stream"),
                          .parent = CELL,
                          .metadata = "{}",
                          .content =
                              bytes_of_text("{\"name\":\"stdout\",\"text\":\"bad \xFF\xFE.\"}"),
                          .why = "content: byte 29: not UTF-8"};
    cleanup_json json_t *stream = write_given(&given);
    assert_int_equal(json_array_size(stream), 1);
    assert_string_equal(at(stream, 0, "content", "text"), "bad " REPLACED REPLACED ".");
    assert_string_equal(at(stream, 0, "header", "msg_id"), "m"); /* it is the kernel's message */
    assert_string_equal(at(stream, 0, "parent_header", "msg_id"), "cell");

    given.channel = CHANNEL_SHELL;
    given.header = HEADER("execute_reply");
    given.content = bytes_of_text("{\"status\":\"error\",\"evalue\":\"\xE2\x82\"}");
    given.why = "content: byte 28: not UTF-8";
    cleanup_json json_t *reply = write_given(&given);
    assert_int_equal(json_array_size(reply), 1);
    assert_string_equal(at(reply, 0, "content", "evalue"), REPLACED);

    given.header = "{\"msg_id\":\"m\",\"msg_type\":\"execute_reply\",\"session\":\"\xFF\"}";
    given.parent = "{\"username\":\"\xFF\",\"msg_id\":\"cell\"}";
    given.metadata = "{\"key\":\"\xFF\"}";
    given.why = "header: byte 52: not UTF-8";
    cleanup_json json_t *all = write_given(&given);
    assert_int_equal(json_array_size(all), 1);
    assert_string_equal(at(all, 0, "header", "session"), REPLACED);
    assert_string_equal(at(all, 0, "parent_header", "username"), REPLACED);
    assert_string_equal(at(all, 0, "metadata", "key"), REPLACED);
}

static void test_bad_utf8_beside_buffers_is_repaired(void **state) {
    (void)state;
    struct given given = {.channel = CHANNEL_IOPUB,
                          .header = HEADER("display_data"),
                          .parent = CELL,
                          .metadata = "{\"key\":\"\xFF\"}",
                          .content = bytes_of_text("{\"data\":{},\"text\":\"\xFF\"}"),
                          .buffer_count = 1,
                          .takes_binary = true,
                          .why = "metadata: byte 8: not UTF-8"};
    cleanup_json json_t *binary = write_given(&given);
    assert_int_equal(json_array_size(binary), 1);
    assert_true(json_is_true(json_object_get(json_array_get(binary, 0), "binary")));
    assert_string_equal(at(binary, 0, "content", "text"), REPLACED);

    given.takes_binary = false; /* the notice comes once, and the metadata stay */
    given.why = "byte 8: not UTF-8";
    cleanup_json json_t *text = write_given(&given);
    assert_int_equal(json_array_size(text), 2);
    assert_non_null(strstr(at(text, 0, "content", "text"), "Binary data"));
    assert_string_equal(at(text, 1, "metadata", "key"), REPLACED);
    assert_string_equal(at(text, 1, "content", "text"), REPLACED);
}

/* Each byte becomes three: the limit holds for those, and nothing of the output goes. */
static void test_bad_utf8_is_repaired_within_the_limit(void **state) {
    (void)state;
    for (size_t count = 3 << 20; count <= 9 << 20; count *= 3) { /* below the limit, and above */
        cleanup_buffer struct buffer content = {.limit = (size_t)1 << 30};
        buffer_append_text(&content, "{\"name\":\"stdout\",\"text\":\"");
        for (size_t i = 0; i < count; i++)
            buffer_append(&content, "\xFF", 1);
        buffer_append_text(&content, "\"}");
        struct given given = {.channel = CHANNEL_IOPUB,
                              .header = HEADER("stream"),
                              .parent = CELL,
                              .metadata = "{}",
                              .content = {content.data, content.length},
                              .why = count < FRAME_MAX ? "content: byte 25: not UTF-8"
                                                       : "byte 25: not UTF-8"};
        cleanup_json json_t *frames = write_given(&given);
        size_t got = 0;
        for (size_t i = 0; i < json_array_size(frames); i++)
            got += json_string_length(json_object_get(content_of(frames, i), "text"));
        assert_int_equal(got, count * 3);
    }
}

static void test_unreadable_output_becomes_a_notice(void **state) {
    (void)state;
    struct given given = {.channel = CHANNEL_IOPUB,
                          .header = HEADER("display_data"),
                          .parent = CELL,
                          .metadata = "{}",
                          .content = bytes_of_text(DEEP),
                          .why = "content: byte 516: nested too deep"};
    for (given.buffer_count = 0; given.buffer_count <= 1; given.buffer_count++) {
        given.takes_binary = given.buffer_count == 1;
        cleanup_json json_t *frames = write_given(&given);
        assert_int_equal(json_array_size(frames), 1);
        assert_string_equal(at(frames, 0, "header", "msg_type"), "stream");
        assert_string_equal(at(frames, 0, "header", "session"), "s");
        assert_string_equal(at(frames, 0, "parent_header", "msg_id"), "cell");
        assert_string_equal(at(frames, 0, "content", "name"), "stderr");
        assert_string_equal(at(frames, 0, "content", "text"),
                            "The kernel's display_data message was left out: it cannot be sent as "
                            "JSON (content: byte 516: nested too deep).\n");
    }
}

static void test_unreadable_reply_becomes_an_error(void **state) {
    (void)state;
    static const struct {
        const char *header, *parent, *metadata, *content, *why, *type;
    } rows[] = {
        {HEADER("execute_reply"), CELL, "{}", DEEP, "content: byte 516: nested too deep",
         "execute_reply"},
        {HEADER("inspect_reply"), CELL, "{}", "{nonsense}",
         "content: byte 1: expected a member's name", "inspect_reply"},
        {HEADER("execute_reply"), CELL, DEEP, "{}", "metadata: byte 516: nested too deep",
         "execute_reply"},
        {"{nonsense}", CELL, "{}", "{}", "header: byte 1: expected a member's name",
         "execute_reply"},
        {HEADER("execute_reply"), "{\"msg_id\":\"cell\",nonsense}", "{}", "{}",
         "parent_header: byte 17: expected a member's name", "execute_reply"},
        /* what is repaired is still no JSON */
        {HEADER("execute_reply"), CELL, "{}", "{\"a\":\"\xFF\",nonsense}",
         "content: byte 6: not UTF-8", "execute_reply"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (enum kernel_channel channel = CHANNEL_SHELL; channel <= CHANNEL_CONTROL; channel++) {
            cleanup_json json_t *frames =
                write_given(&(struct given){.channel = channel,
                                            .header = rows[i].header,
                                            .parent = rows[i].parent,
                                            .metadata = rows[i].metadata,
                                            .content = bytes_of_text(rows[i].content),
                                            .why = rows[i].why});
            assert_int_equal(json_array_size(frames), 1);
            assert_string_equal(at(frames, 0, "header", "msg_type"), rows[i].type);
            assert_string_equal(at(frames, 0, "parent_header", "msg_id"), "cell");
            assert_string_equal(
                json_string_value(json_object_get(json_array_get(frames, 0), "channel")),
                kernel_channel_name(channel));
            assert_string_equal(at(frames, 0, "content", "status"), "error");
            assert_string_equal(at(frames, 0, "content", "ename"), "MessageUnreadable");
            assert_non_null(strstr(at(frames, 0, "content", "evalue"), "cannot be sent as JSON"));
        }
    }
}

/* Without them a cell does not end, or waits for ever. */
static void test_unreadable_status_and_question_keep_their_kind(void **state) {
    (void)state;
    struct given given = {.channel = CHANNEL_IOPUB,
                          .header = HEADER("status"),
                          .parent = CELL,
                          .metadata = DEEP,
                          .content = bytes_of_text("{\"execution_state\":\"idle\"}"),
                          .why = "metadata: byte 516: nested too deep"};
    cleanup_json json_t *status = write_given(&given);
    assert_int_equal(json_array_size(status), 1);
    assert_string_equal(at(status, 0, "header", "msg_type"), "status");
    assert_string_equal(at(status, 0, "content", "execution_state"), "idle");
    given.channel = CHANNEL_STDIN;
    given.header = HEADER("input_request");
    cleanup_json json_t *question = write_given(&given);
    assert_int_equal(json_array_size(question), 1);
    assert_string_equal(at(question, 0, "header", "msg_type"), "input_request");
    assert_non_null(strstr(at(question, 0, "content", "prompt"), "cannot be sent as JSON"));
}

static void test_large_reply_becomes_an_error(void **state) {
    (void)state;
    cleanup_buffer struct buffer content = {.limit = (size_t)1 << 30};
    buffer_append_text(&content, "{\"status\":\"ok\",\"data\":\"");
    for (size_t i = 0; i < FRAME_MAX; i++)
        buffer_append(&content, "x", 1);
    buffer_append_text(&content, "\"}");
    cleanup_json json_t *frames =
        write_given(&(struct given){.channel = CHANNEL_SHELL,
                                    .header = HEADER("inspect_reply"),
                                    .parent = CELL,
                                    .metadata = "{}",
                                    .content = {content.data, content.length}});
    assert_int_equal(json_array_size(frames), 1);
    assert_string_equal(at(frames, 0, "header", "msg_type"), "inspect_reply");
    assert_string_equal(at(frames, 0, "parent_header", "msg_id"), "cell");
    assert_string_equal(at(frames, 0, "content", "ename"), "MessageTooLarge");
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
        cmocka_unit_test(test_bad_utf8_is_repaired),
        cmocka_unit_test(test_bad_utf8_beside_buffers_is_repaired),
        cmocka_unit_test(test_bad_utf8_is_repaired_within_the_limit),
        cmocka_unit_test(test_unreadable_output_becomes_a_notice),
        cmocka_unit_test(test_unreadable_reply_becomes_an_error),
        cmocka_unit_test(test_unreadable_status_and_question_keep_their_kind),
        cmocka_unit_test(test_large_reply_becomes_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
