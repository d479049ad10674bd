"""WebSocket formats, and what real clients do on them."""
import ctypes
import json
import os
import re
import socket
import time
from pathlib import Path

import pytest
import websocket

from support.client import V1, Client, Closed, pack_legacy_binary
from support.processes import wait_until

STATUSES = {"starting", "idle", "busy", "restarting", "dead"}


# -- formats --

@pytest.mark.parametrize("v1", [False, True], ids=["legacy", "v1"])
def test_cell_gives_busy_input_output_idle_and_a_reply(gateway, kernel, connect, v1):
    cell = connect(gateway, kernel, v1=v1).run_cell("print hello\nresult 42")
    assert [m["header"]["msg_type"] for m in cell.messages if m["channel"] == "iopub"] == [
        "status", "execute_input", "stream", "execute_result", "status"]
    assert cell.text() == "hello\n" and cell.reply["status"] == "ok"
    assert cell.states == ["busy", "idle"]


def test_legacy_text_has_the_keys_that_clients_read(client):
    msg_id = client.send_execute("print x")
    message = client.receive_until(lambda m: m["header"]["msg_type"] == "stream")
    assert client.last[0] == websocket.ABNF.OPCODE_TEXT
    assert set(message) == {"header", "msg_id", "msg_type", "parent_header", "metadata", "content", "buffers", "channel"}
    assert message["buffers"] == [] and message["channel"] == "iopub"
    assert message["msg_id"] == message["header"]["msg_id"] and message["msg_type"] == "stream"
    assert message["parent_header"]["msg_id"] == msg_id


def test_v1_is_selected_when_offered_among_others(gateway, kernel):
    with Client(gateway, kernel, v1=True, subprotocols=["chat", V1]) as client:
        assert client.socket.getsubprotocol() == V1
        assert client.kernel_info()["status"] == "ok"


def test_unknown_subprotocols_alone_still_connect_without_one(gateway, kernel):
    raw = socket.create_connection(("127.0.0.1", gateway.port), timeout=5)
    with raw:
        raw.sendall((f"GET /api/kernels/{kernel}/channels HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\n"
                     "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-Websocket-Version: 13\r\n"
                     "Sec-Websocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Protocol: chat, x\r\n\r\n").encode())
        head = raw.recv(4096).decode().lower()
        assert head.startswith("http/1.1 101")
        assert "hsmrc0smlyukagmm5oppg2hagwk=" in head, "RFC 6455's example key and answer"
        assert "sec-websocket-protocol" not in head and "sec-websocket-extensions" not in head


@pytest.mark.parametrize("v1", [False, True], ids=["legacy", "v1"])
def test_binary_buffers_both_ways(gateway, kernel, connect, v1):
    """A comm message of a widget: to the kernel and back, byte for byte."""
    client = connect(gateway, kernel, v1=v1)
    buffers = [bytes(range(256)), b"", b"\x00\xff" * 50_000]
    msg_id = client.send("comm_msg", {"comm_id": "c1", "data": {"n": 1}}, buffers=buffers)
    echo = client.receive_until(lambda m: m["header"]["msg_type"] == "comm_msg")
    assert echo["parent_header"]["msg_id"] == msg_id and echo["content"] == {"comm_id": "c1", "data": {"n": 1}}
    assert echo["buffers"] == buffers
    assert client.last[0] == websocket.ABNF.OPCODE_BINARY


@pytest.mark.parametrize("v1", [False, True], ids=["legacy", "v1"])
def test_comm_with_buffers_through_ipykernel(gateway, connect, v1):
    code = """
from comm import get_comm_manager
def opened(comm, message):
    comm.on_msg(lambda m: comm.send(data=m["content"]["data"], buffers=m["buffers"][::-1]))
get_comm_manager().register_target("echo", opened)
"""
    with gateway.kernel("python3") as kernel_id:
        client = connect(gateway, kernel_id, v1=v1)
        assert client.run_cell(code, timeout=60).reply["status"] == "ok"
        client.send("comm_open", {"comm_id": "c", "target_name": "echo", "data": {}})
        client.send("comm_msg", {"comm_id": "c", "data": {"k": "v"}}, buffers=[b"\x00one\xff", b"two"])
        echo = client.receive_until(lambda m: m["header"]["msg_type"] == "comm_msg")
        assert echo["buffers"] == [b"two", b"\x00one\xff"] and echo["content"]["data"] == {"k": "v"}


