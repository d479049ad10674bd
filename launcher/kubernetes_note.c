/* Requests that wait for a launcher are on the kernel's record before anybody is told that they
 * run: a gateway that is killed then leaves no cell that waits for ever. */
#include "launcher/kubernetes_internal.h"

#define LOG_AREA "launcher/kubernetes_note"
#include "base/log.h"

static void send_note(struct provision *place);

static void on_noted(void *context, int status, json_t *answer, const struct error *err) {
    struct provision *place = context;
    (void)status, (void)answer;
    place->note_call = NULL;
    if (err != NULL)
        log_warning("kernel %s: what waits for it is not on record: %s", place->id, err->text);
    if (place->is_note_due)
        send_note(place);
    else if (err == NULL && place->is_held && place->events.noted != NULL)
        place->events.noted(place->context);
}

/* One at a time: the last one has it all. */
static void send_note(struct provision *place) {
    if (place->note_call != NULL || place->is_removed)
        return;
    place->is_note_due = false;
    place->note_call = kubernetes_patch_record(place, place->state, place->record, on_noted, place);
}

void kubernetes_note(struct provision *place, json_t *requests) {
    if (json_array_size(requests) > 0)
        json_object_set(place->record, "held", requests);
    else
        json_object_del(place->record, "held");
    place->is_note_due = true;
    send_note(place);
}
