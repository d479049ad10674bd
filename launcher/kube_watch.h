/* All objects of one kind in one place, and what becomes of them: list, then watch with bookmarks
 * (https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes). A
 * stream that ends, breaks or falls silent is taken up where it was; where the server no longer
 * knows that place (410) it is listed again, and only what differs is told. */
#pragma once

#include "base/error.h"
#include "launcher/kube_client.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct kube_watch;

enum kube_change { KUBE_ADDED, KUBE_MODIFIED, KUBE_DELETED };

/* All from the loop, never from inside a call; each may destroy the watch, start and cancel calls.
 * May be NULL. */
struct kube_watch_events {
    /* object: borrowed. One that vanished unseen (between two lists) is told as
     * {"metadata": {"name", "namespace", "uid"}} without the rest; one that was replaced by another
     * of its name as KUBE_DELETED, then KUBE_ADDED. An object of a list has no kind and
     * apiVersion. */
    void (*changed)(void *context, enum kube_change change, json_t *object);
    void (*synced)(void *context); /* once: the first complete list has been told */
    /* It cannot see now, and why; told when that begins and when the reason changes. NULL: it sees
     * again; what it missed has been told or follows at once. It goes on trying until it is
     * destroyed. */
    void (*trouble)(void *context, const struct error *err);
};

struct kube_watch_settings {
    const char *path;           /* "/api/v1/namespaces/x/pods", "/api/v1/pods"; copied */
    const char *label_selector; /* "elara.install=default"; NULL: all */
    const char *field_selector; /* "type=Warning"; NULL: all */
    /* 0 is the default in each. */
    unsigned page_size; /* objects an answer of a list (250) */
    size_t objects_max; /* above it is in trouble, ERROR_LIMIT, and lists again (200,000) */
    size_t line_max;    /* bytes of one event (8 MiB); a longer one: it lists again */
    int64_t silence_ms; /* a stream without a byte for so long is taken for dead (150 s: an API
                             server sends a bookmark each minute) */
    int64_t lifetime_s; /* the server ends a stream after half of it to all of it (1 h) */
    int64_t pause_ms;   /* before the first repetition (100), doubled up to 50 times that */
};

struct kube_watch_counts {
    uint64_t lists;   /* begun */
    uint64_t streams; /* begun */
    uint64_t events;  /* of streams, bookmarks among them */
    size_t objects;   /* that there are now */
};

/* Begins at once. */
int kube_watch_create(struct kube_client *client, const struct kube_watch_settings *settings,
                      const struct kube_watch_events *events, void *context,
                      struct kube_watch **ret, struct error *err);
void kube_watch_destroy(struct kube_watch *watch);

void kube_watch_count(const struct kube_watch *watch, struct kube_watch_counts *ret);
