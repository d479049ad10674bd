/* Taking away: a kernel's objects, tombstones that are too old, and what belongs to nobody. */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#define LOG_AREA "launcher/kubernetes_end"
#include "base/log.h"

#include <string.h>

enum { SWEEP_AGAIN_MS = 300000 };

/* --- calls nobody waits for --- */

/* Something to be done that nothing waits for. */
struct errand {
    struct list_node node;
    struct kubernetes *cluster;
    char what[192];
    char *path; /* of a pod that is deleted */
    int64_t grace_s;
};

static struct errand *new_errand(struct kubernetes *cluster, const char *what, const char *name) {
    struct errand *errand = memory_alloc(sizeof *errand);
    *errand = (struct errand){.cluster = cluster};
    snprintf(errand->what, sizeof errand->what, "%s %s", what, name);
    list_append(&cluster->errands, &errand->node);
    return errand;
}

static void free_errand(struct errand *errand) {
    list_remove(&errand->node);
    free(errand->path);
    free(errand);
}

static void on_errand(void *context, int status, json_t *answer, const struct error *err) {
    struct errand *errand = context;
    (void)answer;
    if (err != NULL && status != 404 && status != 409)
        log_error("%s: %s", errand->what, err->text);
    free_errand(errand);
}

/* version, uid: the one that is meant; NULL: whichever there is. */
static struct kube_request *delete_object(struct kubernetes *cluster, const char *path,
                                          int64_t grace_s, const char *version, const char *uid,
                                          kube_done *done, void *context) {
    cleanup_json json_t *options = json_pack("{s:s}", "propagationPolicy", "Background");
    if (grace_s >= 0)
        json_object_set_new(options, "gracePeriodSeconds", json_integer(grace_s));
    if (version != NULL)
        json_object_set_new(options, "preconditions",
                            json_pack("{s:s}", "resourceVersion", version));
    if (uid != NULL)
        json_object_set_new(options, "preconditions", json_pack("{s:s}", "uid", uid));
    const struct kube_call call = {
        .method = "DELETE", .path = path, .body = options, .may_repeat = true};
    return kube_client_call(cluster->client, &call, done, context);
}

bool kubernetes_is_of_kernel(const json_t *object, const char *kernel_id) {
    char suffix[KUBE_SUFFIX_SIZE];
    kube_name_suffix(kernel_id, suffix);
    const char *label = kube_object_label(object, KUBE_LABEL_KERNEL);
    return label != NULL && strcmp(label, suffix) == 0;
}

/* However long the API server is away: the pod may hold a GPU, and has nobody to it any more. */
static void on_pod_deleted(void *context, int status, json_t *answer, const struct error *err) {
    struct errand *errand = context;
    if (err == NULL || status == 409 ||
        (err->code != ERROR_UNAVAILABLE && err->code != ERROR_TIMEOUT)) {
        on_errand(errand, status, answer, err);
        return;
    }
    log_warning("%s is tried again: %s", errand->what, err->text);
    delete_object(errand->cluster, errand->path, errand->grace_s, NULL, NULL, on_pod_deleted,
                  errand);
}

void kubernetes_delete_named(struct kubernetes *cluster, const char *namespace, const char *name,
                             int64_t grace_s) {
    struct errand *errand = new_errand(cluster, "deleting the pod", name);
    errand->path = kubernetes_path(namespace, "pods", name);
    errand->grace_s = grace_s;
    delete_object(cluster, errand->path, grace_s, NULL, NULL, on_pod_deleted, errand);
}

struct kube_request *kubernetes_delete_certain(struct provision *place, kube_done *done) {
    cleanup_free char *path = kubernetes_path(place->namespace, "pods", place->pod_name);
    return delete_object(place->cluster, path, -1, NULL, place->pod_uid, done, place);
}

