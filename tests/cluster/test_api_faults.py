"""An API server that goes bad: kernels go on, starts succeed once it is well again, and what cannot be is told in one sentence."""
import concurrent.futures
import json
import re
import threading

import pytest

from desk import desk_at
from kernels import *  # noqa: F403
from kernels import START_S, PodSpecs, make_gateway
from support.client import Client
from support.processes import wait_until
from testcluster.api_faults import FaultyApi, reply, swell, truncate
from testcluster.hollow import TOLERATIONS, HollowNode

POD = r"POST /api/v1/namespaces/[^/]+/pods\?"
PAGE = b"<html>Please log in</html>"
LATER = "Start the kernel again in a while, and tell the administrator if that does not help."


def status(code, reason, message):
    return json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code}).encode()


STORM = reply(429, status(429, "TooManyRequests", "too many requests"), {"Retry-After": "1"})
EXPIRED = reply(410, status(410, "Expired", "too old resource version"))
SHOWN = "Starting Python 3: waiting for Kubernetes, which has too much to do at the moment"
UNANSWERED = re.compile(r"Starting Python 3: waiting for Kubernetes, which does not answer \.\.\. \d+ s")
REQUESTS_MAX = 1000000
STARTS = 12
STEP_S = 30  # the gateway asks for so long before it calls a step failed


@pytest.fixture(scope="module")
def stubs(cluster, build, tmp_path_factory):
    with HollowNode(launcher=build / "elara-launcher") as node:
        specs = PodSpecs(tmp_path_factory.mktemp("api") / "kernels")
        argv = [str(build / "tests" / "stub_kernel"), "-f", "{connection_file}"]
        specs.add("stub", "registry.test/stub:1", argv=argv, nodeSelector=node.selector, tolerations=TOLERATIONS)
        yield specs


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    with FaultyApi(tmp_path_factory.mktemp("faulty")) as api:
        yield api


@pytest.fixture
def api(faulty):
    yield faulty
    faulty.mend()


@pytest.fixture(scope="module")
def running(build, stubs, rooms, faulty):
    """A gateway behind it, and the client of a kernel that runs."""
    with make_gateway(build, stubs, rooms, "hollow.test/no-image-is-needed", faulty.kubeconfig, "--kubernetes-allow", "KERNEL_NAMESPACE") as gateway:
        with Client(gateway, gateway.start_kernel("stub")["id"], timeout=START_S) as client:
            assert client.run_cell("print here").text() == "here\n"
            yield gateway, client
        gateway.print_logs()


def check(gateway, client):
    """The kernel that was there works, and another one comes to be."""
    assert client.run_cell("print still here").text() == "still here\n"
    with gateway.kernel("stub") as kernel_id, Client(gateway, kernel_id, timeout=START_S) as other:
        assert other.run_cell("print there").text() == "there\n"


@pytest.mark.parametrize("answer, request_", [
    (STORM, "."),
    (EXPIRED, "watch="),
    (reply(200, json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}).encode() + b"\n"), "watch="),
    (reply(503, b"upstream connect error", {"Content-Type": "text/plain"}), "."),
    (truncate, POD),
    (reply(200, PAGE), POD),
], ids=["429", "410", "410-told-by-the-watch", "503", "truncated", "no-json"])
def test_it_passes(running, api, answer, request_):
    fault = api.add_fault(answer, request_, times=3 if request_ != POD else 1)
    api.cut()
    check(*running)
    assert fault["left"] == 0


def test_a_list_without_items_is_none(running, api):
    api.add_fault(EXPIRED, "/pods.*watch=")
    fault = api.add_fault(reply(200, b'{"kind": "PodList", "metadata": {"resourceVersion": "7"}}'), "GET .*/pods.*limit=")
    api.cut()
    check(*running)
    assert fault["left"] == 0 and "with what is no list" in running[0].log()


