/* Changes of a kernel's record Secret. Each carries the version it was decided upon: when somebody
 * else was faster (409), what is there is read, and it is decided again (kube_merge.h). */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"

#include <string.h>

enum { TRIES_MAX = 20 };

struct kubernetes_change {
    struct list_node node;
    struct kubernetes *cluster;
    struct kube_request *call; /* NULL: another change of the same record is under way */
    struct kube_intent *intent;
    char *id, *path;
    unsigned tries;
    bool was_there; /* the record, of a kernel that had not ended */
    kubernetes_changed *done;
    void *context;
};

static void read_record(struct kubernetes_change *change);
static void begin(struct kubernetes_change *change);

/* One at a time, in the order in which they were asked for. */
static void begin_next(struct kubernetes *cluster, const char *id) {
    list_each (&cluster->changes, struct kubernetes_change, node, change) {
        if (strcmp(change->id, id) != 0)
            continue;
        if (change->call == NULL)
            begin(change);
        return;
    }
}

static void free_change(struct kubernetes_change *change) {
    list_remove(&change->node);
    kube_intent_free(change->intent);
    free(change->id);
    free(change->path);
    free(change);
}

void kubernetes_change_cancel(struct kubernetes_change *change) {
    if (change == NULL)
        return;
    struct kubernetes *cluster = change->cluster;
    cleanup_free char *id = steal(&change->id);
    kube_request_cancel(change->call);
    free_change(change);
    begin_next(cluster, id);
}

void kubernetes_drop_changes(struct kubernetes *cluster) {
    list_each (&cluster->changes, struct kubernetes_change, node, change) {
        kube_request_cancel(change->call);
        free_change(change);
    }
}

/* A living kernel's record is not made anew: it has become a tombstone, which is gone, too. */
static bool may_make(const struct kubernetes_change *change) {
    return change->intent->record != NULL && !change->was_there;
}

static void finish(struct kubernetes_change *change, enum kube_merge outcome, int status,
                   const json_t *answer, const struct error *err) {
    struct kubernetes_change over = *change;
    change->id = NULL;
    free_change(change);
    over.done(over.context, outcome, status, answer, err);
    begin_next(over.cluster, over.id);
    free(over.id);
}

static void on_written(void *context, int status, json_t *answer, const struct error *err) {
    struct kubernetes_change *change = context;
    change->call = NULL;
    bool is_vanished = status == 404 && change->intent->record != NULL;
    if (err == NULL)
        finish(change, KUBE_MERGE_DONE, status, answer, NULL);
    else if ((status == 409 || is_vanished) && change->tries < TRIES_MAX)
        read_record(change);
    else
        finish(change, KUBE_MERGE_LOST, status, answer, err);
}

static void write_record(struct kubernetes_change *change, const char *method, const char *path,
                         const json_t *body) {
    const struct kube_call call = {
        .method = method, .path = path, .body = body, .may_repeat = true};
    change->tries++;
    change->call = kube_client_call(change->cluster->client, &call, on_written, change);
}

/* 1: it is under way. 0: it need not or may not be done. */
static int write_over(struct kubernetes_change *change, const struct kube_record *there,
                      enum kube_merge *outcome, struct error *err) {
    struct kube_record *wanted = NULL;
    cleanup_json json_t *patch = NULL;
    *outcome = kube_record_merge(change->intent, there, &wanted);
    if (*outcome != KUBE_MERGE_WRITE)
        return 0;
    int failed = kube_record_patch(wanted, &patch, err);
    kube_record_free(wanted);
    if (failed < 0)
        return -1;
    write_record(change, "PATCH", change->path, patch);
    return 1;
}

static int make(struct kubernetes_change *change, struct error *err) {
    const struct provisioner_kubernetes_settings *settings = &change->cluster->settings;
    cleanup_json json_t *object = NULL;
    if (kube_record_tree(change->intent->record, settings->install, settings->gateway_namespace,
                         &object, err) < 0)
        return -1;
    cleanup_free char *path = kubernetes_path(settings->gateway_namespace, "secrets", NULL);
    write_record(change, "POST", path, object);
    return 1;
}

static void on_read(void *context, int status, json_t *answer, const struct error *failure) {
    struct kubernetes_change *change = context;
    struct kube_record *there = NULL;
    enum kube_merge outcome = KUBE_MERGE_LOST;
    struct error err = {0};
    int result = -1;
    change->call = NULL;
    if (failure != NULL && (status != 404 || change->intent->record == NULL)) {
        err = *failure;
    } else if (failure != NULL && !may_make(change)) {
        outcome = KUBE_MERGE_GONE;
        result = 0;
    } else if (failure != NULL)
        result = make(change, &err);
    else if (kube_record_read(answer, &there, &err) == 0)
        result = write_over(change, there, &outcome, &err);
    kube_record_free(there);
    if (result <= 0)
        finish(change, outcome, status, answer, result < 0 ? &err : NULL);
}

static void read_record(struct kubernetes_change *change) {
    const struct kube_call call = {.method = "GET", .path = change->path};
    change->call = kube_client_call(change->cluster->client, &call, on_read, change);
}

/* What was seen last is taken for what is there; where that says that nothing is to be done, it is
 * looked at once more. */
static void begin(struct kubernetes_change *change) {
    const struct provision *place = kubernetes_find_place(change->cluster, change->id);
    const struct kube_record *seen = place != NULL ? place->seen : NULL;
    enum kube_merge outcome;
    struct error err;
    int result = seen != NULL       ? write_over(change, seen, &outcome, &err)
                 : may_make(change) ? make(change, &err)
                                    : 0;
    if (result <= 0)
        read_record(change);
}

struct kubernetes_change *kubernetes_change(struct provision *place, struct kube_intent *intent,
                                            kubernetes_changed *done, void *context) {
    struct kubernetes_change *change = memory_alloc(sizeof *change);
    change->cluster = place->cluster;
    change->intent = intent;
    change->id = memory_strdup(place->id);
    change->path = kubernetes_record_path(place->cluster, place->id);
    change->was_there = place->seen != NULL && place->seen->state != KUBE_RECORD_ENDED;
    change->done = done;
    change->context = context;
    list_append(&place->cluster->changes, &change->node);
    begin_next(place->cluster, place->id);
    return change;
}

struct kube_intent *kubernetes_intend(const struct provision *place, enum kube_intent_kind kind,
                                      json_t *changes) {
    struct kube_intent *intent = memory_alloc(sizeof *intent);
    intent->kind = kind;
    intent->state = place->state;
    text_replace(&intent->start, json_string_value(json_object_get(place->record, "start")));
    text_replace(&intent->created, json_string_value(json_object_get(place->record, "created")));
    intent->changes = changes;
    return intent;
}
