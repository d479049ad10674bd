"""A kernel that memory ran out for: killed by the system, or not even started."""
import contextlib
import os
import resource
import signal
import subprocess
import uuid
from pathlib import Path

import pytest

from support.link import PING, PONG, WELCOME, Link
from support.processes import wait_until

MOUNT = 'mount --bind "$0" /sys/fs/cgroup && exec "$@"'
ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
LIMIT = "the memory limit was reached"


# -- killed --

@pytest.fixture
def counters(tmp_path):
    """A directory that stands in for /sys/fs/cgroup, and the command that runs a gateway with it."""
    directory = tmp_path / "cgroup"
    directory.mkdir()
    options = ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]
    prefix = ["unshare", *options, "sh", "-c", MOUNT, str(directory)]
    if subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
        pytest.skip("machine limit: it allows no mount namespace to its users")
    return directory, prefix


def write_counters(directory, version, kills):
    if version == 2:
        text = f"low 0\nhigh 0\nmax 9\noom {kills}\noom_kill {kills}\noom_group_kill 0\n"
        (directory / "memory.events").write_text(text)
    elif version == 1:
        (directory / "memory").mkdir(exist_ok=True)
        (directory / "memory" / "memory.oom_control").write_text(f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n")


def kill_in_a_cell(gateway, client, kernel_id, count=lambda: None):
    """What the running cell shows when its kernel is killed, as by the system, which counts it."""
    msg_id = client.send_execute("sleep 30000")
    client.receive_until(lambda m: m["header"]["msg_type"] == "execute_input")
    count()
    os.kill(gateway.kernel_pids(kernel_id)[0], signal.SIGKILL)
    return client.collect(msg_id)


@pytest.mark.parametrize("version, kills, told, not_told", [
    (2, 4, LIMIT, "common cause"), (1, 4, LIMIT, "common cause"),
    (2, 3, "SIGKILL", "memory"), (1, 3, "SIGKILL", "memory"),
    (None, 0, "running out of memory is a common cause", LIMIT),
], ids=["v2 killed", "v1 killed", "v2 not", "v1 not", "nobody counts"])
def test_oom_killer_is_named_when_it_was_at_work_and_only_then(start_gateway, connect, counters, version, kills, told,
                                                              not_told):
    directory, prefix = counters
    write_counters(directory, version, 3)  # it was at work before, too
    gateway = start_gateway("--restart-limit", "1", prefix=prefix)
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    assert client.run_cell("print on").text() == "on\n"
    cell = kill_in_a_cell(gateway, client, kernel_id, lambda: write_counters(directory, version, kills))
    assert told in cell.text("stderr") and not_told not in cell.text("stderr")
    assert cell.reply["status"] == "error" and told in cell.reply["evalue"]
    gateway.wait_for_state(kernel_id, "idle")
    again = kills + 1 if kills > 3 else kills
    kill_in_a_cell(gateway, client, kernel_id, lambda: write_counters(directory, version, again))
    reason = gateway.wait_for_state(kernel_id, "dead")["reason"]
    assert told in reason and not_told not in reason
    assert told in connect(gateway, kernel_id).run_cell("print 1").error["evalue"]


def wait_until_counted(directory, kernel_directory):
    """Has the counter looked at, for which a launcher takes its time."""
    path = directory / "memory.events"
    path.write_text(path.read_text())

    def was_read():
        link.send(PING)
        link.expect(PONG)
        return path.stat().st_atime_ns > path.stat().st_mtime_ns

    with Link(kernel_directory) as link:
        assert link.hello().kind == WELCOME
        wait_until(was_read, timeout=60, what="a look at the counter")


def test_another_kernels_death_for_memory_is_not_told_of_a_later_one(start_gateway, connect, counters):
    """Local kernels share one counter."""
    directory, prefix = counters
    write_counters(directory, 2, 3)
    (directory / "memory.events").read_text()
    if (directory / "memory.events").stat().st_atime_ns <= (directory / "memory.events").stat().st_mtime_ns:
        pytest.skip("machine limit: its file system does not note when a file was read")
    gateway = start_gateway("--restart-limit", "1", prefix=prefix)
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    assert client.run_cell("print on").text() == "on\n"
    write_counters(directory, 2, 4)
    for _ in range(2):  # one look may come while a process is still on its way out
        wait_until_counted(directory, gateway.kernel_directory(kernel_id))
    cell = kill_in_a_cell(gateway, client, kernel_id)
    assert "SIGKILL" in cell.text("stderr") and "memory" not in cell.text("stderr")


@contextlib.contextmanager
def memory_group(limit):
    """A cgroup v2 with a memory limit; skips where nobody may make one."""
    root = Path("/sys/fs/cgroup")
    own = next((line[4:].rstrip("/") for line in Path("/proc/self/cgroup").read_text().splitlines()
                if line.startswith("0::/")), "")
    for parent in (root / own if own else root, root):
        group = parent / f"elara-test-{uuid.uuid4().hex[:8]}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / "memory.max").exists():
            break
        group.rmdir()
    else:
        pytest.skip("machine limit: it lets its users make no cgroup v2 with a memory controller")
    try:
        (group / "memory.max").write_text(str(limit))
        with contextlib.suppress(OSError):
            (group / "memory.swap.max").write_text("0")
        yield group
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


def test_kernel_beyond_a_real_memory_limit_says_so(start_gateway, connect):
    with memory_group(400 << 20) as group:
        gateway = start_gateway("--restart-limit", "0", prefix=["sh", "-c", ENTER, str(group)])
        kernel_id = gateway.start_kernel("python3")["id"]
        client = connect(gateway, kernel_id, timeout=60)
        cell = client.run_cell("data = b'x' * (1 << 30)")
        assert LIMIT in cell.text("stderr") and LIMIT in cell.reply["evalue"]
        assert LIMIT in gateway.wait_for_state(kernel_id, "dead")["reason"]
        gateway.stop()
        gateway.clean()


# -- not started --

@contextlib.contextmanager
def no_more_processes(pid):
    """fork fails in this process, as on a machine without memory: the system says EAGAIN or ENOMEM for either."""
    if os.geteuid() != 0:  # the limit of processes does not hold for root
        old = resource.prlimit(pid, resource.RLIMIT_NPROC)
        resource.prlimit(pid, resource.RLIMIT_NPROC, (1, old[1]))
        yield
        resource.prlimit(pid, resource.RLIMIT_NPROC, old)
        return
    own = {line.split(":")[1]: line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines()}
    base = Path("/sys/fs/cgroup/pids" + own["pids"] if "pids" in own else "/sys/fs/cgroup" + own.get("", "/"))
    group = base / f"elara-test-{uuid.uuid4().hex[:8]}"
    try:
        group.mkdir()
        (group / "pids.max").write_text("1")
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"machine limit: it limits no processes: neither RLIMIT_NPROC (root) nor {base} ({error.strerror})")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (base / "cgroup.procs").write_text(str(pid))
            group.rmdir()


