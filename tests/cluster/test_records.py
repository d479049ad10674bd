"""The record of a kernel when several gateways change it, and what is left when one is killed at any point of a start or an end."""
import concurrent.futures
import os
import signal
import uuid

import pytest

from kernels import *  # noqa: F403
from kernels import START_S, pods_of, record_of, records_of
from starts import *  # noqa: F403
from starts import GRACE, wait_running
from support.processes import wait_until
from testcluster.api_faults import FaultyApi, reply
from testcluster.images import BUSYBOX
from testcluster.pods import pod


def keys_of(kube, namespace):
    return {item["metadata"]["labels"]["elara.kernel"] for item in kube.list("Secret", namespace, labelSelector="elara.kind=key")}


def state_of(kube, namespace, kernel_id):
    record = kube.get("Secret", f"elara-record-{kernel_id}", namespace)
    return record and record["metadata"]["labels"]["elara.state"]


def living_pods(kube, namespace):
    return [item["metadata"]["name"] for item in kube.list("Pod", namespace) if "deletionTimestamp" not in item["metadata"]]


def wait_one_pod_each(kube, places, kernel_ids):
    def is_so():
        pods = pods_of(kube, places[1])
        return len(pods) == len(kernel_ids) and all(any(f"kernel-{one}-" in pod for pod in pods) for one in kernel_ids)

    wait_until(is_so, START_S, "one pod for each kernel")
    assert keys_of(kube, places[1]) == set(kernel_ids)


def wait_nothing_left(kube, places):
    wait_until(lambda: not pods_of(kube, places[1]), START_S, "the end of all pods")
    wait_until(lambda: not keys_of(kube, places[1]), START_S, "the end of all key Secrets")
    wait_until(lambda: all(item["metadata"]["labels"]["elara.state"] == "ended" and "unfinished" not in record_of(item)
                           for item in records_of(kube, places[0])), START_S, "records that are tombstones, of which nothing is left")


def test_a_gateway_is_killed_at_every_point_of_a_start(start_gateway, proxy, begin, hollow, kube, places):
    first = start_gateway(*GRACE, kubeconfig=proxy.kubeconfig)
    held, ids = [], {}
    for kind, text in (("secrets", "elara-record-{}"), ("secrets", "elara-kernel-{}"), ("pods", "{}")):
        for mode in ("before", "after"):
            kernel_id = ids[kind, text, mode] = str(uuid.uuid4())
            held.append(proxy.add(mode, "POST", kind, f'"{text.format(kernel_id)}' if kind == "secrets" else f'"kernel-{kernel_id}-'))
    heard = {mode: str(uuid.uuid4()) for mode in ("before", "after")}  # that its launcher has spoken, on record
    held += [proxy.add(mode, "PATCH", "secrets", f"elara-record-{kernel_id}") for mode, kernel_id in heard.items()]
    slow = {fault: str(uuid.uuid4()) for fault in ("NeverStarts", "SlowPull", "running")}
    for fault, kernel_id in slow.items():
        hollow.add_fault("SlowPull" if fault == "running" else fault, selector=f"kernel_id={kernel_id}")
    ready = str(uuid.uuid4())
    for kernel_id in [*ids.values(), *slow.values(), *heard.values(), ready]:
        begin(first, kernel_id)
    for rule in held:
        rule.wait()
    wait_running(first, [ready])
    for kernel_id in slow.values():
        wait_until(lambda id_=kernel_id: (places[1], f"kernel-{id_}-1") in hollow.pods(), START_S, "a pod")
    proxy.flow.clear()  # one runs, and the gateway has not heard of it
    hollow.act("release", places[1], f"kernel-{slow['running']}-1")
    kube.wait_for("Pod", f"kernel-{slow['running']}-1", places[1], lambda pod: pod["status"].get("phase") == "Running")
    first.kill()
    assert [record_of(kube.get("Secret", f"elara-record-{kernel_id}", places[0])).get("heard") for kernel_id in heard.values()] == [None, True]

    hollow.clear_faults()
    second = start_gateway(*GRACE)
    unmade = ids["secrets", "elara-record-{}", "before"]
    made = [kernel_id for kernel_id in ids.values() if kernel_id != unmade] + [slow["running"], *heard.values(), ready]
    wait_running(second, made)
    assert second.get(f"/api/kernels/{unmade}").status_code == 404
    for fault in ("NeverStarts", "SlowPull"):
        assert second.model(slow[fault])["execution_state"] == "starting"
        hollow.act("release", places[1], f"kernel-{slow[fault]}-1")
    wait_running(second, slow.values())
    wait_one_pod_each(kube, places, [*made, slow["NeverStarts"], slow["SlowPull"]])
    for kernel_id in (ready, *heard.values(), slow["running"], slow["SlowPull"], ids["pods", "{}", "after"]):
        assert f"kernel-{kernel_id}-1" in pods_of(kube, places[1])  # what was there has gone on
    for model in second.get("/api/kernels").json():
        assert second.delete(f"/api/kernels/{model['id']}").status_code == 204
    wait_nothing_left(kube, places)


