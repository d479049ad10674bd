"""More connections, requests and starts than the limits allow, and fewer descriptors than are needed: refused with the limit's name, or told, while
those who are there go on."""
import contextlib
import re
import resource
import socket
from pathlib import Path

import psutil
import pytest
import websocket

from support.processes import wait_until
from test_auth import as_user, token_file
from test_bad_http import read_answer
from test_journal_cap import fill, small_disk  # noqa: F401 - a fixture
from test_rest import check_error

GET = b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def crowd():
    """crowd(gateway, count, source) opens connections that are closed after the test."""
    with contextlib.ExitStack() as stack:
        def open_some(gateway, count, source="127.0.0.1"):
            return [stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), 15, (source, 0))) for _ in range(count)]

        yield open_some


@pytest.fixture
def start_with(start_gateway, tmp_path):
    """A gateway of anna, bert and a viewer with one limit."""
    def start(limit, count, *more, **settings):
        path = token_file(tmp_path / "tokens", *((name, role, f"{name}-token") for name, role in (("anna", "user"), ("bert", "user"), ("wall", "viewer"))))
        gateway = start_gateway("--auth-token-file", str(path), f"--{limit}", str(count), *more, **settings)
        gateway.token = "anna-token"
        return gateway
    return start


def hear(connection):
    """The answer, and the end of the connection if it is one."""
    with connection.makefile("rb") as stream:
        status, headers, body = read_answer(stream)
        if headers.get("connection") == "close":
            assert stream.read() == b""
    return status, headers, body


def ask(connection):
    connection.sendall(GET)
    return hear(connection)


def check_told(answer, code, setting):
    status, headers, body = answer
    assert status == code and headers["retry-after"] == "1" and f'"reason":"{setting}"' in body and f"({setting})" in body, answer


def overload(gateway):
    """As a viewer: a user hears nothing of others' connections."""
    return gateway.get("/api/elara/status", headers=as_user("wall")).json()["http"]


def connections_are(gateway, count):
    """One of them is the one that asks."""
    wait_until(lambda: overload(gateway)["connections"] == count + 1, what=f"{count} connections")
    process = psutil.Process(gateway.process.pid)  # and goes, a moment later
    wait_until(lambda: sum(one.status != psutil.CONN_LISTEN for one in process.net_connections("tcp")) == count, what="the end of who asked")


def test_connections_in_all(start_gateway, crowd, connect):
    gateway = start_gateway("--max-connections", "6")
    with gateway.kernel() as kernel_id:
        client = connect(gateway, kernel_id)
        connections_are(gateway, 1)
        idle = crowd(gateway, 5)
        for late in crowd(gateway, 3):
            check_told(hear(late), 503, "max-connections")
        assert client.run_cell("print inside").text() == "inside\n"
        assert ask(idle[0])[0] == 200
        idle[1].close()
        wait_until(lambda: ask(crowd(gateway, 1)[0])[0] == 200, what="a connection in its place")
        for connection in idle[2:]:
            connection.close()
    assert overload(gateway)["refused"] >= 3


def test_connections_of_one_address(start_gateway, crowd):
    """What a header says about addresses does not count: it would be the client's choice."""
    gateway = start_gateway("--max-connections-per-address", "4", "--trust-xheaders")
    crowd(gateway, 4, "127.0.0.2")
    late, other = crowd(gateway, 1, "127.0.0.2")[0], crowd(gateway, 1)[0]
    check_told(hear(late), 429, "max-connections-per-address")
    other.sendall(GET.replace(b"\r\n\r\n", b"\r\nX-Real-Ip: 127.0.0.2\r\n\r\n"))
    assert hear(other)[0] == 200


def test_known_users_do_not_count_for_their_address(start_with, crowd):
    """They may all come over one proxy."""
    gateway = start_with("max-connections-per-address", 2)
    known = GET.replace(b"\r\n\r\n", b"\r\nAuthorization: token bert-token\r\n\r\n")
    for _ in range(5):
        one = crowd(gateway, 1, "127.0.0.2")[0]
        one.sendall(known)
        assert hear(one)[0] == 200
    crowd(gateway, 2, "127.0.0.2")
    check_told(hear(crowd(gateway, 1, "127.0.0.2")[0]), 429, "max-connections-per-address")


