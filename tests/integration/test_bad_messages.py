"""Malformed WebSocket frames and messages: a clear close or log line, and nobody else notices."""
import json
import struct
import uuid

import pytest
import websocket

from support.client import Closed, pack_v1
from support.processes import wait_until

pytestmark = pytest.mark.usefixtures("bystander")


def check_refused(gateway, client, data, reason):
    """The socket is closed with 1007, which clients come back from, and with the reason, which stands in the log too."""
    client.kernel_info()
    start = len(gateway.log())
    client.send_frame(data)
    with pytest.raises(Closed) as closed:
        client.receive()
    assert (closed.value.code, closed.value.reason) == (1007, reason)
    assert f"a client's message is refused: {reason}\n" in gateway.log()[start:]


HEADER = {"msg_id": "m", "msg_type": "execute_request", "session": "s", "username": "u", "date": "", "version": "5.2"}
GOOD = {"channel": "shell", "header": HEADER, "parent_header": {}, "metadata": {}, "content": {"code": "print bad"}}


@pytest.mark.parametrize("text, reason", [
    ("", "message: is empty"), ("not json", "message: byte 0: must be an object"), ("[]", "message: byte 0: must be an object"),
    ("7", "message: byte 0: must be an object"), ('{"channel": "shell"}', "header: is missing"),
    (json.dumps(GOOD | {"header": []}), "header: must be an object"),
    (json.dumps(GOOD | {"header": {}}), "header.msg_id: must be a text"),
    (json.dumps(GOOD | {"header": HEADER | {"msg_id": None}}), "header.msg_id: must be a text"),
    (json.dumps(GOOD | {"header": HEADER | {"msg_type": 7}}), "header.msg_type: must be a text"),
    (json.dumps(GOOD | {"content": "code"}), "content: must be an object"),
    (json.dumps(GOOD | {"metadata": [1]}), "metadata: must be an object"),
    (json.dumps(GOOD | {"parent_header": 7}), "parent_header: must be an object"),
    (json.dumps(GOOD | {"channel": 7}), "channel: must be a text"), (json.dumps(GOOD | {"channel": {}}), "channel: must be a text"),
    (json.dumps(GOOD | {"buffers": [1]}), "buffers: must be empty in JSON; buffers travel in binary messages"),
    (json.dumps(GOOD)[:-5], "message: byte 207: a text is not closed"),
    ('{"a":' * 200_000, "message: byte 2565: nested too deep"),
], ids=lambda value: value[-40:])
def test_bad_legacy_text(gateway, client, text, reason):
    check_refused(gateway, client, text, reason)


def check_ignored(gateway, kernel, client, data, why):
    """As in Enterprise Gateway; the rest of the connection works on. The log says it, once for each client."""
    start = len(gateway.log())
    for _ in range(1000):
        client.send_frame(data)
    assert client.run_cell("print still").text() == "still\n"
    lines = [line for line in gateway.log()[start:].splitlines() if "channel:" in line]
    assert len(lines) == 1 and lines[0].endswith(
        f" INFO    gateway/channels: kernel {kernel}: a client's message is ignored, which is logged once for each client: {why}"), lines


@pytest.mark.parametrize("channel", ["hb", "shel", ""])
def test_unknown_channel_is_ignored(gateway, kernel, connect, channel):
    for _ in range(2):
        check_ignored(gateway, kernel, connect(gateway, kernel), json.dumps(GOOD | {"channel": channel}), f'channel: "{channel}" is unknown')


def test_iopub_from_a_client_is_ignored(gateway, kernel, client):
    for _ in range(3):
        client.send_frame(json.dumps(GOOD | {"channel": "iopub"}))
    assert client.run_cell("print still").text() == "still\n"
    log = (gateway.kernel_directory(kernel) / "launcher.log").read_text()
    assert log.count("it came on iopub") == 1, "a client must not fill the disk with lines"


