"""Clients of all kinds for minutes: well-behaved ones, such as leave in the middle of a request or a frame, such as send rubbish, and such as send
nothing for ever. At the end the gateway must have as many descriptors, and about as much memory, as in the beginning, and nothing that went wrong in its log.

    tests/soak/run --seconds 600 --slow 5000 --idle 10000

Beside them one client asks its kernel again and again: what it had to wait is printed, in a quiet moment and beside the others."""
import argparse
import contextlib
import json
import random
import resource
import selectors
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

import websocket

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))
from support.client import Client, Closed  # noqa: E402
from support.kernelspecs import Specs  # noqa: E402
from support.processes import Gateway, wait_until  # noqa: E402
from test_desync import ENDS, IN_SYNC, REFUSED  # noqa: E402

WORKERS = 6
IDLE_KERNELS = 20
SLOW_STEP_S = 3
ASK_EVERY_S = 0.05
SAMPLES = 40
GROWTH_KIB = 16384  # and a tenth: the holes that an allocator keeps of its largest moment
REQUESTS = [data for data, _ in [*REFUSED.values(), *IN_SYNC.values(), *ENDS.values()]]
UPGRADE = ("GET /api/kernels/{kernel}/channels?session_id={session} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n")
GONE = (OSError, Closed, websocket.WebSocketException)  # a client's view of what it has brought about itself


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Visitor(threading.Thread):
    """One client after the other, of random kinds."""

    def __init__(self, gateway, seed, until):
        super().__init__()
        self.gateway, self.random, self.until = gateway, random.Random(seed), until
        self.done, self.problem = Counter(), None
        self.kernel = gateway.start_kernel()["id"]

    def run(self):
        kinds = [getattr(self, name) for name in dir(self) if name.startswith("as_")]
        try:
            while time.monotonic() < self.until:
                kind = self.random.choice(kinds)
                with contextlib.suppress(*GONE):
                    kind()
                self.done[kind.__name__] += 1
        except Exception:  # told by the main thread
            self.problem = traceback.format_exc()

    def dial(self):
        return socket.create_connection(("127.0.0.1", self.gateway.port), timeout=10)

    def client(self, **options):
        return Client(self.gateway, self.kernel, session_id=f"soak-{self.random.randrange(20)}", v1=self.random.random() < 0.5, **options)

    def as_visitor_who_leaves(self):
        reset(self.dial()) if self.random.random() < 0.5 else self.dial().close()

    def as_half_a_request(self):
        data = self.random.choice(REQUESTS)
        connection = self.dial()
        connection.sendall(data[:self.random.randrange(len(data))])
        reset(connection) if self.random.random() < 0.5 else connection.close()

    def as_odd_requests(self):
        with self.dial() as connection:
            for _ in range(self.random.randrange(1, 5)):
                connection.sendall(self.random.choice(REQUESTS))
            connection.settimeout(0.02)
            connection.recv(1 << 16)

    def as_noise(self):
        with self.dial() as connection:
            connection.sendall(self.random.randbytes(self.random.randrange(1, 5000)))
            connection.settimeout(0.02)
            connection.recv(1 << 16)

    def as_lister(self):
        for path in ("/api/kernels", "/api/sessions", "/api/kernelspecs", f"/api/kernels/{self.kernel}", "/api/elara/kernels", "/metrics", "/elara"):
            assert self.gateway.get(path).status_code == 200, path

    def as_notebook(self):
        with self.client() as client:
            cell = client.run_cell("print hello")
            assert cell.text() == "hello\n", [(m["header"]["msg_type"], m["content"]) for m in cell.messages]
            client.run_cell(f"flood {self.random.randrange(200)} {self.random.randrange(2000)}")

    def as_notebook_that_is_shut(self):
        client = self.client()
        client.send_execute("flood 300 1000")
        if self.random.random() < 0.5:
            client.receive()
        reset(client.socket.sock) if self.random.random() < 0.5 else client.drop()

    def as_bad_frames(self):
        client = self.client()
        client.socket.sock.sendall(self.random.randbytes(self.random.randrange(1, 500)))
        client.expect_close(2)
        client.drop()

    def as_half_a_frame(self):
        client = self.client()
        client.socket.sock.sendall(b"\x82\xfe\xff\xff" + self.random.randbytes(self.random.randrange(4, 60000)))
        client.drop()

    def as_pinger(self):
        with self.client() as client:
            for _ in range(200):
                client.socket.ping("x" * 100)

    def as_bad_message(self):
        client = self.client()
        client.send_frame(self.random.choice(["{}", "[]", "null", '{"channel": "shell"}', "x" * 1000]))
        client.expect_close(2)
        client.drop()

    def as_short_kernel(self):
        with self.gateway.kernel() as kernel_id, contextlib.suppress(*GONE):
            if self.random.random() < 0.7:
                with Client(self.gateway, kernel_id) as client:
                    client.run_cell("print short")


