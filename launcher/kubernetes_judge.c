/* What the state of a pod means for its kernel. */
#include "launcher/kubernetes_internal.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "launcher/kube_reasons.h"

#define LOG_AREA "launcher/kubernetes_judge"
#include "base/log.h"

#include <string.h>

enum { LATE_MS = 1000 };

static void drop_pod(struct provision *place) {
    json_decref(steal(&place->pod));
    json_decref(steal(&place->pod_events));
    place->judge_at_ms = 0;
}

void kubernetes_tell_stage(struct provision *place, const char *stage) {
    if (!place->is_held || place->is_ended || strcmp(place->stage, stage) == 0)
        return;
    snprintf(place->stage, sizeof place->stage, "%s", stage);
    place->events.stage(place->context, place->stage);
}

void kubernetes_tell_waiting(struct provision *place, int status) {
    kubernetes_tell_stage(
        place, status == 429 ? "waiting for Kubernetes, which has too much to do at the moment"
                             : "waiting for Kubernetes, which does not answer");
}

void kubernetes_tell_reached(struct provision *place, enum provision_step step) {
    while (place->is_held && !place->is_ended && place->events.reached != NULL &&
           place->next_step <= step)
        place->events.reached(place->context, place->next_step++);
}

/* It may be full of what its user needs: nobody ends it for that. */
static void tell_locked(struct provision *place) {
    char name[KUBE_NAME_SIZE], stage[KUBE_STAGE_SIZE];
    kube_name_gateway(place->cluster->settings.install, name);
    if (!place->is_locked)
        log_error("kernel %s: its launcher accepts only keys of the gateways that are lost, since "
                  "the Secret %s was deleted or changed: put the earlier one back, or delete the "
                  "kernel",
                  place->id, name);
    place->is_locked = true;
    snprintf(stage, sizeof stage,
             "the kernel runs, but the gateways' keys that it accepts are lost; ask the "
             "administrator for the earlier Secret %s, or shut the kernel down",
             name);
    kubernetes_tell_stage(place, stage);
}

static bool was_heard(const struct provision *place) {
    return json_is_true(json_object_get(place->record, KUBE_RECORD_HEARD));
}

/* One that spoke to any gateway has a kernel that may be full of what its user needs, and is never
 * ended for its silence. */
static void await_hello(struct provision *place) {
    int64_t limit_ms = place->cluster->settings.start_deadline_ms;
    place->is_heard = false;
    place->hello_by_ms = was_heard(place) || limit_ms <= 0 ? 0 : clock_monotonic_ms() + limit_ms;
    kubernetes_wake(place->cluster);
}

static void on_heard(void *context, enum kube_merge outcome, int status, const json_t *answer,
                     const struct error *err) {
    (void)outcome, (void)status;
    if (err == NULL)
        kubernetes_take_record(context, answer, false);
}

static void note_heard(struct provision *place) {
    place->hello_by_ms = 0;
    if (!was_heard(place))
        (void)kubernetes_change(place, kubernetes_intend(place, KUBE_INTENT_HEARD, NULL), on_heard,
                                place->cluster);
}

/* Whoever has started it says so at once; the others only if nobody has said it in time. */
void kubernetes_heard(struct provision *place) {
    const char *start = json_string_value(json_object_get(place->record, "start"));
    bool is_ours = start != NULL && place->nonce != NULL && strcmp(start, place->nonce) == 0;
    place->is_heard = true;
    if (is_ours && place->hello_by_ms != 0)
        note_heard(place);
}

static void end_silent(struct provision *place) {
    struct error cause;
    error_set(
        &cause, ERROR_TIMEOUT,
        "The kernel's pod runs, but its launcher has answered no gateway since it was started "
        "(start-deadline): it hangs, or a NetworkPolicy keeps the gateways from it. Start it "
        "again, or ask the administrator.");
    cause.cause = kube_reason_word("StartDeadline");
    place->hello_by_ms = 0;
    place->cluster->swept++;
    log_warning("kernel %s: its launcher never answered, its pod is deleted", place->id);
    kubernetes_delete_pod(place, 0);
    kubernetes_call_ended(place, &cause);
}

static void tell_doubt(struct provision *place) {
    if (place->is_held && !place->is_ended && place->is_reachable && place->events.doubted != NULL)
        place->events.doubted(place->context, place->doubt);
}

static void take_doubt(struct provision *place, const char *doubt) {
    if (strcmp(place->doubt != NULL ? place->doubt : "", doubt) == 0)
        return;
    text_replace(&place->doubt, *doubt != '\0' ? doubt : NULL);
    tell_doubt(place);
}

