#include "launcher/provisioner_kubernetes.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_template.h"
#include "launcher/kubernetes_internal.h"

#define LOG_AREA "launcher/provisioner_kubernetes"
#include "base/log.h"

#include <signal.h>
#include <string.h>

enum {
    TICK_MS = 1000,
    REST_TICK_MS = 60000,
    EVENTS_LINGER_MS = 300000, /* a watch of events costs two requests to begin */
};

/* --- places --- */

char *kubernetes_path(const char *namespace, const char *kind, const char *name) {
    return memory_printf("/api/v1/%s%s%s%s%s%s", namespace != NULL ? "namespaces/" : "",
                         namespace != NULL ? namespace : "", namespace != NULL ? "/" : "", kind,
                         name != NULL ? "/" : "", name != NULL ? name : "");
}

char *kubernetes_record_path(const struct kubernetes *cluster, const char *kernel_id) {
    char name[KUBE_NAME_SIZE];
    kube_name_record(cluster->settings.install, kernel_id, name);
    return kubernetes_path(cluster->settings.gateway_namespace, "secrets", name);
}

char *kubernetes_key_path(const struct provision *place) {
    char name[KUBE_NAME_SIZE];
    kube_name_key(place->cluster->settings.install, place->id, name);
    return kubernetes_path(place->namespace, "secrets", name);
}

struct kube_record *kubernetes_make_record(const struct provision *place,
                                           enum kube_record_state state, const json_t *record) {
    struct kube_record *made = kube_record_new(place->id, record);
    made->state = state;
    made->kernel_namespace = place->namespace != NULL ? memory_strdup(place->namespace) : NULL;
    made->namespace_created = place->namespace_created;
    made->attempt = place->attempt;
    text_replace(&made->pods, place->pods);
    made->port = place->cluster->settings.pod.port;
    return made;
}

bool kubernetes_is_of_install(const struct kubernetes *cluster, const json_t *object) {
    const char *install = kube_object_label(object, KUBE_LABEL_INSTALL);
    return install != NULL && strcmp(install, cluster->settings.install) == 0;
}

struct provision *kubernetes_find_place(const struct kubernetes *cluster, const char *id) {
    return map_get(cluster->places, id);
}

struct provision *kubernetes_place(struct kubernetes *cluster, const char *id) {
    struct provision *place = map_get(cluster->places, id);
    if (place != NULL)
        return place;
    place = memory_alloc(sizeof *place);
    place->cluster = cluster;
    place->id = memory_strdup(id);
    list_append(&cluster->all, &place->node);
    map_put(cluster->places, place->id, place);
    return place;
}

void kubernetes_cancel(struct provision *place) {
    kube_request_cancel(place->call);
    kube_request_cancel(steal(&place->pod_call));
    kubernetes_change_cancel(place->change);
    kubernetes_change_cancel(place->note_change);
    kubernetes_change_cancel(place->share_change);
    background_cancel(steal(&place->reading));
    home_wait_cancel(steal(&place->home_wait));
    kube_intent_free(steal(&place->intent));
    place->call = NULL;
    place->change = place->note_change = place->share_change = NULL;
    json_decref(steal(&place->noting));
    json_decref(steal(&place->shares_due));
}

void kubernetes_forget(struct provision *place) {
    kubernetes_cancel(place);
    kubernetes_note_way(place, false);
    kubernetes_set_pod(place, NULL, 0);
    map_remove(place->cluster->places, place->id);
    list_remove(&place->node);
    json_decref(place->record);
    json_decref(place->launch);
    json_decref(place->spec);
    json_decref(place->template);
    json_decref(place->owner);
    free(place->id);
    free(place->namespace);
    free(place->namespace_uid);
    json_decref(place->held);
    json_decref(place->noted);
    json_decref(place->testament);
    json_decref(place->ending);
    kube_record_free(place->seen);
    free(place->doubt);
    free(place->pods);
    free(place->server_key);
    free(place->gateway_key);
    free(place->nonce);
    free(place->spec_directory);
    free(place);
}

