/* Starting programs: what the child is given, and that a start which fails says exactly why. */
#include "launcher/kernel_process.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "launcher/process_tree.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char no_cwd[] = "";
static char name[] = "test";
static char path_variable[] = "PATH=/nowhere:/usr/bin:/bin";
static char *environment[] = {path_variable, NULL};

static struct kernel_process *start(const char *const *argv, char *cwd) {
    struct launch launch = {.kernel_name = name, .environment = environment, .cwd = cwd};
    struct kernel_process *process = NULL;
    struct error err;
    char *copies[8] = {NULL};
    for (size_t i = 0; argv[i] != NULL; i++)
        copies[i] = memory_strdup(argv[i]);
    assert_int_equal(kernel_process_start(&launch, copies, &process, &err), 0);
    for (size_t i = 0; copies[i] != NULL; i++)
        free(copies[i]);
    return process;
}

/* Waits for the verdict on the report pipe. */
static int verdict(struct kernel_process *process, struct error *err) {
    for (;;) {
        int state = kernel_process_check(process, err);
        if (state != 0)
            return state;
        struct pollfd item = {.fd = kernel_process_report_fd(process), .events = POLLIN};
        assert_int_equal(poll(&item, 1, 10000), 1);
    }
}

static int finish(struct kernel_process **process) {
    int status;
    assert_int_equal(waitpid(kernel_process_pid(*process), &status, 0),
                     kernel_process_pid(*process));
    kernel_process_destroy(process);
    assert_null(*process);
    return status;
}

static void expect_failure(const char *program, char *cwd, enum error_code code, const char *text) {
    const char *const argv[] = {program, NULL};
    struct error err = {0};
    struct kernel_process *process = start(argv, cwd);
    assert_int_equal(verdict(process, &err), -1);
    assert_int_equal(err.code, code);
    if (strstr(err.text, text) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, text);
    finish(&process);
}

static void test_failures(void **state) {
    char *directory = *state;
    cleanup_free char *script = memory_printf("%s/script", directory);
    cleanup_free char *plain = memory_printf("%s/plain", directory);
    assert_int_equal(file_write(script, "#!/no/such/thing\n", 17, 0700, NULL), 0);
    assert_int_equal(file_write(plain, "x", 1, 0600, NULL), 0);
    expect_failure("no-such-program", no_cwd, ERROR_NOT_FOUND,
                   "'no-such-program' was not found on PATH=/nowhere:/usr/bin:/bin");
    expect_failure("/no/such/program", no_cwd, ERROR_NOT_FOUND, "does not exist");
    expect_failure(script, no_cwd, ERROR_NOT_FOUND, "#! line");
    expect_failure(plain, no_cwd, ERROR_DENIED, "permission denied");
    assert_int_equal(chmod(plain, 0700), 0);
    expect_failure(plain, no_cwd, ERROR_INVALID, "no executable");
    expect_failure("/tmp", no_cwd, ERROR_DENIED, "permission denied");
}

static void read_output(struct kernel_process *process, char *text, size_t size) {
    size_t length = 0;
    ssize_t got = 1;
    while (got != 0 && length + 1 < size) {
        struct pollfd item = {.fd = kernel_process_output_fd(process), .events = POLLIN};
        assert_int_equal(poll(&item, 1, 10000), 1);
        got = read(item.fd, text + length, size - length - 1);
        length += got > 0 ? (size_t)got : 0;
    }
    text[length] = '\0';
}

static void test_surroundings(void **state) {
    char *directory = *state;
    char text[4096];
    struct error err;
    cleanup_free char *missing = memory_printf("%s/gone/deeper", directory);
    cleanup_free char *expected = memory_printf("%s\n", directory);
    const char *const pwd[] = {"pwd", NULL}; /* found by the kernel's PATH */
    struct kernel_process *process = start(pwd, missing);
    assert_int_equal(verdict(process, &err), 1);
    read_output(process, text, sizeof text);
    assert_string_equal(text, expected); /* the nearest parent that is there */
    assert_int_equal(finish(&process), 0);

    const char *const env[] = {"env", NULL};
    process = start(env, no_cwd);
    read_output(process, text, sizeof text);
    assert_string_equal(text, "PATH=/nowhere:/usr/bin:/bin\n");
    finish(&process);

    cleanup_close int leaked = dup(1); /* not close-on-exec */
    const char *const list[] = {"ls", "/proc/self/fd", NULL};
    process = start(list, no_cwd);
    read_output(process, text, sizeof text);
    assert_string_equal(text, "0\n1\n2\n3\n"); /* 3 is ls reading the directory */
    finish(&process);
}

