/* What a kernel process prints: kept within the cap, the end always there, clean for people and
 * JSON. */
#include "launcher/kernel_output.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "launcher/log_tail.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct place {
    char directory[32];
    char path[64];
    int fds[2];
};

static int make_place(void **state) {
    struct place *place = memory_alloc(sizeof *place);
    strcpy(place->directory, "/tmp/elara-test-XXXXXX");
    *state = place;
    if (mkdtemp(place->directory) == NULL || pipe2(place->fds, O_NONBLOCK | O_CLOEXEC) < 0)
        return -1;
    snprintf(place->path, sizeof place->path, "%s/kernel.log", place->directory);
    return 0;
}

static int remove_place(void **state) {
    struct place *place = *state;
    close(place->fds[0]);
    if (place->fds[1] >= 0)
        close(place->fds[1]);
    int rc = file_remove_tree(place->directory, NULL);
    free(place);
    return rc;
}

static void print(struct place *place, struct kernel_output *output, const char *text) {
    assert_int_equal(write(place->fds[1], text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(kernel_output_read(output, place->fds[0]), 0);
}

static void test_tail(void **state) {
    struct place *place = *state;
    struct kernel_output *output = kernel_output_create(place->path, 1 << 20);
    cleanup_free char *empty = kernel_output_tail(output);
    assert_string_equal(empty, "");
    print(place, output, "one\ntwo\xFF\x07\n\n");
    cleanup_free char *tail = kernel_output_tail(output);
    assert_string_equal(tail, "one\ntwo?");
    kernel_output_begin(output);
    print(place, output, "three\n");
    cleanup_free char *later = kernel_output_tail(output);
    assert_string_equal(later, "three");
    cleanup_free char *log = log_tail_read(place->path, 1000, 0);
    assert_string_equal(log, "one\ntwo?\n\nthree");
    close(place->fds[1]);
    place->fds[1] = -1;
    assert_int_equal(kernel_output_read(output, place->fds[0]), -1);
    kernel_output_destroy(output);
    kernel_output_destroy(NULL);
}

static void test_many_lines(void **state) {
    struct place *place = *state;
    struct kernel_output *output = kernel_output_create(place->path, 1 << 20);
    for (int i = 0; i < 1000; i++) {
        cleanup_free char *line = memory_printf("line %d\n", i);
        print(place, output, line);
    }
    cleanup_free char *tail = kernel_output_tail(output);
    assert_true(strncmp(tail, "line 980\n", 9) == 0);
    assert_string_equal(tail + strlen(tail) - 8, "line 999");
    kernel_output_destroy(output);
}

static void test_cap(void **state) {
    struct place *place = *state;
    struct stat found;
    cleanup_free char *old_path = memory_printf("%s.1", place->path);
    struct kernel_output *output = kernel_output_create(place->path, 1000);
    for (int i = 0; i < 500; i++) {
        cleanup_free char *line = memory_printf("%08d\n", i);
        print(place, output, line);
    }
    off_t total = 0;
    assert_int_equal(stat(place->path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    total += found.st_size;
    assert_int_equal(stat(old_path, &found), 0);
    total += found.st_size;
    assert_true(total <= 1000 && total >= 500);
    cleanup_free char *log = log_tail_read(place->path, 400, 0); /* over both files */
    assert_true(strlen(log) > 380);
    assert_string_equal(log + strlen(log) - 17, "00000498\n00000499");
    assert_int_equal(log[8], '\n'); /* the cut first line was left out */
    kernel_output_destroy(output);
}

static void test_one_long_write(void **state) {
    struct place *place = *state;
    struct stat found;
    char *text = memory_alloc(60001);
    memset(text, 'x', 60000);
    struct kernel_output *output = kernel_output_create(place->path, 1000);
    print(place, output, text);
    assert_int_equal(stat(place->path, &found), 0);
    assert_true(found.st_size <= 500);
    cleanup_free char *tail = kernel_output_tail(output);
    assert_int_equal(strlen(tail), KERNEL_OUTPUT_TAIL_BYTES);
    kernel_output_destroy(output);
    free(text);
}

static void test_no_file(void **state) {
    struct place *place = *state;
    cleanup_free char *path = memory_printf("%s/none/kernel.log", place->directory);
    struct kernel_output *output = kernel_output_create(path, 1000);
    print(place, output, "still here\n");
    cleanup_free char *tail = kernel_output_tail(output);
    assert_string_equal(tail, "still here");
    cleanup_free char *log = log_tail_read(path, 1000, 5);
    assert_string_equal(log, "");
    kernel_output_destroy(output);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tail, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_many_lines, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_cap, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_one_long_write, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_no_file, make_place, remove_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
