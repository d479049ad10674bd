/* The rights of a kernel's user, taken and given back by a thread of the launcher. */
#include "launcher/user_account.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/fsuid.h>
#include <unistd.h>

#include <cmocka.h>

static uid_t rights(void) {
    return (uid_t)setfsuid((uid_t)-1);
}

static void test_rights_are_taken_and_given_back(void **state) {
    (void)state;
    if (geteuid() != 0)
        skip(); /* only root can */
    const struct launch_user user = {.is_known = true, .uid = 54321, .gid = 54322};
    assert_int_equal(user_account_enter(&user, NULL), 0);
    assert_int_equal(rights(), 54321);
    user_account_leave(&user);
    assert_int_equal(rights(), 0);
}

/* What setfsuid does with it is what it does with any id that a user namespace does not have. */
static void test_ids_that_are_not_there_are_an_error(void **state) {
    (void)state;
    const struct launch_user no_user = {.is_known = true, .uid = (uid_t)-1, .gid = 54322},
                             no_group = {.is_known = true, .uid = 54321, .gid = (gid_t)-1};
    const struct launch_user *const users[] = {&no_user, &no_group};
    for (size_t i = 0; i < 2; i++) {
        struct error err;
        assert_int_equal(user_account_enter(users[i], &err), -1);
        assert_non_null(strstr(err.text, "run-as-owner"));
        assert_int_equal(rights(), geteuid());
    }
}

static void test_without_an_account_nothing_is_done(void **state) {
    (void)state;
    const struct launch_user nobody = {.uid = 54321, .gid = 54322};
    assert_int_equal(user_account_enter(&nobody, NULL), 0);
    assert_int_equal(rights(), geteuid());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rights_are_taken_and_given_back),
        cmocka_unit_test(test_ids_that_are_not_there_are_an_error),
        cmocka_unit_test(test_without_an_account_nothing_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
