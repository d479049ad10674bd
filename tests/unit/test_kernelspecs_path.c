#include "kernelspecs/search_path.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SYSTEM "/usr/local/share/jupyter/kernels", "/usr/share/jupyter/kernels"

/* The expectations were taken from jupyter_core 5.9 with a Python of that environment; a directory
 * that comes up twice is left out the second time. /no/... does not exist, so that it is nobody's
 * and an environment is not preferred for being ours. */
static const struct {
    const char *environment[6];
    const char *expected[9];
} rows[] = {
    {{"HOME=/no/h"}, {"/no/h/.local/share/jupyter/kernels", SYSTEM, "/no/h/.ipython/kernels"}},
    {{"HOME=/no/h", "JUPYTER_PATH=/a/:/b::/a"},
     {"/a/kernels", "/b/kernels", "/no/h/.local/share/jupyter/kernels", SYSTEM,
      "/no/h/.ipython/kernels"}},
    {{"HOME=/no/h", "JUPYTER_PATH=", "JUPYTER_DATA_DIR="},
     {"/no/h/.local/share/jupyter/kernels", SYSTEM, "/no/h/.ipython/kernels"}},
    {{"HOME=/no/h", "XDG_DATA_HOME=/x"},
     {"/x/jupyter/kernels", "/no/h/.local/share/jupyter/kernels", SYSTEM,
      "/no/h/.ipython/kernels"}},
    {{"HOME=/no/h", "XDG_DATA_HOME=/x", "PYTHONNOUSERSITE=1"},
     {"/x/jupyter/kernels", SYSTEM, "/no/h/.ipython/kernels"}},
    {{"HOME=/no/h", "XDG_DATA_HOME=/x", "PYTHONUSERBASE=/u"},
     {"/x/jupyter/kernels", "/u/share/jupyter/kernels", SYSTEM, "/no/h/.ipython/kernels"}},
    {{"HOME=/no/h", "JUPYTER_DATA_DIR=/d", "XDG_DATA_HOME=/x", "PYTHONNOUSERSITE=1",
      "IPYTHONDIR=/i"},
     {"/d/kernels", SYSTEM, "/i/kernels"}},
    {{"HOME=/no/h", "VIRTUAL_ENV=/no/v/"},
     {"/no/h/.local/share/jupyter/kernels", "/no/v/share/jupyter/kernels", SYSTEM,
      "/no/h/.ipython/kernels"}},
    {{"HOME=/no/h", "VIRTUAL_ENV=/no/v", "JUPYTER_PREFER_ENV_PATH=1", "CONDA_PREFIX=/no/c"},
     {"/no/v/share/jupyter/kernels", "/no/h/.local/share/jupyter/kernels", SYSTEM,
      "/no/h/.ipython/kernels"}},
    {{"HOME=/no/h", "VIRTUAL_ENV=/no/v", "JUPYTER_PREFER_ENV_PATH="},
     {"/no/v/share/jupyter/kernels", "/no/h/.local/share/jupyter/kernels", SYSTEM,
      "/no/h/.ipython/kernels"}},
    {{"HOME=/no/h", "VIRTUAL_ENV=/no/v", "JUPYTER_PREFER_ENV_PATH=Off"},
     {"/no/h/.local/share/jupyter/kernels", "/no/v/share/jupyter/kernels", SYSTEM,
      "/no/h/.ipython/kernels"}},
    {{"HOME=/no/h", "CONDA_PREFIX=/no/c"},
     {"/no/h/.local/share/jupyter/kernels", "/no/c/share/jupyter/kernels", SYSTEM,
      "/no/h/.ipython/kernels"}},
    {{"HOME=/no/h", "CONDA_PREFIX=/usr"},
     {"/no/h/.local/share/jupyter/kernels", SYSTEM, "/no/h/.ipython/kernels"}},
    {{"HOME=/no/h", "JUPYTER_PLATFORM_DIRS=1", "XDG_DATA_DIRS=/o/share:/p"},
     {"/no/h/.local/share/jupyter/kernels", "/o/share/jupyter/kernels", "/p/jupyter/kernels",
      "/no/h/.ipython/kernels"}},
    {{"HOME=/no/h", "XDG_DATA_DIRS=/o/share:/p"},
     {"/no/h/.local/share/jupyter/kernels", SYSTEM, "/no/h/.ipython/kernels"}},
};

static char **path_of(const char *const *environment) {
    char *copy[8] = {0};
    for (size_t i = 0; environment[i] != NULL; i++)
        copy[i] = strdup(environment[i]);
    char **path = search_path_create(copy);
    for (size_t i = 0; copy[i] != NULL; i++)
        free(copy[i]);
    return path;
}

static void path_follows_jupyter_core(void **state) {
    (void)state;
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        char **path = path_of(rows[row].environment);
        size_t i = 0;
        for (; rows[row].expected[i] != NULL; i++) {
            if (path[i] == NULL || strcmp(path[i], rows[row].expected[i]) != 0)
                print_error("row %zu, entry %zu\n", row, i);
            assert_non_null(path[i]);
            assert_string_equal(path[i], rows[row].expected[i]);
        }
        assert_null(path[i]);
        search_path_free(path);
    }
}

static void own_environments_come_first(void **state) {
    (void)state;
    char mine[] = "/tmp/elara-path-XXXXXX";
    char virtualenv[128];
    char conda[128];
    assert_non_null(mkdtemp(mine));
    snprintf(virtualenv, sizeof virtualenv, "VIRTUAL_ENV=%s", mine);
    snprintf(conda, sizeof conda, "CONDA_PREFIX=%s", mine);
    const char *const cases[][6] = {
        {"HOME=/no/h", virtualenv, NULL},
        {"HOME=/no/h", conda, "CONDA_DEFAULT_ENV=work", NULL},
        {"HOME=/no/h", conda, "CONDA_DEFAULT_ENV=base", NULL},
        {"HOME=/no/h", virtualenv, "JUPYTER_PREFER_ENV_PATH=no", NULL},
    };
    const bool is_first[] = {true, true, false, false};
    for (size_t i = 0; i < 4; i++) {
        char **path = path_of(cases[i]);
        assert_int_equal(strncmp(path[0], mine, strlen(mine)) == 0, is_first[i]);
        assert_int_equal(strncmp(path[1], mine, strlen(mine)) == 0, !is_first[i]);
        search_path_free(path);
    }
    rmdir(mine);
}

static void named_directories_are_made_absolute(void **state) {
    (void)state;
    char one[] = "/a/b//";
    char other[] = "relative/x";
    char empty[] = "";
    char root[] = "/";
    char dot[] = ".";
    char dotted[] = "./relative/x";
    char *named[] = {one, empty, other, one, root, dot, dotted, NULL};
    char expected[PATH_MAX + 16];
    char here[PATH_MAX];
    assert_non_null(getcwd(here, sizeof here));
    snprintf(expected, sizeof expected, "%s/relative/x", here);
    char **path = search_path_copy(named);
    assert_string_equal(path[0], "/a/b");
    assert_string_equal(path[1], expected);
    assert_string_equal(path[2], "/");
    assert_string_equal(path[3], here);
    assert_null(path[4]);
    search_path_free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(path_follows_jupyter_core),
        cmocka_unit_test(own_environments_come_first),
        cmocka_unit_test(named_directories_are_made_absolute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
