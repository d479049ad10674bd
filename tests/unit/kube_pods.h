/* Pods as API servers and kubelets of Kubernetes 1.34 describe them, with invented names. */
#pragma once

#include "kube_trees.h"

#include "launcher/kube_reasons.h"
#include "launcher/kube_status.h"

#include <stdio.h>

#define T(second)   "'2026-11-21T10:00:" second "Z'"
#define T_MIN(time) "'2026-11-21T10:" time "Z'"
/* ms since 1970 of 10:00:00 */
#define START      INT64_C(1795255200000)
#define MINUTES(n) ((n)*INT64_C(60000))

static inline json_t *pod_with(const char *status) {
    json_t *pod = tree_of(
        "apiVersion: v1\n"
        "kind: Pod\n"
        "metadata:\n"
        "  name: kernel-0f8fad5b-1\n"
        "  namespace: kernels\n"
        "  uid: 5b3c9c5e-2f0e-4f1c-9a51-9a7c2f6f6f10\n"
        "  resourceVersion: '48211'\n"
        "  creationTimestamp: " T(
            "00") "\n"
                  "  annotations: {kubectl.kubernetes.io/default-container: kernel}\n"
                  "  labels: {elara.kernel: 0f8fad5b}\n"
                  "  managedFields:\n"
                  "  - {manager: elara-gateway, operation: Update, apiVersion: v1, fieldsType: "
                  "FieldsV1,\n"
                  "     fieldsV1: {'f:metadata': {'f:labels': {'.': {}, 'f:elara.kernel': {}}}}}\n"
                  "  - {manager: kubelet, operation: Update, subresource: status, fieldsType: "
                  "FieldsV1}\n"
                  "spec:\n"
                  "  restartPolicy: OnFailure\n"
                  "  initContainers:\n"
                  "  - {name: elara-launcher, image: 'registry.example.com/elara:1'}\n"
                  "  containers:\n"
                  "  - {name: proxy, image: envoy}\n"
                  "  - {name: kernel, image: 'registry.example.com/team/py:3',\n"
                  "     resources: {limits: {memory: 4Gi}}}\n");
    json_object_set_new(pod, "status", tree_of(status));
    const json_t *scheduled = at(pod, "status/conditions/0");
    if (scheduled != NULL && strcmp(text_at(scheduled, "status"), "True") == 0)
        json_object_set_new(at(pod, "spec"), "nodeName", json_string("node-7"));
    return pod;
}

static inline json_t *events_of(const char *yaml) {
    json_t *events = yaml != NULL ? tree_of(yaml) : NULL;
    for (size_t i = 0; i < json_array_size(events); i++) {
        json_t *event = json_array_get(events, i);
        const char *path = text_at(event, "of");
        json_t *object = json_pack("{s:s, s:s, s:s}", "kind", "Pod", "name", "kernel-0f8fad5b-1",
                                   "uid", "5b3c9c5e-2f0e-4f1c-9a51-9a7c2f6f6f10");
        if (path != NULL)
            json_object_set_new(object, "fieldPath", json_string(path));
        if (at(event, "involvedObject") == NULL)
            json_object_set(event, "involvedObject", object);
        json_decref(object);
    }
    return events;
}

#define SCHEDULED "{type: PodScheduled, status: 'True', lastTransitionTime: " T("02") "}"
#define CONDITIONS                                                                                 \
    "conditions: [" SCHEDULED ", {type: Initialized, status: 'False'}, {type: Ready, status: "     \
    "'False', reason: ContainersNotReady}]\n"
#define PENDING "phase: Pending\n" CONDITIONS
#define INIT_DONE                                                                                  \
    "initContainerStatuses: [{name: elara-launcher, restartCount: 0, started: false, ready: "      \
    "true, state: {terminated: {exitCode: 0, reason: Completed}}}]\n"
#define KERNEL(state)                                                                              \
    "containerStatuses: [{name: proxy, state: {running: {}}}, {name: kernel, restartCount: 0, "    \
    "ready: false, started: false, " state "}]\n"
#define WAITING(reason, message)                                                                   \
    KERNEL("state: {waiting: {reason: " reason ", message: '" message "'}}")
#define CREATING                                                                                   \
    "initContainerStatuses: [{name: elara-launcher, restartCount: 0, state: {waiting: {reason: "   \
    "PodInitializing}}}]\n" KERNEL("state: {waiting: {reason: PodInitializing}}")
#define ON_KERNEL          "of: 'spec.containers{kernel}', "
#define ON_INIT            "of: 'spec.initContainers{elara-launcher}', "
#define TIMES(first, last) "firstTimestamp: " first ", lastTimestamp: " last
#define UNSCHEDULABLE(message)                                                                     \
    "phase: Pending\nconditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, "   \
    "lastTransitionTime: " T("01") ", message: \"" message "\"}]\n"

struct row {
    const char *status, *events;
    int64_t age_ms; /* now, since 10:00:00 */
    enum kube_pod_state state;
    const char *reason; /* or the stage, when pending */
    const char *message;
    int64_t again_ms; /* -1: any */
};

static inline void check(const struct row *row) {
    json_t *pod = pod_with(row->status), *events = events_of(row->events);
    struct kube_pod_verdict verdict;
    kube_pod_judge(pod, events, START + row->age_ms, NULL, &verdict);
    if (verdict.state != row->state)
        fail_msg("%s\nis %d: %s %s %s", row->status, verdict.state, verdict.stage, verdict.reason,
                 verdict.message);
    if (row->state == KUBE_POD_PENDING) {
        assert_has(verdict.stage, row->reason);
        assert_string_equal(verdict.reason, "");
    } else if (row->state != KUBE_POD_RUNNING) {
        assert_string_equal(verdict.reason, row->reason);
        assert_non_null(kube_reason_find(verdict.reason));
        assert_has(verdict.message, row->message);
        assert_has(verdict.message, kube_reason_find(verdict.reason)->advice);
        assert_null(strchr(verdict.message, '\n'));
        assert_string_equal(verdict.stage, "");
    }
    if (row->again_ms >= 0)
        assert_int_equal(verdict.judge_again_ms, row->again_ms);
    json_decref(pod);
    json_decref(events);
}

static inline void check_rows(const struct row *rows, size_t count) {
    for (size_t i = 0; i < count; i++)
        check(&rows[i]);
}

#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof *(rows))
