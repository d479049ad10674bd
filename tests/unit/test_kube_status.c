/* The way to a running container. */
#include "kube_pods.h"

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
        {full,
         "[{reason: TriggeredScaleUp, message: x, " TIMES(
             T("30"), T("30")) "}, {reason: "
                               "NotTriggerScaleUp, message: limit, " TIMES(T_MIN("02:00"),
                                                                           T_MIN("02:00")) "}]",
         MINUTES(6), KUBE_POD_FAILED, "Unschedulable", "; no node is added: limit.", 0},
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
                 NULL, MINUTES(1)),
        PULL_ROW("ImagePullBackOff", RPC("Unknown", "dial tcp 10.0.0.9:443: i/o timeout"),
                 MINUTES(2) + 20000, KUBE_POD_FAILED, "ImagePullBackOff",
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
         NULL, 12000, KUBE_POD_PENDING, "cannot be pulled yet", NULL, MINUTES(2) - 10000},
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
        {PENDING CREATING,
         "[{reason: FailedMount, message: 'Unable to attach or mount volumes: x', " TIMES(
             T("20"), T("20")) "}, {reason: FailedMount, message: 'MountVolume.SetUp failed for "
                               "volume \"home\" : no server', " TIMES(T("10"), T("10")) "}]",
         70000, KUBE_POD_PENDING,
         "the volume home cannot be mounted yet, it is tried again: no "
         "server",
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

#define ENDED(count, started, finished, more)                                                      \
    "containerStatuses: [{name: kernel, restartCount: " count ", state: {waiting: {reason: "       \
    "CrashLoopBackOff, message: 'back-off 20s restarting failed container'}}, lastState: "         \
    "{terminated: {startedAt: " started ", finishedAt: " finished ", " more "}}}]\n"
static const struct row starts[] = {
    {PENDING INIT_DONE WAITING("CreateContainerConfigError", "secret \"db\" not found"),
     "[{reason: Failed, message: 'Error: secret \"db\" not found', " ON_KERNEL TIMES(T("10"),
                                                                                     T("20")) "}]",
     30000, KUBE_POD_PENDING, "the container kernel cannot be made yet: secret \"db\" not found",
     NULL, 40000},
    {PENDING INIT_DONE WAITING("CreateContainerConfigError", "secret \"db\" not found"),
     "[{reason: Failed, message: 'Error: secret \"db\" not found', " ON_KERNEL TIMES(T("10"),
                                                                                     T("20")) "}]",
     70000, KUBE_POD_FAILED, "CreateContainerConfigError",
     "The container kernel cannot be made: secret \"db\" not found.", 0},
    {PENDING INIT_DONE WAITING("CreateContainerConfigError",
                               "container has runAsNonRoot and image will run as root (pod: "
                               "\"x\", container: kernel)"),
     NULL, 5000, KUBE_POD_FAILED, "CreateContainerConfigError",
     "container: kernel); a user's number is needed: runAsUser", 0},
    {PENDING INIT_DONE WAITING("CreateContainerError", "context deadline exceeded"), NULL, 5000,
     KUBE_POD_PENDING, "context deadline exceeded", NULL, 57000},
    {PENDING INIT_DONE WAITING("RunContainerError",
                               "failed to create containerd task: rpc error: code = Unknown "
                               "desc = exec: \"/opt/elara/bin/elara-launcher\": no such file"),
     NULL, 5000, KUBE_POD_FAILED, "RunContainerError",
     "The container kernel cannot be started: exec: \"/opt/elara/bin/elara-launcher\": no such", 0},
    {"phase: Running\n" CONDITIONS INIT_DONE ENDED(
         "0", T("10"), T("10"), "exitCode: 128, reason: StartError, message: 'exec: no'"),
     NULL, 15000, KUBE_POD_FAILED, "RunContainerError",
     "The container kernel cannot be started: exec: no. Check", 0},
    {"phase: Running\n" CONDITIONS INIT_DONE ENDED(
         "0", T("10"), T("11"),
         "exitCode: 1, reason: Error, message: 'exec /opt/elara/bin/elara-launcher: exec "
         "format error'"),
     NULL, 15000, KUBE_POD_FAILED, "RunContainerError", "CPU architecture", 0},
    {"phase: Running\n" CONDITIONS INIT_DONE ENDED("1", T("10"), T("11"),
                                                   "exitCode: 1, reason: Error"),
     NULL, 15000, KUBE_POD_PENDING, "the container kernel ended (exit code 1) and is started", NULL,
     0},
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
    {"phase: Running\n" CONDITIONS INIT_DONE ENDED("2", T("10"), T("11"), "exitCode: 139"), NULL,
     15000, KUBE_POD_FAILED, "CrashLoopBackOff", "the last time with killed by signal 11", 0},
    /* It had run for long: this is no start that fails. */
    {"phase: Running\n" CONDITIONS INIT_DONE ENDED("9", T("10"), T_MIN("30:00"),
                                                   "exitCode: 137, reason: OOMKilled"),
     NULL, MINUTES(30) + 5000, KUBE_POD_PENDING,
     "the container kernel ended (out of memory) and is started again", NULL, 0},
    {PENDING "initContainerStatuses: [{name: elara-launcher, restartCount: 2, state: {waiting: "
             "{reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, message: 'no "
             "space left'}}}]\n" WAITING("PodInitializing", ""),
     NULL, 5000, KUBE_POD_FAILED, "InitContainerFailed",
     "The init container elara-launcher failed 3 times, the last time with exit code "
     "1: no space left",
     0},
    {PENDING "initContainerStatuses: [{name: elara-launcher, restartCount: 0, state: "
             "{terminated: {exitCode: 137, reason: OOMKilled}}}]\n" WAITING("PodInitializing", ""),
     NULL, 5000, KUBE_POD_PENDING, "the container elara-launcher ended (out of memory)", NULL, 0},
};

static void containers_that_do_not_start(void **state) {
    (void)state;
    CHECK(starts);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_the_way_to_a_node),
        cmocka_unit_test(on_the_way_to_a_container),
        cmocka_unit_test(pulls),
        cmocka_unit_test(troubles_that_only_events_tell),
        cmocka_unit_test(containers_that_do_not_start),
        cmocka_unit_test(sidecars_and_other_inits),
        cmocka_unit_test(odd_pods),
        cmocka_unit_test(long_texts_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
