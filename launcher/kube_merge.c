#include "launcher/kube_merge.h"

#include "base/cleanup.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

/* What is not known differs from nothing. */
static bool differs(const char *a, const char *b) {
    return a != NULL && b != NULL && strcmp(a, b) != 0;
}

static bool has(const json_t *array, const json_t *item) {
    size_t at;
    json_t *one;
    json_array_foreach((json_t *)(uintptr_t)array, at, one) if (json_equal(one, item)) return true;
    return false;
}

static void append_without(json_t *to, const json_t *from, const json_t *without) {
    size_t at;
    json_t *one;
    json_array_foreach((json_t *)(uintptr_t)from, at, one) if (!has(without, one) && !has(to, one))
        json_array_append(to, one);
}

json_t *kube_intent_difference(const json_t *before, const json_t *now) {
    json_t *added = json_array(), *removed = json_array();
    append_without(added, now, before);
    append_without(removed, before, now);
    return json_pack("{s:o, s:o}", "added", added, "removed", removed);
}

void kube_intent_free(struct kube_intent *intent) {
    if (intent == NULL)
        return;
    free(intent->start);
    free(intent->created);
    kube_record_free(intent->record);
    json_decref(intent->changes);
    free(intent);
}

static struct kube_record *copy_of(const struct kube_record *record) {
    struct kube_record *made = kube_record_new(record->kernel_id, record->record);
    made->state = record->state;
    text_replace(&made->kernel_namespace, record->kernel_namespace);
    made->namespace_created = record->namespace_created;
    made->attempt = record->attempt;
    text_replace(&made->pods, record->pods);
    text_replace(&made->server_key, record->server_key);
    made->port = record->port;
    text_replace(&made->version, record->version);
    text_replace(&made->uid, record->uid);
    return made;
}

/* An attempt's number is never used twice: the pod of an earlier one may still be there. */
static struct kube_record *started(const struct kube_intent *intent,
                                   const struct kube_record *there) {
    struct kube_record *made = copy_of(intent->record);
    json_t *held = json_object_get(there->record, "held");
    if (made->attempt <= there->attempt)
        made->attempt = there->attempt + 1;
    if (held != NULL && intent->state != KUBE_RECORD_ENDED)
        json_object_set(made->record, "held", held);
    text_replace(&made->version, there->version);
    return made;
}

static enum kube_merge merge_start(const struct kube_intent *intent,
                                   const struct kube_record *there, struct kube_record **ret) {
    const char *start = text_of(there->record, "start");
    const char *mine = text_of(intent->record->record, "start");
    if (start != NULL && mine != NULL && strcmp(start, mine) == 0)
        return KUBE_MERGE_DONE;
    if (intent->is_new ||
        (intent->state == KUBE_RECORD_ENDED) != (there->state == KUBE_RECORD_ENDED))
        return KUBE_MERGE_LOST;
    if (differs(intent->created, text_of(there->record, "created")))
        return KUBE_MERGE_LOST;
    if (differs(intent->start, start) && there->state == KUBE_RECORD_LIVE)
        return KUBE_MERGE_JOINED;
    *ret = started(intent, there);
    return KUBE_MERGE_WRITE;
}

static enum kube_merge merge_note(const struct kube_intent *intent, const struct kube_record *there,
                                  struct kube_record **ret) {
    const json_t *before = json_object_get(there->record, "held");
    cleanup_json json_t *held = json_array();
    if (there->state == KUBE_RECORD_ENDED)
        return KUBE_MERGE_LOST;
    append_without(held, before, json_object_get(intent->changes, "removed"));
    append_without(held, json_object_get(intent->changes, "added"), NULL);
    if (json_equal(held, before) || (before == NULL && json_array_size(held) == 0))
        return KUBE_MERGE_DONE;
    *ret = copy_of(there);
    if (json_array_size(held) > 0)
        json_object_set((*ret)->record, "held", held);
    else
        json_object_del((*ret)->record, "held");
    return KUBE_MERGE_WRITE;
}

/* One by one: another gateway may have changed others. */
static enum kube_merge merge_share(const struct kube_intent *intent,
                                   const struct kube_record *there, struct kube_record **ret) {
    const json_t *before = json_object_get(there->record, "shares");
    cleanup_json json_t *shares = json_object();
    const char *user;
    json_t *right;
    if (there->state == KUBE_RECORD_ENDED ||
        differs(intent->created, text_of(there->record, "created")))
        return KUBE_MERGE_LOST;
    json_object_update(shares, (json_t *)(uintptr_t)before);
    json_object_foreach(intent->changes, user, right) {
        if (json_is_null(right))
            json_object_del(shares, user);
        else
            json_object_set(shares, user, right);
    }
    if (json_equal(shares, before))
        return KUBE_MERGE_DONE;
    *ret = copy_of(there);
    json_object_set((*ret)->record, "shares", shares);
    return KUBE_MERGE_WRITE;
}