class Idle(threading.Thread):
    """WebSockets that do nothing but answer pings, and requests that never end: a line now and then, until the gateway has had enough."""

    def __init__(self, gateway, slow, idle, until):
        super().__init__()
        self.gateway, self.until, self.slow_count, self.idle_count = gateway, until, slow, idle
        self.selector = selectors.DefaultSelector()
        self.slow, self.cut_off, self.lost, self.pings, self.problem = {}, 0, 0, 0, None
        self.ready = threading.Event()

    def run(self):
        try:
            self.open_idle()
            for i in range(self.slow_count):
                self.open_slow(i)
            self.ready.set()
            while time.monotonic() < self.until:
                self.turn()
        except Exception:  # told by the main thread
            self.problem = traceback.format_exc()
        finally:
            self.ready.set()
            for key in list(self.selector.get_map().values()):
                key.fileobj.close()

    def dial(self, source):
        return socket.create_connection(("127.0.0.1", self.gateway.port), 60, (source, 0))

    def open_idle(self):
        kernels = [self.gateway.start_kernel()["id"] for _ in range(IDLE_KERNELS if self.idle_count else 0)]
        for i in range(self.idle_count):
            connection = self.dial("127.0.0.2")
            connection.sendall(UPGRADE.format(kernel=kernels[i % len(kernels)], session=f"idle-{i}").encode())
            answer = connection.recv(4096)
            assert answer.startswith(b"HTTP/1.1 101"), answer
            self.watch(connection, "idle")

    def open_slow(self, i):
        connection = self.dial("127.0.0.3")
        connection.sendall(b"GET /api HTTP/1.1\r\nHost: localhost\r\n")
        self.slow[connection] = time.monotonic() + SLOW_STEP_S * (i % 100) / 100
        self.watch(connection, "slow")

    def watch(self, connection, kind):
        connection.setblocking(False)
        self.selector.register(connection, selectors.EVENT_READ, kind)

    def turn(self):
        for key, _ in self.selector.select(0.1):
            (self.hear_slow if key.data == "slow" else self.hear_idle)(key.fileobj)
        now = time.monotonic()
        for connection in [one for one, due in self.slow.items() if due < now]:
            self.slow[connection] = now + SLOW_STEP_S
            with contextlib.suppress(OSError):
                connection.send(b"X-A: b\r\n")

    def forget(self, connection):
        self.selector.unregister(connection)
        connection.close()

    def hear_slow(self, connection):
        self.forget(connection)
        del self.slow[connection]
        self.cut_off += 1
        self.open_slow(self.cut_off)

    def hear_idle(self, connection):
        try:
            data = connection.recv(4096)
        except OSError:
            data = b""
        if not data:
            self.forget(connection)
            self.lost += 1
        elif data[0] == 0x89:
            self.pings += 1
            connection.send(b"\x8a\x80\0\0\0\0")


