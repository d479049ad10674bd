"""Starts that take long, and wishes that are refused. What ends a start, and what is told of it: test_faults.py."""
import json
import uuid

import pytest

from kernels import *  # noqa: F403
from kernels import START_S, pods_of, record_of, records_of
from support.processes import wait_until
from testcluster.hollow import TOLERATIONS

IMAGE = "registry.test/team/py:3"


@pytest.fixture
def stub(hollow, specs, build):
    """A kernelspec whose pods run on the hollow node: the stub kernel of the tests."""
    argv = [str(build / "tests" / "stub_kernel"), "-f", "{connection_file}"]
    return specs.add("stub", image=IMAGE, argv=argv, nodeSelector=hollow.selector, tolerations=TOLERATIONS)


def test_a_stub_kernel_runs_on_the_hollow_node(stub, gateway, connect, hollow):
    kernel_id = gateway.start_kernel(stub)["id"]
    gateway.wait_for_state(kernel_id, "idle", timeout=START_S)
    assert connect(gateway, kernel_id).kernel_info()["status"] == "ok"


def test_a_slow_pull_is_no_failure(stub, gateway, connect, hollow, kube, places):
    hollow.add_fault("SlowPull", count=1)
    kernel_id = gateway.start_kernel(stub, env={"KERNEL_LAUNCH_TIMEOUT": "1"})["id"]
    client = connect(gateway, kernel_id)
    request = client.send_execute("print here")
    pods = wait_until(lambda: pods_of(kube, places[1]), START_S, "the pod")
    wait_until(lambda: [e for e in kube.list("Event", places[1]) if e["reason"] == "Pulling"], START_S, "the event Pulling")
    hollow.act("release", places[1], pods[0])
    assert client.collect(request).text() == "here\n"


def test_the_launch_timeout_ends_no_start(stub, specs, start_gateway, connect, hollow):
    """Only start-deadline does, for pods and for kernels in them."""
    spec = json.loads((specs.directory / stub / "pod.json").read_text())["spec"]
    program = json.loads((specs.directory / stub / "kernel.json").read_text())["argv"]
    for name, *options in (("slow", "--start-delay", "1500"), ("mute", "--no-reply")):
        specs.add(name, argv=[*program, *options], **spec)
    patient = start_gateway(environment={"EG_KERNEL_LAUNCH_TIMEOUT": "1"})
    slow = connect(patient, patient.start_kernel("slow")["id"])
    assert slow.run_cell("print here").text() == "here\n"
    pulled = str(uuid.uuid4())
    hollow.add_fault("SlowPull", selector=f"kernel_id={pulled}")
    strict = start_gateway("--kubernetes-install", "strict", environment={"EG_KERNEL_LAUNCH_TIMEOUT": "1", "ELARA_START_DEADLINE": "3"})
    clients = [connect(strict, strict.start_kernel(stub, env={"KERNEL_ID": pulled})["id"]), connect(strict, strict.start_kernel("mute")["id"])]
    pod, kernel = [client.collect(client.send_execute("print here")).error["evalue"] for client in clients]
    assert pod.startswith("The kernel's pod did not run within 3 s (start-deadline); its last state: pulling the image"), pod
    assert kernel.startswith("The kernel did not answer within 3 s and was ended"), kernel


def test_a_wish_that_is_not_allowed_is_refused_by_its_name(stub, gateway):
    answer = gateway.post("/api/kernels", json={"name": stub, "env": {"KERNEL_IMAGE": "evil"}})
    assert answer.status_code == 403
    assert "KERNEL_IMAGE" in answer.json()["message"]


def test_a_slow_pull_is_shown_in_the_cell(stub, gateway, connect, hollow, kube, places):
    hollow.add_fault("SlowPull", count=1)
    kernel_id = gateway.start_kernel(stub)["id"]
    client = connect(gateway, kernel_id)
    request = client.send_execute("print here")
    seen = []
    client.receive_until(lambda message: seen.append(message) or "pulling" in str(message["content"]))
    assert [m["header"]["msg_type"] for m in seen if m["parent_header"].get("msg_id") == request][:2] == ["status", "execute_input"]
    hollow.act("release", places[1], pods_of(kube, places[1])[0])
    cell = client.collect(request)
    assert cell.text() == "here\n"
    assert cell.of_type("clear_output")


def test_a_cell_whose_gateway_is_killed_before_the_kernel_is_there_is_answered(stub, start_gateway, connect, hollow, kube, places):
    hollow.add_fault("SlowPull", count=1)
    first = start_gateway()
    kernel_id = first.start_kernel(stub)["id"]
    client = connect(first, kernel_id)
    request = client.send_execute("print here")
    client.receive_until(lambda message: "pulling" in str(message["content"]))
    first.kill()
    second = start_gateway()
    again = connect(second, kernel_id, session_id=client.session_id)
    hollow.act("release", places[1], pods_of(kube, places[1])[0])
    cell = again.collect(request)
    assert "Run it again" in cell.error["evalue"]
    assert again.run_cell("print on").text() == "on\n"
    wait_until(lambda: not any("held" in record_of(item) for item in records_of(kube, places[0])), START_S, "a record without it")
