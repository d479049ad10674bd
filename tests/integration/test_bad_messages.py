"""Malformed WebSocket frames and messages: a clear close or log line, and nobody else notices."""
import json
import struct
import uuid

import pytest
import websocket

from support.client import Closed, pack_v1
from support.processes import wait_until

pytestmark = pytest.mark.usefixtures("bystander")


def refusals(gateway, start):
    """Log lines about messages that were refused; a client's mistake is no warning."""
    return [line for line in gateway.log()[start:].splitlines() if "gateway/http:" not in line]


def check_refused(gateway, client, start, *words):
    """The message is refused: the socket is closed with a reason or it lives on; a log line names the field."""
    try:
        client.send_execute("print after")
        message = client.receive_until(lambda m: m["content"].get("text") == "after\n", timeout=10)
        assert message
    except (Closed, websocket.WebSocketException, OSError) as closed:
        code = getattr(closed, "code", None)
        assert code not in (1000, 1001), "a client would not come back"
    lines = wait_until(lambda: refusals(gateway, start), 5, "a log line")
    for word in words:
        assert any(word in line for line in lines), lines


HEADER = {"msg_id": "m", "msg_type": "execute_request", "session": "s", "username": "u", "date": "", "version": "5.2"}
GOOD = {"channel": "shell", "header": HEADER, "parent_header": {}, "metadata": {}, "content": {"code": "print bad"}}


@pytest.mark.parametrize("text, words", [
    ("", []), ("not json", []), ("[]", []), ("7", []), ('{"channel": "shell"}', ["header"]),
    (json.dumps(GOOD | {"header": []}), ["header"]), (json.dumps(GOOD | {"header": {}}), ["header"]),
    (json.dumps(GOOD | {"header": HEADER | {"msg_type": 7}}), ["msg_type"]),
    (json.dumps(GOOD | {"header": HEADER | {"msg_id": None}}), ["msg_id"]),
    (json.dumps(GOOD | {"content": "code"}), ["content"]),
    (json.dumps(GOOD | {"parent_header": 7}), ["parent_header"]),
    (json.dumps(GOOD | {"channel": 7}), ["channel"]), (json.dumps(GOOD | {"channel": {}}), ["channel"]),
    (json.dumps(GOOD)[:-5], []),
    ('{"a":' * 200_000, []),
], ids=lambda value: value[-40:] if isinstance(value, str) else "-".join(value))
def test_bad_legacy_text(gateway, client, text, words):
    client.kernel_info()
    start = len(gateway.log())
    client.send_frame(text)
    check_refused(gateway, client, start, *words)


@pytest.mark.parametrize("channel", ["hb", "shel", ""])
def test_unknown_channel_is_ignored(client, channel):
    """JEG does so, and the rest of the connection works on."""
    client.send_frame(json.dumps(GOOD | {"channel": channel}))
    assert client.run_cell("print still").text() == "still\n"


def test_iopub_from_a_client_is_ignored(client):
    client.send_frame(json.dumps(GOOD | {"channel": "iopub"}))
    assert client.run_cell("print still").text() == "still\n"


@pytest.mark.parametrize("data", [
    b"", b"\x00", b"\x00\x00\x00\x01", struct.pack(">II", 1, 8), struct.pack(">II", 0, 8) + b"{}",
    struct.pack(">III", 2, 12, 4) + b"{}xx", struct.pack(">III", 2, 12, 2**31) + b"{}",
    struct.pack(">I", 2**32 - 1) + b"x" * 100, struct.pack(">II", 1, 8) + b"not json",
], ids=repr)
def test_bad_legacy_binary(gateway, client, data):
    client.kernel_info()
    start = len(gateway.log())
    client.send_frame(data)
    check_refused(gateway, client, start)


def good_v1():
    return pack_v1("shell", HEADER, {}, {}, {"code": "print bad"})


def change_offset(index, value):
    data = bytearray(good_v1())
    struct.pack_into("<Q", data, 8 * (index + 1), value)
    return bytes(data)


