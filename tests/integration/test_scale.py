"""A thousand kernels in one gateway: their launchers are simulated (tests/tools/launcher_swarm.c), the gateway is not."""
import shutil
import tempfile
from pathlib import Path

import pytest

from support.client import Client
from support.swarm import Swarm
from test_auth import as_user, token_file

KERNELS = 1000
OWNERS = ("anna", "bert")
CLIENTS = 10  # of each owner


@pytest.fixture
def home():
    folder = Path(tempfile.mkdtemp(prefix="elara-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def swarm(build, home):
    with Swarm(build, home / "run", KERNELS, OWNERS) as swarm:
        yield swarm


def check_lists(gateway, records):
    """Each owner sees all of their kernels and no other's."""
    for owner in OWNERS:
        answer = gateway.get("/api/kernels", headers=as_user(owner))
        assert answer.status_code == 200, answer.text
        expected = {kernel_id for kernel_id, record in records.items() if record["owner"] == owner}
        assert len(expected) == KERNELS / len(OWNERS)
        assert {model["id"] for model in answer.json()} == expected
        assert {(model["name"], model["execution_state"]) for model in answer.json()} == {("swarm", "idle")}


def ask_once(gateway, records):
    """One client for some kernels of each owner, always with the same session ids; all are connected at the same time."""
    clients = []
    for owner in OWNERS:
        mine = sorted(kernel_id for kernel_id, record in records.items() if record["owner"] == owner)[:CLIENTS]
        headers = [f"Authorization: token {owner}-token"]
        clients += [Client(gateway, kernel_id, session_id=f"of-{kernel_id}", headers=headers) for kernel_id in mine]
    for client in clients:
        assert client.kernel_info()["implementation"] == "swarm"
    return clients


def test_thousand_launchers_are_adopted_after_kill_9(start_gateway, tmp_path, home, swarm):
    path = token_file(tmp_path / "tokens", *((owner, "user", f"{owner}-token") for owner in OWNERS))
    records = swarm.records()
    assert len(records) == KERNELS
    first = start_gateway("--auth-token-file", str(path), home=home)
    check_lists(first, records)
    clients = ask_once(first, records)
    first.kill()
    second = start_gateway("--auth-token-file", str(path), home=home)
    check_lists(second, records)
    # A session that a gateway would number anew gets no answer: its launcher takes the request for one that it has had.
    clients += ask_once(second, records)
    for client in clients:
        client.socket.shutdown()