static void tell_reachable(struct provision *place) {
    const struct kubernetes *cluster = place->cluster;
    bool is_ipv6 = strchr(place->ip, ':') != NULL;
    struct provision_address address = {.server_key = place->server_key};
    if (!place->is_held || place->is_ended || place->is_reachable || cluster->public_key == NULL ||
        place->server_key == NULL)
        return;
    if (!kubernetes_choose_pair(place, &address)) {
        tell_locked(place);
        return;
    }
    cleanup_free char *endpoint =
        memory_printf("tcp://%s%s%s:%lld", is_ipv6 ? "[" : "", place->ip, is_ipv6 ? "]" : "",
                      (long long)cluster->settings.pod.port);
    address.endpoint = endpoint;
    place->is_locked = false;
    place->is_reachable = true;
    place->began_ms = place->start_by_ms = 0;
    await_hello(place);
    place->events.reachable(place->context, &address);
    tell_doubt(place);
}

/* The container is started again in its pod, where its launcher goes on with the journal. */
static void tell_end_of_container(struct provision *place, const struct kube_pod_verdict *verdict) {
    if (strcmp(place->end_at, verdict->last_end_at) == 0)
        return;
    snprintf(place->end_at, sizeof place->end_at, "%s", verdict->last_end_at);
    if (!place->is_held || place->is_ended || !place->is_reachable || place->events.remade == NULL)
        return;
    cleanup_free char *id = memory_printf("container %s %s", place->pod_name, place->end_at);
    place->events.remade(place->context, verdict->last_end, id);
}

static void take_running(struct provision *place, const struct kube_pod_verdict *verdict) {
    if (strcmp(place->ip, verdict->ip) != 0)
        place->is_reachable = false; /* another attempt's, or its sandbox was made anew */
    snprintf(place->ip, sizeof place->ip, "%s", verdict->ip);
    place->is_running = true;
    drop_pod(place);
    kubernetes_note_way(place, false);
    kubernetes_tell_reached(place, PROVISION_STARTED);
    take_doubt(place, verdict->doubt);
    tell_reachable(place);
}

static void keep_pod(struct provision *place, const json_t *pod) {
    place->is_running = false;
    if (place->pod == pod)
        return;
    json_decref(place->pod);
    place->pod = json_deep_copy(pod);
}

static void take_pending(struct provision *place, const json_t *pod,
                         const struct kube_pod_verdict *verdict) {
    keep_pod(place, pod);
    place->judge_at_ms =
        verdict->judge_again_ms > 0 ? clock_monotonic_ms() + verdict->judge_again_ms : 0;
    kubernetes_note_way(place, true);
    kubernetes_tell_reached(place, verdict->times.pulled_ms != 0      ? PROVISION_PULLED
                                   : verdict->times.scheduled_ms != 0 ? PROVISION_SCHEDULED
                                                                      : PROVISION_CREATED);
    kubernetes_tell_stage(place, verdict->stage);
}

/* A pod that failed would be started again and again by its node. One that ended in good order was
 * told to by a gateway that may not live to say so: the kernel is not to come back, and its pod
 * stays until that is on record. */
static void take_end(struct provision *place, const struct kube_pod_verdict *verdict, bool exists) {
    struct error cause;
    bool has_ended = strcmp(verdict->reason, "PodEnded") == 0;
    bool is_over = verdict->state == KUBE_POD_FAILED || has_ended;
    error_set(&cause, is_over ? ERROR_UNAVAILABLE : ERROR_SYSTEM, "%s", verdict->message);
    cause.cause = kube_reason_word(verdict->reason);
    log_info("kernel %s: its pod %s: %s: %s", place->id, place->pod_name, verdict->reason,
             verdict->message);
    place->is_running = false;
    drop_pod(place);
    kubernetes_note_way(place, false);
    if (exists && !has_ended)
        kubernetes_delete_pod(place, -1);
    kubernetes_call_ended(place, &cause);
}

void kubernetes_judge_pod(struct provision *place, const json_t *pod) {
    struct kube_pod_verdict verdict;
    kube_pod_judge(pod, place->pod_events, kube_client_wall_ms(place->cluster->client), NULL,
                   &verdict);
    switch (verdict.state) {
    case KUBE_POD_RUNNING:
        take_running(place, &verdict);
        tell_end_of_container(place, &verdict);
        break;
    case KUBE_POD_PENDING:
        take_pending(place, pod, &verdict);
        if (verdict.last_exit_code != 0) /* one in good order was wanted, and ends its pod */
            tell_end_of_container(place, &verdict);
        break;
    case KUBE_POD_FAILED:
    case KUBE_POD_GONE:
        if (!place->is_held && pod != NULL)
            keep_pod(place, pod); /* whoever adopts it is told */
        else if (!place->is_ended)
            take_end(place, &verdict, pod != NULL);
        break;
    }
}

