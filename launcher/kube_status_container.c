/* Containers that do not run yet, or not any more. */
#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "launcher/kube_template.h"
#include "launcher/kube_text.h"
#include "launcher/kube_view.h"

#include <stdio.h>
#include <string.h>

enum {
    SHORT_RUN_MS = 60 * 1000, /* a container that ran for less did not get to work */
    AGE_STEP_MS = 10 * 1000,  /* how often an age in a stage is told anew */
    PART_SIZE = 640,
    NAME_SIZE = 400,
    FIELD_SIZE = 320,
};

/* One container of the pod. */
struct part {
    const char *name, *image;
    const json_t *status; /* or NULL: none yet */
    const json_t *waiting;
    bool is_init, is_ours; /* ours: it copies the launcher */
    bool is_sidecar;       /* an init container that stays while the others run */
    struct kube_container_events events;
};

static struct part part_of(const struct kube_view *view, const json_t *spec, bool is_init) {
    const json_t *statuses =
        json_object_get(view->status, is_init ? "initContainerStatuses" : "containerStatuses");
    struct part part = {.name = kube_view_text(spec, "name"),
                        .image = kube_view_text(spec, "image"),
                        .is_init = is_init};
    char field[FIELD_SIZE];
    part.status = kube_view_named(statuses, part.name);
    part.waiting = json_object_get(json_object_get(part.status, "state"), "waiting");
    part.is_sidecar = is_init && strcmp(kube_view_text(spec, "restartPolicy"), "Always") == 0;
    part.is_ours = is_init && strcmp(part.name, KUBE_INIT) == 0;
    snprintf(field, sizeof field, "spec.%s{%.253s}", is_init ? "initContainers" : "containers",
             part.name);
    kube_events_read_container(view->event_list, view->uid, field, &part.events);
    return part;
}

/* "the image x", and whose it is where that is not plain. */
static void image_name(const struct kube_view *view, const struct part *part,
                       char name[NAME_SIZE]) {
    if (part->is_ours)
        snprintf(name, NAME_SIZE,
                 "Elara's own image %.200s (the setting kubernetes-launcher-image)", part->image);
    else if (strcmp(part->name, view->container) == 0 && !part->is_init)
        snprintf(name, NAME_SIZE, "the image %.300s", part->image);
    else
        snprintf(name, NAME_SIZE, "the image %.200s of the container %.100s", part->image,
                 part->name);
}

const char *kube_view_memory_limit(const struct kube_view *view, const char *container) {
    const json_t *spec = kube_view_named(json_object_get(view->spec, "containers"), container);
    return kube_view_text(json_object_get(json_object_get(spec, "resources"), "limits"), "memory");
}

bool kube_view_is_oom(const json_t *terminated) {
    return strcmp(kube_view_text(terminated, "reason"), "OOMKilled") == 0;
}

void kube_view_end_text(const json_t *terminated, char *out, size_t size) {
    char said[PART_SIZE / 2];
    kube_text_clean(kube_view_text(terminated, "message"), said, sizeof said);
    const char *before = *said != '\0' ? ": " : "";
    json_int_t code = json_integer_value(json_object_get(terminated, "exitCode"));
    json_int_t signum = json_integer_value(json_object_get(terminated, "signal"));
    if (!json_is_object(terminated))
        snprintf(out, size, "nobody knows how");
    else if (kube_view_is_oom(terminated))
        snprintf(out, size, "out of memory%s%s", before, said);
    else if (signum > 0 || code > 128)
        snprintf(out, size, "killed by signal %lld%s%s",
                 (long long)(signum > 0 ? signum : code - 128), before, said);
    else
        snprintf(out, size, "exit code %lld%s%s", (long long)code, before, said);
}

/* Since when the container is on its way, for troubles that say nothing of their time. */
static int64_t begin_ms(const struct kube_view *view) {
    const struct kube_pod_times *times = &view->verdict->times;
    return times->scheduled_ms != 0 ? times->scheduled_ms : times->created_ms;
}

static void judge_pull(struct kube_view *view, const struct part *part) {
    const struct kube_event_note *event = &part->events.pull_failed;
    const char *message =
        event->message != NULL ? event->message : kube_view_text(part->waiting, "message");
    char name[NAME_SIZE], said[PART_SIZE];
    image_name(view, part, name);
    kube_text_pull(message, said, sizeof said);
    const char *between = *said != '\0' ? ": " : "";
    bool may_pass = kube_text_pull_may_pass(said, part->image);
    int64_t since_ms = event->message != NULL ? event->first_ms : begin_ms(view);
    if (!may_pass ||
        !kube_view_wait(view, since_ms, view->settings->image_grace_ms,
                        "%s cannot be pulled yet, it is tried again%s%s", name, between, said))
        kube_view_fail(view, "ImagePullBackOff", "%s cannot be pulled%s%s", name, between, said);
}

