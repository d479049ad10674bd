"""What ends a kernel's container, its pod or its node: the cell that runs is told why, and the next one runs."""
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from kernels import *  # noqa: F403
from kernels import START_S, pods_of
from support.processes import wait_until
from testcluster import layout
from testcluster.api_proxy import ApiProxy
from testcluster.hollow import TOLERATIONS, HollowNode
from testcluster.images import BUSYBOX
from testcluster.pods import container_pids, pod

SLOT = "elara.test/slot"
LOST = "What the kernel had in memory is lost: its cells have to be run again."

DOUBT = (r"The kernel's node {node} has not been ready since \d\d:\d\d UTC: Kubernetes hears nothing of it, or nothing good\. The kernel may work "
         r"on there\. Unless the node is back within 5 s, the kernel is started anew elsewhere, and what it has in memory is lost\.")


@pytest.fixture
def add_stub(specs, build):
    """add_stub(name, **pod) gives a kernelspec of hollow nodes."""
    argv = [str(build / "tests" / "stub_kernel"), "-f", "{connection_file}"]

    def add(name, **pod):
        container = {"resources": {"limits": {"memory": "64Mi"}}}
        return specs.add(name, image="registry.test/stub", argv=argv, **{"tolerations": TOLERATIONS, "container": container} | pod)

    return add


@pytest.fixture
def stub(hollow, add_stub):
    return add_stub("stub", nodeSelector=hollow.selector)


def start(gateway, connect, spec, **options):
    kernel_id = gateway.start_kernel(spec)["id"]
    client = connect(gateway, kernel_id, **options)
    client.kernel_info()
    return kernel_id, client


def run_endlessly(client, code="sleep 600000"):
    request = client.send_execute(code)
    client.receive_until(lambda message: message["header"]["msg_type"] == "execute_input"
                         and message["parent_header"]["msg_id"] == request)
    return request


def end_of(client, request, gateway=None):
    """The cell with its error."""
    cell = client.collect(request)
    assert cell.reply["status"] == "error", cell.everything()
    return cell


def numbers(cell):
    """Of the stub's lines, "line 7"."""
    return [int(line.split()[1]) for line in cell.text().splitlines()]


def uid_of(kube, namespace):
    return {item["metadata"]["name"]: item["metadata"]["uid"] for item in kube.list("Pod", namespace)}


def test_a_container_out_of_memory_is_told_and_keeps_its_output(stub, hollow, start_gateway, connect, kube, places):
    """As on cgroup v2, where all processes of the container end together, and with two gateways that tell."""
    first, second = start_gateway(), start_gateway()
    kernel_id, client = start(first, connect, stub, session_id="tab")
    connect(second, kernel_id).kernel_info()
    uids = uid_of(kube, places[1])
    client.drop()
    client = connect(first, kernel_id, session_id="tab")
    request = client.send_execute("count 100000 20")
    client.receive_until(lambda message: message["header"]["msg_type"] == "stream")
    client.drop()  # what it says from now on is in the journal
    hollow.act("oom", places[1], f"kernel-{kernel_id}-1")
    kube.wait_for("Pod", f"kernel-{kernel_id}-1", places[1], lambda item: item["status"]["containerStatuses"][0]["restartCount"] == 1
                  and item["status"]["phase"] == "Running")
    cell = connect(second, kernel_id, session_id="tab").collect(request)
    lines = numbers(cell)
    assert lines == list(range(lines[0], lines[0] + len(lines)))
    assert "went over its memory limit of 64Mi" in cell.reply["evalue"] and "KERNEL_MEMORY_LIMIT" in cell.reply["evalue"]
    assert cell.text("stderr").count("memory limit") == 1
    assert connect(first, kernel_id).run_cell("print again").text() == "again\n"
    assert uid_of(kube, places[1]) == uids