void kubernetes_delete_namespace(struct kubernetes *cluster, const char *name, const char *uid) {
    cleanup_free char *path = kubernetes_path(NULL, "namespaces", name);
    delete_object(cluster, path, -1, NULL, uid, on_errand,
                  new_errand(cluster, "deleting the namespace", name));
}

void kubernetes_delete_pod(struct provision *place, int64_t grace_s) {
    if (place->pod_name != NULL)
        kubernetes_delete_named(place->cluster, place->namespace, place->pod_name, grace_s);
}

/* --- removal --- */

void kubernetes_let_go(struct provision *place) {
    kubernetes_cancel(place);
    place->is_held = place->is_note_due = place->is_doubtful = place->is_pod_doubtful = false;
    place->began_ms = place->start_by_ms = place->judge_at_ms = place->hello_by_ms = 0;
    place->step = STEP_NONE;
    kubernetes_note_way(place, false);
}

/* First it is on record that the kernel has ended, then its objects go: who finds them meanwhile
 * takes them for strays. When they are gone, that is on record, too. What fails is tried again, and
 * what we do not live to do is done by whoever finds that record. */
enum { REMOVE_AGAIN_MS = 5000 };

static void finish_removal(struct provision *place) {
    place->is_removed = false;
    if (!place->has_record)
        kubernetes_forget(place);
    else
        kubernetes_wake(place->cluster);
}

static void on_cleared(void *context, enum kube_merge outcome, int status, const json_t *answer,
                       const struct error *err) {
    struct provision *place = context;
    struct kubernetes *cluster = place->cluster;
    (void)outcome;
    place->removals--;
    place->swept_ms =
        err != NULL ? clock_monotonic_ms() : 0; /* its tombstone has a time of its own */
    if (err != NULL && status != 404)
        log_error("kernel %s: that nothing is left of it is not on record: %s", place->id,
                  err->text);
    finish_removal(place);
    if (err == NULL)
        kubernetes_take_record(cluster, answer, false);
}

static void clear(struct provision *place) {
    place->removals++;
    (void)kubernetes_change(place, kubernetes_intend(place, KUBE_INTENT_CLEARED, NULL), on_cleared,
                            place);
}

static void on_removal(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    (void)answer;
    place->removals--;
    if (err != NULL && status != 404 && status != 409) {
        log_error("kernel %s: what is left of it could not be removed, trying again: %s", place->id,
                  err->text);
        place->judge_at_ms = clock_monotonic_ms() + REMOVE_AGAIN_MS;
    }
    if (place->removals > 0)
        return;
    if (place->judge_at_ms != 0)
        kubernetes_wake(place->cluster);
    else if (place->has_record)
        clear(place);
    else
        finish_removal(place);
}

static void remove_object(struct provision *place, char *path /* given away */) {
    place->removals++;
    delete_object(place->cluster, path, -1, NULL, NULL, on_removal, place);
    free(path);
}

/* Only one that was made for this kernel goes with it. */
static void on_namespace_read(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    bool is_its_own = err == NULL &&
                      kube_namespace_is_ours(answer, place->cluster->settings.install) &&
                      kubernetes_is_of_kernel(answer, place->id);
    if (!is_its_own) {
        on_removal(place, status, NULL, err);
        return;
    }
    cleanup_free char *path = kubernetes_path(NULL, "namespaces", place->namespace);
    delete_object(place->cluster, path, -1, NULL, kube_object_uid(answer), on_removal, place);
}

static void remove_namespace(struct provision *place) {
    cleanup_free char *path = kubernetes_path(NULL, "namespaces", place->namespace);
    const struct kube_call call = {.method = "GET", .path = path};
    place->removals++;
    kube_client_call(place->cluster->client, &call, on_namespace_read, place);
}

static void remove_objects(struct provision *place) {
    place->removals++;
    if (place->namespace != NULL && place->namespace_created)
        remove_namespace(place);
    if (place->namespace != NULL && place->pod_name != NULL)
        remove_object(place, kubernetes_path(place->namespace, "pods", place->pod_name));
    if (place->namespace != NULL)
        remove_object(place, kubernetes_key_path(place));
    on_removal(place, 0, NULL, NULL);
}

