"""Three gateways behind a random balancer, one of them killed every few seconds, under cells that count and requests that start and end kernels."""
import contextlib
import os
import random
import re
import signal
import sys
import threading
import time
import uuid

import pytest
import requests

from kernels import *  # noqa: F403
from kernels import ROOT, START_S, pods_of, record_of, records_of
from support.balancer import Balancer
from support.processes import wait_until
from testcluster.api_proxy import ApiProxy
from testcluster.audit import Account
from testcluster.hollow import TOLERATIONS

sys.path.insert(0, str(ROOT / "tests" / "chaos"))
from chaos import CELLS, Notebook, compare  # noqa: E402

REPLICAS = 3
PAUSE_S = (1.0, 4.0)  # between two kills
DOWN_S = (0.0, 1.5)
AGAIN_S = 0.05
END_S = 300  # for what is under way when the time is over
CELL_FORMS = {"text": (150, 600), "buffers": (100, 300), "progress": (200, 400), "big": (5, 10)}
SHARES = {"text": 5, "buffers": 3, "progress": 2, "big": 1}


class Trial:
    """What runs at the same time. A thread that finds something wrong notes it, and all end."""

    def __init__(self, gateways, seconds, seed):
        self.gateways = gateways
        self.random = random.Random(seed)
        self.balancer = Balancer(gateways, seed)
        self.deadline = time.monotonic() + seconds
        self.problems = []
        self.counts = dict.fromkeys(("kills", "cells", "messages", "repeated", "connections", "kernels", "lists", "waits"), 0)
        self.sending = []  # a lock for each notebook: what a gateway has read and not yet passed on goes with it
        self.kept = set()  # ids of the kernels that are there from the beginning to the end
        self.threads = []

    def goes_on(self):
        return not self.problems and time.monotonic() < self.deadline

    def spawn(self, function, *arguments):
        def run():
            try:
                function(*arguments)
            except BaseException as error:  # noqa: BLE001: whatever it is fails the test
                self.problems.append(f"{function.__name__}: {type(error).__name__}: {str(error)[:3000]}")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.threads.append(thread)

    def join(self):
        for thread in self.threads:
            thread.join(max(0, self.deadline - time.monotonic()) + END_S)
            if thread.is_alive():
                self.problems.append(f"{thread} does not end")

    def tell_logs(self):
        """What the gateways' logs say of the kernels that the problems name."""
        ids = {kernel_id for problem in self.problems for kernel_id in re.findall("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", problem)}
        for number, gateway in enumerate(self.gateways):
            lines = [line for line in gateway.log().splitlines() if any(kernel_id in line for kernel_id in ids)]
            print(f"--- gateway {number}, of the kernels with problems", *lines[-200:], sep="\n")

    # -- requests through the balancer --
    def ask(self, method, path, **options):
        """The answer of whichever gateway; 503 and broken connections are tried again, as clients do."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            with contextlib.suppress(requests.ConnectionError, requests.Timeout):
                url = f"http://127.0.0.1:{self.balancer.port}{path}"
                answer = requests.request(method, url, timeout=START_S, headers={"Connection": "close"}, **options)
                if answer.status_code != 503:
                    return answer
            self.counts["waits"] += 1
            time.sleep(AGAIN_S)
        raise AssertionError(f"{method} {path}: no answer")

    def listed(self):
        answer = self.ask("GET", "/api/kernels")
        assert answer.status_code == 200, answer.text
        return [model["id"] for model in answer.json()]

    def start(self, spec):
        """An id of the client's own makes the request one that can be repeated."""
        kernel_id = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        answer = self.ask("POST", "/api/kernels", json={"name": spec, "env": {"KERNEL_ID": kernel_id}})
        assert answer.status_code in (201, 409), answer.text
        return kernel_id

    # -- what goes on --
    def kill(self):
        while self.goes_on():
            gateway = self.random.choice(self.gateways)
            with contextlib.ExitStack() as stack:
                for lock in self.sending:
                    stack.enter_context(lock)
                gateway.kill()
            self.counts["kills"] += 1
            time.sleep(self.random.uniform(*DOWN_S))
            gateway.start(wait=self.random.random() < 0.7)
            time.sleep(self.random.uniform(*PAUSE_S))

    def count(self, kernel_id, lock, v1):
        notebook = Notebook(self.balancer, kernel_id, v1=v1)
        try:
            while self.goes_on():
                name = self.random.choices(list(SHARES), weights=SHARES.values())[0]
                code, _, shown = CELLS[name]
                count = self.random.randint(*CELL_FORMS[name])
                with lock:
                    notebook.begin(code.format(count=count))
                result = notebook.read()
                self.counts["cells"] += 1
                self.counts["messages"] += result["taken"]
                self.counts["repeated"] += result["repeated"]
                self.counts["connections"] += result["connections"]
                problem = compare(result, shown(count))
                assert problem is None, f"{name} of {count} on {kernel_id}: {problem}"
        finally:
            notebook.stop()

    def cut(self):
        while self.goes_on():
            time.sleep(self.random.uniform(2, 6))
            with contextlib.ExitStack() as stack:
                for lock in self.sending:
                    stack.enter_context(lock)
                self.random.choice((self.balancer.cut, self.balancer.freeze, self.balancer.swallow))()
            time.sleep(self.random.uniform(0.05, 0.5))
            self.balancer.cut()

    def look(self):
        while self.goes_on():
            ids = self.listed()
            assert len(ids) == len(set(ids)), f"doubled in the list: {ids}"
            assert self.kept <= set(ids), f"missing in the list: {self.kept - set(ids)}"
            self.counts["lists"] += 1
            time.sleep(AGAIN_S)

    def churn(self, spec):
        """Kernels come and go through gateways that come and go."""
        while self.goes_on():
            kernel_id = self.start(spec)
            answer = self.ask("GET", f"/api/kernels/{kernel_id}")
            assert answer.status_code == 200, f"started, then {answer.status_code}: {answer.text}"
            if self.random.random() < 0.7:
                wait_until(lambda: self.state(kernel_id) == "idle", START_S, f"kernel {kernel_id} to be idle")
            answer = self.ask("DELETE", f"/api/kernels/{kernel_id}")
            assert answer.status_code in (204, 404), answer.text
            wait_until(lambda: self.ask("GET", f"/api/kernels/{kernel_id}").status_code == 404, START_S, f"the end of {kernel_id}")
            self.counts["kernels"] += 1

    def state(self, kernel_id):
        answer = self.ask("GET", f"/api/kernels/{kernel_id}")
        assert answer.status_code == 200, answer.text
        model = answer.json()
        assert model["execution_state"] != "dead", model
        return model["execution_state"]


