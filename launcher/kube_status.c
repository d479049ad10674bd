#include "launcher/kube_status.h"

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "launcher/kube_objects.h"
#include "launcher/kube_reasons.h"
#include "launcher/kube_text.h"
#include "launcher/kube_view.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MINUTE_MS = 60 * 1000, PART_SIZE = 640 };

const struct kube_status_settings kube_status_defaults = {
    .unschedulable_grace_ms = 5 * MINUTE_MS,
    .scale_up_grace_ms = 15 * MINUTE_MS,
    .image_grace_ms = 2 * MINUTE_MS,
    .volume_grace_ms = 3 * MINUTE_MS,
    .sandbox_grace_ms = 3 * MINUTE_MS,
    .config_grace_ms = MINUTE_MS,
    .crash_limit = 3,
};

const char *kube_view_text(const json_t *object, const char *member) {
    const char *text = json_string_value(json_object_get(object, member));
    return text != NULL ? text : "";
}

const json_t *kube_view_named(const json_t *list, const char *name) {
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(kube_view_text(json_array_get(list, i), "name"), name) == 0)
            return json_array_get(list, i);
    return NULL;
}

static const json_t *condition(const struct kube_view *view, const char *type) {
    const json_t *list = json_object_get(view->status, "conditions");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(kube_view_text(json_array_get(list, i), "type"), type) == 0)
            return json_array_get(list, i);
    return NULL;
}

static bool is_status(const json_t *of_condition, const char *status) {
    return strcmp(kube_view_text(of_condition, "status"), status) == 0;
}

static int64_t transition_ms(const json_t *of_condition) {
    return kube_time_parse(kube_view_text(of_condition, "lastTransitionTime"));
}

/* Verdicts */

__attribute__((format(printf, 2, 0))) static void write_stage(struct kube_view *view,
                                                              const char *format, va_list args) {
    char stage[2 * KUBE_STAGE_SIZE];
    vsnprintf(stage, sizeof stage, format, args);
    kube_text_clean(stage, view->verdict->stage, sizeof view->verdict->stage);
    view->verdict->state = KUBE_POD_PENDING;
}

void kube_view_pending(struct kube_view *view, const char *format, ...) {
    va_list args;
    va_start(args, format);
    write_stage(view, format, args);
    va_end(args);
}

void kube_view_again(struct kube_view *view, int64_t in_ms) {
    int64_t *again = &view->verdict->judge_again_ms;
    if (in_ms > 0 && (*again == 0 || in_ms < *again))
        *again = in_ms;
}

bool kube_view_wait(struct kube_view *view, int64_t since_ms, int64_t grace_ms, const char *format,
                    ...) {
    int64_t waited_ms = since_ms > 0 && view->now_ms > since_ms ? view->now_ms - since_ms : 0;
    if (waited_ms >= grace_ms)
        return false;
    va_list args;
    va_start(args, format);
    write_stage(view, format, args);
    va_end(args);
    kube_view_again(view, grace_ms - waited_ms);
    return true;
}

__attribute__((format(printf, 4, 0))) static void end(struct kube_view *view,
                                                      enum kube_pod_state state, const char *word,
                                                      const char *format, va_list args) {
    struct kube_pod_verdict *verdict = view->verdict;
    char cause[2 * KUBE_MESSAGE_SIZE];
    vsnprintf(cause, sizeof cause, format, args);
    verdict->state = state;
    verdict->judge_again_ms = 0;
    snprintf(verdict->reason, sizeof verdict->reason, "%s", word);
    kube_reason_write(word, cause, verdict->message, sizeof verdict->message);
}

void kube_view_fail(struct kube_view *view, const char *word, const char *format, ...) {
    va_list args;
    va_start(args, format);
    end(view, KUBE_POD_FAILED, word, format, args);
    va_end(args);
}

