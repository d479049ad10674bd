/* Taking away: a kernel's objects, tombstones that are too old, and what belongs to nobody. */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#define LOG_AREA "launcher/kubernetes_end"
#include "base/log.h"

#include <string.h>

enum { ORPHAN_GRACE_MS = 60000 };

/* --- calls nobody waits for --- */

static void on_deleted(void *context, int status, json_t *answer, const struct error *err) {
    char *what = context;
    (void)answer;
    if (err != NULL && status != 404)
        log_error("%s could not be deleted: %s", what, err->text);
    free(what);
}

static void delete_object(struct kubernetes *cluster, const char *path, int64_t grace_s,
                          kube_done *done, void *context) {
    cleanup_json json_t *options = json_pack("{s:s}", "propagationPolicy", "Background");
    if (grace_s >= 0)
        json_object_set_new(options, "gracePeriodSeconds", json_integer(grace_s));
    const struct kube_call call = {
        .method = "DELETE", .path = path, .body = options, .may_repeat = true};
    kube_client_call(cluster->client, &call, done, context);
}

void kubernetes_delete_named(struct kubernetes *cluster, const char *namespace, const char *name,
                             int64_t grace_s) {
    cleanup_free char *path = kubernetes_path(namespace, "pods", name);
    delete_object(cluster, path, grace_s, on_deleted, memory_printf("the pod %s", name));
}

void kubernetes_delete_pod(struct provision *place, int64_t grace_s) {
    if (place->pod_name != NULL)
        kubernetes_delete_named(place->cluster, place->namespace, place->pod_name, grace_s);
}

/* --- removal --- */

/* What the API server said last is in the watch's hands from here on. */
static void on_removal(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    (void)answer;
    if (err != NULL && status != 404)
        log_error("kernel %s: what is left of it could not be removed: %s", place->id, err->text);
    if (--place->removals > 0)
        return;
    place->is_removed = false;
    place->state = KUBE_RECORD_ENDED;
    if (!place->has_record)
        kubernetes_forget(place);
    else
        kubernetes_wake(place->cluster);
}

static void remove_object(struct provision *place, const char *namespace, const char *kind,
                          const char *name) {
    cleanup_free char *path = kubernetes_path(namespace, kind, name);
    place->removals++;
    delete_object(place->cluster, path, -1, on_removal, place);
}

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
    struct kubernetes *cluster = place->cluster;
    struct kube_record *as_is = kube_record_new(place->id, record);
    cleanup_json json_t *patch = NULL;
    struct error err;
    as_is->state = state;
    as_is->attempt = place->attempt;
    as_is->namespace_created = place->namespace_created;
    as_is->kernel_namespace = place->namespace != NULL ? memory_strdup(place->namespace) : NULL;
    int failed = kube_record_patch(as_is, &patch, &err);
    kube_record_free(as_is);
    if (failed < 0) {
        done(context, 0, NULL, &err);
        return NULL;
    }
    char name[KUBE_NAME_SIZE];
    kube_name_record(place->id, name);
    cleanup_free char *path = kubernetes_path(cluster->settings.gateway_namespace, "secrets", name);
    const struct kube_call call = {.method = "PATCH",
                                   .path = path,
                                   .body = patch,
                                   .content_type = "application/merge-patch+json",
                                   .may_repeat = true};
    return kube_client_call(cluster->client, &call, done, context);
}

static void let_go(struct provision *place) {
    kubernetes_cancel(place);
    place->is_held = false;
    place->began_ms = 0;
    place->step = STEP_NONE;
    kubernetes_note_way(place, false);
}

