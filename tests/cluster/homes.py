"""NFS servers of the tests of homes, and gateways whose users have homes there."""
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import uuid

import pytest

from kernels import START_S
from support.processes import wait_until
from testcluster.control_plane import is_listening

NETWORK = f"127.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"  # files of tests run beside one another
ADDRESS, PORT = f"{NETWORK}.71", 2049  # a server of these tests' own, which they may stop
GANESHA = """
NFS_CORE_PARAM {{ Protocols = 4; NFS_Port = {port}; Bind_addr = {address}; Enable_NLM = false; Enable_RQUOTA = false; }}
NFSv4 {{ Graceless = true; Only_Numeric_Owners = true; RecoveryRoot = "{folder}/recovery"; }}
EXPORT_DEFAULTS {{ SecType = sys; Squash = No_Root_Squash; Attr_Expiration_Time = 0; }}
EXPORT {{ Export_Id = 1; Path = "{folder}/open"; Pseudo = "/open"; Access_Type = RW; FSAL {{ Name = VFS; }} }}
EXPORT {{ Export_Id = 2; Path = "{folder}/squash"; Pseudo = "/squash"; Access_Type = RW; Squash = Root_Squash; FSAL {{ Name = VFS; }} }}
EXPORT {{ Export_Id = 3; Path = "{folder}/open"; Pseudo = "/fixed"; Access_Type = RO; FSAL {{ Name = VFS; }} }}
EXPORT {{ Export_Id = 5; Path = "{folder}/small"; Pseudo = "/small"; Access_Type = RW; FSAL {{ Name = VFS; }} }}
EXPORT {{ Export_Id = 4; Path = "{folder}/ports"; Pseudo = "/ports"; Access_Type = RW; PrivilegedPort = true; FSAL {{ Name = VFS; }} }}
LOG {{ Default_Log_Level = WARN; }}
"""
WRITERS_GID = 4000
SMALL_FILES = 8  # that the export /small has room for
RELAY = f"{NETWORK}.72"


class Server:
    def __init__(self, folder, build):
        self.folder, self.maker, self.process = folder, build / "tests" / "home_maker", None
        for name in ("open", "squash", "ports", "small", "recovery"):
            (folder / name).mkdir(mode=0o755)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"nr_inodes={SMALL_FILES},mode=755", "tmpfs", folder / "small"], check=True)
        os.chown(folder / "squash", 0, WRITERS_GID)
        (folder / "squash").chmod(0o775)
        (folder / "ganesha.conf").write_text(GANESHA.format(folder=folder, port=PORT, address=ADDRESS))

    def start(self):
        self.process = subprocess.Popen(["ganesha.nfsd", "-F", "-f", self.folder / "ganesha.conf", "-L", self.folder / "log",
                                         "-p", self.folder / "pid"], stdin=subprocess.DEVNULL)
        wait_until(lambda: is_listening(ADDRESS, PORT), 60, "the NFS server's port")

    def stop(self):
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def paused(self):
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def remove(self):
        self.stop()
        subprocess.run(["umount", self.folder / "small"], check=True)
        shutil.rmtree(self.folder)

    def command(self, export, *homes, parent_gid=-1, deadline_ms=20000, address=ADDRESS):
        return [self.maker, address, str(PORT), export, str(deadline_ms), str(parent_gid), *homes]

    def prepare(self, export, *homes, before=(), **options):
        """What is told of each home, "path=uid"; nothing is left open."""
        told = subprocess.run([*before, *self.command(export, *homes, **options)], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
        *lines, left = told.stdout.splitlines()
        assert left == "0" and len(lines) == len(homes)
        return lines

    @contextlib.contextmanager
    def full(self):
        """/small has no room left."""
        made = []
        with contextlib.suppress(OSError):
            for number in range(SMALL_FILES):
                made.append(self.folder / "small" / f"file{number}")
                made[-1].touch()
        try:
            yield
        finally:
            for file in made:
                file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def fixed(self):
        """Nobody can write to /small."""
        subprocess.run(["mount", "-o", "remount,ro", self.folder / "small"], check=True)
        try:
            yield
        finally:
            subprocess.run(["mount", "-o", "remount,rw", self.folder / "small"], check=True)

    def owner_of(self, path):
        status = (self.folder / path).stat()
        return status.st_uid, status.st_gid, status.st_mode & 0o7777


class Relay:
    """Stands before the server, at an address of its own, and counts what it is asked. delay_s: for each message of the server's.

    status: what a directory that is to be made is refused with, instead of what the server says.
    """

    MKDIR = struct.pack(">II", 6, 2)  # RFC 7530: OP_CREATE, NF4DIR

    def __init__(self, delay_s=0, status=None):
        self.delay_s, self.status, self.calls, self.mkdirs = delay_s, status, 0, 0
        self.is_over = threading.Event()
        self.lock = threading.Lock()

    @contextlib.contextmanager
    def slow(self, delay_s):
        before, self.delay_s, self.is_over = self.delay_s, delay_s, threading.Event()
        try:
            yield
        finally:
            self.delay_s = before
            self.is_over.set()

    def __enter__(self):
        self.listener = socket.create_server((RELAY, PORT))
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection((ADDRESS, PORT))
                for source, target, is_call in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self.run, args=(source, target, is_call), daemon=True).start()

    def run(self, source, target, is_call):
        with contextlib.suppress(OSError), source.makefile("rb") as stream:
            while mark := stream.read(4):  # RFC 5531, record marking
                record = stream.read(struct.unpack(">I", mark)[0] & 0x7FFFFFFF)
                with self.lock:
                    self.calls += is_call
                    self.mkdirs += is_call and record.count(self.MKDIR)
                if not is_call:
                    self.is_over.wait(self.delay_s)
                    record = self.with_status(record)
                    mark = struct.pack(">I", len(record) | 0x80000000)
                target.sendall(mark + record)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def with_status(self, reply):
        """COMPOUND4res begins with the status of its last operation, which is CREATE4res when that failed."""
        operation, status = struct.unpack(">II", reply[-8:])
        if self.status is None or operation != 6 or status == 0 or reply[24:28] != reply[-4:]:
            return reply
        said = struct.pack(">I", self.status)
        return reply[:24] + said + reply[28:-4] + said


