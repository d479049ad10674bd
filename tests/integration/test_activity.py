"""What the launcher knows of who uses a kernel, with real launchers and kernels: the COMMANDs `activity` and `keep`.

A moment is told by the kernel's age at it: it stays the same from look to look, to the millisecond, while nothing happens.
"""
import json
import os
import signal
import sys
import time

import pytest

from support.link import ATTACH, ATTACHED, DETACH, STATUS, WELCOME, Link
from support.processes import Gateway, wait_until
from support.kernelspecs import Specs

HOUR = 3600 * 1000


class Watch:
    """One kernel, seen by its launcher."""

    def __init__(self, gateway, kernel_id):
        self.link = Link(gateway.kernel_directory(kernel_id))
        assert self.link.hello().kind == WELCOME

    def look(self):
        result = self.link.command("activity")
        assert result["ok"], result
        return result

    def moments(self, *names):
        seen = self.look()
        return [seen["age_ms"] - seen[f"{name}_for_ms"] for name in names]

    def until(self, wanted, what, timeout=30):
        def look():
            seen = self.look()
            return seen if wanted(seen) else None
        return wait_until(look, timeout, what)

    def status(self, wanted):
        """The activity of a STATUS that comes unasked."""
        return self.link.expect(STATUS, where=lambda frame: wanted(frame.json()["activity"])).json()["activity"]


@pytest.fixture
def watch():
    opened = []

    def open_watch(gateway, kernel_id):
        opened.append(Watch(gateway, kernel_id))
        return opened[-1]

    yield open_watch
    for one in opened:
        one.link.context.destroy()


@pytest.fixture
def stub(gateway, kernel, client, watch):
    gateway.wait_for_state(kernel, "idle")
    client.kernel_info()
    return watch(gateway, kernel)


def ask(client, msg_type, content=None, channel="shell"):
    msg_id = client.send(msg_type, content or {}, channel)
    return client.collect(msg_id, reply_type=msg_type.replace("_request", "_reply"))


# -- what counts --

def test_what_clients_send_by_themselves_leaves_no_trace(stub, client):
    names = ["untouched", "state", "silent", "at_rest"]
    before = stub.moments(*names)
    for _ in range(3):
        client.kernel_info()
        ask(client, "kernel_info_request", channel="control")
        ask(client, "comm_info_request")
        ask(client, "history_request", {"hist_access_type": "tail", "n": 1})
        ask(client, "create_subshell_request", channel="control")
    seen = stub.look()
    assert seen["state"] == "idle" and not seen["waits_for_input"] and seen["keep_ms"] == 0
    assert [seen["age_ms"] - seen[f"{name}_for_ms"] for name in names] == before


@pytest.mark.parametrize("msg_type, content", [
    ("complete_request", {"code": "pri", "cursor_pos": 3}), ("inspect_request", {"code": "print", "cursor_pos": 2}),
    ("is_complete_request", {"code": "print"}), ("execute_request", {"code": "silence"}),
])
def test_what_somebody_wants_counts(stub, client, msg_type, content):
    before = stub.moments("untouched", "state")
    if msg_type == "execute_request":
        client.run_cell("print x")
    else:
        ask(client, msg_type, content)
    after = stub.moments("untouched", "state")
    assert all(new > old for new, old in zip(after, before, strict=True))


@pytest.mark.parametrize("command", ["interrupt", "signal"])
def test_commands_count(stub, command):
    before = stub.moments("untouched")
    assert stub.link.command(command, signum=0)["ok"]
    assert stub.moments("untouched") > before


def test_a_restart_counts_and_begins_anew(stub, gateway, kernel):
    before = stub.moments("untouched", "state", "silent", "at_rest")
    age = stub.look()["age_ms"]
    assert stub.link.command("restart")["ok"]
    seen = stub.until(lambda seen: seen["state"] == "idle", "the kernel is idle")
    assert seen["age_ms"] > age, "it is the same kernel"
    after = stub.moments("untouched", "state", "silent", "at_rest")
    assert all(new > old for new, old in zip(after, before, strict=True))


def test_output_counts_and_a_run_lasts_from_its_beginning_to_its_end(stub, client):
    idle_since, = stub.moments("state")
    msg_id = client.send_execute("count 3 20")
    client.receive_until(lambda m: m["header"]["msg_type"] == "execute_input")
    busy_since, = stub.moments("state")
    assert busy_since > idle_since
    cell = client.collect(msg_id)
    assert cell.reply["status"] == "ok"
    seen = stub.look()
    assert seen["state"] == "idle"
    assert seen["state_for_ms"] <= seen["silent_for_ms"] < seen["age_ms"] - busy_since


