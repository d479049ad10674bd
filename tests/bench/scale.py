"""Thousands of kernels and clients in one gateway process. Their launchers are simulated (tests/tools/launcher_swarm.c), their
clients one program (tests/tools/wire_client/crowd.c)."""
import contextlib
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import requests
from servers import cpu_us, rss_kib
from support.kernelspecs import Specs
from support.processes import Gateway
from support.swarm import Swarm

KERNELS = 5000
RESTART_KERNELS = 1000
ROUNDS = 200
QUIET_S = 12  # after which all links have settled into being asked for a sign of life every 20 s
MEASURED_S = 30  # WebSocket clients are pinged that often: each once
MEASURED_RUNS = 3
ADOPTION_LIMIT_S = 120
PASSES = 20
DUE_LIMIT = "60s"  # they are warned of their end for the second half of it; it does not come to that
DUE_PASSES = 5


class Crowd:
    """One client for each kernel, and possibly one of another gateway. Each had one answer over its own socket."""

    def __init__(self, build, port, kernels, lone=None, host="127.0.0.1", query=""):
        arguments = [host, str(port)]
        if lone is not None:
            arguments += [str(lone[0]), self.path(lone[1])]
        self.process = subprocess.Popen([Path(build) / "tests" / "wire_client", "crowd", *arguments],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdin.write("".join(f"{self.path(kernel)}{query}\n" for kernel in kernels) + "\n")
        self.found = self.read()

    @staticmethod
    def path(kernel):
        return f"/api/kernels/{kernel}/channels?session_id=crowd"

    def read(self):
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("wire_client crowd ended")
        return json.loads(line)

    def latency(self, rounds):
        self.process.stdin.write(f"latency {rounds}\n")
        return self.read()

    def flood(self, messages, size):
        self.process.stdin.write(f"flood {messages} {size}\n")
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


class SwarmGateway(Gateway):
    """A gateway that finds `count` kernels when it starts; adoption_s tells how long that took, from exec to /readyz."""

    def __init__(self, build, count, folder, *arguments):
        super().__init__(build, Specs(folder, build), "--log-level", "WARNING", *arguments)
        self.swarm = Swarm(build, self.runtime, count)

    def start(self, wait=True):
        begin = time.monotonic()
        super().start(wait=False)
        while not self.is_adopted():
            if time.monotonic() > begin + ADOPTION_LIMIT_S:
                raise SystemExit(f"the gateway did not adopt its kernels within {ADOPTION_LIMIT_S} s")
            time.sleep(0.01)
        self.adoption_s = time.monotonic() - begin
        return self

    def is_adopted(self):
        if self.process.poll() is not None:
            raise SystemExit(f"the gateway ended: {self.log()[-2000:]}")
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(self.base + "/readyz", timeout=ADOPTION_LIMIT_S).status_code == 200
        return False

    def kernels(self):
        return [model["id"] for model in self.get("/api/kernels").json()]

    def clean(self):
        self.swarm.__exit__()
        super().clean()


def idle_cpu(pid):
    """Percent of one core while nobody asks for anything, of each run."""
    time.sleep(QUIET_S)
    found = []
    for _ in range(MEASURED_RUNS):
        before, start = cpu_us(pid), time.monotonic()
        time.sleep(MEASURED_S)
        found.append((cpu_us(pid) - before) / (time.monotonic() - start) / 1e4)
    return sorted(found)


def bench_restart(options, folder, table):
    with SwarmGateway(options.build, RESTART_KERNELS, folder) as gateway:
        gateway.kill()
        begin = time.monotonic()
        gateway.start()
        found = len(gateway.kernels())
        if found != RESTART_KERNELS:
            raise SystemExit(f"{found} kernels are listed of {RESTART_KERNELS}")
        table.add(f"{found:,} kernels listed again after kill -9", f"{time.monotonic() - begin:.2f} s", "", "", "< 3 s")


def bench_scale(options, elara, jeg, table):
    with tempfile.TemporaryDirectory(prefix="bench-specs-", dir="/tmp") as folder:
        bench_restart(options, folder, table)
    with tempfile.TemporaryDirectory(prefix="bench-specs-", dir="/tmp") as folder, \
            SwarmGateway(options.build, 1, folder) as lone, SwarmGateway(options.build, KERNELS, folder) as many:
        pid = many.process.pid
        kernels = many.kernels()
        if len(kernels) != KERNELS:
            raise SystemExit(f"{len(kernels)} kernels were adopted of {KERNELS}")
        table.add(f"{KERNELS:,} kernels adopted, exec to /readyz", f"{many.adoption_s:.2f} s")
        crowd = Crowd(options.build, many.port, kernels, (lone.port, lone.kernels()[0]))
        cpu = idle_cpu(pid)
        table.add(f"  and {KERNELS:,} clients: idle CPU, of one core", f"{statistics.median(cpu):.2f} %",
                  f"{cpu[0]:.2f} to {cpu[-1]:.2f} %", "", "< 2 %")
        found = crowd.latency(ROUNDS)
        for name, goal in (("p50", "<= 2 x"), ("p99", "")):
            spread = f"{found[f'{name}_ratio_min']:.2f} to {found[f'{name}_ratio_max']:.2f}"
            table.add(f"  kernel_info round trip, {name}", f"{found[f'{name}_us']:.0f} us",
                      f"one kernel, one client: {found[f'lone_{name}_us']:.0f} us",
                      f"{found[f'{name}_ratio']:.2f} x ({spread})", goal)
        table.add("  gateway RSS a kernel with one client", f"{rss_kib(pid) / KERNELS:.0f} KiB", "", "", "<= 64 KiB")
        crowd.close()


def passes_of(gateway, count, wanted):
    """How long each of so many passes took, in ms, of those that are wanted."""
    found = []
    passes = 0
    while len(found) < count:
        status = gateway.get("/api/elara/status").json()["culling"]
        if status["passes"] > passes and wanted(status):
            passes = status["passes"]
            found.append(status["last_pass_us"] / 1e3)
        time.sleep(0.1)
    return found


def bench_culling(options, elara, jeg, table):
    """One look at all kernels: none of which is due, and then all of which are to be warned or ended."""
    with tempfile.TemporaryDirectory(prefix="bench-specs-", dir="/tmp") as folder, \
            SwarmGateway(options.build, KERNELS, folder, "--cull-interval", "500ms", "--cull-stalled-timeout", "1h",
                         "--cull-detached-timeout", "1d", "--cull-max-age", "7d") as gateway:
        found = passes_of(gateway, PASSES, lambda status: status["quiet_ms"] == 0)
        due = gateway.post("/api/elara/cull", json={"dry_run": True}).json()
        if len(due) != KERNELS or any(entry["verdict"] != "keep" for entry in due):
            raise SystemExit(f"of {KERNELS} kernels {len(due)} have a rule that will end them")
        table.add(f"{KERNELS:,} kernels: one pass of the culling", f"{statistics.median(found):.2f} ms",
                  f"{min(found):.2f} to {max(found):.2f} ms", "", "< 5 ms")
    with tempfile.TemporaryDirectory(prefix="bench-specs-", dir="/tmp") as folder, \
            SwarmGateway(options.build, KERNELS, folder, "--cull-interval", "2s", "--cull-idle-timeout", DUE_LIMIT,
                         "--cull-warn-before", DUE_LIMIT) as gateway:
        found = passes_of(gateway, DUE_PASSES, lambda status: status["warned"] > 0)
        table.add("  and one in which all are due", f"{statistics.median(found):.2f} ms",
                  f"{min(found):.2f} to {max(found):.2f} ms", "", "< 5 ms")
