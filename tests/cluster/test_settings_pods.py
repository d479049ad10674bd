"""Pods of settings alone: kernelspecs that have a kernel.json and no pod.yaml."""
import json
import secrets

import pytest

from deployments import pod_of
from kernels import *  # noqa: F403
from kernels import ARGV, START_S, pods_of
from starts import stub  # noqa: F401
from support.kernelspecs import write_spec
from support.processes import wait_until
from testcluster import images
from testcluster.hollow import TOLERATIONS

GATE = "kueue.x-k8s.io/admission"
WISHES = {"KERNEL_CPUS": "500m", "KERNEL_CPUS_LIMIT": "1", "KERNEL_MEMORY": "64Mi", "KERNEL_MEMORY_LIMIT": "128Mi", "KERNEL_GPUS": "2"}
RESOURCES = {"requests": {"cpu": "500m", "memory": "64Mi", "nvidia.com/gpu": "2"}, "limits": {"cpu": "1", "memory": "128Mi", "nvidia.com/gpu": "2"}}


@pytest.fixture
def classes(kube):
    """A PriorityClass and a RuntimeClass, of one name."""
    name = f"elara-test-{secrets.token_hex(4)}"
    made = ({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 17},
            {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "runc"})
    for one in made:
        kube.create(one | {"metadata": {"name": name}})
    yield name
    for one in made:
        kube.delete(one["kind"], name, api=one["apiVersion"])


@pytest.fixture
def configure(tmp_path):
    """configure(**settings) gives the flags with which a gateway has them."""

    def write(**settings):
        path = tmp_path / "elara.yaml"
        path.write_text(json.dumps(settings))
        return "--config", str(path)

    return write


def test_a_pod_has_what_the_settings_say_and_the_request_wishes(start_gateway, configure, specs, hollow, classes, connect, kube, places, build):
    """It waits in its queue until it is let in."""
    write_spec(specs.directory, "bare", [str(build / "tests" / "stub_kernel"), "-f", "{connection_file}"])
    kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"key": "value"}}, places[1])
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "elara.test/hollow", "operator": "Exists"}]}]}}}
    asked = {"nodeSelector": hollow.selector, "tolerations": TOLERATIONS, "affinity": affinity, "priorityClassName": classes,
             "runtimeClassName": classes, "imagePullSecrets": [{"name": "registry"}], "schedulingGates": [{"name": GATE}]}
    key = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}}
    template = {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}, "spec": asked | {"containers": [{"name": "kernel", "env": [key]}]}}
    gateway = start_gateway(*configure(kubernetes_image="registry.test/team/py:3", kubernetes_pod=template, kubernetes_uid=1234, kubernetes_gid=100))
    kernel_id = gateway.start_kernel("bare", env=WISHES)["id"]
    client = connect(gateway, kernel_id)
    request = client.send_execute("print here")
    client.receive_until(lambda told: "waiting in the queue gpus" in str(told["content"]), START_S)
    name = f"kernel-{kernel_id}-1"
    kube.patch("Pod", name, places[1], {"spec": {"schedulingGates": []}})
    assert client.collect(request).text() == "here\n"
    spec = kube.get("Pod", name, places[1])["spec"]
    (container,) = spec["containers"]
    assert spec["nodeName"] == hollow.name and container["image"] == "registry.test/team/py:3"
    del asked["schedulingGates"]
    assert [one for one in spec["tolerations"] if one in TOLERATIONS] == asked.pop("tolerations")  # the API server adds others
    assert {field: spec[field] for field in asked} == asked
    assert spec["priority"] == 17
    assert container["resources"] == RESOURCES
    assert key in container["env"]
    assert spec["securityContext"].items() >= {"runAsUser": 1234, "runAsGroup": 100, "runAsNonRoot": True}.items()


def test_a_template_that_changes_counts_for_the_next_kernel(start_gateway, stub, specs, hollow, kube):  # noqa: F811
    """Without a restart of the gateway; the kernel that is there keeps its pod."""
    gateway = start_gateway()
    first = gateway.start_kernel(stub)["id"]
    gateway.wait_for_state(first, "idle", timeout=START_S)
    before = pod_of(kube, first)
    path = specs.directory / stub / "pod.json"
    template = json.loads(path.read_text())
    template["metadata"]["labels"]["team"] = "research"
    template["spec"]["containers"][0] |= {"image": "registry.test/team/py:4", "resources": {"requests": {"cpu": "50m"}}}
    path.write_text(json.dumps(template))
    place = pod_of(kube, gateway.start_kernel(stub)["id"])
    spec = kube.get("Pod", place["name"], place["namespace"])["spec"]["containers"][0]
    assert (place["labels"]["team"], spec["image"], spec["resources"]) == ("research", "registry.test/team/py:4", {"requests": {"cpu": "50m"}})
    assert gateway.model(first)["execution_state"] == "idle"
    now = pod_of(kube, first)
    assert (now["uid"], "team" in now["labels"]) == (before["uid"], False)


def test_ipykernel_runs_on_a_read_only_root_from_a_registry_with_a_password(start_gateway, configure, specs, registry, connect, kube, places):
    """On the real node, with a variable of a Secret."""
    write_spec(specs.directory, "bare", ARGV)
    registry.passwords["team/py"] = "reader", "pass word"
    image = registry.add("team/py", images.archives()[images.IPYKERNEL])
    login = {"auths": {registry.address: {"username": "reader", "password": "pass word"}}}
    kube.create({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "metadata": {"name": "registry"},
                 "stringData": {".dockerconfigjson": json.dumps(login)}}, places[1])
    kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"key": "of a Secret"}}, places[1])
    container = {"name": "kernel", "securityContext": {"readOnlyRootFilesystem": True},
                 "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}}]}
    template = {"spec": {"containers": [container], "imagePullSecrets": [{"name": "registry"}]}}
    gateway = start_gateway(*configure(kubernetes_image=image, kubernetes_pod=template, kubernetes_uid=1000))
    kernel_id = gateway.start_kernel("bare", env={"KERNEL_MEMORY_LIMIT": "512Mi"})["id"]
    client = connect(gateway, kernel_id)
    assert client.run_cell("import os; print(os.environ['KEY'], os.getuid())").text() == "of a Secret 1000\n"
    assert "Read-only file system" in client.run_cell("open('/x', 'w')").error["evalue"]
    assert client.run_cell("import tempfile; print(tempfile.NamedTemporaryFile().name)").text().startswith("/tmp/")
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert client.run_cell("print('again')").text() == "again\n"
    assert pods_of(kube, places[1]) == [f"kernel-{kernel_id}-1"]


def test_without_its_secret_the_registry_refuses_the_image(start_gateway, configure, specs, registry, connect):
    write_spec(specs.directory, "bare", ARGV)
    registry.passwords["team/py"] = "reader", "pass word"
    image = registry.add("team/py", images.archives()[images.MUSL])
    gateway = start_gateway(*configure(kubernetes_image=image, kubernetes_uid=1000))
    kernel_id = gateway.start_kernel("bare")["id"]
    said = connect(gateway, kernel_id).run_cell("1").error["evalue"]
    assert said.startswith(f"The image {image} cannot be pulled: ") and "401" in said, said
    assert wait_until(lambda: gateway.model(kernel_id)["execution_state"] == "dead", START_S, "its end")