void kube_view_gone(struct kube_view *view, const char *word, const char *format, ...) {
    va_list args;
    va_start(args, format);
    end(view, KUBE_POD_GONE, word, format, args);
    va_end(args);
}

/* Ends */

/* Why the cluster took it away, by the condition that says so since Kubernetes 1.26, else by the
 * events. False: it does not say. */
static bool judge_disruption(struct kube_view *view) {
    const json_t *target = condition(view, "DisruptionTarget");
    const struct kube_events *events = &view->events;
    const char *reason = is_status(target, "True") ? kube_view_text(target, "reason") : "";
    char said[PART_SIZE], node[256];
    kube_text_clean(kube_view_text(target, "message"), said, sizeof said);
    snprintf(node, sizeof node, "%.200s", kube_view_text(view->spec, "nodeName"));
    if (text_starts_with(reason, "PreemptionBy") || events->preempted.message != NULL) {
        kube_view_gone(view, "Preempted", "A pod of a higher priority took the kernel's place");
    } else if (strcmp(reason, "DeletionByTaintManager") == 0 || events->tainted.message != NULL) {
        kube_view_gone(view, "NodeLost",
                       "The node %s does not answer, or does not want this pod "
                       "any more (a NoExecute taint)",
                       node);
    } else if (strcmp(reason, "DeletionByPodGC") == 0) {
        kube_view_gone(view, "NodeLost", "The node %s is gone", node);
    } else if (strcmp(reason, "EvictionByEvictionAPI") == 0) {
        kube_view_gone(view, "Evicted",
                       "The node %s is being emptied (kubectl drain, or the "
                       "autoscaler)",
                       node);
    } else if (events->evicted.message != NULL) {
        kube_text_clean(events->evicted.message, said, sizeof said);
        kube_view_gone(view, "Evicted", "%s", said);
    } else if (*reason != '\0') {
        kube_view_gone(view, "Evicted", "%s",
                       *said != '\0' ? said : "The pod had to leave its node");
    } else {
        return false;
    }
    return true;
}

/* Phase Failed by itself or by the kubelet, told in status.reason. */
static bool judge_failed_reason(struct kube_view *view) {
    static const struct {
        const char *reason, *word, *sentence;
    } rows[] = {
        {"Evicted", "Evicted", "The node evicted the pod"},
        {"Preempting", "Preempted", "The node needed the room for a system pod"},
        {"NodeLost", "NodeLost", "The node does not answer"},
        {"NodeShutdown", "NodeRefused", "The node is being shut down"}, /* it had not run there */
        {"Shutdown", "NodeShutdown", "The node is being shut down"},
        {"Terminated", "NodeShutdown", "The node is being shut down"},
        {"NodeAffinity", "NodeRefused", "The node does not match the pod's node selector"},
        {"UnexpectedAdmissionError", "NodeRefused", "The node could not give what the pod needs"},
    };
    const char *reason = kube_view_text(view->status, "reason");
    char said[PART_SIZE];
    kube_text_clean(kube_view_text(view->status, "message"), said, sizeof said);
    if (strcmp(reason, "DeadlineExceeded") == 0) {
        kube_view_fail(
            view, "DeadlineExceeded",
            "The pod was active for longer than its activeDeadlineSeconds (%lld s)",
            (long long)json_integer_value(json_object_get(view->spec, "activeDeadlineSeconds")));
        return true;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(reason, rows[i].reason) == 0) {
            kube_view_gone(view, rows[i].word, "%s%s%s", rows[i].sentence,
                           *said != '\0' ? ": " : "", said);
            return true;
        }
    if (!text_starts_with(reason, "OutOf")) /* cpu, memory, pods, nvidia.com/gpu */
        return false;
    kube_view_gone(view, "NodeRefused", "The node had no room left: %s",
                   *said != '\0' ? said : reason);
    return true;
}

static const json_t *kernel_status(const struct kube_view *view) {
    return kube_view_named(json_object_get(view->status, "containerStatuses"), view->container);
}

