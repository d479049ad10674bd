#include "launcher/kube_events.h"

#include "base/text.h"
#include "launcher/kube_status.h"

#include <string.h>
#include <time.h>

int64_t kube_time_parse(const char *text) {
    struct tm tm = {0};
    if (text == NULL)
        return 0;
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (end == NULL || tm.tm_year < 70)
        return 0;
    int64_t ms = 0;
    if (*end == '.') {
        int64_t scale = 100;
        for (end++; *end >= '0' && *end <= '9'; end++, scale /= 10)
            ms += (*end - '0') * scale;
    }
    return strcmp(end, "Z") == 0 ? (int64_t)timegm(&tm) * 1000 + ms : 0;
}

static const char *text_of(const json_t *object, const char *member) {
    const char *text = json_string_value(json_object_get(object, member));
    return text != NULL ? text : "";
}

/* The first that is there: old and new writers of events fill different ones. */
static int64_t last_time(const json_t *event) {
    int64_t times[] = {
        kube_time_parse(text_of(json_object_get(event, "series"), "lastObservedTime")),
        kube_time_parse(text_of(event, "lastTimestamp")),
        kube_time_parse(text_of(event, "eventTime")),
        kube_time_parse(text_of(json_object_get(event, "metadata"), "creationTimestamp"))};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (times[i] != 0)
            return times[i];
    return 0;
}

static int64_t first_time(const json_t *event) {
    int64_t times[] = {
        kube_time_parse(text_of(event, "firstTimestamp")),
        kube_time_parse(text_of(event, "eventTime")),
        kube_time_parse(text_of(json_object_get(event, "metadata"), "creationTimestamp"))};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (times[i] != 0)
            return times[i];
    return last_time(event);
}

static void note(struct kube_event_note *to, const json_t *event) {
    int64_t first_ms = first_time(event), last_ms = last_time(event);
    if (to->message == NULL || first_ms < to->first_ms)
        to->first_ms = first_ms;
    if (to->message == NULL || last_ms >= to->last_ms) {
        to->message = text_of(event, "message");
        to->last_ms = last_ms;
    }
}

/* "Unable to attach or mount volumes: ... timed out" comes beside the true cause, and later. */
static bool is_summary(const json_t *event) {
    return text_starts_with(text_of(event, "message"), "Unable to attach or mount volumes");
}

static void note_mount(struct kube_event_note *to, const json_t *event) {
    bool have_cause =
        to->message != NULL && !text_starts_with(to->message, "Unable to attach or mount volumes");
    if (is_summary(event) && have_cause) {
        if (last_time(event) > to->last_ms)
            to->last_ms = last_time(event);
        return;
    }
    if (!is_summary(event) && to->message != NULL && !have_cause)
        to->message = NULL; /* the cause replaces the summary, whichever was later */
    note(to, event);
}

static bool is_of(const json_t *event, const char *uid) {
    const char *theirs = text_of(json_object_get(event, "involvedObject"), "uid");
    return uid == NULL || *theirs == '\0' || strcmp(theirs, uid) == 0;
}

void kube_events_read(const json_t *events, const char *uid, struct kube_events *ret) {
    *ret = (struct kube_events){0};
    const struct {
        const char *reason;
        struct kube_event_note *to;
    } rows[] = {
        {"FailedMount", &ret->mount},
        {"FailedAttachVolume", &ret->attach},
        {"FailedMapVolume", &ret->mount},
        {"FailedCreatePodSandBox", &ret->sandbox},
        {"NetworkNotReady", &ret->sandbox},
        {"TriggeredScaleUp", &ret->scale_up},
        {"NotTriggerScaleUp", &ret->no_scale_up},
        {"Preempted", &ret->preempted},
        {"Evicted", &ret->evicted},
        {"TaintManagerEviction", &ret->tainted},
    };
    static const char *const progress[] = {"Pulling", "Pulled", "Created", "Started"};
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        const char *reason = text_of(event, "reason");
        if (!is_of(event, uid))
            continue;
        for (size_t j = 0; j < sizeof rows / sizeof *rows; j++) {
            if (strcmp(reason, rows[j].reason) != 0)
                continue;
            if (rows[j].to == &ret->mount)
                note_mount(rows[j].to, event);
            else
                note(rows[j].to, event);
        }
        for (size_t j = 0; j < sizeof progress / sizeof *progress; j++)
            if (strcmp(reason, progress[j]) == 0 && last_time(event) > ret->progress_ms)
                ret->progress_ms = last_time(event);
    }
}

static bool is_of_pull(const char *message) {
    return text_starts_with(message, "Failed to pull image") ||
           text_starts_with(message, "Error: ErrImagePull") ||
           text_starts_with(message, "Error: ImagePullBackOff");
}

void kube_events_read_container(const json_t *events, const char *uid, const char *field,
                                struct kube_container_events *ret) {
    *ret = (struct kube_container_events){0};
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        const char *reason = text_of(event, "reason"), *message = text_of(event, "message");
        if (!is_of(event, uid) ||
            strcmp(text_of(json_object_get(event, "involvedObject"), "fieldPath"), field) != 0)
            continue;
        if (strcmp(reason, "Pulling") == 0)
            note(&ret->pulling, event);
        else if (strcmp(reason, "Pulled") == 0)
            note(&ret->pulled, event);
        else if (strcmp(reason, "Failed") == 0 && text_starts_with(message, "Failed to pull image"))
            note(&ret->pull_failed, event);
        else if (strcmp(reason, "Failed") == 0 && !is_of_pull(message))
            note(&ret->failed, event);
    }
}

bool kube_event_is_current(const struct kube_events *events, const struct kube_event_note *note) {
    return note->message != NULL && note->last_ms > events->progress_ms;
}