def test_a_run_is_told_unasked(stub, client):
    msg_id = client.send_execute("sleep 30000")
    busy = stub.status(lambda activity: activity["state"] == "busy")
    assert busy["busy_subshells"] == 0 and not busy["waits_for_input"]
    assert stub.link.command("interrupt")["ok"]
    client.collect(msg_id)
    idle = stub.status(lambda activity: activity["state"] == "idle" and activity["age_ms"] >= busy["age_ms"])
    assert idle["untouched_for_ms"] < idle["age_ms"]


def test_a_question_waits_until_it_is_answered(stub, client):
    msg_id = client.send_execute("input name?")
    question = client.receive_until(lambda m: m["header"]["msg_type"] == "input_request")
    seen = stub.until(lambda seen: seen["waits_for_input"], "the question is known")
    assert seen["state"] == "busy"
    asked, = stub.moments("untouched")
    client.send("input_reply", {"value": "Ada", "status": "ok"}, channel="stdin", parent=question["header"])
    client.collect(msg_id)
    seen = stub.look()
    assert not seen["waits_for_input"] and seen["state"] == "idle"
    assert stub.moments("untouched")[0] > asked, "somebody typed it"


def test_a_question_that_is_interrupted_waits_no_more(stub, client):
    msg_id = client.send_execute("input name?")
    stub.until(lambda seen: seen["waits_for_input"], "the question is known")
    assert stub.link.command("interrupt")["ok"]
    client.collect(msg_id)
    assert not stub.look()["waits_for_input"]


# -- who is there --

def test_it_is_known_whether_anybody_is_attached(stub, gateway, kernel, client, connect):
    second = connect(gateway, kernel)
    second.kernel_info()
    assert stub.look()["unattached_for_ms"] == 0
    second.close()
    client.close()
    left = stub.until(lambda seen: seen["unattached_for_ms"] > 0, "both have gone")
    assert left["unattached_for_ms"] < left["age_ms"]
    gone = stub.moments("unattached")
    assert stub.moments("unattached") == gone
    connect(gateway, kernel).kernel_info()
    assert stub.look()["unattached_for_ms"] == 0


def test_gateways_are_told_who_comes_and_goes(gateway, kernel, watch):
    """Also when nothing else is to be told."""
    gateway.wait_for_state(kernel, "idle")
    link = watch(gateway, kernel).link
    for _ in range(2):
        link.send(ATTACH, {"session_id": "one", "window": 65536, "from": "live"}, attachment=1)
        link.expect(ATTACHED)
        assert link.expect(STATUS).json()["activity"]["unattached_for_ms"] == 0
        link.send(DETACH, attachment=1)
        assert link.expect(STATUS).json()["activity"]["unattached_for_ms"] > 0


# -- the keep-alive mark, and what outlives a launcher --

def stopwatch():
    """A function that tells the whole ms since now, by the launcher's clock."""
    begin = time.monotonic()
    return lambda: int((time.monotonic() - begin) * 1000)


def record_of(gateway, kernel_id):
    return json.loads((gateway.kernel_directory(kernel_id) / "record.json").read_text())


def test_a_mark_can_be_set_and_taken_back(stub, gateway, kernel):
    assert stub.link.command("keep", for_ms=4 * HOUR, by="ada") == {"ok": True, "keep_ms": 4 * HOUR}
    assert 0 < stub.status(lambda activity: activity["keep_ms"] > 0)["keep_ms"] <= 4 * HOUR
    assert record_of(gateway, kernel)["marks"]["keep"]["by"] == "ada"
    assert stub.link.command("record_set", set={"marks": None})["ok"], "the launcher's own is not lost by that"
    assert record_of(gateway, kernel)["marks"]["keep"]["by"] == "ada"
    assert stub.link.command("keep", for_ms=HOUR)["keep_ms"] == HOUR
    assert stub.look()["keep_ms"] <= HOUR
    assert stub.link.command("keep", for_ms=0)["keep_ms"] == 0
    assert stub.look()["keep_ms"] == 0 and "keep" not in record_of(gateway, kernel)["marks"]