static enum kube_merge merge_heard(const struct kube_intent *intent,
                                   const struct kube_record *there, struct kube_record **ret) {
    if (there->state == KUBE_RECORD_ENDED ||
        differs(intent->start, text_of(there->record, "start")))
        return KUBE_MERGE_LOST;
    if (json_is_true(json_object_get(there->record, KUBE_RECORD_HEARD)))
        return KUBE_MERGE_DONE;
    *ret = copy_of(there);
    json_object_set_new((*ret)->record, KUBE_RECORD_HEARD, json_true());
    return KUBE_MERGE_WRITE;
}

static enum kube_merge merge_dead(const struct kube_intent *intent, const struct kube_record *there,
                                  struct kube_record **ret) {
    if (there->state == KUBE_RECORD_ENDED ||
        differs(intent->start, text_of(there->record, "start")) ||
        differs(intent->created, text_of(there->record, "created")))
        return KUBE_MERGE_LOST;
    if (there->state == KUBE_RECORD_DEAD && intent->state != KUBE_RECORD_DEAD)
        return KUBE_MERGE_DONE; /* the first to see it has said why */
    *ret = copy_of(there);
    (*ret)->state = KUBE_RECORD_DEAD;
    json_object_update((*ret)->record, intent->changes);
    return KUBE_MERGE_WRITE;
}

/* What is kept of one that ended: whose it was, and why it is no more. */
static json_t *tombstone(const json_t *record, const json_t *changes) {
    static const char *const kept[] = {"kernel_id", "name",    "display_name",     "owner",
                                       "user",      "created", KUBE_RECORD_TOLD_BY};
    json_t *made = json_object();
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (json_object_get(record, kept[i]) != NULL)
            json_object_set(made, kept[i], json_object_get(record, kept[i]));
    json_object_update(made, (json_t *)(uintptr_t)changes);
    json_object_set_new(made, "phase", json_string("ended"));
    return made;
}

static enum kube_merge merge_end(const struct kube_intent *intent, const struct kube_record *there,
                                 struct kube_record **ret) {
    if (differs(intent->created, text_of(there->record, "created")))
        return KUBE_MERGE_LOST;
    bool is_better = json_object_get(there->record, KUBE_RECORD_WITNESS) != NULL &&
                     json_object_get(intent->changes, KUBE_RECORD_WITNESS) == NULL;
    if (there->state == KUBE_RECORD_ENDED && !is_better)
        return KUBE_MERGE_DONE;
    *ret = copy_of(there);
    (*ret)->state = KUBE_RECORD_ENDED;
    json_decref((*ret)->record);
    (*ret)->record = tombstone(there->record, intent->changes);
    return KUBE_MERGE_WRITE;
}

static enum kube_merge merge_cleared(const struct kube_intent *intent,
                                     const struct kube_record *there, struct kube_record **ret) {
    if (there->state != KUBE_RECORD_ENDED ||
        differs(intent->created, text_of(there->record, "created")))
        return KUBE_MERGE_LOST;
    if (json_object_get(there->record, KUBE_RECORD_UNFINISHED) == NULL)
        return KUBE_MERGE_DONE;
    *ret = copy_of(there);
    json_object_del((*ret)->record, KUBE_RECORD_UNFINISHED);
    return KUBE_MERGE_WRITE;
}

/* Where it cannot be known who tells it, two may. */
static enum kube_merge merge_tell(const struct kube_intent *intent, const struct kube_record *there,
                                  struct kube_record **ret) {
    const char *by = text_of(intent->changes, "by");
    const char *instead_of = text_of(intent->changes, "instead_of");
    const char *told_by = text_of(there->record, KUBE_RECORD_TOLD_BY);
    bool is_free = told_by == NULL || (instead_of != NULL && strcmp(told_by, instead_of) == 0);
    if (there->state != KUBE_RECORD_ENDED || (told_by != NULL && strcmp(told_by, by) == 0))
        return KUBE_MERGE_DONE;
    if (!is_free)
        return KUBE_MERGE_LOST;
    *ret = copy_of(there);
    json_object_set_new((*ret)->record, KUBE_RECORD_TOLD_BY, json_string(by));
    return KUBE_MERGE_WRITE;
}

enum kube_merge kube_record_merge(const struct kube_intent *intent, const struct kube_record *there,
                                  struct kube_record **ret) {
    switch (intent->kind) {
    case KUBE_INTENT_START:
        return merge_start(intent, there, ret);
    case KUBE_INTENT_NOTE:
        return merge_note(intent, there, ret);
    case KUBE_INTENT_SHARE:
        return merge_share(intent, there, ret);
    case KUBE_INTENT_HEARD:
        return merge_heard(intent, there, ret);
    case KUBE_INTENT_DEAD:
        return merge_dead(intent, there, ret);
    case KUBE_INTENT_END:
        return merge_end(intent, there, ret);
    case KUBE_INTENT_CLEARED:
        return merge_cleared(intent, there, ret);
    case KUBE_INTENT_TELL:
        return merge_tell(intent, there, ret);
    }
    return KUBE_MERGE_LOST;
}
