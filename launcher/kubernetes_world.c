/* What the watches tell: records, pods, and events of pods that are on their way. */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_merge.h"

#define LOG_AREA "launcher/kubernetes_world"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *member) {
    return json_string_value(json_object_get(object, member));
}

void kubernetes_log_trouble(struct kube_trouble *trouble, const char *what,
                            const struct error *err) {
    if (err == NULL && kube_trouble_ends(trouble))
        log_info("%s can be seen again", what);
    else if (err != NULL && kube_trouble_begins(trouble, err->text, clock_monotonic_ms()))
        log_error("%s cannot be seen: %s", what, err->text);
}

/* --- records --- */

static bool is_told(const struct provision *place) {
    return place->has_record && place->state != KUBE_RECORD_ENDED;
}

void kubernetes_tell_place(struct provision *place) {
    const struct kubernetes *cluster = place->cluster;
    bool is_served = place->is_running || place->pod != NULL;
    bool is_ours = place->is_held && !(place->is_ended && is_served); /* or brought back to life */
    if (cluster->watcher.found != NULL && is_told(place) && !is_ours && !place->is_removed)
        cluster->watcher.found(cluster->watcher_context, place->id, place->record, is_served);
}

/* Its tombstone says why, and is not only of one that saw the kernel end. */
static bool is_by_orderer(const struct provision *place) {
    return place->state == KUBE_RECORD_ENDED && json_object_get(place->record, "reason") != NULL &&
           json_object_get(place->record, KUBE_RECORD_WITNESS) == NULL;
}

/* A tombstone, or none at all. */
static void tell_gone(struct provision *place) {
    struct kubernetes *cluster = place->cluster;
    if (cluster->watcher.gone != NULL && (!place->is_removed || is_by_orderer(place)))
        cluster->watcher.gone(cluster->watcher_context, place->id, place->record,
                              text_of(place->record, "reason"));
}

/* Takes it. Ours may be newer while we start it. */
static void take_seen(struct provision *place, struct kube_record *record) {
    kube_record_free(place->seen);
    place->seen = record;
    place->has_record = true;
    place->is_unreadable = false;
    place->state = record->state;
    if (place->began_ms == 0 || place->record == NULL || record->state == KUBE_RECORD_ENDED) {
        json_decref(place->record);
        place->record = json_incref(record->record);
    }
    if (record->kernel_namespace != NULL &&
        (place->namespace == NULL || strcmp(place->namespace, record->kernel_namespace) != 0)) {
        kubernetes_set_pod(place, NULL, 0); /* what we took for its pod is none of its */
        text_replace(&place->namespace, record->kernel_namespace);
    }
    place->namespace_created = record->namespace_created;
    if (place->began_ms == 0)
        text_replace(&place->pods, record->pods);
    if (record->attempt > place->attempt)
        place->attempt = record->attempt;
}

static void forget_record(struct kubernetes *cluster, const json_t *secret) {
    const char *id = kube_object_kernel_id(secret);
    struct provision *place = NULL;
    if (id != NULL)
        place = kubernetes_find_place(cluster, id);
    for (struct list_node *at = cluster->all.head.next; place == NULL && at != &cluster->all.head;
         at = at->next) { /* one that vanished unseen has only its name */
        struct provision *one = list_entry(at, struct provision, node);
        char name[KUBE_NAME_SIZE];
        kube_name_record(cluster->settings.install, one->id, name);
        if (kube_object_name(secret) != NULL && strcmp(name, kube_object_name(secret)) == 0)
            place = one;
    }
    if (place == NULL)
        return;
    place->has_record = place->is_unreadable = false;
    kube_record_free(steal(&place->seen));
    if (place->is_held && !place->is_removed)
        kubernetes_doubt(place);
    else if (place->removals == 0 && !place->is_removed)
        kubernetes_forget(place);
}

/* Somebody has damaged it; its pod is no stray. */
static void note_unreadable(struct kubernetes *cluster, const json_t *secret,
                            const struct error *err) {
    const char *id = kube_object_kernel_id(secret);
    log_error("a kernel's record is passed over: %s", err->text);
    if (id != NULL)
        kubernetes_place(cluster, id)->is_unreadable = true;
}

