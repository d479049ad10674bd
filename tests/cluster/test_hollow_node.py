"""The hollow node says of its pods what a kubelet says, and runs them as local processes."""
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from testcluster.pods import RESTRICTED_CONTAINER, has_ended, is_running, pod, waits_for
from testcluster.processes import wait_until

POD_IP = {"env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}


def run(kube, hollow, namespace, name, *command, fault=None, message=None, **options):
    return kube.create(hollow.place(pod(name, *command, **options), fault, message), namespace)


def test_pods_are_local_processes_with_addresses_of_their_own(kube, hollow, namespace):
    script = "echo $POD_IP $PPID; sleep 1000"
    for name in ("one", "two"):
        run(kube, hollow, namespace, name, "sh", "-c", script, container=POD_IP)
    addresses = {kube.wait_for("Pod", name, namespace, is_running)["status"]["podIP"] for name in ("one", "two")}
    assert len(addresses) == 2 and all(address.startswith(hollow.network) for address in addresses)
    shown = hollow.pods()[namespace, "one"]
    wait_until(lambda: kube.logs("one", namespace) == f"{shown['address']} 0\n", 10, "the pod's output")
    assert shown["pid"] in hollow.processes()


def test_volumes_are_at_their_places_and_nothing_is_made_on_the_machine(kube, hollow, namespace):
    kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"key": "value"}}, namespace)
    volumes = [{"name": "elara", "emptyDir": {}}, {"name": "keys", "secret": {"secretName": "keys"}}]
    mounts = [{"name": "elara", "mountPath": "/elara"}, {"name": "keys", "mountPath": "/run/elara-test-keys", "readOnly": True}]
    script = "stat -c %a /run/elara-test-keys/key; cat /run/elara-test-keys/key; echo; echo x >/elara/x && cat /elara/x; " \
        "echo y >/run/elara-test-keys/y || echo read-only"
    run(kube, hollow, namespace, "volumes", "sh", "-c", script, container={"volumeMounts": mounts}, volumes=volumes)
    kube.wait_for("Pod", "volumes", namespace, has_ended)
    lines = kube.logs("volumes", namespace).split("\n")
    assert (lines[:3], lines[-2]) == (["600", "value", "x"], "read-only")
    assert not os.path.exists("/elara") and not os.path.exists("/run/elara-test-keys")


def test_the_launcher_of_the_build_is_run_in_place_of_the_images(kube, hollow, namespace, build):
    run(kube, hollow, namespace, "launcher", "/elara/lib/loader", "/elara/elara-launcher", "--version")
    kube.wait_for("Pod", "launcher", namespace, has_ended)
    own = subprocess.run([build / "elara-launcher", "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert kube.logs("launcher", namespace) == own.stdout


def test_a_pod_that_cannot_get_its_secret_waits_for_it(kube, hollow, namespace):
    volumes = [{"name": "keys", "secret": {"secretName": "later"}}]
    mounts = {"volumeMounts": [{"name": "keys", "mountPath": "/elara"}]}
    run(kube, hollow, namespace, "waiting", "cat", "/elara/key", container=mounts, volumes=volumes)
    assert 'secret "later" not found' in kube.wait_event(namespace, "waiting", "FailedMount")["message"]
    kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "later"}, "stringData": {"key": "value"}}, namespace)
    kube.wait_for("Pod", "waiting", namespace, has_ended)
    assert kube.logs("waiting", namespace) == "value"


