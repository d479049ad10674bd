/* Users' directories where the homes are mounted on this machine. */
#include "nfs/home_mounted.h"

#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { NOBODY = 65534 };

static char top[] = "/tmp/elara-homes-XXXXXX";

static const char *path_of(const char *name) {
    static char text[4][256];
    static size_t at;
    char *path = text[at++ % 4];
    snprintf(path, sizeof text[0], "%s/%s", top, name);
    return path;
}

static int prepare(const char *path, size_t given, int64_t uid, struct error *err) {
    const struct home_mounted home = {
        .directory = top, .path = path, .given = given, .uid = uid, .gid = uid};
    return home_mounted_prepare(&home, err);
}

static void expect_refusal(const char *path, size_t given, const char *words) {
    struct error err = {0};
    assert_int_equal(prepare(path, given, -1, &err), -1);
    if (strstr(err.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, words);
}

static void what_is_missing_is_made(void **state) {
    struct stat status;
    (void)state;
    assert_int_equal(prepare("ann", 0, -1, NULL), 0);
    assert_int_equal(stat(path_of("ann"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
    assert_int_equal(status.st_uid, geteuid());
    assert_int_equal(prepare("ann", 0, -1, NULL), 0);
    expect_refusal("staff/ann", 1, "/staff: the administrator has to make it");
    assert_int_equal(mkdir(path_of("staff"), 0755), 0);
    assert_int_equal(prepare("staff/ann", 1, -1, NULL), 0);
    assert_int_equal(stat(path_of("staff/ann"), &status), 0);
}

static void what_is_in_the_way_is_named(void **state) {
    (void)state;
    assert_int_equal(symlink("/etc", path_of("link")), 0);
    assert_int_equal(symlink("nowhere", path_of("loose")), 0);
    close(open(path_of("file"), O_CREAT | O_WRONLY, 0600));
    assert_int_equal(mkdir(path_of("real"), 0755), 0);
    assert_int_equal(symlink("real", path_of("to-real")), 0);
    expect_refusal("link", 0, "/link is a symbolic link");
    expect_refusal("loose", 0, "/loose is a symbolic link");
    expect_refusal("to-real/ann", 1, "/to-real is a symbolic link");
    expect_refusal("file", 0, "/file is a file");
    expect_refusal("file/ann", 1, "/file is a file");
    assert_int_equal(access(path_of("real/ann"), F_OK), -1);
    assert_int_equal(access(path_of("nowhere"), F_OK), -1);
    struct error err;
    const struct home_mounted gone = {.directory = "/tmp/elara-none", .path = "a", .uid = -1};
    assert_int_equal(home_mounted_prepare(&gone, &err), -1);
    assert_non_null(strstr(err.text, "/tmp/elara-none (home-directory) cannot be entered"));
}

static void a_root_gateway_gives_homes_to_their_users(void **state) {
    struct stat status;
    struct error err;
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(prepare("given", 0, 1001, NULL), 0);
    assert_int_equal(stat(path_of("given"), &status), 0);
    assert_int_equal(status.st_uid, 1001);
    assert_int_equal(status.st_gid, 1001);
    assert_int_equal(prepare("given", 0, 1001, NULL), 0);
    assert_int_equal(prepare("given", 0, 1002, &err), -1);
    assert_non_null(strstr(err.text, "belongs to uid 1001, not to uid 1002"));
    assert_non_null(strstr(err.text, "home-uids"));
    assert_int_equal(prepare("given", 0, -1, NULL), 0);
}

/* As a gateway of nobody's. */
static void check_as_nobody(void) {
    struct stat status;
    if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
        _exit(2);
    expect_refusal("of-root", 0, "belongs to uid 0, not to uid 65534");
    expect_refusal("locked", 0, "with the mode 0500 and cannot be written by uid 65534");
    expect_refusal("closed/ann", 1, "uid 65534, as which the gateway runs, may not make");
    if (prepare("open/ann", 1, -1, NULL) < 0 || stat(path_of("open/ann"), &status) < 0 ||
        status.st_uid != NOBODY)
        _exit(3);
    _exit(0);
}

static void without_root_homes_are_the_gateways_own(void **state) {
    int status;
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(top, 0755), 0);
    assert_int_equal(mkdir(path_of("of-root"), 0777), 0);
    assert_int_equal(mkdir(path_of("locked"), 0500), 0);
    assert_int_equal(chown(path_of("locked"), NOBODY, NOBODY), 0);
    assert_int_equal(mkdir(path_of("closed"), 0755), 0);
    assert_int_equal(mkdir(path_of("open"), 0755), 0);
    assert_int_equal(chown(path_of("open"), NOBODY, NOBODY), 0);
    pid_t pid = fork();
    if (pid == 0)
        check_as_nobody();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* From now on the kernel answers that call with the error. */
static void answer(unsigned call, unsigned error) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(2);
}

static void what_the_disk_refuses_is_named(void **state) {
    static const struct {
        unsigned call, error;
        const char *words;
    } rows[] = {
        {SYS_mkdirat, ENOSPC, "there is no space left to make /"},
        {SYS_mkdirat, EDQUOT, "the quota has no room to make /"},
        {SYS_mkdirat, EROFS, "/full cannot be made: it is mounted read-only"},
        {SYS_mkdirat, EIO, "/full cannot be made: Input/output error"},
        {SYS_faccessat2, EROFS, "/full is mounted read-only"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            answer(rows[i].call, rows[i].error);
            expect_refusal("full", 0, rows[i].words);
            _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

static int make_top(void **state) {
    (void)state;
    return mkdtemp(top) != NULL ? 0 : -1;
}

static int remove_top(void **state) {
    (void)state;
    return file_remove_tree(top, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_missing_is_made),
        cmocka_unit_test(what_is_in_the_way_is_named),
        cmocka_unit_test(a_root_gateway_gives_homes_to_their_users),
        cmocka_unit_test(without_root_homes_are_the_gateways_own),
        cmocka_unit_test(what_the_disk_refuses_is_named),
    };
    return cmocka_run_group_tests(tests, make_top, remove_top);
}
