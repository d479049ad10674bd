"""What a flaw in the gateway could reach, and what its kernels keep: the gateway locks itself in, what it starts is free."""
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from support.handover import hand_over
from support.processes import is_alive, wait_until

PROGRAMS = ["elara-gateway", "elara", "elara-launcher"]
FREE = ("import subprocess, tempfile; "
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('NoNewPrivs')][0], "
        "subprocess.run(['true']).returncode, tempfile.NamedTemporaryFile().write(b'x'))")


def status_of(pid, name):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name + ":"))
    return line.split()[1]


def test_the_gateway_is_locked_in_and_its_kernels_are_not(start_gateway, connect):
    gateway = start_gateway()
    first = gateway.start_kernel("python3")["id"]
    assert status_of(gateway.process.pid, "NoNewPrivs") == "1"
    assert connect(gateway, first, timeout=60).run_cell(FREE).text().split() == ["0", "0", "1"]

    hand_over(gateway)  # the new program is not locked in by the old one, but by itself
    assert status_of(gateway.process.pid, "NoNewPrivs") == "1"
    second = gateway.start_kernel("python3")["id"]
    assert connect(gateway, second, timeout=60).run_cell(FREE).text().split() == ["0", "0", "1"]


# Nobody, who may all the same read and write what the tests have made as root.
SOMEBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+dac_override,+dac_read_search",
            "--ambient-caps=+dac_override,+dac_read_search")


@pytest.mark.skipif(os.geteuid() != 0, reason="machine limit: only root can start a gateway as somebody else")
def test_nobody_of_the_same_user_looks_into_the_gateway_its_spawner_or_a_launcher(start_gateway):
    """A process whose memory its user may read has its files in /proc; one that is closed to him has root's."""
    gateway = start_gateway(prefix=SOMEBODY)
    kernel_id = gateway.start_kernel()["id"]
    wait_until(lambda: gateway.get(f"/api/kernels/{kernel_id}").json()["execution_state"] == "idle")
    kernel, launcher = gateway.kernel_pids(kernel_id)[0], gateway.launcher_pids(kernel_id)[0]
    closed = (gateway.process.pid, gateway.spawner_pid(), launcher)
    assert [Path(f"/proc/{pid}/mem").stat().st_uid for pid in (*closed, kernel)] == [0, 0, 0, 65534]


@pytest.mark.skipif(os.geteuid() != 0, reason="machine limit: only root can start a gateway as somebody else")
@pytest.mark.parametrize("program, flag, file", [("elara-gateway", "--config", None), ("elara-launcher", "--directory", "launch.json")])
def test_they_are_closed_before_they_read_anything(build, tmp_path, program, flag, file):
    """The first file that they read says nothing."""
    fifo = tmp_path / (file or "settings.yaml")
    os.mkfifo(fifo)
    tmp_path.chmod(0o700)
    os.chown(tmp_path, 65534, 65534)
    started = subprocess.Popen([*SOMEBODY, build / program, flag, tmp_path if file else fifo])
    try:
        writer = wait_until(lambda: open_for_writing(fifo))
        assert Path(f"/proc/{started.pid}/mem").stat().st_uid == 0
        os.close(writer)
    finally:
        started.kill()
        started.wait()


def open_for_writing(fifo):
    """None: nobody reads it yet."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def test_without_its_spawner_the_gateway_says_why_nothing_starts(start_gateway, connect):
    gateway = start_gateway()
    runs = gateway.start_kernel()["id"]
    spawner = gateway.spawner_pid()
    os.kill(spawner, signal.SIGKILL)
    wait_until(lambda: not is_alive(spawner))
    dead = gateway.post("/api/kernels", json={"name": "stub"})
    assert "elara-spawner" in dead.text and "start the gateway again" in dead.text
    assert gateway.get(f"/api/kernels/{runs}").json()["execution_state"] != "dead"


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_are_hardened(build, program):
    read = subprocess.run(["readelf", "-Whld", "--dyn-syms", build / program], capture_output=True, text=True, check=True).stdout
    assert "DYN (Position-Independent Executable file)" in read
    assert re.search(r"GNU_STACK .* RW ", read), "the stack is not executable"
    assert not re.search(r"LOAD .* RWE ", read)
    if "ELARA_SANITIZE:BOOL=ON" in (build / "CMakeCache.txt").read_text():
        return  # sanitizers have means of their own for the rest
    assert "GNU_RELRO" in read and "BIND_NOW" in read
    assert "__stack_chk_fail" in read and re.search(r"__\w+_chk@", read), "canaries, and checked copies"