@pytest.mark.parametrize("fault, states, event", [
    ("ErrImagePull", ["ErrImagePull", "ImagePullBackOff"], "Failed"),
    ("InvalidImageName", ["InvalidImageName"], "InspectFailed"),
    ("FailedMount", ["ContainerCreating"], "FailedMount"),
    ("FailedAttachVolume", ["ContainerCreating"], "FailedAttachVolume"),
    ("CreateContainerConfigError", ["CreateContainerConfigError"], "Failed"),
    ("CreateContainerError", ["CreateContainerError"], "Failed"),
    ("ErrImageNeverPull", ["ErrImageNeverPull"], "ErrImageNeverPull"),
    ("FailedCreatePodSandBox", ["ContainerCreating"], "FailedCreatePodSandBox"),
    ("SlowPull", ["ContainerCreating"], "Pulling"),
    ("NeverStarts", [], None),
])
def test_a_start_can_be_held_by_a_fault_and_released(kube, hollow, namespace, fault, states, event):
    run(kube, hollow, namespace, "held", "sleep", "1000", fault=fault, message="a sentence of the test's")
    for reason in states:
        held = kube.wait_for("Pod", "held", namespace, waits_for(reason))
        assert held["status"]["phase"] == "Pending"
    if event:
        told = kube.wait_event(namespace, "held", event)["message"]
        assert ("a sentence of the test's" in told) == (fault not in ("SlowPull", "ErrImageNeverPull"))
    wait_until(lambda: (namespace, "held") in hollow.pods(), 30, "the pod on the node")
    hollow.act("release", namespace, "held")
    kube.wait_for("Pod", "held", namespace, is_running)


def test_a_rule_gives_faults_to_pods_that_know_nothing_of_them(kube, hollow, namespace):
    hollow.add_fault("ErrImagePull", "denied: no such token", selector="app=kernel", count=1)
    for name in ("first", "second"):
        made = hollow.place(pod(name, "sleep", "1000"))
        made["metadata"]["labels"] = {"app": "kernel"}
        kube.create(made, namespace)
        if name == "first":
            kube.wait_for("Pod", "first", namespace, waits_for("ErrImagePull"))
    kube.wait_for("Pod", "second", namespace, is_running)


def test_a_crash_loop_tells_the_last_lines(kube, hollow, namespace):
    options = {"restartPolicy": "Always", "container": {"terminationMessagePolicy": "FallbackToLogsOnError"}}
    run(kube, hollow, namespace, "crash", "sleep", "1000", fault="CrashLoopBackOff", message="no module named x", **options)
    crashed = kube.wait_for("Pod", "crash", namespace, waits_for("CrashLoopBackOff"))["status"]["containerStatuses"][0]
    assert crashed["restartCount"] >= 1
    assert "no module named x" in crashed["lastState"]["terminated"]["message"]


def test_a_container_that_cannot_be_started_has_ended_before_it_began(kube, hollow, namespace):
    run(kube, hollow, namespace, "broken", "sleep", "1000", fault="RunContainerError", restartPolicy="OnFailure")
    first = kube.wait_for("Pod", "broken", namespace, waits_for("RunContainerError"))["status"]["containerStatuses"][0]
    told = first["state"]["waiting"]["message"]
    ended = first["lastState"]["terminated"]
    assert told.startswith("failed to create containerd task: ") and "/no/such" in told
    assert (ended["reason"], ended["exitCode"], ended["message"], ended["startedAt"]) == ("StartError", 128, told, "1970-01-01T00:00:00Z")
    assert kube.wait_event(namespace, "broken", "Failed")["message"] == f"Error: {told}"
    kube.wait_for("Pod", "broken", namespace, waits_for("CrashLoopBackOff"))


def test_out_of_memory_restarts_the_container_in_place(kube, hollow, namespace):
    run(kube, hollow, namespace, "greedy", "sleep", "1000", restartPolicy="Always")
    kube.wait_for("Pod", "greedy", namespace, is_running)
    hollow.act("oom", namespace, "greedy")

    def is_again(item):
        return is_running(item) and item["status"]["containerStatuses"][0]["restartCount"] == 1

    again = kube.wait_for("Pod", "greedy", namespace, is_again)
    assert again["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"] == "OOMKilled"


@pytest.mark.parametrize("action, reason, message", [
    ("evict", "Evicted", "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "),
    ("shutdown", "Terminated", "Pod was terminated in response to imminent node shutdown."),
])
def test_a_pod_that_the_node_ends_has_failed_and_its_process_is_gone(kube, hollow, namespace, action, reason, message):
    run(kube, hollow, namespace, "unlucky", "sleep", "1000", restartPolicy="Always")
    kube.wait_for("Pod", "unlucky", namespace, is_running)
    hollow.act(action, namespace, "unlucky")
    ended = kube.wait_for("Pod", "unlucky", namespace, has_ended)["status"]
    assert (ended["phase"], ended["reason"], ended["message"]) == ("Failed", reason, message)
    assert [(one["reason"], one["message"]) for one in ended["conditions"] if one["type"] == "DisruptionTarget"] == [
        ("TerminationByKubelet", message)]
    assert not hollow.processes()


