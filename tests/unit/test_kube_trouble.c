#include "launcher/kube_trouble.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { FIRST = KUBE_TROUBLE_FIRST_MS, LAST = KUBE_TROUBLE_LAST_MS };

static void lasting_trouble_is_told_at_growing_intervals(void **state) {
    struct kube_trouble trouble = {0};
    int64_t told[16], count = 0;
    (void)state;
    for (int64_t now_ms = 1; now_ms < 6 * (int64_t)LAST && count < 16; now_ms += 2000)
        if (kube_trouble_begins(&trouble, "refused", now_ms))
            told[count++] = now_ms;
    assert_int_equal(told[0], 1);
    assert_int_equal(told[1], 1 + FIRST);
    assert_int_equal(told[2], 1 + 3 * FIRST);
    assert_in_range(count, 8, 14);
    assert_true(told[count - 1] - told[count - 2] <= LAST + 2000);
}

static void a_change_is_told_at_once_but_not_each_swing(void **state) {
    struct kube_trouble trouble = {0};
    (void)state;
    assert_true(kube_trouble_begins(&trouble, "refused", 0));
    assert_true(kube_trouble_begins(&trouble, "forbidden", 1));
    assert_false(kube_trouble_begins(&trouble, "refused", 2));
    assert_false(kube_trouble_begins(&trouble, "forbidden", 3));
    assert_true(kube_trouble_begins(&trouble, "gone", 4));
}

static void one_that_comes_and_goes_is_told_once(void **state) {
    struct kube_trouble trouble = {0};
    (void)state;
    assert_false(kube_trouble_ends(&trouble));
    assert_true(kube_trouble_begins(&trouble, "refused", 0));
    assert_true(kube_trouble_ends(&trouble));
    assert_false(kube_trouble_begins(&trouble, "refused", 1000));
    assert_false(kube_trouble_ends(&trouble));
    assert_true(kube_trouble_begins(&trouble, "refused", 3 * FIRST));
    assert_true(kube_trouble_begins(&trouble, "refused", 4 * FIRST)); /* it had been away */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lasting_trouble_is_told_at_growing_intervals),
        cmocka_unit_test(a_change_is_told_at_once_but_not_each_swing),
        cmocka_unit_test(one_that_comes_and_goes_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
