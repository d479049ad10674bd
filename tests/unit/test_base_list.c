#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

struct item {
    int number;
    struct list_node node; /* not first, so that list_entry has something to do */
};

static int digits(struct list *list) {
    int all = 0;
    list_each (list, struct item, node, item)
        all = all * 10 + item->number;
    return all;
}

static void keeps_order(void **state) {
    (void)state;
    struct list list;
    list_init(&list);
    assert_true(list_is_empty(&list));
    assert_int_equal(digits(&list), 0);
    struct item items[] = {{.number = 1}, {.number = 2}, {.number = 3}};
    for (int i = 0; i < 3; i++) {
        assert_false(list_node_is_linked(&items[i].node));
        list_append(&list, &items[i].node);
        assert_true(list_node_is_linked(&items[i].node));
    }
    assert_int_equal(digits(&list), 123);
    list_remove(&items[1].node);
    assert_false(list_node_is_linked(&items[1].node));
    assert_int_equal(digits(&list), 13);
    list_remove(&items[1].node); /* twice is fine */
    list_append(&list, &items[1].node);
    assert_int_equal(digits(&list), 132);
    list_remove(&items[0].node);
    list_remove(&items[2].node);
    list_remove(&items[1].node);
    assert_true(list_is_empty(&list));
}

static void frees_while_it_walks(void **state) {
    (void)state;
    struct list list;
    list_init(&list);
    for (int i = 0; i < 5; i++) {
        struct item *item = calloc(1, sizeof *item);
        assert_non_null(item);
        list_append(&list, &item->node);
    }
    int count = 0;
    list_each (&list, struct item, node, item) {
        count++;
        list_remove(&item->node);
        free(item);
    }
    assert_int_equal(count, 5);
    assert_true(list_is_empty(&list));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order),
        cmocka_unit_test(frees_while_it_walks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
