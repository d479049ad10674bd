#include "base/file.h"

#include "base/cleanup.h"
#include "base/memory.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* Each test has an empty directory of its own as its state. */
static int make_place(void **state) {
    char *place = memory_strdup("/tmp/elara-file-XXXXXX");
    *state = mkdtemp(place);
    return *state == NULL ? -1 : 0;
}

static int remove_place(void **state) {
    struct error err;
    int failed = file_remove_tree(*state, &err);
    free(*state);
    return failed;
}

static char *in(void *const *state, const char *name) {
    return memory_printf("%s/%s", (const char *)*state, name);
}

static mode_t mode_of(const char *path) {
    struct stat found;
    assert_int_equal(lstat(path, &found), 0);
    return found.st_mode & 07777;
}

static void reads_what_it_wrote(void **state) {
    cleanup_free char *path = in(state, "x");
    struct error err = {0};
    assert_int_equal(file_write(path, "a\0b", 3, 0600, &err), 0);
    assert_int_equal(file_write(path, "c\0de", 4, 0640, &err), 0);
    assert_int_equal(mode_of(path), 0640);
    cleanup_buffer struct buffer got = {0};
    assert_int_equal(file_read(path, 4, &got, &err), 0);
    assert_int_equal(got.length, 4);
    assert_memory_equal(got.data, "c\0de", 4);
    cleanup_free char *gone = in(state, "gone/x");
    assert_int_equal(file_write(gone, "x", 1, 0600, &err), -1);
    assert_int_equal(err.code, ERROR_SYSTEM);
    /* No temporary file is left behind. */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(*state), 0);
    assert_int_equal(mkdir(*state, 0700), 0);
}

static void says_what_is_missing_or_too_large(void **state) {
    cleanup_free char *path = in(state, "x");
    struct error err = {0};
    cleanup_buffer struct buffer got = {.limit = 1 << 20};
    assert_int_equal(file_read(path, 10, &got, &err), -1);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(err.text, path));
    file_write(path, "0123456789", 10, 0600, &err);
    assert_int_equal(file_read(path, 10, &got, &err), 0);
    buffer_clear(&got);
    assert_int_equal(file_read(path, 9, &got, &err), -1);
    assert_int_equal(err.code, ERROR_LIMIT);
    buffer_clear(&got);
    assert_int_equal(file_read(*state, 9, &got, &err), -1); /* a directory */
    assert_int_equal(err.code, ERROR_SYSTEM);
}

static void reads_json_with_line_and_column(void **state) {
    cleanup_free char *path = in(state, "x.json");
    struct error err = {0};
    cleanup_json json_t *wrote = json_pack("{s:i, s:[s]}", "a", 1, "b", "c");
    assert_int_equal(file_write_json(path, wrote, 0600, &err), 0);
    assert_int_equal(mode_of(path), 0600);
    cleanup_json json_t *got = NULL;
    assert_int_equal(file_read_json(path, 1000, &got, &err), 0);
    assert_true(json_equal(wrote, got));
    static const char *const broken[][2] = {
        {"{\n  \"a\": ,\n}", ":2:"},
        {"{\"a\": 1, \"a\": 2}", "duplicate"},
        {"", ":1:"},
        {"{} x", ":1:"},
        {"{\"a\": \"\xFF\"}", "0xff"},
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        json_t *none = NULL;
        file_write(path, broken[i][0], strlen(broken[i][0]), 0600, &err);
        assert_int_equal(file_read_json(path, 1000, &none, &err), -1);
        assert_null(none);
        assert_int_equal(err.code, ERROR_INVALID);
        assert_non_null(strstr(err.text, path));
        if (strstr(err.text, broken[i][1]) == NULL)
            fail_msg("%s lacks %s", err.text, broken[i][1]);
    }
    file_write(path, "\"0123456789\"", 12, 0600, &err);
    assert_int_equal(file_read_json(path, 11, &got, &err), -1);
    assert_int_equal(err.code, ERROR_LIMIT);
}

static void makes_private_directories(void **state) {
    cleanup_free char *path = in(state, "a/b/c");
    cleanup_free char *parent = in(state, "a/b");
    struct error err = {0};
    mode_t before = umask(022);
    assert_int_equal(file_make_private_directory(path, &err), 0);
    umask(before);
    assert_int_equal(mode_of(path), 0700);
    assert_int_equal(mode_of(parent), 0755);
    assert_int_equal(file_make_private_directory(path, &err), 0); /* it is there already */
    chmod(path, 0750);
    assert_int_equal(file_make_private_directory(path, &err), -1);
    assert_int_equal(err.code, ERROR_DENIED);
    assert_non_null(strstr(err.text, "chmod 700"));
    rmdir(path);
    assert_int_equal(symlink(parent, path), 0); /* somebody else's link in a shared /tmp */
    assert_int_equal(file_make_private_directory(path, &err), -1);
    assert_int_equal(err.code, ERROR_DENIED);
    unlink(path);
    file_write(path, "", 0, 0600, &err);
    assert_int_equal(file_make_private_directory(path, &err), -1);
    assert_int_equal(err.code, ERROR_DENIED);
}

static void makes_directories_to_pass_through(void **state) {
    cleanup_free char *path = in(state, "a/passage");
    struct error err = {0};
    assert_int_equal(file_make_passage_directory(path, &err), 0);
    assert_int_equal(mode_of(path), 0711);
    assert_int_equal(file_make_private_directory(path, &err), -1);
    chmod(path, 0700);
    assert_int_equal(file_make_passage_directory(path, &err), 0);
    assert_int_equal(mode_of(path), 0711);
    chmod(path, 0755); /* others see what is there, and may have seen it before */
    assert_int_equal(file_make_passage_directory(path, &err), -1);
    assert_int_equal(err.code, ERROR_DENIED);
    chmod(path, 0731);
    assert_int_equal(file_make_passage_directory(path, &err), -1);
}

static void removes_trees_but_not_what_links_name(void **state) {
    cleanup_free char *tree = in(state, "tree");
    cleanup_free char *deep = in(state, "tree/a/b");
    cleanup_free char *link = in(state, "tree/a/link");
    cleanup_free char *kept = in(state, "kept");
    cleanup_free char *file = in(state, "kept/file");
    struct error err = {0};
    assert_int_equal(file_make_private_directory(deep, &err), 0);
    assert_int_equal(file_make_private_directory(kept, &err), 0);
    assert_int_equal(file_write(file, "x", 1, 0600, &err), 0);
    assert_int_equal(symlink(kept, link), 0);
    assert_int_equal(file_remove_tree(tree, &err), 0);
    assert_int_equal(access(tree, F_OK), -1);
    assert_int_equal(access(file, F_OK), 0);
    assert_int_equal(file_remove_tree(tree, &err), 0); /* a missing one is success */
    assert_int_equal(file_remove_tree(file, &err), 0);
    assert_int_equal(access(file, F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, remove_place)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(reads_what_it_wrote),
        TEST(says_what_is_missing_or_too_large),
        TEST(reads_json_with_line_and_column),
        TEST(makes_private_directories),
        TEST(makes_directories_to_pass_through),
        TEST(removes_trees_but_not_what_links_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
