/* The store behind /api/sessions. */
#include "base/cleanup.h"
#include "gateway/sessions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Kernels by their first letter: "k1" is alive while alive['1'] is. */
static bool alive[256];

static bool is_alive(void *context, const char *kernel_id) {
    (void)context;
    return alive[(unsigned char)kernel_id[1]];
}

static int setup(void **state) {
    memset(alive, true, sizeof alive);
    *state = sessions_create(is_alive, NULL);
    return 0;
}

static int teardown(void **state) {
    sessions_destroy(*state);
    return 0;
}

static const struct session *add(struct sessions *sessions, const char *path, const char *owner,
                                 const char *kernel) {
    struct session fresh = {
        .path = path, .name = "name", .type = "notebook", .kernel_id = kernel, .owner = owner};
    const struct session *added = NULL;
    struct error err = {0};
    if (sessions_add(sessions, &fresh, &added, &err) < 0)
        fail_msg("%s", err.text);
    return added;
}

static void test_found_by_id_and_by_path_of_its_owner(void **state) {
    struct sessions *sessions = *state;
    const struct session *anna = add(sessions, "a.ipynb", "anna", "k1");
    const struct session *bob = add(sessions, "a.ipynb", "bob", "k2");
    assert_int_equal(strlen(anna->id), 36);
    assert_ptr_equal(sessions_find(sessions, anna->id), anna);
    assert_ptr_equal(sessions_find_path(sessions, "bob", "a.ipynb"), bob);
    assert_null(sessions_find_path(sessions, "carl", "a.ipynb"));
    assert_null(sessions_find(sessions, "nothing"));
    assert_ptr_equal(sessions_next(sessions, NULL), anna);
    assert_ptr_equal(sessions_next(sessions, anna), bob);
    assert_null(sessions_next(sessions, bob));
}

static void test_path_and_id_are_taken_once(void **state) {
    struct sessions *sessions = *state;
    const struct session *first = add(sessions, "a.ipynb", "anna", "k1");
    struct session again = *first;
    const struct session *added = NULL;
    struct error err = {0};
    again.id = NULL;
    assert_int_equal(sessions_add(sessions, &again, &added, &err), -1);
    assert_int_equal(err.code, ERROR_EXISTS);
    assert_non_null(strstr(err.text, "a.ipynb"));
    again.id = first->id;
    again.path = "b.ipynb";
    assert_int_equal(sessions_add(sessions, &again, &added, &err), -1);
    assert_int_equal(sessions_count(sessions), 1);
}

static void test_change(void **state) {
    struct sessions *sessions = *state;
    const struct session *one = add(sessions, "a.ipynb", "anna", "k1");
    add(sessions, "b.ipynb", "anna", "k2");
    add(sessions, "c.ipynb", "bob", "k3");
    struct error err = {0};
    const struct session *changed = NULL;

    struct session change = {.path = "b.ipynb"};
    assert_int_equal(sessions_change(sessions, one->id, &change, &changed, &err), -1);
    assert_int_equal(err.code, ERROR_EXISTS);
    change.path = "a.ipynb"; /* its own */
    assert_int_equal(sessions_change(sessions, one->id, &change, &changed, &err), 0);
    change.path = "c.ipynb"; /* somebody else's does not count */
    change.kernel_id = "k4";
    assert_int_equal(sessions_change(sessions, one->id, &change, &changed, &err), 0);
    assert_ptr_equal(changed, one);
    assert_string_equal(one->path, "c.ipynb");
    assert_string_equal(one->name, "name");
    assert_string_equal(one->kernel_id, "k4");
    change.name = one->name; /* the text that is there already */
    assert_int_equal(sessions_change(sessions, one->id, &change, &changed, &err), 0);
    assert_string_equal(one->name, "name");
    assert_int_equal(sessions_change(sessions, "nothing", &change, &changed, &err), -1);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
}

static void test_goes_with_its_kernel(void **state) {
    struct sessions *sessions = *state;
    char id[64], other[64];
    snprintf(id, sizeof id, "%s", add(sessions, "a.ipynb", "anna", "k1")->id);
    snprintf(other, sizeof other, "%s", add(sessions, "b.ipynb", "anna", "k2")->id);
    assert_false(sessions_lost_kernel(sessions, id));
    alive['1'] = false;
    assert_null(sessions_find(sessions, id));
    assert_true(sessions_lost_kernel(sessions, id));
    assert_false(sessions_lost_kernel(sessions, other));
    assert_false(sessions_lost_kernel(sessions, ""));
    assert_string_equal(sessions_next(sessions, NULL)->id, other);
    add(sessions, "a.ipynb", "anna", "k3"); /* the path is free again */
    sessions_remove(sessions, other);
    assert_false(sessions_lost_kernel(sessions, other)); /* deleted, not lost */
    assert_int_equal(sessions_count(sessions), 1);
}

static void test_remembers_the_latest_lost_ones(void **state) {
    struct sessions *sessions = *state;
    struct error err = {0};
    struct session fresh = {.type = "file", .kernel_id = "k1", .owner = "anna"};
    const struct session *added;
    for (int i = 0; i < 300; i++) {
        char path[32];
        snprintf(path, sizeof path, "%d", i);
        fresh.path = path;
        assert_int_equal(sessions_add(sessions, &fresh, &added, &err), 0);
    }
    alive['1'] = false;
    char first[64];
    snprintf(first, sizeof first, "%s", added->id);
    assert_int_equal(sessions_count(sessions), 0);
    assert_true(sessions_lost_kernel(sessions, first)); /* the latest of more than it remembers */
}

static void test_models(void **state) {
    struct sessions *sessions = *state;
    const struct session *session = add(sessions, "dir/a.ipynb", "anna", "k1");
    cleanup_json json_t *model = session_model(session, json_pack("{s:s}", "id", "k1"));
    cleanup_json json_t *expected =
        json_pack("{s:s, s:s, s:s, s:s, s:{s:s}, s:{s:s, s:s}}", "id", session->id, "path",
                  "dir/a.ipynb", "name", "name", "type", "notebook", "kernel", "id", "k1",
                  "notebook", "path", "dir/a.ipynb", "name", "name");
    assert_true(json_equal(model, expected));
    struct session console = *session;
    console.type = "console";
    cleanup_json json_t *other = session_model(&console, json_object());
    assert_null(json_object_get(other, "notebook"));
    cleanup_json json_t *record = session_record(session);
    assert_int_equal(json_object_size(record), 4);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_found_by_id_and_by_path_of_its_owner),
        TEST(test_path_and_id_are_taken_once),
        TEST(test_change),
        TEST(test_goes_with_its_kernel),
        TEST(test_remembers_the_latest_lost_ones),
        TEST(test_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
