#include "base/error.h"
#include "base/utf8.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void keeps_code_and_text(void **state) {
    (void)state;
    struct error err = {0};
    assert_int_equal(error_set(&err, ERROR_LIMIT, "at most %d", 5), -1);
    assert_int_equal(err.code, ERROR_LIMIT);
    assert_string_equal(err.text, "at most 5");
    assert_int_equal(error_wrap(&err, "env of %s", "k1"), -1);
    assert_int_equal(err.code, ERROR_LIMIT);
    assert_string_equal(err.text, "env of k1: at most 5");
}

static void adds_the_system_s_reason(void **state) {
    (void)state;
    struct error err = {0};
    assert_int_equal(error_system(&err, ENOENT, "open %s", "/x"), -1);
    assert_int_equal(err.code, ERROR_SYSTEM);
    assert_string_equal(err.text, "open /x: No such file or directory");
}

static void needs_nobody_to_listen(void **state) {
    (void)state;
    assert_int_equal(error_set(NULL, ERROR_LIMIT, "x"), -1);
    assert_int_equal(error_system(NULL, EIO, "x"), -1);
    assert_int_equal(error_wrap(NULL, "x"), -1);
}

static void cuts_what_is_too_long(void **state) {
    (void)state;
    char huge[4096];
    memset(huge, 'x', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    struct error err = {0};
    error_set(&err, ERROR_INVALID, "%s", huge);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    error_wrap(&err, "context");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "context: xxx", 12);
    error_wrap(&err, "%s", huge);
    error_system(&err, EIO, "%s", huge);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void cuts_no_character(void **state) {
    (void)state;
    char huge[4096];
    for (size_t i = 0; i + 3 < sizeof huge; i += 3)
        memcpy(huge + i, "\u20ac", 4);
    for (size_t shift = 0; shift < 3; shift++) {
        struct error err = {0};
        error_set(&err, ERROR_INVALID, "%s%s", "xx" + shift, huge);
        assert_true(utf8_is_valid(err.text, strlen(err.text)));
        assert_true(strlen(err.text) >= sizeof err.text - 3);
        error_wrap(&err, "%s", "context");
        assert_true(utf8_is_valid(err.text, strlen(err.text)));
        assert_true(strlen(err.text) >= sizeof err.text - 3);
    }
}

static void names_every_code(void **state) {
    (void)state;
    for (int code = ERROR_NONE; code <= ERROR_SYSTEM; code++)
        assert_int_equal(error_code_parse(error_code_name((enum error_code)code)), code);
    assert_string_equal(error_code_name(ERROR_NOT_FOUND), "not_found"); /* the link's word */
    assert_int_equal(error_code_parse("from_a_newer_launcher"), ERROR_SYSTEM);
    assert_int_equal(error_code_parse(""), ERROR_SYSTEM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_code_and_text),    cmocka_unit_test(adds_the_system_s_reason),
        cmocka_unit_test(needs_nobody_to_listen), cmocka_unit_test(cuts_what_is_too_long),
        cmocka_unit_test(cuts_no_character),      cmocka_unit_test(names_every_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