void kubernetes_take_record(struct kubernetes *cluster, const json_t *secret, bool is_deleted) {
    struct kube_record *record;
    struct error err;
    if (is_deleted) {
        forget_record(cluster, secret);
        return;
    }
    if (kube_record_read(secret, &record, &err) < 0) {
        note_unreadable(cluster, secret, &err);
        return;
    }
    struct provision *place = kubernetes_place(cluster, record->kernel_id);
    bool was_told = is_told(place), was_there = place->has_record;
    enum kube_record_state before = place->state;
    bool was_explained = is_by_orderer(place);
    take_seen(place, record);
    if (place->namespace != NULL && place->state != KUBE_RECORD_ENDED &&
        kubernetes_open_room(cluster, place->namespace, &err) < 0)
        log_error("kernel %s: its pod cannot be seen: %s", place->id, err.text);
    if (!cluster->has_records || !cluster->has_pods)
        return; /* all are told together */
    bool is_news = before != place->state || !was_there || (is_by_orderer(place) && !was_explained);
    if (place->state == KUBE_RECORD_ENDED && is_news)
        tell_gone(place);
    else if (!was_told || before != place->state)
        kubernetes_tell_place(place);
    if (before == KUBE_RECORD_LIVE && place->state == KUBE_RECORD_DEAD)
        kubernetes_judge(place); /* another gateway's start has failed */
    kubernetes_wake(cluster);
}

static void on_record(void *context, enum kube_change change, json_t *object) {
    if (!kubernetes_take_pair(context, object, change == KUBE_DELETED))
        kubernetes_take_record(context, object, change == KUBE_DELETED);
}

static void on_records_synced(void *context) {
    struct kubernetes *cluster = context;
    cluster->has_records = true;
    kubernetes_tell_found(cluster);
}

static void on_records_trouble(void *context, const struct error *err) {
    struct kubernetes *cluster = context;
    cluster->is_records_blind = err != NULL;
    kubernetes_log_trouble(&cluster->records_trouble, "the kernels' records", err);
}

/* --- pods --- */

static char *pod_key(const char *namespace, const char *name) {
    return memory_printf("%s/%s", namespace != NULL ? namespace : "", name);
}

static void end_doubt(struct provision *place) {
    kube_request_cancel(steal(&place->pod_call));
    place->is_pod_doubtful = false;
}

static void forget_pod(struct provision *place) {
    if (place->pod_name == NULL)
        return;
    map_remove(place->cluster->by_pod, place->pod_key);
    text_replace(&place->pod_key, NULL);
    text_replace(&place->pod_name, NULL);
    text_replace(&place->pod_uid, NULL);
    json_decref(steal(&place->pod));
    json_decref(steal(&place->pod_events));
    place->is_running = false;
    text_replace(&place->doubt, NULL);
    end_doubt(place);
    place->end_at[0] = '\0';
    place->pod_attempt = 0;
    kubernetes_note_way(place, false);
}

void kubernetes_set_pod(struct provision *place, const char *name, int64_t attempt) {
    if (place->pod_name != NULL && name != NULL && strcmp(place->pod_name, name) == 0)
        return;
    forget_pod(place);
    if (name == NULL)
        return;
    place->pod_key = pod_key(place->namespace, name);
    text_replace(&place->pod_name, name);
    map_put(place->cluster->by_pod, place->pod_key, place);
    place->pod_attempt = attempt;
    if (attempt > place->attempt)
        place->attempt = attempt;
}

static void take_server_key(struct provision *place, const json_t *pod) {
    const json_t *annotations = json_object_get(json_object_get(pod, "metadata"), "annotations");
    const char *key = text_of(annotations, KUBE_ANNOTATION_SERVER_KEY);
    if (key != NULL)
        text_replace(&place->server_key, key);
    text_replace(&place->gateway_key, text_of(annotations, KUBE_ANNOTATION_GATEWAY_KEY));
}

struct provision *kubernetes_place_of_pod(const struct kubernetes *cluster, const char *namespace,
                                          const char *name) {
    cleanup_free char *key = pod_key(namespace, name);
    return map_get(cluster->by_pod, key);
}

/* Labels and annotations may have been edited by hand. */
static const char *kernel_of(const struct kubernetes *cluster, const json_t *pod) {
    const struct provision *place =
        kubernetes_place_of_pod(cluster, kube_object_namespace(pod), kube_object_name(pod));
    const char *id = kube_object_kernel_id(pod);
    if (place != NULL)
        return place->id;
    return id != NULL && kubernetes_owns_pod(cluster, id, pod) ? id : NULL;
}

