/* Deaths and what follows, as a table. */
#include "launcher/restart_policy.h"

#include "launcher/readiness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_limit(void **state) {
    (void)state;
    struct restart_policy policy = {.limit = 2, .stable_after_ms = 1000};
    restart_policy_begin(&policy);
    restart_policy_started(&policy, 0);
    restart_policy_ready(&policy);
    assert_int_equal(restart_policy_died(&policy, 10, false), RESTART_AGAIN);
    restart_policy_started(&policy, 10);
    /* not even ready again: still a death in a row */
    assert_int_equal(restart_policy_died(&policy, 20, true), RESTART_AGAIN);
    restart_policy_started(&policy, 20);
    assert_int_equal(restart_policy_died(&policy, 30, false), RESTART_GIVE_UP);
}

static void test_stable_life_resets(void **state) {
    (void)state;
    struct restart_policy policy = {.limit = 1, .stable_after_ms = 1000};
    restart_policy_begin(&policy);
    restart_policy_ready(&policy);
    for (int64_t now_ms = 0; now_ms < 10000; now_ms += 1000) {
        restart_policy_started(&policy, now_ms);
        assert_int_equal(restart_policy_died(&policy, now_ms + 1000, false), RESTART_AGAIN);
    }
    restart_policy_started(&policy, 20000);
    assert_int_equal(restart_policy_died(&policy, 20999, false), RESTART_GIVE_UP);
}

static void test_off(void **state) {
    (void)state;
    struct restart_policy policy = {.limit = 0, .stable_after_ms = 1000};
    restart_policy_begin(&policy);
    restart_policy_started(&policy, 0);
    restart_policy_ready(&policy);
    assert_int_equal(restart_policy_died(&policy, 100000, false), RESTART_GIVE_UP);
}

static void test_never_ready(void **state) {
    (void)state;
    struct restart_policy policy = {.limit = 5, .stable_after_ms = 1000};
    restart_policy_begin(&policy);
    restart_policy_started(&policy, 0);
    assert_int_equal(restart_policy_died(&policy, 10, false), RESTART_FAILED);
    for (int i = 0; i < RESTART_PORT_TRIES; i++)
        assert_int_equal(restart_policy_died(&policy, 10, true), RESTART_NEW_PORTS);
    assert_int_equal(restart_policy_died(&policy, 10, true), RESTART_FAILED);
}

static void test_asked_start_is_a_clean_sheet(void **state) {
    (void)state;
    struct restart_policy policy = {.limit = 1, .stable_after_ms = 1000};
    restart_policy_begin(&policy);
    restart_policy_ready(&policy);
    assert_int_equal(restart_policy_died(&policy, 1, false), RESTART_AGAIN);
    assert_int_equal(restart_policy_died(&policy, 2, false), RESTART_GIVE_UP);
    restart_policy_begin(&policy);
    assert_int_equal(restart_policy_died(&policy, 3, false), RESTART_FAILED);
    restart_policy_begin(&policy);
    restart_policy_ready(&policy);
    assert_int_equal(restart_policy_died(&policy, 4, false), RESTART_AGAIN);
}

static void test_readiness(void **state) {
    (void)state;
    struct readiness readiness;
    readiness_begin(&readiness, 1000);
    assert_false(readiness_is_complete(&readiness));
    /* The request waits in the queue: no need to ask again soon. */
    assert_int_equal(readiness_wait_ms(&readiness, 1000), READINESS_RETRY_MS);
    readiness.has_iopub = true;
    assert_false(readiness_is_complete(&readiness));
    readiness.has_iopub = false;
    readiness.has_reply = true;
    assert_false(readiness_is_complete(&readiness));
    assert_int_equal(readiness_wait_ms(&readiness, 1002), READINESS_REPEAT_MS - 2);
    assert_int_equal(readiness_wait_ms(&readiness, 5000), 0);
    readiness_asked(&readiness, 5000);
    assert_int_equal(readiness_wait_ms(&readiness, 5000), 2 * READINESS_REPEAT_MS);
    readiness.has_iopub = true;
    assert_false(readiness_is_complete(&readiness));
    readiness.has_stdin = true;
    assert_true(readiness_is_complete(&readiness));
}

/* Without a stdin that ever connects the kernel can still be used. */
static void test_readiness_does_not_wait_for_stdin_for_ever(void **state) {
    (void)state;
    struct readiness readiness;
    readiness_begin(&readiness, 0);
    readiness.has_reply = readiness.has_iopub = true;
    for (int i = 0; i < READINESS_REPEAT_DOUBLINGS; i++) {
        assert_false(readiness_is_complete(&readiness));
        readiness_asked(&readiness, i);
    }
    assert_true(readiness_is_complete(&readiness));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_stable_life_resets),
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_never_ready),
        cmocka_unit_test(test_asked_start_is_a_clean_sheet),
        cmocka_unit_test(test_readiness),
        cmocka_unit_test(test_readiness_does_not_wait_for_stdin_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
