/* The part of the loop's time that refusals have. The test says what time it is. */
#include "gateway/http_refusals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { NOW = 5000000, SECOND = 1000000 };

static void test_a_few_do_not_wait(void **state) {
    (void)state;
    struct http_refusals refusals = {0};
    for (int i = 0; i < 9; i++)
        assert_int_equal(http_refusals_note(&refusals, NOW, 1), 0);
    assert_int_equal(http_refusals_note(&refusals, NOW, 1), 1);
    assert_int_equal(http_refusals_note(&refusals, NOW + SECOND, 1), 0);
}

static void test_those_of_all_connections_wait_one_after_the_other(void **state) {
    (void)state;
    struct http_refusals refusals = {0};
    for (int i = 0; i < 9999; i++)
        http_refusals_note(&refusals, NOW + i, 1);
    assert_int_equal(http_refusals_note(&refusals, NOW, 1), 1000); /* 10,000 a second */
    assert_int_equal(http_refusals_wait(&refusals, NOW + SECOND / 2), 500);
    assert_int_equal(http_refusals_wait(&refusals, NOW + 2 * SECOND), 0);
}

static void test_dear_ones_wait_longer(void **state) {
    (void)state;
    struct http_refusals refusals = {0};
    int64_t now = NOW, spent = 0;
    while (now < NOW + SECOND) { /* all of them as fast as they may */
        now += 1000;
        spent += 1000;
        now += 1000 * http_refusals_note(&refusals, now, 1000);
    }
    assert_in_range(spent, SECOND / 6, SECOND / 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_few_do_not_wait),
        cmocka_unit_test(test_those_of_all_connections_wait_one_after_the_other),
        cmocka_unit_test(test_dear_ones_wait_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
