/* Taking away: a kernel's objects, tombstones that are too old, and what belongs to nobody. */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#define LOG_AREA "launcher/kubernetes_end"
#include "base/log.h"

#include <string.h>

enum { ORPHAN_GRACE_MS = 60000, SWEEP_AGAIN_MS = 300000 };

/* --- calls nobody waits for --- */

/* Something to be done that nothing waits for. */
struct errand {
    struct list_node node;
    char what[192];
};

static struct errand *new_errand(struct kubernetes *cluster, const char *what, const char *name) {
    struct errand *errand = memory_alloc(sizeof *errand);
    snprintf(errand->what, sizeof errand->what, "%s %s", what, name);
    list_append(&cluster->errands, &errand->node);
    return errand;
}

static void on_errand(void *context, int status, json_t *answer, const struct error *err) {
    struct errand *errand = context;
    (void)answer;
    if (err != NULL && status != 404 && status != 409)
        log_error("%s: %s", errand->what, err->text);
    list_remove(&errand->node);
    free(errand);
}

/* version, uid: the one that is meant; NULL: whichever there is. */
static void delete_object(struct kubernetes *cluster, const char *path, int64_t grace_s,
                          const char *version, const char *uid, kube_done *done, void *context) {
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
    kube_client_call(cluster->client, &call, done, context);
}

bool kubernetes_is_of_kernel(const json_t *object, const char *kernel_id) {
    char suffix[KUBE_SUFFIX_SIZE];
    kube_name_suffix(kernel_id, suffix);
    const char *label = kube_object_label(object, KUBE_LABEL_KERNEL);
    return label != NULL && strcmp(label, suffix) == 0;
}

void kubernetes_delete_record(struct provision *place) {
    cleanup_free char *path = kubernetes_record_path(place->cluster, place->id);
    delete_object(place->cluster, path, -1, NULL, NULL, on_errand,
                  new_errand(place->cluster, "deleting the record of kernel", place->id));
}

void kubernetes_delete_named(struct kubernetes *cluster, const char *namespace, const char *name,
                             int64_t grace_s) {
    cleanup_free char *path = kubernetes_path(namespace, "pods", name);
    delete_object(cluster, path, grace_s, NULL, NULL, on_errand,
                  new_errand(cluster, "deleting the pod", name));
}

void kubernetes_delete_pod(struct provision *place, int64_t grace_s) {
    if (place->pod_name != NULL)
        kubernetes_delete_named(place->cluster, place->namespace, place->pod_name, grace_s);
}

/* --- removal --- */

