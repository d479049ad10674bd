/* One line an entry, in both formats, whatever is in the text. */
#include "log_capture.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ID "01234567-0123-4123-8123-0123456789ab"

static char *written(enum log_format format, const char *text) {
    struct log_capture capture = log_capture_begin(LOG_INFO);
    log_set_format(format);
    log_write(LOG_WARNING, "test/log", "%s", text);
    log_set_format(LOG_TEXT);
    return log_capture_end(&capture);
}

static json_t *parsed(const char *text) {
    char *line = written(LOG_JSON, text);
    char *end = strchr(line, '\n');
    assert_non_null(end);
    assert_string_equal(end, "\n"); /* one line, and whole */
    json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    free(line);
    return json;
}

static const char *member(const json_t *json, const char *name) {
    return json_string_value(json_object_get(json, name));
}

static void expect_message(const char *text, const char *message) {
    json_t *json = parsed(text);
    assert_string_equal(member(json, "message"), message);
    json_decref(json);
}

static void test_text(void **state) {
    (void)state;
    char *line = written(LOG_TEXT, "kernel x: two\nlines\x1b[31m");
    assert_non_null(strstr(line, "Z WARNING test/log: kernel x: two?lines?[31m\n"));
    free(line);
}

static void test_json_members(void **state) {
    (void)state;
    json_t *json = parsed("hello");
    assert_int_equal(json_object_size(json), 4);
    assert_int_equal(strlen(member(json, "ts")), 27);
    assert_string_equal(member(json, "level"), "WARNING");
    assert_string_equal(member(json, "area"), "test/log");
    assert_string_equal(member(json, "message"), "hello");
    json_decref(json);
}

static void test_json_escapes(void **state) {
    (void)state;
    expect_message("two\nlines \"quoted\" \\ \t\x1b\x7f", "two\nlines \"quoted\" \\ \t\x1b\x7f");
    expect_message("h\xc3\xa4 \xf0\x9f\x98\x80", "h\xc3\xa4 \xf0\x9f\x98\x80");
    expect_message("bad \xff\xc3 \xed\xa0\x80 \xf0\x9f",
                   "bad \xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd "
                   "\xef\xbf\xbd\xef\xbf\xbd");
}

/* The longest text that escapes to the most. */
static void test_json_long(void **state) {
    (void)state;
    char text[10000];
    memset(text, 0x01, sizeof text);
    text[sizeof text - 1] = '\0';
    json_t *json = parsed(text);
    assert_in_range(json_string_length(json_object_get(json, "message")), 3000, 4096);
    json_decref(json);
}

static void test_json_kernel(void **state) {
    (void)state;
    json_t *json = parsed("kernel " ID ": dead: why: so");
    assert_string_equal(member(json, "kernel_id"), ID);
    assert_string_equal(member(json, "message"), "dead: why: so");
    json_decref(json);
    static const char *const others[] = {"kernel",        "kernel ",      "kernel : x",
                                         "kernel a b: x", "kernels: all", "kernel a:b"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        json = parsed(others[i]);
        assert_null(json_object_get(json, "kernel_id"));
        assert_string_equal(member(json, "message"), others[i]);
        json_decref(json);
    }
}

static void test_json_own_kernel(void **state) {
    (void)state;
    log_set_kernel("mine");
    json_t *json = parsed("hello");
    assert_string_equal(member(json, "kernel_id"), "mine");
    json_decref(json);
    log_set_kernel("");
}

static void test_json_about(void **state) {
    (void)state;
    struct log_capture capture = log_capture_begin(LOG_INFO);
    log_set_format(LOG_JSON);
    log_write_about(LOG_INFO, "test", "an \"id\"", "x");
    log_set_format(LOG_TEXT);
    log_write_about(LOG_INFO, "test", "id", "y");
    char *lines = log_capture_end(&capture);
    assert_non_null(strstr(lines, "\"kernel_id\":\"an \\\"id\\\"\",\"message\":\"x\"}\n"));
    assert_non_null(strstr(lines, " test: y\n"));
    free(lines);
}

static void test_level(void **state) {
    (void)state;
    struct log_capture capture = log_capture_begin(LOG_ERROR);
    log_set_format(LOG_JSON);
    log_write(LOG_WARNING, "test", "x");
    log_set_format(LOG_TEXT);
    char *lines = log_capture_end(&capture);
    assert_string_equal(lines, "");
    free(lines);
}

static void test_parse(void **state) {
    (void)state;
    enum log_format format = LOG_TEXT;
    assert_int_equal(log_format_parse("JSON", &format), 0);
    assert_int_equal(format, LOG_JSON);
    assert_int_equal(log_format_parse("text", &format), 0);
    assert_int_equal(format, LOG_TEXT);
    assert_int_equal(log_format_parse("logfmt", &format), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),         cmocka_unit_test(test_json_members),
        cmocka_unit_test(test_json_escapes), cmocka_unit_test(test_json_long),
        cmocka_unit_test(test_json_kernel),  cmocka_unit_test(test_json_own_kernel),
        cmocka_unit_test(test_json_about),   cmocka_unit_test(test_level),
        cmocka_unit_test(test_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