def test_age_and_mark_outlive_the_launcher(stub, gateway, kernel, client, watch):
    client.run_cell("print x")
    assert stub.link.command("keep", for_ms=HOUR, by="ada")["ok"]
    before = stub.look()
    passed = stopwatch()
    for pid in gateway.launcher_pids(kernel):
        os.kill(pid, signal.SIGKILL)
    client.receive_until(lambda m: m["content"].get("execution_state") == "restarting")
    gateway.wait_for_state(kernel, "idle")
    second = watch(gateway, kernel)
    passed_ms = passed()
    after = second.look()
    assert after["age_ms"] >= before["age_ms"] + passed_ms, "by a clock that never stopped"
    assert abs(after["age_ms"] + after["keep_ms"] - before["age_ms"] - before["keep_ms"]) <= 1
    assert after["untouched_for_ms"] < after["age_ms"] and after["state"] == "idle"
    assert record_of(gateway, kernel)["marks"]["keep"]["by"] == "ada"


def test_a_dead_kernel_is_dead_since_its_death_for_the_next_launcher_as_well(start_gateway, connect, watch):
    gateway = start_gateway("--restart-limit", "0")
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    client.kernel_info()
    client.send_execute("exit 3")
    gateway.wait_for_state(kernel_id, "dead")
    first = watch(gateway, kernel_id)
    seen = first.look()
    died, = first.moments("state")
    passed = stopwatch()
    assert seen["state"] == "dead" and died > 0
    for pid in gateway.launcher_pids(kernel_id):
        os.kill(pid, signal.SIGKILL)

    def look_again():
        try:
            return gateway.launcher_pids(kernel_id) and watch(gateway, kernel_id)
        except AssertionError:
            return None

    second = wait_until(look_again, 30, "another launcher keeps it")
    passed_ms = passed()
    seen_later = second.look()
    assert seen_later["state"] == "dead" and seen_later["state_for_ms"] >= seen["state_for_ms"] + passed_ms
    assert abs(second.moments("state")[0] - died) <= 1
    assert second.link.command("restart")["ok"]
    fresh = second.until(lambda seen: seen["state"] == "idle", "the kernel is idle")
    assert fresh["age_ms"] < seen_later["age_ms"], "the time it was dead made nobody's kernel old"


# -- a real kernel --

@pytest.fixture(scope="module")
def real_gateway(build, tmp_path_factory):
    specs = Specs(tmp_path_factory.mktemp("activity") / "kernels", build)
    specs.python()
    with Gateway(build, specs) as gateway:
        yield gateway


@pytest.fixture
def real(real_gateway, connect, watch):
    """(what its launcher sees, its client) of an ipykernel."""
    kernel_id = real_gateway.start_kernel("python3")["id"]
    client = connect(real_gateway, kernel_id, timeout=60)
    assert client.kernel_info(timeout=60)["status"] == "ok"
    yield watch(real_gateway, kernel_id), client
    real_gateway.delete(f"/api/kernels/{kernel_id}")


def test_noise_leaves_no_trace_in_ipykernel(real):
    seen_by, client = real
    before = seen_by.moments("untouched", "state")
    for _ in range(3):
        client.kernel_info()
        ask(client, "comm_info_request")
        ask(client, "history_request", {"hist_access_type": "tail", "n": 100, "output": False, "raw": True})
        ask(client, "debug_request", {"type": "request", "command": "debugInfo", "seq": 1}, "control")
    comm = client.send("comm_open", {"comm_id": "c", "target_name": "nobody", "data": {}})
    client.receive_until(lambda m: m["parent_header"].get("msg_id") == comm and m["content"].get("execution_state") == "idle")
    assert seen_by.moments("untouched", "state") == before
    client.run_cell("pass")
    assert all(new > old for new, old in zip(seen_by.moments("untouched", "state"), before, strict=True))


LOOP = "n = 0\nwhile True: n += 1"


@pytest.mark.parametrize("code", [
    f"import threading\nthreading.Thread(target=exec, args=({LOOP!r},), daemon=True).start()",
    f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {LOOP!r}])",
    f"import subprocess, sys\nsubprocess.Popen(['sh', '-c', 'exec \"$0\" -c \"$1\" &', sys.executable, {LOOP!r}]).wait()",
], ids=["thread", "child", "orphan"])
def test_work_behind_an_idle_prompt_is_seen(real, code):
    seen_by, client = real
    assert client.run_cell(code).reply["status"] == "ok"
    for _ in range(2):  # and again: it goes on
        idle, worked = seen_by.moments("state", "at_rest")
        seen_by.until(lambda seen, last=worked: seen["state"] == "idle" and seen["age_ms"] - seen["at_rest_for_ms"] > last, "work")
        assert seen_by.moments("state") == [idle]


