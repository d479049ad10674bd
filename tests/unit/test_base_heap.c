#include "base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

#include <cmocka.h>

static void hands_out_the_earliest(void **state) {
    (void)state;
    struct heap heap = {0};
    struct heap_node a = {0}, b = {0}, c = {0};
    assert_null(heap_first(&heap));
    heap_set(&heap, &a, 30);
    heap_set(&heap, &b, 10);
    heap_set(&heap, &c, 20);
    assert_ptr_equal(heap_first(&heap), &b);
    heap_set(&heap, &b, 40); /* moves */
    assert_int_equal(heap.count, 3);
    assert_ptr_equal(heap_first(&heap), &c);
    heap_set(&heap, &a, 5);
    assert_ptr_equal(heap_first(&heap), &a);
    heap_remove(&heap, &a);
    heap_remove(&heap, &a); /* twice is fine */
    assert_ptr_equal(heap_first(&heap), &c);
    heap_remove(&heap, &b);
    heap_remove(&heap, &c);
    assert_null(heap_first(&heap));
    heap_free(&heap);
}

enum { NODES = 300 };

static void check_order(const struct heap *heap) {
    for (size_t i = 0; i < heap->count; i++) {
        assert_int_equal(heap->nodes[i]->place, i + 1);
        if (i > 0)
            assert_true(heap->nodes[(i - 1) / 2]->when_ms <= heap->nodes[i]->when_ms);
    }
}

/* Sets, moves and removes by a fixed random walk; the shape is checked after each. */
static void stays_in_order_whatever_comes(void **state) {
    (void)state;
    struct heap heap = {0};
    static struct heap_node nodes[NODES];
    unsigned seed = 1;
    for (int turn = 0; turn < 20000; turn++) {
        struct heap_node *node = &nodes[rand_r(&seed) % NODES];
        if (rand_r(&seed) % 3 == 0)
            heap_remove(&heap, node);
        else
            heap_set(&heap, node, rand_r(&seed) % 1000);
        check_order(&heap);
    }
    size_t linked = 0;
    for (int i = 0; i < NODES; i++)
        linked += nodes[i].place != 0;
    assert_int_equal(linked, heap.count);
    for (int64_t last = 0; heap_first(&heap) != NULL;) {
        struct heap_node *first = heap_first(&heap);
        assert_true(first->when_ms >= last);
        last = first->when_ms;
        heap_remove(&heap, first);
    }
    heap_free(&heap);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hands_out_the_earliest),
        cmocka_unit_test(stays_in_order_whatever_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