def test_both_formats_see_the_same_messages(gateway, kernel, connect):
    legacy, v1 = connect(gateway, kernel), connect(gateway, kernel, v1=True)
    v1.kernel_info()
    msg_id = legacy.send_execute("print for both\nbinary 100")
    ours = legacy.collect(msg_id).of_type("stream", "display_data")
    theirs = [v1.receive_until(lambda m, t=t: m["header"]["msg_type"] == t) for t in ("stream", "display_data")]
    for a, b in zip(ours, theirs):
        assert (a["header"], a["content"], a["buffers"]) == (b["header"], b["content"], b["buffers"])


def test_unknown_header_fields_reach_the_kernel_untouched(client):
    header = client.header("execute_request", subshell_id=None, unheard_of={"a": [1, 2.50]})
    client.send("execute_request", {"code": "print x", "silent": False}, header=header)
    message = client.receive_until(lambda m: m["header"]["msg_type"] == "stream")
    assert message["parent_header"] == header


def test_unicode_and_escapes_survive(client):
    text = "\u00fc \U0001f40d \\ \" \u2028 </script> \x7f"
    assert client.run_cell(f"print {text}").text() == text + "\n"


@pytest.mark.parametrize("v1", [False, True], ids=["legacy", "v1"])
def test_control_channel_answers_while_the_shell_is_busy(gateway, kernel, connect, v1):
    client = connect(gateway, kernel, v1=v1)
    busy = client.send_execute("sleep 20000")
    client.receive_until(lambda m: m["header"]["msg_type"] == "execute_input")
    info = client.send("kernel_info_request", {}, channel="control")
    reply = client.receive_until(lambda m: m["header"]["msg_type"] == "kernel_info_reply", timeout=5)
    assert reply["channel"] == "control" and reply["parent_header"]["msg_id"] == info
    gateway.post(f"/api/kernels/{kernel}/interrupt")
    assert client.collect(busy).reply["status"] == "error"


@pytest.mark.parametrize("v1", [False, True], ids=["legacy", "v1"])
def test_input_request_comes_on_stdin_and_the_reply_reaches_the_kernel(gateway, kernel, connect, v1):
    client = connect(gateway, kernel, v1=v1)
    msg_id = client.send_execute("input name?")
    question = client.receive_until(lambda m: m["header"]["msg_type"] == "input_request")
    assert question["channel"] == "stdin" and question["content"]["prompt"] == "name?"
    client.send("input_reply", {"value": "Ada", "status": "ok"}, channel="stdin", parent=question["header"])
    assert client.collect(msg_id).text() == "Ada\n"


def test_two_clients_get_their_own_replies_and_all_outputs(gateway, kernel, connect):
    one, two = connect(gateway, kernel), connect(gateway, kernel)
    two.kernel_info()
    msg_id = one.send_execute("print shared")
    assert one.collect(msg_id).text() == "shared\n"
    two.send_execute("print end")
    seen = []
    two.receive_until(lambda m: seen.append(m) or (m["header"]["msg_type"] == "execute_reply"))
    mine = [m for m in seen if m["parent_header"].get("msg_id") == msg_id]
    assert "stream" in [m["header"]["msg_type"] for m in mine]
    assert all(m["channel"] == "iopub" for m in mine), "a reply goes to who asked"


def test_session_that_opens_again_at_once_gets_nothing_twice(gateway, kernel, connect):
    """JupyterLab reopens its socket the moment a kernel restarts, while the old one is still there."""
    first = connect(gateway, kernel, session_id="reopened")
    first.run_cell("print once")
    first.socket.ping()  # carries the TCP acknowledgement of all that was read, which might else be delayed
    while first.socket.recv_data_frame(control_frame=True)[0] != websocket.ABNF.OPCODE_PONG:
        pass
    again = connect(gateway, kernel, session_id="reopened")
    msg_id, seen = again.send("kernel_info_request", {}), []
    again.collect(msg_id, on_message=seen.append, reply_type="kernel_info_reply")
    assert {m["parent_header"].get("msg_id") for m in seen} == {msg_id}


