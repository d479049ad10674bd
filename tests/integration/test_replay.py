"""Whatever breaks, and however often within one cell: in the end it shows what an undisturbed run shows."""
import json
import os
import random
import re
import select
import signal

import pytest

from support.notebook import Notebook
from support.processes import is_alive, wait_until
from support.proxy import Proxy

TORNADO = "Tornado/6.4.1"  # a notebook server

COUNT = 2000
COUNTING = f"""
import sys, time
from IPython.display import display
shown = display("begin", display_id="shown")
for i in range({COUNT}):
    print(i)
    if i % 7 == 0:
        sys.stdout.flush()
    if i % 100 == 0:
        shown.update(f"at {{i}}")
    if i % 500 == 0:
        print("error", i, file=sys.stderr, flush=True)
        display(i)
    time.sleep(0.001)
"end"
"""
PROGRESS = f"""
import sys, time
from IPython.display import clear_output, display
print("gone in the end")
for i in range({COUNT // 2}):
    clear_output(wait=True)
    print("progress", i)
    sys.stdout.flush()
    if i % 100 == 50:
        clear_output()
        display(i)
    time.sleep(0.001)
"""


def check_counting(cell):
    assert cell.text() == "".join(f"{i}\n" for i in range(COUNT))
    assert cell.text("stderr") == "".join(f"error {i}\n" for i in range(0, COUNT, 500))
    last = COUNT - COUNT % 100 - (0 if COUNT % 100 else 100)
    assert cell.displays() == [repr(f"at {last}"), *map(str, range(0, COUNT, 500)), "'end'"]


def check_progress(cell):
    assert [output["output_type"] for output in cell.outputs] == ["stream"]
    assert cell.text() == f"progress {COUNT // 2 - 1}\n"


def check_ended(notebook, cell):
    assert cell.is_done and {reply["status"] for reply in cell.replies} == {"ok"}
    assert notebook.renderer.strays == []
    assert not {"restarting", "dead"} & set(notebook.renderer.states), "for which clients show dialogs"
    assert notebook.connections > 2, "it was not disturbed"
    print(f"{notebook.connections} connections; {notebook.renderer.share()}")


class Trouble:
    """The ways in which a notebook's connection ends; each leaves it connected anew."""

    def __init__(self, gateway, notebook, proxy):
        self.gateway, self.notebook, self.proxy = gateway, notebook, proxy

    def reset(self):
        """The client's end breaks: what it had not read is lost, though its TCP had taken it."""
        self.notebook.reset()
        self.notebook.connect()

    def cut(self):
        """Both ends get RST from between."""
        self.proxy.cut()
        self.notebook.read_rest()
        self.notebook.connect()

    def half_open(self):
        """Nothing passes any more; only the client notices. The old connection goes later."""
        self.proxy.freeze()
        self.notebook.reset()
        self.notebook.connect()

    def stopped(self):
        """The client reads nothing until its buffers are full or the kernel has nothing to say; then the line is cut."""
        sock, before = self.notebook.client.socket.sock, -1
        while (now := self.waiting(sock)) != before:
            before = now
            select.select([], [], [], 0.1)
        self.cut()

    @staticmethod
    def waiting(sock):
        import array
        import fcntl
        import termios
        size = array.array("i", [0])
        fcntl.ioctl(sock, termios.FIONREAD, size)
        return size[0]

    def clean(self):
        """With a farewell; what comes meanwhile is not looked at."""
        self.notebook.client.close()
        self.notebook.connect()

    def killed(self):
        self.gateway.kill()
        self.gateway.start()
        self.notebook.connect()

    def swallowed(self):
        """A notebook server reads on for a browser that is gone; another connection of the session comes."""
        self.proxy.swallow()
        self.proxy.wait_swallowed()
        self.notebook.reset()
        self.notebook.connect()


def run_disturbed(gateway, code, ways, times, seed, pauses=(1, 3, 20, 100, 150), **options):
    """The cell after it ran among so many troubles, with so many messages between them as the seed chooses."""
    chance = random.Random(seed)
    with gateway.kernel("python3") as kernel_id, Proxy(gateway.port) as proxy:
        notebook = Notebook(gateway, kernel_id, through=proxy, timeout=60, **options)
        notebook.client.kernel_info(60)
        trouble = Trouble(gateway, notebook, proxy)
        msg_id, cell = notebook.execute(code)
        for _ in range(times):
            assert notebook.read(cell, chance.choice(pauses)), "it broke by itself"
            if cell.is_done:
                break
            getattr(trouble, chance.choice(ways))()
        while not notebook.read(cell):
            notebook.connect()
        check_ended(notebook, cell)
        # And it is still at the same place as the kernel.
        _, after = notebook.execute("print('after')")
        assert notebook.read(after) and after.text() == "after\n"
        notebook.client.close()
        return cell


