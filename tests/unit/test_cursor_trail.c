/* Where the cursor was: exact now, never too far for any time, and near enough to be of use. */
#include "launcher/cursor_trail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_now_is_exact_and_before_nothing_is_sure(void **state) {
    (void)state;
    struct cursor_trail trail;
    cursor_trail_reset(&trail, 1000, 5);
    assert_int_equal(cursor_trail_at(&trail, 1000), 5);
    assert_int_equal(cursor_trail_at(&trail, 0), 5);
    cursor_trail_move(&trail, 1001, 6);
    cursor_trail_move(&trail, 1002, 7);
    assert_int_equal(cursor_trail_at(&trail, 1002), 7);
    assert_int_equal(cursor_trail_at(&trail, 1000), 5);
    cursor_trail_reset(&trail, 2000, 6);
    assert_int_equal(cursor_trail_at(&trail, 9000), 6);
    assert_int_equal(cursor_trail_at(&trail, 1002), 6);
}

/* The cursor is 2 * t at each time t, for an hour. */
static void test_it_never_says_too_much_and_not_much_too_little(void **state) {
    (void)state;
    struct cursor_trail trail;
    cursor_trail_reset(&trail, 0, 0);
    for (int64_t now = 7; now < 3600000; now += 7) {
        cursor_trail_move(&trail, now, 2 * (uint64_t)now);
        assert_int_equal(cursor_trail_at(&trail, now), 2 * now);
        if (now % 1001 != 0)
            continue;
        for (int64_t back = 1000; back <= now; back *= 3) {
            uint64_t was = cursor_trail_at(&trail, now - back);
            assert_true(was <= 2 * (uint64_t)(now - back));
            assert_true((int64_t)was >= 2 * (now - back - back / 2 - 2100));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_now_is_exact_and_before_nothing_is_sure),
        cmocka_unit_test(test_it_never_says_too_much_and_not_much_too_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