@pytest.mark.parametrize("last", ["pods", "secrets"])
def test_reads_answer_503_until_records_and_pods_are_listed(start_gateway, proxy, begin, kube, last):
    """Never an early list, nor a 404: clients would forget their kernels."""
    first = start_gateway()
    kernel_id = begin(first)
    wait_running(first, [kernel_id])
    first.kill()
    lists = {kind: proxy.add("before", "GET", kind, selected) for kind, selected in (("pods", "elara.kind"), ("secrets", "record"))}
    second = start_gateway(kubeconfig=proxy.kubeconfig, ready=False)
    for rule in lists.values():
        rule.wait()
    paths = ("/api/kernels", f"/api/kernels/{uuid.uuid4()}", f"/api/kernels/{kernel_id}", "/readyz")
    assert [second.get(path).status_code for path in paths] == [503] * 4
    (early,) = set(lists) - {last}
    watched = proxy.add("before", "GET", early, "watch=")
    lists[early].release()
    watched.wait()  # it has been read
    assert [second.get(path).status_code for path in paths] == [503] * 4
    assert int(second.get("/api/kernels").headers["Retry-After"]) > 0
    proxy.release()
    listed = wait_until(lambda: (answer := second.get("/api/kernels")).status_code == 200 and answer.json(), START_S, "the list")
    assert [model["id"] for model in listed] == [kernel_id]
    assert second.get(paths[1]).status_code == 404


def test_a_gateway_is_killed_at_every_point_of_an_end(start_gateway, proxy, begin, end, kube, places):
    first = start_gateway(*GRACE, kubeconfig=proxy.kubeconfig)
    points = {}
    for point in ("bury", "pod", "key", "clear"):
        for mode in ("before", "after"):
            points[point, mode] = begin(first)
    wait_running(first, points.values())
    held, answers = [], {}
    for (point, mode), id_ in points.items():
        record = f"elara-record-{id_}"
        held.append({
            "bury": lambda: proxy.add(mode, "PATCH", "secrets", record),
            "pod": lambda: proxy.add(mode, "DELETE", "pods", f"kernel-{id_}-1"),
            "key": lambda: proxy.add(mode, "DELETE", "secrets", f"elara-kernel-{id_}"),
            "clear": lambda: skip_one(proxy, record) or proxy.add(mode, "PATCH", "secrets", record),
        }[point]())
        answers[point, mode] = end(first, id_)
    for rule in held:
        rule.wait()
    assert first.is_ready()  # whom it could answer, it has
    first.kill()
    told = {point: answer.result(START_S) for point, answer in answers.items()}
    assert told == {(point, mode): None if point == "bury" else 204 for point, mode in points}  # it has ended when that is on record

    second = start_gateway(*GRACE)
    unburied = points["bury", "before"]
    assert second.wait_for_state(unburied, "dead", timeout=START_S)["reason"]
    for kernel_id in set(points.values()) - {unburied}:
        answer = second.get(f"/api/kernels/{kernel_id}")
        assert (answer.status_code, "it was shut down" in answer.text) == (404, True), answer.text
    assert second.delete(f"/api/kernels/{unburied}").status_code == 204
    wait_nothing_left(kube, places)
    metrics = second.get("/metrics").text
    swept = next(line for line in metrics.splitlines() if line.startswith("elara_swept_total "))
    assert int(float(swept.split()[1])) >= 3


def skip_one(proxy, record):
    """The first change of a record passes."""
    rule = proxy.add("after", "PATCH", "secrets", record)
    rule.release()


