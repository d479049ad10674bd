"""What it adds to know who asks, and to speak TLS: the same request and the same message, in turns with and without."""
import contextlib
import hashlib
import http.server
import json
import os
import socket
import ssl
import statistics
import struct
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path

import requests
from servers import Elara
from test_oidc import Issuer

RUNS = 25
REQUESTS = 200
MESSAGES = 100
TOKEN = "0123456789abcdef0123456789abcdef"


class Connection:
    """A kept connection; bytes in, bytes out, so that the client's own time is small beside the gateway's."""

    def __init__(self, gateway, ca=None):
        self.socket = socket.create_connection(("127.0.0.1", gateway.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if ca is not None:
            self.socket = ssl.create_default_context(cafile=ca).wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.read = b""

    def more(self):
        got = self.socket.recv(1 << 16)
        assert got, "the gateway ended the connection"
        self.read += got

    def head(self, text):
        """The answer's head."""
        self.socket.sendall(text)
        while b"\r\n\r\n" not in self.read:
            self.more()
        head, _, self.read = self.read.partition(b"\r\n\r\n")
        return head

    def request(self, text):
        """In us."""
        begun = time.perf_counter_ns()
        head = self.head(text)
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        while len(self.read) < length:
            self.more()
        took = (time.perf_counter_ns() - begun) / 1000
        assert head.startswith(b"HTTP/1.1 200 "), head
        self.read = b""
        return took

    def frame(self):
        while True:
            size = self.read[1] if len(self.read) > 1 else 0
            start, length = (4, int.from_bytes(self.read[2:4], "big")) if size == 126 else (2, size)
            if len(self.read) >= start + max(length, 1):
                found, self.read = self.read[start:start + length], self.read[start + length:]
                return found
            self.more()

    def message(self, frame):
        """In us, to the reply; what the kernel says beside it is waited for too."""
        begun = time.perf_counter_ns()
        self.socket.sendall(frame)
        took, is_idle = None, False
        while took is None or not is_idle:
            found = self.frame()
            if b'"kernel_info_reply"' in found:
                took = (time.perf_counter_ns() - begun) / 1000
            is_idle = is_idle or b'"idle"' in found
        return took


def kernel_info_frame(session):
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "kernel_info_request", "session": session, "username": "", "version": "5.3",
              "date": "2026-01-31T12:00:00.000000Z"}
    text = json.dumps({"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": {}, "buffers": []}).encode()
    return struct.pack(">BBH4s", 0x81, 0x80 | 126, len(text), bytes(4)) + text


def p50_in_turns(measures, count):
    """{name: the median of each run's median}."""
    runs = {name: [] for name in measures}
    for _ in range(RUNS):
        for name, measure in measures.items():
            runs[name].append(statistics.median(measure() for _ in range(count)))
    return runs


class Hub(http.server.BaseHTTPRequestHandler):
    """Is asked every half a minute: what it costs is not measured."""

    def do_GET(self):
        body = json.dumps({"kind": "user", "name": "alice", "scopes": ["access:servers"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def ways(folder):
    """(name, flags, token) of each way to know who asks."""
    tokens = folder / "tokens"
    tokens.write_text(f"alice:user:sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
    tokens.chmod(0o600)
    hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    issuer = Issuer(folder)
    try:
        issuer.start()
        yield (("nobody is asked", (), TOKEN),
               ("the token file", ("--auth-token-file", str(tokens)), TOKEN),
               ("JupyterHub, cached", ("--jupyterhub-api-url", f"http://127.0.0.1:{hub.server_port}/hub/api"), TOKEN),
               ("OpenID Connect, cached", ("--oidc-issuer", issuer.url, "--oidc-audience", "elara"), issuer.token("alice")))
    finally:
        issuer.stop()
        hub.shutdown()


@contextlib.contextmanager
def cores_of_their_own(pids):
    """This process on one core and those on another: where the scheduler puts them is worth more than what is measured."""
    cores = sorted(os.sched_getaffinity(0))
    for pid in pids:
        os.sched_setaffinity(pid, {cores[-1]})
    os.sched_setaffinity(0, {cores[0]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def bench_requests(options, folder, table):
    with ways(folder) as all_ways, contextlib.ExitStack() as stack:
        measures, pids = {}, []
        for name, flags, token in all_ways:
            gateway = stack.enter_context(Elara(options.build, *flags))
            pids.append(gateway.process.pid)
            connection = Connection(gateway)
            text = f"GET /api HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {token}\r\n\r\n".encode()
            connection.request(text)  # now it is known whose the token is
            measures[name] = lambda connection=connection, text=text: connection.request(text)
        with cores_of_their_own(pids):
            runs = p50_in_turns(measures, REQUESTS)
    floor = runs.pop("nobody is asked")
    for name, times in runs.items():
        added = [one - other for one, other in zip(times, floor)]
        table.add(f"identity adds to a cached request, p50: {name}", f"{statistics.median(added):+.1f} us",
                  f"without: {statistics.median(floor):.0f} us", f"({min(added):+.1f} to {max(added):+.1f} us)", "<= 20 us")


class TlsElara(Elara):
    ca = None

    @property
    def base(self):
        return f"https://127.0.0.1:{self.port}"

    def request(self, method, path, **options):
        return requests.request(method, self.base + path, timeout=30, verify=self.ca, **options)

    def is_ready(self):
        try:
            return self.get("/readyz").status_code == 200
        except requests.ConnectionError:
            return False


def channels(gateway, ca=None):
    kernel = gateway.request("POST", "/api/kernels", json={"name": "stub"}).json()["id"]
    gateway.wait_for_state(kernel, "idle")
    connection, session = Connection(gateway, ca), uuid.uuid4().hex
    connection.head((f"GET /api/kernels/{kernel}/channels?session_id={session} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
                     "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n").encode())
    return lambda: connection.message(kernel_info_frame(session))


def bench_tls(options, folder, table):
    files = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                    "/CN=elara", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", files[1], "-out", files[0]], check=True,
                   capture_output=True)
    secure = TlsElara(options.build, "--certfile", str(files[0]), "--keyfile", str(files[1]))
    secure.ca = str(files[0])
    with Elara(options.build) as plain, secure:
        runs = p50_in_turns({"plain": channels(plain), "TLS": channels(secure, secure.ca)}, MESSAGES)
    ratios = [one / other for one, other in zip(runs["TLS"], runs["plain"])]
    table.add("kernel_info round trip over TLS, p50", f"{statistics.median(runs['TLS']):.0f} us",
              f"plain: {statistics.median(runs['plain']):.0f} us",
              f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})", "<= 1.3 x")


def bench_identity(options, elara, jeg, table):
    with tempfile.TemporaryDirectory(prefix="bench-identity-", dir="/tmp") as folder:
        bench_requests(options, Path(folder), table)
        bench_tls(options, Path(folder), table)
