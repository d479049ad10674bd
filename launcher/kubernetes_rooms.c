/* Namespaces beside the one that all pods are in or the watch of all: those that KERNEL_NAMESPACE
 * has named, each with watches of its own as long as kernels are in it, so that the gateway needs
 * rights in these namespaces only. And those that were made for kernels which are no more. */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

#define LOG_AREA "launcher/kubernetes_rooms"
#include "base/log.h"

#include <string.h>

enum { ROOMS_MAX = 256 };

struct room {
    struct list_node node;
    struct kubernetes *cluster;
    char *namespace;
    struct kube_watch *pods, *events;
    struct kube_trouble pods_trouble, events_trouble;
    bool has_pods;   /* its first list was told */
    bool is_settled; /* or is not to be had for now */
};

/* --- rooms --- */

static struct room *find_room(const struct kubernetes *cluster, const char *namespace) {
    list_each (&((struct kubernetes *)(uintptr_t)cluster)->rooms, struct room, node, room)
        if (strcmp(room->namespace, namespace) == 0)
            return room;
    return NULL;
}

/* The first watch sees it. */
static bool is_seen(const struct kubernetes *cluster, const char *namespace) {
    return cluster->settings.namespaces != KUBERNETES_FIXED ||
           strcmp(namespace, cluster->settings.kernel_namespace) == 0;
}

bool kubernetes_sees_pods(const struct provision *place) {
    const struct kubernetes *cluster = place->cluster;
    if (!cluster->has_pods || place->namespace == NULL || is_seen(cluster, place->namespace))
        return cluster->has_pods;
    const struct room *room = find_room(cluster, place->namespace);
    return room != NULL && room->has_pods;
}

bool kubernetes_rooms_settled(const struct kubernetes *cluster) {
    list_each (&((struct kubernetes *)(uintptr_t)cluster)->rooms, struct room, node, room)
        if (!room->is_settled)
            return false;
    return true;
}

static void on_pod(void *context, enum kube_change change, json_t *pod) {
    struct room *room = context;
    kubernetes_take_pod(room->cluster, change, pod);
}

static void settle(struct room *room) {
    bool was_settled = room->is_settled;
    room->is_settled = true;
    if (!was_settled)
        kubernetes_tell_found(room->cluster);
}

static void on_synced(void *context) {
    struct room *room = context;
    struct kubernetes *cluster = room->cluster;
    cleanup_free char *namespace = memory_strdup(room->namespace);
    room->has_pods = true;
    settle(room);
    list_each (&cluster->all, struct provision, node, place)
        if (place->namespace != NULL && strcmp(place->namespace, namespace) == 0)
            kubernetes_judge(place); /* what is missing is so now */
}

static void on_trouble(void *context, const struct error *err) {
    struct room *room = context;
    struct kubernetes *cluster = room->cluster;
    cleanup_free char *namespace = memory_strdup(room->namespace);
    cleanup_free char *what = memory_printf("the kernels' pods in namespace %s", namespace);
    kubernetes_log_trouble(&room->pods_trouble, what, err);
    bool is_refused = err != NULL && err->code == ERROR_DENIED;
    settle(room);
    list_each (&cluster->all, struct provision, node, place)
        if (is_refused && place->is_on_its_way && !place->is_ended && place->namespace != NULL &&
            strcmp(place->namespace, namespace) == 0)
            kubernetes_call_ended(place, err); /* nobody would see its pod run */
}

static int begin(struct room *room, const char *kind, const char *labels, const char *fields,
                 const struct kube_watch_events *events, struct kube_watch **ret,
                 struct error *err) {
    cleanup_free char *path = kubernetes_path(room->namespace, kind, NULL);
    const struct kube_watch_settings settings = {
        .path = path, .label_selector = labels, .field_selector = fields};
    return kube_watch_create(room->cluster->client, &settings, events, room, ret, err);
}

static void on_event(void *context, enum kube_change change, json_t *event) {
    struct room *room = context;
    kubernetes_take_event(room->cluster, change, event);
}

static void on_events_trouble(void *context, const struct error *err) {
    struct room *room = context;
    cleanup_free char *what =
        memory_printf("why a pod in namespace %s does not start", room->namespace);
    kubernetes_log_trouble(&room->events_trouble, what, err);
}

static void watch_events(struct room *room) {
    static const struct kube_watch_events events = {.changed = on_event,
                                                    .trouble = on_events_trouble};
    struct error err;
    if (room->events == NULL &&
        begin(room, "events", NULL, "involvedObject.kind=Pod", &events, &room->events, &err) < 0)
        log_error("why a pod does not start cannot be told: %s", err.text);
}

void kubernetes_watch_room_events(struct kubernetes *cluster, bool wanted) {
    list_each (&cluster->rooms, struct room, node, room) {
        if (wanted) {
            watch_events(room);
        } else {
            kube_watch_destroy(room->events);
            room->events = NULL;
        }
    }
}

static void free_room(struct room *room) {
    list_remove(&room->node);
    kube_watch_destroy(room->pods);
    kube_watch_destroy(room->events);
    free(room->namespace);
    free(room);
}

