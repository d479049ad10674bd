"""The launcher is the kernel's record: when it is killed another one goes on in its place. The kernel's process and what it knew are lost;
its id, its output so far and everybody's place in it are not."""
import contextlib
import json
import os
import shutil
import signal
import sys
import threading

import pytest

from support.processes import is_alive, wait_until

COUNTING = """
import subprocess, sys, time
detached = subprocess.Popen(["sleep", "1000"], start_new_session=True)
child = subprocess.Popen(["sleep", "1000"])
print("pids", detached.pid, child.pid)
for i in range(10**6):
    print("line", i)
    time.sleep(0.01)
"""


def kill_all(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def record_of(gateway, kernel_id):
    return json.loads((gateway.kernel_directory(kernel_id) / "record.json").read_text())


def is_line(number):
    return lambda m: m["header"]["msg_type"] == "stream" and f"line {number}\n" in m["content"]["text"]


class Counting:
    """A kernel whose cell counts, with another cell behind it, and everything its client was shown."""

    def __init__(self, gateway, client, kernel_id):
        self.gateway, self.client, self.kernel_id = gateway, client, kernel_id
        self.seen = []
        self.running = client.send_execute(COUNTING)
        self.waiting = client.send_execute("print('never')")
        self.receive_until(is_line(20))
        words = self.text().split()
        self.children = [int(words[1]), int(words[2])]
        self.launchers = gateway.launcher_pids(kernel_id)
        self.kernels = gateway.kernel_pids(kernel_id)
        assert self.launchers and self.kernels and all(map(is_alive, self.children))

    def receive_until(self, wanted):
        return self.client.receive_until(lambda m: self.seen.append(m) or wanted(m), 30)

    def collect(self, back=None):
        (back or self.client).collect_all([self.running, self.waiting], 40, self.seen.append)

    def of(self, msg_id, *types):
        return [m for m in self.seen if m["parent_header"].get("msg_id") == msg_id and m["header"]["msg_type"] in types]

    def text(self, name="stdout"):
        return "".join(m["content"]["text"] for m in self.of(self.running, "stream") if m["content"]["name"] == name)

    def check(self, *why, restarts=True):
        """Complete lines without a gap, the reason in the cell, and an answer for both."""
        lines = [line for line in self.text().splitlines() if line.startswith("line")]
        assert lines == [f"line {i}" for i in range(len(lines))] and len(lines) > 20
        for text in why:
            assert text in self.text("stderr")
        assert ("It is restarted" in self.text("stderr")) == restarts
        [reply] = self.of(self.running, "execute_reply")
        assert reply["content"]["status"] == "error" and why[0] in reply["content"]["evalue"]
        [reply] = self.of(self.waiting, "execute_reply")
        assert reply["content"]["status"] == "aborted"
        assert self.of(self.running, "status")[-1]["content"]["execution_state"] == "idle"
        wait_until(lambda: not any(map(is_alive, [*self.children, *self.kernels])), what="the end of all that the kernel had")

    def check_runs_again(self, client):
        self.gateway.wait_for_state(self.kernel_id, "idle")
        cell = client.run_cell("print('x' in globals(), 6 * 7)")
        assert cell.text() == "False 42\n" and cell.reply["execution_count"] == 1


@pytest.fixture
def begin(start_gateway, connect):
    def run(*flags, **options):
        gateway = start_gateway(*flags, **options)
        kernel_id = gateway.start_kernel("python3")["id"]
        return Counting(gateway, connect(gateway, kernel_id, session_id="user"), kernel_id)
    return run


def test_launcher_killed(begin, connect):
    counting = begin()
    kill_all(counting.launchers)
    counting.collect()
    counting.check("launcher was killed by signal 9 (SIGKILL", "the kernel ended with it", "variables are lost")
    counting.receive_until(lambda m: m["content"].get("execution_state") == "restarting")
    counting.check_runs_again(counting.client)
    assert record_of(counting.gateway, counting.kernel_id)["restarts"] == 1
    # Another one finds the same journal, in order and without a doubled number.
    messages = [m for m in read_journal(counting.gateway, counting.kernel_id)]
    assert any("line 20\n" in json.dumps(m) or "line 20\\n" in json.dumps(m) for m in messages)


def read_journal(gateway, kernel_id):
    answer = gateway.get(f"/api/kernels/{kernel_id}/journal?limit=100000")
    assert answer.status_code == 200
    rows = [json.loads(line) for line in answer.text.splitlines()]
    numbers = [row["seq"] for row in rows if "seq" in row]
    assert numbers == sorted(set(numbers))
    return rows


def test_launcher_and_kernel_killed_together(begin):
    counting = begin()
    for pid in counting.launchers:
        os.kill(pid, signal.SIGSTOP)  # so that it cannot tell of the kernel's end
    kill_all([*counting.kernels, *counting.launchers])
    counting.collect()
    counting.check("The kernel's launcher was killed by signal 9")
    counting.check_runs_again(counting.client)


def test_kernel_killed(begin):
    counting = begin()
    kill_all(counting.kernels)
    counting.collect()
    counting.children = counting.children[1:]  # a daemon outlives a kernel whose launcher lives: it may be meant to
    counting.check("signal 9")
    counting.check_runs_again(counting.client)


def test_launcher_killed_while_no_gateway_is_there(begin, start_gateway, connect):
    counting = begin()
    counting.gateway.kill()
    kill_all(counting.launchers)
    wait_until(lambda: not any(map(is_alive, counting.launchers)), what="the launcher's end")
    counting.gateway = start_gateway(home=counting.gateway.home)
    assert counting.kernel_id in [model["id"] for model in counting.gateway.get("/api/kernels").json()]
    before = counting.seen
    counting.seen = []
    back = connect(counting.gateway, counting.kernel_id, session_id="user")
    counting.collect(back)
    lines = [line for line in counting.text().splitlines() if line.startswith("line")]
    first = int(lines[0].split()[1])
    assert lines == [f"line {i}" for i in range(first, first + len(lines))], "no gap behind what was acknowledged"
    counting.seen = [m for m in before if m not in counting.seen and not is_repeated(m, counting.seen)] + counting.seen
    counting.check("while no gateway watched it")
    counting.check_runs_again(back)


def is_repeated(message, others):
    return any(other["header"]["msg_id"] == message["header"]["msg_id"] for other in others)


def test_launcher_killed_again_and_again(begin, connect):
    counting = begin()
    gateway, kernel_id = counting.gateway, counting.kernel_id
    for _ in range(2):
        kill_all(gateway.launcher_pids(kernel_id))
        counting.receive_until(lambda m: m["content"].get("execution_state") == "restarting")
        gateway.wait_for_state(kernel_id, "idle")
    kill_all(gateway.launcher_pids(kernel_id))
    model = gateway.wait_for_state(kernel_id, "dead")
    assert "launcher was killed by signal 9" in model["reason"]
    assert read_journal(gateway, kernel_id), "what it said is still there"
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    gateway.wait_for_state(kernel_id, "idle")
    assert connect(gateway, kernel_id).run_cell("print(1)").text() == "1\n"


@pytest.mark.parametrize("is_up", (False, True))
def test_dead_for_good_is_restarted_by_the_user_in_its_journal(begin, connect, is_up):
    counting = begin()
    gateway, kernel_id = counting.gateway, counting.kernel_id
    def is_over():
        """Nothing is left to kill; what was killed may have been no launcher yet, but a kernel before its exec."""
        pids = gateway.launcher_pids(kernel_id)
        kill_all(pids)
        return not pids and "the kernel stays dead" in gateway.log() and gateway.model(kernel_id)["execution_state"] == "dead"

    for _ in range(4 if is_up else 0):  # the last one only keeps the output
        pid = wait_until(lambda: (pid := record_of(gateway, kernel_id)["launcher_pid"]) in gateway.launcher_pids(kernel_id) and pid, what="its record")
        kill_all([pid])
        wait_until(lambda: not is_alive(pid), what="the launcher's end")
    wait_until(is_over, what="its end for good")  # else they are killed in the midst of their start
    assert gateway.wait_for_state(kernel_id, "dead")["reason"]
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    gateway.wait_for_state(kernel_id, "idle")
    assert connect(gateway, kernel_id).run_cell("print(1)").text() == "1\n"
    assert any("line 20" in json.dumps(row) for row in read_journal(gateway, kernel_id))


def test_reboot_ends_the_kernel_but_not_its_output(begin, start_gateway, connect):
    counting = begin()
    counting.gateway.kill()
    kill_all([*counting.launchers, *counting.kernels])
    kill_all(counting.children)
    wait_until(lambda: not any(map(is_alive, counting.launchers)), what="the launcher's end")
    path = counting.gateway.kernel_directory(counting.kernel_id) / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"boot_id": "11111111-2222-3333-4444-555555555555"}))
    counting.gateway = start_gateway(home=counting.gateway.home)
    model = counting.gateway.wait_for_state(counting.kernel_id, "dead")
    assert "machine was restarted" in model["reason"]
    before, counting.seen = counting.seen, []
    back = connect(counting.gateway, counting.kernel_id, session_id="user")
    counting.collect(back)
    counting.seen = [m for m in before if not is_repeated(m, counting.seen)] + counting.seen
    counting.check("machine was restarted", restarts=False)
    assert counting.gateway.post(f"/api/kernels/{counting.kernel_id}/restart").status_code == 200
    counting.check_runs_again(back)


