"""What can go wrong with a pod is told in one sentence: in the first cell, through a real jupyter_server, and as {reason, message} of the
kernel's model. All these kernels are started at once, and each has a notebook open that runs its first cell."""
import contextlib
import re

import pytest

from desk import desk_of
from kernels import *  # noqa: F403
from kernels import START_S, PodSpecs, make_gateway, pods_of
from support.processes import wait_until
from testcluster.hollow import TOLERATIONS, HollowNode
from testcluster.images import BUSYBOX
from testcluster.kube import KubeError
from testcluster.layout import HOME
from testcluster.pods import RESTRICTED_CONTAINER, pod
from testcluster.registry import Registry

STUB = "registry.test/team/py:3"
POLICY = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy"}


@pytest.fixture(scope="module")
def node(cluster, build):
    with HollowNode(launcher=build / "elara-launcher") as one:
        yield one


@pytest.fixture(scope="module")
def images():
    with Registry() as one:
        one.refuse["team/secret"] = (403, "DENIED", "requested access to the resource is denied")
        yield one


@pytest.fixture(scope="module")
def kernelspecs(tmp_path_factory, build, node, images):
    specs = PodSpecs(tmp_path_factory.mktemp("faults") / "kernels")
    argv = [str(build / "tests" / "stub_kernel"), "-f", "{connection_file}"]

    def hollow(name, fault=None, message=None, image=STUB, **more):
        wanted = {"hollow.elara.test/fault": fault, "hollow.elara.test/message": message}
        annotations = {key: value for key, value in wanted.items() if value}
        specs.add(name, image, argv=argv, annotations=annotations, nodeSelector=node.selector, tolerations=TOLERATIONS, **more)

    hollow("stub")
    hollow("quota", container={"resources": {"limits": {"nvidia.com/gpu": "1"}}})
    hollow("pod-security", hostNetwork=True)
    hollow("policy", image="elsewhere.test/py:3")
    specs.add("unschedulable", nodeSelector={"elara.test/no": "such"}, tolerations=[{"operator": "Exists"}])
    specs.add("image-denied", f"{images.address}/team/secret:1")
    specs.add("image-missing", f"{images.address}/team/py:3")
    specs.add("image-name", "Team/Py:3")
    specs.add("mount", container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
              volumes=[{"name": "data", "secret": {"secretName": "not-there"}}])
    specs.add("variable", container={"env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "not-there", "key": "key"}}}]})
    specs.add("no-kernel", argv=["python3", "-m", "no_such_kernel", "-f", "{connection_file}"])
    specs.add("profile", BUSYBOX, {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "no/such.json"}}})
    specs.add("directory", BUSYBOX, {"workingDir": "/bin/busybox"})
    hollow("create", "CreateContainerError")
    hollow("run", "RunContainerError")
    hollow("sandbox", "FailedCreatePodSandBox")
    hollow("crash", "CrashLoopBackOff", "out of licences")
    hollow("memory", "OOMKilled", container={"resources": {"limits": {"memory": "64Mi"}}})
    hollow("deadline", "NeverStarts")
    hollow("evicted", "Evicted")
    hollow("shutdown", "Terminated")
    hollow("preempted", "Preempting")
    hollow("limited", "SlowPull", activeDeadlineSeconds=1)
    hollow("no-room", "OutOfcpu")
    hollow("no-device", "UnexpectedAdmissionError")
    hollow("closing", "NodeShutdown")
    hollow("attach", "FailedAttachVolume")
    hollow("launcher", "Init:CrashLoopBackOff", "no space left on device")
    hollow("prepare", "Init:CrashLoopBackOff", "no licence", initContainers=[
        {"name": "prepare", "image": STUB, "terminationMessagePolicy": "FallbackToLogsOnError", "securityContext": RESTRICTED_CONTAINER}])
    specs.add("never-pulled", STUB, container={"imagePullPolicy": "Never"})
    return specs