/* What is kept of one that ended: whose it was, and why it is no more. */
static json_t *tombstone(const struct provision *place, const char *why) {
    json_t *record = json_object();
    static const char *const kept[] = {"kernel_id", "name", "display_name",
                                       "owner",     "user", "created"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (json_object_get(place->record, kept[i]) != NULL)
            json_object_set(record, kept[i], json_object_get(place->record, kept[i]));
    json_object_set_new(record, "phase", json_string("ended"));
    json_object_set_new(record, "reason", json_string(why));
    json_object_set_new(record, "died_ms", json_integer(clock_wall_us() / 1000));
    return record;
}

struct kube_request *kubernetes_patch_record(struct provision *place, enum kube_record_state state,
                                             const json_t *record, kube_done *done, void *context) {
    struct kube_record *as_is = kubernetes_make_record(place, state, record);
    cleanup_json json_t *patch = NULL;
    struct error err;
    int failed = kube_record_patch(as_is, &patch, &err);
    kube_record_free(as_is);
    if (failed < 0) {
        done(context, 0, NULL, &err);
        return NULL;
    }
    cleanup_free char *path = kubernetes_record_path(place->cluster, place->id);
    const struct kube_call call = {
        .method = "PATCH", .path = path, .body = patch, .may_repeat = true};
    return kube_client_call(place->cluster->client, &call, done, context);
}

void kubernetes_let_go(struct provision *place) {
    kubernetes_cancel(place);
    place->is_held = place->is_note_due = false;
    place->began_ms = place->start_by_ms = place->judge_at_ms = 0;
    place->step = STEP_NONE;
    kubernetes_note_way(place, false);
}

/* First it is on record that the kernel has ended, then its objects go: who finds them meanwhile
 * takes them for strays. What fails is tried again. */
enum { REMOVE_AGAIN_MS = 5000 };

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
    if (place->judge_at_ms == 0)
        place->is_removed = false;
    if (!place->is_removed && !place->has_record)
        kubernetes_forget(place);
    else
        kubernetes_wake(place->cluster);
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

static void on_buried(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    if (err == NULL || status == 404) {
        if (place->namespace != NULL && place->namespace_created)
            remove_namespace(place);
        if (place->namespace != NULL && place->pod_name != NULL)
            remove_object(place, kubernetes_path(place->namespace, "pods", place->pod_name));
        if (place->namespace != NULL)
            remove_object(place, kubernetes_key_path(place));
    }
    on_removal(place, status, answer, err);
}

void kubernetes_remove_again(struct provision *place) {
    place->removals++;
    (void)kubernetes_patch_record(place, KUBE_RECORD_ENDED, place->record, on_buried, place);
}

void kubernetes_remove(struct provision *place, const char *why) {
    if (place->is_removed)
        return;
    kubernetes_let_go(place);
    if (why == NULL) { /* the next attempt has a name of its own, and the same keys */
        if (!place->is_ended)
            kubernetes_delete_pod(place, 0);
        kubernetes_set_pod(place, NULL, 0);
        place->is_free = true;
        return;
    }
    place->is_removed = true;
    place->state = KUBE_RECORD_ENDED;
    json_t *record = tombstone(place, why);
    json_decref(place->record);
    place->record = record;
    kubernetes_remove_again(place);
}

/* --- dead ones --- */

static void post_record(struct provision *place) {
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
    cleanup_free char *path = kubernetes_path(cluster->settings.gateway_namespace, "secrets", NULL);
    const struct kube_call call = {
        .method = "POST", .path = path, .body = object, .may_repeat = true};
    place->has_record = true;
    kube_client_call(cluster->client, &call, on_errand,
                     new_errand(cluster, "making the record of kernel", place->id));
}

void kubernetes_restore_record(struct provision *place) {
    log_warning("kernel %s: its record was deleted, it is written again", place->id);
    post_record(place);
}

void kubernetes_restore_labels(struct provision *place) {
    const struct kube_identity identity = {.install = place->cluster->settings.install,
                                           .kernel_id = place->id};
    cleanup_json json_t *labels = kube_labels(&identity, "pod");
    cleanup_json json_t *patch = json_pack("{s:{s:O}}", "metadata", "labels", labels);
    cleanup_free char *path = kubernetes_path(place->namespace, "pods", place->pod_name);
    log_warning("kernel %s: its pod %s lost the labels by which it is found, they are put back",
                place->id, place->pod_name);
    const struct kube_call call = {
        .method = "PATCH", .path = path, .body = patch, .may_repeat = true};
    kube_client_call(
        place->cluster->client, &call, on_errand,
        new_errand(place->cluster, "putting the labels back of the pod", place->pod_name));
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
    json_decref(place->record);
    place->record = whole;
    place->state = KUBE_RECORD_DEAD;
    kube_request_cancel(steal(&place->note_call)); /* it would say that it lives */
    place->is_note_due = false;
    if (place->has_record)
        (void)kubernetes_patch_record(
            place, KUBE_RECORD_DEAD, whole, on_errand,
            new_errand(cluster, "recording the death of kernel", place->id));
    else
        post_record(place);
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

static bool belongs(const struct kubernetes *cluster, const char *kernel_id) {
    const struct provision *place =
        kernel_id != NULL ? kubernetes_find_place(cluster, kernel_id) : NULL;
    return place != NULL && (place->is_held || place->is_removed || place->is_unreadable ||
                             (place->has_record && place->state != KUBE_RECORD_ENDED));
}

void kubernetes_note_stray(struct kubernetes *cluster, const json_t *pod, bool is_deleted) {
    const char *kernel_id = kube_object_kernel_id(pod);
    if (kube_object_name(pod) == NULL || kube_object_namespace(pod) == NULL)
        return;
    struct stray *known = find_stray(cluster, pod);
    if (is_deleted && known != NULL)
        free_stray(known);
    if (is_deleted || known != NULL || belongs(cluster, kernel_id))
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
        list_remove(&errand->node);
        free(errand);
    }
}

static void sweep_strays(struct kubernetes *cluster, int64_t now_ms) {
    list_each (&cluster->strays, struct stray, node, stray) {
        if (belongs(cluster, stray->kernel_id)) {
            free_stray(stray);
            continue;
        }
        if (now_ms - stray->since_ms < ORPHAN_GRACE_MS)
            continue;
        log_warning("the pod %s in %s belongs to no kernel and is deleted", stray->name,
                    stray->namespace);
        kubernetes_delete_named(cluster, stray->namespace, stray->name, -1);
        stray->since_ms = now_ms; /* until it is told that it is gone */
    }
}

/* With what its gateway was killed before it could delete. */
static void sweep_tombstone(struct provision *place) {
    struct kubernetes *cluster = place->cluster;
    if (place->namespace != NULL && !place->namespace_created) {
        cleanup_free char *path = kubernetes_key_path(place);
        delete_object(cluster, path, -1, NULL, NULL, on_errand,
                      new_errand(cluster, "deleting the key Secret of kernel", place->id));
    }
    cleanup_free char *path = kubernetes_record_path(place->cluster, place->id);
    delete_object(cluster, path, -1, place->version, NULL, on_errand,
                  new_errand(cluster, "deleting the tombstone of kernel", place->id));
}

static void sweep_tombstones(struct kubernetes *cluster, int64_t now_ms) {
    int64_t wall_ms = clock_wall_us() / 1000;
    list_each (&cluster->all, struct provision, node, place) {
        int64_t died_ms = json_integer_value(json_object_get(place->record, "died_ms"));
        bool is_tombstone = place->state == KUBE_RECORD_ENDED && place->has_record &&
                            !place->is_held && !place->is_removed;
        if (!is_tombstone || wall_ms - died_ms < cluster->settings.tombstone_retention_ms ||
            (place->swept_ms != 0 && now_ms - place->swept_ms < SWEEP_AGAIN_MS))
            continue;
        place->swept_ms = now_ms;
        sweep_tombstone(place);
    }
}

void kubernetes_sweep(struct kubernetes *cluster) {
    if (!cluster->has_records || !cluster->has_pods || cluster->is_records_blind)
        return; /* what we do not see is not missing */
    sweep_strays(cluster, clock_monotonic_ms());
    sweep_tombstones(cluster, clock_monotonic_ms());
}