def test_a_change_of_a_record_is_decided_upon_what_is_there(start_gateway, proxy, begin, connect, hollow, kube, places):
    """Two gateways change one record: one of them is held between reading and writing it."""
    first, second = start_gateway(kubeconfig=proxy.kubeconfig), start_gateway()
    hollow.add_fault("SlowPull")
    noted, ended = begin(first), begin(first)
    for kernel_id in (noted, ended):
        wait_until(lambda id_=kernel_id: (places[1], f"kernel-{id_}-1") in hollow.pods(), START_S, "a pod")
    clients = {id_: (connect(first, id_), connect(second, id_)) for id_ in (noted, ended)}
    notes = {id_: proxy.add("before", "PATCH", "secrets", f"elara-record-{id_}") for id_ in (noted, ended)}
    requests = {id_: clients[id_][0].send_execute("print one") for id_ in (noted, ended)}
    for rule in notes.values():
        rule.wait()

    others = clients[noted][1].send_execute("print two")  # the cell of the other gateway is noted meanwhile
    name = f"elara-record-{noted}"
    wait_until(lambda: len(record_of(kube.get("Secret", name, places[0])).get("held", [])) == 1, START_S, "the other's note")
    assert second.delete(f"/api/kernels/{ended}").status_code == 204
    wait_until(lambda: state_of(kube, places[0], ended) == "ended", START_S, "the tombstone")
    for rule in notes.values():
        rule.release()
    wait_until(lambda: len(record_of(kube.get("Secret", name, places[0]))["held"]) == 2, START_S, "both cells on record")

    hollow.act("release", places[1], f"kernel-{noted}-1")
    assert clients[noted][0].collect(requests[noted]).text() == "one\n"
    assert clients[noted][1].collect(others).text() == "two\n"
    wait_until(lambda: "held" not in record_of(kube.get("Secret", name, places[0])), START_S, "a record without them")
    for gateway in (first, second):
        wait_until(lambda one=gateway: one.get(f"/api/kernels/{ended}").status_code == 404, START_S, "the end at both gateways")
    assert state_of(kube, places[0], ended) == "ended"
    wait_one_pod_each(kube, places, [noted])


def test_a_kernel_that_was_ended_is_not_started_anew(start_gateway, proxy, begin, kube, places):
    first = start_gateway(kubeconfig=proxy.kubeconfig)
    second = start_gateway()
    kernel_id = begin(first)
    wait_running(second, [kernel_id])
    wait_running(first, [kernel_id])
    starts = proxy.add("before", "PATCH", "secrets", f"elara-record-{kernel_id}")
    second.kill()
    kube.delete("Pod", f"kernel-{kernel_id}-1", places[1])
    starts.wait()  # the first is about to start it anew, when another ends it
    third = start_gateway()
    assert third.delete(f"/api/kernels/{kernel_id}").status_code == 204
    wait_until(lambda: state_of(kube, places[0], kernel_id) == "ended", START_S, "the tombstone")
    starts.release()
    wait_until(lambda: first.get(f"/api/kernels/{kernel_id}").status_code == 404, START_S, "the end")
    assert "it was shut down" in first.get(f"/api/kernels/{kernel_id}").text
    wait_nothing_left(kube, places)


def test_an_id_that_two_gateways_are_asked_to_start(start_gateway, proxy, begin, kube, places):
    """The second one has seen the first's record before its own is refused, and serves that kernel from then on."""
    other, gateway = start_gateway(), start_gateway(kubeconfig=proxy.kubeconfig)
    kernel_id = str(uuid.uuid4())
    record = f"elara-record-{kernel_id}"
    ours = proxy.add("before", "POST", "secrets", f'"{record}"')
    seen = proxy.add("after", "WATCH", "secrets", record)
    seen.release()
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        answer = threads.submit(gateway.post, "/api/kernels", json={"name": "stub", "env": {"KERNEL_ID": kernel_id}}, timeout=120)
        ours.wait()
        begin(other, kernel_id)
        seen.wait()
        ours.release()
        assert answer.result().status_code == 409
    assert gateway.get(f"/api/kernels/{kernel_id}").json()["id"] == kernel_id
    wait_running(gateway, [kernel_id])
    wait_one_pod_each(kube, places, [kernel_id])


