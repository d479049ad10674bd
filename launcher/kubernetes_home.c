/* The steps of a start that are about its user's home: the directory on the NFS server, and the
 * claim by which pods mount it where they may have no nfs volumes. */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "launcher/kube_reasons.h"

#define LOG_AREA "launcher/kubernetes_home"
#include "base/log.h"

#include <string.h>

/* --- the directory --- */

static void prepare(struct provision *place);

static void on_home(void *context, const struct error *err) {
    struct provision *place = context;
    struct error cause;
    place->home_wait = NULL;
    if (err == NULL) {
        place->homes_ready++;
        prepare(place);
        return;
    }
    char text[sizeof cause.text];
    kube_reason_write("HomeFailed", err->text, text, sizeof text);
    error_set(&cause, err->code, "%s", text);
    cause.cause = kube_reason_word("HomeFailed");
    log_warning("kernel %s: %s", place->id, err->text);
    kubernetes_end_start(place, &cause);
}

static const char *extra_at(const struct home_settings *settings, size_t number) {
    char *const *text = settings->extra;
    while (text != NULL && *text != NULL && number-- > 0)
        text++;
    return text != NULL ? *text : NULL;
}

/* The user's own directory, and then those that all share: a link in their place would bring
 * others' files, too. */
static void prepare_one(struct provision *place, struct home_target *target) {
    const struct home_settings *settings = &place->cluster->settings.home;
    const char *text = place->homes_ready > 0 ? extra_at(settings, place->homes_ready - 1) : NULL;
    struct home_extra extra = {0};
    struct error err;
    if (place->homes_ready > 0 && text == NULL) {
        kubernetes_advance(place, STEP_HOME_CLAIM);
        return;
    }
    if (text != NULL && home_extra_parse(text, &extra, &err) < 0) {
        kubernetes_end_start(place, &err);
        return;
    }
    if (text != NULL) {
        target->path = extra.path;
        target->given = HOME_COMPONENTS_MAX;
        target->is_shared = true;
    }
    if (text != NULL && target->parent_gid < 0) /* root looks, for all users */
        target->uid = target->gid = 0;
    place->home_wait =
        homes_prepare(place->cluster->homes, target, settings->deadline_ms, on_home, place);
    home_extra_free(&extra);
    if (place->homes_ready == 0)
        kubernetes_tell_stage(place, "preparing the home directory");
}

static void prepare(struct provision *place) {
    cleanup_json json_t *pod = NULL;
    struct kube_home home = {0};
    struct error err;
    if (kubernetes_make_pod(place, &pod, &home, &err) < 0)
        kubernetes_end_start(place, &err);
    else if (home.path == NULL)
        kubernetes_advance(place, STEP_POD);
    else
        prepare_one(place, &home.target);
    free(home.path);
}

/* A pod whose volume cannot be mounted would say so only after minutes. */
void kubernetes_begin_home(struct provision *place) {
    if (place->cluster->settings.home.server == NULL) {
        kubernetes_advance(place, STEP_POD);
        return;
    }
    place->homes_ready = 0;
    prepare(place);
}

/* --- the claim --- */

static struct kube_identity identity_of(const struct provision *place) {
    return (struct kube_identity){.install = place->cluster->settings.install};
}

/* One that is there already another start has made: its name has the namespace's uid, and all that
 * is in it. */
static void on_volume(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    place->call = NULL;
    if (err != NULL && status != 409)
        kubernetes_refuse_step(place, status, answer, "the home's PersistentVolume", err);
    else
        kubernetes_advance(place, STEP_POD);
}

/* It names the claim by its uid: so it is bound at once, and not when the cluster next looks at all
 * claims. */
static void post_volume(struct provision *place, const json_t *object) {
    struct kube_identity identity = identity_of(place);
    const struct kube_home_claim claim = {.namespace = place->namespace,
                                          .namespace_uid = place->namespace_uid,
                                          .uid = kube_object_uid(object)};
    cleanup_json json_t *volume =
        kube_home_volume_tree(&place->cluster->settings.home, &identity, &claim);
    kubernetes_post_step(place, NULL, "persistentvolumes", volume, on_volume);
}

static void on_claim(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    place->call = NULL;
    if (status == 409) /* another start was faster */
        kubernetes_advance(place, STEP_HOME_CLAIM);
    else if (err != NULL)
        kubernetes_refuse_step(place, status, answer, "the home's PersistentVolumeClaim", err);
    else
        post_volume(place, answer);
}

static void post_claim(struct provision *place) {
    struct kube_identity identity = identity_of(place);
    const struct kube_home_claim claim = {.namespace_uid = place->namespace_uid};
    cleanup_json json_t *object =
        kube_home_claim_tree(&place->cluster->settings.home, &identity, &claim);
    kubernetes_post_step(place, place->namespace, "persistentvolumeclaims", object, on_claim);
}

static void on_claim_read(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    const char *phase =
        json_string_value(json_object_get(json_object_get(answer, "status"), "phase"));
    place->call = NULL;
    if (status == 404)
        post_claim(place);
    else if (err != NULL)
        kubernetes_refuse_step(place, status, answer, "the home's PersistentVolumeClaim", err);
    else if (phase != NULL && strcmp(phase, "Bound") == 0)
        kubernetes_advance(place, STEP_POD);
    else
        post_volume(place, answer);
}

void kubernetes_begin_home_claim(struct provision *place) {
    const struct home_settings *settings = &place->cluster->settings.home;
    char name[KUBE_NAME_SIZE];
    if (!settings->makes_claims) {
        kubernetes_advance(place, STEP_POD);
        return;
    }
    kube_home_name_claim(settings, name);
    cleanup_free char *path = kubernetes_path(place->namespace, "persistentvolumeclaims", name);
    kubernetes_call_step(place, "GET", path, NULL, on_claim_read);
}
