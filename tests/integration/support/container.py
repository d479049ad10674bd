"""A container, as a kubelet's runtime makes one, of namespaces alone: the launcher is its first process, in a root file
system of its own that is read-only, as any user, without privileges."""
import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest
import zmq

from support.client import DATE, pack_v1, unpack_v1
from support.link import ACK, ATTACH, ATTACHED, MESSAGE, REQUEST, WELCOME, Link
from support.processes import free_port, wait_until

# What a runtime does before it becomes the container's first process: $1 the image, $2 where it is to be mounted, $3 the
# volume, $4 the secrets; then the environment and the command.
START = r"""
set -e
image=$1 root=$2 volume=$3 place=$4
shift 4
mount --make-rprivate /
mount --bind "$image" "$root"
mount -t proc proc "$root/proc"
for folder in dev tmp opt; do mount -t tmpfs -o mode=1777 tmpfs "$root/$folder"; done
for device in null zero random urandom; do : > "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
: > "$root/dev/termination-log"
mount --bind "$volume/termination-log" "$root/dev/termination-log"
mkdir "$root/opt/elara" "$root/opt/secret"
mount --bind "$volume/elara" "$root/opt/elara"
mount --bind "$place" "$root/opt/secret"
for folder in opt opt/secret .; do mount -o remount,bind,ro "$root/$folder"; done
cd "$root"
exec setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid --inh-caps=-all \
    env -i "$@"
"""


def check_machine():
    if os.getuid() != 0:
        pytest.skip("machine limit: only root makes containers (chroot, mounts)")
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "mount", "--make-rprivate", "/"], capture_output=True,
                           text=True)
    if tried.returncode != 0:
        pytest.skip(f"machine limit: no namespaces can be made: {tried.stderr.strip()}")


class Pod:
    """What outlives its containers: the volume, the secrets, the address."""

    def __init__(self, build, folder, image, user=1000):
        self.build = Path(build)
        self.image = Path(image)  # a root file system with empty /proc, /dev, /tmp and /opt
        self.root = Path(folder) / "root"
        self.user = user
        self.kernel_id = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
        self.port = free_port()
        self.volume = Path(folder) / "volume"
        self.elara = self.volume / "elara"  # /opt/elara: an emptyDir
        self.place = Path(folder) / "place"  # /opt/secret: a Secret
        self.directory = self.elara / "kernel"
        self.root.mkdir()
        self.elara.mkdir(parents=True)
        self.elara.chmod(0o777)
        (self.volume / "termination-log").touch()
        (self.volume / "termination-log").chmod(0o666)
        self.containers = []
        self.server, secret = zmq.curve_keypair()
        self.gateway = zmq.curve_keypair()
        self.write_secret({"link.key": secret, "link.pub": self.server + b"\n", "gateway.pub": self.gateway[0],
                           "record.json": json.dumps({"kernel_id": self.kernel_id, "name": "stub"}).encode(),
                           "launch.json": b"{}"})

    def write_secret(self, files):
        """As a mounted Secret looks: links to links, swapped at once."""
        data = self.place / "..2026_01_31"
        data.mkdir(parents=True, exist_ok=True)
        link = self.place / "..data"
        if not link.is_symlink():
            link.symlink_to(data.name)
        for name, value in files.items():
            (data / name).write_bytes(value)
            if not (self.place / name).is_symlink():
                (self.place / name).symlink_to(f"..data/{name}")

    def launch(self, argv, **members):
        launch = {"kernel_id": self.kernel_id, "kernel_name": "stub", "argv": argv, "env": {"FROM_GATEWAY": "1"},
                  "environment_base": "launcher", "cwd": ["~", ".", "/"]} | members
        self.write_secret({"launch.json": json.dumps(launch).encode()})

    def install(self):
        """The init container's work."""
        subprocess.run([self.build / "elara-launcher", "--install", self.elara, "--from", self.build / "pod-runtime"],
                       check=True)

    def start(self, listen=None, environment=None):
        container = Container(self, listen or f"tcp://127.0.0.1:{self.port}", environment or {})
        self.containers.append(container)
        return container

    def link(self, **options):
        options = {"server": self.server, "public": self.gateway[0], "secret": self.gateway[1]} | options
        return Link(kernel_id=self.kernel_id, endpoint=options.pop("endpoint", f"tcp://127.0.0.1:{self.port}"), **options)

    def record(self):
        return json.loads((self.directory / "record.json").read_text())

    def termination_log(self):
        return (self.volume / "termination-log").read_text()

    def close(self):
        for container in self.containers:
            container.kill()
            print(f"--- log of a container\n{container.log()[-8000:]}")