def test_answers_to_the_launchers_own_questions_reach_nobody(start_gateway, specs, connect):
    """It asks for kernel_info until the kernel is ready; a client would take that busy and idle for its own."""
    specs.stub("slow", "--start-delay", "300")
    gateway = start_gateway()
    with gateway.kernel("slow") as kernel_id:
        client = connect(gateway, kernel_id)
        msg_id, seen = client.send("kernel_info_request", {}), []
        client.collect(msg_id, on_message=seen.append, reply_type="kernel_info_reply")
        cell = client.send_execute("print 1")
        client.collect(cell, on_message=seen.append)
        told = [m["content"] for m in seen if not m["parent_header"]]
        # What the gateway says itself, and the kernel where somebody listens to it early enough.
        assert told in ([starting := {"execution_state": "starting"}], [starting, starting])
        assert {m["parent_header"]["msg_id"] for m in seen if m["parent_header"]} == {msg_id, cell}


# -- the double connect: JupyterLab behind jupyter_server 2.12 and later, at every kernel open --

def test_double_connect_during_start_answers_both_at_once(start_gateway, specs, connect, tmp_path):
    specs.stub("slow", "--start-when", str(tmp_path / "gate"))
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("slow")["id"]
    first = Client(gateway, kernel_id, session_id="same", user_agent="Tornado/6.5")
    wait_until(lambda: gateway.model(kernel_id)["connections"] == 1, what="the first socket")
    second = Client(gateway, kernel_id, session_id="same", user_agent="Tornado/6.5")
    assert gateway.model(kernel_id)["execution_state"] == "starting", "neither handshake waits for the kernel"
    (tmp_path / "gate").touch()
    with first, second:
        assert second.run_cell("print second").text() == "second\n"
        assert first.run_cell("print first").text() == "first\n"


def test_double_connect_with_the_first_socket_orphaned(start_gateway, specs):
    """The first one is never read and never closed; the second one works, now and after the kernel is ready."""
    specs.stub("slow", "--start-delay", "500")
    gateway = start_gateway()
    with gateway.kernel("slow") as kernel_id:
        orphan = Client(gateway, kernel_id, session_id="same", user_agent="Tornado/6.5")
        with Client(gateway, kernel_id, session_id="same", user_agent="Tornado/6.5") as client:
            assert client.kernel_info()["status"] == "ok"
            for _ in range(4):
                assert client.run_cell("flood 5000 1000", timeout=30).reply["status"] == "ok"
        orphan.drop()


def test_same_session_again_while_the_first_is_open_does_not_wait(gateway, kernel, connect):
    first = connect(gateway, kernel, session_id="again")
    first.kernel_info()
    begin = time.monotonic()
    second = connect(gateway, kernel, session_id="again")
    assert second.run_cell("print quick").text() == "quick\n"
    assert time.monotonic() - begin < 2


def test_unread_socket_stalls_nobody_and_memory_stays_bounded(gateway, kernel, connect):
    def memory():
        status = open(f"/proc/{gateway.process.pid}/status").read()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024

    orphan = connect(gateway, kernel)
    orphan.kernel_info()
    worker = connect(gateway, kernel)
    before = memory()
    for _ in range(60):
        assert worker.run_cell("big 1000000", timeout=30).reply["status"] == "ok"
    is_sanitized = "libasan" in open(f"/proc/{gateway.process.pid}/maps").read()  # it keeps freed memory for a while
    assert memory() - before < (300 if is_sanitized else 40), "60 MB wait in the journal, not in the gateway"
    orphan.drop()


def test_stuck_client_that_reads_again_gets_everything(gateway, kernel, connect):
    sleeper, worker = connect(gateway, kernel), connect(gateway, kernel)
    sleeper.kernel_info()
    for i in range(15):
        worker.run_cell("big 1000000\nprint %d" % i, timeout=30)
    numbers = []
    while len(numbers) < 15:
        message = sleeper.receive(timeout=20)
        text = message["content"].get("text", "") if message["header"]["msg_type"] == "stream" else ""
        if text and text[0] != "x":
            numbers.append(int(text))
    assert numbers == list(range(15))


