/* Several gateways change one kernel's record. Each change is decided upon a version of it; when
 * somebody else was faster, it is decided again upon what is there now, by these rules:
 * an ended kernel stays ended, with the first reason, and a tombstone is never revived by whoever
 * took the kernel for a living one; a death counts for the start that died; requests that wait are
 * added and taken away one by one; of two starts at once the first one counts for both. A pure
 * function. */
#pragma once

#include "launcher/kube_objects.h"

#include <jansson.h>

enum kube_intent_kind {
    KUBE_INTENT_START,   /* it is started, for the first time or again */
    KUBE_INTENT_NOTE,    /* other requests wait for it */
    KUBE_INTENT_SHARE,   /* others than its owner may do something, or may not any more */
    KUBE_INTENT_HEARD,   /* its launcher has spoken */
    KUBE_INTENT_DEAD,    /* it is dead, and kept */
    KUBE_INTENT_END,     /* it has ended: a tombstone */
    KUBE_INTENT_CLEARED, /* nothing else is left of one that has ended */
    KUBE_INTENT_TELL,    /* that it has ended is told by another kernel, once */
};

struct kube_intent {
    enum kube_intent_kind kind;
    /* Its record as it was when this was decided. start: whose start it was, by record.json's
     * member; both texts may be NULL. */
    enum kube_record_state state;
    bool is_new; /* there was none */
    char *start, *created;
    /* START: all of it. DEAD: all of it, for a record that is not there any more. else NULL */
    struct kube_record *record;
    /* DEAD, END: members that replace those that are there. NOTE: arrays "added" and "removed".
     * SHARE: {user: right, or null to take it away}. TELL: "by", and "instead_of", which could not
     * tell it: kernels' ids. */
    json_t *changes;
};

/* record.json's member of a tombstone whose kernel's objects may still be there. */
#define KUBE_RECORD_UNFINISHED "unfinished"

/* Another one, of a start: true once its launcher has spoken to any gateway. */
#define KUBE_RECORD_HEARD "heard"

/* The same of one written by a gateway that only saw the kernel end: who has ended it knows why,
 * and replaces it. */
#define KUBE_RECORD_WITNESS "by_witness"

/* The id of the kernel that tells a tombstone's "bequest". */
#define KUBE_RECORD_TOLD_BY "told_by"

enum kube_merge {
    KUBE_MERGE_WRITE,  /* *ret is to be written, over the version that it has */
    KUBE_MERGE_DONE,   /* it is so already */
    KUBE_MERGE_JOINED, /* START: somebody else has started it; that one counts */
    KUBE_MERGE_GONE,   /* START, DEAD: the record of a kernel that lived is not there any more */
    KUBE_MERGE_LOST,   /* not to be done: it has ended, or is another kernel by now */
};

enum kube_merge kube_record_merge(const struct kube_intent *intent, const struct kube_record *there,
                                  struct kube_record **ret);

/* intent NULL is fine. */
void kube_intent_free(struct kube_intent *intent);

/* {"added", "removed"}: what makes `now` of `before`, both arrays or NULL. A new reference. */
json_t *kube_intent_difference(const json_t *before, const json_t *now);