@pytest.fixture
def gateway(start_gateway):
    return start_gateway()


@pytest.mark.parametrize("v1,way", list(enumerate(["reset", "cut", "half_open", "stopped", "clean", "killed"])))
def test_counting_cell(gateway, way, v1):
    check_counting(run_disturbed(gateway, COUNTING, [way], 6, way, v1=bool(v1 % 2)))


@pytest.mark.parametrize("seed", range(3))
def test_counting_cell_among_everything(gateway, seed):
    ways = ["reset", "cut", "half_open", "stopped", "clean", "killed"]
    check_counting(run_disturbed(gateway, COUNTING, ways, 12, seed, v1=seed == 1))


def test_progress_that_clears_its_output(gateway):
    check_progress(run_disturbed(gateway, PROGRESS, ["reset", "cut", "half_open", "clean"], 8, 7))


@pytest.mark.parametrize("code,check", [(COUNTING, check_counting), (PROGRESS, check_progress)], ids=["counting", "progress"])
def test_notebook_server_that_reads_for_nobody(gateway, code, check):
    check(run_disturbed(gateway, code, ["swallowed", "swallowed", "cut", "killed"], 6, 3, user_agent=TORNADO))


ENDLESS = """
import time
for i in range(10**6):
    print("line", i, flush=True)
    time.sleep(0.005)
"""


@pytest.mark.parametrize("is_gone_first", [True, False], ids=["connection first", "launcher first"])
def test_launcher_is_killed_and_the_notebook_server_had_read_for_nobody(gateway, is_gone_first):
    """What it had swallowed is still unsure for the launcher that goes on."""
    with gateway.kernel("python3") as kernel_id, Proxy(gateway.port) as proxy:
        notebook = Notebook(gateway, kernel_id, through=proxy, timeout=60, user_agent=TORNADO)
        notebook.client.kernel_info(60)
        msg_id, cell = notebook.execute(ENDLESS)
        assert notebook.read(cell, 50)
        proxy.swallow()
        proxy.wait_swallowed()

        def is_lost():
            return gateway.model(kernel_id)["connections"] == 0
        if is_gone_first:
            notebook.reset()
            wait_until(is_lost, what="the connection's end")
        kill_launcher(gateway, kernel_id)
        gateway.wait_for_state(kernel_id, "idle")
        if not is_gone_first:
            notebook.reset()
            wait_until(is_lost, what="the connection's end")
        notebook.connect()
        assert notebook.read(cell)
        assert cell.clears == 1 and notebook.renderer.strays == []
        lines = cell.text().splitlines()
        assert lines == [f"line {i}" for i in range(len(lines))]
        assert cell.text() == kept_text(gateway, kernel_id, msg_id) and len(lines) > 50
        assert [reply["status"] for reply in cell.replies] == ["error"]
        assert "launcher was killed by signal 9" in cell.text("stderr")


def kill_launcher(gateway, kernel_id):
    pids = gateway.launcher_pids(kernel_id)
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, pids)), what="the launcher's end")


def kept_text(gateway, kernel_id, msg_id):
    """What the launcher has of the cell's output."""
    rows = map(json.loads, gateway.get(f"/api/kernels/{kernel_id}/journal?limit=100000").text.splitlines())
    return "".join(row["content"]["text"] for row in rows if row.get("parent_header", {}).get("msg_id") == msg_id
                   and row["header"]["msg_type"] == "stream" and row["content"]["name"] == "stdout")


@pytest.mark.parametrize("user_agent", ["elara-tests", TORNADO])
def test_outputs_of_a_megabyte(gateway, user_agent):
    code = "for i in range(40):\n    print(str(i % 10) * 1_000_000, flush=True)"
    cell = run_disturbed(gateway, code, ["reset", "cut", "clean", "half_open"], 6, 11, (1, 2, 5, 8), user_agent=user_agent)
    assert [(line[0], len(line), len(set(line))) for line in cell.text().splitlines()] == [
        (str(i % 10), 1_000_000, 1) for i in range(40)]


