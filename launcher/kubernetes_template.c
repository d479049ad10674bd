/* The first step of a start, of which nobody is told yet: the pod's template is read. It lies
 * beside kernel.json, so perhaps on another machine, and is read for each start, since nothing
 * tells of changes there. */
#include "launcher/kubernetes_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "launcher/kube_reasons.h"
#include "launcher/kube_template.h"

#include <libgen.h>
#include <string.h>

enum { AGAIN_MS = 2000 };

struct reading {
    char *directory;
    json_t *template; /* NULL: there is none, or */
    int failed;       /* -1: err */
    struct error err;
};

static void read_template(void *work) {
    struct reading *reading = work;
    reading->failed = kube_template_load(reading->directory, &reading->template, &reading->err);
}

static void free_reading(void *work) {
    struct reading *reading = work;
    json_decref(reading->template);
    free(reading->directory);
    free(reading);
}

/* The order is made into what the API would be asked, with an owner that is not there yet: a wish
 * that cannot be is refused by POST itself, not minutes later. */
static int check_pod(struct provision *place, struct error *err) {
    cleanup_json json_t *pod = NULL;
    struct kube_home home = {0};
    json_decref(place->owner);
    free(place->server_key);
    place->owner = json_pack("{s:s, s:s}", "name", "elara", "uid", "not-yet");
    place->server_key = memory_strdup("");
    int failed = kubernetes_make_pod(place, &pod, &home, err);
    free(home.path);
    json_decref(steal(&place->owner));
    free(steal(&place->server_key));
    return failed;
}

static void say_silent(const struct error *err, struct error *cause) {
    char text[sizeof cause->text];
    kube_reason_write("KernelspecsSilent", err->text, text, sizeof text);
    error_set(cause, err->code, "%s", text);
    cause->cause = kube_reason_word("KernelspecsSilent");
}

static void refuse(struct provision *place, const struct error *cause) {
    if (place->seen != NULL)
        place->attempt = place->seen->attempt;
    place->is_ended = !place->intent->is_new; /* it is as free as before */
    kubernetes_tell_rejected(place, cause);
}

/* A kernel that its people have already, such as one whose pod was lost, has until its deadline. */
static void try_again(struct provision *place) {
    kubernetes_set_deadline(place);
    place->judge_at_ms = clock_monotonic_ms() + AGAIN_MS;
    kubernetes_wake(place->cluster);
    kubernetes_tell_stage(place,
                          "waiting for the directory of the kernelspec, which does not answer");
}

static void on_template(void *context, void *work, const struct error *err) {
    struct provision *place = context;
    struct reading *reading = work;
    struct error cause;
    bool is_known = !place->intent->is_new && place->intent->state != KUBE_RECORD_ENDED;
    place->reading = NULL;
    if (err != NULL && is_known) {
        try_again(place);
        return;
    }
    if (err != NULL) {
        say_silent(err, &cause);
    } else if (reading->failed < 0) {
        cause = reading->err;
    } else {
        json_decref(place->template);
        place->template = steal(&reading->template);
        if (check_pod(place, &cause) == 0) {
            kubernetes_set_deadline(place);
            kubernetes_advance(place, STEP_RECORD);
            return;
        }
    }
    refuse(place, &cause);
}

void kubernetes_begin_template(struct provision *place) {
    struct reading *reading = memory_alloc(sizeof *reading);
    reading->directory = memory_strdup(place->spec_directory);
    cleanup_free char *copy = memory_strdup(place->spec_directory);
    const struct background_work work = {.place = dirname(copy),
                                         .deadline_ms = BACKGROUND_DEADLINE_MS,
                                         .run = read_template,
                                         .free = free_reading,
                                         .work = reading,
                                         .done = on_template,
                                         .context = place};
    place->reading = background_start(place->cluster->settings.background, &work);
}
