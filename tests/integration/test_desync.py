"""Requests that two servers might end in different places. Each is refused and ends its connection, or is read in the one way that there is: what follows
is then answered exactly once. What single fields may hold stands in test_bad_http.py."""
import socket

import pytest

from test_bad_http import read_answer

HOST = b"Host: localhost\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
FOLLOWING = b"GET /following HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
END = b"0\r\n\r\n"


def get(path=b"/api", *fields):
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def post(body, *fields, path=b"/nothing", length=None):
    """fields None: a Content-Length that is right."""
    fields = fields or (b"Content-Length: %d" % (len(body) if length is None else length),)
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def coded(coding, body=END + SMUGGLED):
    return post(body, b"Transfer-Encoding:" + coding)


def chunked(body, path=b"/nothing"):
    return post(body, b"Transfer-Encoding: chunked", path=path)


REFUSED = {  # one answer with this status, then the end: neither what is smuggled nor what follows is read
    "CL.TE": (post(END + SMUGGLED, b"Content-Length: 4", b"Transfer-Encoding: chunked"), 400),
    "TE.CL": (post(END + SMUGGLED, b"Transfer-Encoding: chunked", b"Content-Length: 4"), 400),
    "TE.CL with a length of 0": (post(SMUGGLED, b"Transfer-Encoding: chunked", b"Content-Length: 0"), 400),
    "TE.TE": (post(END + SMUGGLED, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
    "TE.TE, the second unknown": (post(END + SMUGGLED, b"Transfer-Encoding: chunked", b"Transfer-encoding: cow"), 400),
    "CL.CL, equal": (post(SMUGGLED, b"Content-Length: 0", b"Content-Length: 0"), 400),
    "CL.CL, in another case": (post(SMUGGLED, b"Content-Length: 0", b"content-length: 40"), 400),
    "a signed length": (post(SMUGGLED, b"Content-Length: +0"), 400),
    "a length with a fraction": (post(SMUGGLED, b"Content-Length: 0.0"), 400),
    "a length in words": (post(SMUGGLED, b"Content-Length: 0 0"), 400),
    "a length beyond 64 bits": (post(SMUGGLED, b"Content-Length: 18446744073709551616"), 400),
    "TE xchunked": (coded(b" xchunked"), 501),
    "TE chunked with something behind": (coded(b" chunked x"), 501),
    "TE chunked, identity": (coded(b" chunked, identity"), 501),
    "TE identity": (coded(b" identity"), 501),
    "TE with a parameter": (coded(b" chunked;q=1"), 501),
    "TE in quotes": (coded(b' "chunked"'), 501),
    "TE with a vertical tab": (coded(b" \x0bchunked"), 400),
    "TE with a form feed": (coded(b" chunked\x0c"), 400),
    "TE with a NUL": (coded(b" chunked\0"), 400),
    "TE with a letter beyond ASCII": (coded(b" chunked\xa0"), 501),
    "TE behind a bare LF": (coded(b"\nchunked"), 400),
    "TE behind a bare CR": (post(END + SMUGGLED, b"X: a\rTransfer-Encoding: chunked", b"Content-Length: 5"), 400),
    "TE folded": (post(END + SMUGGLED, b"Transfer-Encoding:\r\n chunked"), 400),
    "TE in a folded line": (post(END + SMUGGLED, b"X: a\r\n\tTransfer-Encoding: chunked"), 400),
    "TE with a space before the colon": (post(END + SMUGGLED, b"Transfer-Encoding : chunked"), 400),
    "TE with a tab before the colon": (post(END + SMUGGLED, b"Transfer-Encoding\t: chunked"), 400),
    "TE in a line that begins with a space": (post(END + SMUGGLED, b" Transfer-Encoding: chunked"), 400),
    "TE of HTTP/1.0": (coded(b" chunked").replace(b"HTTP/1.1", b"HTTP/1.0", 1), 400),
    "a name with a NUL": (get(b"/api", b"X\0Y: a"), 400),
    "a name in quotes": (get(b"/api", b'"X": a'), 400),
    "no name": (get(b"/api", b": a"), 400),
    "no colon": (get(b"/api", b"Xa"), 400),
    "lines that end in LF": (get().replace(b"\r\n", b"\n") + SMUGGLED, 400),
    "an empty line that ends in LF": (b"GET /api HTTP/1.1\r\n" + HOST + b"\n" + SMUGGLED, 400),
    "lines that end in CR": (b"GET /api HTTP/1.1\r" + HOST[:-2] + b"\r\r" + SMUGGLED, 400),
    "a CR at the end of a line": (get(b"/api", b"X: a\r"), 400),
    "a NUL in the target": (get(b"/api\0/x"), 400),
    "a space in the target": (get(b"/api HTTP/1.1 /x"), 400),
    "a tab in the target": (get(b"/api\t/x"), 400),
    "a fragment": (get(b"/api#x"), 400),
    "two spaces": (get().replace(b"GET ", b"GET  "), 400),
    "a tab behind the method": (get().replace(b"GET ", b"GET\t"), 400),
    "a space behind the version": (get().replace(b"HTTP/1.1", b"HTTP/1.1 "), 400),
    "a space before the method": (b" " + get(), 400),
    "a method with a colon": (get().replace(b"GET", b"GET:"), 400),
    "http/1.1": (get().replace(b"HTTP/1.1", b"http/1.1"), 400),
    "HTTP/1.10": (get().replace(b"HTTP/1.1", b"HTTP/1.10"), 505),
    "HTTP/1.1 in other digits": (get().replace(b"HTTP/1.1", b"HTTP/01.1"), 505),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/0.9": (b"GET /api\r\n\r\n", 400),
    "user and host in the target": (get(b"http://localhost@evil.example/api"), 400),
    "a target without a host": (get(b"http:///api"), 400),
    "authority-form": (b"CONNECT localhost:22 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "GET *": (get(b"*"), 400),
    "a relative target": (get(b"api"), 400),
    "another scheme": (get(b"ftp://localhost/api"), 400),
    "a chunk whose line ends in LF": (chunked(b"2\n{}\r\n" + END), 400),
    "a chunk followed by LF": (chunked(b"2\r\n{}\n" + END), 400),
    "a chunk that is longer than it says": (chunked(b"1\r\n{}\r\n" + END), 400),
    "a chunk with a space before its size": (chunked(b" 2\r\n{}\r\n" + END), 400),
    "a chunk with a space behind its size": (chunked(b"2 \r\n{}\r\n" + END), 400),
    "a chunk with a NUL": (chunked(b"2\0\r\n{}\r\n" + END), 400),
    "a chunk with a bare CR": (chunked(b"2\r\r\n{}\r\n" + END), 400),
    "a chunk's extension with a bare LF": (chunked(b"2;a=\nx\r\n{}\r\n" + END + SMUGGLED), 400),
    "a chunk's extension with a bare CR": (chunked(b"2;a=\rx\r\n{}\r\n" + END), 400),
    "a chunk's extension with a NUL": (chunked(b"2;a=\0\r\n{}\r\n" + END), 400),
    "a chunk's extension without end": (chunked(b"2;" + b"a" * 1000 + b"\r\n{}\r\n" + END), 400),
    "a chunk of 64 bits": (chunked(b"10000000000000002\r\n{}\r\n" + END), 400),
    "a chunk of 56 bits": (chunked(b"ffffffffffffff\r\n{}\r\n" + END), 413),
    "a trailer with a bare LF": (chunked(b"0\r\nX: a\n\n" + SMUGGLED + b"\r\n"), 400),
    "a trailer with a NUL": (chunked(b"0\r\nX: \0\r\n\r\n"), 400),
    "trailers without end": (chunked(b"0\r\n" + b"X: a\r\n" * 10000, b"/api/kernels"), 413),
    "an unknown expectation": (post(SMUGGLED, b"Content-Length: 0", b"Expect: 200-ok"), 417),
    "two expectations": (post(SMUGGLED, b"Content-Length: 0", b"Expect: 100-continue, x"), 417),
}

IN_SYNC = {  # these answers, and then the one to what follows
    "a body that looks like a request": (post(SMUGGLED), [404]),
    "a GET with such a body": (get(b"/api", b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED, [200]),
    "a GET with a chunked body": (get(b"/api", b"Transfer-Encoding: chunked") + b"%x\r\n%s\r\n" % (len(SMUGGLED), SMUGGLED) + END, [200]),
    "a chunked body that looks like a request": (chunked(b"%X\r\n%s\r\n" % (len(SMUGGLED), SMUGGLED) + END), [404]),
    "a chunk of many zeros": (chunked(b"00000000002\r\n{}\r\n000000\r\n\r\n"), [404]),
    "a chunk with an extension": (chunked(b'2;a;b="c d" ;e\r\n{}\r\n0;last\r\n\r\n'), [404]),
    "a trailer that looks like a field": (chunked(b"0\r\nContent-Length: 40\r\nTransfer-Encoding: x\r\n\r\n"), [404]),
    "chunks of one byte": (chunked(b"1\r\n{\r\n1\r\n}\r\n" + END), [404]),
    "TE CHUNKED": (coded(b" CHUNKED", END), [404]),
    "TE without a space": (coded(b"chunked", END), [404]),
    "TE between tabs": (coded(b"\t chunked\t ", END), [404]),
    "another field that looks like TE": (post(b"", b"Transfer_Encoding: chunked"), [404]),
    "a length with zeros in front": (post(b"{}", b"Content-Length: 0002"), [404]),
    "an expectation that is met at once": (post(b"{}", b"Content-Length: 2", b"Expect: 100-continue"), [404]),
    "an expectation without a body": (get(b"/api", b"Expect: 100-continue"), [200]),
    "HEAD": (get().replace(b"GET", b"HEAD"), [200]),
    "DELETE with a body": (post(SMUGGLED).replace(b"POST", b"DELETE"), [404]),
    "OPTIONS *": (get(b"*").replace(b"GET", b"OPTIONS"), [200]),
    "a method in small letters": (get().replace(b"GET", b"get"), [405]),
    "absolute-form of us": (get(b"http://localhost/api"), [200]),
    "absolute-form of another": (get(b"http://evil.example/api"), [403]),
    "absolute-form whatever Host says": (get(b"http://localhost/api").replace(HOST, b"Host: evil.example\r\n"), [200]),
    "two slashes and a host": (get(b"//evil.example/api"), [404]),
    "HTTP/1.0 that stays": (get(b"/api", b"Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"), [200]),
    "an upgrade to HTTP/2": (get(b"/api", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"), [200]),
    "a refused WebSocket": (get(b"/api", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 777"), [200]),
    "empty lines between": (b"\r\n\r\n" + get() + b"\r\n" + get(), [200, 200]),
    "three at once, a body among them": (get() + post(b"{}") + get(b"/healthz"), [200, 404, 200]),
    "a hundred at once": (get() * 100, [200] * 100),
}

ENDS = {  # these answers, and nothing more: the client has said that it ends there
    "Connection: close": (get(b"/api", b"Connection: close") + SMUGGLED, [200]),
    "Connection: close among others": (get(b"/api", b"Connection: x, Close") + SMUGGLED, [200]),
    "HTTP/1.0": (get().replace(b"HTTP/1.1", b"HTTP/1.0") + SMUGGLED, [200]),
}


def answers(gateway, data, is_head=False):
    """Of what was sent and of FOLLOWING, up to the end of the connection; whether what follows was answered last."""
    found = []
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as raw, raw.makefile("rb") as stream:
        raw.sendall(data + FOLLOWING)
        while stream.peek(1):
            status, headers, body = read_head(stream) if is_head and not found else read_answer(stream)
            assert "smuggled" not in body
            found.append((status, "/following" in body))
    return [status for status, _ in found], [follows for _, follows in found]


def read_head(stream):
    """An answer to HEAD has a Content-Length, and no body."""
    status = int(stream.readline().split()[1])
    while stream.readline() != b"\r\n":
        pass
    return status, {}, ""


@pytest.mark.parametrize("name", REFUSED)
def test_refused(gateway, name):
    data, status = REFUSED[name]
    assert answers(gateway, data) == ([status], [False])


@pytest.mark.parametrize("name", IN_SYNC)
def test_in_sync(gateway, name):
    data, statuses = IN_SYNC[name]
    assert answers(gateway, data, is_head=name == "HEAD") == ([*statuses, 404], [False] * len(statuses) + [True])


@pytest.mark.parametrize("name", ENDS)
def test_nothing_behind_the_end(gateway, name):
    data, statuses = ENDS[name]
    assert answers(gateway, data) == (statuses, [False] * len(statuses))


def test_body_that_comes_after_its_refusal(gateway):
    """The refusal does not wait for the body, so that nobody knows where that ends."""
    head = post(b"", b"Content-Length: %d" % len(SMUGGLED))
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as raw, raw.makefile("rb") as stream:
        raw.sendall(head)
        status, headers, _ = read_answer(stream)
        assert (status, headers["connection"]) == (404, "close")
        raw.sendall(SMUGGLED)
        assert stream.read() == b""


def test_expectation_that_is_waited_for(gateway):
    body = b'{"name": "nothing"}'
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as raw, raw.makefile("rb") as stream:
        raw.sendall(post(b"", b"Content-Length: %d" % len(body), b"Expect: 100-continue", path=b"/api/kernels"))
        assert (stream.readline(), stream.readline()) == (b"HTTP/1.1 100 Continue\r\n", b"\r\n")
        raw.sendall(body + FOLLOWING)
        assert [read_answer(stream)[0] for _ in range(2)] == [404, 404] and stream.read() == b""


def test_request_byte_by_byte(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=15) as raw, raw.makefile("rb") as stream:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post(b"2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n", b"Transfer-Encoding: chunked", path=b"/api/sessions") + FOLLOWING:
            raw.sendall(bytes([byte]))
        assert [read_answer(stream)[0] for _ in range(2)] == [400, 404] and stream.read() == b""
