/* Messages of our own making: complete headers, the parent as it was, contents that clients' checks
 * accept. */
#include "launcher/message_make.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct parsed {
    enum kernel_channel channel;
    json_t *header, *parent, *content;
};

static json_t *load(struct bytes part) {
    json_t *json = json_loadb((const char *)part.data, part.length, 0, NULL);
    assert_non_null(json);
    return json;
}

static struct parsed parse(const struct buffer *out) {
    struct kernel_message message;
    struct error err;
    assert_int_equal(kernel_message_parse(out->data, out->length, &message, &err), 0);
    assert_int_equal(message.buffer_count, 0);
    return (struct parsed){message.channel, load(message.header), load(message.parent_header),
                           load(message.content)};
}

static void release(struct parsed *parsed) {
    json_decref(parsed->header);
    json_decref(parsed->parent);
    json_decref(parsed->content);
}

static const char *text_in(const json_t *json, const char *member) {
    return json_string_value(json_object_get(json, member));
}

static const char parent_text[] = "{\"msg_id\":\"cell\",\"unknown\":[1]}";
static const struct bytes parent = {(const uint8_t *)parent_text, sizeof parent_text - 1};

static void check_header(const struct parsed *parsed, const char *type) {
    assert_string_equal(text_in(parsed->header, "msg_type"), type);
    assert_string_equal(text_in(parsed->header, "session"), "session");
    assert_int_equal(strlen(text_in(parsed->header, "msg_id")), 36);
    assert_non_null(text_in(parsed->header, "username"));
    assert_non_null(text_in(parsed->header, "version"));
    const char *date = text_in(parsed->header, "date");
    assert_int_equal(strlen(date), 27);
    assert_int_equal(date[26], 'Z');
}

static void test_stderr(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {0};
    assert_int_equal(message_make_stderr(&out, "session", parent, "it \"died\"\n\xFF"), 0);
    struct parsed parsed = parse(&out);
    check_header(&parsed, "stream");
    assert_int_equal(parsed.channel, CHANNEL_IOPUB);
    assert_string_equal(text_in(parsed.parent, "msg_id"), "cell");
    assert_string_equal(text_in(parsed.content, "name"), "stderr");
    assert_string_equal(text_in(parsed.content, "text"), "it \"died\"\n?");
    release(&parsed);
}

static void test_status_without_parent(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {0};
    struct bytes none = {NULL, 0};
    assert_int_equal(message_make_status(&out, "session", none, "restarting"), 0);
    struct parsed parsed = parse(&out);
    check_header(&parsed, "status");
    assert_int_equal(json_object_size(parsed.parent), 0);
    assert_string_equal(text_in(parsed.content, "execution_state"), "restarting");
    release(&parsed);
}

static void test_replies(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {0};
    assert_int_equal(message_make_error_reply(&out, "session", parent, "KernelDied", "why"), 0);
    struct parsed parsed = parse(&out);
    check_header(&parsed, "execute_reply");
    assert_int_equal(parsed.channel, CHANNEL_SHELL);
    assert_string_equal(text_in(parsed.content, "status"), "error");
    assert_string_equal(text_in(parsed.content, "ename"), "KernelDied");
    assert_string_equal(text_in(parsed.content, "evalue"), "why");
    assert_int_equal(json_array_size(json_object_get(parsed.content, "traceback")), 1);
    release(&parsed);
    assert_int_equal(message_make_aborted_reply(&out, "session", parent), 0);
    parsed = parse(&out);
    assert_string_equal(text_in(parsed.content, "status"), "aborted");
    release(&parsed);
}

static void test_limit(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {.limit = 64};
    assert_int_equal(message_make_status(&out, "session", parent, "idle"), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stderr),
        cmocka_unit_test(test_status_without_parent),
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