def test_refused_connections_are_not_kept(start_gateway, crowd):
    """They are told why, as far as there is room to; the others are just closed."""
    gateway = start_gateway("--max-connections-per-address", "2")
    files = Path(f"/proc/{gateway.process.pid}/fd")
    before = len(list(files.iterdir()))
    refused = crowd(gateway, 400, "127.0.0.2")
    told = sum(connection.recv(20).startswith(b"HTTP/1.1 429") for connection in refused[2:202] if connection.settimeout(5) is None)
    assert 100 <= told <= 200
    wait_until(lambda: len(list(files.iterdir())) <= before + 2, what="their end")
    assert gateway.get("/api").status_code == 200


def test_connections_of_one_user(start_with, connect):
    gateway = start_with("max-connections-per-user", 3)
    with gateway.kernel() as kernel_id:
        connections_are(gateway, 0)
        mine = [connect(gateway, kernel_id) for _ in range(3)]
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            connect(gateway, kernel_id)
        assert refused.value.status_code == 429 and b"max-connections-per-user" in refused.value.resp_body
        check_error(gateway.get("/api/kernels"), 429, "max-connections-per-user")
        assert gateway.get("/api", headers=as_user("bert")).status_code == 200
        assert mine[0].run_cell("print inside").text() == "inside\n"
        mine[1].drop()
        wait_until(lambda: gateway.get("/api").status_code == 200, what="the place that became free")


SLOW = b"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nAuthorization: token %s-token\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"


def begin(connection, name="anna"):
    """A request whose body does not come; its status so far."""
    connection.sendall(SLOW % name.encode())
    return int(connection.recv(12).split()[1])


def test_requests_of_one_user(start_with, crowd):
    gateway = start_with("max-requests-per-user", 3)
    slow = crowd(gateway, 3)
    assert [begin(one) for one in slow] == [100] * 3
    check_error(gateway.get("/api"), 429, "max-requests-per-user")
    assert gateway.get("/api", headers=as_user("bert")).status_code == 200
    slow[0].close()
    wait_until(lambda: gateway.get("/api").status_code == 200, what="the place of the one that went away")
    slow[1].sendall(b"{}")
    wait_until(lambda: overload(gateway)["requests"] == 2, what="the end of one that was answered")


def test_requests_in_all(start_with, crowd):
    gateway = start_with("max-requests", 3)
    assert [begin(one, "anna") for one in crowd(gateway, 3)] == [100] * 3
    answer = gateway.get("/api", headers=as_user("bert"))
    check_error(answer, 503, "max-requests")
    assert answer.headers["Retry-After"] == "1" and answer.json()["reason"] == "max-requests"
    assert gateway.get("/healthz").status_code == 200, "a probe is not to kill it for being busy"


def test_starts_of_one_user(start_with, specs):
    specs.stub("slow", "--start-delay", "3000")
    gateway = start_with("max-starts-per-user", 2)
    first = [gateway.start_kernel("slow")["id"] for _ in range(2)]
    refused = gateway.post("/api/kernels", json={"name": "stub"}, headers={"User-Agent": "Tornado/6.4"})
    check_error(refused, 429, "max-starts-per-user")
    assert refused.headers["Retry-After"] == "1" and refused.json()["reason"] == "max-starts-per-user"
    assert gateway.post("/api/kernels", json={"name": "stub"}, headers=as_user("bert")).status_code == 201
    assert gateway.delete(f"/api/kernels/{first[0]}").status_code == 204
    assert gateway.start_kernel()["id"]


def test_sessions_of_one_user(start_with):
    gateway = start_with("max-sessions-per-user", 2)

    def post(path, name="anna"):
        body = {"path": path, "type": "notebook", "name": path, "kernel": {"id": kernels[name]}}
        return gateway.post("/api/sessions", json=body, headers=as_user(name))

    kernels = {name: gateway.post("/api/kernels", json={"name": "stub"}, headers=as_user(name)).json()["id"] for name in ("anna", "bert")}
    first = [post(path) for path in ("a.ipynb", "b.ipynb")]
    refused = post("c.ipynb")
    check_error(refused, 429, "max-sessions-per-user")
    assert refused.json()["reason"] == "max-sessions-per-user" and refused.headers["Retry-After"] == "1"
    assert len(gateway.get("/api/kernels").json()) == 1, "no kernel was started for it"
    assert post("b.ipynb").json()["id"] == first[1].json()["id"], "one that is there is none"
    assert post("c.ipynb", "bert").status_code == 201


