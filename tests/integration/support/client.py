"""A client of one kernel's channels, in the three formats that clients speak."""
import json
import struct
import time
import uuid

import websocket

V1 = "v1.kernel.websocket.jupyter.org"
DATE = "2026-01-31T12:00:00.000000Z"


class Closed(Exception):
    """The gateway ended the WebSocket."""

    def __init__(self, code, reason=""):
        super().__init__(f"closed with {code} {reason}")
        self.code = code
        self.reason = reason


def pack_v1(channel, header, parent, metadata, content, buffers=()):
    parts = [channel.encode(), *(json.dumps(part).encode() for part in (header, parent, metadata, content)),
             *map(bytes, buffers)]
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts)


def unpack_v1(data):
    count = struct.unpack_from("<Q", data)[0]
    offsets = struct.unpack_from(f"<{count}Q", data, 8)
    assert offsets[-1] == len(data), "the last offset is the frame's length"
    parts = [data[start:end] for start, end in zip(offsets, offsets[1:])]
    names = ("header", "parent_header", "metadata", "content")
    message = {"channel": parts[0].decode(), **{name: json.loads(part) for name, part in zip(names, parts[1:])}}
    return message | {"buffers": parts[5:]}


def pack_legacy_binary(message, buffers):
    text = json.dumps(message).encode()
    parts = [text, *map(bytes, buffers)]
    offsets = [4 * (len(parts) + 1)]
    for part in parts[:-1]:
        offsets.append(offsets[-1] + len(part))
    return struct.pack(f">{len(parts) + 1}I", len(parts), *offsets) + b"".join(parts)


def unpack_legacy_binary(data):
    count = struct.unpack_from(">I", data)[0]
    offsets = [*struct.unpack_from(f">{count}I", data, 4), len(data)]
    parts = [data[start:end] for start, end in zip(offsets, offsets[1:])]
    return json.loads(parts[0]) | {"buffers": parts[1:]}


class Cell:
    """What came back for one execute_request."""

    def __init__(self):
        self.messages = []
        self.reply = None
        self.is_idle = False

    def add(self, message, reply_type):
        self.messages.append(message)
        if message["header"]["msg_type"] == reply_type and message["channel"] in ("shell", "control"):
            self.reply = message["content"]
        elif message["header"]["msg_type"] == "status":
            self.is_idle = message["content"]["execution_state"] == "idle"

    def of_type(self, *types):
        return [message for message in self.messages if message["header"]["msg_type"] in types]

    def text(self, name="stdout"):
        return "".join(m["content"]["text"] for m in self.of_type("stream") if m["content"]["name"] == name)

    @property
    def states(self):
        return [m["content"]["execution_state"] for m in self.of_type("status")]

    @property
    def error(self):
        errors = self.of_type("error")
        return errors[-1]["content"] if errors else None

    def everything(self):
        """All text of all outputs, for searching."""
        return json.dumps([m["content"] for m in self.messages])


