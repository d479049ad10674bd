"""Each way in which a start fails ends with its true cause, in the output of the first cell and in the model."""
import pytest

from kernels import *  # noqa: F403
from kernels import START_S, pods_of
from support.processes import wait_until
from testcluster.hollow import TOLERATIONS

IMAGE = "registry.test/team/py:3"


@pytest.fixture
def stub(hollow, specs, build):
    """A kernelspec whose pods run on the hollow node: the stub kernel of the tests."""
    argv = [str(build / "tests" / "stub_kernel"), "-f", "{connection_file}"]
    return specs.add("stub", image=IMAGE, argv=argv, nodeSelector=hollow.selector, tolerations=TOLERATIONS)


def first_cell(gateway, connect):
    kernel_id = gateway.start_kernel("stub")["id"]
    cell = connect(gateway, kernel_id).run_cell("print on")
    return kernel_id, cell


def test_a_stub_kernel_runs_on_the_hollow_node(stub, gateway, connect, hollow):
    kernel_id = gateway.start_kernel(stub)["id"]
    gateway.wait_for_state(kernel_id, "idle", timeout=START_S)
    assert connect(gateway, kernel_id).kernel_info()["status"] == "ok"


@pytest.mark.parametrize("fault, sentence", [
    ("InvalidImageName", "couldn't parse image name: invalid reference format"),
    ("ErrImagePull", "manifest unknown"),
    ("CrashLoopBackOff", "no module named ipykernel"),
    ("OOMKilled", "memory limit"),
])
def test_the_first_cell_says_why(stub, gateway, connect, hollow, kube, places, fault, sentence):
    hollow.add_fault(fault, message=sentence if fault == "CrashLoopBackOff" else None)
    kernel_id, cell = first_cell(gateway, connect)
    assert sentence in cell.error["evalue"]
    model = gateway.model(kernel_id)
    assert model["execution_state"] == "dead"
    assert sentence in model["reason"]
    wait_until(lambda: not pods_of(kube, places[1]), START_S, "the end of the failed pod")


def test_a_quota_refuses_with_its_name(stub, gateway, connect, kube, places):
    kube.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-room"}, "spec": {"hard": {"pods": "0"}}},
                places[1])
    wait_until(lambda: (kube.get("ResourceQuota", "no-room", places[1]).get("status") or {}).get("hard"), START_S, "the quota")
    _, cell = first_cell(gateway, connect)
    assert "no-room" in cell.error["evalue"]
    assert "Ask for less" in cell.error["evalue"]


def test_a_slow_pull_is_no_failure(stub, gateway, connect, hollow, kube, places):
    hollow.add_fault("SlowPull", count=1)
    kernel_id = gateway.start_kernel(stub, env={"KERNEL_LAUNCH_TIMEOUT": "1"})["id"]
    client = connect(gateway, kernel_id)
    request = client.send_execute("print here")
    pods = wait_until(lambda: pods_of(kube, places[1]), START_S, "the pod")
    wait_until(lambda: [e for e in kube.list("Event", places[1]) if e["reason"] == "Pulling"], START_S, "the event Pulling")
    hollow.act("release", places[1], pods[0])
    assert client.collect(request).text() == "here\n"


def test_a_wish_that_is_not_allowed_is_refused_by_its_name(stub, gateway):
    answer = gateway.post("/api/kernels", json={"name": stub, "env": {"KERNEL_IMAGE": "evil"}})
    assert answer.status_code == 403
    assert "KERNEL_IMAGE" in answer.json()["message"]