# -- flood --

@pytest.mark.parametrize("v1", [False, True], ids=["legacy", "v1"])
def test_no_message_of_a_flood_is_lost_or_out_of_order(gateway, kernel, connect, v1):
    client = connect(gateway, kernel, v1=v1)
    count = 20_000
    cell = client.run_cell(f"flood {count} 20", timeout=60)
    numbers = [int(line[-10:]) for line in cell.text().splitlines()]
    assert numbers == list(range(count))


# -- oddities of real clients --

def test_text_frame_with_nul_prefix_is_a_legacy_binary_message(gateway, kernel, connect):
    """jupyter_server forwards the browser's binary frames as text frames."""
    client = connect(gateway, kernel)
    message = {"channel": "shell", "header": client.header("comm_msg"), "parent_header": {}, "metadata": {},
               "content": {"comm_id": "c", "data": {}}}
    frame = pack_legacy_binary(message, [b"\xff\xfe\x00raw"])
    assert frame[0] == 0
    client.socket.send(frame, websocket.ABNF.OPCODE_TEXT)
    echo = client.receive_until(lambda m: m["header"]["msg_type"] == "comm_msg")
    assert echo["buffers"] == [b"\xff\xfe\x00raw"]


def minimal(client, **changes):
    """An execute_request that a client wrote without care; None removes a member."""
    message = {"channel": "shell", "header": client.header("execute_request"), "parent_header": {}, "metadata": {},
               "content": {"code": "print fine", "silent": False}, "buffers": []}
    message |= changes
    return {name: value for name, value in message.items() if value is not None}


def check_works(client, message):
    client.send_frame(json.dumps(message))
    cell = client.collect(message["header"]["msg_id"])
    assert cell.text() == "fine\n"


def test_numeric_date(client):
    check_works(client, minimal(client, header=client.header("execute_request", date=1763724000.25)))


def test_absent_date(client):
    header = client.header("execute_request")
    del header["date"]
    check_works(client, minimal(client, header=header))


def test_empty_session(client):
    check_works(client, minimal(client, header=client.header("execute_request", session="")))


def test_missing_channel_means_shell(client):
    check_works(client, minimal(client, channel=None))


def test_buffers_as_an_object(client):
    check_works(client, minimal(client, buffers={}))


def test_missing_buffers_metadata_and_parent(client):
    check_works(client, minimal(client, buffers=None, metadata=None, parent_header=None))


def test_extra_top_level_members_and_escaped_slashes(client):
    message = minimal(client) | {"msg_id": "x", "msg_type": "execute_request", "msg": [1]}
    message["content"]["code"] = "print </b>"
    client.send_frame(json.dumps(message).replace("</", "<\\/"))
    assert client.collect(message["header"]["msg_id"]).text() == "</b>\n"


def test_without_a_session_id_all_works_but_replay(gateway, kernel, connect):
    client = connect(gateway, kernel, session_id=None)
    assert client.run_cell("print anonymous").text() == "anonymous\n"


def test_first_cell_sent_with_the_handshake_is_not_lost(gateway, connect):
    """Clients send as soon as the socket is open, long before the kernel is ready."""
    with gateway.kernel("python3") as kernel_id:
        client = connect(gateway, kernel_id)
        assert client.run_cell("print('early')", timeout=60).text() == "early\n"


def test_only_known_statuses_are_sent_and_listed_over_a_whole_life(start_gateway, specs, connect):
    """JupyterLab throws at any other."""
    specs.stub("slow", "--start-delay", "1000")
    gateway = start_gateway("--restart-limit", "1")
    kernel_id = gateway.start_kernel("slow")["id"]
    client = connect(gateway, kernel_id)
    sent, listed = set(), set()

    def note(message):
        listed.add(gateway.model(kernel_id)["execution_state"])
        if message["header"]["msg_type"] == "status":
            sent.add(message["content"]["execution_state"])
        return False

    client.run_cell("print the stand-in speaks first", on_message=note)
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    msg_id = client.send_execute("sleep 600000")
    listed.add(gateway.wait_for_state(kernel_id, "busy")["execution_state"])
    assert gateway.post(f"/api/kernels/{kernel_id}/interrupt").status_code == 204
    client.collect(msg_id, on_message=note)
    for end in ("restarting", "dead"):
        client.send_execute("exit 1")
        client.receive_until(lambda m: note(m) or m["content"].get("execution_state") == end)
    gateway.wait_for_state(kernel_id, "dead")
    client.run_cell("print to the dead", on_message=note)
    assert {"busy", "idle", "restarting", "dead"} <= sent <= STATUSES
    assert {"starting", "busy", "dead"} <= listed <= STATUSES


