#include "base/heap.h"

#include "base/memory.h"

#include <stdlib.h>

static void place(struct heap *heap, size_t at, struct heap_node *node) {
    heap->nodes[at] = node;
    node->place = at + 1;
}

static void sift(struct heap *heap, size_t at) {
    struct heap_node *node = heap->nodes[at];
    while (at > 0 && heap->nodes[(at - 1) / 2]->when_ms > node->when_ms) {
        place(heap, at, heap->nodes[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count &&
            heap->nodes[child + 1]->when_ms < heap->nodes[child]->when_ms)
            child++;
        if (heap->nodes[child]->when_ms >= node->when_ms)
            break;
        place(heap, at, heap->nodes[child]);
        at = child;
    }
    place(heap, at, node);
}

void heap_set(struct heap *heap, struct heap_node *node, int64_t when_ms) {
    node->when_ms = when_ms;
    if (node->place == 0) {
        if (heap->count == heap->capacity) {
            heap->capacity = heap->capacity ? heap->capacity * 2 : 16;
            heap->nodes = memory_resize(heap->nodes, heap->capacity * sizeof(struct heap_node *));
        }
        place(heap, heap->count++, node);
    }
    sift(heap, node->place - 1);
}

void heap_remove(struct heap *heap, struct heap_node *node) {
    if (node->place == 0)
        return;
    size_t at = node->place - 1;
    struct heap_node *last = heap->nodes[--heap->count];
    node->place = 0;
    if (last == node)
        return;
    place(heap, at, last);
    sift(heap, at);
}

struct heap_node *heap_first(const struct heap *heap) {
    return heap->count > 0 ? heap->nodes[0] : NULL;
}

void heap_free(struct heap *heap) {
    free(heap->nodes);
    *heap = (struct heap){0};
}
