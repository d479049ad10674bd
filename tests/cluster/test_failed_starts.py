"""Starts that take long, and wishes that are refused. What ends a start, and what is told of it: test_faults.py."""
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