class Asker(threading.Thread):
    """The user for whom all of this must make no difference."""

    def __init__(self, gateway):
        super().__init__()
        self.kernel = gateway.start_kernel()["id"]
        self.client = Client(gateway, self.kernel, timeout=60)
        self.times_ms, self.over, self.problem = [], False, None

    def run(self):
        try:
            while not self.over:
                start = time.perf_counter()
                self.client.kernel_info()
                self.times_ms.append((time.perf_counter() - start) * 1000)
                time.sleep(ASK_EVERY_S)
        except Exception:  # told by the main thread
            self.problem = traceback.format_exc()

    def take(self):
        """p50 and p99 since the last time, in ms."""
        times, self.times_ms = sorted(self.times_ms), []
        return {"p50_ms": round(times[len(times) // 2], 2), "p99_ms": round(times[len(times) * 99 // 100], 2)} if times else None


def memory_kib(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines() + Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    values = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "RssAnon", "Pss:"))}
    return values


def descriptors(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def memory_has_grown(early, late):
    return late > early * 1.1 + GROWTH_KIB


def observe(pids, seconds):
    """Memory of each, SAMPLES times within the time: its own, which nobody else's pages are part of."""
    samples = {name: [] for name in pids}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for name, pid in pids.items():
            samples[name].append(memory_kib(pid))
        time.sleep(min(seconds / SAMPLES, max(until - time.monotonic(), 0)))
    return samples


def compare(samples):
    """The median of the second quarter (all kinds have been there) and of the last one."""
    found, problems = {}, []
    for name, seen in samples.items():
        quarter = max(len(seen) // 4, 1)
        early, late = ({key: statistics.median_low(one[key] for one in part) for key in seen[0]} for part in (seen[quarter:2 * quarter] or seen, seen[-quarter:]))
        found[name] = {"early_kib": early, "late_kib": late}
        if memory_has_grown(early["RssAnon"], late["RssAnon"]):
            problems.append(f"{name}: its memory grew from {early['RssAnon']} to {late['RssAnon']} KiB")
    return found, problems


def soak(gateway, seconds, seed, slow=0, idle=0, may_grow=False):
    """(what was seen, what went wrong)"""
    asker = Asker(gateway)
    asker.start()
    wait_until(lambda: len(asker.times_ms) >= min(100, seconds * 5), 60, "a quiet moment")
    quiet, files = asker.take(), descriptors(gateway.process.pid)
    crowd = Idle(gateway, slow, idle, until=float("inf"))
    crowd.start()
    crowd.ready.wait()
    crowd.until = until = time.monotonic() + seconds
    visitors = [Visitor(gateway, seed + i, until) for i in range(WORKERS)]
    beside_idle = asker.take()
    for visitor in visitors:
        visitor.start()
    samples = observe({"gateway": gateway.process.pid, "launcher": gateway.launcher_pids(asker.kernel)[0]}, seconds)
    for thread in (crowd, *visitors):
        thread.join()
    busy = asker.take()
    asker.over = True
    asker.join()
    threads = [crowd, asker, *visitors]
    problems = [thread.problem for thread in threads if thread.problem]
    problems += [f"{crowd.lost} idle WebSockets were lost"] if crowd.lost else []
    for model in gateway.get("/api/kernels").json():
        if model["id"] != asker.kernel:
            assert gateway.delete(f"/api/kernels/{model['id']}", timeout=60).status_code == 204
    asker.client.kernel_info()
    try:
        wait_until(lambda: descriptors(gateway.process.pid) <= files + 2, 30, "no descriptor left behind")
    except AssertionError as error:
        problems.append(str(error))
    found, grown = compare(samples)
    problems += [] if may_grow else grown
    asker.client.close()
    found |= {"descriptors": [files, descriptors(gateway.process.pid)], "quiet": quiet, "beside idle ones": beside_idle, "beside all": busy,
              "slow requests cut off": crowd.cut_off, "pings answered by idle WebSockets": crowd.pings,
              "visits": dict(sum((visitor.done for visitor in visitors), Counter()))}
    return found, problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=HERE.parents[1] / "build", type=Path, metavar="DIR")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--slow", type=int, default=5000, help="requests that never end (5000)")
    parser.add_argument("--idle", type=int, default=10000, help="WebSockets without a word (10000)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    options.build = options.build.resolve()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="soak-", dir="/tmp") as folder:
        specs = Specs(Path(folder) / "kernels", options.build)
        specs.stub()
        with Gateway(options.build, specs, "--log-level", "WARNING", "--max-connections-per-address", "0") as gateway:
            found, problems = soak(gateway, options.seconds, options.seed, options.slow, options.idle)
    print(json.dumps({"seconds": options.seconds, "seed": options.seed, "slow": options.slow, "idle": options.idle} | found, indent=1))
    for problem in problems:
        print(f"FAILED: {problem}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