void kubernetes_call_ended(struct provision *place, const struct error *cause) {
    if (place->is_doubtful)
        return; /* it is judged again */
    place->is_ended = true;
    place->began_ms = 0;
    if (place->is_held)
        place->events.ended(place->context, cause); /* may remove it: the last use */
}

/* --- what ages --- */

static bool has_tombstones(const struct kubernetes *cluster) {
    list_each (&((struct kubernetes *)(uintptr_t)cluster)->all, struct provision, node, place)
        if (place->has_record && place->state == KUBE_RECORD_ENDED)
            return true;
    return false;
}

static bool is_ageing(const struct provision *place) {
    return place->judge_at_ms != 0 || place->start_by_ms != 0 || place->hello_by_ms != 0 ||
           place->call != NULL;
}

static bool has_waiting(const struct kubernetes *cluster) {
    list_each (&((struct kubernetes *)(uintptr_t)cluster)->all, struct provision, node, place)
        if (is_ageing(place) || kubernetes_is_left(place))
            return true;
    return false;
}

/* The next tick; none when nothing ages: a gateway at rest asks nobody. */
static int64_t next_tick_ms(const struct kubernetes *cluster) {
    if (cluster->on_their_way > 0 || !list_is_empty((struct list *)(uintptr_t)&cluster->strays) ||
        kubernetes_has_spare(cluster) || has_waiting(cluster))
        return TICK_MS;
    int64_t retention_ms = cluster->settings.tombstone_retention_ms;
    if (has_tombstones(cluster) && retention_ms < REST_TICK_MS)
        return retention_ms > TICK_MS ? retention_ms : TICK_MS;
    return cluster->events != NULL || has_tombstones(cluster) ? REST_TICK_MS : 0;
}

static void on_tick(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    struct kubernetes *cluster = context;
    int64_t now_ms = clock_monotonic_ms();
    list_each (&cluster->all, struct provision, node, place)
        if (is_ageing(place))
            kubernetes_age(place, now_ms);
    kubernetes_sweep(cluster);
    if (cluster->quiet_since_ms != 0 && now_ms - cluster->quiet_since_ms > EVENTS_LINGER_MS)
        kubernetes_watch_events(cluster, false);
    kubernetes_wake(cluster);
}

/* Within the shortest time that could be asked for: the places need not be looked at. */
static bool is_due_soon(const struct kubernetes *cluster, int64_t in_ms) {
    struct timeval due, now;
    if (!event_pending(cluster->tick, EV_TIMEOUT, &due))
        return false;
    event_base_gettimeofday_cached(cluster->loop, &now);
    return due.tv_sec <= now.tv_sec + in_ms / 1000;
}

void kubernetes_wake(struct kubernetes *cluster) {
    if (cluster->tick == NULL || is_due_soon(cluster, TICK_MS))
        return;
    int64_t in_ms = next_tick_ms(cluster);
    struct timeval wait = {.tv_sec = in_ms / 1000, .tv_usec = in_ms % 1000 * 1000};
    if (in_ms != 0 && !is_due_soon(cluster, in_ms))
        event_add(cluster->tick, &wait);
}

/* --- operations --- */

static int find(struct provisioner *self, provisioner_found *found, void *context,
                struct error *err) {
    struct kubernetes *cluster = (struct kubernetes *)self;
    (void)err;
    cluster->found = found;
    cluster->found_context = context;
    event_active(cluster->later, EV_TIMEOUT, 0);
    return 1;
}

static void on_later(evutil_socket_t fd, short what, void *context) {
    (void)fd, (void)what;
    struct kubernetes *cluster = context;
    kubernetes_tell_found(cluster);
    list_each (&cluster->all, struct provision, node, place)
        if (place->is_held && place->step == STEP_NONE)
            kubernetes_judge(place);
}

static int watch(struct provisioner *self, const struct provisioner_watch *watcher, void *context,
                 struct error *err) {
    struct kubernetes *cluster = (struct kubernetes *)self;
    (void)err;
    cluster->watcher = *watcher;
    cluster->watcher_context = context;
    return 0;
}