@pytest.mark.parametrize("data, reason", [
    (b"", "message: is empty"), (b"\x00", "offset count: a frame of 1 bytes is too short for it"),
    (struct.pack(">I", 1), "offset count: 1 offsets do not fit the frame's 4 bytes"), (struct.pack(">II", 1, 8), "message: is empty"),
    (struct.pack(">II", 0, 8) + b"{}", "offset count: 0 is not within 1 to 1020"),
    (struct.pack(">I", 2**32 - 1) + b"x" * 100, "offset count: 4294967295 is not within 1 to 1020"),
    (struct.pack(">III", 2, 11, 12) + b"{}xx", "offset 0: 11 is before 12, where the part before it (the offsets) ends"),
    (struct.pack(">III", 2, 12, 4) + b"{}xx", "offset 1: 4 is before 12, where the part before it starts"),
    (struct.pack(">III", 2, 12, 15) + b"{}", "offset 1: 15 is beyond the frame's 14 bytes"),
    (struct.pack(">III", 2, 12, 2**31) + b"{}", "offset 1: 2147483648 is beyond the frame's 14 bytes"),
    (struct.pack(">II", 1, 8) + b"not json", "message: byte 0: must be an object"),
], ids=repr)
def test_bad_legacy_binary(gateway, client, data, reason):
    check_refused(gateway, client, data, reason)


def good_v1():
    return pack_v1("shell", HEADER, {}, {}, {"code": "print bad"})


def change_offset(index, value):
    data = bytearray(good_v1())
    struct.pack_into("<Q", data, 8 * (index + 1), value)
    return bytes(data)


@pytest.mark.parametrize("data, reason", [
    (b"", "message: is empty"), (b"\x06", "offset count: a frame of 1 bytes is too short for it"),
    (struct.pack("<Q", 6), "offset count: 6 offsets do not fit the frame's 8 bytes"),
    (struct.pack("<QQQ", 2, 24, 24), "offset count: 2 is not within 6 to 1025"),
    (struct.pack("<Q", 2**63), "offset count: 9223372036854775808 is not within 6 to 1025"),
    (struct.pack("<Q", 2**61) + b"x" * 64, "offset count: 2305843009213693952 is not within 6 to 1025"),
    (good_v1()[:-3], "offset 5: 195 is beyond the frame's 192 bytes"), (good_v1()[:-1], "offset 5: 195 is beyond the frame's 194 bytes"),
    (good_v1() + b"xx", "offset 5: 195 must be the frame's end at 197 bytes"),
    (change_offset(0, 3), "offset 0: 3 must be 56, the end of the offsets"),
    (change_offset(2, 9), "offset 2: 9 is before offset 1, which is 61"),
    (change_offset(3, 2**40), "offset 3: 1099511627776 is beyond the frame's 195 bytes"),
    (change_offset(5, 2**64 - 1), "offset 5: 18446744073709551615 is beyond the frame's 195 bytes"),
    (pack_v1("shell", [], {}, {}, {}), "header: byte 0: must be an object"),
    (pack_v1("shell", HEADER, 7, {}, {}), "parent_header: must be an object"),
    (pack_v1("shell", HEADER, {}, [], {}), "metadata: must be an object"),
    (pack_v1("shell", HEADER, {}, {}, []), "content: must be an object"),
    (pack_v1("shell", HEADER, {}, {}, {}).replace(b'"msg_id"', b'"msg_xx"'), "header.msg_id: must be a text"),
], ids=lambda value: value[:24].hex() if isinstance(value, bytes) else value)
def test_bad_v1(gateway, kernel, connect, data, reason):
    check_refused(gateway, connect(gateway, kernel, v1=True), data, reason)


def test_unknown_channel_of_v1_is_ignored(gateway, kernel, connect):
    check_ignored(gateway, kernel, connect(gateway, kernel, v1=True), pack_v1("hb", HEADER, {}, {}, {"code": "print bad"}),
                  'channel: "hb" is unknown; it may be shell, control, stdin or iopub')


def test_text_frame_on_a_v1_connection_is_read_as_legacy(gateway, kernel, connect):
    client = connect(gateway, kernel, v1=True)
    header = client.header("execute_request")
    client.send_frame(json.dumps(GOOD | {"header": header, "content": {"code": "print text"}}))
    assert client.collect(header["msg_id"]).text() == "text\n", "the answer comes as v1"


def test_text_that_is_no_utf8_is_refused(client):
    client.kernel_info()
    client.socket.send(b'{"channel": "shell\xff"}', websocket.ABNF.OPCODE_TEXT)
    with pytest.raises(Closed) as closed:
        client.receive()
    assert (closed.value.code, closed.value.reason) == (1007, "a text that is not UTF-8")


