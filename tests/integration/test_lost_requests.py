"""Requests that a gateway has read and that no kernel got: whoever is next to live answers them, and none is run twice."""
import ast
import random
import threading

import pytest
import websocket

from support.handover import hand_over
from support.processes import wait_until

LARGE = "#" * (600 << 10)
ERROR = "This cell did not run: it was lost with the gateway that had read it. Run it again."


def die(gateway, start_gateway):
    gateway.kill()
    return start_gateway(home=gateway.home)


def end(gateway, start_gateway):
    assert gateway.stop() == 0
    return start_gateway(home=gateway.home)


def be_replaced(gateway, start_gateway):
    hand_over(gateway)
    return gateway


def restart(gateway, kernel_id):
    """In the background: the answer comes when the kernel is there again, if the gateway still is."""

    def ask():
        try:
            gateway.post(f"/api/kernels/{kernel_id}/restart")
        except OSError:
            pass

    threading.Thread(target=ask, daemon=True).start()
    gateway.wait_for_state(kernel_id, "restarting")


@pytest.fixture
def gate(specs, tmp_path):
    """Of the kernelspec "slow": its kernels start as long as this file is there."""
    path = tmp_path / "gate"
    specs.stub("slow", "--start-when", str(path))
    path.touch()
    return path


@pytest.fixture
def restarting(start_gateway, connect, gate):
    """A gateway, the id of its kernel, which restarts until the gate is there again, and its client."""
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("slow")["id"]
    client = connect(gateway, kernel_id, session_id="user", timeout=60)
    client.run_cell("print before")
    gate.unlink()
    restart(gateway, kernel_id)
    return gateway, kernel_id, client


@pytest.mark.parametrize("way_out", [die, end, be_replaced])
def test_cell_of_a_restart_is_answered_after_the_gateways_end(restarting, start_gateway, connect, gate, way_out):
    gateway, kernel_id, client = restarting
    msg_id = client.send_execute("print lost")
    client.receive_until(lambda m: m["header"]["msg_type"] == "display_data")  # so it was told that this one is busy
    following = way_out(gateway, start_gateway)
    back = connect(following, kernel_id, session_id="user", timeout=60)
    gate.touch()
    cell = back.collect(msg_id)
    assert cell.reply["status"] == "error" and cell.reply["evalue"] == ERROR
    assert cell.text("stderr") == ERROR and cell.text() == ""
    assert cell.states[-1] == "idle"
    assert [m["header"]["msg_type"] for m in cell.messages].count("execute_reply") == 1
    assert back.run_cell("print next").text() == "next\n"


def test_cell_of_a_restart_runs_though_its_client_left(restarting, connect, gate):
    gateway, kernel_id, client = restarting
    msg_id = client.send_execute("print kept")
    client.receive_until(lambda m: m["header"]["msg_type"] == "display_data")
    client.drop()
    back = connect(gateway, kernel_id, session_id="user", timeout=60)
    gate.touch()
    cell = back.collect(msg_id)
    assert cell.reply["status"] == "ok" and cell.text() == "kept\n"


@pytest.mark.parametrize("way_out", [die, end, be_replaced])
def test_cell_beyond_the_grant_is_answered_after_the_gateways_end(start_gateway, connect, gate, way_out):
    """Its kernel is not ready: the launcher keeps the first megabyte, the gateway has read more."""
    gate.unlink()
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("slow")["id"]
    client = connect(gateway, kernel_id, session_id="user", timeout=60)
    small = client.send_execute("print small")
    kept = client.send_execute(f"print kept {LARGE}")
    lost = client.send_execute(f"print lost {LARGE}")
    client.receive_until(lambda m: m["header"]["msg_type"] == "display_data" and m["parent_header"]["msg_id"] == small)
    following = way_out(gateway, start_gateway)
    back = connect(following, kernel_id, session_id="user", timeout=60)
    gate.touch()
    cells = dict(zip(("small", "kept", "lost"), back.collect_all([small, kept, lost])))
    assert [cells[name].reply["status"] for name in cells] == ["ok", "ok", "error"]
    assert cells["kept"].text() == f"kept {LARGE}\n"
    assert cells["lost"].text("stderr") == ERROR and cells["lost"].reply["evalue"] == ERROR


def test_cells_of_many_clients_that_left_are_answered(start_gateway, connect, gate):
    """A gateway keeps the requests of a few such clients, for a kernel that takes none; the others are answered."""
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("slow")["id"]
    first = connect(gateway, kernel_id, timeout=60)
    first.run_cell("print before")
    first.close()
    gate.unlink()
    restart(gateway, kernel_id)
    asked = {}
    for number in range(20):
        session = f"user-{number}"
        client = connect(gateway, kernel_id, session_id=session)
        asked[session] = client.send_execute(f"print {number}")
        client.close()
    wait_until(lambda: gateway.model(kernel_id)["connections"] == 0, 30, "their leaving")
    gate.touch()
    replies = {}
    for session, msg_id in asked.items():
        cell = connect(gateway, kernel_id, session_id=session, timeout=60).collect(msg_id)
        replies[session] = cell.reply["status"]
        assert cell.reply["status"] == "ok" or cell.text("stderr") == ERROR
    assert list(replies.values()).count("error") == 4, "and 16 ran"


class Ends:
    """What clients are told of the ends of cells, whichever of them is."""

    def __init__(self):
        self.replies, self.idle = {}, set()

    def add(self, message):
        msg_id = message["parent_header"].get("msg_id")
        if message["header"]["msg_type"] == "execute_reply":
            assert self.replies.setdefault(msg_id, message["content"]["status"]) == message["content"]["status"]
        if message["content"].get("execution_state") == "idle":
            self.idle.add(msg_id)
        return self

    def have(self, msg_ids):
        return set(msg_ids) <= self.replies.keys() & self.idle

    def collect(self, client, msg_ids):
        if self.have(msg_ids):
            return
        try:
            client.receive_until(lambda m: self.add(m).have(msg_ids))
        except websocket.WebSocketTimeoutException as error:
            raise AssertionError(f"of {msg_ids} there is no reply for {[i for i in msg_ids if i not in self.replies]} "
                                 f"and no idle for {[i for i in msg_ids if i not in self.idle]}") from error


def test_requests_under_way_at_a_kill_ran_once_or_are_answered(start_gateway, connect, specs):
    """Twenty at a time, ten times: each that was read is answered, and ran exactly when its reply says so."""
    specs.python()
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("python3")["id"]
    client = connect(gateway, kernel_id, session_id="user", timeout=60)
    client.run_cell("runs = {}")
    chance, ends, names = random.Random(1), Ends(), {}
    for turn in range(10):
        ids = []
        for number in range(20):
            name = f"{turn}.{number}"
            ids.append(client.send_execute(f"runs[{name!r}] = runs.get({name!r}, 0) + 1"))
            names[ids[-1]] = name
        client.send("comm_info_request", {}, channel="control")  # behind them: when it is answered they were read
        client.receive_until(lambda m: ends.add(m) and m["header"]["msg_type"] == "comm_info_reply")
        ends.collect(client, ids[: chance.randrange(10)])
        gateway.kill()
        gateway.start()
        client = connect(gateway, kernel_id, session_id="user", timeout=60)
        ends.collect(client, ids)
    ran = ast.literal_eval(client.run_cell("print(runs)").text())
    assert set(ran.values()) == {1}, "none twice"
    assert set(ran) == {names[msg_id] for msg_id, status in ends.replies.items() if status == "ok" and msg_id in names}
