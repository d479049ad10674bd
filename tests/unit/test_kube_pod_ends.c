/* Running pods, and how they end. */
#include "kube_pods.h"

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
         "100Mi, available: 50Mi. What the kernel had",
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
         NULL, 0, KUBE_POD_GONE, "Evicted", "The node was low on resource: ephemeral-storage. What",
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
    json_t *events = events_of("[{reason: Pulling, " ON_KERNEL TIMES(
        T("05"), T("05")) "}, {reason: Pulled, message: x, " ON_KERNEL TIMES(T("25"),
                                                                             T("25")) "}]");
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
    assert_non_null(strstr(verdict.last_end, "The kernel's container went over its memory limit"));
    assert_non_null(strstr(verdict.last_end, "KERNEL_MEMORY_LIMIT"));
    assert_string_equal(verdict.last_end_at, "");
    assert_string_equal(verdict.doubt, "");
    json_decref(events);
    json_decref(pod);
}

static void on_a_node_that_is_not_ready(void **state) {
#define RUNS(ready, containers)                                                                    \
    "phase: Running\npodIP: 10.244.0.9\nconditions: [" SCHEDULED ", {type: Ready, " ready          \
    "}, {type: ContainersReady, status: '" containers "'}]\n" KERNEL("state: {running: {}}")
#define MARKED          RUNS("status: 'False', lastTransitionTime: " T("59"), "True")
#define TOLERATES(rest) "[{key: a, operator: Exists}, {operator: Exists, " rest "}]"
#define UNREACHABLE     "key: node.kubernetes.io/unreachable"
    static const struct {
        const char *status, *tolerations, *doubt;
    } rows[] = {
        {MARKED, TOLERATES(UNREACHABLE ", effect: NoExecute, tolerationSeconds: 300"),
         "The kernel's node node-7 has not been ready since 10:00 UTC: Kubernetes hears nothing of "
         "it, or nothing good. The kernel may work on there. Unless the node is back within 5 min, "
         "the kernel is started anew elsewhere, and what it has in memory is lost."},
        {MARKED, TOLERATES("effect: NoExecute"), "until the node is back, or is removed."},
        {MARKED, TOLERATES(UNREACHABLE ", effect: NoSchedule"), "is back at once, the"},
        {MARKED, "[]", "is back at once, the"},
        {RUNS("status: 'False'", "True"), "[]", "has not been ready: Kubernetes"},
        {RUNS("status: 'True'", "True"), "[]", ""},
        {RUNS("status: 'False', reason: ContainersNotReady", "False"), "[]", ""},
        {RUNS("status: 'False', reason: ReadinessGatesNotReady", "True"), "[]", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *pod = pod_with(rows[i].status);
        struct kube_pod_verdict verdict;
        json_object_set_new(at(pod, "spec"), "tolerations", tree_of(rows[i].tolerations));
        kube_pod_judge(pod, NULL, START, NULL, &verdict);
        assert_int_equal(verdict.state, KUBE_POD_RUNNING);
        if (*rows[i].doubt == '\0')
            assert_string_equal(verdict.doubt, "");
        else
            assert_has(verdict.doubt, rows[i].doubt);
        json_decref(pod);
    }
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
        cmocka_unit_test(ends_of_pods), cmocka_unit_test(pods_being_deleted),
        cmocka_unit_test(running),      cmocka_unit_test(on_a_node_that_is_not_ready),
        cmocka_unit_test(times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