int kubernetes_open_room(struct kubernetes *cluster, const char *namespace, struct error *err) {
    static const struct kube_watch_events pods = {
        .changed = on_pod, .synced = on_synced, .trouble = on_trouble};
    size_t count = 0;
    if (is_seen(cluster, namespace) || find_room(cluster, namespace) != NULL)
        return 0;
    list_each (&cluster->rooms, struct room, node, other)
        count++;
    if (count >= ROOMS_MAX)
        return error_set(err, ERROR_LIMIT,
                         "KERNEL_NAMESPACE: kernels are in %d other namespaces already", ROOMS_MAX);
    struct room *room = memory_alloc(sizeof *room);
    room->cluster = cluster;
    room->namespace = memory_strdup(namespace);
    list_append(&cluster->rooms, &room->node);
    cleanup_free char *labels = kube_selector(cluster->settings.install, "pod");
    if (begin(room, "pods", labels, NULL, &pods, &room->pods, err) < 0) {
        free_room(room);
        return -1;
    }
    if (cluster->events != NULL)
        watch_events(room);
    return 0;
}

static bool is_used(const struct room *room) {
    list_each (&room->cluster->all, struct provision, node, place)
        if (place->namespace != NULL && strcmp(place->namespace, room->namespace) == 0 &&
            (place->is_held || place->is_removed || place->state != KUBE_RECORD_ENDED))
            return true;
    return false;
}

static void close_rooms(struct kubernetes *cluster) {
    list_each (&cluster->rooms, struct room, node, room)
        if (!is_used(room))
            free_room(room);
}

/* --- namespaces that we have made for a kernel each --- */

struct made {
    struct list_node node;
    char *name, *uid, *kernel_id;
    int64_t spare_since_ms; /* 0: it is its kernel's */
};

static void free_made(struct made *made) {
    list_remove(&made->node);
    free(made->name);
    free(made->uid);
    free(made->kernel_id);
    free(made);
}

static void judge_made(struct kubernetes *cluster, struct made *made) {
    if (kubernetes_belongs(cluster, made->kernel_id))
        made->spare_since_ms = 0;
    else if (made->spare_since_ms == 0)
        made->spare_since_ms = clock_monotonic_ms();
}

static void on_namespace(void *context, enum kube_change change, json_t *namespace) {
    struct kubernetes *cluster = context;
    const char *name = kube_object_name(namespace), *uid = kube_object_uid(namespace);
    const char *id = kube_object_kernel_id(namespace);
    if (name == NULL || uid == NULL)
        return;
    list_each (&cluster->made, struct made, node, known)
        if (strcmp(known->name, name) == 0)
            free_made(known);
    bool is_going =
        json_object_get(json_object_get(namespace, "metadata"), "deletionTimestamp") != NULL;
    if (change == KUBE_DELETED || is_going || id == NULL || !kubernetes_is_of_kernel(namespace, id))
        return;
    struct made *made = memory_alloc(sizeof *made);
    made->name = memory_strdup(name);
    made->uid = memory_strdup(uid);
    made->kernel_id = memory_strdup(id);
    list_append(&cluster->made, &made->node);
    if (cluster->has_records)
        judge_made(cluster, made);
    kubernetes_wake(cluster);
}

static void on_namespaces_trouble(void *context, const struct error *err) {
    struct kubernetes *cluster = context;
    kubernetes_log_trouble(&cluster->namespaces_trouble, "the kernels' namespaces", err);
}

int kubernetes_watch_made(struct kubernetes *cluster, struct error *err) {
    static const struct kube_watch_events events = {.changed = on_namespace,
                                                    .trouble = on_namespaces_trouble};
    if (cluster->settings.namespaces != KUBERNETES_PER_KERNEL)
        return 0;
    cleanup_free char *labels = kube_selector(cluster->settings.install, "namespace");
    const struct kube_watch_settings settings = {.path = "/api/v1/namespaces",
                                                 .label_selector = labels};
    return kube_watch_create(cluster->client, &settings, &events, cluster, &cluster->namespaces,
                             err);
}

bool kubernetes_has_spare(const struct kubernetes *cluster) {
    list_each (&((struct kubernetes *)(uintptr_t)cluster)->made, struct made, node, made)
        if (made->spare_since_ms != 0)
            return true;
    return false;
}

static void sweep_made(struct kubernetes *cluster) {
    int64_t now_ms = clock_monotonic_ms();
    list_each (&cluster->made, struct made, node, made) {
        judge_made(cluster, made);
        if (made->spare_since_ms == 0 ||
            now_ms - made->spare_since_ms < cluster->settings.sweep_grace_ms)
            continue;
        log_warning("the namespace %s was made for a kernel that is no more, and is deleted",
                    made->name);
        kubernetes_delete_namespace(cluster, made->name, made->uid);
        cluster->swept++;
        made->spare_since_ms = now_ms; /* until it is told that it goes */
    }
}

void kubernetes_sweep_rooms(struct kubernetes *cluster) {
    close_rooms(cluster);
    sweep_made(cluster);
}

void kubernetes_drop_rooms(struct kubernetes *cluster) {
    kube_watch_destroy(cluster->namespaces);
    list_each (&cluster->rooms, struct room, node, room)
        free_room(room);
    list_each (&cluster->made, struct made, node, made)
        free_made(made);
}
