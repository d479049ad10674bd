"""Every time and rate that Elara promises, as a ratio within one run: the floor, Elara and Jupyter Enterprise Gateway take turns on
the same machine, the same stub kernel and the same client."""
import argparse
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from before import bench_before  # noqa: E402
from flow import bench_replay, bench_stuck  # noqa: E402
from identity import bench_identity  # noqa: E402
from pods import bench_homes, bench_kubernetes  # noqa: E402
from installed import bench_installed  # noqa: E402 (needs the paths of pods)
from refused import bench_refused  # noqa: E402
from reload import bench_reload  # noqa: E402
from scale import Crowd, bench_culling, bench_scale  # noqa: E402
from servers import Elara, Jeg, bare_kernel, cpu_us, kernel_start_ms, pss_kib, rss_kib, session_path, wire_client  # noqa: E402
from story import bench_story  # noqa: E402

FLOOD = 200_000
JEG_FLOOD = 10_000
FLOOD_RUNS = 3
BIG_RUNS = 5


class Table:
    """Rows of (what, measured, beside it, ratio, goal)."""

    def __init__(self):
        self.rows = []

    def add(self, what, value, beside="", ratio="", goal=""):
        row = (what, value, beside, ratio, goal)
        self.rows.append(row)
        print("  " + "  ".join(str(cell) for cell in row if cell), file=sys.stderr)

    def print(self):
        head = ("measure", "Elara", "beside it", "ratio", "goal")
        widths = [max(len(str(row[i])) for row in [head, *self.rows]) for i in range(5)]
        for row in [head, tuple("-" * width for width in widths), *self.rows]:
            print("| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |")


def client(options, server, bench, kernel_id, *arguments):
    return wire_client(options, bench, server, session_path(kernel_id), *arguments)


def bench_latency(options, elara, jeg, table):
    kernel = elara.start_kernel()
    found = client(options, elara, "latency", kernel, 200, elara.connection_file(kernel))
    table.add(f"kernel_info round trip, p50 of {found['runs']} runs", f"{found['gateway_us']:.0f} us",
              f"WebSocket echo + direct ZeroMQ: {found['floor_us']:.0f} us",
              f"{found['ratio']:.2f} x ({found['ratio_min']:.2f} to {found['ratio_max']:.2f})", "<= 2.0 x")
    if jeg:
        theirs = client(options, jeg, "latency", jeg.start_kernel(), 20)
        table.add("", "", f"JEG: {theirs['gateway_us']:.0f} us",
                  f"{theirs['gateway_us'] / found['gateway_us']:.0f} x faster")


def add_up(runs, member):
    return sum(run[member] for run in runs)


def bench_flood(options, elara, jeg, table):
    for form in ("v1", "legacy"):
        kernel = elara.start_kernel()
        their_kernel = jeg.start_kernel() if jeg else None
        client(options, elara, "flood", kernel, 1000, 20, form)
        gateway, launcher = elara.process.pid, elara.launcher(kernel)
        ours, theirs, used = [], [], [0, 0]
        for _ in range(FLOOD_RUNS):
            before = cpu_us(gateway), cpu_us(launcher)
            ours.append(client(options, elara, "flood", kernel, FLOOD, 20, form))
            used = [total + now - then for total, now, then in
                    zip(used, (cpu_us(gateway), cpu_us(launcher)), before)]
            if jeg:
                theirs.append(client(options, jeg, "flood", their_kernel, JEG_FLOOD, 20, form))
        rate = statistics.median(run["messages_per_s"] for run in ours)
        table.add(f"flood of {FLOOD:,} outputs of 20 bytes, {form}", f"{rate:,.0f} /s", "", "", ">= 90,000 /s")
        table.add(f"  of {add_up(ours, 'messages'):,}: missing, repeated",
                  f"{add_up(ours, 'missing')}, {add_up(ours, 'repeated')}", "", "", "0, 0")
        table.add("  CPU a message, gateway", f"{used[0] / FLOOD / FLOOD_RUNS:.2f} us", "", "", "<= 3 us")
        table.add("  CPU a message, launcher", f"{used[1] / FLOOD / FLOOD_RUNS:.2f} us", "", "", "<= 5 us")
        if jeg:
            their_rate = statistics.median(run["messages_per_s"] for run in theirs)
            lost = f"{add_up(theirs, 'missing')}, {add_up(theirs, 'repeated')} of {add_up(theirs, 'messages'):,}"
            table.add("", "", f"JEG: {their_rate:,.0f} /s ({lost})", f"{rate / their_rate:.0f} x", ">= 30 x")
        elara.end_kernel(kernel)