def test_all_processes_of_a_real_container_are_killed(gateway, connect, kube, places):
    kernel_id, client = start(gateway, connect, "python3")
    assert client.run_cell("print(open('/proc/self/oom_score_adj').read())").text().strip() == "1000"
    uids = uid_of(kube, places[1])
    answer = gateway.post(f"/api/kernels/{kernel_id}/restart")
    assert answer.status_code == 200
    client.run_cell("kept = 1")
    assert uid_of(kube, places[1]) == uids, "a restart is in place"
    request = run_endlessly(client, "print('before', flush=True)\nimport time; time.sleep(600)")
    client.receive_until(lambda message: message["header"]["msg_type"] == "stream")
    (uid,) = uids.values()
    pids = container_pids(uid)
    assert len(pids) >= 2, "launcher and kernel"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    told = end_of(client, request).reply["evalue"]
    assert "killed by signal 9" in told, told
    assert client.run_cell("print('kept' in globals())").text() == "False\n"
    assert uid_of(kube, places[1]) == uids
    journal = gateway.get(f"/api/kernels/{kernel_id}/journal").text
    assert "before" in journal, "it is in the emptyDir"
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    assert gateway.log().count("its launcher was started again in its place") == 1, "an end that was ordered is none"


def test_a_pod_that_is_lost_is_replaced_up_to_the_limit(stub, hollow, gateway, connect, kube, places):
    kernel_id, client = start(gateway, connect, stub)
    reasons = {"evict": "low on resource", "delete": "was deleted"}
    for attempt, how in enumerate(("evict", "delete", "evict"), 1):
        name = f"kernel-{kernel_id}-{attempt}"
        request = run_endlessly(client)
        began = time.monotonic()
        if how == "evict":
            hollow.act("evict", places[1], name)
            kube.wait_for("Pod", name, places[1], lambda item: item is None or item["status"]["phase"] == "Failed")
        else:
            kube.delete("Pod", name, places[1])
        known = time.monotonic()
        cell = end_of(client, request)
        print(f"{how}: the cell ended {time.monotonic() - known:.3f} s after the API server knew, {time.monotonic() - began:.3f} s in all")
        assert reasons[how] in cell.reply["evalue"]
        assert client.run_cell(f"print {attempt}").text() == f"{attempt}\n"
        wait_until(lambda: pods_of(kube, places[1]) == [f"kernel-{kernel_id}-{attempt + 1}"], START_S, "the next pod alone")
    request = run_endlessly(client)
    hollow.act("evict", places[1], f"kernel-{kernel_id}-4")
    assert "low on resource" in end_of(client, request).reply["evalue"]
    model = gateway.wait_for_state(kernel_id, "dead")
    assert model["reason"] == "Evicted" and "low on resource" in model["message"]
    refused = gateway.get(f"/api/kernels/{kernel_id}/journal")
    assert refused.status_code == 503
    assert "was kept in its pod" in refused.json()["message"]
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert client.run_cell("print 5").text() == "5\n"


def test_a_launcher_that_is_told_to_end_lets_the_gateway_say_why(stub, hollow, start_gateway, connect, kube, places, tmp_path):
    """The node hears of it earlier than the gateway."""
    with ApiProxy(tmp_path) as proxy:
        kernel_id, client = start(start_gateway(kubeconfig=proxy.kubeconfig), connect, stub)
        request = run_endlessly(client)
        end = proxy.add("before", "WATCH", "pods", "deletionTimestamp")
        kube.delete("Pod", f"kernel-{kernel_id}-1", places[1])
        wait_until(lambda: "what the kernel said is kept" in kube.logs(f"kernel-{kernel_id}-1", places[1]), START_S, "the signal")
        end.release()
        cell = end_of(client, request)
        assert "was deleted" in cell.reply["evalue"] and not cell.text("stderr")