def namespace_of(pid):
    """None: it has ended meanwhile."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


class Container:
    def __init__(self, pod, listen, environment):
        self.log_path = Path(tempfile.mkstemp(prefix="container-", suffix=".log", dir=pod.volume)[1])
        # A sanitizer would look for leaks as a debugger does, which the launcher in a pod allows nobody.
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "FROM_IMAGE": "1",
                       "ASAN_OPTIONS": "detect_leaks=0"} | environment
        words = [f"{name}={value}" for name, value in environment.items()]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", START, "start", pod.image, pod.root,
                 pod.volume, pod.place, *words, shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin"), f"--userspec={pod.user}:{pod.user}", ".",
                 "/opt/elara/bin/elara-launcher", "--directory", "/opt/elara/kernel", "--place", "/opt/secret", "--listen",
                 listen], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def processes(self):
        """Of all in the container, the first one first: by their numbers outside, with the names of their programs."""
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, IndexError):
                if entry.name.isdigit():
                    lines = dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines() if ":" in line)
                    numbers = [int(word) for word in lines["NSpid"].split()]
                    found[numbers[0]] = (lines["PPid"].strip(), numbers, lines["Name"].strip())
        inside = [pid for pid, (parent, numbers, _) in found.items()
                  if parent == str(self.process.pid) and len(numbers) > 1 and numbers[-1] == 1]
        if not inside:
            return {}
        space = namespace_of(inside[0])
        inside += [pid for pid, (_, numbers, _) in found.items() if len(numbers) > 1 and pid not in inside and
                   namespace_of(pid) == space is not None]
        return {pid: found[pid][2] for pid in inside}

    def pid_of(self, name):
        pids = [pid for pid, program in self.processes().items() if program == name]
        return pids[0] if pids else None

    def signal(self, signum):
        """To the first process, as the runtime does it."""
        os.kill(self.pid_of("elara-launcher"), signum)

    def kill(self):
        """All at once: as the system does when the container's memory runs out."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            if self.process.poll() is None and not self.processes():
                self.process.kill()
        self.process.wait(10)

    def wait(self, timeout=20):
        """The exit status; a signal's is 128 more."""
        return self.process.wait(timeout)


def copy_with_libraries(program, folder):
    """A program, its libraries and their loader, so that it runs where none of them are: the words that start it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(program, folder)
    loader = None
    for line in subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.splitlines():
        path = next((word for word in line.split() if word.startswith("/")), None)
        if path is not None:
            shutil.copy(path, folder)
            if "ld-linux" in path:
                loader = folder / Path(path).name
    assert loader is not None, "no loader: is it a static program?"
    return [loader.name, "--library-path", folder.name, program.name]


def wait_for_log(container, text, timeout=20):
    return wait_until(lambda: text in container.log(), timeout, text)


class Notebook:
    """A client's session on a link: what it is sent, and cells."""

    def __init__(self, link, session="notebook"):
        self.link = link
        self.session = session
        assert link.hello().kind == WELCOME
        link.send(ATTACH, {"session_id": session, "window": 1 << 20, "from": "cursor"}, attachment=1)
        attached = link.expect(ATTACHED).json()
        self.resumed = attached["resumed"]
        self.number = attached["next_request"]

    def wait_ready(self):
        """By asking until it is: STATUS says the same, but may have come before."""
        return self.ask("kernel_info_request", {}, "shell")

    def ask(self, msg_type, content, channel="shell"):
        """The reply's content, and the text that the cell put out."""
        header = {"msg_id": uuid.uuid4().hex, "msg_type": msg_type, "session": self.session, "username": "", "version": "5.3",
                  "date": DATE}
        self.link.send(REQUEST, pack_v1(channel, header, {}, {}, content), attachment=1, seq=self.number)
        self.number += 1
        text, reply, is_idle = "", None, False
        while reply is None or not is_idle:
            frame = self.link.expect(MESSAGE)
            message = unpack_v1(frame.payload)
            self.link.send(ACK, struct.pack("<Q", 0), attachment=1, seq=frame.seq)
            if message["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            if message["header"]["msg_type"] == "stream":
                text += message["content"]["text"]
            if message["header"]["msg_type"].endswith("_reply"):
                reply = message["content"]
            is_idle |= message["content"].get("execution_state") == "idle"
        return reply, text

    def run(self, code):
        """The text that it put out."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False,
                   "stop_on_error": True}
        return self.ask("execute_request", content)[1]
