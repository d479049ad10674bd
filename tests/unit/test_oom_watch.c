/* Which deaths are put down to what the OOM killer's counter says. */
#include "launcher/oom_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void look(struct oom_watch *watch, int64_t count, int64_t now_ms) {
    if (oom_watch_is_due(watch, now_ms))
        oom_watch_note(watch, count, now_ms);
}

static void test_what_was_counted_just_before_counts(void **state) {
    (void)state;
    struct oom_watch watch;
    oom_watch_begin(&watch, 3, 1000);
    assert_int_equal(oom_watch_compare(watch.before, 3), 0);
    assert_int_equal(oom_watch_compare(watch.before, 4), 1);
    look(&watch, 4, 100000); /* its process is killed, and has not ended yet */
    for (int64_t ms = 0; ms < 9000; ms += 1000)
        look(&watch, 4, 100000 + ms);
    assert_int_equal(oom_watch_compare(watch.before, 4), 1);
}

static void test_what_was_counted_long_before_does_not(void **state) {
    (void)state;
    struct oom_watch watch;
    oom_watch_begin(&watch, 3, 1000);
    for (int64_t ms = 100000; ms < 130000; ms += 1000)
        look(&watch, 4, ms);
    assert_int_equal(oom_watch_compare(watch.before, 4), 0);
    assert_int_equal(oom_watch_compare(watch.before, 5), 1);
    oom_watch_begin(&watch, 5, 200000); /* the next process */
    assert_int_equal(oom_watch_compare(watch.before, 5), 0);
}

static void test_unknown_is_not_invented(void **state) {
    (void)state;
    struct oom_watch watch;
    oom_watch_begin(&watch, -1, 0);
    assert_int_equal(oom_watch_compare(watch.before, 4), -1);
    assert_int_equal(oom_watch_compare(3, -1), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_counted_just_before_counts),
        cmocka_unit_test(test_what_was_counted_long_before_does_not),
        cmocka_unit_test(test_unknown_is_not_invented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
