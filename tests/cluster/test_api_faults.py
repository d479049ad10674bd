"""An API server that goes bad: kernels go on, starts succeed once it is well again, and what cannot be is told in one sentence."""
import json
import threading

import pytest

from kernels import *  # noqa: F403
from kernels import START_S, PodSpecs, make_gateway
from support.client import Client
from testcluster.api_faults import FaultyApi, reply, swell, truncate
from testcluster.hollow import TOLERATIONS, HollowNode

POD = r"POST /api/v1/namespaces/[^/]+/pods\?"
PAGE = b"<html>Please log in</html>"
LATER = "Start the kernel again in a while, and tell the administrator if that does not help."


def status(code, reason, message):
    return json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code}).encode()


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
    (reply(429, status(429, "TooManyRequests", "too many requests"), {"Retry-After": "1"}), "."),
    (reply(410, status(410, "Expired", "too old resource version")), "watch="),
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


@pytest.mark.restarts
def test_an_api_server_that_is_restarted_ends_nothing(running, cluster):
    restart = threading.Thread(target=cluster.restart, args=("kube-apiserver",))
    restart.start()
    check(*running)
    restart.join()
    check(*running)