def test_what_was_said_before_the_pod_was_lost_is_shown_before_the_reason(stub, hollow, gateway, connect, places):
    kernel_id, client = start(gateway, connect, stub)
    other = connect(gateway, kernel_id)

    def evict_at(message, line):
        if line in str(message["content"].get("text")):
            hollow.act("evict", places[1], f"kernel-{kernel_id}-1")

    request = client.send_execute("count 100000 5")
    cell = client.collect(request, on_message=lambda message: evict_at(message, "line 30\n"))
    assert cell.reply["status"] == "error"
    kinds = [message["header"]["msg_type"] for message in cell.messages]
    assert kinds.index("error") > max(at for at, kind in enumerate(kinds) if kind == "stream")
    last = f"line {max(numbers(cell))}\n"
    assert other.receive_until(lambda message: last in str(message["content"].get("text")))["parent_header"]["msg_id"] == request


def test_who_was_there_before_the_pod_was_lost_is_not_forgotten(stub, start_gateway, connect, kube, places):
    """cull-unattached-timeout is for kernels to which nobody ever came."""
    gateway = start_gateway("--kubernetes-sweep-grace", "1s")
    used, unused, lost = (gateway.start_kernel(stub)["id"] for _ in range(3))
    for kernel_id in (used, lost):
        client = connect(gateway, kernel_id)
        client.kernel_info()
        client.close()
    gateway.wait_for_state(unused, "idle", timeout=START_S)

    def was_attached(kernel_id):
        wait_until(lambda: f"kernel-{kernel_id}-2" in pods_of(kube, places[1]), START_S, "the next pod")
        gateway.wait_for_state(kernel_id, "idle", timeout=START_S)
        return gateway.get(f"/api/kernels/{kernel_id}/why").json()["inputs"]["was_attached"]

    for kernel_id in (used, unused):
        kube.delete("Pod", f"kernel-{kernel_id}-1", places[1])
    assert (was_attached(used), was_attached(unused)) == (True, False)
    gateway.kill()
    kube.delete("Pod", f"kernel-{lost}-1", places[1])
    kube.wait_for("Pod", f"kernel-{lost}-1", places[1], lambda item: item is None)
    gateway.start()
    assert was_attached(lost), "nobody knows better"
    assert (was_attached(used), was_attached(unused)) == (True, False)


@pytest.fixture
def slot(specs):
    container = {"resources": {"limits": {SLOT: "1"}, "requests": {SLOT: "1"}}}
    specs.add("slot", container=container)
    return container


def test_a_pod_that_is_preempted_says_so(slot, gateway, connect, kube, places, make_namespace):
    """On the real node, whose one slot another pod with a higher priority needs."""
    kube.kubectl("patch", "node", layout.NODE, "--subresource=status", "--type=merge", "-p", json.dumps({"status": {"capacity": {SLOT: "1"}}}))
    kube.wait_for("Node", layout.NODE, None, lambda item: item["status"]["allocatable"].get(SLOT) == "1")
    name = f"elara-test-{places[1]}"
    kube.create({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1000})
    try:
        kernel_id, client = start(gateway, connect, "slot")
        request = run_endlessly(client, "import time; time.sleep(600)")
        namespace = make_namespace()
        kube.create(pod("first", "sleep", "1000", image=BUSYBOX, container=slot, priorityClassName=name), namespace)
        cell = end_of(client, request)
        assert cell.reply["evalue"] == f"A pod of a higher priority took the kernel's place. {LOST}"
        kube.delete("Pod", "first", namespace)
        assert client.run_cell("print('there again')").text() == "there again\n"
        wait_until(lambda: pods_of(kube, places[1]) == [f"kernel-{kernel_id}-2"], START_S, "the next pod")
    finally:
        kube.delete("PriorityClass", name, api="scheduling.k8s.io/v1")


@pytest.fixture
def other_hollow(cluster, build):
    with HollowNode(launcher=build / "elara-launcher") as node:
        yield node


def wait_for_display(client, kind, request):
    return client.receive_until(lambda message: message["header"]["msg_type"] == kind and
                                message["parent_header"]["msg_id"] == request)["content"]