@pytest.mark.parametrize("last", ["secrets", "pods"])
def test_a_gateway_that_slept_brings_back_no_kernel(start_gateway, begin, kube, places, tmp_path, last):
    """When it wakes, the tombstone is gone, too; whether it misses the record first, or the pod."""
    with FaultyApi(tmp_path) as api:
        sleeper, other = start_gateway(kubeconfig=api.kubeconfig), start_gateway("--tombstone-retention", "1s")
        ended, kept = begin(sleeper), begin(sleeper)
        for gateway in (sleeper, other):
            wait_running(gateway, [ended, kept])
        os.kill(sleeper.process.pid, signal.SIGSTOP)
        api.cut()
        assert other.delete(f"/api/kernels/{ended}").status_code == 204
        wait_until(lambda: state_of(kube, places[0], ended) is None, START_S, "the end of the tombstone")
        expired = reply(410, b'{"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}')
        api.add_fault(expired, "/secrets.*watch=")
        api.add_fault(expired, "/pods.*watch=")
        late = api.add_fault(reply(503, b"not yet", {"Content-Type": "text/plain"}), f"GET .*/{last}.*limit=", times=2)
        os.kill(sleeper.process.pid, signal.SIGCONT)
        wait_until(lambda: sleeper.get(f"/api/kernels/{ended}").status_code == 404, START_S, "the end")
        wait_until(lambda: late["left"] == 0, START_S, "the later list")
        wait_running(sleeper, [kept])
        assert state_of(kube, places[0], ended) is None
        wait_one_pod_each(kube, places, [kept])


def test_an_end_that_cannot_be_put_on_record(start_gateway, proxy, begin, end, kube, places):
    gateway = start_gateway(kubeconfig=proxy.kubeconfig)
    kernel_id = begin(gateway)
    wait_running(gateway, [kernel_id])
    busy = proxy.add("busy", "PATCH", "secrets", f"elara-record-{kernel_id}")
    answer = gateway.delete(f"/api/kernels/{kernel_id}", timeout=120)
    assert busy.is_used and answer.status_code == 503
    assert "has ended, but that is not on record yet" in answer.json()["message"]
    assert gateway.get(f"/api/kernels/{kernel_id}").status_code == 404
    wait_until(lambda: state_of(kube, places[0], kernel_id) == "ended", START_S, "the tombstone")
    wait_nothing_left(kube, places)


def test_a_record_that_is_deleted_while_no_gateway_runs(start_gateway, begin, kube, places):
    """Its pod tells of it."""
    gateway = start_gateway(*GRACE)
    kernel_id = begin(gateway)
    wait_running(gateway, [kernel_id])
    gateway.kill()
    kube.delete("Secret", f"elara-record-{kernel_id}", places[0])
    gateway.start()
    wait_nothing_left(kube, places)


def test_a_pod_that_is_seen_before_its_record_is_a_kernel(start_gateway, proxy, begin, kube, places):
    other, gateway = start_gateway(), start_gateway(kubeconfig=proxy.kubeconfig)
    kernel_id = str(uuid.uuid4())
    record = proxy.add("before", "WATCH", "secrets", f"elara-record-{kernel_id}")
    pod = proxy.add("after", "WATCH", "pods", kernel_id)
    begin(other, kernel_id)
    for told in (record, pod):
        told.wait()
    assert gateway.is_ready()  # what came before this was read
    assert gateway.get(f"/api/kernels/{kernel_id}").json()["id"] == kernel_id


@pytest.mark.parametrize("kind, text", [("secrets", '"elara-record-{}"'), ("secrets", '"elara-kernel-{}"'), ("pods", '"kernel-{}-1"')])
def test_a_lost_answer_makes_nothing_twice(start_gateway, proxy, begin, kube, places, kind, text):
    gateway = start_gateway(kubeconfig=proxy.kubeconfig)
    kernel_id = str(uuid.uuid4())
    lost = proxy.add("lose", "POST", kind, text.format(kernel_id))
    begin(gateway, kernel_id)
    lost.wait()
    wait_running(gateway, [kernel_id])
    wait_one_pod_each(kube, places, [kernel_id])
    assert len(records_of(kube, places[0])) == 1


