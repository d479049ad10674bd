/* What a gateway that has locked itself in can no longer do, and what its spawner can: asked of the
 * real system, in processes of their own. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "gateway/confine.h"
#include "launcher/spawner.h"
#include "launcher/spawner_request.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
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

struct place {
    char outside[64], inside[96];
};

static int setup(void **state) {
    struct place *place = memory_alloc(sizeof *place);
    strcpy(place->outside, "/tmp/elara-test-confine-XXXXXX");
    log_set_level(LOG_ERROR);
    if (mkdtemp(place->outside) == NULL)
        return -1;
    snprintf(place->inside, sizeof place->inside, "%s/run/deep", place->outside);
    *state = place;
    return 0;
}

static int teardown(void **state) {
    struct place *place = *state;
    file_remove_tree(place->outside, NULL);
    free(place);
    return 0;
}

/* 0, or the errno of making a file there. */
static int make_file(const char *directory, const char *name) {
    cleanup_free char *path = memory_printf("%s/%s", directory, name);
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 ? errno : 0;
}

/* The test's process stays as it is: what is done comes back as an exit status, 0 for all well. */
static int in_child(int (*run)(const struct place *place), const struct place *place) {
    pid_t pid = fork();
    if (pid == 0)
        _exit(run(place));
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #what, errno);           \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

static int write_around(const struct place *place) {
    cleanup_free char *log = memory_printf("%s/logs/events", place->outside);
    cleanup_free char *logs = memory_printf("%s/logs", place->outside);
    cleanup_free char *from = memory_printf("%s/a", place->inside);
    cleanup_free char *to = memory_printf("%s/b/a", place->inside);
    cleanup_free char *into = memory_printf("%s/b", place->inside);
    static char program[] = "/bin/true";
    char *const argv[] = {program, NULL};
    CHECK(mkdir(logs, 0700) == 0);
    CHECK(confine(place->inside, log, NULL) == 0);
    CHECK(make_file(place->outside, "new") == EACCES);
    CHECK(make_file(place->inside, "new") == 0);
    CHECK(make_file(logs, "events.1") == 0);
    CHECK(open("/dev/null", O_WRONLY | O_CLOEXEC) >= 0);
    CHECK(mkdir(from, 0700) == 0 && mkdir(into, 0700) == 0 && rename(from, to) == 0);
    CHECK(unlink(place->outside) < 0 && rmdir(logs) < 0 && errno == EACCES);
    CHECK(access("/etc/passwd", R_OK) == 0 && open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0);
    CHECK(execv(program, argv) < 0 && errno == EACCES);
    return 0;
}

static int cut_files(const struct place *place) {
    cleanup_free char *outside = memory_printf("%s/outside", place->outside);
    cleanup_free char *inside = memory_printf("%s/inside", place->inside);
    CHECK(make_file(place->outside, "outside") == 0);
    CHECK(confine(place->inside, NULL, NULL) == 0);
    CHECK(truncate(outside, 0) < 0 && errno == EACCES);
    CHECK(make_file(place->inside, "inside") == 0 && truncate(inside, 0) == 0);
    return 0;
}

static void test_it_cuts_no_file_elsewhere(void **state) {
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 3)
        skip(); /* this machine's Linux is older than 6.2 */
    assert_int_equal(in_child(cut_files, *state), 0);
}

static void test_it_writes_in_its_places_only(void **state) {
    assert_int_equal(in_child(write_around, *state), 0);
}

/* As a pod's volume is. */
static int write_in_an_open_directory(const struct place *place) {
    CHECK(file_make_private_directory(place->inside, NULL) == 0);
    CHECK(chmod(place->inside, 0777) == 0);
    CHECK(confine(place->inside, NULL, NULL) == 0);
    CHECK(make_file(place->inside, "new") == 0);
    CHECK(make_file(place->outside, "new") == EACCES);
    return 0;
}

static void test_a_directory_that_is_open_to_others_is_a_place_too(void **state) {
    assert_int_equal(in_child(write_in_an_open_directory, *state), 0);
}

static int ask_flags(const struct place *place) {
    CHECK(confine(place->inside, NULL, NULL) == 0);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    return 0;
}

static void test_no_privileges(void **state) {
    assert_int_equal(in_child(ask_flags, *state), 0);
}

