"""What a client costs that does not read, and how fast one that was away gets what it missed."""
import contextlib
import json
import statistics
import subprocess
from pathlib import Path

from servers import Elara, journal_bytes, peak_kib, pss_kib, reset_peak, rss_kib, session_path, wire_client

REPLAY_RUNS = 5
REPLAY_BYTES = 100_000_000
REPLAY_HEAD = 600  # of a message, beside its text: about
REST_MS = 12_000  # after which a launcher has given back the memory of its journal: a laptop that wakes up is slower than that
STUCK_ROUNDS = 5
STUCK_OUTPUTS = 700_000
STUCK_BYTES = 1024
OWN_OUTPUTS = 100_000  # of the cell that the stuck client runs itself


def bench_replay(options, elara, jeg, table):
    for size, name in ((1 << 20, "1 MiB"), (1024, "1 KiB")):
        kernel = elara.start_kernel()
        count = REPLAY_BYTES // (size + REPLAY_HEAD)
        runs = [wire_client(options, "replay", elara, session_path(kernel), session_path(kernel), count, size, REST_MS)
                for _ in range(REPLAY_RUNS)]
        rate = statistics.median(run["mb_per_s"] for run in runs)
        what = f"{runs[0]['mb']:.0f} MB that were missed, in messages of {name}"
        floors = [("raw", "raw WebSocket, a write a message", ">= 0.5 x")]
        floors += [("packed", "64 KiB a write", "")] if size < 1 << 16 else []
        for floor, title, goal in floors:
            ratios = sorted(run["mb_per_s"] / run[f"{floor}_mb_per_s"] for run in runs)
            beside = statistics.median(run[f"{floor}_mb_per_s"] for run in runs)
            first = floor == "raw"
            table.add(what if first else "", f"{rate:.0f} MB/s" if first else "", f"{title}: {beside:.0f} MB/s",
                      f"{statistics.median(ratios):.2f} x ({ratios[0]:.2f} to {ratios[-1]:.2f})", goal)
        lost, again = (sum(run[which] for run in runs) for which in ("missing", "repeated"))
        table.add(f"  of {sum(run['messages'] for run in runs):,}: missing, repeated", f"{lost}, {again}", "", "", "0, 0")
        elara.end_kernel(kernel)


@contextlib.contextmanager
def stuck_client(options, elara, kernel):
    """Runs a cell and reads nothing of it before it is asked, which gives what it then got."""
    process = subprocess.Popen(
        [Path(options.build) / "tests" / "wire_client", "stuck", "127.0.0.1", str(elara.port), session_path(kernel),
         str(OWN_OUTPUTS), str(STUCK_BYTES)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()

    def read_all():
        process.stdin.write("\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield read_all
    process.stdin.close()
    process.wait(60)
    process.stdout.close()


def mib(kib):
    return f"{kib / 1024:.1f} MiB"


def bench_stuck(options, elara, jeg, table):
    # One that answers no ping for 90 s would be let go of: here it is to stay.
    with Elara(options.build, "--ws-ping-interval", "0") as server:
        alone, beside = server.start_idle(2)
        gateway, launcher = server.process.pid, server.launcher(beside)
        for kernel in (alone, beside):  # what any flood costs is not what the stuck client costs
            wire_client(options, "flood", server, session_path(kernel), STUCK_OUTPUTS, STUCK_BYTES, "v1")
        before = [(rss_kib(pid), pss_kib(pid)) for pid in (gateway, launcher)]
        with stuck_client(options, server, beside) as read_all:
            server.wait_for_state(beside, "busy")
            server.wait_for_state(beside, "idle", timeout=60)
            for pid in (gateway, launcher):
                reset_peak(pid)
            free, disturbed = [], []
            for _ in range(STUCK_ROUNDS):
                for kernel, found in ((alone, free), (beside, disturbed)):
                    found.append(wire_client(options, "flood", server, session_path(kernel), STUCK_OUTPUTS, STUCK_BYTES, "v1"))
            after = [(rss_kib(pid), pss_kib(pid), peak_kib(pid)) for pid in (gateway, launcher)]
            kept = journal_bytes(server, beside)
            seen = read_all()
        report_stuck(table, free, disturbed, before, after, kept, seen)


def report_stuck(table, free, disturbed, before, after, kept, seen):
    printed = sum(run["mb_per_s"] * run["seconds"] for run in disturbed) / 1000
    rate, beside = (statistics.median(run["messages_per_s"] for run in runs) for runs in (disturbed, free))
    ratios = sorted(ours["messages_per_s"] / theirs["messages_per_s"] for ours, theirs in zip(disturbed, free))
    table.add(f"{printed:.1f} GB printed beside a client that never reads", f"{rate:,.0f} /s", f"without it: {beside:,.0f} /s",
              f"{statistics.median(ratios):.2f} x ({ratios[0]:.2f} to {ratios[-1]:.2f})", ">= 0.9 x")
    for what, then, now, goal in (("gateway", before[0], after[0], "+ <= 8 MiB"),
                                  ("launcher", before[1], after[1], "as before")):
        table.add(f"  {what}: RSS, PSS, peak RSS", ", ".join(map(mib, now)), "RSS, PSS before: " + ", ".join(map(mib, then)), "", goal)
    table.add("  journal's files", mib(kept / 1024), "", "", "<= 256 MiB")
    missing, repeated = (sum(run[which] for run in disturbed) for which in ("missing", "repeated"))
    table.add("  the other client: missing, repeated", f"{missing}, {repeated}", "", "", "0, 0")
    all_outputs = OWN_OUTPUTS + STUCK_ROUNDS * STUCK_OUTPUTS
    table.add("  then the stuck one reads: outputs, told to be left out", f"{seen['outputs']:,}, {seen['told']:,}",
              f"of {all_outputs:,}", f"{seen['outputs'] + seen['told'] - all_outputs:+,}", "+ 0")
    table.add("    the newest without a gap, notices", f"{seen['newest']:,}, {seen['notices']}")
    table.add("    its own cell's reply, the last idle", f"{seen['replied']}, {seen['idle']}", "", "", "True, True")