@pytest.fixture(scope="module")
def forbidden(kube, rooms):
    """A quota and a policy, which nobody minds whose pod asks for nothing of that."""
    namespace = rooms[1]
    kube.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-gpus"},
                 "spec": {"hard": {"requests.nvidia.com/gpu": "0"}}}, namespace)
    policy = kube.create(POLICY | {"metadata": {"name": f"images-{namespace}"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]},
        "validations": [{"expression": "object.spec.containers.all(c, !c.image.startsWith('elsewhere.test/'))",
                         "message": "images come from registry.test alone"}]}})["metadata"]["name"]
    kube.create(POLICY | {"kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": policy}, "spec": {
        "policyName": policy, "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}}})
    wait_until(lambda: (kube.get("ResourceQuota", "no-gpus", namespace).get("status") or {}).get("hard"), START_S, "the quota")
    tried = pod("try")
    tried["spec"]["containers"][0]["image"] = "elsewhere.test/x"

    def is_refused():
        try:
            kube.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", tried)
        except KubeError as error:
            return "registry.test alone" in str(error)

    try:
        wait_until(is_refused, START_S, "the policy")
        yield
    finally:
        for kind in ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"):
            kube.delete(kind, policy, api=POLICY["apiVersion"])


@pytest.fixture(scope="module")
def hurry(tmp_path_factory):
    """A file that says how many seconds the desk's gateway takes for passed, for itself and the API server."""
    path = tmp_path_factory.mktemp("clock") / "shift"
    path.write_text("0")
    return path


@pytest.fixture(scope="module")
def desk(build, cluster, launcher_image, kernelspecs, rooms, forbidden, hurry, tmp_path_factory):
    gateway = make_gateway(build, kernelspecs, rooms, launcher_image, cluster.kubeconfig,
                           environment={"LD_PRELOAD": str(build / "tests" / "clock_shift.so"),
                                        "CLOCK_SHIFT_FILE": str(hurry), "DATE_SHIFT_FILE": str(hurry),
                                        "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"})
    with desk_of(gateway, tmp_path_factory.mktemp("desk")) as desk:
        for name in [*AT_ONCE, *PATIENT]:
            desk.run(name)
        yield desk


LOST = "What the kernel had in memory is lost: its cells have to be run again."
AGAIN = "Start the kernel again if that does not happen by itself."
WHOSE = "Elara's own has the image of kubernetes-launcher-image; the others stand in the kernelspec's pod.yaml."
WHOLE = "Check that the image is whole and made for the node's CPU architecture, and check the kernelspec's pod.yaml."
CHECK_IMAGE = "Check the image's name and tag, and that the cluster may pull it (imagePullSecrets of the kernelspec's pod.yaml)."

UNMADE = ("The container kernel cannot be made: failed to create containerd container: cannot load seccomp profile \"{file}\": open {file}: no such "
          "file or directory. Ask the administrator: the node's container runtime refuses it.")

# The kernelspec's name: reason and message.
AT_ONCE = {
    "quota": ("QuotaExceeded", "Kubernetes refuses the kernel's pod: exceeded quota: no-gpus, requested: requests.nvidia.com/gpu=1, used: "
              "requests.nvidia.com/gpu=0, limited: requests.nvidia.com/gpu=0. Ask for less, shut down kernels that are not needed, or ask "
              "the administrator for more."),
    "pod-security": ("PodSecurity", "Kubernetes refuses the kernel's pod: violates PodSecurity \"restricted:latest\": host namespaces "
                     "(hostNetwork=true), hostPort (container \"kernel\" uses hostPort 8877). The kernelspec's pod.yaml asks for more than "
                     "the namespace allows: correct it, or ask for a namespace that allows it."),
    "policy": ("AdmissionDenied", "Kubernetes refuses the kernel's pod: ValidatingAdmissionPolicy 'images-{namespace}' with binding "
               "'images-{namespace}' denied request: images come from registry.test alone. Its sentence says what it wants; the "
               "administrator of the cluster knows the policy."),
    "image-name": ("InvalidImageName", "The image Team/Py:3 cannot be used: Failed to apply default image tag \"Team/Py:3\": couldn't parse "
                   "image name \"Team/Py:3\": invalid reference format: repository name (Py) must be lowercase. Correct it in the "
                   "kernelspec, in the setting kubernetes-image or in KERNEL_IMAGE."),
    "image-missing": ("ImagePullBackOff", "The image {registry}/team/py:3 cannot be pulled: {registry}/team/py:3: not found. "
                      + CHECK_IMAGE),
    "image-denied": ("ImagePullBackOff", "The image {registry}/team/secret:1 cannot be pulled: pulling from host {registry} failed "
                     "with status code [manifests 1]: 403 Forbidden. " + CHECK_IMAGE),
    "run": ("RunContainerError", f"The container kernel cannot be started: exec: \"/no/such\": stat /no/such: no such file or directory. {WHOLE}"),
    "directory": ("RunContainerError", "The container kernel cannot be started: error during container init: mkdir /bin/busybox: not a "
                  f"directory. {WHOLE}"),
    "crash": ("CrashLoopBackOff", "The kernel's container ended 3 times soon after its start, the last time with exit code 1: out of "
              "licences. Look at the kernel's log; an image or a kernelspec that cannot work is the usual cause."),
    "memory": ("OOMKilled", "The kernel's container went over its memory limit of 64Mi as it started, 3 times. Ask for more memory "
               "(KERNEL_MEMORY_LIMIT or another kernelspec), or load less data."),
    "evicted": ("Evicted", f"The node evicted the pod: The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. {LOST}"),
    "shutdown": ("NodeShutdown", f"The node is being shut down: Pod was terminated in response to imminent node shutdown. {LOST}"),
    "preempted": ("Preempted", f"The node needed the room for a system pod: Preempted in order to admit critical pod. {LOST}"),
    "limited": ("DeadlineExceeded", "The pod was active for longer than its activeDeadlineSeconds (1 s). Start the kernel again; the "
                "administrator sets how long one may run."),
    "no-room": ("NodeRefused", "The node had no room left: Pod was rejected: Node didn't have enough resource: cpu, requested: 250, used: "
                f"9000, capacity: 9000. {AGAIN}"),
    "no-device": ("NodeRefused", "The node could not give what the pod needs: Pod was rejected: Allocate failed due to no healthy devices "
                  f"present; cannot allocate unhealthy devices nvidia.com/gpu, which is unexpected. {AGAIN}"),
    "closing": ("NodeRefused", f"The node is being shut down: Pod was rejected: Pod was rejected as the node is shutting down. {AGAIN}"),
    "launcher": ("InitContainerFailed", "The init container elara-launcher failed 3 times, the last time with exit code 1: no space left on "
                 f"device. {WHOSE}"),
    "prepare": ("InitContainerFailed", f"The init container prepare failed 3 times, the last time with exit code 1: no licence. {WHOSE}"),
    "never-pulled": ("ErrImageNeverPull", "The image registry.test/team/py:3 cannot be used: Container image \"registry.test/team/py:3\" is "
                     "not present with pull policy of Never. Load it onto the node, or take imagePullPolicy: Never out of the kernelspec's "
                     "pod.yaml."),
    "no-kernel": (None, "The kernel exited with code 1: /usr/bin/python3: No module named no_such_kernel. Install no_such_kernel in the "
                  "environment of python3 (for instance: python3 -m pip install no_such_kernel)."),
}
# These are told when they have lasted: the same, and what the API server shows first.
PATIENT = {
    "unschedulable": ("Unschedulable", "No node can take the kernel: 0/{nodes} nodes are available: {nodes} node(s) didn't match Pod's node "
                      "affinity/selector. Ask for less (KERNEL_CPUS, KERNEL_MEMORY, KERNEL_GPUS), shut down kernels that are not needed, "
                      "or ask the administrator for nodes.", "didn't match"),
    "mount": ("FailedMount", "The volume data cannot be mounted: secret \"not-there\" not found. Check the volume in the kernelspec's "
              "pod.yaml or KERNEL_VOLUMES, and that its server, claim, Secret or ConfigMap is there.", "not-there"),
    "sandbox": ("FailedCreatePodSandBox", "The pod's sandbox cannot be made on the node {node}: failed to setup network for sandbox. "
                "Something is wrong with the node or the cluster's network: ask the administrator.", "setup network"),
    "attach": ("FailedAttachVolume", "The volume home cannot be attached to the node: Multi-Attach error for volume \"home\" Volume is already "
               "exclusively attached to one node and can't be attached to another. It may still be in use on another node: shut down what "
               "uses it, or ask the administrator.", "exclusively attached"),
    "variable": ("CreateContainerConfigError", "The container kernel cannot be made: secret \"not-there\" not found. The administrator has "
                 "to add what is missing, or to correct the kernelspec's pod.yaml.", "not-there"),
    "create": ("CreateContainerError", UNMADE.replace("{file}", "x.json"), "seccomp profile"),
    "profile": ("CreateContainerError", UNMADE.replace("{file}", f"{HOME}/kubelet/seccomp/no/such.json"), "seccomp profile"),
}


@pytest.fixture
def check(kube, node, images, rooms):
    """check(desk, name, reason, message): that the cell and the model say it, and that no pod is left."""

    def check(desk, name, reason, message):
        kernel_id, client, request = desk.open[name]
        said = client.collect(request).error["evalue"]
        nodes = re.search(r" 0/(\d+) nodes ", said)
        expected = message.format(namespace=rooms[1], registry=images.address, node=node.name, nodes=nodes and nodes[1])
        model = desk.gateway.wait_for_state(kernel_id, "dead")
        if reason is None:  # the kernel's own: no word, and what it said stands below
            assert model["reason"] == model["message"] == said and said.split("\n")[0] == expected
        else:
            assert (said, model["reason"], model["message"]) == (expected, reason, expected)
        if reason is not None:
            wait_until(lambda: not [pod for pod in pods_of(kube, rooms[1]) if kernel_id in pod], START_S, "the end of its pod")

    return check


@pytest.mark.parametrize("name", AT_ONCE)
def test_what_ends_a_start_at_once_is_told(desk, check, name):
    check(desk, name, *AT_ONCE[name])


@pytest.fixture(scope="module")
def an_hour_later(desk, hurry, kube, rooms):
    """Each of them has shown in its cell what it waits for; then an hour passes, for all of them."""
    for name, (_, _, sign) in PATIENT.items():
        desk.open[name][1].receive_until(lambda told, sign=sign: sign in str(told["content"]), START_S)
    hurry.write_text("3600")
    for name in PATIENT:
        with contextlib.suppress(KubeError):  # it has gone: the gateway has looked by itself
            kube.patch("Pod", f"kernel-{desk.open[name][0]}-1", rooms[1], {"metadata": {"annotations": {"look": "again"}}})


@pytest.mark.parametrize("name", PATIENT)
def test_what_lasts_too_long_is_told(desk, check, name, an_hour_later):
    reason, message, _ = PATIENT[name]
    check(desk, name, reason, message)


def test_a_start_that_is_too_late_is_told(build, cluster, launcher_image, kernelspecs, rooms, node, check, tmp_path):
    gateway = make_gateway(build, kernelspecs, rooms, launcher_image, cluster.kubeconfig, "--start-deadline", "3s",
                           "--kubernetes-install", "late")
    with desk_of(gateway, tmp_path) as desk:
        desk.run("deadline")
        check(desk, "deadline", "StartDeadline", "The kernel's pod did not run within 3 s (start-deadline); its last state: preparing the "
              "pod's volumes and network on the node {node}. Start the kernel again, or ask the administrator.")
