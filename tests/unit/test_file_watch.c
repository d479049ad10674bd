/* Files that change: by hand, by rename, by a ConfigMap's symlink swap. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "gateway/file_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

enum { GUARD_MS = 10000, QUIET_MS = 700 };

struct fixture {
    struct loop *loop;
    struct file_watch *watch;
    struct loop_deadline guard;
    char directory[64];
    int changes;
};

static char *below(const struct fixture *fixture, const char *name) {
    return memory_printf("%s/%s", fixture->directory, name);
}

static void put(const struct fixture *fixture, const char *name, const char *text) {
    cleanup_free char *path = below(fixture, name);
    assert_int_equal(file_write(path, text, strlen(text), 0600, NULL), 0);
}

static void on_changed(void *context) {
    struct fixture *fixture = context;
    fixture->changes++;
    loop_stop(fixture->loop);
}

static void on_guard(void *context) {
    struct fixture *fixture = context;
    loop_stop(fixture->loop);
}

static int setup(void **state) {
    struct fixture *fixture = memory_alloc(sizeof *fixture);
    strcpy(fixture->directory, "/tmp/elara-test-watch-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    fixture->loop = loop_create();
    fixture->guard = (struct loop_deadline){.run = on_guard, .context = fixture};
    *state = fixture;
    return 0;
}

static int teardown(void **state) {
    struct fixture *fixture = *state;
    file_watch_destroy(fixture->watch);
    loop_deadline_clear(fixture->loop, &fixture->guard);
    loop_destroy(fixture->loop);
    file_remove_tree(fixture->directory, NULL);
    free(fixture);
    return 0;
}

static void watch(struct fixture *fixture, const char *name) {
    cleanup_free char *path = below(fixture, name);
    assert_int_equal(
        file_watch_create(fixture->loop, path, on_changed, fixture, &fixture->watch, NULL), 0);
}

/* How many changes were told until one was, or the time was over. The loop runs once only. */
static int wait_for(struct fixture *fixture, int ms) {
    loop_deadline_set(fixture->loop, &fixture->guard, ms);
    loop_run(fixture->loop);
    return fixture->changes;
}

static void test_replaced_file(void **state) {
    struct fixture *fixture = *state;
    put(fixture, "tokens", "one");
    watch(fixture, "tokens");
    put(fixture, "tokens", "two"); /* a temporary file and a rename, as editors do */
    assert_int_equal(wait_for(fixture, GUARD_MS), 1);
}

static void test_file_that_was_not_there(void **state) {
    struct fixture *fixture = *state;
    watch(fixture, "tokens");
    put(fixture, "tokens", "one");
    assert_int_equal(wait_for(fixture, GUARD_MS), 1);
}

static void test_symlink_swap(void **state) {
    struct fixture *fixture = *state;
    cleanup_free char *first = below(fixture, "..1"), *second = below(fixture, "..2");
    cleanup_free char *data = below(fixture, "..data"), *fresh = below(fixture, "..tmp");
    cleanup_free char *link = below(fixture, "tokens");
    assert_int_equal(mkdir(first, 0700) | mkdir(second, 0700), 0);
    put(fixture, "..1/tokens", "one");
    put(fixture, "..2/tokens", "two");
    assert_int_equal(symlink("..1", data) | symlink("..data/tokens", link), 0);
    watch(fixture, "tokens");
    assert_int_equal(symlink("..2", fresh) | rename(fresh, data), 0);
    assert_int_equal(wait_for(fixture, GUARD_MS), 1);
}

static void test_file_that_a_symlink_names_elsewhere(void **state) {
    struct fixture *fixture = *state;
    cleanup_free char *directory = below(fixture, "elsewhere"), *link = below(fixture, "tokens");
    assert_int_equal(mkdir(directory, 0700), 0);
    put(fixture, "elsewhere/real", "one");
    assert_int_equal(symlink("elsewhere/real", link), 0);
    watch(fixture, "tokens");
    put(fixture, "elsewhere/real", "two");
    assert_int_equal(wait_for(fixture, GUARD_MS), 1);
}

static void test_neighbours_and_loss_are_no_change(void **state) {
    struct fixture *fixture = *state;
    put(fixture, "tokens", "one");
    watch(fixture, "tokens");
    put(fixture, "other", "two");
    cleanup_free char *path = below(fixture, "tokens");
    assert_int_equal(unlink(path), 0); /* the old content counts until there is a new one */
    assert_int_equal(wait_for(fixture, QUIET_MS), 0);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_replaced_file),
        TEST(test_file_that_was_not_there),
        TEST(test_symlink_swap),
        TEST(test_file_that_a_symlink_names_elsewhere),
        TEST(test_neighbours_and_loss_are_no_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