/* Two replicas may have started the kernel anew at once: the later attempt is the kernel. */
static void delete_earlier(const struct provision *place, const json_t *pod) {
    const json_t *metadata = json_object_get(pod, "metadata");
    if (json_object_get(metadata, "deletionTimestamp") != NULL)
        return;
    log_info("kernel %s: the pod %s is of an earlier attempt and is deleted", place->id,
             kube_object_name(pod));
    kubernetes_delete_named(place->cluster, kube_object_namespace(pod), kube_object_name(pod), -1);
}

static void take_pod(struct provision *place, json_t *pod) {
    const char *name = kube_object_name(pod);
    bool is_current = place->pod_name != NULL && strcmp(place->pod_name, name) == 0;
    int64_t attempt = kube_attempt_of(name);
    int64_t least = place->pod_name != NULL ? place->pod_attempt + 1 : place->attempt;
    if (!is_current && attempt < least && (attempt > 0 || place->pod_name != NULL)) {
        delete_earlier(place, pod);
        return;
    }
    if (!is_current) {
        if (place->namespace == NULL)
            text_replace(&place->namespace, kube_object_namespace(pod));
        kubernetes_set_pod(place, name, attempt > 0 ? attempt : place->attempt);
    }
    end_doubt(place);
    text_replace(&place->pod_uid, kube_object_uid(pod));
    take_server_key(place, pod);
    if (!place->is_removed)
        kubernetes_judge_pod(place, pod);
}

void kubernetes_lose_pod(struct provision *place, const json_t *pod) {
    struct kubernetes *cluster = place->cluster;
    cleanup_free char *id = memory_strdup(place->id);
    if (!place->is_removed && !place->is_ended)
        kubernetes_judge_pod(place, pod);
    place = kubernetes_find_place(cluster, id);
    if (place != NULL)
        forget_pod(place);
}

/* Of what a watch stops to tell it says the last state, a list nothing. */
static void miss_pod(struct provision *place, const json_t *pod) {
    const char *uid = kube_object_uid(pod);
    if (place->pod_name == NULL || strcmp(place->pod_name, kube_object_name(pod)) != 0 ||
        (place->pod_uid != NULL && uid != NULL && strcmp(place->pod_uid, uid) != 0))
        return;
    if (place->is_held && !place->is_removed && !place->is_ended && !kubernetes_pod_is_over(pod))
        kubernetes_doubt_pod(place);
    else
        kubernetes_lose_pod(place, json_object_get(pod, "status") != NULL ? pod : NULL);
}

void kubernetes_take_pod(struct kubernetes *cluster, enum kube_change change, json_t *pod) {
    const char *kernel_id = kernel_of(cluster, pod);
    cleanup_free char *id = kernel_id != NULL ? memory_strdup(kernel_id) : NULL;
    struct provision *place = id != NULL ? kubernetes_find_place(cluster, id) : NULL;
    if (place != NULL && place->namespace != NULL && kube_object_namespace(pod) != NULL &&
        strcmp(place->namespace, kube_object_namespace(pod)) != 0)
        return; /* whoever may make pods elsewhere may write our annotations on them */
    kubernetes_note_stray(cluster, pod, id, change == KUBE_DELETED);
    if (place == NULL && change != KUBE_DELETED && id != NULL)
        place = kubernetes_place(cluster, id); /* its record may follow */
    if (place == NULL)
        return;
    if (change == KUBE_DELETED)
        miss_pod(place, pod);
    else
        take_pod(place, pod);
    place = kubernetes_find_place(cluster, id); /* it may be gone by now */
    if (place == NULL)
        return;
    if (!place->has_record && !place->is_held && !place->is_unreadable && place->removals == 0 &&
        place->pod_name == NULL) {
        kubernetes_forget(place);
        return;
    }
    if (cluster->has_pods && cluster->has_records && change == KUBE_ADDED)
        kubernetes_tell_place(place);
}

static void on_pod(void *context, enum kube_change change, json_t *pod) {
    kubernetes_take_pod(context, change, pod);
}

static void on_pods_synced(void *context) {
    struct kubernetes *cluster = context;
    cluster->has_pods = true;
    kubernetes_tell_found(cluster);
}