static int spawn_from_inside(const struct place *place) {
    struct spawner *spawner;
    pid_t pid;
    int status, ends[2];
    char text[512] = "";
    static char shell[] = "/bin/sh", flag[] = "-c", limit[] = "WHO=kernel";
    static char script[] = "grep NoNewPrivs /proc/self/status >&3; echo $WHO >&3; : >new; exit 7";
    char *const argv[] = {shell, flag, script, NULL}, *const environment[] = {limit, NULL};
    CHECK(chdir(place->outside) == 0 && pipe(ends) == 0);
    CHECK(spawner_create(&spawner, NULL) == 0 && spawner_name_launcher(spawner, shell) == 0);
    CHECK(confine(place->inside, NULL, NULL) == 0);
    const struct spawner_plan plan = {
        .argv = argv, .environment = environment, .fds = &ends[1], .fd_count = 1, .output_fd = -1};
    CHECK(spawner_spawn(spawner, &plan, &pid) == 0);
    close(ends[1]);
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
    CHECK(read(ends[0], text, sizeof text - 1) > 0);
    CHECK(strcmp(text, "NoNewPrivs:\t0\nkernel\n") == 0);
    CHECK(access("new", F_OK) == 0);
    spawner_destroy(spawner);
    return 0;
}

static void test_what_is_spawned_is_free_and_ours_to_wait_for(void **state) {
    assert_int_equal(in_child(spawn_from_inside, *state), 0);
}

static int spawn_what_is_not_there(const struct place *place) {
    (void)place;
    struct spawner *spawner;
    pid_t pid;
    static char none[] = "/no/such/program";
    char *const argv[] = {none, NULL}, *const environment[] = {NULL};
    const struct spawner_plan plan = {.argv = argv, .environment = environment, .output_fd = -1};
    CHECK(spawner_create(&spawner, NULL) == 0 && spawner_name_launcher(spawner, none) == 0);
    CHECK(spawner_spawn(spawner, &plan, &pid) == ENOENT);
    CHECK(waitpid(-1, NULL, WNOHANG) == 0); /* the spawner alone */
    spawner_destroy(spawner);
    CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
    return 0;
}

static void test_what_cannot_be_spawned_is_told(void **state) {
    assert_int_equal(in_child(spawn_what_is_not_there, *state), 0);
}

/* As who has taken the gateway over might. */
static int spawn_what_nobody_named(const struct place *place) {
    (void)place;
    struct spawner *spawner;
    pid_t pid;
    static char program[] = "/bin/true";
    char *const argv[] = {program, NULL}, *const environment[] = {NULL}, *const empty[] = {NULL};
    struct spawner_plan plan = {.argv = argv, .environment = environment, .output_fd = -1};
    CHECK(spawner_create(&spawner, NULL) == 0);
    CHECK(spawner_spawn(spawner, &plan, &pid) == EPERM);
    CHECK(spawner_name_launcher(spawner, "/bin/false") == 0);
    CHECK(spawner_name_launcher(spawner, program) == EPERM);
    int status = -1;
    CHECK(spawner_spawn(spawner, &plan, &pid) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 1); /* /bin/false */
    plan.argv = empty;
    CHECK(spawner_spawn(spawner, &plan, &pid) == EBADMSG);
    CHECK(spawner_name_launcher(spawner, "/bin/false") == 0); /* it goes on */
    spawner_destroy(spawner);
    return 0;
}

static void test_no_program_but_the_launcher_is_spawned(void **state) {
    assert_int_equal(in_child(spawn_what_nobody_named, *state), 0);
}

static bool are_texts(const char *body, size_t size, uint32_t arguments, uint32_t variables) {
    cleanup_free char *copy = memory_alloc(size + 1);
    memcpy(copy, body, size);
    const struct spawner_head head = {
        .body_size = (uint32_t)size, .argument_count = arguments, .environment_count = variables};
    cleanup_free char **texts = spawner_request_texts(&head, copy);
    return texts != NULL && texts[arguments] == NULL && texts[arguments + variables + 1] == NULL;
}

static void test_counts_beyond_a_request_are_refused(void **state) {
    (void)state;
    static const char body[] = "a\0b\0c"; /* and its NUL */
    assert_true(are_texts(body, sizeof body, 2, 1));
    assert_true(are_texts(body, sizeof body, 3, 0));
    assert_false(are_texts(body, sizeof body, 3, 1));
    assert_false(are_texts(body, sizeof body, 2, 0));
    assert_false(are_texts(body, sizeof body, UINT32_MAX, 4));
    assert_false(are_texts(body, sizeof body, 0, 3));
    assert_false(are_texts(body, sizeof body - 1, 2, 1)); /* the last one does not end */
    assert_false(are_texts(body, 0, 1, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_it_writes_in_its_places_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_it_cuts_no_file_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_directory_that_is_open_to_others_is_a_place_too,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_privileges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_spawned_is_free_and_ours_to_wait_for, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_spawned_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_program_but_the_launcher_is_spawned, setup,
                                        teardown),
        cmocka_unit_test(test_counts_beyond_a_request_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
