/* launch.json: what is taken, what is refused and how the refusal names the member. */
#include "launcher/launch.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static json_t *minimal(void) {
    json_t *json =
        json_pack("{s:s, s:s, s:[s, s], s:{s:s}}", "kernel_id", "a-b-c-d-e", "kernel_name",
                  "python3", "argv", "python3", "{connection_file}", "env", "PATH", "/bin");
    assert_non_null(json);
    return json;
}

static void refuse(const char *member, json_t *value, const char *text) {
    struct launch *launch = NULL;
    struct error err = {0};
    cleanup_json json_t *json = minimal();
    json_object_set_new(json, member, value);
    assert_int_equal(launch_create(json, &launch, &err), -1);
    assert_null(launch);
    assert_int_equal(err.code, ERROR_INVALID);
    if (strstr(err.text, text) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, text);
}

static void test_defaults(void **state) {
    (void)state;
    struct launch *launch;
    struct error err;
    cleanup_json json_t *json = minimal();
    assert_int_equal(launch_create(json, &launch, &err), 0);
    assert_string_equal(launch->kernel_id, "a-b-c-d-e");
    assert_string_equal(launch->argv[1], "{connection_file}");
    assert_null(launch->argv[2]);
    assert_string_equal(launch->environment[0], "PATH=/bin");
    assert_null(launch->environment[1]);
    assert_string_equal(launch->transport, "tcp");
    assert_int_equal(launch->interrupt_signal, 2);
    assert_int_equal(launch->restart_limit, 5);
    assert_null(launch->cwd);
    assert_false(launch->is_on_launcher_environment);
    launch_destroy(launch);
}

static void test_all_members(void **state) {
    (void)state;
    struct launch *launch;
    struct error err;
    cleanup_json json_t *json = minimal();
    cleanup_json json_t *more =
        json_pack("{s:s, s:s, s:s, s:i, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:s}", "cwd",
                  "/srv", "resource_dir", "/r", "interrupt_mode", "message", "interrupt_signal", 15,
                  "transport", "ipc", "shutdown_wait_ms", 0, "launch_timeout_ms", 1,
                  "restart_limit", 0, "stable_after_ms", 7, "journal_bytes", 1000, "output_bytes",
                  2000, "session_retention_ms", 0, "log_level", "DEBUG", "log_format", "json");
    json_object_update(json, more);
    assert_int_equal(launch_create(json, &launch, &err), 0);
    assert_string_equal(launch->cwd, "/srv");
    assert_string_equal(launch->transport, "ipc");
    assert_int_equal(launch->interrupt_signal, 0); /* by message, whatever signal is named */
    assert_int_equal(launch->shutdown_wait_ms, 0);
    assert_int_equal(launch->stable_after_ms, 7);
    assert_string_equal(launch->log_level, "DEBUG");
    assert_string_equal(launch->log_format, "json");
    launch_destroy(launch);
}

