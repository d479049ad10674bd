/* Deadlines: a binary min-heap of intrusive nodes, so that thousands of them cost one timer. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct heap_node {
    int64_t when_ms; /* clock_monotonic_ms */
    size_t place;    /* 1-based place in the heap; 0 = not in one */
};

struct heap {
    struct heap_node **nodes;
    size_t count;
    size_t capacity;
};

void heap_set(struct heap *heap, struct heap_node *node, int64_t when_ms); /* inserts or moves */
void heap_remove(struct heap *heap, struct heap_node *node);               /* fine when not in it */
struct heap_node *heap_first(const struct heap *heap);                     /* NULL when empty */
void heap_free(struct heap *heap);