def test_a_node_that_is_lost_is_told_and_its_kernels_run_elsewhere(hollow, other_hollow, add_stub, start_gateway, connect, kube, places):
    """Two nodes are lost; one of them comes back, and the other one's kernel goes there."""
    names = [hollow.name, other_hollow.name]
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": names}]}]
    roams = add_stub("roams", affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}})
    patience = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 90}
    for node in (hollow, other_hollow):
        add_stub(node.name, nodeSelector=node.selector, tolerations=[*TOLERATIONS, patience])
    gateway = start_gateway()
    kernel_id, client = start(gateway, connect, roams)

    def node_of(pod):
        return kube.get("Pod", pod, places[1])["spec"]["nodeName"]

    lost, found = sorted((hollow, other_hollow), key=lambda node: node.name != node_of(f"kernel-{kernel_id}-1"))
    witness_id, witness = start(gateway, connect, found.name)
    request, waiting = run_endlessly(client), run_endlessly(witness)
    lost.lose()
    found.lose()
    doubt = wait_for_display(client, "display_data", request)["data"]["text/plain"]
    assert re.fullmatch(DOUBT.format(node=lost.name), doubt), doubt
    shown = wait_for_display(witness, "display_data", waiting)
    assert "back within 1 min 30 s" in shown["data"]["text/plain"]
    assert stage_of(gateway, witness_id) == shown["data"]["text/plain"]
    found.find()
    well = wait_for_display(witness, "update_display_data", waiting)
    assert well["transient"] == shown["transient"] and "the kernel goes on" in well["data"]["text/plain"]
    assert stage_of(gateway, witness_id) == "ready"
    assert gateway.post(f"/api/kernels/{witness_id}/interrupt").status_code == 204
    assert end_of(witness, waiting).error["ename"] == "KeyboardInterrupt"
    cell = end_of(client, request)
    assert cell.reply["evalue"] == f"The node {lost.name} does not answer, or does not want this pod any more (a NoExecute taint). {LOST}"
    assert client.run_cell("print elsewhere").text() == "elsewhere\n"
    assert node_of(f"kernel-{kernel_id}-2") == found.name
    assert f"kernel-{kernel_id}-1" in pods_of(kube, places[1]), "nobody has ended it"
    assert stage_of(gateway, kernel_id) == "ready"


def test_a_launcher_that_hangs_is_named_and_holds_up_nobody(stub, hollow, gateway, connect, places):
    kernel_id, client = start(gateway, connect, stub)
    well_id, well = start(gateway, connect, stub)
    pids = [shown["pid"] for (_, name), shown in hollow.pods().items() if name == f"kernel-{kernel_id}-1"]
    launchers = [pid for pid in hollow.processes() if is_launcher_of(pid, kernel_id)]
    assert launchers, pids
    for pid in launchers:
        os.kill(pid, signal.SIGSTOP)
    try:
        gateway.kill()
        gateway.start()
        assert connect(gateway, well_id).run_cell("print well").text() == "well\n"
        client = connect(gateway, kernel_id)
        request = client.send_execute("print late")
        wait_until(lambda: "does not answer" in stage_of(gateway, kernel_id), START_S, "what is told of it")
        assert connect(gateway, well_id).run_cell("print well").text() == "well\n"
        third, _ = start(gateway, connect, stub)
        assert {kernel_id, well_id, third} == {model["id"] for model in gateway.get("/api/kernels").json()}
    finally:
        for pid in launchers:
            os.kill(pid, signal.SIGCONT)
    assert client.collect(request).text() == "late\n"


def stage_of(gateway, kernel_id):
    (found,) = [model for model in gateway.get("/api/elara/kernels").json() if model["id"] == kernel_id]
    return found["stage"]


def is_launcher_of(pid, kernel_id):
    try:
        if Path(os.readlink(f"/proc/{pid}/exe")).name != "elara-launcher":
            return False
        return f"KERNEL_ID={kernel_id}" in Path(f"/proc/{pid}/environ").read_text(errors="replace") or \
            kernel_id in Path(f"/proc/{pid}/root/etc/elara/record.json").read_text()
    except OSError:
        return False