NO_MEMORY = "out of memory or at its limit of processes"


def test_kernel_process_that_cannot_be_made_says_why(start_gateway, connect):
    gateway = start_gateway()
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    client.run_cell("print on")
    with no_more_processes(gateway.launcher_pids(kernel_id)[0]):
        os.kill(gateway.kernel_pids(kernel_id)[0], signal.SIGKILL)
        reason = gateway.wait_for_state(kernel_id, "dead")["reason"]
        assert NO_MEMORY in reason and "end other kernels" in reason
        cell = connect(gateway, kernel_id).run_cell("print 1")
        assert cell.reply["status"] == "error" and NO_MEMORY in cell.error["evalue"]
        answer = gateway.post(f"/api/kernels/{kernel_id}/restart")
        assert answer.status_code >= 500 and NO_MEMORY in answer.text
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert connect(gateway, kernel_id).run_cell("print again").text() == "again\n"


def test_launcher_that_cannot_be_made_says_why(start_gateway, connect):
    gateway = start_gateway()
    with no_more_processes(gateway.spawner_pid()):
        answer = gateway.post("/api/kernels", json={"name": "stub"})
        assert answer.status_code >= 400 and NO_MEMORY in answer.text
        assert gateway.get("/api/kernels").json() == [], "nothing is left of it"
        answer = gateway.post("/api/kernels", json={"name": "stub"}, headers={"User-Agent": "Tornado/6.5.2"})
        assert answer.status_code == 201
        kernel_id = answer.json()["id"]
        assert NO_MEMORY in gateway.wait_for_state(kernel_id, "dead")["reason"]
        cell = connect(gateway, kernel_id, user_agent="Tornado/6.5.2").run_cell("print 1")
        assert cell.reply["status"] == "error" and NO_MEMORY in cell.error["evalue"]
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert connect(gateway, kernel_id).run_cell("print again").text() == "again\n"
