/* An intrusive doubly linked list. A node is in at most one list; an unlinked node is all zero. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *next;
    struct list_node *previous;
};

struct list {
    struct list_node head; /* list_init first */
};

static inline void list_init(struct list *list) {
    list->head.next = list->head.previous = &list->head;
}
static inline bool list_is_empty(const struct list *list) {
    return list->head.next == &list->head;
}
static inline bool list_node_is_linked(const struct list_node *node) {
    return node->next != NULL;
}
static inline void list_append(struct list *list, struct list_node *node) {
    node->previous = list->head.previous;
    node->next = &list->head;
    list->head.previous->next = node;
    list->head.previous = node;
}
static inline void list_remove(struct list_node *node) {
    if (node->next == NULL)
        return;
    node->previous->next = node->next;
    node->next->previous = node->previous;
    node->next = node->previous = NULL;
}

#define list_entry(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* The body may remove (and free) the entry it was given. */
#define list_each(list, type, member, item)                                                        \
    for (struct list_node *node_ = (list)->head.next, *next_ = node_->next;                        \
         node_ != &(list)->head; node_ = next_, next_ = node_->next)                               \
        for (type *item = list_entry(node_, type, member), *once_ = item; once_; once_ = NULL)
