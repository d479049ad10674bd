/* Which objects a watch has told of: not the objects, only who they are (some 200 bytes each). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct kube_seen;

enum kube_novelty {
    KUBE_SEEN_NEW,
    KUBE_SEEN_CHANGED, /* its resourceVersion is another */
    KUBE_SEEN_SAME,
    KUBE_SEEN_REPLACED, /* by another object of its name */
    KUBE_SEEN_NONSENSE, /* it is no object with metadata */
};

struct kube_seen *kube_seen_create(void);
void kube_seen_destroy(struct kube_seen *seen);
size_t kube_seen_count(const struct kube_seen *seen);

/* A list begins: what it does not name will be gone at its end. */
void kube_seen_begin(struct kube_seen *seen);
/* Removes what has not been noted since kube_seen_begin; an array of {"metadata": ...}, a new
 * reference. */
json_t *kube_seen_sweep(struct kube_seen *seen);

/* *replaced: {"metadata": ...} of the one before, a new reference; only for KUBE_SEEN_REPLACED. */
enum kube_novelty kube_seen_note(struct kube_seen *seen, const json_t *object, json_t **replaced);
/* False: it was not noted. */
bool kube_seen_forget(struct kube_seen *seen, const json_t *object);