static void expect_directory(char **wishes, char **variables, const char *expected) {
    char text[4096];
    char pwd_name[] = "pwd", physical[] = "-P";
    char *const pwd[] = {pwd_name, physical, NULL};
    struct launch launch = {.kernel_name = name, .environment = variables, .cwds = wishes};
    struct kernel_process *process = NULL;
    struct error err;
    assert_int_equal(kernel_process_start(&launch, pwd, &process, &err), 0);
    assert_int_equal(verdict(process, &err), 1);
    read_output(process, text, sizeof text);
    text[strcspn(text, "\n")] = '\0';
    assert_string_equal(text, expected);
    finish(&process);
}

/* As in a pod, where only the launcher sees what the image has. */
static void test_first_directory_that_is_there(void **state) {
    char *directory = *state, here[4096];
    assert_non_null(getcwd(here, sizeof here));
    cleanup_free char *home = memory_printf("HOME=%s", directory);
    char missing[] = "/no/such/place", tilde[] = "~", dot[] = ".", root[] = "/";
    char *at_home[] = {path_variable, home, NULL};
    char root_home[] = "HOME=/", lost_home[] = "HOME=/no/home";
    char *at_root[] = {path_variable, root_home, NULL};
    char *at_no_home[] = {path_variable, lost_home, NULL};
    expect_directory((char *[]){directory, tilde, NULL}, at_root, directory);
    expect_directory((char *[]){missing, tilde, dot, root, NULL}, at_home, directory);
    expect_directory((char *[]){missing, tilde, dot, root, NULL}, at_no_home, here);
    expect_directory((char *[]){tilde, dot, root, NULL}, at_root, here);
    expect_directory((char *[]){tilde, dot, root, NULL}, environment, here);
    expect_directory((char *[]){tilde, root, NULL}, environment, "/");
}

static void test_signals(void **state) {
    (void)state;
    struct error err;
    char text[4096];
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    signal(SIGPIPE, SIG_IGN);
    const char *const status[] = {"grep", "-E", "SigBlk|SigIgn", "/proc/self/status", NULL};
    struct kernel_process *process = start(status, no_cwd);
    read_output(process, text, sizeof text);
    unsigned long long blocked_now, ignored_now;
    assert_int_equal(sscanf(text, "SigBlk: %llx SigIgn: %llx", &blocked_now, &ignored_now), 2);
    assert_int_equal(blocked_now, 0);
    /* 32 and 33 are the C library's own: it lets nobody change what was inherited. */
    assert_int_equal(ignored_now & ~(3ULL << 31), 0);
    finish(&process);
    /* Children get signals too: the output ends only when none of them has it. */
    const char *const family[] = {"sh", "-c", "sleep 1000 & echo born; wait", NULL};
    process = start(family, no_cwd);
    struct pollfd output = {.fd = kernel_process_output_fd(process), .events = POLLIN};
    assert_int_equal(poll(&output, 1, 10000), 1);
    assert_int_equal(read(output.fd, text, sizeof text), 5);
    assert_int_equal(kernel_process_signal(process, SIGTERM, &err), 0);
    read_output(process, text, sizeof text);
    finish(&process);
    const char *const sleep[] = {"sleep", "1000", NULL};
    process = start(sleep, no_cwd);
    assert_int_equal(verdict(process, &err), 1);
    assert_int_equal(getsid(kernel_process_pid(process)), kernel_process_pid(process));
    struct process_usage usage;
    process_tree_usage(&usage);
    assert_int_equal(usage.processes, 1);
    assert_int_equal(kernel_process_signal(process, SIGTERM, &err), 0);
    int wait_status;
    pid_t pid = kernel_process_pid(process);
    assert_int_equal(waitpid(pid, &wait_status, 0), pid);
    assert_int_equal(WTERMSIG(wait_status), SIGTERM);
    assert_int_equal(kernel_process_signal(process, SIGTERM, &err), -1);
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    kernel_process_destroy(&process);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static int make_directory(void **state) {
    *state = mkdtemp(memory_strdup("/tmp/elara-test-XXXXXX"));
    return *state != NULL ? 0 : -1;
}

static int remove_directory(void **state) {
    int rc = file_remove_tree(*state, NULL);
    free(*state);
    return rc;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_surroundings),
        cmocka_unit_test(test_first_directory_that_is_there),
        cmocka_unit_test(test_signals),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
