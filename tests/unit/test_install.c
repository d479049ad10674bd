/* The copy that an init container makes, also again and after it was broken off. */
#include "launcher/install.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct folders {
    char root[64];
    char *from, *to;
};

static void put(const char *folder, const char *name, const char *text, mode_t mode) {
    cleanup_free char *path = memory_printf("%s/%s", folder, name);
    assert_int_equal(file_write(path, text, strlen(text), mode, NULL), 0);
}

static void expect(const char *folder, const char *name, const char *text, mode_t mode) {
    cleanup_free char *path = memory_printf("%s/%s", folder, name);
    cleanup_buffer struct buffer found = {.limit = 4096};
    struct stat status;
    assert_int_equal(file_read(path, 4095, &found, NULL), 0);
    assert_string_equal(buffer_text(&found), text);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, mode);
}

static int setup(void **state) {
    struct folders *folders = memory_alloc(sizeof *folders);
    strcpy(folders->root, "/tmp/elara-install-XXXXXX");
    assert_non_null(mkdtemp(folders->root));
    folders->from = memory_printf("%s/from", folders->root);
    folders->to = memory_printf("%s/to", folders->root);
    cleanup_free char *bin = memory_printf("%s/bin", folders->from);
    cleanup_free char *lib = memory_printf("%s/lib", folders->from);
    assert_int_equal(mkdir(folders->from, 0700), 0);
    assert_int_equal(mkdir(folders->to, 0700), 0);
    assert_int_equal(mkdir(bin, 0700), 0);
    assert_int_equal(mkdir(lib, 0700), 0);
    put(folders->from, "bin/elara-launcher", "program", 0700);
    put(folders->from, "lib/libx.so.1", "library", 0600);
    put(folders->from, "lib/ld.so", "loader", 0755);
    *state = folders;
    return 0;
}

static int teardown(void **state) {
    struct folders *folders = *state;
    file_remove_tree(folders->root, NULL);
    free(folders->from);
    free(folders->to);
    free(folders);
    return 0;
}

static void test_everybody_can_use_it(void **state) {
    const struct folders *folders = *state;
    struct error err;
    mode_t before = umask(077);
    if (install_launcher(folders->from, folders->to, &err) < 0)
        fail_msg("%s", err.text);
    umask(before);
    expect(folders->to, "bin/elara-launcher", "program", 0755);
    expect(folders->to, "lib/libx.so.1", "library", 0644);
    expect(folders->to, "lib/ld.so", "loader", 0755);
    cleanup_free char *lib = memory_printf("%s/lib", folders->to);
    struct stat status;
    assert_int_equal(stat(lib, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0755);
}

/* A node that went down in between starts its init containers again. */
static void test_again(void **state) {
    const struct folders *folders = *state;
    assert_int_equal(install_launcher(folders->from, folders->to, NULL), 0);
    cleanup_free char *program = memory_printf("%s/bin/elara-launcher", folders->to);
    cleanup_close int running = open(program, O_RDONLY | O_CLOEXEC);
    put(folders->to, "bin/elara-launcher.new", "half of a prog", 0600);
    put(folders->from, "bin/elara-launcher", "newer program", 0700);
    assert_int_equal(install_launcher(folders->from, folders->to, NULL), 0);
    expect(folders->to, "bin/elara-launcher", "newer program", 0755);
    char text[16] = "";
    assert_int_equal(read(running, text, sizeof text - 1), 7);
    assert_string_equal(text, "program"); /* replaced, not written over */
    assert_int_equal(access(program, X_OK), 0);
    cleanup_free char *left = memory_printf("%s/bin/elara-launcher.new", folders->to);
    assert_int_equal(access(left, F_OK), -1);
}

static void refuse(const char *from, const char *to, const char *text) {
    struct error err = {0};
    assert_int_equal(install_launcher(from, to, &err), -1);
    if (strstr(err.text, text) == NULL)
        fail_msg("'%s' does not say '%s'", err.text, text);
}

static void test_what_is_missing_is_named(void **state) {
    const struct folders *folders = *state;
    refuse("/no/such/place", folders->to, "/no/such/place/lib: No such file");
    refuse(NULL, folders->to,
           "/../lib/elara/pod/lib: No such file"); /* a test has none beside it */
    refuse(folders->from, "/proc", "/proc/lib: ");
    cleanup_free char *program = memory_printf("%s/bin/elara-launcher", folders->from);
    assert_int_equal(unlink(program), 0);
    refuse(folders->from, folders->to, "/bin is empty");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_everybody_can_use_it),
        TEST(test_again),
        TEST(test_what_is_missing_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
