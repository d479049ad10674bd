/* The value that children inherit between raise and restore, and what is left of it. */
#include "launcher/oom_score.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cmocka.h>

static int own_value(void) {
    cleanup_buffer struct buffer text = {.limit = 64};
    assert_int_equal(file_read("/proc/self/oom_score_adj", 63, &text, NULL), 0);
    return atoi(buffer_text(&text));
}

static int value_of_child(void) {
    pid_t pid = fork();
    if (pid == 0)
        _exit(own_value() == 1000 ? 0 : 1);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 1000 : 0;
}

static void test_children_between_go_first(void **state) {
    (void)state;
    struct oom_score score;
    int before = own_value();
    oom_score_open(&score);
    assert_true(score.fd >= 0);
    int own = own_value();
    assert_true(own <= before && own > -1000);
    prctl(PR_SET_DUMPABLE, 0); /* as a launcher in a pod: the file itself is root's now */
    oom_score_raise(&score);
    assert_int_equal(value_of_child(), 1000);
    oom_score_restore(&score);
    assert_int_equal(own_value(), own);
    prctl(PR_SET_DUMPABLE, 1);
    oom_score_close(&score);
    assert_int_equal(score.fd, -1);
    oom_score_raise(&score); /* as where it could not be opened: nothing happens */
    assert_int_equal(own_value(), own);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_children_between_go_first)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
