/* Requests that wait for a launcher are on the kernel's record before anybody is told that they
 * run: a gateway that is killed then leaves no cell that waits for ever. Those of other gateways
 * stand beside ours. */
#include "launcher/kubernetes_internal.h"

#define LOG_AREA "launcher/kubernetes_note"
#include "base/log.h"

#include "base/cleanup.h"

static void send_note(struct provision *place);

static void on_noted(void *context, enum kube_merge outcome, int status, const json_t *answer,
                     const struct error *err) {
    (void)status;
    struct provision *place = context;
    struct kubernetes *cluster = place->cluster;
    char id[129];
    snprintf(id, sizeof id, "%s", place->id);
    place->note_change = NULL;
    json_t *noting = steal(&place->noting);
    bool is_noted = err == NULL && outcome == KUBE_MERGE_DONE;
    if (is_noted) {
        json_decref(place->noted);
        place->noted = json_incref(noting);
    }
    json_decref(noting);
    if (err != NULL)
        log_warning("kernel %s: what waits for it is not on record: %s", place->id, err->text);
    else
        kubernetes_take_record(cluster, answer, false); /* may end it */
    place = kubernetes_find_place(cluster, id);
    if (place == NULL || !place->is_held || place->note_change != NULL)
        return;
    if (place->is_note_due)
        send_note(place);
    else if (is_noted && place->events.noted != NULL)
        place->events.noted(place->context);
}

/* One at a time: the last one has it all. */
static void send_note(struct provision *place) {
    if (place->note_change != NULL || place->is_removed)
        return;
    place->is_note_due = false;
    place->noting = json_deep_copy(place->held);
    json_t *difference = kube_intent_difference(place->noted, place->noting);
    place->note_change = kubernetes_change(
        place, kubernetes_intend(place, KUBE_INTENT_NOTE, difference), on_noted, place);
}

void kubernetes_note(struct provision *place, json_t *requests) {
    json_decref(place->held);
    place->held = json_deep_copy(requests);
    place->is_note_due = true;
    send_note(place);
}

void kubernetes_adopt_note(struct provision *place) {
    const json_t *held = json_object_get(place->record, "held");
    json_decref(place->noted);
    json_decref(place->held);
    place->noted = held != NULL ? json_deep_copy(held) : json_array();
    place->held = json_incref(place->noted);
}