@pytest.mark.parametrize("v1", [False, True], ids=["legacy", "v1"])
def test_binary_buffers(gateway, v1):
    code = """
import time
kernel = get_ipython().kernel
for i in range(300):
    kernel.session.send(kernel.iopub_socket, "display_data", {"data": {"text/plain": str(i)}, "metadata": {}, "transient": {}},
                        parent=kernel.get_parent("shell"), ident=b"display_data", buffers=[bytes([i % 256]) * 20_000, b"", b"\\x00\\xff"])
    time.sleep(0.002)
"""
    cell = run_disturbed(gateway, code, ["reset", "cut", "clean", "half_open"], 8, 13, v1=v1)
    assert cell.displays() == [str(i) for i in range(300)]
    assert [output["buffers"] for output in cell.outputs] == [[bytes([i % 256]) * 20_000, b"", b"\x00\xff"] for i in range(300)]


@pytest.mark.parametrize("way", ["cut", "clean", "killed", "half_open"])
def test_question_is_asked_again_and_answered_once(gateway, way):
    with gateway.kernel("python3") as kernel_id, Proxy(gateway.port) as proxy:
        notebook = Notebook(gateway, kernel_id, through=proxy, timeout=60)
        notebook.client.kernel_info(60)
        trouble = Trouble(gateway, notebook, proxy)
        _, cell = notebook.execute("print('asking')\nprint('Hello', input('who? '))")
        for _ in range(3):
            while not cell.prompts:
                assert notebook.read(cell, 1)
            getattr(trouble, way)()
            if way != "cut":  # the rest of it was not read
                cell.prompts.clear()
        while not cell.prompts:
            assert notebook.read(cell, 1)
        assert len(cell.prompts) == 1 and cell.prompts[0]["content"]["prompt"] == "who? "
        notebook.client.send("input_reply", {"value": "Ada", "status": "ok"}, channel="stdin", parent=cell.prompts[0]["header"])
        cell.prompts.clear()
        wait_until(lambda: gateway.model(kernel_id)["execution_state"] == "idle", 30, "the cell's end")
        getattr(trouble, way)()
        _, after = notebook.execute("print('after')")
        assert notebook.read(after)
        assert cell.is_done and cell.text() == "asking\nHello Ada\n" and cell.prompts == []


LINES = 6000
LONG = f"""
import time
for i in range({LINES}):
    print("line", i, "x" * 1000, flush=True)
    if i % 10 == 0:
        time.sleep(0.005)
"""


def lines_of(cell):
    return [int(number) for number in re.findall(r"line (\d+) x", cell.text())]


@pytest.mark.parametrize("way", ["reset", "cut", "half_open", "clean", "killed"])
def test_cell_that_is_longer_than_the_journal_keeps_what_it_showed(start_gateway, way):
    gateway = start_gateway("--journal-size", "1M")
    with gateway.kernel("python3") as kernel_id, Proxy(gateway.port) as proxy:
        notebook = Notebook(gateway, kernel_id, through=proxy, timeout=60)
        notebook.client.kernel_info(60)
        trouble = Trouble(gateway, notebook, proxy)
        _, cell = notebook.execute(LONG)
        shown = set()
        for count in (100, 1500, 20, 1500):
            notebook.read(cell, count)
            shown.update(lines_of(cell))
            getattr(trouble, way)()
        while not notebook.read(cell):
            notebook.connect()
        told = cell.text("stderr")
        lines = lines_of(cell)
        assert shown <= set(lines) and lines[-1] == LINES - 1
        assert {reply["status"] for reply in cell.replies} == {"ok"} and cell.is_idle
        assert "may stand above already" in told, "it went on where a part of it was gone"
        left_out = sum(map(int, re.findall(r": (\d+) messages", told)))
        assert LINES - len(set(lines)) <= left_out


def test_newcomer_sees_the_cell_that_runs_from_its_start(gateway):
    with gateway.kernel("python3") as kernel_id:
        first = Notebook(gateway, kernel_id, timeout=60)
        first.client.kernel_info(60)
        msg_id, cell = first.execute(COUNTING)
        assert first.read(cell, 100)
        second = Notebook(gateway, kernel_id, timeout=60)
        theirs = second.renderer.cell(msg_id)
        assert second.read(theirs, 5)
        assert second.renderer.states[0] == "busy" and theirs.execution_count is not None
        assert first.read(cell)
        while not theirs.is_idle:
            assert second.read(theirs, 1)
        check_counting(cell)
        check_counting(theirs)
        assert theirs.replies == [] and theirs.clears == 0
        assert second.renderer.repeated == first.renderer.repeated == 0
