/* What is gone from a watch while its kernel is held here. A record: was it deleted by hand, and is
 * to be written again, or did another gateway end the kernel while this one slept, and was its
 * tombstone swept? A pod: is it gone, or did somebody edit its labels? */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"

#define LOG_AREA "launcher/kubernetes_doubt"
#include "base/log.h"

#include <string.h>

enum { DOUBT_AGAIN_MS = 2000 };

/* --- a record --- */

void kubernetes_vanish(struct provision *place) {
    const struct kubernetes *cluster = place->cluster;
    log_info("kernel %s: its record is gone, and so is the kernel", place->id);
    place->has_record = place->is_doubtful = false;
    kube_record_free(steal(&place->seen));
    if (cluster->watcher.gone != NULL)
        cluster->watcher.gone(cluster->watcher_context, place->id, NULL, NULL);
}

static void on_key(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    (void)answer;
    place->call = NULL;
    if (err != NULL && status == 404) {
        kubernetes_vanish(place);
    } else if (err != NULL && status != 422) {
        place->judge_at_ms = clock_monotonic_ms() + DOUBT_AGAIN_MS;
        kubernetes_wake(place->cluster);
    } else {
        place->is_doubtful = false;
        kubernetes_restore_record(place);
        kubernetes_judge(place);
    }
}

/* The gateway may not read these Secrets, but a patch that only tests says as much. */
static void ask_for_key(struct provision *place) {
    cleanup_free char *path = kubernetes_key_path(place);
    cleanup_json json_t *patch =
        json_pack("[{s:s, s:s, s:s}]", "op", "test", "path", "/metadata/labels/" KUBE_LABEL_INSTALL,
                  "value", place->cluster->settings.install);
    const struct kube_call call = {.method = "PATCH",
                                   .path = path,
                                   .body = patch,
                                   .content_type = "application/json-patch+json",
                                   .may_repeat = true};
    place->call = kube_client_call(place->cluster->client, &call, on_key, place);
}

void kubernetes_doubt(struct provision *place) {
    bool is_idle = place->call == NULL && (place->step == STEP_NONE || place->step == STEP_WATCH);
    if (place->change != NULL && place->step == STEP_RECORD)
        return; /* which finds out */
    if (place->state == KUBE_RECORD_DEAD || place->namespace == NULL) {
        kubernetes_vanish(place);
    } else if (is_idle) {
        place->is_doubtful = true;
        ask_for_key(place);
    } else { /* it is being started */
        kubernetes_restore_record(place);
    }
}

/* --- a pod --- */

/* The key Secret of each kernel owns its pods. */
bool kubernetes_owns_pod(const struct kubernetes *cluster, const char *kernel_id,
                         const json_t *pod) {
    const json_t *owners = json_object_get(json_object_get(pod, "metadata"), "ownerReferences");
    char key[KUBE_NAME_SIZE];
    size_t at;
    json_t *owner;
    kube_name_key(cluster->settings.install, kernel_id, key);
    json_array_foreach((json_t *)(uintptr_t)owners, at, owner) {
        const char *name = json_string_value(json_object_get(owner, "name"));
        if (name != NULL && strcmp(name, key) == 0)
            return true;
    }
    return json_array_size(owners) == 0;
}

bool kubernetes_pod_is_over(const json_t *pod) {
    const char *phase = json_string_value(json_object_get(json_object_get(pod, "status"), "phase"));
    return json_object_get(json_object_get(pod, "metadata"), "deletionTimestamp") != NULL ||
           (phase != NULL && (strcmp(phase, "Failed") == 0 || strcmp(phase, "Succeeded") == 0));
}

static bool is_its(const struct provision *place, const json_t *pod) {
    const char *uid = kube_object_uid(pod);
    if (place->pod_uid != NULL)
        return uid != NULL && strcmp(uid, place->pod_uid) == 0;
    return kubernetes_owns_pod(place->cluster, place->id, pod);
}

