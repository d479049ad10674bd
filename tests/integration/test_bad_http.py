"""Malformed HTTP: each gets a clear refusal that names the field, and nobody else notices."""
import json
import re
import select
import socket
from dataclasses import dataclass

import pytest

from test_rest import check_error

pytestmark = pytest.mark.usefixtures("bystander")


@dataclass
class Answer:
    status: int
    headers: dict  # names in lower case
    body: str
    closed: bool  # the gateway ended the connection behind it

    @property
    def message(self):
        return json.loads(self.body)["message"]


def read_answer(stream):
    line = stream.readline()
    assert re.fullmatch(rb"HTTP/1\.1 \d{3} [A-Za-z -]+\r\n", line), line
    headers = {}
    while (field := stream.readline()) != b"\r\n":
        name, _, value = field.decode().partition(":")
        headers[name.lower()] = value.strip()
    return int(line.split()[1]), headers, stream.read(int(headers.get("content-length", 0))).decode()


def exchange(gateway, data):
    """Sends bytes as they are and reads the answer. Then the connection must be what the answer says: at its end, or good for another
    request. A gateway that says nothing, or hangs, fails here."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as raw, raw.makefile("rb") as stream:
        raw.sendall(data)
        answer = read_answer(stream)
        closed = answer[1].get("connection", "").lower() == "close"
        if closed:
            assert stream.read() == b"", "one request, one answer"
        else:
            raw.sendall(b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_answer(stream)[0] == 200
    return Answer(*answer, closed)


def check_refused(answer, code, *words, closed=True):
    """One status, a message that names the field, and whether bytes that follow could still be a request."""
    assert (answer.status, answer.closed) == (code, closed), answer
    assert isinstance(json.loads(answer.body)["reason"], str)
    for word in words:
        assert word in answer.message, answer


def test_well_formed_raw_request_is_the_control(gateway):
    answer = exchange(gateway, b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.status == 200 and not answer.closed
    answer = exchange(gateway, b"GET /api HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.status == 200 and answer.closed


def test_no_host(gateway):
    check_refused(exchange(gateway, b"GET /api HTTP/1.1\r\nAccept: */*\r\n\r\n"), 400, "header Host: is missing")


def test_two_hosts(gateway):
    check_refused(exchange(gateway, b"GET /api HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400, "header Host: is there more than once")


def test_two_content_lengths(gateway):
    body = b"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} "
    check_refused(exchange(gateway, body), 400, "header Content-Length: is there more than once")


def test_content_length_and_transfer_encoding(gateway):
    """What follows is not taken for a request: exchange() sees that nothing but one answer comes."""
    body = (b"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /api HTTP/1.1\r\nHost: localhost\r\n\r\n")
    check_refused(exchange(gateway, body), 400, "header Content-Length: together with Transfer-Encoding")


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"0x10", b"99999999999999999999", b"2, 2", b"+2", b""])
def test_content_length_that_is_no_number(gateway, length):
    body = b"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n{}"
    check_refused(exchange(gateway, body), 400, "header Content-Length: must be a decimal number")


@pytest.mark.parametrize("coding, code", [(b"gzip", 501), (b"gzip, chunked", 501), (b"chunked, chunked", 501), (b"", 501)])
def test_unknown_transfer_encoding(gateway, coding, code):
    body = b"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n"
    check_refused(exchange(gateway, body), code, "header Transfer-Encoding")


def test_space_before_a_colon(gateway):
    request = b"GET /api HTTP/1.1\r\nHost: localhost\r\nContent-Length : 0\r\n\r\n"
    check_refused(exchange(gateway, request), 400, "header Content-Length: white space before the colon")


def test_folded_header(gateway):
    check_refused(exchange(gateway, b"GET /api HTTP/1.1\r\nHost: localhost\r\nX-A: 1\r\n folded\r\n\r\n"), 400, "header", "folded")


@pytest.mark.parametrize("lines", [
    b"".join(b"X-%d: %s\r\n" % (i, b"v" * 1000) for i in range(100)), b"Cookie: " + b"c" * 100_000 + b"\r\n", b"X: y\r\n" * 1000,
], ids=["100 of 1 kB", "one of 100 kB", "1000 small"])
def test_large_headers(gateway, lines):
    check_refused(exchange(gateway, b"GET /api HTTP/1.1\r\nHost: localhost\r\n" + lines + b"\r\n"), 431, "header")


def test_request_line_of_100_kb(gateway):
    check_refused(exchange(gateway, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"), 431, "header")


def test_slow_headers_are_cut_off_and_nobody_waits(start_gateway):
    gateway = start_gateway("--header-timeout", "1s")
    with socket.create_connection(("127.0.0.1", gateway.port)) as slow:
        slow.sendall(b"GET /api HTTP/1.1\r\nHost: localhost\r\n")
        assert gateway.get("/api").status_code == 200
        for _ in range(200):  # a header line every 50 ms does not buy time
            slow.sendall(b"X-A: b\r\n")
            if select.select([slow], [], [], 0.05)[0]:
                break
        with slow.makefile("rb") as stream:
            status, _, body = read_answer(stream)
            assert status == 408 and json.loads(body)["message"].startswith("header")
            assert stream.read() == b""


def test_slow_body_is_cut_off(start_gateway):
    gateway = start_gateway("--body-timeout", "1s")
    request = b"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    check_refused(exchange(gateway, request), 408, "body")


def test_many_idle_connections_stop_nobody(gateway):
    idle = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(200)]
    assert gateway.get("/api").status_code == 200
    for one in idle:
        one.close()


@pytest.mark.parametrize("garbage, code", [
    (b"\x00" * 100, 400), (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400), (b"HELO there\r\n\r\n", 400),
    (b"GET\r\n\r\n", 400), (b"GET /api HTTP/9.9\r\nHost: localhost\r\n\r\n", 505), (b"GET /api HTTP/1.1\nHost: x\n\n", 400),
])
def test_what_is_no_http_is_refused(gateway, garbage, code):
    check_refused(exchange(gateway, garbage), code, "request line")


def test_empty_lines_before_a_request_are_skipped(gateway):
    assert exchange(gateway, b"\r\n" * 50 + b"GET /api HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 200


def test_body_above_the_limit(start_gateway):
    gateway = start_gateway("--body-limit", "64k")
    post = b"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\n"
    whole = post + b"Content-Length: 70000\r\n\r\n" + b" " * 70000
    check_refused(exchange(gateway, whole), 413, "body: larger than the limit")
    chunk = b"%x\r\n%s\r\n" % (40000, b" " * 40000)
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 2 + b"0\r\n\r\n"
    check_refused(exchange(gateway, chunked), 413, "body: larger than the limit")
    body = b'{"name": "stub"}'.ljust(65536)
    answer = exchange(gateway, post + b"Content-Length: 65536\r\n\r\n" + body)
    assert answer.status == 201, "up to the limit is fine"


def test_chunked_body_is_read(gateway):
    answer = exchange(gateway, b"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                      b"7\r\n{\"name\"\r\n9\r\n: \"stub\"}\r\n0\r\n\r\n")
    assert answer.status == 201 and json.loads(answer.body)["name"] == "stub"
    gateway.delete("/api/kernels/" + json.loads(answer.body)["id"])


@pytest.mark.parametrize("chunks", [b"zz\r\n{}\r\n", b"0x2\r\n{}\r\n", b"-2\r\n{}\r\n", b"2\r\n{}xx\r\n", b"\r\n", b"2;" + b"e" * 70_000])
def test_bad_chunks(gateway, chunks):
    request = b"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    check_refused(exchange(gateway, request), 400, "body: a chunk")


def test_pipelined_requests_are_answered_in_order(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as raw, raw.makefile("rb") as stream:
        raw.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in (b"/api", b"/api/nothing", b"/healthz")))
        assert [read_answer(stream)[0] for _ in range(3)] == [200, 404, 200]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_accept_encoding_never_gives_undecodable_bytes(gateway, encoding):
    assert gateway.get("/api", headers={"Accept-Encoding": encoding}).json()["version"]


# -- bodies --

@pytest.mark.parametrize("path", ["/api/kernels", "/api/sessions"])
@pytest.mark.parametrize("body", ["{", "[]", '"name"', "7", "null", "null x", '{"name": "stub"', "{'name': 'stub'}",
                                  b'{"name": "\xff\xfe"}', '{"name": "stub"} trailing'])
def test_body_that_is_no_json_object_is_400(gateway, path, body):
    check_error(gateway.post(path, data=body), 400, "body")


def test_deeply_nested_json_is_400(gateway):
    check_error(gateway.post("/api/kernels", data='{"a":' * 100_000 + "1" + "}" * 100_000), 400, "body")


@pytest.mark.parametrize("environment, words", [
    ([], ["env"]), ("A=B", ["env"]), ({"KERNEL_A": 7}, ["KERNEL_A"]), ({"KERNEL_A": None}, ["KERNEL_A"]),
    ({"KERNEL_A": ["x"]}, ["KERNEL_A"]), *(({"FOO": value}, ["env", "FOO"]) for value in (7, None, True, ["x"], {})),
    ({"KERNEL_A": "x" * 5000}, ["KERNEL_A"]),
    ({"KERNEL_A": "$(id)"}, ["KERNEL_A"]), ({"KERNEL_A": "`id`"}, ["KERNEL_A"]), ({"KERNEL_A": "a\nb"}, ["KERNEL_A"]),
    ({"KERNEL_A": "a\rb"}, ["KERNEL_A"]), ({"KERNEL_A": "a\0b"}, ["KERNEL_A", "NUL"]), ({"KERNEL_A=B": "x"}, ["KERNEL_A"]),
    ({"KERNEL_LAUNCH_TIMEOUT": "soon"}, ["KERNEL_LAUNCH_TIMEOUT"]),
    ({"KERNEL_ID": "../../etc"}, ["env: KERNEL_ID"]),
])
def test_bad_env_is_400_and_named(gateway, environment, words):
    check_error(gateway.post("/api/kernels", json={"name": "stub", "env": environment}), 400, *words)
    check_error(gateway.post("/api/sessions", json={"path": "p", "type": "file", "kernel": {"name": "stub", "env": environment}}),
                400, *words)


@pytest.mark.parametrize("field, value, code, word", [
    *(("name", value, 400, "name: ") for value in ("../stub", "stub/../stub", "/etc", "st\\ub", "st\nub", "x" * 10_000, 7, ["stub"],
                                                   {"name": "stub"})),
    ("name", "st\0ub", 400, "name: "),
    *(("name", value, 404, "Kernel spec") for value in ("..", "stub%2f..", "x" * 255)),
    *(("path", value, 400, "path: ") for value in (7, [], "p" * 10_000, "../../../etc", "a/../../b")),
    ("path", "a\0b", 400, "path: "),
    *(("kernel_id", value, 400, "kernel_id") for value in (7, "x", "..", "a-b-c-d-e-f", "a-b-c-d-../e", "i" * 10_000)),
])
def test_bad_names_paths_and_ids_are_refused_and_named(gateway, field, value, code, word):
    answer = gateway.post("/api/kernels", json={"name": "stub", field: value})
    check_error(answer, code, word)
    assert len(answer.text) < 1000, "what was sent is not echoed at length"


@pytest.mark.parametrize("name", ["", None])
def test_empty_kernelspec_name_means_the_default(gateway, name):
    answer = gateway.post("/api/kernels", json={"name": name})
    assert (answer.status_code, answer.json()["name"]) == (201, gateway.get("/api/kernelspecs").json()["default"])
    gateway.delete(f"/api/kernels/{answer.json()['id']}")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("kernel_id, shown", [
    ("x", "x"), ("..", ".."), ("%2e%2e", ".."), ("a-b-c-d-e-f", "a-b-c-d-e-f"), ("a-b-c-d", "a-b-c-d"), ("a" * 10_000, "a" * 100),
    ("..%2f..%2fetc%2fpasswd", "../../etc/passwd"), ("a-b-c-d-e%0d%0aX-Evil:%201", "a-b-c-d-e\r\nX-Evil"),
])
def test_ids_that_are_no_ids_are_404(gateway, kernel_id, shown, method):
    answer = exchange(gateway, f"{method} /api/kernels/{kernel_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    check_refused(answer, 404, f"Kernel does not exist: {shown}", closed=False)
    assert "x-evil" not in answer.headers and len(answer.body) < 1000


@pytest.mark.parametrize("path, word", [("/api/kernels/a-b-c-d-%00", "percent"), ("/api/kernels/%ff-b-c-d-e", "UTF-8"),
                                        ("/api/kernels/a%zz", "percent"), ("/kernelspecs/stub/logo-64x64.png%00.txt", "percent")])
def test_paths_that_are_no_text_are_400(gateway, path, word):
    check_refused(exchange(gateway, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()), 400, "path: ", word)


@pytest.mark.parametrize("path, code", [
    ("/kernelspecs/stub/../../../../etc/passwd", 403), ("/kernelspecs/stub/%2e%2e/%2e%2e/etc/passwd", 403),
    ("/kernelspecs/stub/..%2f..%2fetc%2fpasswd", 403), ("/kernelspecs/stub//etc/passwd", 403),
    ("/kernelspecs/../stub/kernel.json", 404),
])
def test_resources_do_not_leave_their_directory(gateway, path, code):
    answer = exchange(gateway, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    check_refused(answer, code, "root static directory" if code == 403 else "Kernel spec .. not found", closed=False)


KEY = "x3JJHMbDL1EzLkh9GBhXDw=="


def upgrade(gateway, kernel_id, query="", more="", version="13", key=KEY):
    lines = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: {version}\r\n" + more
    lines += f"Sec-WebSocket-Key: {key}\r\n" if key else ""
    return exchange(gateway, f"GET /api/kernels/{kernel_id}/channels{query} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())


def test_upgrade_without_a_key(gateway, kernel):
    for key in (None, "short", "x" * 24, KEY + KEY):
        check_refused(upgrade(gateway, kernel, key=key), 400, "header Sec-WebSocket-Key", closed=False)


def test_upgrade_to_another_version(gateway, kernel):
    answer = upgrade(gateway, kernel, version="8")
    check_refused(answer, 426, "header Sec-WebSocket-Version: must be 13", closed=False)
    assert answer.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize("lines", ["", "Upgrade: websocket\r\n", "Connection: Upgrade\r\nUpgrade: h2c\r\n"])
def test_channels_without_an_upgrade_to_websocket(gateway, kernel, lines):
    answer = exchange(gateway, f"GET /api/kernels/{kernel}/channels HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
    assert (answer.status, answer.closed, answer.body) == (400, False, 'Can "Upgrade" only to "WebSocket".')


@pytest.mark.parametrize("session_id, word, closed", [("x" * 256, "session_id: ", False), ("%ff%fe", "session_id: ", False),
                                                      ("a%00b", "query session_id: ", True)])
def test_bad_session_ids_are_refused_and_named(gateway, kernel, session_id, word, closed):
    check_refused(upgrade(gateway, kernel, f"?session_id={session_id}"), 400, word, closed=closed)


def test_foreign_origin_is_refused_at_the_upgrade(gateway, kernel):
    check_refused(upgrade(gateway, kernel, more="Origin: https://evil.example\r\n"), 403, "Origin: ", closed=False)


def test_client_that_leaves_before_the_answer(gateway):
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", gateway.port)) as raw:
            raw.sendall(b"GET /api/kernels HTTP/1.1\r\nHost: localhost\r\n\r\n")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert gateway.get("/api").status_code == 200
