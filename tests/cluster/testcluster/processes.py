"""The cluster's daemons: started in sessions of their own, recorded in a file, so that a later run can end them."""
import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from testcluster.layout import LOGS, STATE


class ClusterError(Exception):
    """What people are told."""


def wait_until(condition, timeout_s, what):
    """Asks again and again until the answer is true; returns the answer."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not within {timeout_s} s")
        time.sleep(0.02)


def start_time(pid):
    """A pid with its start time names a process for ever. None: there is none, or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def load_state():
    try:
        return json.loads(STATE.read_text())
    except FileNotFoundError:
        return {}


def save_state(state):
    part = STATE.with_suffix(".part")
    part.write_text(json.dumps(state, indent=1))
    part.rename(STATE)


def remember(**values):
    save_state(load_state() | values)


def is_running(name):
    record = load_state().get("processes", {}).get(name)
    return record is not None and start_time(record["pid"]) == record["start_time"]


def pid_of(name):
    return load_state()["processes"][name]["pid"]


def start(name, *command, environment=None, inside=True):
    """Starts a daemon, inside the cluster's mount namespace or in the machine's; its output goes to a log."""
    words = [str(word) for word in command]
    full = ["nsenter", f"--mount=/proc/{pid_of('namespace')}/ns/mnt", "--", *words] if inside else words
    LOGS.mkdir(exist_ok=True)
    with open(LOGS / f"{name}.log", "ab") as log:
        process = subprocess.Popen(full, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                   cwd="/", env=os.environ | (environment or {}))
    record = {"pid": process.pid, "start_time": start_time(process.pid), "command": words, "inside": inside,
              "environment": environment}
    state = load_state()
    save_state(state | {"processes": state.get("processes", {}) | {name: record}})
    return process.pid


def start_again(name):
    """Starts a daemon again as it was started, once it is gone."""
    record = load_state()["processes"][name]
    return start(name, *record["command"], environment=record["environment"], inside=record["inside"])


def log_end(name):
    with contextlib.suppress(OSError):
        return (LOGS / f"{name}.log").read_text(errors="replace")[-3000:]
    return ""


def wait_for_daemon(name, condition, timeout_s, what):
    """As wait_until, but tells at once when the daemon ends, with the end of its log."""
    def ask():
        if not is_running(name):
            raise ClusterError(f"{name} ended:\n{log_end(name)}")
        return condition()

    try:
        return wait_until(ask, timeout_s, what)
    except ClusterError as error:
        raise ClusterError(f"{error}\n{name} said:\n{log_end(name)}") from None


def reap():
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end(pids, timeout_s=10):
    """SIGTERM to {pid: start time}, and SIGKILL to those that are still there at the deadline."""
    def left():
        reap()
        return [pid for pid, started in pids.items() if start_time(pid) == started]

    for number, limit_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 10)):
        for pid in left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        with contextlib.suppress(ClusterError):
            wait_until(lambda: not left(), limit_s, "the end of processes")
            return


def stop(*names, timeout_s=10):
    """Ends these daemons, all at the same time."""
    records = load_state().get("processes", {})
    end({records[name]["pid"]: records[name]["start_time"] for name in names if name in records}, timeout_s)


def in_mount_namespace(inode):
    """{pid: start time} of all processes in this mount namespace: whatever a daemon started there is the cluster's too."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(entry / "ns" / "mnt").st_ino == inode:
                    found[int(entry.name)] = start_time(entry.name)
    return {pid: started for pid, started in found.items() if started is not None}