def test_status_that_only_the_kernel_knows_is_not_listed(gateway, kernel, connect):
    client = connect(gateway, kernel)
    msg_id = client.send_execute("status thinking\nprint thinks\nsleep 30000")
    client.receive_until(lambda m: m["content"].get("text") == "thinks\n")
    assert gateway.model(kernel)["execution_state"] == "busy"
    gateway.post(f"/api/kernels/{kernel}/interrupt")
    client.collect(msg_id)
    gateway.wait_for_state(kernel, "idle")


# -- coming and going --

@pytest.mark.parametrize("v1", [False, True], ids=["legacy", "v1"])
def test_replay_after_an_abrupt_drop_with_the_same_session(gateway, kernel, connect, v1):
    client = connect(gateway, kernel, session_id="laptop", v1=v1)
    msg_id = client.send_execute("count 30 20")
    seen = []
    while len(seen) < 5:
        message = client.receive()
        if message["header"]["msg_type"] == "stream":
            seen.append(message["content"]["text"])
    client.drop()
    wait_until(lambda: gateway.model(kernel)["execution_state"] == "idle", 15, "the cell's end")
    back = connect(gateway, kernel, session_id="laptop", v1=v1)
    cell = back.collect(msg_id, timeout=10)
    lines = "".join([*seen, cell.text()]).splitlines()
    assert lines[-1] == "line 29" and cell.reply["status"] == "ok"
    # What was under way when the line broke may come again or not; nothing after it may be missing.
    replayed = cell.text().splitlines()
    first = int(replayed[0].split()[1])
    assert first <= 5 or first == len(seen)
    assert replayed == [f"line {i}" for i in range(first, 30)]


def test_clean_close_and_return_gets_exactly_what_was_missed(gateway, kernel, connect):
    client = connect(gateway, kernel, session_id="tidy")
    assert client.run_cell("print before").text() == "before\n"
    msg_id = client.send_execute("sleep 300\nprint while away")
    client.receive_until(lambda m: m["header"]["msg_type"] == "execute_input")
    client.close()
    wait_until(lambda: gateway.model(kernel)["execution_state"] == "idle", 15, "the cell's end")
    back = connect(gateway, kernel, session_id="tidy")
    messages = []
    cell = back.collect(msg_id, on_message=messages.append)
    assert cell.text() == "while away\n"
    assert not [m for m in messages if m["content"].get("text") == "before\n"], "nothing twice"


def test_another_session_does_not_disturb_the_buffer(gateway, kernel, connect):
    """JEG threw the buffer away as soon as anybody else connected."""
    away = connect(gateway, kernel, session_id="away")
    msg_id = away.send_execute("sleep 200\nprint kept")
    away.receive_until(lambda m: m["header"]["msg_type"] == "execute_input")
    away.drop()
    with Client(gateway, kernel, session_id="visitor") as visitor:
        visitor.run_cell("print visitor")
    back = connect(gateway, kernel, session_id="away")
    cell = back.collect(msg_id)
    assert cell.text() == "kept\n" and cell.reply["status"] == "ok"


def test_new_session_is_live_only(gateway, kernel, connect):
    connect(gateway, kernel).run_cell("print history")
    late = connect(gateway, kernel)
    messages = []
    late.run_cell("print now", on_message=messages.append)
    assert "history\n" not in [m["content"].get("text") for m in messages]


