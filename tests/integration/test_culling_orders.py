"""Between the decision to end a kernel and its end: somebody uses it, or another gateway has decided the same."""
import base64
import contextlib
import subprocess

import pytest

from support.link import ATTACH, ATTACHED, DETACH, STATUS, WELCOME, Link
from support.link_proxy import LinkProxy
from support.processes import wait_until
from support.swarm import Swarm
from test_culling import QUICK, wait_for_end

NEVER = {**QUICK, "ELARA_CULL_IDLE_TIMEOUT": "0"}
HOUR = 3600 * 1000


def culling(gateway):
    return gateway.get("/api/elara/status").json()["culling"]


# -- the launcher: what an order was decided upon has to be so still --

def connected(gateway, kernel_id):
    directory = gateway.kernel_directory(kernel_id)
    link = Link(directory)
    link.kernel_id = kernel_id
    assert link.hello().kind == WELCOME
    return link


@pytest.fixture
def link(gateway, kernel):
    gateway.wait_for_state(kernel, "idle")
    with connected(gateway, kernel) as link:
        yield link


def test_an_order_ends_what_it_was_decided_upon(gateway, kernel, link):
    for _ in range(3):  # that somebody looks is nothing
        changes = link.command("activity")["changes"]
    assert link.command("record_get")["ok"]
    assert link.command("shutdown", if_unchanged=changes, reason="of the test") == {"ok": True}
    wait_for_end(gateway, kernel)


def attach(link, connect, gateway, kernel):
    link.send(ATTACH, {"session_id": "one", "window": 65536, "from": "live"}, attachment=1)
    link.expect(ATTACHED)


def detach(link, connect, gateway, kernel):
    link.send(DETACH, attachment=1)
    link.expect(STATUS, where=lambda frame: frame.json()["activity"]["unattached_for_ms"] > 0)


def begin_a_cell(link, connect, gateway, kernel):
    client = connect(gateway, kernel)
    client.send_execute("sleep 600000")
    client.receive_until(lambda m: m["header"]["msg_type"] == "execute_input")


def ask_for_a_completion(link, connect, gateway, kernel):
    client = connect(gateway, kernel)
    client.collect(client.send("complete_request", {"code": "pri", "cursor_pos": 3}), reply_type="complete_reply")


COMMANDS = {"keep": {"for_ms": HOUR}, "interrupt": {}, "signal": {"signum": 0}, "restart": {}}


@pytest.mark.parametrize("what", [attach, detach, begin_a_cell, ask_for_a_completion, *COMMANDS],
                         ids=lambda what: what if isinstance(what, str) else what.__name__)
def test_an_order_is_refused_once_something_has_happened(gateway, kernel, link, connect, what):
    if what is detach:
        attach(link, connect, gateway, kernel)
    changes = link.command("activity")["changes"]
    if what in COMMANDS:
        assert link.command(what, **COMMANDS[what])["ok"]
    else:
        what(link, connect, gateway, kernel)
    refused = link.command("shutdown", if_unchanged=changes, reason="of the test")
    assert (refused["ok"], refused["code"]) == (False, "changed") and "in the meantime" in refused["message"]
    assert gateway.model(kernel)["execution_state"] in ("starting", "restarting", "idle", "busy")
    said = [base64.b64decode(entry["message"]) for entry in link.command("journal", max_bytes=1 << 20)["messages"]]
    assert not any(b"of the test" in message for message in said)
    wait_until(lambda: link.command("shutdown", if_unchanged=link.command("activity")["changes"])["ok"], what="an order upon a later look")


def test_a_kernel_is_ended_by_one_order(gateway, kernel, link, connect):
    begin_a_cell(link, connect, gateway, kernel)
    orders = [link.send_command({"command": "shutdown", "id": name, "if_running": True}) for name in ("first", "second", "first")]
    results = [link.result(number) for number in orders]
    assert results[0] == results[2] == {"ok": True}, "the same order twice is one"
    assert results[1]["code"] == "changed" and results[1]["message"] == "The kernel is being ended already."