class Client:
    """One WebSocket on a kernel's channels. Not a thread: it reads when it is asked to."""

    def __init__(self, gateway, kernel_id, session_id="", v1=False, user_agent="elara-tests", headers=(), query="",
                 timeout=20, subprotocols=None):
        self.session_id = session_id if session_id is None else session_id or uuid.uuid4().hex
        self.v1 = v1
        self.others = []  # messages of other cells, seen while one was collected
        self.last = None  # the last frame's opcode and bytes
        if subprotocols is None:
            subprotocols = [V1] if v1 else []
        arguments = [f"session_id={self.session_id}"] if self.session_id is not None else []
        arguments += [query] if query else []
        url = f"ws{gateway.base.removeprefix('http')}/api/kernels/{kernel_id}/channels"
        lines = [*([f"User-Agent: {user_agent}"] if user_agent else []), *headers]
        if gateway.token is not None and not any(line.startswith("Authorization") for line in lines):
            lines.append(f"Authorization: token {gateway.token}")
        self.socket = websocket.create_connection(
            url + ("?" + "&".join(arguments) if arguments else ""), timeout=timeout, header=lines,
            subprotocols=subprotocols or None, suppress_origin=True, enable_multithread=False)
        self.timeout = timeout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close(timeout=1)

    def drop(self):
        """Without a closing handshake, as a laptop that falls asleep."""
        self.socket.shutdown()

    # -- sending --
    def header(self, msg_type, **members):
        return {"msg_id": uuid.uuid4().hex, "msg_type": msg_type, "username": "tests", "date": DATE, "version": "5.2",
                "session": self.session_id or "none"} | members

    def send_frame(self, data, opcode=None):
        if opcode is None:
            opcode = websocket.ABNF.OPCODE_TEXT if isinstance(data, str) else websocket.ABNF.OPCODE_BINARY
        self.socket.send(data, opcode)

    def send(self, msg_type, content, channel="shell", buffers=(), parent=None, header=None):
        header = header or self.header(msg_type)
        parent = parent or {}
        message = {"channel": channel, "header": header, "parent_header": parent, "metadata": {}, "content": content}
        if self.v1:
            self.send_frame(pack_v1(channel, header, parent, {}, content, buffers))
        elif buffers:
            self.send_frame(pack_legacy_binary(message, buffers))
        else:
            self.send_frame(json.dumps(message | {"buffers": []}))
        return header["msg_id"]

    def send_execute(self, code, **options):
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": True,
                   "stop_on_error": True}
        return self.send("execute_request", content | options)

    # -- receiving --
    def receive(self, timeout=None):
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        opcode = None
        try:
            while opcode in (None, websocket.ABNF.OPCODE_PING, websocket.ABNF.OPCODE_PONG):
                self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
                opcode, data = self.socket.recv_data(control_frame=True)
        except websocket.WebSocketConnectionClosedException as error:
            raise Closed(None, str(error)) from error
        except (ConnectionError, BrokenPipeError) as error:
            raise Closed(None, str(error)) from error
        self.last = (opcode, data)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise Closed(struct.unpack(">H", data[:2])[0] if len(data) > 1 else None, data[2:].decode())
        if self.v1:
            assert opcode == websocket.ABNF.OPCODE_BINARY, "v1 frames are binary"
            return unpack_v1(data)
        if opcode == websocket.ABNF.OPCODE_BINARY:
            return unpack_legacy_binary(data)
        return json.loads(data)

    def receive_until(self, wanted, timeout=None):
        """The first message for which wanted(message) is true."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            message = self.receive(deadline - time.monotonic())
            if wanted(message):
                return message

    def expect_close(self, timeout=10):
        """The close code; None for a connection that just ended."""
        try:
            self.receive_until(lambda message: False, timeout)
        except Closed as closed:
            return closed.code
        raise AssertionError("not closed")

    def take_kept(self, msg_id):
        for message in self.others:
            if message["parent_header"].get("msg_id") == msg_id:
                self.others.remove(message)
                return message
        return None

    def collect(self, msg_id, timeout=None, on_message=None, reply_type="execute_reply"):
        """Reads until both the reply and idle are there: clients wait for both."""
        return self.collect_all([msg_id], timeout, on_message, reply_type)[0]

    def collect_all(self, msg_ids, timeout=None, on_message=None, reply_type="execute_reply"):
        """The same for several requests under way: iopub may be ahead of the replies."""
        cells = {msg_id: Cell() for msg_id in msg_ids}
        deadline = time.monotonic() + (timeout or self.timeout)
        while not all(cell.reply and cell.is_idle for cell in cells.values()):
            try:
                message = self.receive(deadline - time.monotonic())
            except websocket.WebSocketTimeoutException as error:
                seen = [[m["header"]["msg_type"] for m in cell.messages][-20:] for cell in cells.values()]
                raise AssertionError(f"reply and idle did not come in time; so far: {seen}") from error
            if on_message:
                on_message(message)
            cell = cells.get(message["parent_header"].get("msg_id"))
            if cell is not None:
                cell.add(message, reply_type)
        return list(cells.values())

    def run_cell(self, code, timeout=None, on_message=None, **options):
        return self.collect(self.send_execute(code, **options), timeout, on_message)

    def kernel_info(self, timeout=None):
        msg_id = self.send("kernel_info_request", {})
        return self.collect(msg_id, timeout, reply_type="kernel_info_reply").reply