def test_oversized_message_is_closed_with_1009(start_gateway, connect):
    gateway = start_gateway("--message-limit", "64k")
    with gateway.kernel() as kernel_id:
        client = connect(gateway, kernel_id)
        client.kernel_info()
        try:
            client.send_frame("x" * 100_000)
        except OSError:
            pass
        assert client.expect_close() == 1009
        assert connect(gateway, kernel_id).run_cell("print on").text() == "on\n"


def test_fragments_count_towards_the_limit(start_gateway, connect):
    gateway = start_gateway("--message-limit", "64k")
    with gateway.kernel() as kernel_id:
        client = connect(gateway, kernel_id)
        client.kernel_info()
        try:
            client.socket.send_frame(websocket.ABNF.create_frame(b"x" * 1000, websocket.ABNF.OPCODE_TEXT, fin=0))
            for _ in range(100):
                client.socket.send_frame(websocket.ABNF.create_frame(b"x" * 1000, websocket.ABNF.OPCODE_CONT, fin=0))
        except OSError:
            pass
        assert client.expect_close() == 1009


def frame(first, length_and_mask, payload=b""):
    return bytes([first, length_and_mask]) + payload


@pytest.mark.parametrize("data, code, reason", [
    (frame(0x81, 0x02, b"{}"), 1002, "a client's frame must be masked"),
    (frame(0xF1, 0x80, b"\0\0\0\0"), 1002, "a reserved bit is set, and no extension was agreed on"),
    (frame(0x83, 0x80, b"\0\0\0\0"), 1002, "an unknown opcode"),
    (frame(0x80, 0x80, b"\0\0\0\0"), 1002, "a continuation of nothing"),
    (frame(0x01, 0x80, b"\0\0\0\0") * 2, 1002, "a new message within a fragmented one"),
    (frame(0x09, 0x80, b"\0\0\0\0"), 1002, "a malformed frame"),                     # a ping in pieces
    (frame(0x89, 0xFE, b"\x00\x80\0\0\0\0" + b"x" * 128), 1002, "a malformed frame"),  # a ping of 128 bytes
    (frame(0x82, 0xFF, b"\xff" * 8 + b"\0\0\0\0"), 1002, "a malformed frame"),        # a length beyond 2^63
    (frame(0x88, 0x81, b"\0\0\0\0" + b"x"), 1002, "a bad close code"),                # half of one
    (frame(0x88, 0x82, b"\0\0\0\0" + struct.pack(">H", 1005)), 1002, "a bad close code"),
    (frame(0x88, 0x83, b"\0\0\0\0" + struct.pack(">H", 1000) + b"\xff"), 1007, "a close reason that is not UTF-8"),
], ids=["unmasked", "reserved", "opcode", "continuation", "in another", "split ping", "long ping", "length", "half a code", "reserved code",
        "close reason"])
def test_frames_against_the_protocol_end_the_connection(client, data, code, reason):
    client.kernel_info()
    client.socket.sock.sendall(data)
    with pytest.raises(Closed) as closed:
        client.receive()
    assert (closed.value.code, closed.value.reason) == (code, reason)


SHAPE = "parts are missing, too many, or not JSON objects"


@pytest.mark.parametrize("code, warning", [
    ("badjson", SHAPE), ("missingparts", SHAPE), ("hugeparts 2000", SHAPE), ("badhmac", "its signature is wrong"),
    ("status thinking", 'execution_state "thinking"')])
@pytest.mark.parametrize("v1", [False, True], ids=["legacy", "v1"])
def test_kernel_that_sends_rubbish_keeps_its_clients(gateway, kernel, connect, code, warning, v1):
    client = connect(gateway, kernel, v1=v1)
    msg_id = client.send_execute(f"print before\n{code}\nprint after")
    texts = []
    while not texts or texts[-1] != "after\n":
        message = client.receive()
        assert message["content"].get("execution_state", "busy") in ("starting", "busy", "idle"), "JupyterLab throws at any other"
        if message["parent_header"].get("msg_id") == msg_id and message["header"]["msg_type"] == "stream":
            texts.append(message["content"]["text"])
    assert texts == ["before\n", "after\n"]
    assert client.run_cell("print next").text() == "next\n"
    log = (gateway.kernel_directory(kernel) / "launcher.log").read_text()
    assert log.count(" WARNING ") == (warning is not None) and (warning or "") in log


def unreadable_logged(gateway, start):
    return [line for line in gateway.log()[start:].splitlines() if "sent what is no JSON" in line]