static void judge_config(struct kube_view *view, const struct part *part, const char *word) {
    const struct kube_event_note *event = &part->events.failed;
    const char *message = kube_view_text(part->waiting, "message");
    char said[PART_SIZE];
    if (*message == '\0' && event->message != NULL)
        message = text_starts_with(event->message, "Error: ") ? event->message + 7 : event->message;
    kube_text_clean(kube_text_after_rpc(message), said, sizeof said);
    bool is_root = strstr(said, "runAsNonRoot") != NULL;
    int64_t since_ms = event->message != NULL ? event->first_ms : begin_ms(view);
    if (is_root || !kube_view_wait(view, since_ms, view->settings->config_grace_ms,
                                   "the container %.100s cannot be made yet: %s", part->name, said))
        kube_view_fail(view, word, "the container %.100s cannot be made: %s%s", part->name, said,
                       is_root ? "; a user's number is needed: runAsUser in pod.yaml, "
                                 "kubernetes-uid or KERNEL_UID"
                               : "");
}

static const json_t *last_end(const struct part *part) {
    const json_t *now = json_object_get(json_object_get(part->status, "state"), "terminated");
    return json_is_object(now)
               ? now
               : json_object_get(json_object_get(part->status, "lastState"), "terminated");
}

static bool was_short(const json_t *terminated) {
    int64_t started_ms = kube_time_parse(kube_view_text(terminated, "startedAt"));
    int64_t finished_ms = kube_time_parse(kube_view_text(terminated, "finishedAt"));
    return started_ms == 0 || finished_ms - started_ms < SHORT_RUN_MS;
}

/* The command could not be executed: it will not be the next time either. */
static bool is_no_start(const json_t *terminated) {
    const char *reason = kube_view_text(terminated, "reason");
    return strcmp(reason, "StartError") == 0 || strcmp(reason, "ContainerCannotRun") == 0 ||
           strstr(kube_view_text(terminated, "message"), "exec format error") != NULL;
}

static void fail_of_ends(struct kube_view *view, const struct part *part, const json_t *end,
                         json_int_t ends) {
    const char *limit = kube_view_memory_limit(view, part->name);
    char text[PART_SIZE];
    kube_view_end_text(end, text, sizeof text);
    if (part->is_init)
        kube_view_fail(view, "InitContainerFailed",
                       "the init container %.100s failed %lld times, the last time with "
                       "%s",
                       part->name, (long long)ends, text);
    else if (kube_view_is_oom(end))
        kube_view_fail(view, "OOMKilled",
                       "the kernel's container went over its memory limit%s%.64s as it started, "
                       "%lld times",
                       *limit != '\0' ? " of " : "", limit, (long long)ends);
    else
        kube_view_fail(view, "CrashLoopBackOff",
                       "the kernel's container ended %lld times soon after its start, the last "
                       "time with %s",
                       (long long)ends, text);
}

/* It has ended; the kubelet starts it again, with growing pauses. */
static void judge_ends(struct kube_view *view, const struct part *part) {
    const json_t *end = last_end(part);
    json_int_t ends = json_integer_value(json_object_get(part->status, "restartCount")) + 1;
    char text[PART_SIZE];
    kube_view_end_text(end, text, sizeof text);
    if (is_no_start(end)) {
        kube_text_run(kube_view_text(end, "message"), text, sizeof text);
        kube_view_fail(view, "RunContainerError", "the container %.100s cannot be started: %s",
                       part->name, text);
    } else if (was_short(end) && ends >= view->settings->crash_limit) {
        fail_of_ends(view, part, end, ends);
    } else {
        kube_view_pending(view, "the container %.100s ended (%s) and is started again", part->name,
                          text);
    }
}

static void judge_run_error(struct kube_view *view, const struct part *part) {
    char said[PART_SIZE];
    kube_text_run(kube_view_text(part->waiting, "message"), said, sizeof said);
    kube_view_fail(view, "RunContainerError", "the container %.100s cannot be started: %s",
                   part->name, said);
}

/* Troubles that only events tell: the container stays ContainerCreating. True: there is one. */
static bool judge_events(struct kube_view *view) {
    const struct kube_events *events = &view->events;
    const struct {
        const struct kube_event_note *note;
        const char *word, *subject;
        int64_t grace_ms;
    } rows[] = {
        {&events->mount, "FailedMount", "cannot be mounted", view->settings->volume_grace_ms},
        {&events->attach, "FailedAttachVolume", "cannot be attached to the node",
         view->settings->volume_grace_ms},
        {&events->sandbox, "FailedCreatePodSandBox", NULL, view->settings->sandbox_grace_ms},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!kube_event_is_current(events, rows[i].note))
            continue;
        char said[PART_SIZE], subject[NAME_SIZE];
        const char *quoted = strstr(rows[i].note->message, "for volume \"");
        size_t length = quoted != NULL ? strcspn(quoted + 12, "\"") : 0;
        kube_text_mount(rows[i].note->message, said, sizeof said);
        if (rows[i].subject == NULL)
            snprintf(subject, sizeof subject, "the pod's sandbox cannot be made on the node %.200s",
                     kube_view_text(view->spec, "nodeName"));
        else if (length > 0 && length < 256)
            snprintf(subject, sizeof subject, "the volume %.*s %s", (int)length, quoted + 12,
                     rows[i].subject);
        else
            snprintf(subject, sizeof subject, "a volume %s", rows[i].subject);
        if (!kube_view_wait(view, rows[i].note->first_ms, rows[i].grace_ms,
                            "%s yet, it is tried again: %s", subject, said))
            kube_view_fail(view, rows[i].word, "%s: %s", subject, said);
        return true;
    }
    return false;
}

