"""A notebook as a process of its own, so that it can be frozen: runs cells, comes back with its session whenever its connection breaks, and tells what
it shows in the end.

Reads lines of JSON, {"code": ...}; says {"event": "running"} when the cell's first output is there and, when the cell is done or hopeless,
{"outputs", "replies", "idle", "strays", "taken", "repeated", "connections"}."""
import contextlib
import json
import sys
import time
from pathlib import Path

import requests
import websocket

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "integration"))
from support.notebook import BROKEN, Notebook  # noqa: E402

RETRY_S = 0.05
PATIENCE_S = 120
SILENCE_S = 5


class Target:
    """What Notebook wants to know of a gateway."""

    def __init__(self, port):
        self.port, self.token = port, None


class Viewer(Notebook):
    def __init__(self, port, kernel_id, options):
        self.is_behind_server = options.pop("server", False)
        super().__init__(Target(port), kernel_id, timeout=60, **options)

    def list_kernels(self):
        """As JupyterLab does every few seconds; a notebook server that was started anew learns of its kernels by it."""
        with contextlib.suppress(requests.RequestException):
            requests.get(f"http://127.0.0.1:{self.port}/api/kernels", timeout=10)

    def connect(self):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                return super().connect()
            except websocket.WebSocketBadStatusException as refused:
                if refused.status_code == 404 and not self.is_behind_server:
                    raise  # a notebook forgets its kernel
                self.list_kernels()
            except BROKEN:
                pass
            time.sleep(RETRY_S)
        raise TimeoutError("no connection")

    def take_next(self):
        try:
            self.renderer.take(self.client.receive(SILENCE_S))
        except websocket.WebSocketTimeoutException:
            self.reset()  # half open, perhaps
            self.connect()
        except BROKEN:
            self.connect()

    def settle(self):
        """Over a connection that works: what is sent into a broken one was never sent."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                msg_id = self.client.send("kernel_info_request", {})
                while True:
                    message = self.client.receive(SILENCE_S)
                    self.renderer.take(message)
                    if message["header"]["msg_type"] == "kernel_info_reply" and message["parent_header"]["msg_id"] == msg_id:
                        return
            except websocket.WebSocketTimeoutException:
                self.reset()
                self.connect()
            except BROKEN:
                self.connect()
        raise TimeoutError("the kernel answers nothing")

    def run(self, code):
        self.settle()
        self.renderer.strays.clear()
        taken, repeated, connections = self.renderer.taken, self.renderer.repeated, self.connections
        _, cell = self.execute(code)
        deadline = time.monotonic() + PATIENCE_S
        is_told = False
        while not cell.is_done and time.monotonic() < deadline:
            self.take_next()
            if cell.outputs and not is_told:
                is_told = True
                tell({"event": "running"})
        tell({"outputs": [shown(output) for output in cell.outputs], "replies": cell.replies, "idle": cell.is_idle,
              "strays": self.renderer.strays[:3], "taken": self.renderer.taken - taken,
              "repeated": self.renderer.repeated - repeated, "connections": self.connections - connections})


def shown(output):
    if output["output_type"] == "stream":
        return [output["name"], "".join(output["parts"])]
    if output["output_type"] == "error":
        return ["error", output["content"]["evalue"]]
    buffers = [part.hex() for part in output["buffers"]]
    return [output["output_type"], output["content"]["data"].get("text/plain"), *buffers]


def tell(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main():
    port, kernel_id, options = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    viewer = Viewer(port, kernel_id, options)
    tell({"event": "connected"})
    for line in sys.stdin:
        viewer.run(json.loads(line)["code"])


main()