def test_without_restarts_a_lost_launcher_is_a_dead_kernel(begin):
    counting = begin("--restart-limit", "0")
    kill_all(counting.launchers)
    counting.collect()
    counting.check("launcher was killed by signal 9", restarts=False)
    assert "signal 9" in counting.gateway.wait_for_state(counting.kernel_id, "dead")["reason"]


@pytest.mark.parametrize("damage", ["sessions are garbage", "sessions are gone", "journal is gone", "record is gone",
                                    "journal and sessions are gone", "journal is of another version"])
def test_damaged_files_harm_nobody_else(begin, connect, damage):
    counting = begin()
    gateway, kernel_id = counting.gateway, counting.kernel_id
    other = gateway.start_kernel()["id"]
    gateway.wait_for_state(other, "idle")
    directory = gateway.kernel_directory(kernel_id)
    numbering = record_of(gateway, kernel_id)["numbering"]
    last = max(row["seq"] for row in read_journal(gateway, kernel_id) if "seq" in row)
    gateway.process.send_signal(signal.SIGSTOP)  # so that nobody is quicker than the damage
    kill_all(counting.launchers)
    wait_until(lambda: not any(map(is_alive, counting.kernels)), what="the kernel's end")
    if damage == "sessions are garbage":
        (directory / "sessions").write_bytes(b"\x5a" * 5000)
    elif damage == "sessions are gone":
        (directory / "sessions").unlink()
    elif damage == "journal is gone":
        shutil.rmtree(directory / "journal")
    elif damage == "journal and sessions are gone":
        shutil.rmtree(directory / "journal")
        (directory / "sessions").unlink()
    elif damage == "journal is of another version":
        set_version(directory / "journal", 4)
    else:
        (directory / "record.json").unlink()
    gateway.process.send_signal(signal.SIGCONT)
    if damage == "record is gone":
        assert gateway.wait_for_state(kernel_id, "dead")["reason"]
        assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    client = connect(gateway, kernel_id)
    gateway.wait_for_state(kernel_id, "idle")
    assert client.run_cell("print(6 * 7)").text() == "42\n"
    is_same = record_of(gateway, kernel_id)["numbering"] == numbering
    assert is_same == (damage not in ("record is gone", "journal and sessions are gone"))
    if damage != "record is gone":
        log = (directory / "launcher.log").read_text()
        assert ("sessions" if "sessions are garbage" in damage else "") in log
    if damage == "journal is of another version":
        assert log.count("version 4 is not 3") == 1 and list((directory / "journal").glob("*.segment.unreadable"))
        assert all(row["seq"] > last for row in read_journal(gateway, kernel_id) if "seq" in row), "no number comes twice"
    kill_all(pid for pid in counting.children if is_alive(pid))
    assert connect(gateway, other).run_cell("print fine").text() == "fine\n"