/* One question to the API server; who asks meanwhile for the same has its answer too. */
struct look {
    struct list_node node;
    struct kubernetes *cluster;
    struct kube_request *call;
    char id[129];
};

static void on_looked(void *context, int status, json_t *answer, const struct error *err) {
    struct look look = *(struct look *)context;
    list_remove(&((struct look *)context)->node);
    free(context);
    if (err == NULL)
        kubernetes_take_record(look.cluster, answer, false);
    else if (status != 404)
        log_warning("kernel %s: whether another gateway has it cannot be told: %s", look.id,
                    err->text);
    look.cluster->watcher.looked(look.cluster->watcher_context, look.id);
}

static int look(struct provisioner *self, const char *kernel_id) {
    struct kubernetes *cluster = (struct kubernetes *)self;
    struct provision *place = kubernetes_find_place(cluster, kernel_id);
    /* A pod alone may be ahead of its record. */
    bool is_known = place != NULL && (place->has_record || place->is_held || place->is_removed);
    if (is_known && place->state == KUBE_RECORD_LIVE && !place->is_held)
        kubernetes_tell_place(place);
    if (is_known || cluster->watcher.looked == NULL)
        return 0;
    list_each (&cluster->looks, struct look, node, other)
        if (strcmp(other->id, kernel_id) == 0)
            return 1;
    struct look *one = memory_alloc(sizeof *one);
    one->cluster = cluster;
    snprintf(one->id, sizeof one->id, "%s", kernel_id);
    list_append(&cluster->looks, &one->node);
    cleanup_free char *path = kubernetes_record_path(cluster, kernel_id);
    const struct kube_call call = {.method = "GET", .path = path, .deadline_ms = 5000};
    one->call = kube_client_call(cluster->client, &call, on_looked, one);
    return 1;
}

static int adopt(struct provisioner *self, const char *kernel_id,
                 const struct provision_events *events, void *context, struct provision **ret,
                 struct error *err) {
    struct kubernetes *cluster = (struct kubernetes *)self;
    struct provision *place = kubernetes_find_place(cluster, kernel_id);
    if (place == NULL || place->is_removed || place->state == KUBE_RECORD_ENDED)
        return error_set(err, ERROR_NOT_FOUND, "there is no kernel %.100s", kernel_id);
    place->events = *events;
    place->context = context;
    place->is_held = true;
    place->is_reachable = place->is_ended = place->is_free = false;
    kubernetes_adopt_note(place);
    place->stage[0] = '\0';
    if (!place->is_running && place->state == KUBE_RECORD_LIVE)
        kubernetes_set_deadline(place);
    event_active(cluster->later, EV_TIMEOUT, 0);
    *ret = place;
    return 0;
}

/* Every gateway starts a kernel anew whose pod is deleted while its record lives: an end is for
 * remove(), which has it on record first. */
static int signal_pod(struct provision *place, int signum, struct error *err) {
    if (signum != SIGKILL)
        return error_set(err, ERROR_UNSUPPORTED, "a pod ends by being removed");
    if (place->pod_name == NULL || place->is_ended)
        return error_set(err, ERROR_NOT_FOUND, "it has no pod");
    kubernetes_delete_pod(place, 0);
    return 0;
}

static void testify(struct provision *place, json_t *testament) {
    json_decref(place->testament);
    place->testament = testament;
}

static void release(struct provision *place) {
    kubernetes_let_go(place);
    place->is_free = place->is_ended;
    if (!place->has_record && !place->is_removed)
        kubernetes_forget(place);
}

static bool is_busy(const struct provisioner *self) {
    const struct kubernetes *cluster = (const struct kubernetes *)self;
    list_each (&((struct kubernetes *)(uintptr_t)cluster)->all, struct provision, node, place)
        if (place->is_removed)
            return true;
    return false;
}

static uint64_t count_swept(const struct provisioner *self) {
    return ((const struct kubernetes *)self)->swept;
}

/* A pod's log is the cluster's to keep; its last lines are in the reason. */
static char *describe_failure(struct provision *place) {
    (void)place;
    return memory_strdup("");
}

