#include "base/text.h"
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void compares_with_lengths(void **state) {
    (void)state;
    assert_true(text_equal_n("token", 5, "token"));
    assert_false(text_equal_n("token", 4, "token"));
    assert_false(text_equal_n("tokens", 6, "token"));
    assert_false(text_equal_n("token", 5, "toke"));
    assert_false(text_equal_n("toke\0n", 6, "toke"));
    assert_true(text_equal_n("", 0, ""));
    assert_true(text_starts_with("EG_PORT", "EG_"));
    assert_false(text_starts_with("EG", "EG_"));
    assert_true(text_ends_with("kernel.json", ".json"));
    assert_false(text_ends_with("json", ".json"));
    char mixed[] = "AbZ-9\xC3\x84";
    text_lower(mixed);
    assert_string_equal(mixed, "abz-9\xC3\x84");
}

static void parses_whole_numbers_alone(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t min, max;
        bool good;
        int64_t want;
    } rows[] = {
        {"0", 0, 0, true, 0},
        {"65535", 1, 65535, true, 65535},
        {"65536", 1, 65535, false, 0},
        {"-5", -5, 5, true, -5},
        {"-6", -5, 5, false, 0},
        {"007", 0, 9, true, 7},
        {"9223372036854775807", 0, INT64_MAX, true, INT64_MAX},
        {"9223372036854775808", 0, INT64_MAX, false, 0},
        {"-9223372036854775809", INT64_MIN, 0, false, 0},
        {"", 0, 9, false, 0},
        {"-", -9, 9, false, 0},
        {"- 1", -9, 9, false, 0},
        {"+1", 0, 9, false, 0},
        {" 1", 0, 9, false, 0},
        {"1 ", 0, 9, false, 0},
        {"1x", 0, 9, false, 0},
        {"0x1", 0, 9, false, 0},
        {"1.0", 0, 9, false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t got = 42;
        struct error err = {0};
        int failed = text_parse_int(rows[i].text, rows[i].min, rows[i].max, "uid", &got, &err);
        if ((failed == 0) != rows[i].good)
            fail_msg("\"%s\"", rows[i].text);
        assert_int_equal(got, rows[i].good ? rows[i].want : 42);
    }
    struct error err = {0};
    text_parse_int("x", 0, 9, "uid", &(int64_t){0}, &err);
    assert_int_equal(err.code, ERROR_INVALID);
    assert_string_equal(err.text, "uid: \"x\" is not a whole number from 0 to 9");
}

static void knows_utf8(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"", true},
        {"plain ASCII, longer than eight", true},
        {"\x7F", true},
        {"\xC2\x80", true},
        {"\xDF\xBF", true},
        {"\xE0\xA0\x80", true},
        {"\xED\x9F\xBF", true},
        {"\xEE\x80\x80", true},
        {"\xEF\xBF\xBF", true},
        {"\xF0\x90\x80\x80", true},
        {"\xF4\x8F\xBF\xBF", true},
        {"\x80", false},
        {"\xBF", false},
        {"\xC0\x80", false},
        {"\xC1\xBF", false},
        {"\xC2", false},
        {"\xC2 ", false},
        {"\xE0\x9F\xBF", false},
        {"\xE2\x82", false},
        {"\xE2\x82z", false},
        {"\xED\xA0\x80", false},
        {"\xED\xBF\xBF", false},
        {"\xF0\x8F\xBF\xBF", false},
        {"\xF0\x9F\x90", false},
        {"\xF4\x90\x80\x80", false},
        {"\xF5\x80\x80\x80", false},
        {"\xFE", false},
        {"\xFF", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        /* At each place within and across the words of eight that the check takes at once. */
        for (size_t before = 0; before < 17; before++) {
            char text[64] = "aaaaaaaaaaaaaaaaa";
            strcpy(text + before, rows[i].text);
            strcat(text, before % 2 ? "" : "bbbbbbbbb");
            if (utf8_is_valid(text, strlen(text)) != rows[i].good)
                fail_msg("row %zu behind %zu bytes", i, before);
        }
    }
    assert_true(utf8_is_valid("a\0b", 3));
}

/* Cut anywhere, a good text may go on; a bad one may not from the byte on that spoils it. */
static void knows_utf8_that_is_still_coming(void **state) {
    (void)state;
    static const char good[] = "a\xC2\xA2\xE2\x82\xAC\xED\x9F\xBF\xF0\xA4\xAD\xA2\xF4\x8F\xBF\xBFz";
    static const size_t whole[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 9, 9, 9, 9, 13, 13, 13, 13, 17, 18};
    size_t checked = 0;
    for (size_t length = 0; length < sizeof whole / sizeof *whole; length++) {
        size_t afresh = 0;
        assert_true(utf8_may_become_valid(good, length, &checked));
        assert_true(utf8_may_become_valid(good, length, &afresh));
        assert_int_equal(checked, whole[length]);
        assert_int_equal(afresh, whole[length]);
    }
    static const struct {
        const char *text;
        size_t good;
    } rows[] = {{"ab\x80", 2},        {"\xC0", 0},      {"\xC2z", 1},         {"\xE0\x9F", 1},
                {"\xED\xA0", 1},      {"\xE2\x82z", 2}, {"\xF0\x8F", 1},      {"\xF4\x90", 1},
                {"\xF4\x8F\xBFz", 3}, {"\xF5", 0},      {"z\xF0\xA4\xADz", 4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t length = 0; length <= strlen(rows[i].text); length++) {
            checked = 0;
            assert_int_equal(utf8_may_become_valid(rows[i].text, length, &checked),
                             length <= rows[i].good);
        }
    }
}

