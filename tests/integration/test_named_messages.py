"""Large messages are named by a local launcher and read by the gateway from the journal's files. Nobody sees the difference, also when the
files are not there, or the launcher dies on the way."""
import os
import re
import signal
from pathlib import Path

from support.processes import wait_until

OUTPUTS, OUTPUT_BYTES = 60, 150_000


def read_from_files(gateway):
    """Bytes that its read calls gave it; what comes over sockets of libzmq does not count here."""
    return int(re.search(r"rchar: (\d+)", Path(f"/proc/{gateway.process.pid}/io").read_text())[1])


def number(message):
    text = message["content"].get("text", "") if message["header"]["msg_type"] == "stream" else ""
    return int(text[-11:-1]) if text[-11:-1].isdigit() else None


def miss_a_flood(gateway, connect, kernel_id):
    """What the session "away" has missed then; the cell's id."""
    away = connect(gateway, kernel_id, session_id="away")
    away.run_cell("print before")
    away.close()
    other = connect(gateway, kernel_id, session_id="other", timeout=60)
    msg_id = other.send_execute(f"flood {OUTPUTS} {OUTPUT_BYTES}")
    other.collect(msg_id)
    other.close()
    return msg_id


def come_back(gateway, connect, kernel_id, msg_id, v1):
    numbers = []
    client = connect(gateway, kernel_id, session_id="away", v1=v1, timeout=60)

    def is_over(message):
        if message["parent_header"].get("msg_id") != msg_id:
            return False
        numbers.append(number(message))
        return message["header"]["msg_type"] == "status" and message["content"]["execution_state"] == "idle"

    client.receive_until(is_over)
    return [n for n in numbers if n is not None]


def test_what_was_missed_is_read_from_the_journal(start_gateway, connect):
    gateway = start_gateway()
    for v1 in (True, False):
        kernel_id = gateway.start_kernel()["id"]
        msg_id = miss_a_flood(gateway, connect, kernel_id)
        before = read_from_files(gateway)
        assert come_back(gateway, connect, kernel_id, msg_id, v1) == list(range(OUTPUTS))
        assert read_from_files(gateway) - before > OUTPUTS * OUTPUT_BYTES / 2


def test_files_that_are_not_there_cost_nothing_but_time(start_gateway, connect):
    gateway = start_gateway()
    kernel_id = gateway.start_kernel()["id"]
    msg_id = miss_a_flood(gateway, connect, kernel_id)
    files = sorted((gateway.kernel_directory(kernel_id) / "journal").glob("*.segment"))
    for file in files[len(files) // 2:]:  # in the middle of the replay
        file.rename(file.with_suffix(".elsewhere"))
    assert come_back(gateway, connect, kernel_id, msg_id, v1=True) == list(range(OUTPUTS))
    assert gateway.log().count("was not where its launcher said") == 1


def test_nothing_is_read_from_files_at_a_small_cap(start_gateway, connect):
    """The cap could take what is only named before it is read."""
    gateway = start_gateway("--journal-size", "1M")
    kernel_id = gateway.start_kernel()["id"]
    clients = [connect(gateway, kernel_id, session_id=session, v1=True, timeout=60) for session in ("one", None)]
    before = read_from_files(gateway)
    msg_id = clients[0].send_execute(f"flood {OUTPUTS} {OUTPUT_BYTES}")
    for client in clients:
        client.receive_until(lambda m: m["header"]["msg_type"] == "status" and m["parent_header"].get("msg_id") == msg_id and
                             m["content"]["execution_state"] == "idle")
    assert read_from_files(gateway) - before < OUTPUT_BYTES


def test_launcher_that_dies_with_messages_named(start_gateway, connect):
    """What it printed before is complete: the files stay as they are, and the next launcher writes none of them again."""
    gateway = start_gateway()
    kernel_id = gateway.start_kernel()["id"]
    other = connect(gateway, kernel_id, session_id="other", timeout=60)
    slow = connect(gateway, kernel_id, session_id="slow", v1=True, timeout=60)
    slow.run_cell("print before")
    msg_id = other.send_execute(f"flood {OUTPUTS} {OUTPUT_BYTES}")
    other.collect(msg_id)
    numbers = [number(slow.receive_until(lambda m: number(m) is not None))]  # the rest waits in buffers and in the journal
    [launcher] = gateway.launcher_pids(kernel_id)
    os.kill(launcher, signal.SIGKILL)
    wait_until(lambda: gateway.launcher_pids(kernel_id) not in ([], [launcher]), 20, "another launcher")
    slow.receive_until(lambda m: numbers.append(number(m)) or (
        m["header"]["msg_type"] == "status" and m["content"]["execution_state"] == "idle" and
        m["parent_header"].get("msg_id") == msg_id))
    assert [n for n in numbers if n is not None] == list(range(OUTPUTS))