def test_a_dead_kernel_keeps_its_reason(start_gateway, connect):
    gateway = start_gateway("--restart-limit", "0")
    kernel_id = gateway.start_kernel()["id"]
    connect(gateway, kernel_id).send_execute("exit 3")
    gateway.wait_for_state(kernel_id, "dead")
    with connected(gateway, kernel_id) as link:
        assert link.command("shutdown", if_running=True)["code"] == "changed"
        for bad in ({"if_running": 1}, {"if_unchanged": "7"}, {"if_unchanged": None}):
            refused = link.command("shutdown", **bad)
            assert refused["code"] == "invalid" and next(iter(bad)) in refused["message"]
    assert gateway.model(kernel_id)["execution_state"] == "dead"


# -- the gateway: what is refused lives, and counts nowhere --

def start_idle(start_gateway, count=1, spec="stub"):
    """A gateway that culls nothing, and its kernels."""
    gateway = start_gateway(environment=NEVER)
    kernels = [gateway.start_kernel(spec)["id"] for _ in range(count)]
    for kernel_id in kernels:
        gateway.wait_for_state(kernel_id, "idle", timeout=60)
    return gateway, kernels


@pytest.mark.parametrize("what", ["cell", "mark"])
def test_who_comes_between_decision_and_end_keeps_the_kernel(start_gateway, connect, what):
    """An ipykernel, and an order that is under way while somebody comes through another gateway."""
    first, (kernel_id,) = start_idle(start_gateway, spec="python3")
    client = connect(first, kernel_id, timeout=60)
    client.run_cell("x = 'precious'")
    client.close()
    with LinkProxy(first.kernel_directory(kernel_id)) as proxy:
        second = start_gateway(home=first.home, environment=QUICK)
        wait_until(lambda: proxy.held, 60, "the order")
        if what == "cell":
            client = connect(first, kernel_id, timeout=60)
            sleep = client.send_execute("import time; time.sleep(1000)")
            client.receive_until(lambda m: m["header"]["msg_type"] == "execute_input")
        else:
            assert first.post(f"/api/kernels/{kernel_id}/keep", json={"for": "1h"}).status_code == 200
        assert second.model(kernel_id)["execution_state"] != "dead", "an order is no end"
        proxy.let_go()
        wait_until(lambda: f"kernel {kernel_id}: is not culled after all" in second.log(), 30, "the refusal")
        passes = culling(second)["passes"]
        wait_until(lambda: culling(second)["passes"] > passes + 5, 30, "more passes")
        assert culling(second)["culled"]["idle"] == 0
        if what == "cell":
            assert first.post(f"/api/kernels/{kernel_id}/interrupt").status_code == 204
            client.collect(sleep)
        else:
            client = connect(second, kernel_id, timeout=60)
        assert client.run_cell("print(x)").text() == "precious\n"
        client.close()
        first.post(f"/api/kernels/{kernel_id}/keep", json={"for": 0})
        wait_for_end(second, kernel_id)  # it is decided upon again
        assert culling(second)["culled"]["idle"] == 1


@pytest.mark.parametrize("answers", ["in time", "late"])
def test_of_two_gateways_that_decide_at_once_one_ends_the_kernel(start_gateway, tmp_path, answers):
    first, (kernel_id,) = start_idle(start_gateway)
    with LinkProxy(first.kernel_directory(kernel_id)) as proxy:
        logs = [tmp_path / "second", tmp_path / "third"]
        pair = [start_gateway("--event-log", str(log), home=first.home, environment=QUICK) for log in logs]
        wait_until(lambda: len({gateway for gateway, _ in proxy.held}) == 2, 60, "an order of each")
        proxy.let_go(answers == "in time")
        if answers == "late":  # the kernel has ended, and neither knows yet who it was
            wait_until(lambda: len(proxy.answered) == 2 and first.get(f"/api/kernels/{kernel_id}").status_code == 404, 30, "the end")
            assert all(gateway.model(kernel_id) for gateway in pair)
            assert "nobody was connected" in first.get(f"/api/kernels/{kernel_id}").json()["reason"], "the launcher has told it why"
            proxy.let_go()
        for gateway in pair:  # the one that did not end it may see the end sooner
            wait_until(lambda gateway=gateway: "nobody was connected" in wait_for_end(gateway, kernel_id)["reason"], 10, "the reason")
        wait_until(lambda: sum(culling(gateway)["culled"]["idle"] for gateway in pair) > 0, 10, "the count")
        assert sorted(culling(gateway)["culled"]["idle"] for gateway in pair) == [0, 1]
        assert sorted(log.read_text().count('"culled"') for log in logs) == [0, 1]


