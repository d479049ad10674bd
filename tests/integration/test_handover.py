"""SIGUSR2 and socket activation: a new gateway on the old one's socket, without a refused connection in between."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests

from support.handover import hand_over
from support.processes import Gateway, wait_until


@pytest.fixture
def own_copy(build, tmp_path):
    """Programs that may be replaced."""
    directory = tmp_path / "programs"
    directory.mkdir()
    for name in ("elara-gateway", "elara-launcher"):
        shutil.copy2(build / name, directory / name)
    return directory


@pytest.fixture
def serve(specs):
    with contextlib.ExitStack() as stack:
        yield lambda build, *arguments, **options: stack.enter_context(Gateway(build, specs, *arguments, **options))


def test_new_gateway_takes_over_kernels_and_socket(serve, build, connect):
    gateway = serve(build)
    kernel_id = gateway.start_kernel()["id"]
    with connect(gateway, kernel_id, session_id="one") as client:
        client.run_cell("print before")
        hand_over(gateway)
        assert client.expect_close() == 1012
    assert gateway.model(kernel_id)["id"] == kernel_id
    with connect(gateway, kernel_id, session_id="one") as client:
        assert client.run_cell("print after").text() == "after\n"
    assert "WARNING" not in gateway.log().split("is to take over")[1]


def test_no_connection_is_refused_meanwhile(serve, build):
    gateway = serve(build)
    kernel_id = gateway.start_kernel()["id"]
    failures, answers, over = [], [], threading.Event()

    def ask():
        while not over.is_set():
            try:  # a connection each, as a load balancer's probe
                answer = requests.get(f"{gateway.base}/api/kernels/{kernel_id}", headers={"Connection": "close"}, timeout=20)
                answers.append(answer.status_code)
            except requests.RequestException as failure:
                failures.append(failure)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            seen = len(answers)
            hand_over(gateway)
            wait_until(lambda: len(answers) > seen + 50, 20, "answers of the new gateway")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert failures == [] and set(answers) == {200}


def test_program_that_fails_leaves_the_old_one_serving(serve, own_copy):
    gateway = serve(own_copy)
    kernel_id = gateway.start_kernel()["id"]
    replacement = own_copy / "new"
    replacement.write_text("#!/bin/sh\nexit 3\n")
    replacement.chmod(0o755)
    replacement.rename(own_copy / "elara-gateway")
    os.kill(gateway.process.pid, signal.SIGUSR2)
    wait_until(lambda: "ended with status 3 before it was ready" in gateway.log(), 20, "the failure's log line")
    assert gateway.process.poll() is None
    assert gateway.model(kernel_id)["execution_state"] in ("starting", "idle")


def test_program_that_is_missing_leaves_the_old_one_serving(serve, own_copy):
    gateway = serve(own_copy)
    (own_copy / "elara-gateway").unlink()
    os.kill(gateway.process.pid, signal.SIGUSR2)
    wait_until(lambda: "could not be started, this one goes on" in gateway.log(), 20, "the failure's log line")
    assert gateway.get("/api/kernels").status_code == 200


def test_replaced_program_is_the_one_that_is_started(serve, own_copy, build):
    gateway = serve(own_copy)
    shutil.copy2(build / "elara-gateway", own_copy / "new")
    (own_copy / "new").rename(own_copy / "elara-gateway")
    inode = (own_copy / "elara-gateway").stat().st_ino
    hand_over(gateway)
    assert Path(f"/proc/{gateway.process.pid}/exe").stat().st_ino == inode


def test_kernels_keep_the_limit_of_open_files(serve, build, connect):
    gateway = serve(build)
    hand_over(gateway)
    with gateway.kernel() as kernel_id:
        gateway.wait_for_state(kernel_id, "idle")
        (pid,) = gateway.kernel_pids(kernel_id)
        soft = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
                    if line.startswith("Max open files")).split()[3]
    limits = Path("/proc/self/limits").read_text()
    own = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3]
    assert soft == own


def activated(gateway, listening, environment):
    """As systemd does it: the socket is descriptor 3, and the child's own pid stands in its environment."""
    command = gateway.command()
    program = ("import os, sys\n"
               "os.dup2(int(sys.argv[1]), 3)\nos.set_inheritable(3, True)\n"
               "os.environ['LISTEN_PID'] = str(os.getpid())\nos.environ['LISTEN_FDS'] = '1'\n"
               "os.execv(sys.argv[2], sys.argv[2:])\n")
    with open(gateway.log_path, "ab") as log:
        return subprocess.Popen([sys.executable, "-c", program, str(listening.fileno()), *command],
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[listening.fileno()],
                                env={"PATH": os.environ["PATH"], "HOME": str(gateway.home), **environment},
                                cwd=gateway.home, start_new_session=True)


def listen(address="127.0.0.1", kind=socket.AF_INET):
    listening = socket.socket(kind)
    listening.bind((address, 0) if kind == socket.AF_INET else address)
    listening.listen()
    return listening


def test_socket_of_systemd_is_served(build, specs):
    gateway = Gateway(build, specs)
    with listen() as listening:
        gateway.port = 1  # not to be had: the socket counts
        gateway.process = activated(gateway, listening, {})
        gateway.port = listening.getsockname()[1]
        try:
            wait_until(gateway.is_ready, 20, "the gateway's /readyz")
            with gateway.kernel() as kernel_id:
                gateway.wait_for_state(kernel_id, "idle")
                (pid,) = gateway.kernel_pids(kernel_id)
                assert b"LISTEN_" not in Path(f"/proc/{pid}/environ").read_bytes()
            assert gateway.stop() == 0
        finally:
            gateway.clean()


def expect_refusal(gateway, listening, words):
    gateway.port = 1
    gateway.process = activated(gateway, listening, {})
    try:
        assert gateway.process.wait(20) == 1
        assert words in gateway.log()
    finally:
        gateway.clean()


def test_open_socket_of_systemd_needs_a_token(build, specs):
    with listen("0.0.0.0") as listening:
        expect_refusal(Gateway(build, specs), listening, "will not listen on '0.0.0.0' without a token")


def test_socket_that_is_no_tcp_socket_is_refused(build, specs, tmp_path):
    with listen(str(tmp_path / "socket"), socket.AF_UNIX) as listening:
        expect_refusal(Gateway(build, specs), listening, "must be a listening TCP socket")
