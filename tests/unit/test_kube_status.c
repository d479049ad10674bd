/* Pods as API servers and kubelets of Kubernetes 1.34 describe them, with invented names. */
#include "kube_trees.h"

#include "launcher/kube_reasons.h"
#include "launcher/kube_status.h"

#include <stdio.h>

#define T(second)   "'2026-11-21T10:00:" second "Z'"
#define T_MIN(time) "'2026-11-21T10:" time "Z'"
/* ms since 1970 of 10:00:00 */
#define START      INT64_C(1795255200000)
#define MINUTES(n) ((n)*INT64_C(60000))

static json_t *pod_with(const char *status) {
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

static json_t *events_of(const char *yaml) {
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

static void check(const struct row *row) {
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

static void check_rows(const struct row *rows, size_t count) {
    for (size_t i = 0; i < count; i++)
        check(&rows[i]);
}

#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof *(rows))

static void on_the_way_to_a_node(void **state) {
    static const char full[] = UNSCHEDULABLE(
        "0/3 nodes are available: 1 node(s) had untolerated taint {gpu: only}, 2 Insufficient "
        "nvidia.com/gpu. no new claims to deallocate, preemption: 0/3 nodes are available: 3 "
        "Preemption is not helpful for scheduling.");
    static const char sentence[] =
        "0/3 nodes are available: 1 node(s) had untolerated taint {gpu: only}, 2 Insufficient "
        "nvidia.com/gpu";
    static const struct row rows[] = {
        {"phase: Pending\n", NULL, 0, KUBE_POD_PENDING, "waiting for the scheduler", NULL, 0},
        {"{}", NULL, 0, KUBE_POD_PENDING, "waiting for the scheduler", NULL, 0},
        {full, NULL, 11000, KUBE_POD_PENDING, sentence, NULL, MINUTES(5) - 10000},
        {full, NULL, MINUTES(5) + 999, KUBE_POD_PENDING, "waiting for a node: ", NULL, 1},
        {full, NULL, MINUTES(5) + 1000, KUBE_POD_FAILED, "Unschedulable", sentence, 0},
        {UNSCHEDULABLE("0/1 nodes are available: 1 Too many pods. preemption: none."), NULL,
         MINUTES(9), KUBE_POD_FAILED, "Unschedulable",
         "No node can take the kernel: 0/1 nodes are available: 1 Too many pods. Ask for less", 0},
        {full,
         "[{reason: TriggeredScaleUp, message: 'pod triggered scale-up: [{gpus 1->2 (max: "
         "4)}]', " TIMES(T_MIN("04:00"), T_MIN("04:00")) "}]",
         MINUTES(9), KUBE_POD_PENDING, "a new one is being added", NULL, MINUTES(10)},
        {full,
         "[{reason: TriggeredScaleUp, message: x, " TIMES(T_MIN("04:00"), T_MIN("04:00")) "}]",
         MINUTES(19), KUBE_POD_FAILED, "Unschedulable", sentence, 0},
        {full,
         "[{reason: NotTriggerScaleUp, message: \"pod didn't trigger scale-up: 1 max node group "
         "size reached\", " TIMES(T("30"), T("40")) "}]",
         MINUTES(6), KUBE_POD_FAILED, "Unschedulable",
         "; no node is added: pod didn't trigger scale-up: 1 max node group size reached.", 0},
        {"phase: Pending\nnominatedNodeName: node-3\nconditions: [{type: PodScheduled, status: "
         "'False', reason: Unschedulable, lastTransitionTime: " T("01") ", message: x}]\n",
         NULL, MINUTES(6), KUBE_POD_PENDING, "room is made on node-3", NULL, -1},
        {"phase: Pending\nconditions: [{type: PodScheduled, status: 'False', reason: "
         "SchedulingGated, message: 'Scheduling is blocked due to non-empty scheduling gates'}]\n",
         NULL, MINUTES(600), KUBE_POD_PENDING, "scheduling gates", NULL, 0},
    };
    (void)state;
    CHECK(rows);
    json_t *pod = pod_with("conditions: [{type: PodScheduled, status: 'False', reason: "
                           "SchedulingGated}]");
    json_object_set_new(at(pod, "metadata/labels"), "kueue.x-k8s.io/queue-name",
                        json_string("gpus"));
    struct kube_pod_verdict verdict;
    kube_pod_judge(pod, NULL, START, NULL, &verdict);
    assert_string_equal(verdict.stage, "waiting in the queue gpus");
    json_decref(pod);
}

static void on_the_way_to_a_container(void **state) {
    static const struct row rows[] = {
        {PENDING, NULL, 3000, KUBE_POD_PENDING,
         "preparing the pod's volumes and network on the node node-7", NULL, 0},
        {PENDING CREATING, NULL, 3000, KUBE_POD_PENDING, "preparing the pod's volumes", NULL, 0},
        {PENDING CREATING, "[{reason: Pulling, " ON_INIT TIMES(T("03"), T("03")) "}]", 5000,
         KUBE_POD_PENDING, "pulling Elara's own image registry.example.com/elara:1", NULL, 8000},
        {PENDING "initContainerStatuses: [{name: elara-launcher, started: true, state: {running: "
                 "{startedAt: " T("04") "}}}]\n" WAITING("PodInitializing", ""),
         NULL, 5000, KUBE_POD_PENDING, "copying the launcher into the pod", NULL, 0},
        {PENDING INIT_DONE WAITING("PodInitializing", ""),
         "[{reason: Pulling, " ON_KERNEL TIMES(T("10"), T("10")) "}]", 15000, KUBE_POD_PENDING,
         "pulling the image registry.example.com/team/py:3", NULL, 5000},
        {PENDING INIT_DONE WAITING("PodInitializing", ""),
         "[{reason: Pulling, " ON_KERNEL TIMES(T("10"), T("10")) "}]", 10000 + MINUTES(12) + 7000,
         KUBE_POD_PENDING, "pulling the image registry.example.com/team/py:3 (since 12 min)", NULL,
         3000},
        {PENDING INIT_DONE WAITING("PodInitializing", ""),
         "[{reason: Pulling, " ON_KERNEL TIMES(
             T("10"), T("10")) "}, {reason: Pulled, message: "
                               "'Successfully pulled image', " ON_KERNEL TIMES(T("30"),
                                                                               T("30")) "}]",
         31000, KUBE_POD_PENDING, "starting the container", NULL, 0},
        {"phase: Running\n" CONDITIONS INIT_DONE KERNEL(
             "state: {running: {startedAt: " T("40") "}}"),
         NULL, 41000, KUBE_POD_PENDING, "waiting for the pod's address", NULL, 0},
    };
    (void)state;
    CHECK(rows);
}

static void pulls(void **state) {
#define PULL_ROW(reason, event, age, ...)                                                          \
    {                                                                                              \
        PENDING INIT_DONE WAITING(reason,                                                          \
                                  "Back-off pulling image \"registry.example.com/team/py:3\""),    \
            "[{reason: Failed, type: Warning, message: '" event "', count: 4, " ON_KERNEL TIMES(   \
                T("20"),                                                                           \
                T_MIN("01:50")) "}, {reason: Failed, message: 'Error: ErrImagePull', " ON_KERNEL   \
            TIMES(T("20"), T_MIN("01:55")) "}]",                                                   \
            age, __VA_ARGS__                                                                       \
    }
#define RPC(code, rest)                                                                            \
    "Failed to pull image \"registry.example.com/team/py:3\": rpc error: code = " code             \
    " desc = failed to pull and unpack image \"registry.example.com/team/py:3\": failed to "       \
    "resolve reference \"registry.example.com/team/py:3\": " rest
    static const struct row rows[] = {
        PULL_ROW("ErrImagePull", RPC("NotFound", "registry.example.com/team/py:3: not found"),
                 21000, KUBE_POD_FAILED, "ImagePullBackOff",
                 "The image registry.example.com/team/py:3 cannot be pulled: "
                 "registry.example.com/team/py:3: not found. Check the image",
                 0),
        PULL_ROW("ImagePullBackOff",
                 RPC("Unknown", "pull access denied, repository does not exist or may require "
                                "authorization: server message: insufficient_scope"),
                 21000, KUBE_POD_FAILED, "ImagePullBackOff", "pulled: pull access denied, ", 0),
        PULL_ROW("ErrImagePull",
                 RPC("Unknown", "failed to do request: Head \"https://registry.example.com/v2/\": "
                                "dial tcp 10.0.0.9:443: i/o timeout"),
                 80000, KUBE_POD_PENDING,
                 "the image registry.example.com/team/py:3 cannot be pulled yet, it is tried "
                 "again: failed to do request: Head \"https://registry.example.com/v2/\": dial tcp "
                 "10.0.0.9:443: i/o timeout",
                 NULL, MINUTES(4)),
        PULL_ROW("ImagePullBackOff", RPC("Unknown", "dial tcp 10.0.0.9:443: i/o timeout"),
                 MINUTES(5) + 20000, KUBE_POD_FAILED, "ImagePullBackOff",
                 "cannot be pulled: dial tcp 10.0.0.9:443: i/o timeout. Check", 0),
        PULL_ROW("ErrImagePull",
                 RPC("Unknown", "unexpected status: 429 Too Many Requests - "
                                "toomanyrequests: access denied for now"),
                 21000, KUBE_POD_PENDING, "toomanyrequests", NULL, -1),
        /* Kubernetes 1.31 and later say it in the status too. */
        {PENDING INIT_DONE WAITING(
             "ImagePullBackOff",
             "Back-off pulling image \"registry.example.com/team/py:3\": ErrImagePull: rpc error: "
             "code = NotFound desc = failed to pull and unpack image "
             "\"registry.example.com/team/py:3\": no match for platform in manifest: not found"),
         NULL, 5000, KUBE_POD_FAILED, "ImagePullBackOff",
         "cannot be pulled: no match for platform in manifest: not found. Check", 0},
        {PENDING INIT_DONE WAITING("ImagePullBackOff",
                                   "Back-off pulling image \"registry.example.com/team/py:3\""),
         NULL, 12000, KUBE_POD_PENDING, "cannot be pulled yet", NULL, MINUTES(5) - 10000},
        {PENDING INIT_DONE WAITING("InvalidImageName",
                                   "Failed to apply default image tag \"A b\": couldn''t parse "
                                   "image name \"A b\": invalid reference format"),
         NULL, 5000, KUBE_POD_FAILED, "InvalidImageName", "invalid reference format", 0},
        {PENDING INIT_DONE WAITING(
             "ErrImageNeverPull", "Container image \"x\" is not present with pull policy of Never"),
         NULL, 5000, KUBE_POD_FAILED, "ErrImageNeverPull", "is not present with pull policy", 0},
        {PENDING "initContainerStatuses: [{name: elara-launcher, state: {waiting: {reason: "
                 "ErrImagePull, message: 'rpc error: code = NotFound desc = elara:1: not "
                 "found'}}}]\n" WAITING("PodInitializing", ""),
         NULL, 5000, KUBE_POD_FAILED, "ImagePullBackOff",
         "Elara's own image registry.example.com/elara:1 (the setting kubernetes-launcher-image) "
         "cannot be pulled: elara:1: not found.",
         0},
    };
    (void)state;
    CHECK(rows);
}

static void troubles_that_only_events_tell(void **state) {
    static const char nfs[] =
        "[{reason: FailedMount, message: \"MountVolume.SetUp failed for volume \\\"home\\\" : "
        "mount "
        "failed: exit status 32\\nMounting command: mount\\nMounting arguments: -t nfs "
        "10.0.0.1:/home /var/lib/kubelet/pods/5b/volumes\\nOutput: mount.nfs: access denied by "
        "server while mounting 10.0.0.1:/home\\n\", count: 7, " TIMES(
            T("10"), T_MIN("02:00")) "}, {reason: FailedMount, message: 'Unable to attach or mount "
                                     "volumes: unmounted "
                                     "volumes=[home]: timed out waiting for the condition', " TIMES(
                                         T_MIN("02:05"), T_MIN("02:05")) "}]";
    static const struct row rows[] = {
        {PENDING CREATING, nfs, 70000, KUBE_POD_PENDING,
         "the volume home cannot be mounted yet, it is tried again: mount.nfs: access denied by "
         "server while mounting 10.0.0.1:/home",
         NULL, MINUTES(2)},
        {PENDING CREATING, nfs, MINUTES(3) + 10000, KUBE_POD_FAILED, "FailedMount",
         "The volume home cannot be mounted: mount.nfs: access denied by server while mounting "
         "10.0.0.1:/home. Check the volume",
         0},
        {PENDING CREATING,
         "[{reason: FailedMount, message: 'MountVolume.SetUp failed for volume \"elara-key\" : "
         "secret \"elara-kernel-0f8fad5b\" not found', " TIMES(T("10"), T("20")) "}]",
         MINUTES(4), KUBE_POD_FAILED, "FailedMount",
         "The volume elara-key cannot be mounted: secret \"elara-kernel-0f8fad5b\" not found.", 0},
        /* It was mounted in the end. */
        {PENDING CREATING,
         "[{reason: FailedMount, message: 'MountVolume.SetUp failed for volume \"home\" : "
         "x', " TIMES(T("10"), T("20")) "}, {reason: Pulling, " ON_INIT TIMES(T("40"),
                                                                              T("40")) "}]",
         MINUTES(9), KUBE_POD_PENDING, "pulling Elara's own image", NULL, -1},
        {PENDING CREATING,
         "[{reason: FailedAttachVolume, message: 'Multi-Attach error for volume \"pvc-1\" Volume "
         "is "
         "already used by pod(s) other', " TIMES(T("10"), T("10")) "}]",
         MINUTES(4), KUBE_POD_FAILED, "FailedAttachVolume",
         "The volume pvc-1 cannot be attached to the node: Multi-Attach error for volume", 0},
        {PENDING CREATING,
         "[{reason: FailedCreatePodSandBox, message: 'Failed to create pod sandbox: rpc error: "
         "code "
         "= Unknown desc = failed to setup network for sandbox \"8f\": plugin type=\"bridge\" "
         "failed (add): no IP addresses available in range set', eventTime: " T(
             "10") ", series: {count: 9, lastObservedTime: '2026-11-21T10:02:00.123456Z'}}]",
         MINUTES(4), KUBE_POD_FAILED, "FailedCreatePodSandBox",
         "The pod's sandbox cannot be made on the node node-7: failed to setup network for sandbox",
         0},
        {PENDING CREATING,
         "[{reason: FailedCreatePodSandBox, message: x, " TIMES(T("10"), T("20")) "}]", 40000,
         KUBE_POD_PENDING, "the pod's sandbox cannot be made on the node node-7 yet", NULL,
         MINUTES(2) + 30000},
        /* Another pod's. */
        {PENDING CREATING,
         "[{reason: FailedMount, message: 'MountVolume.SetUp failed', involvedObject: {uid: "
         "other}, " TIMES(T("10"), T("20")) "}]",
         MINUTES(9), KUBE_POD_PENDING, "preparing the pod's volumes", NULL, 0},
    };
    (void)state;
    CHECK(rows);
}

static void containers_that_do_not_start(void **state) {
#define ENDED(count, started, finished, more)                                                      \
    "containerStatuses: [{name: kernel, restartCount: " count ", state: {waiting: {reason: "       \
    "CrashLoopBackOff, message: 'back-off 20s restarting failed container'}}, lastState: "         \
    "{terminated: {startedAt: " started ", finishedAt: " finished ", " more "}}}]\n"
    static const struct row rows[] = {
        {PENDING INIT_DONE WAITING("CreateContainerConfigError", "secret \"db\" not found"),
         "[{reason: Failed, message: 'Error: secret \"db\" not found', " ON_KERNEL TIMES(
             T("10"), T("20")) "}]",
         30000, KUBE_POD_PENDING,
         "the container kernel cannot be made yet: secret \"db\" not found", NULL, 40000},
        {PENDING INIT_DONE WAITING("CreateContainerConfigError", "secret \"db\" not found"),
         "[{reason: Failed, message: 'Error: secret \"db\" not found', " ON_KERNEL TIMES(
             T("10"), T("20")) "}]",
         70000, KUBE_POD_FAILED, "CreateContainerConfigError",
         "The container kernel cannot be made: secret \"db\" not found.", 0},
        {PENDING INIT_DONE WAITING("CreateContainerConfigError",
                                   "container has runAsNonRoot and image will run as root (pod: "
                                   "\"x\", container: kernel)"),
         NULL, 5000, KUBE_POD_FAILED, "CreateContainerConfigError", "image will run as root", 0},
        {PENDING INIT_DONE WAITING("CreateContainerError", "context deadline exceeded"), NULL, 5000,
         KUBE_POD_PENDING, "context deadline exceeded", NULL, 57000},
        {PENDING INIT_DONE WAITING("RunContainerError",
                                   "failed to create containerd task: rpc error: code = Unknown "
                                   "desc = exec: \"/opt/elara/bin/elara-launcher\": no such file"),
         NULL, 5000, KUBE_POD_FAILED, "RunContainerError",
         "The container kernel cannot be started: exec: \"/opt/elara/bin/elara-launcher\": no such",
         0},
        {"phase: Running\n" CONDITIONS INIT_DONE ENDED(
             "0", T("10"), T("10"), "exitCode: 128, reason: StartError, message: 'exec: no'"),
         NULL, 15000, KUBE_POD_FAILED, "RunContainerError",
         "The container kernel cannot be started: exit code 128: exec: no.", 0},
        {"phase: Running\n" CONDITIONS INIT_DONE ENDED(
             "0", T("10"), T("11"),
             "exitCode: 1, reason: Error, message: 'exec /opt/elara/bin/elara-launcher: exec "
             "format error'"),
         NULL, 15000, KUBE_POD_FAILED, "RunContainerError", "CPU architecture", 0},
        {"phase: Running\n" CONDITIONS INIT_DONE ENDED("1", T("10"), T("11"),
                                                       "exitCode: 1, reason: Error"),
         NULL, 15000, KUBE_POD_PENDING, "the container kernel ended (exit code 1) and is started",
         NULL, 0},
        {"phase: Running\n" CONDITIONS INIT_DONE ENDED(
             "2", T("10"), T("11"),
             "exitCode: 1, reason: Error, message: \"first line\\nlast line\\n\""),
         NULL, 15000, KUBE_POD_FAILED, "CrashLoopBackOff",
         "The kernel's container ended 3 times soon after its start, the last time with exit code "
         "1: first line last line. Look",
         0},
        {"phase: Running\n" CONDITIONS INIT_DONE ENDED("2", T("10"), T("11"),
                                                       "exitCode: 137, reason: OOMKilled"),
         NULL, 15000, KUBE_POD_FAILED, "OOMKilled", "went over its memory limit of 4Gi as it", 0},
        {"phase: Running\n" CONDITIONS INIT_DONE ENDED("2", T("10"), T("11"), "exitCode: 139"),
         NULL, 15000, KUBE_POD_FAILED, "CrashLoopBackOff", "the last time with killed by signal 11",
         0},
        /* It had run for long: this is no start that fails. */
        {"phase: Running\n" CONDITIONS INIT_DONE ENDED("9", T("10"), T_MIN("30:00"),
                                                       "exitCode: 137, reason: OOMKilled"),
         NULL, MINUTES(30) + 5000, KUBE_POD_PENDING,
         "the container kernel ended (out of memory) and is started again", NULL, 0},
        {PENDING "initContainerStatuses: [{name: elara-launcher, restartCount: 2, state: {waiting: "
                 "{reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, message: 'no "
                 "space left'}}}]\n" WAITING("PodInitializing", ""),
         NULL, 5000, KUBE_POD_FAILED, "InitContainerFailed",
         "The init container elara-launcher failed (3 of its starts), the last time with exit code "
         "1: no space left",
         0},
        {PENDING
         "initContainerStatuses: [{name: elara-launcher, restartCount: 0, state: "
         "{terminated: {exitCode: 137, reason: OOMKilled}}}]\n" WAITING("PodInitializing", ""),
         NULL, 5000, KUBE_POD_PENDING, "the container elara-launcher ended (out of memory)", NULL,
         0},
    };
    (void)state;
    CHECK(rows);
}

static void ends_of_pods(void **state) {
#define TARGET(reason, message)                                                                    \
    "conditions: [" SCHEDULED ", {type: DisruptionTarget, status: 'True', reason: " reason         \
    ", message: '" message "'}]\n"
    static const struct row rows[] = {
        {"phase: Failed\nreason: Evicted\nmessage: 'The node was low on resource: memory. "
         "Threshold "
         "quantity: 100Mi, available: 50Mi. '\n" TARGET("TerminationByKubelet", "x"),
         NULL, 5000, KUBE_POD_GONE, "Evicted",
         "The node evicted the pod: The node was low on resource: memory. Threshold quantity: "
         "100Mi, available: 50Mi. The kernel is started again",
         0},
        {"phase: Failed\nreason: DeadlineExceeded\nmessage: 'Pod was active on the node longer "
         "than "
         "the specified deadline'\n",
         NULL, 5000, KUBE_POD_FAILED, "DeadlineExceeded", "longer than its activeDeadlineSeconds",
         0},
        {"phase: Failed\nreason: OutOfnvidia.com/gpu\nmessage: 'Node didn''t have enough resource: "
         "nvidia.com/gpu, requested: 1'\n",
         NULL, 5000, KUBE_POD_GONE, "NodeRefused", "The node had no room left: Node didn't have",
         0},
        {"phase: Failed\nreason: UnexpectedAdmissionError\nmessage: 'Allocate failed'\n", NULL,
         5000, KUBE_POD_GONE, "NodeRefused",
         "The node could not give what the pod needs: Allocate failed", 0},
        {"phase: Failed\nreason: Terminated\nmessage: 'Pod was terminated in response to imminent "
         "node shutdown.'\n",
         NULL, 5000, KUBE_POD_GONE, "NodeShutdown", "imminent node shutdown.", 0},
        {"phase: Failed\n" CONDITIONS KERNEL(
             "state: {terminated: {exitCode: 137, reason: OOMKilled}}"),
         NULL, 5000, KUBE_POD_GONE, "OOMKilled", "went over its memory limit of 4Gi.", 0},
        {"phase: Failed\n" CONDITIONS KERNEL("state: {terminated: {exitCode: 3, reason: Error}}"),
         NULL, 5000, KUBE_POD_GONE, "ContainerEnded", "has ended: exit code 3.", 0},
        {"phase: Succeeded\n", NULL, 5000, KUBE_POD_GONE, "PodEnded", "ended in good order.", 0},
        {"phase: Unknown\n" CONDITIONS, NULL, 5000, KUBE_POD_GONE, "NodeLost",
         "The node node-7 does not answer.", 0},
        {"phase: Failed\n" TARGET("PreemptionByScheduler",
                                  "default-scheduler: preempting to accommodate a higher priority "
                                  "pod"),
         NULL, 5000, KUBE_POD_GONE, "Preempted", "A pod of a higher priority took", 0},
    };
    (void)state;
    CHECK(rows);
}

static void pods_being_deleted(void **state) {
    static const struct row rows[] = {
        {"phase: Running\n" CONDITIONS, NULL, 0, KUBE_POD_GONE, "PodDeleted", "was deleted.", 0},
        {"phase: Running\n" TARGET("PreemptionByScheduler", "x"), NULL, 0, KUBE_POD_GONE,
         "Preempted", "higher priority", 0},
        {"phase: Running\n" TARGET("DeletionByTaintManager", "x"), NULL, 0, KUBE_POD_GONE,
         "NodeLost", "The node node-7 does not answer, or does not want", 0},
        {"phase: Running\n" TARGET("DeletionByPodGC", "x"), NULL, 0, KUBE_POD_GONE, "NodeLost",
         "The node node-7 is gone", 0},
        {"phase: Running\n" TARGET("EvictionByEvictionAPI", "Eviction API: evicting"), NULL, 0,
         KUBE_POD_GONE, "Evicted", "is being emptied (kubectl drain", 0},
        {"phase: Running\n" TARGET("TerminationByKubelet", "The node was low on resource: "
                                                           "ephemeral-storage."),
         NULL, 0, KUBE_POD_GONE, "Evicted", "The node was low on resource: ephemeral-storage. The",
         0},
        {"phase: Running\n" CONDITIONS,
         "[{reason: Evicted, message: 'Usage of EmptyDir volume \"elara\" exceeds the limit "
         "\"450Mi\". ', " TIMES(T("10"), T("10")) "}]",
         0, KUBE_POD_GONE, "Evicted", "Usage of EmptyDir volume \"elara\" exceeds the limit", 0},
        {"phase: Running\n" CONDITIONS,
         "[{reason: Preempted, message: 'Preempted by pod 7c on node node-7', " TIMES(T("10"),
                                                                                      T("10")) "}]",
         0, KUBE_POD_GONE, "Preempted", "higher priority", 0},
        {"phase: Running\nreason: NodeLost\n" CONDITIONS, NULL, 0, KUBE_POD_GONE, "NodeLost",
         "The node node-7 does not answer.", 0},
        {"phase: Failed\nreason: Evicted\n" CONDITIONS, NULL, 0, KUBE_POD_GONE, "Evicted",
         "The node evicted the pod.", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *pod = pod_with(rows[i].status), *events = events_of(rows[i].events);
        struct kube_pod_verdict verdict;
        json_object_set_new(at(pod, "metadata"), "deletionTimestamp",
                            json_string("2026-11-21T10:20:00Z"));
        kube_pod_judge(pod, events, START, NULL, &verdict);
        assert_int_equal(verdict.state, rows[i].state);
        assert_string_equal(verdict.reason, rows[i].reason);
        assert_has(verdict.message, rows[i].message);
        json_decref(pod);
        json_decref(events);
    }
    struct kube_pod_verdict verdict;
    kube_pod_judge(NULL, NULL, START, NULL, &verdict);
    assert_int_equal(verdict.state, KUBE_POD_GONE);
    assert_string_equal(verdict.reason, "PodDeleted");
    json_t *events = events_of("[{reason: Preempted, message: x}]");
    kube_pod_judge(NULL, events, START, NULL, &verdict);
    assert_string_equal(verdict.reason, "Preempted");
    json_decref(events);
}

static void running(void **state) {
    (void)state;
    json_t *pod = pod_with(
        "phase: Running\npodIP: 10.244.0.9\nconditions: [" SCHEDULED
        ", {type: Ready, status: 'True'}, {type: ContainersReady, status: 'True'}]\n" INIT_DONE
        "containerStatuses: [{name: proxy, state: {waiting: {reason: ErrImagePull}}}, {name: "
        "kernel, restartCount: 2, state: {running: {startedAt: " T(
            "30") "}}, lastState: "
                  "{terminated: {exitCode: 137, reason: OOMKilled}}}]\n");
    json_t *events = events_of(
        "[{reason: Pulling, " ON_KERNEL TIMES(T("05"),
                                              T("05")) "}, {reason: Pulled, message: x, " ON_KERNEL
            TIMES(T("25"), T("25")) "}, {reason: NodeNotReady, message: Node is not ready}]");
    struct kube_pod_verdict verdict;
    kube_pod_judge(pod, events, START, NULL, &verdict);
    assert_int_equal(verdict.state, KUBE_POD_RUNNING);
    assert_string_equal(verdict.ip, "10.244.0.9");
    assert_int_equal(verdict.times.created_ms, START);
    assert_int_equal(verdict.times.scheduled_ms, START + 2000);
    assert_int_equal(verdict.times.pulled_ms, START + 25000);
    assert_int_equal(verdict.times.started_ms, START + 30000);
    assert_int_equal(verdict.container_restarts, 2);
    assert_int_equal(verdict.last_exit_code, 137);
    assert_true(verdict.last_was_oom);
    assert_false(verdict.node_is_silent);
    json_object_set_new(at(pod, "status/conditions/1"), "status", json_string("False"));
    kube_pod_judge(pod, events, START, NULL, &verdict);
    assert_int_equal(verdict.state, KUBE_POD_RUNNING);
    assert_true(verdict.node_is_silent);
    json_decref(events);
    json_decref(pod);
}

static void sidecars_and_other_inits(void **state) {
    (void)state;
    json_t *pod = pod_with(PENDING INIT_DONE WAITING("PodInitializing", ""));
    json_array_append_new(at(pod, "spec/initContainers"),
                          tree_of("{name: logs, image: fluent, restartPolicy: Always}"));
    json_array_append_new(at(pod, "spec/initContainers"), tree_of("{name: chown, image: busybox}"));
    json_t *statuses = at(pod, "status/initContainerStatuses");
    json_array_append_new(statuses, tree_of("{name: logs, started: true, state: {running: {}}}"));
    json_array_append_new(statuses, tree_of("{name: chown, started: true, state: {running: {}}}"));
    struct kube_pod_verdict verdict;
    kube_pod_judge(pod, NULL, START, NULL, &verdict);
    assert_string_equal(verdict.stage, "running the init container chown");
    json_object_set_new(at(statuses, "1"), "started", json_false());
    kube_pod_judge(pod, NULL, START, NULL, &verdict);
    assert_string_equal(verdict.stage, "running the init container logs");
    json_object_set_new(at(statuses, "1"), "state",
                        tree_of("{waiting: {reason: ErrImagePull, message: 'x: not found'}}"));
    kube_pod_judge(pod, NULL, START, NULL, &verdict);
    assert_has(verdict.message, "The image fluent of the container logs cannot be pulled: x: not");
    json_decref(pod);
}

/* Labels, annotations and names of the container edited or missing; types that are others. */
static void odd_pods(void **state) {
    static const char *const pods[] = {
        "{}",
        "[]",
        "5",
        "{metadata: 5, spec: 5, status: 5}",
        "{spec: {containers: []}, status: {phase: 7, conditions: {}}}",
        "{spec: {nodeName: n, containers: [{}]}, status: {phase: Pending}}",
        "{spec: {nodeName: n, containers: [5]}, status: {containerStatuses: [5, {}]}}",
        "{spec: {nodeName: n}, status: {containerStatuses: [{name: '', state: {running: {}}}]}}",
        "{spec: {nodeName: n, initContainers: [{}]}, status: {initContainerStatuses: [{state: "
        "{terminated: {exitCode: 1}}}]}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof pods / sizeof *pods; i++) {
        json_t *pod = tree_of(pods[i]);
        json_t *events = tree_of("[5, {}, {reason: 5}, {reason: FailedMount}, {reason: Pulling}]");
        struct kube_pod_verdict verdict;
        kube_pod_judge(pod, events, START, NULL, &verdict);
        assert_true(verdict.stage[0] != '\0' || verdict.message[0] != '\0');
        kube_pod_judge(pod, pod, 0, NULL, &verdict);
        json_decref(events);
        json_decref(pod);
    }
}

static void long_texts_are_cut(void **state) {
    char message[3000];
    (void)state;
    memset(message, 'x', sizeof message);
    memcpy(message, "0/3 nodes are available: \xc3\xa9", 27);
    message[sizeof message - 1] = '\0';
    json_t *pod = pod_with(UNSCHEDULABLE("x"));
    json_object_set_new(at(pod, "status/conditions/0"), "message", json_string(message));
    struct kube_pod_verdict verdict;
    kube_pod_judge(pod, NULL, START, NULL, &verdict);
    assert_true(strlen(verdict.stage) < sizeof verdict.stage);
    assert_has(verdict.stage, "...");
    kube_pod_judge(pod, NULL, START + MINUTES(9), NULL, &verdict);
    assert_has(verdict.message, "xxx... Ask for less");
    assert_has(verdict.message, kube_reason_find("Unschedulable")->advice);
    json_decref(pod);
}

static void times(void **state) {
    (void)state;
    assert_int_equal(kube_time_parse("1970-01-01T00:00:01Z"), 1000);
    assert_int_equal(kube_time_parse("2026-11-21T10:00:00Z"), START);
    assert_int_equal(kube_time_parse("2026-11-21T10:00:00.123456Z"), START + 123);
    assert_int_equal(kube_time_parse("2026-11-21T10:00:00.5Z"), START + 500);
    static const char *const bad[] = {"",
                                      "2026",
                                      "2026-11-21T10:00:00",
                                      "2026-11-21T10:00:00+01:00",
                                      "1969-01-01T00:00:00Z",
                                      "x",
                                      "2026-13-21T10:00:00Z"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(kube_time_parse(bad[i]), 0);
    assert_int_equal(kube_time_parse(NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_the_way_to_a_node),
        cmocka_unit_test(on_the_way_to_a_container),
        cmocka_unit_test(pulls),
        cmocka_unit_test(troubles_that_only_events_tell),
        cmocka_unit_test(containers_that_do_not_start),
        cmocka_unit_test(ends_of_pods),
        cmocka_unit_test(pods_being_deleted),
        cmocka_unit_test(running),
        cmocka_unit_test(sidecars_and_other_inits),
        cmocka_unit_test(odd_pods),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