/* The word of kube_reasons.h. */
static const char *container_end(const struct kube_view *view, const json_t *terminated,
                                 char text[PART_SIZE]) {
    char how[PART_SIZE / 2];
    const char *limit = kube_view_memory_limit(view, view->container);
    kube_view_end_text(terminated, how, sizeof how);
    if (kube_view_is_oom(terminated))
        snprintf(text, PART_SIZE, "The kernel's container went over its memory limit%s%.64s",
                 *limit != '\0' ? " of " : "", limit);
    else
        snprintf(text, PART_SIZE, "The kernel's container has ended: %s", how);
    return kube_view_is_oom(terminated) ? "OOMKilled" : "ContainerEnded";
}

static void judge_failed(struct kube_view *view) {
    if (judge_failed_reason(view) || judge_disruption(view))
        return;
    const json_t *state = json_object_get(kernel_status(view), "state");
    const json_t *terminated = json_object_get(state, "terminated");
    char text[PART_SIZE];
    const char *word = container_end(view, terminated, text);
    kube_view_gone(view, word, "%s", text);
}

static void judge_deleted(struct kube_view *view) {
    const char *phase = kube_view_text(view->status, "phase");
    if (strcmp(phase, "Failed") == 0 && judge_failed_reason(view))
        return;
    if (judge_disruption(view))
        return;
    /* The node controller's mark on the pods of a node that is silent. */
    if (strcmp(kube_view_text(view->status, "reason"), "NodeLost") == 0)
        kube_view_gone(view, "NodeLost", "The node %.200s does not answer",
                       kube_view_text(view->spec, "nodeName"));
    else
        kube_view_gone(view, "PodDeleted", "The kernel's pod was deleted");
}

/* The way to a node */

static void add_hint(char *sentence, size_t size, const struct kube_events *events) {
    if (events->no_scale_up.message == NULL)
        return;
    size_t length = strlen(sentence);
    char said[PART_SIZE];
    kube_text_clean(events->no_scale_up.message, said, sizeof said);
    if (length + 32 < size)
        snprintf(sentence + length, size - length, "; no node is added: %.200s", said);
}

static void judge_unschedulable(struct kube_view *view, const json_t *scheduled) {
    const struct kube_events *events = &view->events;
    char sentence[PART_SIZE];
    kube_text_schedule(kube_view_text(scheduled, "message"), sentence, sizeof sentence);
    int64_t since_ms = transition_ms(scheduled);
    if (since_ms == 0)
        since_ms = view->verdict->times.created_ms;
    const char *nominated = kube_view_text(view->status, "nominatedNodeName");
    if (*nominated != '\0' &&
        kube_view_wait(view, since_ms, view->settings->scale_up_grace_ms,
                       "waiting for a node: room is made on %.200s", nominated))
        return;
    if (events->scale_up.message != NULL &&
        events->scale_up.last_ms >= events->no_scale_up.last_ms &&
        kube_view_wait(view, events->scale_up.last_ms, view->settings->scale_up_grace_ms,
                       "waiting for a node: a new one is being added (%s)", sentence))
        return;
    add_hint(sentence, sizeof sentence, events);
    if (!kube_view_wait(view, since_ms, view->settings->unschedulable_grace_ms,
                        "waiting for a node: %s", sentence))
        kube_view_fail(view, "Unschedulable", "No node can take the kernel: %s", sentence);
}

/* True: it has no node yet. */
static bool judge_scheduling(struct kube_view *view) {
    const json_t *scheduled = condition(view, "PodScheduled");
    if (is_status(scheduled, "True") || *kube_view_text(view->spec, "nodeName") != '\0')
        return false;
    if (strcmp(kube_view_text(scheduled, "reason"), "SchedulingGated") == 0) {
        const char *queue = kube_object_label(view->pod, "kueue.x-k8s.io/queue-name");
        if (queue != NULL)
            kube_view_pending(view, "waiting in the queue %.100s", queue);
        else
            kube_view_pending(view, "waiting until the pod may be scheduled (scheduling gates)");
    } else if (is_status(scheduled, "False")) {
        judge_unschedulable(view, scheduled);
    } else {
        kube_view_pending(view, "waiting for the scheduler");
    }
    return true;
}