def check_lists(trial):
    """Each gateway has the kernels that were kept, and comes to have no other."""
    def listed(gateway):
        return sorted(model["id"] for model in gateway.get("/api/kernels").json())

    for gateway in trial.gateways:
        wait_until(gateway.is_ready, START_S, "the gateway")
        try:
            wait_until(lambda: listed(gateway) == sorted(trial.kept), START_S, "the list")
        except AssertionError:
            trial.problems.append(f"lists {set(listed(gateway)) ^ trial.kept} too much or too little")


@pytest.fixture
def seconds(request):
    return float(request.config.getoption("--replica-seconds"))


@pytest.fixture
def replicas(start_gateway):
    return [start_gateway() for _ in range(REPLICAS)]


@pytest.fixture
def stub(hollow, specs, build):
    argv = [str(build / "tests" / "stub_kernel"), "-f", "{connection_file}"]
    return specs.add("stub", image="registry.test/stub", argv=argv, nodeSelector=hollow.selector, tolerations=TOLERATIONS)


@pytest.mark.timeout(0)
def test_nothing_is_lost_while_gateways_are_killed(stub, replicas, seconds, kube, places, connect):
    trial = Trial(replicas, seconds, seed=6)
    trial.kept = {trial.start("python3"), trial.start("python3"), trial.start(stub)}
    for kernel_id in trial.kept:
        wait_until(lambda: trial.state(kernel_id) == "idle", 4 * START_S, "the kernels")
        for gateway in replicas:  # a list follows the watch
            wait_until(lambda: kernel_id in [model["id"] for model in gateway.get("/api/kernels").json()], START_S, "the lists")
    trial.deadline = time.monotonic() + seconds
    counting = [kernel_id for kernel_id in trial.kept if trial.ask("GET", f"/api/kernels/{kernel_id}").json()["name"] == "python3"]
    for kernel_id, v1 in zip(counting, (False, True)):
        lock = threading.Lock()
        trial.sending.append(lock)
        trial.spawn(trial.count, kernel_id, lock, v1)
    for function in (trial.kill, trial.cut, trial.look):
        trial.spawn(function)
    for _ in range(2):
        trial.spawn(trial.churn, stub)
    trial.join()
    print(f"in {seconds:.0f} s: {trial.counts}")
    check_lists(trial)
    trial.tell_logs()
    assert trial.problems == []
    for gateway in replicas:
        for kernel_id in counting:
            assert connect(gateway, kernel_id).run_cell("print('served')").text() == "served\n"
        assert all(connect(gateway, kernel_id).kernel_info()["status"] == "ok" for kernel_id in trial.kept)
    # None was started anew, none is there twice, and nothing is left of those that were deleted.
    wait_until(lambda: sorted(pods_of(kube, places[1])) == sorted(f"kernel-{kernel_id}-1" for kernel_id in trial.kept), START_S,
               "the pods that are wanted, and no other")
    states = {record_of(secret)["kernel_id"]: secret["metadata"]["labels"]["elara.state"] for secret in records_of(kube, places[0])}
    assert {kernel_id for kernel_id, state in states.items() if state != "ended"} == trial.kept
    trial.balancer.__exit__()


