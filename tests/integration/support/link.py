"""A gateway's side of the kernel link (docs/link-protocol.md), by hand: what it says is up to the test."""
import json
import struct
import time
import uuid

import zmq

HEADER = struct.Struct("<BBHIQ")
EXTERNAL = 1
HELLO, WELCOME, RESET, PING, PONG = 1, 2, 3, 4, 5
ATTACH, ATTACHED, DETACH, MESSAGE, ACK, REQUEST = 10, 11, 12, 20, 21, 22
COMMAND, RESULT, STATUS, EXIT = 30, 31, 40, 41


class Frame:
    def __init__(self, kind, attachment, seq, payload):
        self.kind = kind
        self.attachment = attachment
        self.seq = seq
        self.payload = payload

    def json(self):
        return json.loads(self.payload)


class Link:
    """One connection to the launcher of a kernel directory, or to one in a pod (endpoint and keys; without keys: in the
    clear)."""

    def __init__(self, directory=None, timeout=20, *, kernel_id=None, endpoint=None, server=None, public=None, secret=None):
        self.kernel_id = kernel_id or directory.name
        self.timeout = timeout
        self.number = 0
        self.frames = []
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.ipv6 = True
        if server is not None:
            self.socket.curve_serverkey, self.socket.curve_publickey, self.socket.curve_secretkey = server, public, secret
        self.socket.connect(endpoint or f"ipc://{directory}/link")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.destroy()

    def send(self, kind, payload=b"", attachment=0, seq=0, flags=0):
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        if len(payload) > 8192:
            self.socket.send_multipart([HEADER.pack(kind, EXTERNAL, attachment, len(payload), seq), payload])
        else:
            self.socket.send(HEADER.pack(kind, flags, attachment, len(payload), seq) + payload)

    def read(self, deadline):
        left = max(0, int((deadline - time.monotonic()) * 1000))
        if not self.socket.poll(left):
            raise AssertionError("nothing came from the launcher in time")
        batch, *parts = self.socket.recv_multipart()
        at = 0
        while at < len(batch):
            kind, flags, attachment, length, seq = HEADER.unpack_from(batch, at)
            at += HEADER.size
            if flags & EXTERNAL:
                payload = parts.pop(0)
            else:
                payload, at = batch[at:at + length], at + length
            assert len(payload) == length
            self.frames.append(Frame(kind, attachment, seq, payload))
        assert not parts, "parts without a frame"

    def expect(self, *kinds, where=lambda frame: True):
        """The next frame of these kinds; others stay for later."""
        deadline = time.monotonic() + self.timeout
        while True:
            for frame in self.frames:
                if frame.kind in kinds and where(frame):
                    self.frames.remove(frame)
                    return frame
            self.read(deadline)

    def hello(self, **members):
        """HELLO, and the WELCOME or RESET that answers it."""
        self.send(HELLO, {"version": 1, "capabilities": [], "gateway": uuid.uuid4().hex,
                          "kernel_id": self.kernel_id} | members)
        return self.expect(WELCOME, RESET)

    def send_command(self, members):
        """A COMMAND exactly as given; returns its number."""
        self.number += 1
        self.send(COMMAND, members, seq=self.number)
        return self.number

    def result(self, number):
        return self.expect(RESULT, where=lambda frame: frame.seq == number).json()

    def command(self, name, **members):
        """The RESULT of a command that is carried out."""
        members = {"command": name, "id": uuid.uuid4().hex} | members
        return self.result(self.send_command(members))
