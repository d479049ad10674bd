"""What users of both gateways see in one story: not how fast, but what happens. docs/migrating-from-jeg.md has it."""
import contextlib
import os
import signal
import tempfile
import time
from pathlib import Path

import websocket

from servers import Elara, Jeg
from support.client import Client, Closed
from support.processes import wait_until

LINES, PERIOD_MS = 20, 100
SHOWN = 45  # characters of a sentence
CULLS = {"Elara": ["--cull-idle-timeout", "3s", "--cull-idle-connected-timeout", "3s", "--cull-interval", "1s", "--cull-warn-before", "1s"],
         "JEG": [f"--RemoteMappingKernelManager.{name}" for name in ("cull_idle_timeout=3", "cull_interval=1", "cull_connected=True")]}


class Side:
    """One of the two. again(): the next gateway, when the first one is gone."""

    def __init__(self, options, name, culls=False):
        self.options, self.name, self.flags, self.left = options, name, CULLS[name] if culls else [], []

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-story-", dir="/tmp")))
        self.server = None
        self.again()
        return self

    def again(self):
        if self.name == "JEG":
            self.server = Jeg(self.options.build, self.folder, *self.flags)
        elif self.server is None:
            self.server = self.stack.enter_context(Elara(self.options.build, *self.flags))
        else:
            self.server.start()

    def end(self, how):
        """Kernels that JEG leaves behind nobody finds again: they are ended in the end."""
        pid = self.server.process.pid
        self.left = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] if self.name == "JEG" else []
        getattr(self.server.process, how)()
        self.server.process.wait(60)

    def __exit__(self, *_):
        if self.name == "JEG":
            self.server.stop()
        for pid in self.left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.stack.close()


def run_counting(side):
    kernel = side.server.start_kernel()
    client = Client(side.server, kernel, timeout=60)
    client.run_cell("print x")
    client.send_execute(f"count {LINES} {PERIOD_MS}")
    client.receive_until(lambda m: m["header"]["msg_type"] == "stream")
    return kernel, client


def kernels_after(how):
    def see(side):
        run_counting(side)[1].drop()
        side.end(how)
        side.again()
        return f"{len(side.server.list_kernels())} of 1"
    return see


def read(client, timeout):
    """All text that comes until it is quiet for so long."""
    text = ""
    with contextlib.suppress(Closed, websocket.WebSocketTimeoutException):
        while True:
            text += client.receive(timeout)["content"].get("text", "")
    return text


def lines_for_a_new_page(side):
    """It comes in the middle of the cell, when the one that had started it is gone."""
    kernel, client = run_counting(side)
    time.sleep(LINES * PERIOD_MS / 2000)
    client.drop()
    with Client(side.server, kernel, timeout=60) as late:
        text = read(late, 2).split()
    return f"{sum(str(number) in text for number in range(LINES))} of {LINES}"


def said_of_a_cull(side):
    """The first of what an open notebook reads, and what its kernel's id answers then."""
    kernel = side.server.start_kernel()
    client = Client(side.server, kernel, timeout=60)
    client.run_cell("print x")
    gone = wait_until(lambda: (answer := side.server.ask(f"/api/kernels/{kernel}")).status_code == 404 and answer.json(), 60, "the cull")
    return "; ".join(text.strip()[:SHOWN] or "nothing" for text in (read(client, 2), gone["reason"]))


STEPS = (("kernels of which the next gateway knows, after SIGTERM", kernels_after("terminate"), False),
         ("the same after kill -9", kernels_after("kill"), False),
         ("lines of a running cell on a page that is new", lines_for_a_new_page, False),
         ("what an open notebook is told of a cull; its id then", said_of_a_cull, True))


def bench_story(options, elara, jeg, table):
    """Gateways of its own: they are killed."""
    for what, see, culls in STEPS:
        seen = []
        for name in ("Elara", "JEG") if jeg else ("Elara",):
            with Side(options, name, culls) as side:
                seen.append(see(side))
        table.add(what, seen[0], *[f"JEG: {one}" for one in seen[1:]])