void kubernetes_remove(struct provision *place, const char *why) {
    if (place->is_removed)
        return;
    let_go(place);
    if (why == NULL) { /* the next attempt has a name of its own, and the same keys */
        if (!place->is_ended)
            kubernetes_delete_pod(place, 0);
        kubernetes_set_pod(place, NULL, 0);
        return;
    }
    place->is_removed = true;
    cleanup_json json_t *record = tombstone(place, why);
    char key[KUBE_NAME_SIZE];
    kube_name_key(place->id, key);
    place->removals++;
    (void)kubernetes_patch_record(place, KUBE_RECORD_ENDED, record, on_removal, place);
    if (place->namespace != NULL && place->namespace_created) {
        remove_object(place, NULL, "namespaces", place->namespace);
    } else if (place->namespace != NULL) {
        if (place->pod_name != NULL)
            remove_object(place, place->namespace, "pods", place->pod_name);
        remove_object(place, place->namespace, "secrets", key);
    }
    json_decref(place->record);
    place->record = steal(&record);
}

/* --- dead ones --- */

static void on_kept(void *context, int status, json_t *answer, const struct error *err) {
    char *id = context;
    (void)status, (void)answer;
    if (err != NULL)
        log_error("kernel %s: that it is dead could not be recorded: %s", id, err->text);
    free(id);
}

static void post_dead(struct provision *place) {
    struct kubernetes *cluster = place->cluster;
    struct kube_record *record = kube_record_new(place->id, place->record);
    cleanup_json json_t *object = NULL;
    struct error err;
    record->state = KUBE_RECORD_DEAD;
    int failed = kube_record_tree(record, cluster->settings.install,
                                  cluster->settings.gateway_namespace, &object, &err);
    kube_record_free(record);
    if (failed < 0) {
        on_kept(memory_strdup(place->id), 0, NULL, &err);
        return;
    }
    cleanup_free char *path = kubernetes_path(cluster->settings.gateway_namespace, "secrets", NULL);
    const struct kube_call call = {
        .method = "POST", .path = path, .body = object, .may_repeat = true};
    place->has_record = true;
    kube_client_call(cluster->client, &call, on_kept, memory_strdup(place->id));
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
    if (place->has_record)
        (void)kubernetes_patch_record(place, KUBE_RECORD_DEAD, whole, on_kept,
                                      memory_strdup(place->id));
    else
        post_dead(place);
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
    return place != NULL && (place->is_held || place->is_removed ||
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
}

static void sweep_strays(struct kubernetes *cluster, int64_t now_ms) {
    int64_t grace_ms =
        cluster->settings.orphan_grace_ms > 0 ? cluster->settings.orphan_grace_ms : ORPHAN_GRACE_MS;
    list_each (&cluster->strays, struct stray, node, stray) {
        if (belongs(cluster, stray->kernel_id)) {
            free_stray(stray);
            continue;
        }
        if (now_ms - stray->since_ms < grace_ms)
            continue;
        log_warning("the pod %s in %s belongs to no kernel and is deleted", stray->name,
                    stray->namespace);
        cluster->orphans++;
        kubernetes_delete_named(cluster, stray->namespace, stray->name, -1);
        free_stray(stray);
    }
}

static void sweep_tombstones(struct kubernetes *cluster) {
    int64_t now_ms = clock_wall_us() / 1000;
    list_each (&cluster->all, struct provision, node, place) {
        if (place->state != KUBE_RECORD_ENDED || !place->has_record || place->is_held ||
            place->is_removed)
            continue;
        int64_t died_ms = json_integer_value(json_object_get(place->record, "died_ms"));
        if (now_ms - died_ms < cluster->settings.tombstone_retention_ms)
            continue;
        char name[KUBE_NAME_SIZE];
        kube_name_record(place->id, name);
        cleanup_free char *path =
            kubernetes_path(cluster->settings.gateway_namespace, "secrets", name);
        delete_object(cluster, path, -1, on_deleted, memory_printf("the record %s", name));
        kubernetes_forget(place);
    }
}

void kubernetes_sweep(struct kubernetes *cluster) {
    if (!cluster->has_records || !cluster->has_pods || cluster->is_records_blind)
        return; /* what we do not see is not missing */
    sweep_strays(cluster, clock_monotonic_ms());
    sweep_tombstones(cluster);
}