/* What is there */

static const char *find_container(const json_t *pod) {
    const json_t *containers = json_object_get(json_object_get(pod, "spec"), "containers");
    const json_t *annotations = json_object_get(json_object_get(pod, "metadata"), "annotations");
    const char *name = kube_view_text(annotations, "kubectl.kubernetes.io/default-container");
    if (kube_view_named(containers, name) != NULL)
        return name;
    if (kube_view_named(containers, "kernel") != NULL)
        return "kernel";
    return kube_view_text(json_array_get(containers, 0), "name");
}

static void read_times(struct kube_view *view) {
    struct kube_pod_times *times = &view->verdict->times;
    const json_t *scheduled = condition(view, "PodScheduled"), *container = kernel_status(view);
    const json_t *running = json_object_get(json_object_get(container, "state"), "running");
    char field[320];
    struct kube_container_events events;
    snprintf(field, sizeof field, "spec.containers{%.253s}", view->container);
    kube_events_read_container(view->event_list, view->uid, field, &events);
    times->created_ms = kube_time_parse(
        kube_view_text(json_object_get(view->pod, "metadata"), "creationTimestamp"));
    times->scheduled_ms = is_status(scheduled, "True") ? transition_ms(scheduled) : 0;
    times->pulled_ms = events.pulled.first_ms;
    times->started_ms = kube_time_parse(kube_view_text(running, "startedAt"));
}

static void read_restarts(struct kube_view *view) {
    const json_t *container = kernel_status(view);
    const json_t *now = json_object_get(json_object_get(container, "state"), "terminated");
    const json_t *before = json_object_get(json_object_get(container, "lastState"), "terminated");
    const json_t *last = json_is_object(now) ? now : before;
    struct kube_pod_verdict *verdict = view->verdict;
    verdict->container_restarts = json_integer_value(json_object_get(container, "restartCount"));
    verdict->last_exit_code = -1;
    if (!json_is_object(last))
        return;
    verdict->last_exit_code = json_integer_value(json_object_get(last, "exitCode"));
    verdict->last_was_oom = kube_view_is_oom(last);
    char text[PART_SIZE];
    const char *word = container_end(view, last, text);
    kube_reason_write(word, text, verdict->last_end, sizeof verdict->last_end);
    snprintf(verdict->last_end_at, sizeof verdict->last_end_at, "%s",
             kube_view_text(last, "finishedAt"));
}

/* How long Kubernetes leaves the pod on a node that is not ready: what its tolerations of the taint
 * say, which admission adds to every pod. -1: for as long as it takes. */
static int64_t node_grace_ms(const struct kube_view *view) {
    const json_t *list = json_object_get(view->spec, "tolerations");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *toleration = json_array_get(list, i);
        const json_t *seconds = json_object_get(toleration, "tolerationSeconds");
        const char *key = kube_view_text(toleration, "key");
        const char *effect = kube_view_text(toleration, "effect");
        if ((*key == '\0' || strcmp(key, "node.kubernetes.io/unreachable") == 0) &&
            (*effect == '\0' || strcmp(effect, "NoExecute") == 0))
            return seconds != NULL ? json_integer_value(seconds) * 1000 : -1;
    }
    return 0;
}

/* A pod that is not ready though its containers are, and for no reason of its own: the mark that
 * the node controller puts on the pods of a node that is not ready. */
static bool is_node_doubtful(const struct kube_view *view, const json_t *ready) {
    return is_status(ready, "False") && is_status(condition(view, "ContainersReady"), "True") &&
           strcmp(kube_view_text(ready, "reason"), "ReadinessGatesNotReady") != 0;
}