static void tell_removed(struct provision *place, const struct error *err) {
    const struct kubernetes *cluster = place->cluster;
    if (!place->is_end_awaited)
        return;
    place->is_end_awaited = false;
    cluster->watcher.removed(cluster->watcher_context, place->id, err);
}

static void on_buried(void *context, enum kube_merge outcome, int status, const json_t *answer,
                      const struct error *err) {
    struct provision *place = context;
    struct kubernetes *cluster = place->cluster;
    tell_removed(place, status != 404 ? err : NULL);
    if (err != NULL && status != 404) {
        on_removal(place, status, NULL, err);
        return;
    }
    place->removals--;
    json_decref(steal(&place->ending));
    if (err == NULL && outcome == KUBE_MERGE_LOST) { /* the id is another kernel's by now */
        place->is_removed = false;
        kubernetes_take_record(cluster, answer, false);
        return;
    }
    if (err == NULL)
        kubernetes_take_record(cluster, answer, false);
    remove_objects(place);
}

void kubernetes_remove_again(struct provision *place) {
    if (place->ending == NULL) {
        remove_objects(place);
        return;
    }
    place->removals++;
    struct kube_intent *intent =
        kubernetes_intend(place, KUBE_INTENT_END, json_copy(place->ending));
    (void)kubernetes_change(place, intent, on_buried, place);
}

int kubernetes_remove(struct provision *place, const char *why) {
    if (place->is_removed)
        return 0;
    kubernetes_let_go(place);
    if (why == NULL) { /* the next attempt has a name of its own, and the same keys */
        if (!place->is_ended)
            kubernetes_delete_pod(place, 0);
        kubernetes_set_pod(place, NULL, 0);
        place->is_free = true;
        return 0;
    }
    place->is_removed = true;
    place->is_end_awaited = place->cluster->watcher.removed != NULL;
    place->state = KUBE_RECORD_ENDED;
    place->ending = json_pack("{s:s, s:I, s:b}", "reason", why, "died_ms",
                              (json_int_t)(kube_client_wall_ms(place->cluster->client)),
                              KUBE_RECORD_UNFINISHED, 1);
    json_object_update(place->ending, place->testament);
    bool is_awaited = place->is_end_awaited;
    kubernetes_remove_again(place);
    return is_awaited;
}

/* --- dead ones --- */

static struct provision *find_of(const struct kubernetes *cluster, const json_t *object) {
    const char *id = kube_object_kernel_id(object);
    return id != NULL ? kubernetes_find_place(cluster, id) : NULL;
}

static void on_kept(void *context, enum kube_merge outcome, int status, const json_t *answer,
                    const struct error *err) {
    struct errand *errand = context;
    (void)status;
    if (err != NULL)
        log_error("%s: %s", errand->what, err->text);
    else if (outcome != KUBE_MERGE_GONE)                        /* that is told by the watch */
        kubernetes_take_record(errand->cluster, answer, false); /* it may have ended meanwhile */
    struct provision *place = find_of(errand->cluster, answer);
    if (place != NULL && place->is_ended && place->state == KUBE_RECORD_DEAD)
        kubernetes_delete_pod(place, -1);
    free_errand(errand);
}

void kubernetes_restore_record(struct provision *place) {
    struct kubernetes *cluster = place->cluster;
    struct kube_record *record = kubernetes_make_record(place, place->state, place->record);
    cleanup_json json_t *object = NULL;
    struct error err;
    int failed = kube_record_tree(record, cluster->settings.install,
                                  cluster->settings.gateway_namespace, &object, &err);
    kube_record_free(record);
    if (failed < 0) {
        log_error("kernel %s: it is not on record: %s", place->id, err.text);
        return;
    }
    log_warning("kernel %s: its record was deleted, it is written again", place->id);
    cleanup_free char *path = kubernetes_path(cluster->settings.gateway_namespace, "secrets", NULL);
    const struct kube_call call = {
        .method = "POST", .path = path, .body = object, .may_repeat = true};
    place->has_record = true;
    kube_client_call(cluster->client, &call, on_errand,
                     new_errand(cluster, "making the record of kernel", place->id));
}

