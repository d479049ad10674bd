#include "base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void grows_and_reads_as_text(void **state) {
    (void)state;
    cleanup_buffer struct buffer buffer = {0};
    assert_string_equal(buffer_text(&buffer), "");
    assert_int_equal(buffer_append_text(&buffer, "kernel "), 0);
    assert_int_equal(buffer_printf(&buffer, "%d of %s", 7, "many"), 0);
    assert_int_equal(buffer_append(&buffer, "", 0), 0);
    assert_string_equal(buffer_text(&buffer), "kernel 7 of many");
    for (int i = 0; i < 5000; i++)
        assert_int_equal(buffer_append(&buffer, "0123456789", 10), 0);
    assert_int_equal(buffer.length, 16 + 50000);
    assert_int_equal(strlen(buffer_text(&buffer)), buffer.length);
}

static void refuses_at_the_limit_and_stays_as_it_was(void **state) {
    (void)state;
    cleanup_buffer struct buffer buffer = {.limit = 10};
    assert_int_equal(buffer_append(&buffer, "0123456789", 10), 0);
    assert_int_equal(buffer_append(&buffer, "x", 1), -1);
    assert_int_equal(buffer_append_text(&buffer, "x"), -1);
    assert_int_equal(buffer_printf(&buffer, "%s", "x"), -1);
    assert_int_equal(buffer_reserve(&buffer, 1), -1);
    assert_int_equal(buffer_reserve(&buffer, SIZE_MAX), -1);
    assert_int_equal(buffer_reserve(&buffer, SIZE_MAX - 9), -1); /* the sum would wrap */
    assert_string_equal(buffer_text(&buffer), "0123456789");
    buffer_clear(&buffer);
    assert_int_equal(buffer_append(&buffer, "abcd", 4), 0);
    assert_string_equal(buffer_text(&buffer), "abcd");
}

static void has_a_limit_by_itself(void **state) {
    (void)state;
    cleanup_buffer struct buffer buffer = {0};
    assert_int_equal(buffer_reserve(&buffer, (16 << 20) + 1), -1);
    assert_null(buffer.data);
    assert_int_equal(buffer_reserve(&buffer, 16 << 20), 0);
}

static void can_be_used_again(void **state) {
    (void)state;
    cleanup_buffer struct buffer buffer = {.limit = 64};
    buffer_append_text(&buffer, "x");
    buffer_clear(&buffer);
    assert_int_equal(buffer.length, 0);
    buffer_free(&buffer);
    assert_int_equal(buffer.limit, 64);
    buffer_free(&buffer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_reads_as_text),
        cmocka_unit_test(refuses_at_the_limit_and_stays_as_it_was),
        cmocka_unit_test(has_a_limit_by_itself),
        cmocka_unit_test(can_be_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
