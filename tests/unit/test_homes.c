/* Users' directories: their names, and where they lie. */
#include "base/cleanup.h"
#include "base/file.h"
#include "nfs/home_path.h"
#include "nfs/user_ids.h"
#include "nfs/user_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LONG_100                                                                                   \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaaa"

static void names(void **state) {
    static const struct {
        enum user_name_scheme scheme;
        const char *name, *expected; /* NULL: refused */
    } rows[] = {
        {USER_NAME_HUB, "alice", "alice"},
        {USER_NAME_HUB, "Ann.Lee@x.org", "-41nn-2e-4cee-40x-2eorg"},
        {USER_NAME_HUB, "a-b", "a-2db"},
        {USER_NAME_HUB, "\xc3\xa9", "-c3-a9"},
        {USER_NAME_HUB, "a\tb", "a-9b"},
        {USER_NAME_HUB, "..", "-2e-2e"},
        {USER_NAME_HUB, "../bob", "-2e-2e-2fbob"},
        {USER_NAME_HUB, "", NULL},
        {USER_NAME_HUB, "a\xff", NULL},
        {USER_NAME_HUB, LONG_100 LONG_100 LONG_100, NULL},
        {USER_NAME_SAFE_SLUG, "alice", "alice"},
        {USER_NAME_SAFE_SLUG, "a-b", "a-b"},
        {USER_NAME_SAFE_SLUG, "Alice", "alice---3bc51062"},
        {USER_NAME_SAFE_SLUG, "7up", "x-7up---be39b1e7"},
        {USER_NAME_SAFE_SLUG, "", NULL},
        {USER_NAME_RAW, "Ann Lee", "Ann Lee"},
        {USER_NAME_RAW, "\xc3\xa9", "\xc3\xa9"},
        {USER_NAME_RAW, "a/b", NULL},
        {USER_NAME_RAW, "..", NULL},
        {USER_NAME_RAW, ".", NULL},
        {USER_NAME_RAW, ".snapshot", NULL},
        {USER_NAME_RAW, "a\nb", NULL},
        {USER_NAME_RAW, "", NULL},
        {USER_NAME_RAW, "a\xff", NULL},
        {USER_NAME_RAW, LONG_100 LONG_100 LONG_100, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = NULL;
        struct error err = {0};
        int failed = user_name_escape(rows[i].scheme, rows[i].name, &text, &err);
        assert_int_equal(failed, rows[i].expected != NULL ? 0 : -1);
        if (rows[i].expected != NULL)
            assert_string_equal(text, rows[i].expected);
        else
            assert_int_equal(err.code, ERROR_INVALID);
        free(text);
    }
    enum user_name_scheme scheme;
    assert_int_equal(user_name_scheme_parse("safe-slug", &scheme, NULL), 0);
    assert_int_equal(scheme, USER_NAME_SAFE_SLUG);
    assert_int_equal(user_name_scheme_parse("Hub", &scheme, NULL), -1);
}

static void templates(void **state) {
    static const struct {
        const char *template, *expected;
        size_t given;
    } rows[] = {
        {"{user}", "ann", 0},
        {"staff/{user}", "staff/ann", 1},
        {"a/b/{user}", "a/b/ann", 2},
        {"a/{user}/work", NULL, 0},
        {"home-{user}", "home-ann", 0},
        {"{user}-of-{user}", "ann-of-ann", 0},
        {"a/b/c/d/e/f/g/{user}", "a/b/c/d/e/f/g/ann", 7},
        {"a/b/c/d/e/f/g/h/{user}", NULL, 0},
        {"shared", NULL, 0},
        {"", NULL, 0},
        {"/{user}", NULL, 0},
        {"{user}/", NULL, 0},
        {"a//{user}", NULL, 0},
        {"../{user}", NULL, 0},
        {"{user}/..", NULL, 0},
        {"./{user}", NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *path = NULL;
        size_t given;
        int failed = home_template_fill(rows[i].template, "ann", &path, &given, NULL);
        assert_int_equal(failed, rows[i].expected != NULL ? 0 : -1);
        if (rows[i].expected != NULL) {
            assert_string_equal(path, rows[i].expected);
            assert_int_equal(given, rows[i].given);
        }
        free(path);
    }
    char *path;
    size_t given;
    assert_int_equal(home_template_fill("a/{user}", "..", &path, &given, NULL), -1);
    assert_int_equal(home_template_fill("a/{user}", "", &path, &given, NULL), -1);
}

static void places(void **state) {
    (void)state;
    assert_int_equal(home_path_check("/export/home", 1, "home-export", NULL), 0);
    assert_int_equal(home_path_check("/", 1, "home-export", NULL), 0);
    assert_int_equal(home_path_check("export", 1, "home-export", NULL), -1);
    assert_int_equal(home_path_check("/export/../etc", 1, "home-export", NULL), -1);
    assert_int_equal(home_path_check("/export/", 1, "home-export", NULL), -1);
    assert_true(home_path_is_below("/home/jovyan", "/home/jovyan"));
    assert_true(home_path_is_below("/home/jovyan/a", "/home/jovyan/"));
    assert_false(home_path_is_below("/home/jovyan2", "/home/jovyan"));
    assert_false(home_path_is_below("/home", "/home/jovyan"));
    assert_false(home_path_is_below("/home/jovyan/../x", "/home/jovyan"));
    assert_false(home_path_is_below("/home/jovyan/..", "/home/jovyan"));
}

static void ids(void **state) {
    static const struct {
        const char *text, *expected; /* of ann; NULL: she is not in it; "!...": refused */
    } rows[] = {
        {"ann:x:1001:100:Ann:/home/ann:/bin/sh\n", "1001:100"},
        {"# users\n\nann:x:1001:100", "1001:100"},
        {"ann:x:1:1\nann:x:2:2\n", "1:1"},
        {"ann:x:0:0:::\n", NULL},
        {"ann:x:1001:0:::\n", NULL},
        {"", NULL},
        {"ann:x:1001\n", "!line 1: must be NAME:x:UID:GID"},
        {"bob:x:1:1\nann:x:-1:5\n", "!line 2: the uid"},
        {"ann:x:1001:5000000000\n", "!line 1: the gid"},
        {":x:1:1\n", "!line 1: must begin with a user's name"},
        {"an\xff:x:1:1\n", "!line 1: must begin with a user's name"},
    };
    char path[] = "/tmp/elara-passwd-XXXXXX";
    (void)state;
    close(mkstemp(path));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cleanup_json json_t *found = NULL;
        struct error err = {0};
        bool is_refused = rows[i].expected != NULL && *rows[i].expected == '!';
        assert_int_equal(file_write(path, rows[i].text, strlen(rows[i].text), 0600, NULL), 0);
        assert_int_equal(user_ids_read(path, &found, &err), is_refused ? -1 : 0);
        const char *ann = json_string_value(json_object_get(found, "ann"));
        if (is_refused)
            assert_non_null(strstr(err.text, rows[i].expected + 1));
        else if (rows[i].expected == NULL)
            assert_null(ann);
        else
            assert_string_equal(ann, rows[i].expected);
    }
    unlink(path);
    cleanup_json json_t *none = NULL;
    struct error err;
    assert_int_equal(user_ids_read(path, &none, &err), -1);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(templates),
        cmocka_unit_test(places),
        cmocka_unit_test(ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
