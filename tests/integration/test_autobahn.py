"""The cases of the Autobahn test suite for WebSocket servers (1 to 7, 9 and 10: all but those about compression), by their numbers, against an echo
server on the gateway's WebSocket code (tests/tools/websocket_echo.c). The suite itself needs Python 2."""
import contextlib
import itertools
import socket
import struct
import subprocess
import tempfile
import time
from dataclasses import dataclass, field

import pytest

from support.processes import SANITIZER_REPORT

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = 0x5AA51234
HANDSHAKE = (b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n")


@pytest.fixture(scope="module")
def port(build):
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen([build / "tests" / "websocket_echo"], stdin=subprocess.PIPE,
                                                               stdout=subprocess.PIPE, stderr=log, text=True) as process:
        yield int(process.stdout.readline())
        process.stdin.close()
        status = process.wait(20)
        log.seek(0)
        assert status == 0 and SANITIZER_REPORT.search(said := log.read()) is None, said[-6000:]


# -- frames --

def mask(payload):
    size = len(payload)
    key = (struct.pack(">I", KEY) * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def frame(opcode, payload=b"", fin=True, rsv=0):
    size = len(payload)
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += struct.pack(">BH", 0x80 | 126, size)
    else:
        head += struct.pack(">BQ", 0x80 | 127, size)
    return head + struct.pack(">I", KEY) + mask(payload)


def pieces(opcode, payloads):
    """One message in fragments."""
    last = len(payloads) - 1
    return [frame(opcode if i == 0 else CONT, payload, fin=i == last) for i, payload in enumerate(payloads)]


def cut(data, size):
    return [data[at:at + size] for at in range(0, len(data), size)]


def octets(frames):
    """All frames byte by byte, a TCP segment each."""
    return cut(b"".join(frames), 1)


def close(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else struct.pack(">H", code) + reason)


class Peer:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(HANDSHAKE)
        self.stream = self.socket.makefile("rb", buffering=1 << 16)
        assert self.stream.readline().startswith(b"HTTP/1.1 101 ")
        while self.stream.readline() != b"\r\n":
            pass

    def read(self):
        """(opcode, payload) of a whole, unfragmented frame; None at the end, which is a reset for who has sent more than the server reads."""
        try:
            head = self.stream.read(2)
        except ConnectionResetError:
            return None
        if len(head) < 2:
            assert head == b""
            return None
        assert head[0] & 0xF0 == 0x80 and head[1] < 0x80, "whole, no reserved bit, not masked"
        size = head[1]
        if size == 126:
            size = struct.unpack(">H", self.stream.read(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self.stream.read(8))[0]
        return head[0] & 15, self.stream.read(size)

    def send(self, parts):
        with contextlib.suppress(ConnectionError):  # a server that has refused something need not read on
            for part in parts:
                self.socket.sendall(part)


@dataclass
class Case:
    number: str
    send: list                                   # parts of the stream
    expect: list = field(default_factory=list)   # frames that come back
    code: int = None                             # the server ends it with this one; None: we do, and it agrees


def run(case, port):
    peer = Peer(port)
    with peer.socket:
        is_refused = case.code is not None
        peer.send(case.send if is_refused or is_closing(case) else [*case.send, close(1000)])
        answers = list(iter(peer.read, None))
        assert answers and answers[-1][0] == CLOSE, f"ends with a close frame, not {[a[0] for a in answers][-3:]}"
        *frames, last = answers
        code = struct.unpack(">H", last[1][:2])[0] if last[1] else None
        assert [shorten(f) for f in frames] == [shorten(f) for f in case.expect] and frames == case.expect
        assert code == (case.code if is_refused else closing_code(case)), last


def is_closing(case):
    return any(part[:1] == b"\x88" and len(part) > 1 for part in case.send)


def closing_code(case):
    """What the close frame of ours said."""
    for part in case.send:
        if part[:1] == b"\x88" and len(part) > 1:
            return struct.unpack(">H", mask(part[6:8]))[0] if len(part) > 6 else None
    return 1000


def shorten(frame):
    return frame[0], len(frame[1]), frame[1][:40]


def number(group, cases):
    return [Case(f"{group}.{i}", *case) for i, case in enumerate(cases, 1)]


def echo(opcode, payload):
    return [frame(opcode, payload)], [(opcode, payload)]


# -- 1: sizes of one frame, and chopped --
SIZES = (0, 125, 126, 127, 128, 65535, 65536)


def sizes(group, opcode, byte):
    whole = [echo(opcode, byte * size) for size in SIZES]
    chopped = (cut(frame(opcode, byte * 65536), 997), [(opcode, byte * 65536)])
    return number(group, [*whole, chopped])


FRAMING = sizes("1.1", TEXT, b"*") + sizes("1.2", BINARY, b"\xfe")

# -- 2: pings and pongs --
TEN = [b"payload %d" % i for i in range(10)]
PINGS = number("2", [
    ([frame(PING)], [(PONG, b"")]),
    ([frame(PING, b"Hello")], [(PONG, b"Hello")]),
    ([frame(PING, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")], [(PONG, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")]),
    ([frame(PING, b"\xfe" * 125)], [(PONG, b"\xfe" * 125)]),
    ([frame(PING, b"\xfe" * 126)], [], 1002),
    (octets([frame(PING, b"\xfe" * 125)]), [(PONG, b"\xfe" * 125)]),
    ([frame(PONG)], []),
    ([frame(PONG, b"unasked")], []),
    ([frame(PONG, b"unasked"), frame(PING, b"asked")], [(PONG, b"asked")]),
    ([frame(PING, payload) for payload in TEN], [(PONG, payload) for payload in TEN]),
    (octets(frame(PING, payload) for payload in TEN), [(PONG, payload) for payload in TEN]),
])

# -- 3: reserved bits --
HELLO = [(TEXT, b"hello")]
AFTER_HELLO = [frame(TEXT, b"hello"), frame(TEXT, b"bits", rsv=4), frame(PING)]
RESERVED = number("3", [
    ([frame(TEXT, b"bits", rsv=1)], [], 1002),
    ([frame(TEXT, b"hello"), frame(TEXT, b"bits", rsv=2), frame(PING)], HELLO, 1002),
    ([frame(TEXT, b"hello"), frame(TEXT, b"bits", rsv=3), frame(PING)], HELLO, 1002),
    (octets(AFTER_HELLO), HELLO, 1002),
    ([frame(BINARY, b"bits", rsv=5)], [], 1002),
    ([frame(PING, b"bits", rsv=6)], [], 1002),
    ([frame(CLOSE, b"\x03\xe8", rsv=7)], [], 1002),
])

# -- 4: opcodes that mean nothing --


def opcodes(group, first):
    return number(group, [
        ([frame(first)], [], 1002),
        ([frame(first + 1, b"payload")], [], 1002),
        ([frame(TEXT, b"hello"), frame(first + 2), frame(PING)], HELLO, 1002),
        ([frame(TEXT, b"hello"), frame(first + 3, b"payload"), frame(PING)], HELLO, 1002),
        (octets([frame(TEXT, b"hello"), frame(first + 4, b"payload"), frame(PING)]), HELLO, 1002),
    ])


OPCODES = opcodes("4.1", 3) + opcodes("4.2", 11)

# -- 5: fragments --
TWO = pieces(TEXT, [b"first,", b"second"])
WHOLE = [(TEXT, b"first,second")]
WITH_PING = [TWO[0], frame(PING, b"between"), TWO[1]]
PONGED = [(PONG, b"between"), *WHOLE]
STRAY = [frame(CONT, b"of nothing"), frame(TEXT, b"hello")]
OPEN_STRAY = [frame(CONT, b"of nothing", fin=False), frame(TEXT, b"hello")]
FIVE = pieces(TEXT, [b"1", b"2", b"3", b"4", b"5"])
FIVE_PINGED = [*FIVE[:2], frame(PING, b"a"), *FIVE[2:4], frame(PING, b"b"), FIVE[4]]
FRAGMENTS = number("5", [
    (pieces(PING, [b"in", b"two"]), [], 1002),
    (pieces(PONG, [b"in", b"two"]), [], 1002),
    ([b"".join(TWO)], WHOLE),
    (TWO, WHOLE),
    (octets(TWO), WHOLE),
    ([b"".join(WITH_PING)], PONGED),
    (WITH_PING, PONGED),
    (octets(WITH_PING), PONGED),
    ([b"".join(STRAY)], [], 1002),
    (STRAY, [], 1002),
    (octets(STRAY), [], 1002),
    ([b"".join(OPEN_STRAY)], [], 1002),
    (OPEN_STRAY, [], 1002),
    (octets(OPEN_STRAY), [], 1002),
    ([*TWO, frame(CONT, b"of nothing", fin=False), frame(TEXT, b"hello")], WHOLE, 1002),
    ([frame(CONT, b"a", fin=False), frame(TEXT, b"b", fin=False), frame(CONT, b"c")] * 2, [], 1002),
    ([frame(CONT, b"a"), frame(TEXT, b"b", fin=False), frame(CONT, b"c")] * 2, [], 1002),
    ([frame(TEXT, b"first", fin=False), frame(TEXT, b"second")], [], 1002),
    ([b"".join(FIVE_PINGED)], [(PONG, b"a"), (PONG, b"b"), (TEXT, b"12345")]),
    (FIVE_PINGED, [(PONG, b"a"), (PONG, b"b"), (TEXT, b"12345")]),
])

# -- 6: UTF-8 --
GREEK = "\u03ba\u1f79\u03c3\u03bc\u03b5".encode()
MIXED = "Hello-\u00b5@\u00df\u00f6\u00e4\u00fc\u00e0\u00e1-UTF-8!!".encode()
SURROGATE = GREEK + b"\xed\xa0\x80" + b"edited"


def texts(group, *payloads):
    """Good texts come back, others end the connection."""
    return [Case(f"{group}.{i}", *(echo(TEXT, text) if is_utf8(text) else ([frame(TEXT, text)], [], 1007)))
            for i, text in enumerate(payloads, 1)]


def is_utf8(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def lonely(first, last):
    return b"".join(bytes([byte]) + b" " for byte in range(first, last + 1))


def points(*values):
    return [chr(value).encode() for value in values]


CONTINUATIONS = [bytes(itertools.islice(itertools.cycle(b"\x80\xbf"), count)) for count in range(2, 8)]
CUT_OFF = [b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80",
           b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf"]
SURROGATES = [bytes.fromhex(code) for code in ("eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf")]
PAIRS = [bytes.fromhex(high + low) for high in ("eda080", "edadbf", "edae80", "edafbf") for low in ("edb080", "edbfbf")]
UTF8 = [
    *number("6.1", [echo(TEXT, b""), (pieces(TEXT, [b"", b"", b""]), [(TEXT, b"")]), (pieces(TEXT, [b"", b"middle", b""]), [(TEXT, b"middle")])]),
    *number("6.2", [echo(TEXT, MIXED), (pieces(TEXT, [MIXED[:8], MIXED[8:]]), [(TEXT, MIXED)]), (pieces(TEXT, cut(MIXED, 1)), [(TEXT, MIXED)]),
                    (pieces(TEXT, cut(GREEK, 1)), [(TEXT, GREEK)])]),
    *number("6.3", [([frame(TEXT, SURROGATE)], [], 1007), (pieces(TEXT, cut(SURROGATE, 1)), [], 1007)]),
    *texts("6.5", *(word.encode() for word in ("hello$world", "hello\u00a2world", "hello\u20acworld", "hello\U00024b62world")), GREEK),
    *texts("6.6", *(GREEK[:end] for end in range(1, len(GREEK) + 1))),
    *texts("6.7", *points(0, 0x80, 0x800, 0x10000)),
    *texts("6.8", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"),
    *texts("6.9", *points(0x7F, 0x7FF, 0xFFFF, 0x10FFFF)),
    *texts("6.10", b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"),
    *texts("6.11", *points(0xD7FF, 0xE000, 0xFFFD, 0x10FFFF), b"\xf4\x90\x80\x80"),
    *texts("6.12", b"\x80", b"\xbf", *CONTINUATIONS[:5], bytes(range(0x80, 0xC0))),
    *texts("6.13", lonely(0xC0, 0xDF), lonely(0xE0, 0xEF), lonely(0xF0, 0xF7), lonely(0xF8, 0xFB), lonely(0xFC, 0xFD)),
    *texts("6.14", *CUT_OFF),
    *texts("6.15", b"".join(CUT_OFF)),
    *texts("6.16", b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"),
    *texts("6.17", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf"),
    *texts("6.18", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf"),
    *texts("6.19", b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80"),
    *texts("6.20", *SURROGATES),
    *texts("6.21", *PAIRS),
    *texts("6.22", *points(*(plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF)))),
    *texts("6.23", *points(*range(0xFFF9, 0x10000))),
]

# -- 7: closing --
LONG = b"*" * (256 << 10)
CLOSING = [
    *number("7.1", [
        ([frame(TEXT, b"hello"), close(1000)], HELLO),
        ([close(1000), close(1000)], []),
        ([close(1000), frame(PING)], []),
        ([close(1000), frame(TEXT, b"hello")], []),
        ([frame(TEXT, b"first,", fin=False), close(1000), frame(CONT, b"second")], []),
        ([frame(TEXT, LONG), frame(TEXT, b"hello"), close(1000), frame(PING)], [(TEXT, LONG), *HELLO]),
    ]),
    *number("7.3", [
        ([close()], []),
        ([frame(CLOSE, b"a")], [], 1002),
        ([close(1000)], []),
        ([close(1000, b"Hello World!")], []),
        ([close(1000, b"*" * 123)], []),
        ([close(1000, b"*" * 124)], [], 1002),
    ]),
    Case("7.5.1", [close(1000, SURROGATE)], [], 1007),
    *number("7.7", [([close(code)], []) for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)]),
    *number("7.9", [([close(code)], [], 1002) for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999)]),
    *number("7.13", [([close(code)], [], 1002) for code in (5000, 65535)]),
]

# -- 9: large messages, many fragments, many segments, many messages; 10: fragments of 1,300 bytes --
KIB, MIB = 1 << 10, 1 << 20
MESSAGES = (64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB)
FRAGMENT_SIZES = (64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB)
SEGMENTS = (64, 128, 256, 512, KIB, 2 * KIB)


def large(opcode, byte, groups):
    messages, fragments, segments = groups
    return [
        *number(messages, [echo(opcode, byte * size) for size in MESSAGES]),
        *number(fragments, [([b"".join(pieces(opcode, cut(byte * 4 * MIB, size)))], [(opcode, byte * 4 * MIB)]) for size in FRAGMENT_SIZES]),
        *number(segments, [(cut(frame(opcode, byte * MIB), size), [(opcode, byte * MIB)]) for size in SEGMENTS]),
    ]


@pytest.mark.parametrize("case", FRAMING + PINGS + RESERVED + OPCODES + FRAGMENTS + UTF8 + CLOSING
                         + [Case("10.1.1", pieces(TEXT, cut(b"*" * 65536, 1300)), [(TEXT, b"*" * 65536)])], ids=lambda case: case.number)
def test_case(port, case):
    run(case, port)


START = len(frame(TEXT)) + len(GREEK)
SPOILT = frame(TEXT, GREEK + b"\xf4\x90\x80\x80edited")
FAIL_FAST = {  # so much of a message is spoilt already; the rest never comes
    "6.4.1": pieces(TEXT, [GREEK, b"\xf4\x90\x80\x80", b"edited"])[:2],
    "6.4.2": pieces(TEXT, [GREEK + b"\xf4", b"\x90", b"\x80\x80edited"])[:2],
    "6.4.3": [SPOILT[:START], SPOILT[START:START + 4]],
    "6.4.4": [SPOILT[:START + 1], SPOILT[START + 1:START + 2]],
}


@pytest.mark.parametrize("name", FAIL_FAST)
def test_bad_text_is_refused_before_its_end(port, name):
    peer = Peer(port)
    with peer.socket:
        peer.send(FAIL_FAST[name])
        opcode, payload = peer.read()
        assert (opcode, payload[:2]) == (CLOSE, struct.pack(">H", 1007)) and peer.read() is None


@pytest.mark.parametrize("opcode, byte, groups", [(TEXT, b"*", ("9.1", "9.3", "9.5")), (BINARY, b"\xfe", ("9.2", "9.4", "9.6"))], ids=["text", "binary"])
def test_large_messages(port, opcode, byte, groups):
    for case in large(opcode, byte, groups):
        started = time.monotonic()
        run(case, port)
        print(f"{case.number}: {time.monotonic() - started:.2f} s")


@pytest.mark.parametrize("opcode, group", [(TEXT, "9.7"), (BINARY, "9.8")], ids=["text", "binary"])
def test_thousand_round_trips(port, opcode, group):
    """Of messages of 0 to 4,096 bytes: group.1 to group.6."""
    peer = Peer(port)
    with peer.socket:
        for size in (0, 16, 64, 256, 1024, 4096):
            data = frame(opcode, b"*" * size)
            for _ in range(1000):
                peer.socket.sendall(data)
                assert peer.read() == (opcode, b"*" * size), f"{group}, {size} bytes"
