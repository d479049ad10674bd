/* What others than its owner may do with a kernel is on its record Secret too: its launcher's word
 * is lost with the pod, and whoever it was taken from must not have it again. */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"

static void send_shares(struct provision *place);

static void on_shared(void *context, enum kube_merge outcome, int status, const json_t *answer,
                      const struct error *err) {
    (void)status;
    struct provision *place = context;
    struct kubernetes *cluster = place->cluster;
    struct error lost;
    char id[129];
    snprintf(id, sizeof id, "%s", place->id);
    place->share_change = NULL;
    if (err == NULL)
        kubernetes_take_record(cluster, answer, false); /* may end it */
    place = kubernetes_find_place(cluster, id);
    if (place == NULL || !place->is_held || place->share_change != NULL)
        return;
    if (err == NULL && outcome != KUBE_MERGE_DONE) {
        error_set(&lost, ERROR_NOT_FOUND, "Kernel does not exist: %s", id);
        err = &lost;
    }
    if (place->shares_due != NULL)
        send_shares(place);
    if ((err != NULL || place->share_change == NULL) && place->events.shared != NULL)
        place->events.shared(place->context, err);
}

static void send_shares(struct provision *place) {
    place->share_change = kubernetes_change(
        place, kubernetes_intend(place, KUBE_INTENT_SHARE, steal(&place->shares_due)), on_shared,
        place);
}

void kubernetes_share(struct provision *place, json_t *changes) {
    if (place->shares_due == NULL)
        place->shares_due = json_object();
    json_object_update(place->shares_due, changes);
    if (place->share_change == NULL)
        send_shares(place);
}