@pytest.mark.parametrize("user_agent", ["a legacy client", None], ids=["legacy", "notebook server"])
def test_text_of_a_kernel_that_is_no_utf8_is_repaired(gateway, kernel, connect, user_agent):
    """U+FFFD for each bad sequence, as Enterprise Gateway's clients are given it."""
    start = len(gateway.log())
    client = connect(gateway, kernel, user_agent=user_agent)
    for _ in range(3):
        cell = client.run_cell("print before\nbroken utf8\nprint after\nbrokenreply utf8")
        assert cell.text() == "before\nbad \ufffd\ufffd\nafter\n"
        assert (cell.reply["status"], cell.reply["evalue"]) == ("error", "bad \ufffd\ufffd")
    assert client.run_cell("print next").text() == "next\n"
    lines = unreadable_logged(gateway, start)
    assert len(lines) == 1 and f"WARNING gateway/channels: kernel {kernel}: " in lines[0] and "not UTF-8" in lines[0], lines
    connect(gateway, kernel).run_cell("broken utf8")
    assert len(unreadable_logged(gateway, start)) == 2, "the other client's own line"


@pytest.mark.parametrize("kind, why", [("deep", "content: byte 516: nested too deep"), ("json", "content: byte 9: expected a value")])
def test_message_of_a_kernel_that_json_cannot_hold_is_told_of(gateway, kernel, connect, kind, why):
    start = len(gateway.log())
    client = connect(gateway, kernel)
    cell = client.run_cell(f"print before\nbroken {kind}\nprint after\nbrokenreply {kind}")
    assert cell.text() == "before\nafter\n"
    assert cell.text("stderr") == f"The kernel's stream message was left out: it cannot be sent as JSON ({why}).\n"
    assert (cell.reply["status"], cell.reply["ename"]) == ("error", "MessageUnreadable")
    assert cell.reply["evalue"] == f"The kernel's execute_reply message was left out: it cannot be sent as JSON ({why}).\n"
    assert client.run_cell("print next").text() == "next\n"
    assert len(unreadable_logged(gateway, start)) == 1


def test_v1_passes_on_what_is_no_utf8(gateway, kernel, connect):
    """A binary frame may hold it, and JupyterLab's decoder puts U+FFFD there itself."""
    start = len(gateway.log())
    client = connect(gateway, kernel, v1=True)
    client.send_execute("broken utf8\nbrokenreply utf8")
    unreadable = []
    while len(unreadable) < 2:
        try:
            client.receive()
        except UnicodeDecodeError:
            unreadable.append(client.last[1])
    assert all(b"bad \xff\xfe" in frame for frame in unreadable)
    assert client.run_cell("print next").text() == "next\n"
    assert unreadable_logged(gateway, start) == []


def test_forged_message_is_dropped_counted_and_logged_once(gateway, kernel, connect):
    client = connect(gateway, kernel)
    cell = client.run_cell("badhmac forged\nbadhmac forged\nbadhmac forged\nprint true")
    assert cell.text() == "true\n"
    log = (gateway.kernel_directory(kernel) / "launcher.log").read_text()
    lines = [line for line in log.splitlines() if "HMAC" in line or "signature" in line]
    assert len(lines) == 1 and " WARNING " in lines[0], log
    assert gateway.model(kernel)["execution_state"] == "idle"


def test_silent_kernel_disturbs_nobody_and_can_be_deleted(start_gateway, connect):
    gateway = start_gateway("--shutdown-wait", "1s")
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    client.send_execute("silence")
    client.receive_until(lambda m: m["header"]["msg_type"] == "execute_input")
    with gateway.kernel() as other:
        assert connect(gateway, other).run_cell("print fine").text() == "fine\n"
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204


def test_hundreds_of_aborted_sockets_leave_nothing(gateway, kernel, connect):
    def descriptors():
        from pathlib import Path
        return len(list(Path(f"/proc/{gateway.process.pid}/fd").iterdir()))

    connect(gateway, kernel).kernel_info()
    before = descriptors()
    for i in range(150):
        client = connect(gateway, kernel, session_id=f"abort-{i % 7}", v1=i % 2 == 0)
        client.send_execute("print gone")
        client.drop()
    wait_until(lambda: gateway.model(kernel)["connections"] == 1, what="no connection left behind")
    wait_until(lambda: descriptors() <= before + 2, what="no descriptor left behind")
    assert connect(gateway, kernel).run_cell("print here").text() == "here\n"
