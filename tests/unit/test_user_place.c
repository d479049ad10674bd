/* Removing what a user has put into his kernel's place. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "launcher/user_place.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    char directory[64], place[80], kept[80];
};

static void make_file(int at, const char *name) {
    cleanup_close int fd = openat(at, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
}

static int setup(void **state) {
    struct world *world = memory_alloc(sizeof *world);
    log_set_level(LOG_ERROR);
    strcpy(world->directory, "/tmp/elara-test-place-XXXXXX");
    if (mkdtemp(world->directory) == NULL)
        return -1;
    snprintf(world->place, sizeof world->place, "%s/place", world->directory);
    snprintf(world->kept, sizeof world->kept, "%s/kept", world->directory);
    *state = world;
    return user_place_make(world->place, geteuid(), getegid(), NULL) == 0 &&
                   mkdir(world->kept, 0700) == 0
               ? 0
               : -1;
}

static int teardown(void **state) {
    struct world *world = *state;
    file_remove_tree(world->directory, NULL);
    free(world);
    return 0;
}

/* Directories in each other, each with a file; path is where the first one is to be. */
static void make_nest(const char *path, int depth) {
    int at = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < depth; i++) {
        make_file(at, "file");
        assert_int_equal(mkdirat(at, "deeper", 0700), 0);
        int next = openat(at, "deeper", O_PATH | O_DIRECTORY | O_CLOEXEC);
        close(at);
        at = next;
    }
    close(at);
}

static void test_nested_directories_go(void **state) {
    const struct world *world = *state;
    make_nest(world->place, 10);
    assert_true(user_place_remove(world->place));
    assert_int_equal(access(world->place, F_OK), -1);
    assert_true(user_place_remove(world->place));
}

/* Deeper, and more, than one pass may do. */
static void test_what_is_too_much_goes_in_the_end(void **state) {
    const struct world *world = *state;
    int passes = 1;
    make_nest(world->place, 600);
    for (; !user_place_remove(world->place); passes++)
        assert_true(passes < 100);
    assert_true(passes > 1);
    assert_int_equal(access(world->place, F_OK), -1);
}

static void test_no_link_is_followed(void **state) {
    const struct world *world = *state;
    cleanup_free char *in_the_way = memory_printf("%s/deeper/link", world->place);
    cleanup_close int kept = open(world->kept, O_PATH | O_CLOEXEC);
    make_nest(world->place, 2);
    make_file(kept, "file");
    assert_int_equal(symlink(world->kept, in_the_way), 0);
    assert_true(user_place_remove(world->place));
    assert_int_equal(symlink(world->kept, world->place), 0);
    assert_false(user_place_remove(world->place));
    assert_int_equal(faccessat(kept, "file", F_OK, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nested_directories_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_too_much_goes_in_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_link_is_followed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