static void destroy(struct provisioner *self) {
    struct kubernetes *cluster = (struct kubernetes *)self;
    if (cluster == NULL)
        return;
    while (!list_is_empty(&cluster->all))
        kubernetes_forget(list_entry(cluster->all.head.next, struct provision, node));
    kubernetes_drop_strays(cluster);
    kubernetes_drop_rooms(cluster);
    kube_watch_destroy(cluster->records);
    kube_watch_destroy(cluster->pods);
    kube_watch_destroy(cluster->events);
    list_each (&cluster->looks, struct look, node, one) {
        list_remove(&one->node);
        kube_request_cancel(one->call);
        free(one);
    }
    kubernetes_drop_changes(cluster);
    homes_destroy(cluster->homes);
    kube_request_cancel(cluster->pair_call);
    kube_client_destroy(cluster->client);
    struct event *const events[] = {cluster->tick, cluster->later, cluster->pair_again};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (events[i] != NULL)
            event_free(events[i]);
    kubernetes_drop_pairs(cluster);
    map_destroy(cluster->places);
    map_destroy(cluster->by_pod);
    kube_config_destroy(cluster->config);
    free(cluster);
}

static const struct provisioner_ops ops = {
    .name = "kubernetes",
    .is_elsewhere = true,
    .start = kubernetes_start,
    .find = find,
    .watch = watch,
    .look = look,
    .adopt = adopt,
    .keep = kubernetes_keep,
    .note = kubernetes_note,
    .share = kubernetes_share,
    .heard = kubernetes_heard,
    .signal = signal_pod,
    .testify = testify,
    .remove = kubernetes_remove,
    .release = release,
    .is_busy = is_busy,
    .count_swept = count_swept,
    .describe_failure = describe_failure,
    .destroy = destroy,
};

static void take_settings(struct kubernetes *cluster,
                          const struct provisioner_kubernetes_settings *settings) {
    struct provisioner_kubernetes_settings *mine = &cluster->settings;
    *mine = *settings;
    if (mine->gateway_namespace == NULL)
        mine->gateway_namespace = kube_config_namespace(cluster->config);
    if (mine->kernel_namespace == NULL)
        mine->kernel_namespace = mine->gateway_namespace;
    if (mine->pod.port == 0)
        mine->pod.port = KUBE_PORT_DEFAULT;
}

void provisioner_kubernetes_configure(struct provisioner *provisioner,
                                      const struct provisioner_kubernetes_settings *settings) {
    take_settings((struct kubernetes *)provisioner, settings);
}

int provisioner_kubernetes_create(struct event_base *loop, struct kube_config *config,
                                  const struct provisioner_kubernetes_settings *settings,
                                  struct provisioner **ret, struct error *err) {
    struct kubernetes *cluster = memory_alloc(sizeof *cluster);
    cluster->base.ops = &ops;
    cluster->loop = loop;
    cluster->config = config;
    cluster->places = map_create();
    cluster->by_pod = map_create();
    list_init(&cluster->all);
    list_init(&cluster->strays);
    list_init(&cluster->rooms);
    list_init(&cluster->made);
    list_init(&cluster->looks);
    list_init(&cluster->errands);
    list_init(&cluster->changes);
    list_init(&cluster->pairs);
    cluster->homes = homes_create(loop);
    take_settings(cluster, settings);
    cluster->tick = event_new(loop, -1, 0, on_tick, cluster);
    cluster->later = event_new(loop, -1, 0, on_later, cluster);
    if (kube_install_check(settings->install, err) < 0 ||
        kube_client_create(loop, config, NULL, &cluster->client, err) < 0 ||
        kubernetes_watch(cluster, err) < 0) {
        destroy(&cluster->base);
        return -1;
    }
    log_info("kernels are pods of %s (%s), records in namespace %s", kube_config_server(config),
             kube_config_origin(config), cluster->settings.gateway_namespace);
    kubernetes_read_pair(cluster);
    *ret = &cluster->base;
    return 0;
}
