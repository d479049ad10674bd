"""One slow client is that client's matter: what a kernel prints meanwhile costs bounded memory and disturbs nobody. And a gateway that was
away for seconds costs a notebook server none of its kernels."""
import contextlib
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from support.notebook_server import Server
from support.processes import wait_until
from support.swarm import Swarm

MIB = 1 << 20
NOTICE = re.compile(r"\[elara\].*?(\d+) messages \((\d+) bytes\) were left out")

# -- a client that never reads --

WINDOW, JOURNAL = 1 * MIB, 16 * MIB
CELLS, OUTPUTS, OUTPUT_BYTES = 100, 40, 100_000  # 400 MB
SLACK = 8 * MIB  # of a process: what the allocator keeps, the other client's window


def memory(pid, name="VmRSS"):
    return int(re.search(name + r":\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


def reset_peak(pid):
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def is_sanitized(pid):
    return "libasan" in Path(f"/proc/{pid}/maps").read_text()


def numbers(cell):
    return [int(text[-11:-1]) for m in cell.of_type("stream") if (text := m["content"]["text"])[-11:-1].isdigit()]


def read_after(stuck, msg_id):
    """What comes until the answer to a question that is asked now: outputs and told ones of each cell, and the stuck one's own cell."""
    asked = stuck.send("kernel_info_request", {})
    counts, own = {}, []
    while True:
        message = stuck.receive(60)
        parent, kind = message["parent_header"].get("msg_id"), message["header"]["msg_type"]
        if parent == asked and kind == "kernel_info_reply":
            return counts, own
        if parent == msg_id:
            own.append(message)
        if kind == "stream":
            seen = counts.setdefault(parent, {"outputs": [], "told": 0})
            notice = NOTICE.search(message["content"]["text"])
            if notice:
                seen["told"] += int(notice[1])
            else:
                seen["outputs"].append(int(message["content"]["text"][-11:-1]))


def test_client_that_never_reads_costs_its_window_and_delays_nobody(start_gateway, connect):
    gateway = start_gateway("--client-window", str(WINDOW), "--journal-size", str(JOURNAL), "--ws-ping-interval", "0")
    kernel_id = gateway.start_kernel()["id"]
    code = f"flood {OUTPUTS} {OUTPUT_BYTES}"
    worker = connect(gateway, kernel_id, v1=True, timeout=60)
    for _ in range(10):  # the journal is full, the worker's window was in use
        worker.run_cell(code)
    launcher = gateway.launcher_pids(kernel_id)[0]
    before = memory(gateway.process.pid)
    for pid in (gateway.process.pid, launcher):
        reset_peak(pid)

    stuck = connect(gateway, kernel_id, v1=True)
    stuck.kernel_info()
    ids, own = [], None
    for number in range(CELLS):  # each was read before the next one begins: the worker is never far behind
        ids.append(worker.send_execute(code))
        cell = worker.collect(ids[-1], timeout=60)
        assert numbers(cell) == list(range(OUTPUTS)), "everything in order, nothing twice"
        assert cell.reply["status"] == "ok" and cell.text("stderr") == ""
        if number == 10:  # what goes to it is full by now, what comes from it is not
            own = stuck.send_execute(code)
            worker.receive_until(lambda m: m["parent_header"].get("msg_id") == own
                                 and m["content"].get("execution_state") == "idle")

    peaks = {"gateway": memory(gateway.process.pid, "VmHWM") - before, "launcher": memory(launcher, "VmHWM")}
    kept = sum(path.stat().st_blocks * 512 for path in (gateway.kernel_directory(kernel_id) / "journal").iterdir())
    print(f"400 MB beside a client that does not read: gateway + {peaks['gateway'] / MIB:.1f} MiB, "
          f"launcher {peaks['launcher'] / MIB:.1f} MiB, journal {kept / MIB:.1f} MiB")
    assert kept <= JOURNAL + JOURNAL / 8
    if not is_sanitized(gateway.process.pid):  # there freed memory is kept for a while
        assert peaks["gateway"] <= WINDOW + SLACK
        assert peaks["launcher"] <= JOURNAL + 3 * SLACK  # its programs and libraries, and a cell on its way in

    # It reads at last: what is kept, and for the rest how much it was.
    counts, of_own = read_after(stuck, own)
    assert [len(counts[cell]["outputs"]) + counts[cell]["told"] for cell in [own, *ids]] == [OUTPUTS] * (CELLS + 1)
    assert counts[own]["told"] > 0 and counts[ids[CELLS // 2]]["told"] > 0, "more was printed than is kept"
    assert counts[ids[-1]] == {"outputs": list(range(OUTPUTS)), "told": 0}, "the newest part is whole"
    assert [m["content"]["status"] for m in of_own if m["header"]["msg_type"] == "execute_reply"] == ["ok"]
    assert [m["content"]["execution_state"] for m in of_own if m["header"]["msg_type"] == "status"][-1] == "idle"
    assert stuck.run_cell("print goes on").text() == "goes on\n"


# -- a notebook server whose gateway is away --

SWARM, NOTEBOOKS = 1000, 20


@pytest.fixture
def home():
    folder = Path(tempfile.mkdtemp(prefix="elara-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def start_notebook(server, number):
    answer = server.request("POST", "/api/sessions", json={"path": f"{number}.ipynb", "type": "notebook", "name": "",
                                                           "kernel": {"name": "stub"}})
    assert answer.status_code == 201, answer.text
    return answer.json()["kernel"]["id"]


def check_models(server, kernels):
    """Whatever the notebook server answers, it is never that a kernel is gone or dead."""
    answers = [server.request("GET", "/api/kernels"), server.request("GET", "/api/sessions")]
    for answer in answers:
        if answer.status_code == 200:
            models = [entry.get("kernel", entry) for entry in answer.json()]
            assert {model["id"] for model in models} == kernels
            assert "dead" not in {model["execution_state"] for model in models}
    return all(answer.status_code == 200 for answer in answers)


def failed_attempts(server, kernel_id, count):
    """Whether it has tried that often in vain: after 1 s, then after 2 s more, then 4."""
    return re.search(rf"\({count + 1}/5\): {kernel_id}", server.log_path.read_text()) is not None


def test_gateway_away_for_seconds_costs_a_notebook_server_no_kernel(build, start_gateway, connect, home, tmp_path):
    with Swarm(build, home / "run", SWARM), contextlib.ExitStack() as stack:
        gateway = start_gateway(home=home)
        server = Server(gateway, tmp_path)
        stack.callback(server.stop)
        kernels = {start_notebook(server, number) for number in range(NOTEBOOKS)}
        clients = {kernel_id: connect(server, kernel_id, timeout=60) for kernel_id in kernels}
        pids = {kernel_id: client.run_cell("pid").text() for kernel_id, client in clients.items()}
        assert check_models(server, kernels)
        everything = len(gateway.get("/api/kernels").json())
        assert everything == SWARM + NOTEBOOKS

        gateway.kill()
        wait_until(lambda: not check_models(server, kernels)
                   and all(failed_attempts(server, kernel_id, 2) for kernel_id in kernels), 30, "each connection's second attempt")
        gateway.start(wait=False)
        wait_until(lambda: check_models(server, kernels), 30, "the notebook server's kernels")
        models = {model["id"]: model for model in gateway.get("/api/kernels").json()}
        assert len(models) == everything and "dead" not in {model["execution_state"] for model in models.values()}

        wait_until(lambda: check_models(server, kernels)
                   and all(gateway.model(kernel_id)["connections"] > 0 for kernel_id in kernels), 40, "its WebSockets")
        assert {kernel_id: client.run_cell("pid").text() for kernel_id, client in clients.items()} == pids
