"""A directory as if on a file server, which hangs when told: whoever touches it waits, and can be killed, as with a hard NFS mount.

It speaks the kernel's own FUSE protocol (linux/fuse.h, 7.31), as far as reading takes it, so that no library is needed.
"""
import contextlib
import ctypes
import errno
import os
import select
import stat
import struct
import threading
from pathlib import Path

import pytest

IN_HEADER = struct.Struct("<IIQQIIIHH")  # length, opcode, unique, node, uid, gid, pid, ...
LOOKUP, FORGET, GETATTR, READLINK, OPEN, READ, RELEASE, FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = (
    1, 2, 3, 5, 14, 15, 18, 25, 26, 27, 28, 29, 36, 42)
REQUEST_MAX = 1 << 20
ROOT = 1
DIRECT_IO = 1  # nothing is kept by the kernel
MS_RDONLY, MNT_DETACH = 1, 2
libc = ctypes.CDLL(None, use_errno=True)


class HangingMount:
    """What is below `source`, read-only, at `place`."""

    def __init__(self, source, place):
        self.paths, self.nodes = {ROOT: Path(source)}, {Path(source): ROOT}
        self.place, self.is_frozen, self.is_over = Path(place), False, False
        self.gate = threading.Lock()
        self.place.mkdir(exist_ok=True)
        try:
            self.device = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
        except OSError as error:
            pytest.skip(f"machine limit: no FUSE: {error}")
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other"
        if libc.mount(b"elara-test", os.fsencode(self.place), b"fuse", MS_RDONLY, options.encode()) != 0:
            os.close(self.device)
            pytest.skip(f"machine limit: FUSE cannot be mounted: {os.strerror(ctypes.get_errno())}")
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def close(self):
        self.thaw()
        libc.umount2(os.fsencode(self.place), MNT_DETACH)
        self.is_over = True
        self.thread.join(10)
        os.close(self.device)

    def freeze(self):
        """Nothing is answered from now on."""
        self.gate.acquire()
        self.is_frozen = True

    def thaw(self):
        if self.is_frozen:
            self.is_frozen = False
            self.gate.release()

    def is_awaited(self):
        """While it is frozen: somebody waits."""
        return bool(select.select([self.device], [], [], 0)[0])

    def serve(self):
        with contextlib.suppress(OSError, ValueError):  # it was unmounted
            while not self.is_over:
                if not select.select([self.device], [], [], 0.05)[0]:
                    continue
                with self.gate, contextlib.suppress(BlockingIOError):
                    self.answer(os.read(self.device, REQUEST_MAX))

    def answer(self, request):
        length, opcode, unique, node, *_ = IN_HEADER.unpack_from(request)
        if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
            return
        try:
            status, body = 0, self.do(opcode, node, request[IN_HEADER.size:length])
        except OSError as error:
            status, body = -error.errno, b""
        with contextlib.suppress(FileNotFoundError):  # who asked was killed
            os.write(self.device, struct.pack("<IiQ", 16 + len(body), status, unique) + body)

    def do(self, opcode, node, body):
        path = self.paths.get(node)
        if opcode == INIT:
            return struct.pack("<IIIIHHIIHHII6I", 7, 31, 0, 0, 16, 12, 4096, 1, 0, 0, 0, 0, *[0] * 6)
        if opcode == LOOKUP:
            return self.entry(path / os.fsdecode(body.rstrip(b"\0")))
        if opcode == GETATTR:
            return struct.pack("<QII", 0, 0, 0) + self.attributes(path)
        if opcode == READLINK:
            return os.fsencode(os.readlink(path))
        if opcode in (OPEN, OPENDIR):
            return struct.pack("<QII", 0, DIRECT_IO if opcode == OPEN else 0, 0)
        if opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return path.read_bytes()[offset:offset + size]
        if opcode == READDIR:
            return self.names(path, *struct.unpack_from("<QQI", body)[1:])
        if opcode in (RELEASE, RELEASEDIR, FLUSH):
            return b""
        raise OSError(errno.ENOSYS, "")

    def entry(self, path):
        attributes = self.attributes(path)
        node = self.nodes.setdefault(path, len(self.nodes) + 1)
        self.paths[node] = path
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + attributes

    def attributes(self, path):
        of = path.lstat()
        times = [divmod(when, 10**9) for when in (of.st_atime_ns, of.st_mtime_ns, of.st_ctime_ns)]
        return struct.pack("<6Q10I", of.st_ino, of.st_size, of.st_blocks, *(one[0] for one in times), *(one[1] for one in times),
                           of.st_mode, of.st_nlink, of.st_uid, of.st_gid, 0, 4096, 0)

    def names(self, path, offset, size):
        made = b""
        for number, name in enumerate(sorted(os.listdir(path))[offset:], offset + 1):
            of = (path / name).lstat()
            raw = os.fsencode(name)
            one = struct.pack("<QQII", of.st_ino, number, len(raw), stat.S_IFMT(of.st_mode) >> 12) + raw
            one += b"\0" * (-len(one) % 8)
            if len(made) + len(one) > size:
                break
            made += one
        return made


@pytest.fixture
def mounted(tmp_path):
    """mounted(source) gives a HangingMount of it."""
    made = []

    def mount(source):
        made.append(HangingMount(source, tmp_path / f"mounted{len(made)}"))
        return made[-1]

    yield mount
    for one in made:
        one.close()
