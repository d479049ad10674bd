#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void keeps_what_was_put(void **state) {
    (void)state;
    struct map *map = map_create();
    int one = 1;
    int two = 2;
    assert_null(map_get(map, "a"));
    assert_null(map_remove(map, "a"));
    assert_null(map_put(map, "a", &one));
    assert_null(map_put(map, "", &two));
    assert_ptr_equal(map_get(map, "a"), &one);
    assert_ptr_equal(map_get(map, ""), &two);
    assert_ptr_equal(map_put(map, "a", &two), &one);
    assert_int_equal(map_count(map), 2);
    assert_ptr_equal(map_remove(map, "a"), &two);
    assert_null(map_get(map, "a"));
    assert_int_equal(map_count(map), 1);
    map_destroy(map);
    map_destroy(NULL);
}

static void copies_its_keys(void **state) {
    (void)state;
    struct map *map = map_create();
    char key[] = "kernel";
    map_put(map, key, key);
    key[0] = 'K';
    assert_non_null(map_get(map, "kernel"));
    assert_null(map_get(map, "Kernel"));
    map_destroy(map);
}

enum { MANY = 5000 };

static const char *name_of(int i, char name[16]) {
    snprintf(name, 16, "k%d", i);
    return name;
}

static void holds_many_through_growth(void **state) {
    (void)state;
    struct map *map = map_create();
    static int values[MANY];
    char name[16];
    for (int i = 0; i < MANY; i++)
        map_put(map, name_of(i, name), &values[i]);
    assert_int_equal(map_count(map), MANY);
    for (int i = 0; i < MANY; i += 2)
        assert_ptr_equal(map_remove(map, name_of(i, name)), &values[i]);
    for (int i = 0; i < MANY; i++)
        assert_ptr_equal(map_get(map, name_of(i, name)), i % 2 ? &values[i] : NULL);
    map_destroy(map);
}

/* Entries that come and go leave tombstones: they must not fill the table, or a search for an
 * absent key never ends. */
static void stays_small_when_entries_come_and_go(void **state) {
    (void)state;
    struct map *map = map_create();
    char name[16];
    for (int i = 0; i < 200000; i++) {
        map_put(map, name_of(i, name), map);
        assert_null(map_get(map, "absent"));
        assert_ptr_equal(map_remove(map, name), map);
    }
    assert_int_equal(map_count(map), 0);
    map_destroy(map);
}

static void walks_all_while_they_are_removed(void **state) {
    (void)state;
    struct map *map = map_create();
    static int seen[MANY];
    char name[16];
    for (int i = 0; i < MANY; i++)
        map_put(map, name_of(i, name), &seen[i]);
    const char *key;
    void *value;
    for (size_t at = 0; map_next(map, &at, &key, &value);) {
        ++*(int *)value;
        assert_ptr_equal(map_remove(map, key), value);
    }
    assert_int_equal(map_count(map), 0);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(seen[i], 1);
    map_put(map, "x", map);
    size_t at = 0;
    assert_true(map_next(map, &at, NULL, NULL));
    assert_false(map_next(map, &at, NULL, NULL));
    map_destroy(map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_was_put),
        cmocka_unit_test(copies_its_keys),
        cmocka_unit_test(holds_many_through_growth),
        cmocka_unit_test(stays_small_when_entries_come_and_go),
        cmocka_unit_test(walks_all_while_they_are_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