def test_socket_of_a_deleted_kernel_stays_until_it_is_used(gateway, connect):
    """A client that was cut off would come back, again and again, for a kernel that is not there: who deleted it closes its own
    socket, and the others see the kernel's own shutdown_reply. Only who still asks is sent away, since nobody will answer."""
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    client.kernel_info()
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    client.socket.ping(b"after all of it")
    seen = []
    while (received := client.socket.recv_data_frame(control_frame=True))[0] != websocket.ABNF.OPCODE_PONG:
        seen.append(json.loads(received[1].data))
    assert [(m["channel"], m["header"]["msg_type"], m["content"]["restart"]) for m in seen] == [("iopub", "shutdown_reply", False)]
    client.send_execute("print anybody?")
    with pytest.raises(Closed) as closed:
        client.receive()
    assert (closed.value.code, closed.value.reason) == (1000, "the kernel was shut down")
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        Client(gateway, kernel_id)
    assert refused.value.status_code == 404


def test_ping_is_answered_and_silent_clients_are_pinged(start_gateway, connect):
    gateway = start_gateway("--ws-ping-interval", "1s")
    with gateway.kernel() as kernel_id:
        client = connect(gateway, kernel_id)
        client.kernel_info()
        client.socket.ping(b"are you there")
        client.socket.settimeout(5)
        seen = set()
        while not {websocket.ABNF.OPCODE_PING, websocket.ABNF.OPCODE_PONG} <= seen:
            opcode, frame = client.socket.recv_data_frame(control_frame=True)
            seen.add(opcode)
            if opcode == websocket.ABNF.OPCODE_PONG:
                assert frame.data == b"are you there"
            if opcode == websocket.ABNF.OPCODE_PING:
                client.socket.pong(frame.data)


def test_fragmented_messages_are_put_together(gateway, kernel, connect):
    client = connect(gateway, kernel)
    data = json.dumps(minimal(client)).encode()
    client.socket.send_frame(websocket.ABNF.create_frame(data[:10], websocket.ABNF.OPCODE_TEXT, fin=0))
    client.socket.ping(b"between")
    client.socket.send_frame(websocket.ABNF.create_frame(data[10:20], websocket.ABNF.OPCODE_CONT, fin=0))
    client.socket.send_frame(websocket.ABNF.create_frame(data[20:], websocket.ABNF.OPCODE_CONT, fin=1))
    assert client.collect(json.loads(data)["header"]["msg_id"]).text() == "fine\n"


def test_small_messages_do_not_wait_for_delayed_acks(gateway, kernel, connect):
    """Without TCP_NODELAY each exchange costs 40 ms."""
    client = connect(gateway, kernel)
    client.kernel_info()
    times = []
    for _ in range(21):
        begin = time.perf_counter()
        client.kernel_info()
        times.append(time.perf_counter() - begin)
    assert sorted(times)[10] < 0.030


def gateway_end_of(client, gateway):
    """A copy of the gateway's socket of this client."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(gateway.process.pid)
    ours = client.socket.sock.getsockname()
    for entry in Path(f"/proc/{gateway.process.pid}/fd").iterdir():
        if os.readlink(entry).startswith("socket:"):
            copy = libc.syscall(438, pidfd, int(entry.name), 0)  # pidfd_getfd
            if copy < 0:
                pytest.skip(f"machine limit: pidfd_getfd: {os.strerror(ctypes.get_errno())}")
            found = socket.socket(fileno=copy)
            try:
                if found.family == socket.AF_INET and found.getpeername() == ours:
                    os.close(pidfd)
                    return found
            except OSError:
                pass
            found.close()
    raise AssertionError("the gateway has no socket of this client")


def test_client_socket_has_tcp_nodelay(gateway, client):
    client.kernel_info()
    with gateway_end_of(client, gateway) as theirs:
        assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_large_request_reaches_the_kernel(gateway, kernel, connect):
    """Above what jupyter_server takes from a browser, and above the link's first grant."""
    client = connect(gateway, kernel, v1=True)
    blob = bytes(8_000_000)
    client.send("comm_msg", {"comm_id": "c", "data": {}}, buffers=[blob])
    echo = client.receive_until(lambda m: m["header"]["msg_type"] == "comm_msg", timeout=30)
    assert echo["buffers"] == [blob]
    assert client.run_cell("print small again").text() == "small again\n"


def test_large_outputs_arrive_whole(gateway, kernel, connect):
    for v1 in (False, True):
        cell = connect(gateway, kernel, v1=v1).run_cell("big 12000000", timeout=30)
        assert len(cell.text()) == 12_000_000