def set_version(journal, version):
    for path in journal.glob("*.segment"):
        with path.open("r+b") as file:
            file.seek(8)
            file.write(version.to_bytes(4, sys.byteorder))


def test_journal_that_cannot_be_opened_now_is_left_as_it_is(begin, connect):
    counting = begin()
    gateway, kernel_id = counting.gateway, counting.kernel_id
    journal = gateway.kernel_directory(kernel_id) / "journal"
    gateway.process.send_signal(signal.SIGSTOP)
    kill_all(counting.launchers)
    wait_until(lambda: not any(map(is_alive, counting.kernels)), what="the kernel's end")
    last = max(journal.glob("*.segment"))
    last.rename(journal / "kept")
    last.symlink_to(journal / "kept")
    gateway.process.send_signal(signal.SIGCONT)
    reason = gateway.wait_for_state(kernel_id, "dead")["reason"]
    assert str(last) in reason and "Too many levels of symbolic links" in reason and "left as it is" in reason
    assert b"line 20\\n" in (journal / "kept").read_bytes() and last.is_symlink()
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert gateway.wait_for_state(kernel_id, "dead")["reason"] == reason, "rather than without what it said"
    assert last.is_symlink()
    (journal / "kept").rename(last)
    check_goes_on_in_its_journal(gateway, kernel_id, connect)
    kill_all(pid for pid in counting.children if is_alive(pid))