# -- elara cull: tells what has ended, and what has not --

@contextlib.contextmanager
def cull_by_hand(build, start_gateway, home, tmp_path, count=1):
    """Gateways that find all kernels due and do not look at them again by themselves, and an `elara cull` that asks each."""
    config = tmp_path / "elara.yaml"
    config.write_text("cull_interval: 100ms\ncull_warn_before: 0\ncull_idle_timeout: 0\n")
    gateways = [start_gateway("--config", str(config), home=home) for _ in range(count)]
    wait_until(lambda: all(culling(gateway)["quiet_ms"] == 0 for gateway in gateways), 30, "clients' time to come back")
    config.write_text("cull_interval: 1h\ncull_warn_before: 0\ncull_idle_timeout: 1ms\n")
    wait_until(lambda: all(culling(gateway)["policy"]["interval_ms"] == HOUR for gateway in gateways), 30, "the settings")
    verbs = [subprocess.Popen([build / "elara", "cull", "--url", gateway.base], stdout=subprocess.PIPE, text=True) for gateway in gateways]
    try:
        yield verbs
    finally:
        for verb in verbs:
            verb.kill()
            verb.wait()


def told(verb):
    """The rows of what has ended, and the lines of what has not."""
    lines = verb.communicate(timeout=60)[0].splitlines()
    assert verb.returncode == 0
    heading = lines and lines[0].split() == ["ID", "WHO", "KERNELSPEC", "ENDED", "RULE"]
    ended = [line.split() for line in lines[1:] if ": " not in line] if heading else []
    return ended, [line for line in lines if ": " in line]


def test_elara_cull_lists_nobody_as_ended_who_was_used_in_that_moment(build, start_gateway, connect, tmp_path):
    first, (used, alone) = start_idle(start_gateway, count=2)
    with LinkProxy(first.kernel_directory(used)) as proxy, cull_by_hand(build, start_gateway, first.home, tmp_path) as (verb,):
        wait_until(lambda: proxy.held, 60, "the order")
        begin_a_cell(None, connect, first, used)
        wait_for_end(first, alone)
        assert verb.poll() is None, "what is not known is not told"
        proxy.let_go()
        ended, stays = told(verb)
        assert [row[:4] for row in ended] == [[alone[:8], "default", "stub", "now"]]
        assert stays == [f"{used[:8]}: It was not ended. The kernel was used, or its clients came or went, in the meantime."]
        assert first.model(used)["execution_state"] == "busy"


def test_of_two_elara_culls_one_has_ended_the_kernel(build, start_gateway, tmp_path):
    first, (kernel_id,) = start_idle(start_gateway)
    with LinkProxy(first.kernel_directory(kernel_id)) as proxy, cull_by_hand(build, start_gateway, first.home, tmp_path, 2) as verbs:
        wait_until(lambda: len({gateway for gateway, _ in proxy.held}) == 2, 60, "an order of each")
        proxy.let_go()
        found = sorted(told(verb) for verb in verbs)
        assert found == [([], [f"{kernel_id[:8]}: It was not ended. The kernel is being ended already."]),
                         ([[kernel_id[:8], "default", "stub", "now", "idle"]], [])]


def test_what_two_gateways_cull_is_counted_once(start_gateway):
    first, kernels = start_idle(start_gateway, count=24)
    eager = {**QUICK, "ELARA_CULL_INTERVAL": "50ms"}
    pair = [start_gateway(home=first.home, environment=eager) for _ in range(2)]
    for gateway in pair:
        for kernel_id in kernels:
            wait_for_end(gateway, kernel_id, 60)
    assert sum(culling(gateway)["culled"]["idle"] for gateway in pair) == len(kernels)


def test_launchers_of_an_earlier_release_are_culled_as_well(build, start_gateway, tmp_path):
    """They know no conditions: their kernel is ended without."""
    gateway = start_gateway(environment=NEVER)
    home = gateway.home
    gateway.stop()
    with Swarm(build, home / "run", 1):
        later = start_gateway(home=home, environment=QUICK)
        wait_until(lambda: culling(later)["culled"]["idle"] == 1, 30, "the end")
        assert "after all" not in later.log()