def test_a_cull_is_one_for_all_gateways(stub, start_gateway, connect, kube, places):
    """One of two culls: everything goes, both know why, and whichever starts the owner's next kernel tells it, once."""
    first = start_gateway(environment={"ELARA_CULL_IDLE_TIMEOUT": "0"})
    second = start_gateway(environment={"ELARA_CULL_INTERVAL": "100ms", "ELARA_CULL_IDLE_TIMEOUT": "2s", "ELARA_CULL_WARN_BEFORE": "0"})
    kernel_id = first.start_kernel(stub)["id"]
    client = connect(first, kernel_id)
    client.kernel_info()
    client.close()
    for gateway in (second, first):
        answer = wait_until(lambda: (found := gateway.get(f"/api/kernels/{kernel_id}")).status_code == 404 and found.json(), START_S, "the end")
        wait_until(lambda: "cull-idle-timeout" in gateway.get(f"/api/kernels/{kernel_id}").json()["reason"], START_S, f"why; was {answer}")
    wait_until(lambda: not pods_of(kube, places[1]), START_S, "the pod's end")
    wait_until(lambda: not kube.list("Secret", places[1]), START_S, "the end of its Secret")
    assert second.get("/api/elara/status").json()["culling"]["culled"]["idle"] == 1
    assert first.get("/api/elara/status").json()["culling"]["culled"]["idle"] == 0
    heir = first.start_kernel(stub)["id"]
    cell = connect(first, heir).run_cell("print heir")
    assert "The kernel that was here before was ended on" in cell.text("stderr") and cell.text() == "heir\n"
    wait_until(lambda: heir in [model["id"] for model in second.get("/api/kernels").json()], START_S, "the heir in the other's list")
    other = second.start_kernel(stub)["id"]
    assert connect(second, other).run_cell("print other").text("stderr") == ""
    assert first.delete(f"/api/kernels/{heir}").status_code == 204
    for gateway in (first, second):
        gateway.kill()
    third = start_gateway()  # it knows what the cluster says, and no more
    last = third.start_kernel(stub)["id"]
    assert connect(third, last).run_cell("print last").text("stderr") == ""


NEVER = {"ELARA_CULL_IDLE_TIMEOUT": "0"}


def tells(cell):
    assert cell.text() == "heir\n"
    return "The kernel that was here before was ended on" in cell.text("stderr")


@pytest.fixture
def cull(stub, start_gateway, connect, kube, places):
    """cull(gateways) gives the id of a kernel that was culled, as these gateways have read in its record, by one that is no more."""
    def cull_(gateways):
        culling = start_gateway(environment={"ELARA_CULL_INTERVAL": "100ms", "ELARA_CULL_IDLE_TIMEOUT": "1s", "ELARA_CULL_WARN_BEFORE": "0"})
        kernel_id = culling.start_kernel(stub)["id"]
        client = connect(culling, kernel_id)
        client.kernel_info()
        client.close()
        wait_until(lambda: "bequest" in record_of(kube.get("Secret", f"elara-record-{kernel_id}", places[0])), START_S, "its bequest")
        later = culling.start_kernel(stub, env={"KERNEL_USERNAME": "somebody"})["id"]  # whose record comes behind
        for gateway in gateways:
            wait_until(lambda one=gateway: later in {model["id"] for model in one.get("/api/kernels").json()}, START_S, "a later record")
            assert "cull-idle-timeout" in gateway.get(f"/api/kernels/{kernel_id}").text, "why it ended"
        culling.kill()
        return kernel_id

    return cull_


@pytest.mark.parametrize("mode", ["before", "after"])
def test_a_gateway_is_killed_as_its_kernel_is_to_tell_why_the_one_before_was_ended(stub, cull, start_gateway, connect, tmp_path, mode):
    with ApiProxy(tmp_path) as proxy:
        first = start_gateway(environment=NEVER, kubeconfig=proxy.kubeconfig)
        claim = proxy.add(mode, "PATCH", "secrets", f"elara-record-{cull([first])}", lambda body: "record.json" in body)
        heir = first.start_kernel(stub)["id"]
        claim.wait()
        first.kill()
    second = start_gateway("--kubernetes-sweep-grace", "1s", environment=NEVER)
    assert tells(connect(second, heir).run_cell("print heir"))
    assert not tells(connect(second, second.start_kernel(stub)["id"]).run_cell("print heir"))


