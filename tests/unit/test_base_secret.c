#include "base/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MANY = 40 };

#ifdef __SANITIZE_ADDRESS__ /* it makes mlock do nothing */
enum { IS_LOCKED = 0 };
#else
enum { IS_LOCKED = 1 };
#endif

/* kB that the process has locked. */
static long locked(void) {
    char line[256];
    long found = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        sscanf(line, "VmLck: %ld", &found);
    if (file != NULL)
        fclose(file);
    return found;
}

static void secrets_are_locked_apart_and_wiped(void **state) {
    (void)state;
    char *secrets[MANY];
    long before = locked();
    for (int i = 0; i < MANY; i++) {
        secrets[i] = secret_alloc(SECRET_MAX);
        assert_int_equal(secrets[i][0], 0);
        memset(secrets[i], 'a' + i % 26, SECRET_MAX);
    }
    assert_int_equal(locked() - before, IS_LOCKED * 4 * ((MANY + 15) / 16));
    for (int i = 0; i < MANY; i++)
        assert_int_equal(secrets[i][SECRET_MAX - 1], 'a' + i % 26);
    secret_free(secrets[3]);
    assert_int_equal(secrets[3][0], 0); /* the page is there still */
    char *again = secret_dup("another");
    assert_ptr_equal(again, secrets[3]);
    assert_string_equal(again, "another");
    for (int i = 0; i < MANY; i++)
        secret_free(secrets[i]);
    secret_free(NULL);
    assert_int_equal(locked(), before);
}

static void a_child_has_none(void **state) {
    (void)state;
    char *secret = secret_dup("mine");
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        _exit(secret[0] == '\0' ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    secret_free(secret);
}

/* Root may lock what it likes. */
static void without_room_they_are_kept_all_the_same(void **state) {
    (void)state;
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        if (setrlimit(RLIMIT_MEMLOCK, &none) < 0 || (geteuid() == 0 && setuid(65534) < 0))
            _exit(1);
        const char *secret = secret_dup("kept");
        _exit(locked() == 0 && strcmp(secret, "kept") == 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_are_locked_apart_and_wiped),
        cmocka_unit_test(a_child_has_none),
        cmocka_unit_test(without_room_they_are_kept_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
