"""An earlier revision beside this one: what a change has cost. Both take turns in one run, with the same kernel and client."""
import shutil
import statistics
import subprocess
from pathlib import Path

from servers import Elara, cpu_us, session_path, wire_client

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5
FLOODS = ((200_000, 20, "v1"), (200_000, 20, "legacy"), (200, 1 << 20, "v1"), (200, 1 << 20, "legacy"))
ROUND_TRIPS = 200
GOAL = "<= 1.1 x"


def build_revision(revision):
    """The folder of its programs, in build-before/."""
    def git(*arguments):
        return subprocess.run(["git", "-C", ROOT, *arguments], check=True, stdout=subprocess.PIPE).stdout

    commit = git("rev-parse", "--verify", f"{revision}^{{commit}}").decode().strip()
    build = ROOT / "build-before" / commit[:12]
    if not (build / "elara-gateway").exists():
        shutil.rmtree(build, ignore_errors=True)
        source = build / "source"
        source.mkdir(parents=True)
        subprocess.run(["tar", "-x", "-C", source], input=git("archive", commit), check=True)
        subprocess.run(["cmake", "-S", source, "-B", build, "-G", "Ninja", "--log-level=WARNING"], check=True,
                       stdout=subprocess.DEVNULL)
        subprocess.run(["ninja", "-C", build, "--quiet", "elara-gateway", "elara-launcher"], check=True)
    return build


class Side:
    """A gateway with one kernel, whose clients are always this revision's."""

    def __init__(self, build, clients):
        self.options, self.gateway = clients, Elara(build, kernels_of=clients.build)

    def __enter__(self):
        self.gateway.__enter__()
        self.kernel = self.gateway.start_kernel()
        self.gateway.wait_for_state(self.kernel, "idle")
        self.pids = {"gateway": self.gateway.process.pid, "launcher": self.gateway.launcher(self.kernel)}
        return self

    def __exit__(self, *cause):
        return self.gateway.__exit__(*cause)

    def run(self, bench, *arguments):
        before = {name: cpu_us(pid) for name, pid in self.pids.items()}
        found = wire_client(self.options, bench, self.gateway, session_path(self.kernel), *arguments)
        return found | {name: cpu_us(pid) - before[name] for name, pid in self.pids.items()}


def compare(table, what, now, then, show, goal=GOAL):
    """Of runs in turns; more is worse."""
    ratios = sorted(a / b for a, b in zip(now, then))
    table.add(what, show(statistics.median(now)), f"before: {show(statistics.median(then))}",
              f"{statistics.median(ratios):.2f} x ({ratios[0]:.2f} to {ratios[-1]:.2f})", goal)


def in_turns(sides, *arguments):
    runs = ([], [])
    for turn in range(RUNS):
        for side in ((0, 1), (1, 0))[turn % 2]:
            runs[side].append(sides[side].run(*arguments))
    return runs


def of(runs, value):
    return [[value(run) for run in side] for side in runs]


def bench_before(options, elara, jeg, table):
    """elara's own gateway has served other parts; both of these are fresh."""
    with Side(options.build, options) as now, Side(build_revision(options.before), options) as then:
        sides = (now, then)
        runs = in_turns(sides, "latency", ROUND_TRIPS)
        compare(table, "kernel_info round trip, p50", *of(runs, lambda run: run["gateway_us"]), lambda us: f"{us:.0f} us")
        for count, size, form in FLOODS:
            for side in sides:
                side.run("flood", count // 20, size, form)
            runs = in_turns(sides, "flood", count, size, form)
            compare(table, f"{count:,} outputs of {size:,} bytes, {form}: time each",
                    *of(runs, lambda run: 1e6 / run["messages_per_s"]), lambda us: f"{us:.1f} us")
            for name in ("gateway", "launcher"):
                compare(table, f"  CPU of the {name}", *of(runs, lambda run, name=name: run[name] / run["messages"]),
                        lambda us: f"{us:.2f} us")