def bench_big(options, elara, jeg, table):
    for form in ("v1", "legacy"):
        kernel = elara.start_kernel()
        their_kernel = jeg.start_kernel() if jeg else None
        ours, theirs = [], []
        for _ in range(BIG_RUNS):
            with bare_kernel(options.build) as (_, file, _):
                ours.append(client(options, elara, "flood", kernel, 200, 1 << 20, form, file))
            if jeg:
                theirs.append(client(options, jeg, "flood", their_kernel, 50, 1 << 20, form))
        found = statistics.median(run["mb_per_s"] for run in ours)
        floors = (("raw", "raw WebSocket", ">= 0.5 x"), ("direct", "a client at the kernel itself", ""))
        for floor, name, goal in floors:
            rate = statistics.median(run[f"{floor}_mb_per_s"] for run in ours)
            ratio = statistics.median(run["mb_per_s"] / run[f"{floor}_mb_per_s"] for run in ours)
            raw = floor == "raw"
            table.add(f"outputs of 1 MiB, {form}" if raw else "", f"{found:.0f} MB/s" if raw else "",
                      f"{name}: {rate:.0f} MB/s", f"{ratio:.2f} x", goal if form == "v1" else "")
        table.add(f"  of {add_up(ours, 'messages'):,}: missing, repeated",
                  f"{add_up(ours, 'missing')}, {add_up(ours, 'repeated')}", "", "", "0, 0")
        if jeg:
            rate = statistics.median(run["mb_per_s"] for run in theirs)
            table.add("", "", f"JEG: {rate:.0f} MB/s", f"{found / rate:.1f} x", ">= 2 x")
        elara.end_kernel(kernel)


def bench_memory(options, elara, jeg, table):
    with Elara(options.build) as fresh:
        start = rss_kib(fresh.process.pid)
        table.add("gateway RSS at start", f"{start / 1024:.1f} MiB", "", "", "<= 8 MiB")
        first = fresh.start_idle(10)
        launchers = [pss_kib(fresh.launcher(kernel)) for kernel in first]
        table.add("launcher PSS, ten running", f"{statistics.mean(launchers) / 1024:.2f} MiB", "", "", "<= 3 MiB")
        earlier = Crowd(options.build, fresh.port, first)  # what a first client loads is not each client's
        before = rss_kib(fresh.process.pid)
        table.add("gateway RSS, ten kernels with one client each", f"{before / 1024:.1f} MiB")
        count = 100
        crowd = Crowd(options.build, fresh.port, fresh.start_idle(count))
        idle = (rss_kib(fresh.process.pid) - before) / count
        table.add("  each further one, idle", f"{idle:.0f} KiB", "", "", "<= 64 KiB")
        found = crowd.flood(5000, 200)
        heavy = (rss_kib(fresh.process.pid) - before) / count
        table.add(f"  the same after {found['messages'] // count:,} outputs over each socket", f"{heavy:.0f} KiB", "", "",
                  "<= 100 KiB")
        earlier.close()
        crowd.close()


def bench_start(options, elara, jeg, table):
    direct, through, theirs = [], [], []
    for _ in range(15):
        direct.append(kernel_start_ms(options.build))
        through.append(elara.time_start(options))
        if jeg:
            theirs.append(jeg.time_start(options))
    found, floor = statistics.median(through), statistics.median(direct)
    table.add("POST to kernel_info_reply", f"{found:.1f} ms", f"bare kernel start: {floor:.1f} ms",
              f"+{found - floor:.1f} ms", "<= +15 ms")
    if jeg:
        table.add("", "", f"JEG: {statistics.median(theirs):.0f} ms",
                  f"{statistics.median(theirs) / found:.0f} x faster")


BENCHES = {"latency": bench_latency, "flood": bench_flood, "big": bench_big, "memory": bench_memory,
           "start": bench_start, "replay": bench_replay, "stuck": bench_stuck, "scale": bench_scale,
           "culling": bench_culling, "reload": bench_reload, "refused": bench_refused, "identity": bench_identity,
           "kubernetes": bench_kubernetes, "homes": bench_homes, "installed": bench_installed,
           "before": bench_before, "story": bench_story}
# Unasked: the test cluster is not on every machine, and the story measures nothing.
ASIDE = {"kubernetes", "homes", "installed", "story"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=ROOT / "build", type=Path, metavar="DIR")
    parser.add_argument("--skip-jeg", action="store_true", help="without the comparison with Jupyter Enterprise Gateway")
    parser.add_argument("--before", metavar="REVISION", help="of which the part 'before' shows what has changed since")
    parser.add_argument("benches", nargs="*", metavar="PART", help=f"of {', '.join(BENCHES)}; without one all but {', '.join(sorted(ASIDE))}")
    options = parser.parse_args()
    options.build = options.build.resolve()
    if "before" in options.benches and options.before is None:
        parser.error("before: name a revision to compare with: --before REVISION before")
    unasked = ASIDE | ({"before"} if options.before is None else set())
    options.benches = options.benches or [name for name in BENCHES if name not in unasked]
    for name in options.benches:
        if name not in BENCHES:
            parser.error(f"there is no part {name}: it must be one of {', '.join(BENCHES)}")
    table = Table()
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder, Elara(options.build) as elara:
        jeg = None if options.skip_jeg else Jeg(options.build, Path(folder))
        try:
            for name in options.benches:
                print(f"{name}:", file=sys.stderr)
                BENCHES[name](options, elara, jeg, table)
        finally:
            if jeg:
                jeg.stop()
    table.print()


if __name__ == "__main__":
    main()
