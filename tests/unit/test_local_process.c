#include "launcher/local_process.h"

#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static bool is_of(pid_t pid, const char *directory) {
    struct local_process process;
    if (local_process_open(pid, directory, &process) < 0)
        return false;
    local_process_close(&process);
    return true;
}

/* Kernel ids come from clients: one may begin like another. */
static void test_a_directory_is_more_than_its_beginning(void **state) {
    (void)state;
    static char launcher[] = "--directory=/run/kernels/ab-cdef",
                kernel[] = "/run/kernels/ab-cdef/connection.json";
    char *const said[] = {launcher, kernel}; /* in the place of its name */
    int hold[2];
    assert_int_equal(pipe(hold), 0);
    for (int i = 0; i < 2; i++) {
        pid_t pid;
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, hold[0], 0); /* it reads until it is killed */
        char *argv[] = {said[i], NULL};
        assert_int_equal(posix_spawn(&pid, "/bin/cat", &actions, NULL, argv, NULL), 0);
        posix_spawn_file_actions_destroy(&actions);
        bool is_own = is_of(pid, "/run/kernels/ab-cdef");
        bool is_shorter = is_of(pid, "/run/kernels/ab-cde");
        bool is_longer = is_of(pid, "/run/kernels/ab-cdef0");
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_true(is_own);
        assert_false(is_shorter || is_longer);
    }
    close(hold[0]);
    close(hold[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_directory_is_more_than_its_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
