/* A record that is gone while its kernel is held here: was it deleted by hand, and is to be
 * written again, or did another gateway end the kernel while this one slept, and was its tombstone
 * swept? */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"

#define LOG_AREA "launcher/kubernetes_doubt"
#include "base/log.h"

enum { DOUBT_AGAIN_MS = 2000 };

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
    if (place->change != NULL)
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