def test_a_loop_in_a_cell_works_and_a_sleep_rests(real):
    seen_by, client = real
    sleep = client.send_execute("import time; time.sleep(1000)")
    client.receive_until(lambda m: m["header"]["msg_type"] == "execute_input")
    before = seen_by.moments("at_rest")
    resting = seen_by.until(lambda seen: seen["state_for_ms"] > 3000, "three seconds of a cell")
    assert resting["state"] == "busy" and resting["at_rest_for_ms"] >= 3000
    assert seen_by.moments("at_rest") == before
    assert seen_by.link.command("interrupt")["ok"]
    client.collect(sleep)
    loop = client.send_execute(LOOP)
    seen_by.until(lambda seen: seen["state"] == "busy" and seen["at_rest_for_ms"] < seen["state_for_ms"], "work in a cell")
    assert seen_by.link.command("interrupt")["ok"]
    client.collect(loop)


def test_a_thread_that_prints_behind_an_idle_prompt_is_heard(real, tmp_path):
    seen_by, client = real
    go = tmp_path / "go"
    client.run_cell(f"""
import os, threading, time
def speak():
    while not os.path.exists({str(go)!r}): time.sleep(0.02)
    print("at last", flush=True)
threading.Thread(target=speak, daemon=True).start()""")
    idle, silent = seen_by.moments("state", "silent")
    go.touch()
    client.receive_until(lambda m: m["content"].get("text") == "at last\n")
    after = seen_by.moments("state", "silent")
    assert after[0] == idle and after[1] > max(idle, silent)


def test_a_question_to_ipykernel(real):
    seen_by, client = real
    msg_id = client.send_execute("name = input('who? ')")
    question = client.receive_until(lambda m: m["header"]["msg_type"] == "input_request")
    assert seen_by.until(lambda seen: seen["waits_for_input"], "the question")["state"] == "busy"
    client.send("input_reply", {"value": "Ada", "status": "ok"}, channel="stdin", parent=question["header"])
    client.collect(msg_id)
    assert not seen_by.look()["waits_for_input"]


def test_comm_noise_that_lasts_is_work(real, tmp_path):
    """A widget that computes: nobody ran a cell, but the kernel is busy."""
    seen_by, client = real
    go = tmp_path / "go"
    client.run_cell(f"""
import os, time
def compute(comm, message):
    while not os.path.exists({str(go)!r}): time.sleep(0.02)
get_ipython().kernel.comm_manager.register_target("slow", compute)""")
    idle, touched = seen_by.moments("state", "untouched")
    comm = client.send("comm_open", {"comm_id": "c", "target_name": "slow", "data": {}})
    client.receive_until(lambda m: m["parent_header"].get("msg_id") == comm and m["content"].get("execution_state") == "busy")
    busy = seen_by.until(lambda seen: seen["state"] == "busy", "noise that lasts")
    assert busy["state_for_ms"] >= 1000
    go.touch()
    client.receive_until(lambda m: m["parent_header"].get("msg_id") == comm and m["content"].get("execution_state") == "idle")
    after = seen_by.look()
    assert after["state"] == "idle"
    assert seen_by.moments("state")[0] > idle + 1000 and seen_by.moments("untouched") == [touched]


def test_the_kernel_is_busy_while_a_subshell_is(real):
    seen_by, client = real
    features = client.kernel_info().get("supported_features", [])
    if "kernel subshells" not in features:
        pytest.skip(f"this ipykernel has no subshells (Python {sys.version_info[:2]})")
    shells = [ask(client, "create_subshell_request", channel="control").reply["subshell_id"] for _ in range(2)]
    assert seen_by.look()["busy_subshells"] == 0

    def execute(shell, code):
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
                   "stop_on_error": True}
        header = client.header("execute_request", subshell_id=shell)
        return client.send("execute_request", content, header=header)

    client.run_cell("import threading; gates = [threading.Event(), threading.Event()]")
    runs = [execute(shell, f"gates[{i}].wait()") for i, shell in enumerate(shells)]
    seen_by.until(lambda seen: seen["busy_subshells"] == 2, "both are at work")
    busy, = seen_by.moments("state")
    client.collect_all([runs[0], client.send_execute("gates[0].set()")])
    seen = seen_by.look()
    assert seen["state"] == "busy" and seen["busy_subshells"] == 1
    assert seen_by.moments("state") == [busy], "without a pause"
    client.collect_all([runs[1], client.send_execute("gates[1].set()")])
    seen = seen_by.look()
    assert seen["state"] == "idle" and seen["busy_subshells"] == 0