# SIGTERM, as everything gets when a machine, a container or a scope shuts down. Nobody wanted the output to go.

TOLD = "The kernel's launcher was told to end (SIGTERM)"


def tell_to_end(counting, signum=signal.SIGTERM):
    for pid in counting.launchers:
        os.kill(pid, signum)


def check_told(counting):
    """The reason stands in the running cell, before what the interrupt makes of it; both cells have an answer."""
    texts = [m["content"].get("text", "") for m in counting.of(counting.running, "stream", "execute_reply")]
    assert TOLD in "".join(texts[:-1]) and counting.of(counting.running, "execute_reply")[-1]["content"]["status"] == "error"
    assert "It is restarted" not in "".join(texts)
    [reply] = counting.of(counting.waiting, "execute_reply")
    assert reply["content"]["status"] == "aborted"
    wait_until(lambda: not any(map(is_alive, [*counting.children, *counting.kernels])), what="the end of all that the kernel had")


def check_dead_with_its_output(gateway, kernel_id):
    model = gateway.wait_for_state(kernel_id, "dead")
    assert model["reason"].startswith(TOLD)
    rows = wait_until(lambda: gateway.get(f"/api/kernels/{kernel_id}/journal").status_code == 200
                      and read_journal(gateway, kernel_id), what="a launcher that serves the journal")
    assert "line 20\\n" in json.dumps(rows)


def check_goes_on_in_its_journal(gateway, kernel_id, connect):
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    gateway.wait_for_state(kernel_id, "idle")
    assert connect(gateway, kernel_id).run_cell("print('x' in globals(), 6 * 7)").text() == "False 42\n"
    text = json.dumps(read_journal(gateway, kernel_id))
    assert "line 20\\n" in text and "False 42" in text
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    assert not gateway.kernel_directory(kernel_id).exists()