def test_the_gateways_keys_are_deleted_by_hand(start_gateway, stub, connect, kube, places):
    def link_data():
        secret = kube.get("Secret", "elara-link-elara", places[0])
        return secret and secret["data"]

    first = start_gateway()
    old = first.start_kernel(stub)["id"]
    wait_running(first, [old])
    kept = wait_until(link_data, START_S, "the keys")
    kube.delete("Secret", "elara-link-elara", places[0])  # a gateway that has them writes them again
    wait_until(lambda: link_data() == kept, START_S, "the same keys")
    kube.patch("Secret", "elara-link-elara", places[0], {"data": {"link.key": "bm9uZQ=="}})
    wait_until(lambda: link_data() == kept, START_S, "the same keys")

    first.kill()
    kube.delete("Secret", "elara-link-elara", places[0])  # nobody has them any more
    second = start_gateway()
    new = second.start_kernel(stub)["id"]
    wait_running(second, [new])
    client = connect(second, old)
    request = client.send_execute("print on")
    client.receive_until(lambda message: "keys that it accepts are lost" in str(message["content"]))
    kube.patch("Secret", "elara-link-elara", places[0], {"data": kept})  # from a backup
    assert client.collect(request).text() == "on\n"
    wait_until(lambda: "earlier.json" in link_data(), START_S, "both pairs")
    second.kill()
    third = start_gateway()
    for kernel_id in (old, new):
        assert connect(third, kernel_id).run_cell("print there").text() == "there\n"
    assert sorted(pods_of(kube, places[1])) == sorted([f"kernel-{old}-1", f"kernel-{new}-1"])


def test_a_launcher_that_never_speaks_is_given_up(start_gateway, proxy, begin, hollow, kube, places):
    """Its gateway was killed before it could; one that has spoken to any gateway is never given up."""
    first = start_gateway(kubeconfig=proxy.kubeconfig)
    spoke = begin(first)
    wait_running(first, [spoke])
    wait_until(lambda: record_of(kube.get("Secret", f"elara-record-{spoke}", places[0])).get("heard"), START_S, "that it spoke, on record")
    hollow.add_fault("SlowPull")
    silent = begin(first)
    wait_until(lambda: (places[1], f"kernel-{silent}-1") in hollow.pods(), START_S, "the pod")
    proxy.flow.clear()
    hollow.act("release", places[1], f"kernel-{silent}-1")
    kube.wait_for("Pod", f"kernel-{silent}-1", places[1], lambda pod: pod["status"].get("phase") == "Running")
    first.kill()
    launchers = [hollow.pods()[places[1], f"kernel-{kernel_id}-1"]["pid"] for kernel_id in (silent, spoke)]
    for pid in launchers:
        os.kill(pid, signal.SIGSTOP)
    second = start_gateway("--start-deadline", "3s")
    model = second.wait_for_state(silent, "dead", timeout=START_S)
    assert "its launcher has answered no gateway" in model["message"]
    wait_until(lambda: pods_of(kube, places[1]) == [f"kernel-{spoke}-1"], START_S, "the end of the silent pod, and of no other")
    os.kill(launchers[1], signal.SIGCONT)
    wait_running(second, [spoke])


def test_a_secret_of_another_installation_is_left_alone(start_gateway, begin, kube, places):
    gateway = start_gateway()
    kernel_id = str(uuid.uuid4())
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"elara-kernel-{kernel_id}", "labels": {
        "elara.install": "other", "elara.kernel": kernel_id}}, "stringData": {"launch.json": "theirs"}}
    made = kube.create(theirs, places[1])
    begin(gateway, kernel_id)
    wait_until(lambda: gateway.get(f"/api/kernels/{kernel_id}").status_code == 200, START_S, "the kernel")
    model = gateway.wait_for_state(kernel_id, "dead", timeout=START_S)
    assert model["reason"] == "AlreadyExists" and "not of this installation" in model["message"]
    assert kube.get("Secret", made["metadata"]["name"], places[1])["data"] == made["data"]


def test_a_pod_of_somebody_else_is_left_alone(start_gateway, begin, kube, places):
    gateway = start_gateway()
    kernel_id = str(uuid.uuid4())
    name = f"kernel-{kernel_id}-1"
    kube.create(pod(name, "true", image=BUSYBOX, nodeSelector={"elara.test/nowhere": "is"}), places[1])
    begin(gateway, kernel_id)
    wait_until(lambda: gateway.get(f"/api/kernels/{kernel_id}").status_code == 200, START_S, "the kernel")
    model = gateway.wait_for_state(kernel_id, "dead", timeout=START_S)
    assert model["reason"] == "AlreadyExists" and f"A pod {name} is there in namespace {places[1]}, and is not this kernel's" in model["message"]
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    wait_until(lambda: not keys_of(kube, places[1]), START_S, "the end of the key Secret")
    assert "deletionTimestamp" not in kube.get("Pod", name, places[1])["metadata"]
