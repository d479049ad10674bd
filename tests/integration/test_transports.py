"""How a launcher talks to its kernel: over ipc, and over tcp ports that somebody else may take."""
import json
import os
import re
import signal
import socket
import sys

import pytest

from support.processes import is_alive, wait_until

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")


def sockets_of(directory):
    return sorted(path.name for path in directory.iterdir() if re.fullmatch(r"k-\d", path.name))


# -- ipc --

@pytest.fixture
def ipc_gateway(start_gateway):
    return start_gateway("--kernel-transport", "ipc")


@pytest.mark.parametrize("spec", ["stub", "stub-message", "python3"])
def test_kernel_over_ipc_runs_is_interrupted_and_restarted(ipc_gateway, connect, spec):
    kernel_id = ipc_gateway.start_kernel(spec)["id"]
    directory = ipc_gateway.kernel_directory(kernel_id)
    client = connect(ipc_gateway, kernel_id, timeout=60)
    is_python = spec == "python3"
    on, wait = ("print('on')", "import time\nprint('go')\nwhile True: time.sleep(0.1)") if is_python else ("print on", "sleep 30000")
    begun = "stream" if is_python else "execute_input"  # ipykernel drops the cell that is interrupted before its first line
    assert client.run_cell(on).text() == "on\n"
    connection = json.loads((directory / "connection.json").read_text())
    assert connection["transport"] == "ipc" and connection["ip"].startswith(str(directory))
    assert sockets_of(directory) == [f"k-{connection[port]}" for port in sorted(PORTS, key=connection.get)]
    pid = ipc_gateway.kernel_pids(kernel_id)[0]
    for _ in range(2):
        msg_id = client.send_execute(wait)
        client.receive_until(lambda m: m["header"]["msg_type"] == begun)
        assert ipc_gateway.post(f"/api/kernels/{kernel_id}/interrupt").status_code == 204
        assert client.collect(msg_id).error["ename"] == "KeyboardInterrupt"
        assert ipc_gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
        assert client.run_cell(on).text() == "on\n"
    assert not is_alive(pid) and len(sockets_of(directory)) == 5
    if not is_python:
        msg_id = client.send_execute("input name?")
        asked = client.receive_until(lambda m: m["header"]["msg_type"] == "input_request")
        client.send("input_reply", {"value": "anna", "status": "ok"}, channel="stdin", parent=asked["header"])
        assert "anna" in client.collect(msg_id).everything()


def test_kernel_over_ipc_that_dies_comes_back(ipc_gateway, connect):
    """Its sockets are still there and nobody listens on them."""
    kernel_id = ipc_gateway.start_kernel()["id"]
    client = connect(ipc_gateway, kernel_id)
    assert client.run_cell("print on").text() == "on\n"
    os.kill(ipc_gateway.kernel_pids(kernel_id)[0], signal.SIGKILL)
    client.receive_until(lambda m: m["content"].get("execution_state") == "restarting")
    assert client.run_cell("print back").text() == "back\n"
    directory = ipc_gateway.kernel_directory(kernel_id)
    assert ipc_gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    assert not directory.exists()


def test_kernel_over_ipc_survives_the_gateway(ipc_gateway, start_gateway, connect):
    kernel_id = ipc_gateway.start_kernel()["id"]
    pid = connect(ipc_gateway, kernel_id).run_cell("pid").text()
    ipc_gateway.kill()
    second = start_gateway(home=ipc_gateway.home)  # its own kernels would use tcp
    client = connect(second, kernel_id)
    assert client.run_cell("pid").text() == pid
    assert second.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert client.run_cell("print on").text() == "on\n"
    assert len(sockets_of(second.kernel_directory(kernel_id))) == 5


# -- ports that are taken between choosing and binding --

LATE = """
if [ ! -e "$GATE.passed" ]; then touch "$GATE.passed"; read -r line < "$GATE"; fi
exec "$@"
"""


@pytest.fixture
def gate(tmp_path):
    """A kernel that reads from it waits until the test lets it go on."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def add_late(specs, gate, *argv, script=LATE):
    """A kernelspec whose kernel waits at the gate the first time, when its ports are chosen and not yet bound."""
    specs.add("late", ["bash", "-c", script, "bash", *argv, "-f", "{connection_file}"], env={"GATE": str(gate)})


@pytest.mark.parametrize("port", PORTS)
def test_taken_port_is_replaced_and_the_notebook_never_notices(start_gateway, specs, connect, gate, port):
    add_late(specs, gate, specs.stub_program)
    check_race(start_gateway(), connect, "print on", gate, port)


@pytest.mark.parametrize("port", ["shell_port", "iopub_port"])  # it ends, and it hangs
def test_taken_port_of_ipykernel(start_gateway, specs, connect, gate, port):
    add_late(specs, gate, sys.executable, "-m", "ipykernel_launcher")
    check_race(start_gateway(), connect, "print('on')", gate, port)


def test_taken_port_of_a_kernel_that_does_not_say_why_it_ends(start_gateway, specs, connect, gate):
    add_late(specs, gate, specs.stub_program, script=LATE.replace('exec "$@"', 'exec "$@" 2>/dev/null'))
    check_race(start_gateway(), connect, "print on", gate, "iopub_port")


def check_race(gateway, connect, code, gate, port):
    kernel_id = gateway.start_kernel("late")["id"]
    client = connect(gateway, kernel_id, timeout=60)
    msg_id = client.send_execute(code)
    path = gateway.kernel_directory(kernel_id) / "connection.json"
    with open(gate, "w") as opened:  # waits until the kernel's process reads
        before = json.loads(path.read_text())
        with socket.socket() as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.bind(("127.0.0.1", before[port]))
            thief.listen()
            opened.write("go on\n")
            opened.flush()
            cell = client.collect(msg_id)
    assert cell.reply["status"] == "ok" and cell.text() == "on\n" and cell.error is None
    assert cell.text("stderr") == "" and "restarting" not in cell.states
    after = json.loads(path.read_text())
    assert after["key"] == before["key"] and after[port] != before[port]
    assert gateway.model(kernel_id)["execution_state"] == "idle" and "reason" not in gateway.model(kernel_id)
    assert "took one of the kernel's ports" in (path.parent / "launcher.log").read_text()


def test_kernel_that_finds_every_port_taken_is_given_up(start_gateway, specs, connect):
    specs.stub("unlucky", "--crash-at-start", "zmq.error.ZMQError: Address already in use")
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("unlucky")["id"]
    assert "Address already in use" in gateway.wait_for_state(kernel_id, "dead")["reason"]
    log = (gateway.kernel_directory(kernel_id) / "launcher.log").read_text()
    assert 1 < log.count("took one of the kernel's ports") < 20
    assert "Address already in use" in connect(gateway, kernel_id).run_cell("print 1").error["evalue"]
    wait_until(lambda: not gateway.kernel_pids(kernel_id), what="no process is left")
