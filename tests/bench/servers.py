"""The servers that are measured: a gateway of ours, and Jupyter Enterprise Gateway with the same stub kernel."""
import contextlib
import json
import os
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import requests
import zmq
from jupyter_client.session import Session
from support.kernelspecs import Specs
from support.processes import Gateway, free_port, wait_until

BENCH = Path(__file__).resolve().parent


def cpu_us(pid):
    """CPU time of all threads so far, to the nanosecond as the scheduler counts it."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1000


def status_kib(pid, name):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise LookupError(pid)


def rss_kib(pid):
    return status_kib(pid, "VmRSS")


def pss_kib(pid):
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise LookupError(pid)


def reset_peak(pid):
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_kib(pid):
    """The largest resident memory since reset_peak."""
    return status_kib(pid, "VmHWM")


def journal_bytes(server, kernel):
    """Of the disk."""
    return sum(path.stat().st_blocks * 512 for path in (server.kernel_directory(kernel) / "journal").iterdir())


def wire_client(options, bench, server, *arguments):
    program = Path(options.build) / "tests" / "wire_client"
    done = subprocess.run([program, bench, "127.0.0.1", str(server.port), *map(str, arguments)], capture_output=True,
                          text=True, timeout=600)
    if done.returncode != 0:
        raise SystemExit(f"wire_client {bench}: {done.stderr}")
    return json.loads(done.stdout)


def session_path(kernel):
    """Of a session of its own: one that comes back would first get what it has not acknowledged."""
    return f"/api/kernels/{kernel}/channels?session_id={uuid.uuid4()}"


def kernel_info_over(connection):
    """Waits for the kernel's first answer, over ZeroMQ."""
    session = Session(key=connection["key"].encode(), signature_scheme=connection["signature_scheme"])
    context = zmq.Context()
    shell = context.socket(zmq.DEALER)
    shell.linger = 0
    shell.setsockopt(zmq.RECONNECT_IVL, 1)
    shell.connect(f"tcp://{connection['ip']}:{connection['shell_port']}")
    session.send(shell, "kernel_info_request", {})
    assert shell.poll(20_000), "the bare kernel does not answer"
    shell.close()
    context.term()


@contextlib.contextmanager
def bare_kernel(build):
    """A stub kernel that nobody stands in front of: its connection, the file of it, and when it was started."""
    connection = {"ip": "127.0.0.1", "transport": "tcp", "key": "k" * 32, "signature_scheme": "hmac-sha256"}
    connection |= {f"{channel}_port": free_port() for channel in ("shell", "iopub", "stdin", "control", "hb")}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(connection, file)
        file.flush()
        start = time.monotonic()
        kernel = subprocess.Popen([Path(build) / "tests" / "stub_kernel", "-f", file.name])
        yield connection, file.name, start
        kernel.kill()
        kernel.wait()


def kernel_start_ms(build):
    """Exec of a bare stub kernel to its first kernel_info_reply."""
    with bare_kernel(build) as (connection, _, start):
        kernel_info_over(connection)
        return (time.monotonic() - start) * 1000


class Server:
    """What both servers can do over REST."""

    def start_kernel(self):
        answer = requests.post(self.base + "/api/kernels", json={"name": "stub"}, timeout=60)
        answer.raise_for_status()
        return answer.json()["id"]

    def ask(self, path):
        return requests.get(self.base + path, timeout=60)

    def list_kernels(self):
        return self.ask("/api/kernels").json()

    def end_kernel(self, kernel):
        requests.delete(f"{self.base}/api/kernels/{kernel}", timeout=60)

    def time_start(self, options):
        """POST to the first kernel_info_reply, in ms."""
        done = subprocess.run([Path(options.build) / "tests" / "wire_client", "start", "127.0.0.1", str(self.port), "stub"],
                              capture_output=True, text=True, check=True, timeout=60)
        found = json.loads(done.stdout)
        self.end_kernel(found["kernel_id"])
        return found["ms"]


class Elara(Gateway, Server):
    def __init__(self, build, *arguments, kernels_of=None):
        self.folder = tempfile.TemporaryDirectory(prefix="bench-specs-", dir="/tmp")
        specs = Specs(self.folder.name, kernels_of or build)
        specs.stub()
        super().__init__(build, specs, "--log-level", "WARNING", *arguments)

    start_kernel = Server.start_kernel

    def connection_file(self, kernel):
        self.wait_for_state(kernel, "idle")
        return self.kernel_directory(kernel) / "connection.json"

    def launcher(self, kernel):
        return wait_until(lambda: self.launcher_pids(kernel), what="a launcher")[0]

    def start_idle(self, count):
        kernels = [self.start_kernel() for _ in range(count)]
        for kernel in kernels:
            self.wait_for_state(kernel, "idle")
        return kernels


class Jeg(Server):
    token = None

    def __init__(self, build, folder, *arguments):
        venv = subprocess.run([BENCH.parent / "venv", BENCH / "requirements-jeg.txt"], check=True,
                              capture_output=True, text=True).stdout.split()[-1]
        data = folder / "jeg" / "kernels"
        Specs(data, build).stub()
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        # Its own interpreter runs it, whatever is active here; root must be allowed to ask for kernels.
        environment = {"PATH": f"{venv}/bin:{os.environ['PATH']}", "HOME": str(folder), "JUPYTER_PATH": str(data.parent),
                       "EG_UNAUTHORIZED_USERS": "nobody"}
        self.log = open(folder / "jeg.log", "wb")
        self.process = subprocess.Popen(
            [f"{venv}/bin/jupyter-enterprisegateway", f"--port={self.port}", "--EnterpriseGatewayApp.list_kernels=True",
             "--log-level=ERROR", *arguments], env=environment, cwd=folder, stdout=self.log, stderr=self.log)
        wait_until(self.answers, 60, "Jupyter Enterprise Gateway")

    def answers(self):
        try:
            return requests.get(self.base + "/api", timeout=5).ok
        except requests.ConnectionError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(120)
        self.log.close()