@pytest.fixture(scope="module")
def server(cluster, build):
    folder = cluster.nfs_directory.parent / f"nfs-{uuid.uuid4().hex[:8]}"  # a file system that the server can export
    folder.mkdir(mode=0o755)
    one = Server(folder, build)
    one.start()
    yield one
    one.remove()


@pytest.fixture(scope="module")
def places(kube):
    """"restricted" refuses nfs volumes in a pod."""
    made = kube.make_namespace(), kube.make_namespace({"pod-security.kubernetes.io/enforce": "baseline"})
    yield made
    for name in made:
        kube.delete("Namespace", name)


@pytest.fixture
def share(cluster):
    """A directory of the cluster's own NFS server: its path here, and what it is exported as."""
    name = f"homes-{uuid.uuid4().hex[:8]}"
    (cluster.nfs_directory / name / "all").mkdir(parents=True)
    (cluster.nfs_directory / name / "data").mkdir()
    (cluster.nfs_directory / name / "data" / "table.csv").write_text("1,2\n")
    yield cluster.nfs_directory / name, f"{cluster.nfs_share}/{name}"

    def is_removed():  # a kernel may be writing there still
        shutil.rmtree(cluster.nfs_directory / name, ignore_errors=True)
        return not (cluster.nfs_directory / name).exists()

    wait_until(is_removed, START_S, "the end of the share's files")


@pytest.fixture
def start(start_gateway, share, cluster, tmp_path):
    """A gateway with homes for alice and bob, who have tokens of their names."""
    def start(*flags):
        tokens = tmp_path / "tokens"
        tokens.write_text("".join(f"{name}:user:sha256:{hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("alice", "bob")))
        tokens.chmod(0o600)
        gateway = start_gateway("--auth-token-file", str(tokens), "--home-server", cluster.nfs_server, "--home-export", share[1],
                                "--home-path", "all/{user}", "--home-uids", json.dumps({"alice": "1001:1001", "bob": "1002:1002"}), *flags)
        gateway.token = "alice"
        return gateway

    return start