@pytest.mark.parametrize("fault", ["SlowPull", None])
def test_a_pod_has_its_deadline_before_and_after_it_runs(kube, hollow, namespace, fault):
    run(kube, hollow, namespace, "late", "sleep", "1000", fault=fault, activeDeadlineSeconds=1)
    ended = kube.wait_for("Pod", "late", namespace, has_ended)["status"]
    assert (ended["phase"], ended["reason"]) == ("Failed", "DeadlineExceeded")
    assert not hollow.processes()


def test_a_pod_may_be_rejected(kube, hollow, namespace):
    run(kube, hollow, namespace, "rejected", "sleep", "1000", fault="OutOfcpu")
    ended = kube.wait_for("Pod", "rejected", namespace, has_ended)["status"]
    assert (ended["phase"], ended["reason"]) == ("Failed", "OutOfcpu")
    assert ended["message"].startswith("Pod was rejected: Node didn't have enough resource: cpu, ")
    assert kube.wait_event(namespace, "rejected", "OutOfcpu")["type"] == "Warning"
    assert "containerStatuses" not in ended


def test_an_init_container_fails_again_and_again(kube, hollow, namespace):
    first, prepare = ({"name": name, "image": "x", "terminationMessagePolicy": "FallbackToLogsOnError",
                       "securityContext": RESTRICTED_CONTAINER} for name in ("first", "prepare"))
    run(kube, hollow, namespace, "held", "sleep", "1000", fault="Init:CrashLoopBackOff", message="no licence", initContainers=[first, prepare],
        restartPolicy="OnFailure")

    def is_so(item):
        statuses = item["status"].get("initContainerStatuses", [{}])
        return statuses[-1].get("restartCount") == 2 and "waiting" in statuses[-1]["state"]

    held = kube.wait_for("Pod", "held", namespace, is_so)["status"]
    done, failing = held["initContainerStatuses"]
    assert held["phase"] == "Pending" and done["state"]["terminated"]["exitCode"] == 0
    assert failing["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert failing["lastState"]["terminated"]["message"] == "no licence"
    assert held["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    hollow.act("release", namespace, "held")
    kube.wait_for("Pod", "held", namespace, is_running)


def test_a_deleted_pod_gets_its_grace_and_goes(kube, hollow, namespace):
    script = "trap 'echo ended; exit 0' TERM; echo ready; while true; do sleep 0.1; done"
    run(kube, hollow, namespace, "deleted", "sh", "-c", script, terminationGracePeriodSeconds=30)
    kube.wait_for("Pod", "deleted", namespace, is_running)
    wait_until(lambda: kube.logs("deleted", namespace) == "ready\n", 10, "the trap")
    kube.delete("Pod", "deleted", namespace)
    kube.wait_gone("Pod", "deleted", namespace, timeout=20)
    assert not hollow.processes()


def test_hundreds_of_pods_run_at_once(kube, hollow, namespace):
    count = 300
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: run(kube, hollow, namespace, f"pod-{number}", "sleep", "1000"), range(count)))
    addresses = {}
    for _, item in kube.watch("Pod", namespace, timeout=150):
        if is_running(item):
            addresses[item["metadata"]["name"]] = item["status"]["podIP"]
        if len(addresses) == count:
            break
    assert len(set(addresses.values())) == count
    wait_until(lambda: len(hollow.processes()) == count, 30, "a process for each, and no other")


def test_a_lost_node_is_noticed_and_its_processes_live_on(kube, hollow, namespace):
    run(kube, hollow, namespace, "cut-off", "sleep", "1000")
    kube.wait_for("Pod", "cut-off", namespace, is_running)
    hollow.lose()

    def is_unknown(item):
        return any(one["type"] == "Ready" and one["status"] == "Unknown" for one in item["status"]["conditions"])

    kube.wait_for("Node", hollow.name, None, is_unknown, timeout=120)
    kube.wait_for("Pod", "cut-off", namespace, lambda item: "deletionTimestamp" in item["metadata"], timeout=60)
    assert hollow.processes()
    hollow.find()
    kube.wait_gone("Pod", "cut-off", namespace)
    assert not hollow.processes()