def set_limit(gateway, limit):
    """No descriptor from this one on is to be had any more; those that are open stay. Returns what the limit was."""
    before, hard = resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE, (limit, hard))
    return before


def test_no_descriptor_left(start_gateway, crowd, connect):
    """Accepting pauses, and goes on; whoever is there does not notice. Large outputs are read from the journal's files otherwise."""
    gateway = start_gateway()
    with gateway.kernel() as kernel_id:
        client = connect(gateway, kernel_id, timeout=60)
        assert client.run_cell("print before").text() == "before\n"
        inside = crowd(gateway, 1)[0]
        connections_are(gateway, 2)
        before = set_limit(gateway, 3)
        outside = crowd(gateway, 20)
        for one in outside:
            one.sendall(GET)
        wait_until(lambda: "cannot accept connections: Too many open files" in gateway.log(), what="the log's line")
        assert b'"lacks_files":true' in raw_get(inside, "/api/elara/status")
        assert client.run_cell("print during").text() == "during\n"
        flood = client.run_cell("flood 10 200000")
        assert len(flood.text()) >= 10 * 200000 and flood.reply["status"] == "ok"
        set_limit(gateway, before)
        assert [hear(one)[0] for one in outside] == [200] * 20
        assert overload(gateway)["lacks_files"] is False
        log = gateway.log()
        assert log.count("cannot accept connections") == log.count("connections are accepted again") == 1


def raw_get(connection, path):
    connection.sendall(GET.replace(b"/api", path.encode()))
    return hear(connection)[2].encode()


def test_last_descriptors_are_the_kernels(start_gateway, crowd):
    """Clients that take what there is leave enough for a kernel to be started."""
    gateway = start_gateway()
    set_limit(gateway, 100)
    mine = crowd(gateway, 1)[0]
    assert ask(mine)[0] == 200
    crowd(gateway, 200)
    body = b'{"name": "stub"}'
    mine.sendall(b"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    status, _, answer = hear(mine)
    assert status == 201, answer
    kernel_id = re.search('"id": ?"([^"]*)"', answer).group(1)
    wait_until(lambda: b'"idle"' in raw_get(mine, f"/api/kernels/{kernel_id}"), 20, "the kernel")
    assert "cannot accept" not in gateway.log()
    late = crowd(gateway, 1)[0].recv(4096)
    assert late == b"" or b"limit of open files" in late


def test_no_disk_left(small_disk, start_gateway, connect):  # noqa: F811
    """A start is told to come back; what is there goes on, and can be restarted and ended."""
    gateway = start_gateway(home=small_disk)
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    fill(small_disk / "filler")
    refused = gateway.post("/api/kernels", json={"name": "stub"})
    check_error(refused, 503, "No space left on device")
    assert refused.headers["Retry-After"] == "1"
    client = connect(gateway, kernel_id, timeout=60)
    assert client.run_cell("print during").text() == "during\n"
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert client.run_cell("print anew").text() == "anew\n"
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    (small_disk / "filler").unlink()
    assert gateway.post("/api/kernels", json={"name": "stub"}).status_code == 201


def test_flood_of_refusals_does_not_fill_the_log(start_with):
    gateway = start_with("max-requests", 0)
    request = b"GET /api HTTP/1.1\r\nHost: localhost\r\nAuthorization: token wrong\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as raw, raw.makefile("rb") as stream:
        raw.sendall(request * 2000)
        assert {read_answer(stream)[0] for _ in range(2000)} == {401}
        wait_until(lambda: raw.sendall(request) or read_answer(stream) and count_refused(gateway.log()) >= 2000, what="their number")
    assert gateway.log().count("GET /api -> 401") < 2000


def count_refused(log):
    """Those that have a line, and those that have none."""
    return log.count("GET /api -> 401") + sum(int(count) for count in re.findall(r"(\d+) lines about requests are not in this log", log))
