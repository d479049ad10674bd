"""Pods whose labels or annotations somebody edits: a watch tells no more of them, or a gateway that starts does not know them. They are none the less there."""
import os
import signal

import pytest

from kernels import *  # noqa: F403
from kernels import START_S, pods_of
from starts import *  # noqa: F403
from starts import GRACE, wait_running
from support.processes import wait_until
from testcluster.api_faults import FaultyApi, reply
from testcluster.images import BUSYBOX
from testcluster.pods import pod

ID = "elara.kernel-id"
EXPIRED = reply(410, b'{"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}')


@pytest.fixture
def api(tmp_path):
    with FaultyApi(tmp_path) as one:
        yield one


def edit(kube, namespace, name, labels=None, annotations=None):
    """What it was before, by which it is known that it is put back."""
    before = kube.get("Pod", name, namespace)["metadata"]
    kube.patch("Pod", name, namespace, {"metadata": {"labels": labels or {}, "annotations": annotations or {}}})
    return {"uid": before["uid"], "labels": before["labels"], "annotations": before["annotations"]}


def wait_mended(kube, namespace, pods):
    """All these and no others: {name: as edit() says}."""
    def found():
        return {item["metadata"]["name"]: {member: item["metadata"].get(member) for member in ("uid", "labels", "annotations")}
                for item in kube.list("Pod", namespace)}

    wait_until(lambda: found() == pods, START_S, "the pods that were there, as they were")


def list_again(gateway, api, change):
    """While it does not look, this happens; then it has to list all pods again."""
    os.kill(gateway.process.pid, signal.SIGSTOP)
    api.cut()
    changed = change()
    api.add_fault(EXPIRED, "/pods.*watch=")
    os.kill(gateway.process.pid, signal.SIGCONT)
    return changed


def test_labels_that_are_edited_between_two_lists(start_gateway, begin, connect, kube, places, api):
    gateway = start_gateway(kubeconfig=api.kubeconfig)
    edits = [{"elara.kind": None}, {"elara.install": "other"}, {"elara.kernel": "other", "kernel_id": None, "elara.install": None}]
    ids = [begin(gateway) for _ in edits]
    wait_running(gateway, ids)
    clients = [connect(gateway, kernel_id) for kernel_id in ids]
    cells = [client.send_execute("count 1 0") for client in clients]
    for client, cell in zip(clients, cells):
        client.collect(cell)
    pods = list_again(gateway, api, lambda: {f"kernel-{kernel_id}-1": edit(kube, places[1], f"kernel-{kernel_id}-1", labels)
                                             for kernel_id, labels in zip(ids, edits)})
    wait_mended(kube, places[1], pods)
    for client in clients:
        assert client.run_cell("print on").text() == "on\n"
    assert not [line for line in gateway.log().splitlines() if "PodDeleted" in line]


def test_a_pod_that_is_gone_between_two_lists(start_gateway, begin, kube, places, api):
    gateway = start_gateway(kubeconfig=api.kubeconfig)
    kernel_id = begin(gateway)
    wait_running(gateway, [kernel_id])
    name = f"kernel-{kernel_id}-1"

    def delete():
        kube.delete("Pod", name, places[1], grace_s=0)
        kube.wait_gone("Pod", name, places[1])

    list_again(gateway, api, delete)
    wait_until(lambda: pods_of(kube, places[1]) == [f"kernel-{kernel_id}-2"], START_S, "the next pod")