static void test_refusals(void **state) {
    (void)state;
    refuse("home", json_string("/home"), "home must be an object");
    refuse("home", json_pack("{s:s}", "directory", "/home"), "path");
    refuse("home", json_pack("{s:s, s:s}", "directory", "home", "path", "ann"), "home.directory");
    refuse("home", json_pack("{s:s, s:s}", "directory", "/home", "path", "../ann"), "home.path");
    refuse("account", json_string("ann"), "account must be an object");
    refuse("account", json_pack("{s:s}", "name", "ann"), "place");
    refuse("account", json_pack("{s:s, s:s}", "name", "ann", "place", "users/1"), "account.place");
    refuse("account", json_pack("{s:s, s:s, s:i}", "name", "ann", "place", "/u/1", "min_uid", 0),
           "min_uid");
    refuse("account", json_pack("{s:s, s:s, s:[i]}", "name", "ann", "place", "/u/1", "uid", 7),
           "account.uid");
    refuse("kernel_id", json_null(), "kernel_id is missing");
    refuse("kernel_id", json_string(""), "kernel_id is empty");
    refuse("kernel_name", json_integer(3), "kernel_name must be a text");
    refuse("kernel_name", json_stringn("a\0b", 3), "kernel_name holds a NUL");
    refuse("argv", json_array(), "argv must be an array");
    refuse("argv", json_string("python3"), "argv must be an array");
    refuse("argv", json_pack("[s, i]", "a", 1), "argv[1]");
    refuse("argv", json_pack("[s]", ""), "argv[0] is empty");
    refuse("env", json_array(), "env must be an object");
    refuse("env", json_pack("{s:i}", "A", 1), "env.A must be a text");
    refuse("env", json_pack("{s:s}", "A=B", "x"), "'A=B' is no name");
    refuse("env", json_pack("{s:s}", "", "x"), "is no name");
    refuse("env", json_pack("{s:o}", "A", json_stringn("x\0y", 3)), "env.A");
    refuse("cwd", json_true(), "cwd must be a text");
    refuse("cwd", json_array(), "cwd must be a text or 1 to 16 of them");
    refuse("cwd", json_pack("[s, s]", "/a", ""), "cwd[1] must be a text");
    refuse("cwd", json_pack("[i]", 1), "cwd[0] must be a text");
    refuse("environment_base", json_string("image"), "environment_base must be");
    refuse("environment_base", json_true(), "environment_base must be");
    refuse("transport", json_string("udp"), "transport");
    refuse("interrupt_mode", json_string("shout"), "interrupt_mode");
    refuse("interrupt_mode", json_integer(1), "interrupt_mode");
    refuse("interrupt_signal", json_integer(65), "interrupt_signal");
    refuse("interrupt_signal", json_integer(0), "interrupt_signal");
    refuse("launch_timeout_ms", json_integer(0), "launch_timeout_ms");
    refuse("restart_limit", json_string("5"), "restart_limit must be a whole number");
    refuse("journal_bytes", json_integer(-1), "journal_bytes");
}

/* The image's variables below, what was asked for on top. */
static void test_base_environment(void **state) {
    (void)state;
    struct launch *launch;
    struct error err;
    cleanup_json json_t *json = minimal();
    json_object_set_new(json, "environment_base", json_string("launcher"));
    json_object_set_new(json, "cwd", json_pack("[s, s]", "/a", "~"));
    assert_int_equal(launch_create(json, &launch, &err), 0);
    assert_true(launch->is_on_launcher_environment);
    assert_null(launch->cwd);
    assert_string_equal(launch->cwds[1], "~");
    char *const base[] = {(char[]){"PATH=/image"},
                          (char[]){"CUDA=12"},
                          (char[]){"PATHS=x"},
                          (char[]){"CUDA=13"},
                          (char[]){"ELARA_X=1"},
                          (char[]){"ELARA_IMAGE_LD_PRELOAD=x.so"},
                          (char[]){"ENTERPRISE_GATEWAY_PORT_8888_TCP=tcp://10.0.0.1:8888"},
                          (char[]){"no equals sign"},
                          (char[]){"=nameless"},
                          (char[]){"EMPTY="},
                          NULL};
    launch_add_base_environment(launch, base);
    assert_string_equal(launch_variable(launch, "PATH"), "/bin");
    assert_string_equal(launch_variable(launch, "CUDA"), "12");
    assert_string_equal(launch_variable(launch, "PATHS"), "x");
    assert_string_equal(launch_variable(launch, "EMPTY"), "");
    assert_null(launch_variable(launch, "ELARA_X"));
    assert_string_equal(launch_variable(launch, "LD_PRELOAD"), "x.so");
    assert_null(launch_variable(launch, "PAT"));
    size_t count = 0;
    while (launch->environment[count] != NULL)
        count++;
    assert_int_equal(count, 5);
    launch_destroy(launch);
}

static void test_no_object(void **state) {
    (void)state;
    struct launch *launch = NULL;
    struct error err;
    cleanup_json json_t *json = json_array();
    assert_int_equal(launch_create(json, &launch, &err), -1);
    launch_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),  cmocka_unit_test(test_all_members),
        cmocka_unit_test(test_refusals),  cmocka_unit_test(test_base_environment),
        cmocka_unit_test(test_no_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