@pytest.mark.parametrize("answer", [
    reply(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"}),
    reply(500, status(500, "", "etcdserver: leader changed")),
], ids=["502", "500"])
def test_it_passes_however_long_it_lasts(running, api, answer):
    """More often than a call is repeated: a start that was accepted has until its deadline."""
    fault = api.add_fault(answer, POD, times=7)
    check(*running)
    assert fault["left"] == 0


def test_a_pod_that_is_given_up_goes_however_long_the_api_server_is_away(build, stubs, kube, places, api):
    """Nobody has it any more, and it may hold a GPU."""
    selector = {"elara.test/nowhere": "is"}
    stubs.add("stuck", "registry.test/stub:1", argv=["no-program"], nodeSelector=selector)
    fault = api.add_fault(reply(502, PAGE, {"Content-Type": "text/html"}), "DELETE /api/v1/namespaces/[^/]+/pods/", times=7)
    with make_gateway(build, stubs, places, "hollow.test/no-image-is-needed", api.kubeconfig, "--start-deadline", "2s") as gateway:
        kernel_id = gateway.start_kernel("stuck")["id"]
        assert gateway.wait_for_state(kernel_id, "dead", timeout=START_S)["reason"] == "StartDeadline"
        wait_until(lambda: not kube.list("Pod", places[1]), START_S, "the end of the pod")
    assert fault["left"] == 0


def test_watches_that_are_cut_go_on(running, api):
    api.cut()
    check(*running)


def test_a_trouble_that_swings_is_logged_once(running, api, namespace):
    """In a namespace that a kernel has named, as in the gateway's own."""
    gateway = running[0]
    for cause in (b"one", b"two") * 3:
        api.add_fault(reply(503, cause, {"Content-Type": "text/plain"}), f"GET /api/v1/namespaces/{namespace}/pods")
    with gateway.kernel("stub", env={"KERNEL_NAMESPACE": namespace}) as kernel_id, Client(gateway, kernel_id, timeout=START_S) as client:
        assert client.run_cell("print here").text() == "here\n"
    said = [line for line in gateway.log().splitlines() if f"the kernels' pods in namespace {namespace} can" in line]
    assert [line.rsplit(" ", 1)[1] for line in said] == ["one", "two", "again"], said


@pytest.mark.parametrize("answer, said", [
    (reply(200, PAGE), "the Kubernetes API server {url}, or what stands before it, answers POST {path} with what is no JSON: {page}"),
    (swell, "the Kubernetes API server {url} answers POST {path} with more than 33554432 bytes"),
], ids=["no-json", "enormous"])
def test_what_does_not_pass_is_told(running, api, rooms, answer, said):
    gateway, client = running
    api.add_fault(answer, POD, times=1000)
    kernel_id = gateway.start_kernel("stub")["id"]
    with Client(gateway, kernel_id, timeout=START_S) as other:
        told = other.run_cell("print here").error["evalue"]
    text = said.format(url=f"http://127.0.0.1:{api.http.server_port}", path=f"/api/v1/namespaces/{rooms[1]}/pods", page=PAGE.decode())
    assert told == f"Kubernetes could not be asked for the kernel's pod: {text}. {LATER}"
    model = gateway.model(kernel_id)
    assert (model["reason"], model["message"]) == ("ApiUnavailable", told)
    api.mend()
    check(gateway, client)


def test_an_expired_token_is_told(running, api):
    """That it is read again from its file: test_kube_client.py."""
    api.add_fault(reply(401, status(401, "Unauthorized", "Unauthorized")), "POST ", times=1000)
    answer = running[0].post("/api/kernels", json={"name": "stub"})
    assert answer.status_code == 503, "the client is not forbidden anything"
    assert answer.json() == {"reason": "Unauthorized", "message": (
        f"Kubernetes refuses the kernel's record: the Kubernetes API server http://127.0.0.1:{api.http.server_port} does not accept context "
        f"\"test\" of {api.kubeconfig} (401 Unauthorized): its token or client certificate has expired or is another cluster's. The "
        "administrator has to look at the gateway's credentials.")}
    api.mend()
    check(*running)


@pytest.fixture(scope="module")
def desk(running, tmp_path_factory):
    """Notebooks at that gateway."""
    with desk_at(running[0], tmp_path_factory.mktemp("desk")) as one:
        yield one


def is_well(desk):
    """Another notebook's first cell, and one of a notebook that was open."""
    _, client, request = desk.run("stub")
    assert client.collect(request).text() == "here\n"
    assert desk.clients[0].run_cell("print still here").text() == "still here\n"


def test_in_a_storm_of_refusals_notebooks_wait(desk, api, rooms):
    """Some are on record when it begins and show what they wait for, the others' POST is answered when it is over."""
    is_well(desk)
    steps = api.add_fault(STORM, f"POST /api/v1/namespaces/{rooms[1]}/", times=REQUESTS_MAX)
    shown = [desk.run("stub") for _ in range(STARTS)]
    for _, client, _ in shown:
        client.receive_until(lambda message: SHOWN in str(message["content"]), timeout=STEP_S / 2)
    everything = api.add_fault(STORM, ".", times=REQUESTS_MAX)
    api.cut()
    with concurrent.futures.ThreadPoolExecutor(STARTS) as threads:
        silent = [threads.submit(desk.run, "stub") for _ in range(STARTS)]
        wait_until(lambda: refused(everything) >= 3 * STARTS, START_S, "a storm")
        assert not any(one.done() for one in silent)
        assert refused(steps) >= STARTS
        api.mend()
        shown += [one.result() for one in silent]
    assert {client.collect(request).text() for _, client, request in shown} == {"here\n"}
    is_well(desk)


def display_of(message):
    return message["content"].get("data", {}).get("text/plain", "")


def refused(fault):
    return REQUESTS_MAX - fault["left"]


@pytest.mark.parametrize("answer", [reply(410, status(410, "Expired", "too old resource version")), None], ids=["410", "cut"])
def test_a_watch_that_ends_is_nothing_to_a_notebook(desk, api, answer):
    is_well(desk)
    fault = answer and api.add_fault(answer, "watch=", times=3)
    api.cut()
    is_well(desk)
    assert not fault or fault["left"] == 0


def test_an_expired_token_is_told_in_the_notebook(desk, api, rooms):
    api.add_fault(reply(401, status(401, "Unauthorized", "Unauthorized")), f"POST /api/v1/namespaces/{rooms[1]}/", times=REQUESTS_MAX)
    kernel_id, client, request = desk.run("stub")
    said = client.collect(request).error["evalue"]
    assert said == (
        f"Kubernetes refuses the kernel's key Secret: the Kubernetes API server http://127.0.0.1:{api.http.server_port} does not accept context "
        f"\"test\" of {api.kubeconfig} (401 Unauthorized): its token or client certificate has expired or is another cluster's. The "
        "administrator has to look at the gateway's credentials.")
    model = desk.gateway.wait_for_state(kernel_id, "dead")  # the notebook server may have tried again
    assert (model["reason"], model["message"]) == ("Unauthorized", said)
    api.mend()
    assert desk.server.request("POST", f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert client.run_cell("print again").text() == "again\n"


@pytest.mark.restarts
def test_an_api_server_that_is_restarted_ends_nothing(desk, api, cluster, rooms):
    """Three starts ask it while it is not there: for a record, for a key Secret and for a pod."""
    is_well(desk)
    _, client, _ = desk.open["stub"]
    steps = [("secrets", '"elara-record-', rooms[0]), ("secrets", '"elara-kernel-', rooms[1]), ("pods", '"kernel-', rooms[1])]
    held = [api.add("before", "POST", kind, text) for kind, text, _ in steps]
    api.unmet.clear()
    restart = threading.Thread(target=cluster.restart, args=("kube-apiserver",))
    with concurrent.futures.ThreadPoolExecutor(len(steps)) as threads:
        notebooks = [threads.submit(desk.run, "stub") for _ in steps]
        for rule in held:
            rule.wait()
        restart.start()
        wait_until(lambda: api.unmet, START_S, "a watch that finds no server")
        for rule in held:
            rule.release()
        asked = {f"POST /api/v1/namespaces/{namespace}/{kind}" for kind, _, namespace in steps}
        wait_until(lambda: asked <= {line.partition("?")[0] for line in api.unmet}, START_S, "starts that find no server")
        wait_until(lambda: sum(one.done() for one in notebooks) == 2, START_S, "the two starts that are on record")
        for _, waiting, _ in (one.result() for one in notebooks if one.done()):
            waiting.receive_until(lambda message: UNANSWERED.fullmatch(display_of(message)), timeout=START_S)
        assert client.run_cell("print meanwhile").text() == "meanwhile\n"
        for _, other, request in (one.result() for one in notebooks):
            assert other.collect(request).text() == "here\n"
    restart.join()
    is_well(desk)