static void ask_again(struct provision *place, const struct error *err) {
    if (!place->is_asked_again)
        log_warning("kernel %s: whether its pod %s is there cannot be told, it is asked for again: "
                    "%s",
                    place->id, place->pod_name, err->text);
    place->is_asked_again = true;
    place->judge_at_ms = clock_monotonic_ms() + DOUBT_AGAIN_MS;
    kubernetes_wake(place->cluster);
}

/* Nobody can see it and nobody may have another one beside it. */
static void on_deleted(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    (void)answer;
    place->pod_call = NULL;
    if (err == NULL || status == 404)
        kubernetes_lose_pod(place, NULL);
    else
        ask_again(place, err);
}

static void on_restored(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    place->pod_call = NULL;
    if (err == NULL) {
        kubernetes_take_pod(place->cluster, KUBE_MODIFIED, answer);
    } else if (status < 400 || status == 401 || status == 404 || status == 409 || status == 429 ||
               status >= 500) {
        ask_again(place, err);
    } else {
        log_error("kernel %s: its pod %s cannot be given its labels back and is deleted: %s",
                  place->id, place->pod_name, err->text);
        place->pod_call = kubernetes_delete_certain(place, on_deleted);
    }
}

static void restore_labels(struct provision *place) {
    const struct kube_identity identity = kubernetes_identity_of(place);
    cleanup_json json_t *labels = kube_labels(&identity, "pod"),
                        *annotations = kube_annotations(&identity);
    cleanup_json json_t *patch = json_pack("{s:{s:s, s:O, s:O}}", "metadata", "uid", place->pod_uid,
                                           "labels", labels, "annotations", annotations);
    cleanup_free char *path = kubernetes_path(place->namespace, "pods", place->pod_name);
    const struct kube_call call = {
        .method = "PATCH", .path = path, .body = patch, .may_repeat = true};
    log_warning("kernel %s: its pod %s lost the labels by which it is found, they are put back",
                place->id, place->pod_name);
    place->pod_call = kube_client_call(place->cluster->client, &call, on_restored, place);
}

static void on_pod(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    const json_t *pod = json_array_get(json_object_get(answer, "items"), 0);
    (void)status;
    place->pod_call = NULL;
    if (err != NULL) {
        ask_again(place, err);
    } else if (pod == NULL || !is_its(place, pod)) {
        kubernetes_lose_pod(place, NULL);
    } else if (kubernetes_pod_is_over(pod)) {
        kubernetes_lose_pod(place, pod);
    } else {
        text_replace(&place->pod_uid, kube_object_uid(pod));
        restore_labels(place);
    }
}

/* By a list, to which the watch's right is enough. */
void kubernetes_doubt_pod(struct provision *place) {
    cleanup_buffer struct buffer path = {.limit = 1024}, field = {.limit = 256};
    cleanup_free char *pods = kubernetes_path(place->namespace, "pods", NULL);
    place->is_pod_doubtful = true;
    if (place->pod_call != NULL)
        return;
    buffer_append_text(&field, "metadata.name=");
    buffer_append_text(&field, place->pod_name);
    buffer_append_text(&path, pods);
    kube_path_add_query(&path, "fieldSelector", buffer_text(&field));
    const struct kube_call call = {.method = "GET", .path = buffer_text(&path)};
    place->pod_call = kube_client_call(place->cluster->client, &call, on_pod, place);
}

bool kubernetes_doubt_missing(struct provision *place) {
    char pods[KUBE_NAME_SIZE], name[KUBE_NAME_SIZE];
    if (place->namespace == NULL || place->attempt < 1)
        return false;
    kube_name_pods(place->cluster->settings.install, place->id, NULL, pods);
    kube_name_attempt(place->pods != NULL ? place->pods : pods, place->attempt, name);
    kubernetes_set_pod(place, name, place->attempt);
    kubernetes_doubt_pod(place);
    return true;
}
