"""More than the journal keeps, and more than the disk takes: what is left out is said in its cell, and nothing stops."""
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from support.processes import wait_until

NOTICE = re.compile(r"\[elara\].*?(\d+) messages \((\d+) bytes\) were left out")
DISK = "takes no more"


def notices(cell):
    return [tuple(map(int, match)) for match in NOTICE.findall(cell.text("stderr"))]


def wait_for(path):
    """The beginning of a cell that goes on when the file is there."""
    return f"import os, time\nwhile not os.path.exists({str(path)!r}): time.sleep(0.01)\n"


def test_cell_that_said_more_than_is_kept_while_nobody_was_there(start_gateway, specs, connect, tmp_path):
    specs.python()
    gateway = start_gateway("--journal-size", "2M")
    kernel_id = gateway.start_kernel("python3")["id"]
    go, done = tmp_path / "go", tmp_path / "done"
    client = connect(gateway, kernel_id, session_id="user", timeout=60)
    before = client.run_cell("print('before')")
    assert before.text() == "before\n"
    msg_id = client.send_execute(
        "from IPython.display import display, HTML\n" + wait_for(go) +
        "for i in range(20000): print(f'line {i} ' + 'x' * 1000, flush=True)\n"
        f"display(HTML('<b>figure</b>'))\nopen({str(done)!r}, 'w').close()\n6 * 7")
    client.receive_until(lambda m: m["header"]["msg_type"] == "execute_input")
    client.close()
    go.touch()
    wait_until(done.exists, 120, "the cell's end")
    cell = connect(gateway, kernel_id, session_id="user", timeout=60).collect(msg_id)

    lines = [int(n) for n in re.findall(r"line (\d+) x", cell.text())]
    assert lines == list(range(lines[0], 20000)) and len(lines) > 100  # the last part, whole
    told = notices(cell)
    assert len(told) == 1 and told[0][0] > 1000 and told[0][1] > 20_000_000 / 2
    assert all(m["parent_header"]["msg_id"] == msg_id for m in cell.messages)
    assert len(cell.of_type("display_data")) == 1 and len(cell.of_type("execute_result")) == 1
    assert cell.of_type("execute_result")[0]["content"]["data"]["text/plain"] == "42"
    assert cell.reply["status"] == "ok" and cell.is_idle


def test_each_message_is_there_or_told(start_gateway, connect):
    """The stub's messages can be counted: what came and what was told is all."""
    gateway = start_gateway("--journal-size", "1M")
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id, session_id="user")
    client.run_cell("print before")
    client.close()
    other = connect(gateway, kernel_id, session_id="other")
    ids = [other.send_execute(f"flood 5000 200\nprint end {i}") for i in range(3)]
    other.collect_all(ids, timeout=60)
    back = connect(gateway, kernel_id, session_id="user")
    seen = {msg_id: [0, 0, False] for msg_id in ids}  # messages, told, idle

    def all_idle(message):
        counts = seen.get(message["parent_header"].get("msg_id"))
        if counts is None:
            return False
        content, kind = message["content"], message["header"]["msg_type"]
        if kind == "stream":
            found = NOTICE.search(content["text"])
            if found:
                counts[1] += int(found[1])
            else:
                counts[0] += 1
        elif kind == "status" and content["execution_state"] == "idle":
            counts[2] = True
        return all(idle for _, _, idle in seen.values())

    back.receive_until(all_idle, 30)
    assert [messages + told for messages, told, _ in seen.values()] == [5001] * 3
    assert seen[ids[0]][1] == 5001 and seen[ids[2]][0] > 100


def test_kernelspec_sets_how_much_is_kept(start_gateway, specs, connect):
    specs.stub("large", metadata={"elara": {"journal_bytes": 32 << 20}})
    gateway = start_gateway("--journal-size", "1M")
    for name, is_whole in (("stub", False), ("large", True)):
        kernel_id = gateway.start_kernel(name)["id"]
        client = connect(gateway, kernel_id, session_id="user")
        client.run_cell("print before")
        client.close()
        other = connect(gateway, kernel_id, session_id="other")
        flood = other.send_execute("flood 10000 200")
        other.collect_all([flood], timeout=60)
        back = connect(gateway, kernel_id, session_id="user")
        first = back.receive_until(lambda m: m["header"]["msg_type"] == "stream" and m["parent_header"]["msg_id"] == flood)
        assert (NOTICE.search(first["content"]["text"]) is None) == is_whole


@pytest.fixture
def small_disk():
    """A file system of 24 MiB."""
    path = Path(tempfile.mkdtemp(prefix="elara-", dir="/tmp"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "elara-tests", path], capture_output=True,
                             text=True, check=False)
    if mounted.returncode != 0:
        path.rmdir()
        pytest.skip(f"machine limit: no tmpfs can be mounted: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)
    shutil.rmtree(path, ignore_errors=True)


def fill(path):
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def journal_files(gateway, kernel_id):
    return sorted((gateway.kernel_directory(kernel_id) / "journal").glob("*.segment"))


def test_full_disk_stops_nothing(small_disk, start_gateway, specs, connect):
    specs.python()
    gateway = start_gateway("--journal-size", "16M", home=small_disk)
    kernel_id = gateway.start_kernel("python3")["id"]
    client = connect(gateway, kernel_id, session_id="user", timeout=60)
    assert client.run_cell("print('before')").text() == "before\n"
    pids = gateway.launcher_pids(kernel_id) + gateway.kernel_pids(kernel_id)
    fill(small_disk / "filler")
    assert os.statvfs(small_disk).f_bavail == 0
    code = "for i in range(8000): print(f'line {i} ' + 'x' * 1000, flush=True)\n'the end'"
    texts = []
    for _ in range(2):
        cell = client.run_cell(code, timeout=120)
        assert [int(n) for n in re.findall(r"line (\d+) x", cell.text())] == list(range(8000))
        assert cell.reply["status"] == "ok" and len(cell.of_type("execute_result")) == 1
        texts.append(cell.text("stderr"))
    assert texts[0].count(DISK) == 1 and "No space left on device" in texts[0]
    assert texts[1] == ""
    files = journal_files(gateway, kernel_id)

    (small_disk / "filler").unlink()
    assert client.run_cell(code, timeout=120).text("stderr") == ""
    wait_until(lambda: sum(path.stat().st_size for path in journal_files(gateway, kernel_id)) > 8 << 20, 30,
               f"the journal's return to the disk, where it had {files}")
    assert gateway.launcher_pids(kernel_id) + gateway.kernel_pids(kernel_id) == pids
