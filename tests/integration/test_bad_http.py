"""Malformed HTTP: each gets a clear refusal that names the field, and nobody else notices."""
import json
import re
import socket
import time

import pytest

from test_rest import check_error

pytestmark = pytest.mark.usefixtures("bystander")


def exchange(gateway, data, timeout=15):
    """Sends bytes as they are; returns all that came back until the gateway closed (or `timeout`)."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=timeout) as raw:
        try:
            raw.sendall(data)
        except ConnectionError:
            pass
        received = b""
        try:
            while chunk := raw.recv(65536):
                received += chunk
                if b"\r\n\r\n" in received and keeps_open(received):
                    break
        except (ConnectionError, socket.timeout):
            pass
    return received


def keeps_open(received):
    """The whole answer is here: its Content-Length is complete."""
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.I)
    return bool(length) and len(body) >= int(length[1])


def status(received):
    match = re.match(rb"HTTP/1\.[01] (\d{3})", received)
    return int(match[1]) if match else None


def check_refused(received, *words, codes=(400,)):
    assert status(received) in codes, received[:300]
    text = received.decode(errors="replace").lower()
    for word in words:
        assert word.lower() in text, text


def test_well_formed_raw_request_is_the_control(gateway):
    assert status(exchange(gateway, b"GET /api HTTP/1.1\r\nHost: x\r\n\r\n")) == 200


def test_no_host(gateway):
    check_refused(exchange(gateway, b"GET /api HTTP/1.1\r\nAccept: */*\r\n\r\n"), "host")


def test_two_hosts(gateway):
    check_refused(exchange(gateway, b"GET /api HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), "host")


def test_two_content_lengths(gateway):
    body = b"POST /api/kernels HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} "
    check_refused(exchange(gateway, body), "content-length")


def test_content_length_and_transfer_encoding(gateway):
    body = (b"POST /api/kernels HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /api HTTP/1.1\r\nHost: x\r\n\r\n")
    received = exchange(gateway, body)
    check_refused(received)
    assert received.count(b"HTTP/1.1 ") == 1, "what follows is not taken for a request"


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"0x10", b"99999999999999999999", b"2, 2", b"+2", b""])
def test_content_length_that_is_no_number(gateway, length):
    body = b"POST /api/kernels HTTP/1.1\r\nHost: x\r\nContent-Length: " + length + b"\r\n\r\n{}"
    check_refused(exchange(gateway, body), codes=(400, 413))


def test_space_before_a_colon(gateway):
    check_refused(exchange(gateway, b"GET /api HTTP/1.1\r\nHost: x\r\nContent-Length : 0\r\n\r\n"))


def test_folded_header(gateway):
    check_refused(exchange(gateway, b"GET /api HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n folded\r\n\r\n"))


def test_100_kb_of_headers(gateway):
    lines = b"".join(b"X-%d: %s\r\n" % (i, b"v" * 1000) for i in range(100))
    check_refused(exchange(gateway, b"GET /api HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n"), codes=(431, 400))


def test_one_header_of_100_kb(gateway):
    check_refused(exchange(gateway, b"GET /api HTTP/1.1\r\nHost: x\r\nCookie: " + b"c" * 100_000 + b"\r\n\r\n"),
                  codes=(431, 400))


def test_request_line_of_100_kb(gateway):
    check_refused(exchange(gateway, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"), codes=(414, 431, 400))


def test_slow_headers_are_cut_off_and_nobody_waits(start_gateway):
    gateway = start_gateway("--header-timeout", "1s")
    slow = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
    with slow:
        slow.sendall(b"GET /api HTTP/1.1\r\nHost: x\r\n")
        begin = time.monotonic()
        assert gateway.get("/api").status_code == 200 and time.monotonic() - begin < 0.5
        received = b""
        try:
            for _ in range(40):  # a header line every 100 ms does not buy time
                slow.sendall(b"X-A: b\r\n")
                slow.settimeout(0.1)
                try:
                    chunk = slow.recv(4096)
                except socket.timeout:
                    continue
                received += chunk
                if not chunk:
                    break
        except ConnectionError:
            pass
        took = time.monotonic() - begin
    assert 0.5 < took < 3.5
    assert status(received) in (None, 400, 408)


def test_slow_body_is_cut_off(start_gateway):
    gateway = start_gateway("--body-timeout", "1s")
    begin = time.monotonic()
    received = exchange(gateway, b"POST /api/kernels HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert time.monotonic() - begin < 5 and status(received) in (None, 400, 408)


def test_many_idle_connections_stop_nobody(gateway):
    idle = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(200)]
    begin = time.monotonic()
    assert gateway.get("/api").status_code == 200 and time.monotonic() - begin < 1
    for one in idle:
        one.close()


@pytest.mark.parametrize("garbage", [b"\x00" * 100, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HELO there\r\n\r\n",
                                     b"GET\r\n\r\n", b"GET /api HTTP/9.9\r\nHost: x\r\n\r\n", b"\r\n" * 50])
def test_what_is_no_http_is_refused_or_dropped(gateway, garbage):
    received = exchange(gateway, garbage, timeout=2)
    assert status(received) in (None, 400, 405, 501, 505)


def test_body_above_the_limit(start_gateway):
    gateway = start_gateway("--body-limit", "64k")
    received = exchange(gateway, b"POST /api/kernels HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b" " * 70000)
    check_refused(received, codes=(413,))
    chunk = b"%x\r\n%s\r\n" % (40000, b" " * 40000)
    received = exchange(gateway, b"POST /api/kernels HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                        + chunk * 2 + b"0\r\n\r\n")
    check_refused(received, codes=(413, 400))


def test_chunked_body_is_read(gateway):
    received = exchange(gateway, b"POST /api/kernels HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                        b"7\r\n{\"name\"\r\n9\r\n: \"stub\"}\r\n0\r\n\r\n")
    assert status(received) == 201
    gateway.delete("/api/kernels/" + json.loads(received.split(b"\r\n\r\n", 1)[1])["id"])


def test_pipelined_requests_are_both_answered(gateway):
    request = b"GET /api HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as raw:
        raw.sendall(request * 2)
        received = b""
        while received.count(b"HTTP/1.1 200") < 2:
            chunk = raw.recv(65536)
            assert chunk, received
            received += chunk


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_accept_encoding_never_gives_undecodable_bytes(gateway, encoding):
    assert gateway.get("/api", headers={"Accept-Encoding": encoding}).json()["version"]


# -- bodies --

@pytest.mark.parametrize("body", ["{", "[]", '"name"', "7", "null x", '{"name": "stub"', "{'name': 'stub'}",
                                  b'{"name": "\xff\xfe"}', '{"name": "stub"} trailing'])
def test_body_that_is_no_json_object_is_400(gateway, body):
    check_error(gateway.post("/api/kernels", data=body), 400, "body" if body not in ("[]", '"name"', "7") else "")


def test_deeply_nested_json_is_400(gateway):
    check_error(gateway.post("/api/kernels", data='{"a":' * 100_000 + "1" + "}" * 100_000), 400)


@pytest.mark.parametrize("environment, words", [
    ([], ["env"]), ("A=B", ["env"]), ({"KERNEL_A": 7}, ["KERNEL_A"]), ({"KERNEL_A": None}, ["KERNEL_A"]),
    ({"KERNEL_A": ["x"]}, ["KERNEL_A"]), ({"KERNEL_A": "x" * 5000}, ["KERNEL_A"]),
    ({"KERNEL_A": "$(id)"}, ["KERNEL_A"]), ({"KERNEL_A": "`id`"}, ["KERNEL_A"]), ({"KERNEL_A": "a\nb"}, ["KERNEL_A"]),
    ({"KERNEL_A": "a\rb"}, ["KERNEL_A"]), ({"KERNEL_A": "a\0b"}, ["u0000"]), ({"KERNEL_A=B": "x"}, ["KERNEL_A"]),
    ({"KERNEL_LAUNCH_TIMEOUT": "soon"}, ["KERNEL_LAUNCH_TIMEOUT"]),
    ({"KERNEL_ID": "../../etc"}, ["kernel_id"]),
])
def test_bad_env_is_400_and_named(gateway, environment, words):
    check_error(gateway.post("/api/kernels", json={"name": "stub", "env": environment}), 400, *words)


@pytest.mark.parametrize("name", ["../stub", "stub/../stub", "/etc", "st\0ub", "x" * 10_000, "", "..", "stub%2f..", 7, None,
                                  ["stub"], {"name": "stub"}])
def test_bad_kernelspec_names(gateway, name):
    answer = gateway.post("/api/kernels", json={"name": name})
    if name in ("", None):  # the default kernel
        assert answer.status_code in (201, 400)
        if answer.status_code == 201:
            gateway.delete(f"/api/kernels/{answer.json()['id']}")
    else:
        assert answer.status_code in (400, 404), answer.text
        assert len(answer.text) < 4000, "what was sent is not echoed at length"


@pytest.mark.parametrize("kernel_id", ["x", "..", "%2e%2e", "a-b-c-d-e-f", "a-b-c-d", "a-b-c-d-%00", "a" * 10_000,
                                       "..%2f..%2fetc%2fpasswd", "%ff-b-c-d-e", "a-b-c-d-e%0d%0aX-Evil: 1"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_ids_that_are_no_ids_are_404(gateway, kernel_id, method):
    received = exchange(gateway, f"{method} /api/kernels/{kernel_id.replace(' ', '%20')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert status(received) in (404, 400, 414, 431), received[:200]
    assert b"X-Evil" not in received.split(b"\r\n\r\n")[0]


@pytest.mark.parametrize("path", ["/kernelspecs/stub/../../../../etc/passwd", "/kernelspecs/stub/%2e%2e/%2e%2e/etc/passwd",
                                  "/kernelspecs/stub/..%2f..%2fetc%2fpasswd", "/kernelspecs/../stub/kernel.json",
                                  "/kernelspecs/stub//etc/passwd", "/kernelspecs/stub/logo-64x64.png%00.txt"])
def test_resources_do_not_leave_their_directory(gateway, path):
    received = exchange(gateway, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert status(received) in (400, 403, 404), received[:200]
    assert b"root:" not in received


@pytest.mark.parametrize("headers, words", [
    ({"Upgrade": "websocket"}, []),
    ({"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}, ["sec-websocket-key"]),
    ({"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "short"},
     ["sec-websocket-key"]),
    ({"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "8",
      "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw=="}, ["13"]),
    ({"Connection": "Upgrade", "Upgrade": "h2c"}, []),
])
def test_bad_upgrades_are_400_or_426(gateway, kernel, headers, words):
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    received = exchange(gateway, f"GET /api/kernels/{kernel}/channels HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode())
    check_refused(received, *words, codes=(400, 426))


@pytest.mark.parametrize("session_id, word", [("x" * 256, "session_id"), ("a%00b", "query"), ("%ff%fe", "session_id")])
def test_bad_session_ids_are_refused_and_named(gateway, kernel, session_id, word):
    received = exchange(gateway, (
        f"GET /api/kernels/{kernel}/channels?session_id={session_id} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n").encode())
    check_refused(received, word)


def test_foreign_origin_is_refused_at_the_upgrade(gateway, kernel):
    received = exchange(gateway, (
        f"GET /api/kernels/{kernel}/channels HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nOrigin: https://evil.example\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n").encode())
    assert status(received) == 403


def test_client_that_leaves_before_the_answer(gateway):
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", gateway.port)) as raw:
            raw.sendall(b"GET /api/kernels HTTP/1.1\r\nHost: x\r\n\r\n")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert gateway.get("/api").status_code == 200