def test_launcher_told_to_end_while_a_gateway_is_there(begin, connect):
    counting = begin()
    gateway, kernel_id = counting.gateway, counting.kernel_id
    tell_to_end(counting)
    counting.collect()
    check_told(counting)
    wait_until(lambda: not any(map(is_alive, counting.launchers)), what="the launcher's end")
    check_dead_with_its_output(gateway, kernel_id)
    assert not gateway.kernel_pids(kernel_id), "nothing is started while the machine goes down"
    keeper = gateway.launcher_pids(kernel_id)
    for pid in keeper:
        os.kill(pid, signal.SIGTERM)  # nor is the reason lost with the launcher that keeps the output
    wait_until(lambda: not any(map(is_alive, keeper)), what="the second launcher's end")
    check_dead_with_its_output(gateway, kernel_id)
    check_goes_on_in_its_journal(gateway, kernel_id, connect)


def test_launcher_told_to_end_that_the_gateway_did_not_hear(begin, start_gateway, connect):
    """It sees only that the process has ended, as when that is quicker than the launcher's last words."""
    counting = begin()
    counting.gateway.kill()
    (counting.gateway.kernel_directory(counting.kernel_id) / "link").unlink()
    gateway = start_gateway(home=counting.gateway.home)
    tell_to_end(counting)
    check_dead_with_its_output(gateway, counting.kernel_id)
    check_goes_on_in_its_journal(gateway, counting.kernel_id, connect)


def test_everything_told_to_end_while_no_gateway_is_there(begin, start_gateway, connect):
    """What the system sends to the kernel itself may arrive first."""
    counting = begin()
    counting.gateway.kill()
    for pid in counting.kernels:
        os.kill(pid, signal.SIGTERM)
    tell_to_end(counting)
    wait_until(lambda: not any(map(is_alive, counting.launchers)), what="the launcher's end")
    assert record_of(counting.gateway, counting.kernel_id)["phase"] == "dead"
    counting.gateway = start_gateway(home=counting.gateway.home)
    check_dead_with_its_output(counting.gateway, counting.kernel_id)
    before, counting.seen = counting.seen, []
    back = connect(counting.gateway, counting.kernel_id, session_id="user")
    counting.collect(back)
    counting.seen = [m for m in before if not is_repeated(m, counting.seen)] + counting.seen
    check_told(counting)
    check_goes_on_in_its_journal(counting.gateway, counting.kernel_id, connect)


def test_launcher_told_to_end_before_its_kernel_answers(start_gateway, specs, connect):
    specs.stub("silent", "--start-delay", "600000")
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("silent")["id"]
    client = connect(gateway, kernel_id)
    waiting = client.send_execute("print never")
    wait_until(lambda: gateway.kernel_pids(kernel_id), what="the kernel's process")
    [launcher] = wait_until(lambda: gateway.launcher_pids(kernel_id), what="its launcher")
    os.kill(launcher, signal.SIGTERM)
    assert gateway.wait_for_state(kernel_id, "dead")["reason"].startswith(TOLD)
    assert TOLD in client.collect(waiting).everything()


def test_gateway_that_does_not_reach_a_launcher_ends_it_for_good(start_gateway, specs):
    specs.stub("stubborn", "--ignore-shutdown", "--ignore-sigint", "--ignore-sigterm")
    first = start_gateway("--shutdown-wait", "2s")
    kernel_id = first.start_kernel("stubborn")["id"]
    first.wait_for_state(kernel_id, "idle")
    first.kill()
    (first.kernel_directory(kernel_id) / "link").unlink()
    gateway = start_gateway(home=first.home)
    deletion = threading.Thread(target=gateway.delete, args=(f"/api/kernels/{kernel_id}",), kwargs={"timeout": 60})
    deletion.start()
    wait_until(lambda: record_of(gateway, kernel_id)["phase"] == "stopping", what="the launcher's shutdown")
    deletion.join()
    assert gateway.get(f"/api/kernels/{kernel_id}").status_code == 404
    assert not gateway.kernel_directory(kernel_id).exists()
