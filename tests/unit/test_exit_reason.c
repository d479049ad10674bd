/* The sentence a user gets when a kernel has ended. */
#include "launcher/exit_reason.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static int exited(int code) {
    return code << 8; /* as waitpid gives it on Linux */
}

static void expect(int wait_status, int oom, const char *output, const char *expected) {
    char text[EXIT_REASON_SIZE];
    struct kernel_exit exit = kernel_exit_from_status(wait_status, oom);
    exit_reason_write(&exit, output, "/opt/python", text);
    assert_string_equal(text, expected);
}

static void test_sentences(void **state) {
    (void)state;
    expect(exited(1), -1, "", "The kernel exited with code 1.");
    expect(exited(1), -1, "a\nlast line \n\n", "The kernel exited with code 1: last line.");
    expect(exited(0), -1, "Bye.", "The kernel exited with code 0: Bye.");
    expect(SIGSEGV, 1, "noise", "The kernel was killed by signal 11 (SIGSEGV).");
    expect(SIGKILL, 0, "noise", "The kernel was killed by signal 9 (SIGKILL).");
    expect(SIGKILL, -1, "",
           "The kernel was killed by signal 9 (SIGKILL); running out of memory is a common "
           "cause.");
    expect(SIGKILL, 1, "",
           "The kernel was killed by signal 9 (SIGKILL): the system ended it because the memory "
           "limit was reached. Use less memory, or ask for a larger limit.");
    expect(40, 0, "", "The kernel was killed by signal 40.");
}

static void test_hints(void **state) {
    (void)state;
    const char *hint =
        "The kernel exited with code 1: /opt/python: No module named ipykernel_launcher. Install "
        "ipykernel in the environment of /opt/python (for instance: /opt/python -m pip install "
        "ipykernel).";
    expect(exited(1), -1, "/opt/python: No module named ipykernel_launcher", hint);
    expect(exited(1), -1, "x\n\x1b[31mModuleNotFoundError\x1b[0m: No module named 'zmq.asyncio'",
           "The kernel exited with code 1: ModuleNotFoundError: No module named 'zmq.asyncio'. "
           "Install zmq in the environment of /opt/python (for instance: /opt/python -m pip "
           "install zmq).");
    expect(exited(0), -1, "No module named x", "The kernel exited with code 0: No module named x.");
}

static void test_port_race(void **state) {
    (void)state;
    assert_true(exit_reason_is_port_race("zmq.error.ZMQError: Address already in use (addr='tcp"));
    assert_true(exit_reason_is_port_race("bind: EADDRINUSE"));
    assert_false(exit_reason_is_port_race("No module named 'address'"));
}

static void an_output_that_the_reason_has_is_not_said_twice(void **state) {
    (void)state;
    const char *reason = "The kernel exited with code 1: no licence. Ask for one.";
    assert_true(exit_reason_has_output(reason, "no licence\n"));
    assert_true(exit_reason_has_output(reason, "\n"));
    assert_true(exit_reason_has_output(reason, NULL));
    assert_false(exit_reason_has_output(reason, "loading\nno licence\n"));
}

static void test_long_texts(void **state) {
    (void)state;
    char output[5000], text[EXIT_REASON_SIZE];
    struct kernel_exit exit = kernel_exit_from_status(exited(1), -1);
    for (size_t i = 0; i + 2 < sizeof output; i += 2)
        memcpy(output + i, "\xC3\xA4", 3);
    exit_reason_write(&exit, output, "/opt/python", text);
    assert_true(strlen(text) < 400);
    cleanup_json json_t *report = exit_report_create(&exit, text, "out", true);
    assert_non_null(report);
}

static void test_report(void **state) {
    (void)state;
    struct kernel_exit exit = kernel_exit_from_status(SIGKILL, -1);
    cleanup_json json_t *report = exit_report_create(&exit, "cut off \xC3", "out", false);
    assert_true(json_is_null(json_object_get(report, "code")));
    assert_int_equal(json_integer_value(json_object_get(report, "signal")), 9);
    assert_true(json_is_null(json_object_get(report, "oom"))); /* unknown is not invented */
    assert_string_equal(json_string_value(json_object_get(report, "reason")), "cut off ?");
    assert_true(json_is_false(json_object_get(report, "restarting")));
    exit = kernel_exit_from_status(exited(3), 1);
    cleanup_json json_t *second = exit_report_create(&exit, "", "", true);
    assert_int_equal(json_integer_value(json_object_get(second, "code")), 3);
    assert_true(json_is_null(json_object_get(second, "signal")));
    assert_true(json_is_false(json_object_get(second, "oom")));
    assert_true(json_is_true(json_object_get(second, "restarting")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_port_race),
        cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_report),
        cmocka_unit_test(an_output_that_the_reason_has_is_not_said_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