int kubernetes_keep(struct provisioner *self, const char *kernel_id, json_t *record,
                    const struct provision_events *events, void *context, struct provision **ret,
                    struct error *err) {
    struct kubernetes *cluster = (struct kubernetes *)self;
    struct provision *place = *ret;
    if (place == NULL) {
        place = kubernetes_find_place(cluster, kernel_id);
        if (place != NULL && (place->is_held || place->is_removed))
            return error_set(err, ERROR_UNAVAILABLE, "its place is not free");
        place = kubernetes_place(cluster, kernel_id);
        place->events = *events;
        place->context = context;
        place->is_held = place->is_ended = true;
    }
    json_t *whole = place->record != NULL ? json_copy(place->record) : json_object();
    json_object_update(whole, record);
    struct kube_intent *intent = kubernetes_intend(place, KUBE_INTENT_DEAD, json_deep_copy(record));
    json_decref(place->record);
    place->record = whole;
    place->state = KUBE_RECORD_DEAD;
    place->has_record = true;
    intent->record = kubernetes_make_record(place, KUBE_RECORD_DEAD, whole);
    (void)kubernetes_change(place, intent, on_kept,
                            new_errand(cluster, "recording the death of kernel", kernel_id));
    *ret = place;
    return 0;
}

/* --- what belongs to nobody --- */

/* A pod of ours whose record is not there: its gateway was killed between two steps of a removal,
 * or somebody deleted the record by hand. */
struct stray {
    struct list_node node;
    char *namespace, *name, *kernel_id;
    int64_t since_ms;
    bool is_told;
};

static void free_stray(struct stray *stray) {
    list_remove(&stray->node);
    free(stray->namespace);
    free(stray->name);
    free(stray->kernel_id);
    free(stray);
}

static struct stray *find_stray(const struct kubernetes *cluster, const json_t *pod) {
    list_each (&((struct kubernetes *)(uintptr_t)cluster)->strays, struct stray, node, stray)
        if (strcmp(stray->name, kube_object_name(pod)) == 0 &&
            strcmp(stray->namespace, kube_object_namespace(pod)) == 0)
            return stray;
    return NULL;
}

bool kubernetes_belongs(const struct kubernetes *cluster, const char *kernel_id) {
    const struct provision *place =
        kernel_id != NULL ? kubernetes_find_place(cluster, kernel_id) : NULL;
    return place != NULL && (place->is_held || place->is_removed || place->is_unreadable ||
                             (place->has_record && place->state != KUBE_RECORD_ENDED));
}

void kubernetes_note_stray(struct kubernetes *cluster, const json_t *pod, const char *kernel_id,
                           bool is_deleted) {
    if (kube_object_name(pod) == NULL || kube_object_namespace(pod) == NULL)
        return;
    struct stray *known = find_stray(cluster, pod);
    if (is_deleted && known != NULL)
        free_stray(known);
    if (is_deleted || known != NULL || kubernetes_belongs(cluster, kernel_id))
        return;
    struct stray *stray = memory_alloc(sizeof *stray);
    stray->namespace = memory_strdup(kube_object_namespace(pod));
    stray->name = memory_strdup(kube_object_name(pod));
    stray->kernel_id = kernel_id != NULL ? memory_strdup(kernel_id) : NULL;
    stray->since_ms = clock_monotonic_ms();
    list_append(&cluster->strays, &stray->node);
    kubernetes_wake(cluster);
}

void kubernetes_drop_strays(struct kubernetes *cluster) {
    list_each (&cluster->strays, struct stray, node, stray)
        free_stray(stray);
    list_each (&cluster->errands, struct errand, node, errand) {
        free_errand(errand);
    }
}

