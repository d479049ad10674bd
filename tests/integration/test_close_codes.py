"""Why a WebSocket ends, and with which close code: JupyterLab does not come back after 1000 or 1001, and comes back after any other."""
import json
import os
import signal
import struct

import pytest
import websocket

from support.client import Client, Closed, pack_v1
from support.processes import wait_until

NOT_AGAIN = (1000, 1001)


def closing(client, timeout=10):
    """Code and reason of the close frame; None for a connection that ended without one."""
    try:
        client.receive_until(lambda message: False, timeout)
    except Closed as closed:
        return closed.code, closed.reason
    raise AssertionError("not closed")


def is_open(client):
    return client.kernel_info()["status"] == "ok"


def test_deleted_kernel_leaves_the_socket_until_it_is_used_and_then_says_not_again(gateway, connect):
    """A client that was cut off would come back for a kernel that is not there."""
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    client.kernel_info()
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    client.send_execute("print x")
    code, reason = closing(client)
    assert code == 1000 and "shut down" in reason
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        Client(gateway, kernel_id)
    assert refused.value.status_code == 404


def test_lost_launcher_closes_no_socket(start_gateway, connect):
    gateway = start_gateway()
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    client.kernel_info()
    for pid in gateway.launcher_pids(kernel_id):
        os.kill(pid, signal.SIGKILL)
    client.receive_until(lambda m: m["content"].get("execution_state") == "restarting", timeout=40)
    assert client.run_cell("print on").text() == "on\n", "of another launcher"
    assert is_open(client)


@pytest.mark.parametrize("v1", [False, True], ids=["legacy", "v1"])
@pytest.mark.parametrize("fragments", [1, 20], ids=["one frame", "fragments"])
def test_too_large_is_1009(start_gateway, connect, v1, fragments):
    gateway = start_gateway("--message-limit", "64k")
    with gateway.kernel() as kernel_id:
        client = connect(gateway, kernel_id, v1=v1)
        client.kernel_info()
        opcodes = [websocket.ABNF.OPCODE_BINARY] + [websocket.ABNF.OPCODE_CONT] * (fragments - 1)
        try:
            for i, opcode in enumerate(opcodes):
                client.socket.send_frame(websocket.ABNF.create_frame(
                    b"x" * (100_000 // fragments), opcode, fin=int(i == fragments - 1)))
        except OSError:  # it is closed already
            pass
        code, reason = closing(client)
        assert code == 1009 and "limit" in reason
        assert is_open(connect(gateway, kernel_id))


def test_frame_of_an_absurd_length_is_1009_before_it_came(gateway, client):
    client.kernel_info()
    client.socket.sock.sendall(b"\x82\xff" + struct.pack(">Q", 2**62) + b"\0\0\0\0" + b"first")
    assert closing(client)[0] == 1009


def test_invalid_utf8_is_1007(client):
    client.kernel_info()
    client.socket.send(b'{"channel": "shell\xff"}', websocket.ABNF.OPCODE_TEXT)
    code, reason = closing(client)
    assert code == 1007 and "UTF-8" in reason


@pytest.mark.parametrize("v1, data, field", [
    (False, '{"channel": "shell", "header": []}', "header"), (True, pack_v1("shell", [], {}, {}, {}), "header"),
    (True, b"\x06", "")], ids=["legacy", "v1", "v1 offsets"])
def test_unreadable_message_is_1007_and_names_the_field(gateway, kernel, connect, v1, data, field):
    client = connect(gateway, kernel, v1=v1)
    client.kernel_info()
    client.send_frame(data)
    code, reason = closing(client)
    assert code == 1007 and reason and field in reason


def test_frame_against_the_protocol_is_1002(client):
    client.kernel_info()
    client.socket.sock.sendall(b"\x81\x02{}")  # not masked
    code, reason = closing(client)
    assert code == 1002 and "masked" in reason


def test_own_close_is_answered_with_its_own_code(client):
    client.kernel_info()
    client.socket.send(struct.pack(">H", 4001) + b"bye", websocket.ABNF.OPCODE_CLOSE)
    assert closing(client)[0] == 4001


def test_client_that_answers_no_ping_is_dropped_without_a_close_frame(start_gateway, connect):
    """A peer that may be asleep: it must be able to come back, so no 1000 or 1001 waits for it in its buffer."""
    gateway = start_gateway("--ws-ping-interval", "1s")
    with gateway.kernel() as kernel_id:
        client = connect(gateway, kernel_id)
        client.kernel_info()
        wait_until(lambda: gateway.model(kernel_id)["connections"] == 0, 60, "the end of the silent client")
        raw, data = client.socket.sock, b""
        raw.settimeout(10)
        try:
            while chunk := raw.recv(65536):
                data += chunk
        except ConnectionError:
            pass
        frames = [data[i] for i in range(0, len(data), 2)]  # empty pings, two bytes each
        assert set(frames) <= {0x89}, data


@pytest.mark.parametrize("query, headers, status", [
    ("", ["Authorization: token wrong"], 401), ("token=wrong", [], 401), ("session_id=" + "x" * 256, None, 400),
    ("", ["Authorization: token right", "Origin: https://evil.example"], 403)])
def test_refusal_is_an_http_answer_never_a_socket_that_is_closed(start_gateway, query, headers, status):
    """Accept, then close: clients would do that for ever."""
    gateway = start_gateway(token="right")
    with gateway.kernel() as kernel_id:
        arguments = {"query": query} if query else {}
        if headers is None:
            arguments["session_id"] = None
            headers = ["Authorization: token right"]
        if "token=wrong" in query:
            headers = ["Authorization-Not: sent"]
            gateway.token, token = None, gateway.token
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            Client(gateway, kernel_id, headers=headers, **arguments)
        if "token=wrong" in query:
            gateway.token = token
        assert refused.value.status_code == status
        assert json.loads(refused.value.resp_body)["message"]


def test_stopping_gateway_closes_with_1012(start_gateway, connect):
    gateway = start_gateway()
    kernel_id = gateway.start_kernel()["id"]
    clients = [connect(gateway, kernel_id, v1=v1) for v1 in (False, True)]
    for client in clients:
        client.kernel_info()
    gateway.process.terminate()
    for client in clients:
        code, reason = closing(client)
        assert code == 1012 and "stopping" in reason
    assert gateway.process.wait(15) == 0


def test_killed_gateway_just_ends_the_connection(start_gateway, connect):
    gateway = start_gateway()
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    client.kernel_info()
    gateway.kill()
    assert closing(client)[0] not in NOT_AGAIN