/* On its way and nothing is wrong. */
static void tell_progress(struct kube_view *view, const struct part *part) {
    const struct kube_container_events *events = &part->events;
    bool is_pulling =
        events->pulling.message != NULL &&
        (events->pulled.message == NULL || events->pulled.last_ms < events->pulling.last_ms);
    if (is_pulling) {
        char name[NAME_SIZE];
        int64_t age_ms = view->now_ms - events->pulling.last_ms;
        cleanup_buffer struct buffer age = {.limit = 64};
        image_name(view, part, name);
        text_append_duration(&age, age_ms / AGE_STEP_MS * AGE_STEP_MS);
        if (age_ms >= AGE_STEP_MS)
            kube_view_pending(view, "pulling %s (since %s)", name, buffer_text(&age));
        else
            kube_view_pending(view, "pulling %s", name);
        kube_view_again(view, AGE_STEP_MS - (age_ms > 0 ? age_ms % AGE_STEP_MS : 0));
    } else if (view->events.progress_ms == 0) {
        kube_view_pending(view, "preparing the pod's volumes and network on the node %.200s",
                          kube_view_text(view->spec, "nodeName"));
    } else if (part->is_ours) {
        kube_view_pending(view, "copying the launcher into the pod");
    } else if (part->is_init) {
        kube_view_pending(view, "starting the init container %.100s", part->name);
    } else {
        kube_view_pending(view, "starting the container");
    }
}

static void judge_waiting(struct kube_view *view, const struct part *part) {
    enum what { PULL, FINAL, CONFIG, RUN, CRASH };
    static const struct {
        const char *reason;
        enum what what;
        const char *word; /* NULL: the reason itself */
    } rows[] = {
        {"ErrImagePull", PULL, NULL},
        {"ImagePullBackOff", PULL, NULL},
        {"RegistryUnavailable", PULL, NULL},
        {"ImageInspectError", PULL, NULL},
        {"SignatureValidationFailed", FINAL, "ImagePullBackOff"},
        {"InvalidImageName", FINAL, NULL},
        {"ErrImageNeverPull", FINAL, NULL},
        {"CreateContainerConfigError", CONFIG, NULL},
        {"CreateContainerError", CONFIG, NULL},
        {"RunContainerError", RUN, NULL},
        {"PostStartHookError", RUN, NULL},
        {"CrashLoopBackOff", CRASH, NULL},
    };
    const char *reason = kube_view_text(part->waiting, "reason");
    char name[NAME_SIZE], said[PART_SIZE];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].reason, reason) != 0)
            continue;
        const char *word = rows[i].word != NULL ? rows[i].word : reason;
        switch (rows[i].what) {
        case PULL:
            judge_pull(view, part);
            return;
        case FINAL:
            image_name(view, part, name);
            kube_text_clean(kube_view_text(part->waiting, "message"), said, sizeof said);
            kube_view_fail(view, word, "%s cannot be used: %s", name, said);
            return;
        case CONFIG:
            judge_config(view, part, word);
            return;
        case RUN:
            judge_run_error(view, part);
            return;
        case CRASH:
            judge_ends(view, part);
            return;
        }
    }
    if (!judge_events(view))
        tell_progress(view, part);
}

/* The next one's turn has come. */
static bool is_past(const struct part *part) {
    const json_t *state = json_object_get(part->status, "state");
    const json_t *terminated = json_object_get(state, "terminated");
    if (json_is_object(terminated))
        return json_integer_value(json_object_get(terminated, "exitCode")) == 0;
    return part->is_sidecar && json_is_object(json_object_get(state, "running")) &&
           json_is_true(json_object_get(part->status, "started"));
}

static void judge_part(struct kube_view *view, const struct part *part) {
    const json_t *state = json_object_get(part->status, "state");
    if (json_is_object(json_object_get(state, "terminated"))) {
        judge_ends(view, part);
    } else if (json_is_object(json_object_get(state, "running"))) {
        if (part->is_ours)
            kube_view_pending(view, "copying the launcher into the pod");
        else
            kube_view_pending(view, "running the init container %.100s", part->name);
    } else {
        judge_waiting(view, part);
    }
}

void kube_view_judge_containers(struct kube_view *view) {
    const json_t *inits = json_object_get(view->spec, "initContainers");
    const json_t *containers = json_object_get(view->spec, "containers");
    for (size_t i = 0; i < json_array_size(inits); i++) {
        struct part part = part_of(view, json_array_get(inits, i), true);
        if (is_past(&part))
            continue;
        judge_part(view, &part);
        return;
    }
    struct part part = part_of(view, kube_view_named(containers, view->container), false);
    judge_part(view, &part);
}