static void repairs_what_is_not_utf8(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"", ""},
        {"fine \xC3\xA9", "fine \xC3\xA9"},
        {"\xFFx\x80", "?x?"},
        {"cut \xE2\x82", "cut ??"},
        {"\xED\xA0\x80", "???"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *got = utf8_repair(rows[i][0]);
        assert_string_equal(got, rows[i][1]);
        free(got);
    }
}

/* What Python makes of them: bytes.decode("utf8", "replace"). */
static void replaces_bad_sequences(void **state) {
    (void)state;
#define R "\xEF\xBF\xBD"
    static const char *const rows[][2] = {
        {"", ""},
        {"fine \xC3\xA9", "fine \xC3\xA9"},
        {"\xFF\xFEx\x80", R R "x" R},
        {"\xC3\"", R "\""}, /* what follows is not swallowed */
        {"\xC0\xAF", R R},
        {"\xE2\x82", R},
        {"\xE2\x82x\xE2\x28\xA1", R "x" R "(" R},
        {"\xF0\x9F\x90", R},
        {"\xF0\x9F\x90\xF0\x9F\x90\x9F", R "\xF0\x9F\x90\x9F"},
        {"\xF0\x9F\"", R "\""},
        {"\xE0\x80\x80", R R R},
        {"\xED\xA0\x80", R R R},
        {"\xF0\x8F\xBF", R R R},
        {"\xF4\x90\x80\x80", R R R R},
        {"\xF5\x80", R R},
    };
#undef R
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cleanup_buffer struct buffer out = {0};
        assert_int_equal(utf8_append_readable(&out, rows[i][0], strlen(rows[i][0])), 0);
        assert_string_equal(buffer_text(&out), rows[i][1]);
    }
    cleanup_buffer struct buffer small = {.limit = 4};
    assert_int_equal(utf8_append_readable(&small, NULL, 0), 0);
    assert_int_equal(utf8_append_readable(&small, "\xFF\xFF", 2), -1);
}

static void cuts_between_characters(void **state) {
    (void)state;
    const char *text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x90\x9F"; /* 1, 2, 3 and 4 bytes */
    static const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    for (size_t max = 0; max < sizeof want / sizeof want[0]; max++)
        assert_int_equal(utf8_floor(text, 10, max), want[max]);
}

static void writes_hex_and_ids(void **state) {
    (void)state;
    char hex[7];
    text_hex((const uint8_t[]){0x00, 0x9F, 0xA0}, 3, hex);
    assert_string_equal(hex, "009fa0");
    char first[37];
    char second[37];
    for (int i = 0; i < 100; i++) {
        text_uuid4(first);
        assert_int_equal(strlen(first), 36);
        assert_int_equal(first[14], '4');
        assert_non_null(strchr("89ab", first[19]));
        assert_true(text_is_kernel_id(first));
    }
    text_uuid4(second);
    assert_string_not_equal(first, second);
}

static void knows_kernel_ids(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"a-b-c-d-e", true},     {"ABC_1-2-3-4-x", true},     {"", false},
        {"a-b-c-d", false},      {"a-b-c-d-e-f", false},      {"a-b--d-e", false},
        {"-b-c-d-e", false},     {"a-b-c-d-", false},         {"a-b-c-d-e/", false},
        {"a-b-c-../x-e", false}, {"a-b-c-d-\xC3\xA9", false}, {"a-b-c-d-e\n", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (text_is_kernel_id(rows[i].text) != rows[i].good)
            fail_msg("\"%s\"", rows[i].text);
    char longest[130] = "a-b-c-d-";
    memset(longest + 8, 'e', 120);
    assert_true(text_is_kernel_id(longest));
    longest[128] = 'e';
    assert_false(text_is_kernel_id(longest));
}

static void matches_globs(void **state) {
    (void)state;
    assert_true(text_glob("*", "anything"));
    assert_true(text_glob("py*", "python3"));
    assert_true(text_glob("r?", "r4"));
    assert_false(text_glob("py", "python3"));
    assert_false(text_glob("r?", "r"));
    assert_true(text_glob("a\\b", "a\\b"));
    assert_true(text_glob("gpu[1]*", "gpu[1]-large")); /* a name may have any of these */
    assert_false(text_glob("gpu[1]", "gpu1"));
    assert_true(text_glob("*a*b?d", "xaybaabcd"));
    assert_false(text_glob("*a*b?d", "xaybaabc"));
    assert_true(text_glob("**", ""));
    assert_false(text_glob("?", ""));
    assert_false(text_glob("", "a"));
}

static void writes_durations(void **state) {
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{0, "0 ms"},
                 {999, "999 ms"},
                 {1999, "1 s"},
                 {3543000, "59 min 3 s"},
                 {3600000, "1 h"},
                 {3600000 + 59999, "1 h"},
                 {183600000 + 60000, "2 d 3 h"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cleanup_buffer struct buffer out = {0};
        text_append_duration(&out, cases[i].ms);
        assert_string_equal(buffer_text(&out), cases[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_with_lengths),
        cmocka_unit_test(parses_whole_numbers_alone),
        cmocka_unit_test(knows_utf8),
        cmocka_unit_test(knows_utf8_that_is_still_coming),
        cmocka_unit_test(repairs_what_is_not_utf8),
        cmocka_unit_test(replaces_bad_sequences),
        cmocka_unit_test(cuts_between_characters),
        cmocka_unit_test(writes_hex_and_ids),
        cmocka_unit_test(knows_kernel_ids),
        cmocka_unit_test(matches_globs),
        cmocka_unit_test(writes_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
