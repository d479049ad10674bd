"""What clients send and do not finish: it is held within max-input-bytes, whoever comes above it is told so, and the others go on."""
import contextlib
import resource
import struct

import pytest

from support.client import Closed
from support.processes import wait_until
from test_auth import as_user
from test_overload import check_told, crowd, hear, overload, start_with  # noqa: F401 - fixtures
from test_rest import check_error

MIB = 1 << 20
# AddressSanitizer keeps what was freed, up to 256 MiB of it.
FREES_AT_ONCE = {"ASAN_OPTIONS": "quarantine_size_mb=0:thread_local_quarantine_size_kb=0"}
NOBODY = b"GET /api HTTP/1.1\r\nHost: localhost\r\nX-Long: "


def send_half(client, size=MIB):
    """Half of a message."""
    with contextlib.suppress(OSError):  # it was closed meanwhile
        client.socket.sock.sendall(b"\x82\xff" + struct.pack(">Q", 2 * size) + bytes(4) + bytes(size))


def send_half_body(connection, size=MIB, name="anna"):
    head = f"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {name}-token\r\nContent-Length: {2 * size}\r\n\r\n"
    with contextlib.suppress(OSError):
        connection.sendall(head.encode() + bytes(size))


def connect_bert(gateway, connect):
    """With a kernel of his own."""
    kernel_id = gateway.post("/api/kernels", json={"name": "stub"}, headers=as_user("bert")).json()["id"]
    return connect(gateway, kernel_id, headers=("Authorization: token bert-token",))


def input_is(gateway, size):
    wait_until(lambda: overload(gateway)["input_bytes"] == size, what=f"{size} bytes held")


def check_closed(client, setting):
    with pytest.raises(Closed) as closed:
        while True:
            client.receive()
    assert closed.value.code == 1013 and f"({setting})" in closed.value.reason, closed.value


def test_unfinished_input_of_one_user(start_with, connect, crowd):  # noqa: F811
    gateway = start_with("max-input-bytes-per-user", "4M")
    with gateway.kernel() as kernel_id:
        mine = [connect(gateway, kernel_id) for _ in range(3)]
        his = connect_bert(gateway, connect)
        slow = crowd(gateway, 2)
        send_half(mine[0])
        send_half(mine[1])
        send_half_body(slow[0])
        input_is(gateway, 3 * MIB)
        send_half(mine[2], 2 * MIB)
        check_closed(mine[2], "max-input-bytes-per-user")
        input_is(gateway, 3 * MIB)
        send_half_body(slow[1], 2 * MIB)
        check_told(hear(slow[1]), 429, "max-input-bytes-per-user")
        send_half(his, 3 * MIB)
        input_is(gateway, 6 * MIB)
        mine[0].drop()
        slow[0].close()
        input_is(gateway, 4 * MIB)
        mine[1].socket.sock.sendall(bytes(MIB))
        check_bad_message(mine[1])
        input_is(gateway, 3 * MIB)
        assert connect(gateway, kernel_id).run_cell("print on").text() == "on\n"


def check_bad_message(client):
    """It was whole, and only zeros."""
    with pytest.raises(Closed) as closed:
        while True:
            client.receive()
    assert closed.value.code == 1007


def test_strangers_have_half_of_it(start_with, crowd):  # noqa: F811
    gateway = start_with("max-input-bytes", "256k", "--header-limit", "64k")
    strangers = crowd(gateway, 3)
    for one in strangers[:2]:
        one.sendall(NOBODY + b"x" * (60 << 10))
    wait_until(lambda: overload(gateway)["input_bytes"] >= 120 << 10, what="their heads")
    strangers[2].sendall(NOBODY + b"x" * (60 << 10))
    check_told(hear(strangers[2]), 503, "max-input-bytes")
    body = b'{"name": "%s"}' % (b"x" * (100 << 10))
    check_error(gateway.post("/api/kernels", data=body), 400, "name")  # known clients have the other half


def test_a_gateway_with_little_memory(start_with, connect, crowd):  # noqa: F811
    """Ten times what it has: it lives, and so does what another user does."""
    gateway = start_with("max-input-bytes", "16M", environment=FREES_AT_ONCE)
    with gateway.kernel() as kernel_id:
        his = connect_bert(gateway, connect)
        mine = [connect(gateway, kernel_id) for _ in range(100)]
        slow = crowd(gateway, 100)
        allow_more(gateway, 128 * MIB)
        for i in range(100):
            send_half(mine[i], 8 * MIB)
            send_half_body(slow[i], 2 * MIB - 1)
        assert his.run_cell("print inside").text() == "inside\n"
        assert overload(gateway)["input_bytes"] <= 16 * MIB and overload(gateway)["refused"] >= 150
        assert gateway.process.poll() is None


def allow_more(gateway, size):
    """The gateway's address space may grow by so much."""
    pages = int(open(f"/proc/{gateway.process.pid}/statm").read().split()[0])
    resource.prlimit(gateway.process.pid, resource.RLIMIT_AS, (pages * resource.getpagesize() + size,) * 2)
