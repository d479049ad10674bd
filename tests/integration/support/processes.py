"""A gateway as a process of its own, with a runtime directory of its own, and everything that it started."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import requests

SANITIZER_REPORT = re.compile(r"((ERROR|WARNING): (Address|Leak|Thread)Sanitizer|runtime error:).*")
START_TIMEOUT = 20
CLEAN = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ")


def wait_until(condition, timeout=10, what="the condition"):
    """Asks again and again until the answer is true; returns the answer."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(0.01)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes_mentioning(text):
    """Pids of the processes that have `text` in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def entries(directory):
    """Paths in it: none when it is gone, which Path.glob() takes for an error if it goes at the wrong moment."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return list(directory.iterdir())
    return []


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def program_of(pid):
    """None: there is no such process any more."""
    try:
        return Path(os.readlink(f"/proc/{pid}/exe")).name
    except OSError:
        return None


class Gateway:
    """elara-gateway. Use it as a context manager: at the end nothing of it is left, and a sanitizer report fails the test."""

    def __init__(self, build, specs, *arguments, environment=None, home=None, prefix=()):
        self.build = Path(build)
        self.specs = specs
        self.arguments = arguments
        self.prefix = prefix  # a command that runs the gateway in other surroundings, and then becomes it
        self.environment = environment or {}
        self.own_home = home is None
        # A short path: the sockets' addresses have room for about 100 bytes.
        self.home = Path(home) if home else Path(tempfile.mkdtemp(prefix="elara-", dir="/tmp"))
        self.runtime = self.home / "run"
        # A confined gateway writes nowhere else; another user's makes that directory itself.
        self.reports = (self.home if prefix else self.runtime) / "sanitizer"
        self.log_path = self.home / "gateway.log"
        self.process = None
        self.port = None
        self.token = None

    # -- life --
    def command(self):
        return [*self.prefix, str(self.build / "elara-gateway"), "--port", str(self.port), "--runtime-dir", str(self.runtime),
                "--kernelspec-dirs", str(self.specs), *self.arguments]

    def start(self, wait=True):
        self.port = self.port or free_port()
        self.reports.parent.mkdir(mode=0o700, exist_ok=True)
        environment = {name: os.environ[name] for name in CLEAN if name in os.environ}
        environment |= {"ASAN_OPTIONS": f"log_path={self.reports}:detect_leaks=1",
                        "UBSAN_OPTIONS": f"log_path={self.reports}:print_stacktrace=1",
                        "ELARA_ROOT_DIR": str(self.home)}
        environment |= self.environment
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=environment, start_new_session=True, cwd=self.home)
        if wait:
            wait_until(self.is_ready, START_TIMEOUT, "the gateway's /readyz")
        return self

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the gateway ended with {self.process.returncode}:\n{self.log()[-3000:]}")
        try:
            return requests.get(self.base + "/readyz", timeout=2).status_code == 200
        except (requests.ConnectionError, requests.Timeout):  # thousands of kernels are being found
            return False

    def kill(self):
        """As the out-of-memory killer does it; what it started lives on."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
            raise AssertionError("the gateway did not end within 15 s after SIGTERM") from None

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.clean()
            raise

    def __exit__(self, kind, *_):
        try:
            status = self.stop()
            self.check()
            assert kind is not None or status in (0, -signal.SIGKILL), f"the gateway ended with {status}"
        finally:
            self.clean()

    def clean(self):
        for _ in range(100):  # a launcher may be starting its kernel right now
            left = processes_mentioning(str(self.home))
            if not left:
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        if self.own_home:
            shutil.rmtree(self.home, ignore_errors=True)

    # -- looking at it --
    @property
    def base(self):
        return f"http://127.0.0.1:{self.port}"

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def kernel_logs(self):
        """{path: text}. A kernel that has just ended takes its own away, file by file."""
        found = {}
        for directory in entries(self.runtime / "kernels"):
            for path in entries(directory):
                if path.suffix == ".log":
                    with contextlib.suppress(FileNotFoundError):
                        found[path] = path.read_text(errors="replace")
        return found

    def print_logs(self):
        """For pytest to show when the test fails."""
        for path, text in {self.log_path: self.log(), **self.kernel_logs()}.items():
            print(f"--- {path}\n{text[-8000:]}")

    def check(self):
        """No sanitizer report anywhere, and the process is there unless it was stopped."""
        texts = [path.read_text(errors="replace") for path in self.reports.parent.glob("sanitizer.*")]
        for text in [*texts, *self.kernel_logs().values(), self.log()]:
            report = SANITIZER_REPORT.search(text)
            assert report is None, text[report.start():report.start() + 6000]

    def kernel_directory(self, kernel_id):
        return self.runtime / "kernels" / kernel_id

    def kernel_pids(self, kernel_id):
        """Of the kernel's processes (those with its connection file in their command line)."""
        return processes_mentioning(str(self.kernel_directory(kernel_id) / "connection"))

    def launcher_pids(self, kernel_id):
        with_id = set(processes_mentioning(kernel_id)) - set(self.kernel_pids(kernel_id))
        return [pid for pid in with_id if program_of(pid) == "elara-launcher"]

    def spawner_pid(self):
        """Of the process that starts its launchers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text() == "elara-spawner\n")

    # -- REST --
    def request(self, method, path, **options):
        headers = options.pop("headers", {})
        if self.token is not None and "Authorization" not in headers:
            headers = {"Authorization": f"token {self.token}", **headers}
        return requests.request(method, self.base + path, headers=headers, timeout=options.pop("timeout", 30), **options)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)

    def delete(self, path, **options):
        return self.request("DELETE", path, **options)

    def start_kernel(self, name="stub", **body):
        """The model of a new kernel."""
        answer = self.post("/api/kernels", json={"name": name, **body})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def model(self, kernel_id):
        answer = self.get(f"/api/kernels/{kernel_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_for_state(self, kernel_id, *states, timeout=20):
        return wait_until(lambda: (model := self.model(kernel_id))["execution_state"] in states and model, timeout,
                          f"the kernel's state {' or '.join(states)}")

    @contextlib.contextmanager
    def kernel(self, name="stub", **body):
        """A kernel's id, for the length of the block."""
        kernel_id = self.start_kernel(name, **body)["id"]
        try:
            yield kernel_id
        finally:
            if self.process.poll() is None:
                self.delete(f"/api/kernels/{kernel_id}")