static void on_pods_trouble(void *context, const struct error *err) {
    struct kubernetes *cluster = context;
    kubernetes_log_trouble(&cluster->pods_trouble, "the kernels' pods", err);
}

/* --- events --- */

void kubernetes_take_event(struct kubernetes *cluster, enum kube_change change, json_t *event) {
    const json_t *object = json_object_get(event, "involvedObject");
    const char *name = text_of(object, "name");
    if (change == KUBE_DELETED || name == NULL)
        return;
    cleanup_free char *key = pod_key(text_of(object, "namespace"), name);
    struct provision *place = map_get(cluster->by_pod, key);
    if (place == NULL || place->is_running)
        return;
    if (place->pod_events == NULL)
        place->pod_events = json_array();
    if (json_array_size(place->pod_events) >= KUBERNETES_EVENTS_MAX)
        json_array_remove(place->pod_events, 0);
    json_array_append(place->pod_events, event);
    kubernetes_judge(place);
}

static void on_event(void *context, enum kube_change change, json_t *event) {
    kubernetes_take_event(context, change, event);
}

static void on_events_trouble(void *context, const struct error *err) {
    struct kubernetes *cluster = context;
    kubernetes_log_trouble(&cluster->events_trouble, "why a pod does not start", err);
}

/* --- the watches --- */

static int begin(struct kubernetes *cluster, const char *namespace, const char *kind,
                 const char *labels, const char *fields, const struct kube_watch_events *events,
                 struct kube_watch **ret, struct error *err) {
    cleanup_free char *path = kubernetes_path(namespace, kind, NULL);
    const struct kube_watch_settings settings = {
        .path = path, .label_selector = labels, .field_selector = fields};
    return kube_watch_create(cluster->client, &settings, events, cluster, ret, err);
}

static const char *watched_namespace(const struct kubernetes *cluster) {
    return cluster->settings.namespaces == KUBERNETES_FIXED ? cluster->settings.kernel_namespace
                                                            : NULL;
}

void kubernetes_watch_events(struct kubernetes *cluster, bool wanted) {
    static const struct kube_watch_events events = {.changed = on_event,
                                                    .trouble = on_events_trouble};
    struct error err;
    if (wanted == (cluster->events != NULL))
        return;
    if (!wanted) {
        kube_watch_destroy(cluster->events);
        cluster->events = NULL;
    } else if (begin(cluster, watched_namespace(cluster), "events", NULL, "involvedObject.kind=Pod",
                     &events, &cluster->events, &err) < 0) {
        log_error("why a pod does not start cannot be told: %s", err.text);
    }
    kubernetes_watch_room_events(cluster, wanted);
}

int kubernetes_watch(struct kubernetes *cluster, struct error *err) {
    static const struct kube_watch_events records = {
        .changed = on_record, .synced = on_records_synced, .trouble = on_records_trouble};
    static const struct kube_watch_events pods = {
        .changed = on_pod, .synced = on_pods_synced, .trouble = on_pods_trouble};
    cleanup_free char *record_labels =
        memory_printf(KUBE_LABEL_INSTALL "=%s," KUBE_LABEL_KIND " in (record,gateway)",
                      cluster->settings.install);
    cleanup_free char *pod_labels = kube_selector(cluster->settings.install, "pod");
    if (begin(cluster, cluster->settings.gateway_namespace, "secrets", record_labels, NULL,
              &records, &cluster->records, err) < 0)
        return -1;
    if (begin(cluster, watched_namespace(cluster), "pods", pod_labels, NULL, &pods, &cluster->pods,
              err) < 0)
        return -1;
    return kubernetes_watch_made(cluster, err);
}

void kubernetes_tell_found(struct kubernetes *cluster) {
    provisioner_found *found = cluster->found;
    if (!cluster->has_records || !cluster->has_pods || !kubernetes_rooms_settled(cluster) ||
        found == NULL)
        return;
    cluster->found = NULL;
    list_each (&cluster->all, struct provision, node, place) {
        if (is_told(place))
            found(cluster->found_context, place->id, place->record,
                  place->is_running || place->pod != NULL);
        else if (place->has_record)
            tell_gone(place);
    }
    cluster->watcher.searched(cluster->watcher_context, NULL);
    kubernetes_wake(cluster);
}