def test_what_is_edited_while_no_gateway_runs(start_gateway, stub, begin, connect, kube, places):
    gateway = start_gateway(*GRACE)
    edits = [
        ({"elara.kind": "other"}, {}),
        ({"elara.install": "other"}, {}),
        ({"elara.kernel": None, "elara.attempt": "7", "kernel_id": "other"}, {}),
        ({}, {ID: None}),
        ({}, {ID: "nobody"}),
        ({"elara.kind": None, "elara.install": None, "elara.kernel": None}, {ID: None}),
    ]
    ids = [begin(gateway) for _ in edits]
    wished = gateway.start_kernel(stub, env={"KERNEL_POD_NAME": "wish"})["id"]
    wait_running(gateway, [*ids, wished])
    (wish,) = [name for name in pods_of(kube, places[1]) if name.startswith("wish-")]
    gateway.kill()
    edits[-1][1][ID] = ids[0]  # another kernel's
    names = [f"kernel-{kernel_id}-1" for kernel_id in ids]
    pods = {name: edit(kube, places[1], name, *changed) for name, changed in zip(names, edits)}
    pods[wish] = edit(kube, places[1], wish, {"elara.kind": None})
    attempt = pods[names[2]]["labels"]
    kernel_label = {name: attempt[name] for name in ("elara.kernel", "kernel_id")}
    gateway.start()
    wait_running(gateway, [*ids, wished])
    kube.patch("Pod", names[2], places[1], {"metadata": {"labels": kernel_label | {"elara.attempt": "1"}}})  # not what it is found by
    wait_mended(kube, places[1], pods)
    for kernel_id in [*ids, wished]:
        assert connect(gateway, kernel_id).run_cell("print on").text() == "on\n"
    wait_swept(kube, places)
    wait_mended(kube, places[1], pods)


def wait_swept(kube, places):
    """What is taken for a stray pod is gone when one that came later is."""
    stray = pod("stray", "true", image=BUSYBOX, nodeSelector={"elara.test/nowhere": "is"})
    stray["metadata"]["labels"] = {"elara.install": "elara", "elara.kind": "pod"}
    kube.create(stray, places[1])
    kube.wait_gone("Pod", "stray", places[1], timeout=START_S)


def test_an_annotation_that_is_edited_while_gateways_run(start_gateway, begin, connect, kube, places):
    """Nothing comes of it, nor does a gateway that starts then take the pod for another kernel's or for nobody's."""
    gateway = start_gateway(*GRACE)
    ids = [begin(gateway) for _ in range(3)]
    wait_running(gateway, ids)
    names = [f"kernel-{kernel_id}-1" for kernel_id in ids]
    pods = {name: edit(kube, places[1], name, {}, {ID: value}) for name, value in zip(names, (None, "nobody", ids[0]))}
    wait_swept(kube, places)
    assert sorted(pods_of(kube, places[1])) == sorted(pods)
    second = start_gateway(*GRACE)
    wait_running(second, ids)
    wait_mended(kube, places[1], pods)
    for kernel_id in ids:
        assert connect(second, kernel_id).run_cell("print on").text() == "on\n"


def test_a_gateway_is_killed_as_it_puts_labels_back(start_gateway, proxy, begin, kube, places):
    first = start_gateway(kubeconfig=proxy.kubeconfig)
    ids = [begin(first) for _ in range(3)]
    wait_running(first, ids)
    names = [f"kernel-{kernel_id}-1" for kernel_id in ids]
    held = [proxy.add("before", "GET", "pods", f"metadata.name%3D{names[0]}")]
    held += [proxy.add(mode, "PATCH", "pods", name) for mode, name in zip(("before", "after"), names[1:])]
    pods = {name: edit(kube, places[1], name, {"elara.kind": None}) for name in names}
    for rule in held:
        rule.wait()
    first.kill()
    second = start_gateway(*GRACE)
    wait_running(second, ids)
    wait_mended(kube, places[1], pods)


def test_a_pod_that_cannot_be_given_its_labels_is_deleted_first(start_gateway, begin, kube, places, api):
    gateway = start_gateway(kubeconfig=api.kubeconfig)
    kernel_id = begin(gateway)
    wait_running(gateway, [kernel_id])
    first, second = (f"kernel-{kernel_id}-{attempt}" for attempt in (1, 2))
    api.add_fault(reply(403, b'{"kind": "Status", "code": 403, "message": "pods is forbidden: a policy says no"}'), "PATCH .*/pods/")
    edit(kube, places[1], first, {"elara.kind": None})
    kube.wait_for("Pod", second, places[1], lambda item: item is not None)
    found = kube.get("Pod", first, places[1])
    assert found is None or "deletionTimestamp" in found["metadata"]
    wait_until(lambda: pods_of(kube, places[1]) == [second], START_S, "the next pod alone")
    wait_running(gateway, [kernel_id])