@pytest.mark.parametrize("data, words", [
    (b"", []), (b"\x06", []), (struct.pack("<Q", 6), []), (struct.pack("<Q", 2**63), []),
    (struct.pack("<Q", 2**61) + b"x" * 64, []), (good_v1()[:-3], ["offset"]), (good_v1() + b"xx", []),
    (change_offset(0, 3), ["offset"]), (change_offset(2, 9), ["offset"]), (change_offset(3, 2**40), ["offset"]),
    (change_offset(5, 2**64 - 1), ["offset"]), (struct.pack("<QQQ", 2, 24, 24), []),
    (pack_v1("shell", [], {}, {}, {}), ["header"]), (pack_v1("shell", HEADER, {}, {}, []), ["content"]),
    (pack_v1("shell", HEADER, {}, {}, {}).replace(b'"msg_id"', b'"msg_xx"'), ["msg_id"]),
], ids=lambda value: value[:24].hex() if isinstance(value, bytes) else "")
def test_bad_v1(gateway, kernel, connect, data, words):
    client = connect(gateway, kernel, v1=True)
    client.kernel_info()
    start = len(gateway.log())
    client.send_frame(data)
    check_refused(gateway, client, start, *words)


def test_unknown_channel_of_v1_is_ignored(gateway, kernel, connect):
    client = connect(gateway, kernel, v1=True)
    client.send_frame(pack_v1("hb", HEADER, {}, {}, {"code": "print bad"}))
    assert client.run_cell("print still").text() == "still\n"


def test_text_frame_on_a_v1_connection_is_read_as_legacy(gateway, kernel, connect):
    client = connect(gateway, kernel, v1=True)
    header = client.header("execute_request")
    client.send_frame(json.dumps(GOOD | {"header": header, "content": {"code": "print text"}}))
    assert client.collect(header["msg_id"]).text() == "text\n", "the answer comes as v1"


def test_text_that_is_no_utf8_is_refused(client):
    client.kernel_info()
    client.socket.send(b'{"channel": "shell\xff"}', websocket.ABNF.OPCODE_TEXT)
    assert client.expect_close() in (1007, 1002, None)


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


@pytest.mark.parametrize("data", [
    frame(0x81, 0x02, b"{}"),                                    # not masked
    frame(0xF1, 0x80, b"\0\0\0\0"),                              # reserved bits
    frame(0x83, 0x80, b"\0\0\0\0"),                              # unknown opcode
    frame(0x80, 0x80, b"\0\0\0\0"),                              # continues nothing
    frame(0x09, 0x80, b"\0\0\0\0"),                              # a fragmented ping
    frame(0x89, 0xFE, b"\x00\x80\0\0\0\0" + b"x" * 128),         # a ping of 128 bytes
    frame(0x82, 0xFF, b"\xff" * 8 + b"\0\0\0\0"),                # a length beyond 2^63
    frame(0x88, 0x81, b"\0\0\0\0" + b"x"),                       # a close with half a code
], ids=["unmasked", "reserved", "opcode", "continuation", "split ping", "long ping", "length", "close"])
def test_frames_against_the_protocol_end_the_connection(client, data):
    client.kernel_info()
    client.socket.sock.sendall(data)
    assert client.expect_close() in (1002, 1009, 1007, None)


@pytest.mark.parametrize("code", ["badjson", "badutf8", "missingparts", "badhmac", "status thinking", "hugeparts 2000"])
@pytest.mark.parametrize("v1", [False, True], ids=["legacy", "v1"])
def test_kernel_that_sends_rubbish_keeps_its_clients(gateway, kernel, connect, code, v1):
    client = connect(gateway, kernel, v1=v1)
    with_rubbish = client.send_execute(f"print before\n{code}\nprint after")
    texts = []
    while True:
        try:
            message = client.receive(timeout=10)
        except ValueError:  # v1 passes a kernel's own bytes on; this is what the kernel said
            continue
        if message["parent_header"].get("msg_id") == with_rubbish and message["header"]["msg_type"] == "stream":
            texts.append(message["content"]["text"])
            if texts[-1] == "after\n":
                break
    assert texts[0] == "before\n" and "forged\n" not in texts
    assert client.run_cell("print next").text() == "next\n"


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