def test_of_two_heirs_at_once_one_tells_why_the_kernel_before_was_ended(stub, cull, start_gateway, connect, kube, places, tmp_path):
    """The second gateway has not heard of the first one's heir when it starts another."""
    with ApiProxy(tmp_path) as proxy:
        first, second = (start_gateway(environment=NEVER, **options) for options in ({}, {"kubeconfig": proxy.kubeconfig}))
        kernel_id = cull([first, second])
        heirs = [str(uuid.uuid4()) for _ in range(2)]
        proxy.add("before", "WATCH", "secrets", f"elara-record-{heirs[0]}")
        told = []
        for gateway, heir in zip((first, second), heirs):
            assert gateway.post("/api/kernels", json={"name": stub, "env": {"KERNEL_ID": heir}}).status_code == 201
            told.append(tells(connect(gateway, heir).run_cell("print heir")))
        assert told == [True, False]
        assert record_of(kube.get("Secret", f"elara-record-{kernel_id}", places[0]))["told_by"] == heirs[0]


def test_two_gateways_that_cull_at_once_act_once(stub, start_gateway, connect, hollow, kube, places, tmp_path):
    account = Account(kube, places, tmp_path / "kubeconfig")
    environment = {"ELARA_CULL_INTERVAL": "100ms", "ELARA_CULL_IDLE_TIMEOUT": "3s", "ELARA_CULL_WARN_BEFORE": "0"}
    gateways = [start_gateway(environment=environment, kubeconfig=account.kubeconfig) for _ in range(2)]
    witness = start_gateway(environment={"ELARA_CULL_IDLE_TIMEOUT": "0"}, kubeconfig=account.kubeconfig)
    kernel_id = witness.start_kernel(stub)["id"]
    for gateway in gateways:
        client = connect(gateway, kernel_id)
        client.kernel_info()
        client.close()
    for gateway in gateways:
        wait_until(lambda: gateway.get(f"/api/kernels/{kernel_id}/why").json()["rule"] == "idle", START_S, "no client")
    account.forget()
    launcher = hollow.pods()[places[1], f"kernel-{kernel_id}-1"]["pid"]
    os.kill(launcher, signal.SIGSTOP)
    for gateway in gateways:
        wait_until(lambda: verdict(gateway, kernel_id) == "cull", 15, "the limit")
        asking = culling(gateway)["passes"] + 2
        wait_until(lambda: culling(gateway)["passes"] >= asking, START_S, "the launcher to be asked")
    decide_at_once(gateways, witness, kernel_id, launcher)
    for gateway in (*gateways, witness):
        wait_until(lambda: "cull-idle-timeout" in gateway.get(f"/api/kernels/{kernel_id}").json().get("reason", ""), START_S, "why it ended")
    wait_until(lambda: not pods_of(kube, places[1]) and not kube.list("Secret", places[1]), START_S, "the end of its pod and Secret")
    (record,) = wait_until(lambda: [item for item in records_of(kube, places[0]) if "unfinished" not in record_of(item)], START_S, "its tombstone")
    assert record["metadata"]["labels"]["elara.state"] == "ended"
    assert sorted(culling(gateway)["culled"]["idle"] for gateway in gateways) == [0, 1]
    assert not [request for request in account.asked() if request.startswith("create")], "it was not started anew"
    told = []
    for gateway in (*gateways, witness):
        heir = gateway.start_kernel(stub)["id"]
        told.append(connect(gateway, heir).run_cell("print heir").text("stderr"))
        for other in (*gateways, witness):
            wait_until(lambda: heir in [model["id"] for model in other.get("/api/kernels").json()], START_S, "the heir in each list")
    assert sum(text.count("The kernel that was here before was ended on") for text in told) == 1


def decide_at_once(gateways, witness, kernel_id, launcher):
    """Both gateways, which have asked the launcher that stands still, get its answer before it gets an order."""
    for gateway in gateways:
        gateway.process.send_signal(signal.SIGSTOP)
    os.kill(launcher, signal.SIGCONT)
    assert witness.get(f"/api/kernels/{kernel_id}/why").json()["fresh"]  # and with it the questions of the two
    os.kill(launcher, signal.SIGSTOP)
    for gateway in gateways:
        gateway.process.send_signal(signal.SIGCONT)
    for gateway in gateways:
        wait_until(lambda: verdict(gateway, kernel_id) == "keep", START_S, "an order, until which it is kept")
    os.kill(launcher, signal.SIGCONT)


def culling(gateway):
    return gateway.get("/api/elara/status").json()["culling"]


def verdict(gateway, kernel_id):
    (found,) = [model for model in gateway.get("/api/elara/kernels").json() if model["id"] == kernel_id]
    return found["verdict"]