/* As the gateway says whose start failed. */
static void take_death(const struct provision *place, struct error *cause) {
    const char *reason = json_string_value(json_object_get(place->record, "reason"));
    const char *word = json_string_value(json_object_get(place->record, "cause"));
    error_set(cause, ERROR_UNAVAILABLE, "%s",
              reason != NULL ? reason : "The kernel's pod is gone, and the kernel with it.");
    cause->cause = kube_reason_word(word != NULL ? word : "PodDeleted");
}

/* Nothing of it is on its way, and we know all pods there are. */
static void judge_missing(struct provision *place) {
    struct error cause;
    int64_t age_ms = kube_client_wall_ms(place->cluster->client) -
                     json_integer_value(json_object_get(place->record, "start_ms"));
    int64_t grace_ms = place->cluster->settings.sweep_grace_ms;
    if (age_ms < 0 && age_ms > -grace_ms)
        age_ms = 0; /* the other one's clock is ahead of ours */
    if (place->state == KUBE_RECORD_DEAD) {
        take_death(place, &cause);
        kubernetes_call_ended(place, &cause);
    } else if (age_ms >= 0 && age_ms < grace_ms) {
        place->judge_at_ms = clock_monotonic_ms() + grace_ms - age_ms;
        kubernetes_tell_stage(place, "another gateway is starting the kernel");
        kubernetes_wake(place->cluster);
    } else if (!kubernetes_doubt_missing(place)) {
        error_set(&cause, ERROR_NOT_FOUND,
                  "The kernel's pod is gone, and the kernel with it: its variables are lost.");
        cause.cause = kube_reason_word("PodDeleted");
        kubernetes_call_ended(place, &cause);
    }
}

void kubernetes_judge(struct provision *place) {
    const struct kubernetes *cluster = place->cluster;
    if (place->is_removed || place->is_ended)
        return;
    if (place->is_pod_doubtful)
        kubernetes_doubt_pod(place);
    else if (place->is_running)
        tell_reachable(place);
    else if (place->pod != NULL)
        kubernetes_judge_pod(place, place->pod);
    else if (place->is_held && place->step == STEP_NONE && place->pod_name == NULL &&
             kubernetes_sees_pods(place) && cluster->has_records)
        judge_missing(place);
}

static void end_late(struct provision *place) {
    const char *word = kube_reason_word("StartDeadline");
    cleanup_buffer struct buffer limit = {.limit = 64};
    struct error cause;
    char said[2 * KUBE_STAGE_SIZE], message[KUBE_MESSAGE_SIZE];
    text_append_duration(&limit, place->cluster->settings.start_deadline_ms);
    snprintf(said, sizeof said, "The kernel's pod did not run within %s (start-deadline)%s%s",
             buffer_text(&limit), place->stage[0] != '\0' ? "; its last state: " : "",
             place->stage);
    kube_reason_write(word, said, message, sizeof message);
    error_set(&cause, ERROR_TIMEOUT, "%s", message);
    cause.cause = word;
    kubernetes_cancel(place);
    place->start_by_ms = 0;
    drop_pod(place);
    kubernetes_note_way(place, false);
    kubernetes_delete_pod(place, 0);
    kubernetes_call_ended(place, &cause);
}

/* Who hears it says so at half of the time, before those that cannot reach it give it up. */
static bool is_hello_due(const struct provision *place, int64_t now_ms) {
    int64_t early_ms = place->is_heard ? place->cluster->settings.start_deadline_ms / 2 : 0;
    return place->hello_by_ms != 0 && now_ms >= place->hello_by_ms - early_ms;
}

/* It is asked again and again until the step's deadline: who waits is told sooner. */
static bool is_step_late(const struct provision *place, int64_t now_ms) {
    return place->call != NULL && place->step != STEP_NONE && place->step != STEP_WATCH &&
           now_ms - place->called_ms >= LATE_MS;
}

void kubernetes_age(struct provision *place, int64_t now_ms) {
    if (is_step_late(place, now_ms))
        kubernetes_tell_waiting(place, kube_request_status(place->call));
    if (place->start_by_ms != 0 && now_ms >= place->start_by_ms && place->is_held &&
        !place->is_ended && !place->is_pod_doubtful) {
        end_late(place);
        return;
    }
    if (place->hello_by_ms != 0 && (was_heard(place) || place->is_removed || place->is_ended)) {
        place->hello_by_ms = 0;
    } else if (is_hello_due(place, now_ms)) {
        if (place->is_heard)
            note_heard(place);
        else
            end_silent(place);
        return;
    }
    if (place->judge_at_ms == 0 || now_ms < place->judge_at_ms)
        return;
    place->judge_at_ms = 0;
    if (place->is_removed)
        kubernetes_remove_again(place);
    else if (place->is_held && !place->is_ended)
        kubernetes_go_on(place); /* a step that had no answer, or judges */
    else
        kubernetes_judge(place);
}