static void judge_node(struct kube_view *view) {
    const json_t *ready = condition(view, "Ready");
    const char *since = kube_view_text(ready, "lastTransitionTime");
    cleanup_buffer struct buffer doubt = {.limit = sizeof view->verdict->doubt - 1};
    if (!is_node_doubtful(view, ready))
        return;
    buffer_printf(&doubt, "The kernel's node %.200s has not been ready",
                  kube_view_text(view->spec, "nodeName"));
    if (kube_time_parse(since) != 0)
        buffer_printf(&doubt, " since %.5s UTC", strchr(since, 'T') + 1);
    buffer_printf(&doubt, ": Kubernetes hears nothing of it, or nothing good. The kernel may work "
                          "on there. ");
    int64_t grace_ms = node_grace_ms(view);
    if (grace_ms < 0) {
        buffer_printf(&doubt, "It is left there until the node is back, or is removed.");
    } else {
        buffer_printf(&doubt, "Unless the node is back %s", grace_ms > 0 ? "within " : "at once");
        if (grace_ms > 0)
            text_append_duration(&doubt, grace_ms);
        buffer_printf(&doubt, ", the kernel is started anew elsewhere, and what it has in memory "
                              "is lost.");
    }
    snprintf(view->verdict->doubt, sizeof view->verdict->doubt, "%s", buffer_text(&doubt));
}

static bool judge_running(struct kube_view *view) {
    const json_t *container = kernel_status(view);
    if (!json_is_object(json_object_get(json_object_get(container, "state"), "running")))
        return false;
    const char *ip = kube_view_text(view->status, "podIP");
    if (*ip == '\0') {
        kube_view_pending(view, "waiting for the pod's address");
        return true;
    }
    struct kube_pod_verdict *verdict = view->verdict;
    verdict->state = KUBE_POD_RUNNING;
    snprintf(verdict->ip, sizeof verdict->ip, "%s", ip);
    snprintf(verdict->stage, sizeof verdict->stage, "connecting to the launcher");
    judge_node(view);
    return true;
}

static void judge(struct kube_view *view) {
    const char *phase = kube_view_text(view->status, "phase");
    const json_t *metadata = json_object_get(view->pod, "metadata");
    if (!json_is_object(view->pod)) {
        if (!judge_disruption(view))
            kube_view_gone(view, "PodDeleted", "The kernel's pod is not there any more");
    } else if (*kube_view_text(metadata, "deletionTimestamp") != '\0') {
        judge_deleted(view);
    } else if (strcmp(phase, "Failed") == 0) {
        judge_failed(view);
    } else if (strcmp(phase, "Succeeded") == 0) {
        kube_view_gone(view, "PodEnded", "The kernel's pod has ended in good order");
    } else if (strcmp(phase, "Unknown") == 0) {
        kube_view_gone(view, "NodeLost", "The node %.200s does not answer",
                       kube_view_text(view->spec, "nodeName"));
    } else if (!judge_running(view) && !judge_scheduling(view)) {
        kube_view_judge_containers(view);
    }
}

void kube_pod_judge(const json_t *pod, const json_t *events, int64_t now_ms,
                    const struct kube_status_settings *settings, struct kube_pod_verdict *ret) {
    *ret = (struct kube_pod_verdict){.last_exit_code = -1};
    struct kube_view view = {
        .pod = pod,
        .spec = json_object_get(pod, "spec"),
        .status = json_object_get(pod, "status"),
        .event_list = events,
        .uid = kube_object_uid(pod),
        .container = find_container(pod),
        .now_ms = now_ms,
        .settings = settings != NULL ? settings : &kube_status_defaults,
        .verdict = ret,
    };
    kube_events_read(events, view.uid, &view.events);
    read_times(&view);
    read_restarts(&view);
    judge(&view);
}