/* With its keys, unless a tombstone is there, whose matter they are. */
static void sweep_stray(struct kubernetes *cluster, const struct stray *stray) {
    const struct provision *place =
        stray->kernel_id != NULL ? kubernetes_find_place(cluster, stray->kernel_id) : NULL;
    kubernetes_delete_named(cluster, stray->namespace, stray->name, -1);
    if (stray->kernel_id == NULL || (place != NULL && place->has_record))
        return;
    char name[KUBE_NAME_SIZE];
    kube_name_key(cluster->settings.install, stray->kernel_id, name);
    cleanup_free char *path = kubernetes_path(stray->namespace, "secrets", name);
    delete_object(cluster, path, -1, NULL, NULL, on_errand,
                  new_errand(cluster, "deleting the key Secret", name));
}

static void sweep_strays(struct kubernetes *cluster, int64_t now_ms) {
    list_each (&cluster->strays, struct stray, node, stray) {
        const struct provision *place =
            kubernetes_place_of_pod(cluster, stray->namespace, stray->name);
        if (kubernetes_belongs(cluster, place != NULL ? place->id : stray->kernel_id)) {
            free_stray(stray);
            continue;
        }
        if (now_ms - stray->since_ms < cluster->settings.sweep_grace_ms)
            continue;
        if (!stray->is_told)
            log_warning("the pod %s in %s belongs to no kernel and is deleted", stray->name,
                        stray->namespace);
        cluster->swept += !stray->is_told;
        stray->is_told = true;
        stray->since_ms = now_ms; /* again, until it is told that it is gone */
        sweep_stray(cluster, stray);
    }
}

bool kubernetes_is_left(const struct provision *place) {
    return place->has_record && place->state == KUBE_RECORD_ENDED && !place->is_removed &&
           !place->is_held && place->swept_ms == 0 &&
           json_object_get(place->record, KUBE_RECORD_UNFINISHED) != NULL;
}

static void sweep_unfinished(struct provision *place) {
    log_warning("kernel %s: the gateway that ended it did not remove all that it had; that is done "
                "now",
                place->id);
    place->cluster->swept++;
    place->is_removed = true;
    remove_objects(place);
}

static void sweep_tombstone(struct provision *place) {
    cleanup_free char *path = kubernetes_record_path(place->cluster, place->id);
    delete_object(place->cluster, path, -1, place->seen != NULL ? place->seen->version : NULL, NULL,
                  on_errand,
                  new_errand(place->cluster, "deleting the tombstone of kernel", place->id));
}

static void sweep_tombstones(struct kubernetes *cluster, int64_t now_ms) {
    int64_t wall_ms = kube_client_wall_ms(cluster->client);
    list_each (&cluster->all, struct provision, node, place) {
        int64_t died_ms = json_integer_value(json_object_get(place->record, "died_ms"));
        bool is_tombstone = place->state == KUBE_RECORD_ENDED && place->has_record &&
                            !place->is_held && !place->is_removed;
        if (!is_tombstone || (place->swept_ms != 0 && now_ms - place->swept_ms < SWEEP_AGAIN_MS))
            continue;
        bool is_left = json_object_get(place->record, KUBE_RECORD_UNFINISHED) != NULL;
        if (wall_ms - died_ms <
            (is_left ? cluster->settings.sweep_grace_ms : cluster->settings.tombstone_retention_ms))
            continue;
        place->swept_ms = now_ms;
        if (is_left)
            sweep_unfinished(place);
        else
            sweep_tombstone(place);
    }
}

void kubernetes_sweep(struct kubernetes *cluster) {
    if (!cluster->has_records || !cluster->has_pods || cluster->is_records_blind)
        return; /* what we do not see is not missing */
    kubernetes_sweep_rooms(cluster);
    sweep_strays(cluster, clock_monotonic_ms());
    sweep_tombstones(cluster, clock_monotonic_ms());
}
