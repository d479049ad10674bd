"""NFS servers that are full, slow, stopped or restarted while homes are made there and used."""
import json
import os
import subprocess
import uuid
from pathlib import Path

import pytest

from kernels import *  # noqa: F403
from kernels import START_S
from homes import *  # noqa: F403 - its namespaces, not those of kernels
from homes import ADDRESS, RELAY, Relay
from support.kernelspecs import write_spec
from support.processes import Gateway, wait_until
from testcluster import parts
from testcluster.layout import API_PORT


def test_a_full_disk_stops_only_what_is_missing(server):
    assert server.prepare("/small", "bob=1002") == ["ready"]
    with server.full():
        bob, alice = server.prepare("/small", "bob=1002", "alice=1001")
        assert bob == "ready" and "has no space left to make /small/alice" in alice
    assert server.prepare("/small", "alice=1001") == ["ready"]


@pytest.mark.parametrize("status, told", [
    (28, "has no space left to make /full"), (69, "the quota on the NFS server RELAY has no room to make /full"),
    (30, "/full on the NFS server RELAY is read-only: export it for writing (rw)"),
    (10039, "takes no numbers as owners, so /full cannot be given to uid 1001: set home-parent-gid"),
    (5, "/full cannot be made on the NFS server RELAY: NFS4ERR_IO")])
def test_what_the_disk_refuses_is_named(server, status, told):
    """A full disk, a quota and the like (RFC 7530, 13): the server refuses in its own way, and the number is exchanged on its way."""
    (server.folder / "squash" / "shut").mkdir(mode=0o755, exist_ok=True)
    with Relay(status=status):
        (answer,) = server.prepare("/squash/shut", "full=1001", address=RELAY)
    assert told.replace("/full", "/squash/shut/full").replace("RELAY", RELAY) in answer


def test_a_slow_server_is_waited_for_until_the_deadline(server):
    with Relay(delay_s=0.1):
        assert server.prepare("/open", "slow=1001", address=RELAY) == ["ready"]
    with Relay(delay_s=60):
        (told,) = server.prepare("/open", "slow=1001", address=RELAY, deadline_ms=300)
    assert "did not answer within 0.3 s (home-deadline)" in told
    assert server.prepare("/open", "slow=1001") == ["ready"]


def test_starts_at_one_moment_share_one_preparation(server):
    with Relay() as relay:
        assert server.prepare("/open", "alone=1001", address=RELAY) == ["ready"]
        alone, relay.calls, relay.mkdirs = relay.calls, 0, 0
        assert server.prepare("/open", *["shared=1001"] * 50, address=RELAY) == ["ready"] * 50
    assert (relay.calls, relay.mkdirs) == (alone, 1)


STARTS = 8
USERS = 50


def descriptors(gateway):
    """What the gateway has open, but for the connections to the API server, which it keeps as it needs them, and to us."""
    folder = Path(f"/proc/{gateway.process.pid}")
    others = set()
    for line in (folder / "net" / "tcp").read_text().splitlines()[1:]:
        words = line.split()
        near, far = (int(place.split(":")[1], 16) for place in words[1:3])
        if far == API_PORT or near == gateway.port and far != 0:
            others.add(f"socket:[{words[9]}]")
    return sum(os.readlink(one) not in others for one in (folder / "fd").iterdir())


def test_a_server_that_is_restarted_within_a_start_or_stopped_under_a_kernel(start_gateway, server, connect):
    gateway = start_gateway("--home-server", ADDRESS, "--home-export", "/open", "--home-deadline", "60s", "--home-extra", "data:/data",
                            "--home-uids", json.dumps({"root": "1001:1001"}), "--client-envs", "IPYTHONDIR")
    (server.folder / "open" / "data").mkdir()
    server.stop()
    # The mount helper has no locks, which IPython's history needs where three kernels make it at once.
    kernel_ids = [gateway.start_kernel("python3", env={"IPYTHONDIR": "/tmp/ipython"})["id"] for _ in range(3)]
    client = connect(gateway, kernel_ids[0])
    request = client.send_execute("kept = 1; print('begun')")
    client.receive_until(lambda message: "preparing the home directory" in str(message["content"]))
    server.start()
    cell = client.collect(request)
    assert cell.text().endswith("begun\n"), cell.error
    with server.paused():  # what needs the server hangs, and the kernel is said to work
        request = client.send_execute("open('during.txt', 'w').write('x')\nprint(kept + 41)")
        wait_until(lambda: gateway.model(kernel_ids[0])["execution_state"] == "busy", START_S, "the cell's beginning")
    cell = client.collect(request)
    assert cell.text().endswith("42\n"), cell.error
    assert client.run_cell("print(kept)").text().endswith("1\n")
    assert (server.folder / "open" / "root" / "during.txt").exists()
    assert "reason" not in gateway.model(kernel_ids[0])
    client.close()
    for kernel_id in kernel_ids:
        gateway.wait_for_state(kernel_id, "idle", timeout=START_S)
        assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204


def test_starts_that_fail_leave_nothing_open(start_gateway, server):
    """Neither of servers that are silent or gone, nor of many users."""
    gateway = start_gateway("--home-server", ADDRESS, "--home-export", "/open", "--home-deadline", "200ms", "--home-trust-claimed-names")

    def fail(told, user="alice"):
        kernel_id = gateway.start_kernel("python3", env={"KERNEL_USERNAME": user})["id"]
        model = gateway.wait_for_state(kernel_id, "dead", timeout=START_S)
        assert model["reason"] == "HomeFailed" and told in model["message"]
        assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204

    with server.paused():
        fail("within 0.2 s (home-deadline)")
        before = descriptors(gateway)
        for _ in range(STARTS):
            fail("within 0.2 s (home-deadline)")
        assert descriptors(gateway) <= before + 1  # to the NFS server
    for number in range(USERS):
        (server.folder / "open" / f"user{number}").write_text("")
        fail("is a file", f"user{number}")
    assert descriptors(gateway) <= before + 1  # to the NFS server
    server.stop()
    try:
        for _ in range(STARTS):
            fail("within 0.2 s (home-deadline)")
        assert descriptors(gateway) <= before + 1  # to the NFS server
    finally:
        server.start()


def test_a_kernel_whose_server_is_gone_is_told_nothing_false(start_gateway, server, connect):
    """What needs no file goes on, and what does fails in its cell alone."""
    gateway = start_gateway("--home-server", ADDRESS, "--home-export", "/open", "--home-uids", json.dumps({"root": "1001:1001"}),
                            "--client-envs", "IPYTHONDIR", "--home-path", "gone-{user}")
    kernel_id = gateway.start_kernel("python3", env={"IPYTHONDIR": "/tmp/ipython"})["id"]
    client = connect(gateway, kernel_id)
    assert client.run_cell("import os\nkept = 41\nopen('before.txt', 'w').write('x')").error is None
    server.stop()
    try:
        for code, told in (("print(kept + 1)", "42\n"), ("try: os.listdir('.')\nexcept OSError: print('gone')", "gone\n")):
            cell = client.run_cell(code)
            assert cell.text() == told and cell.error is None, cell.everything()
            assert "reason" not in gateway.model(kernel_id)
        gateway.wait_for_state(kernel_id, "idle")
    finally:
        server.start()
    assert client.run_cell("print(kept + 1)").text() == "42\n"  # the mount helper, unlike a kernel's client, does not connect again
    assert "reason" not in gateway.model(kernel_id)


def test_a_server_that_is_slow_full_or_read_only_under_a_kernel(start_gateway, server, connect, kube, places):
    """Starts end with the sentence and leave nothing; the kernel that runs there goes on."""
    uids = {name: f"{uid}:{uid}" for uid, name in enumerate(("anna", *(f"late{number}" for number in range(STARTS))), 1001)}
    gateway = start_gateway("--home-server", RELAY, "--home-export", "/small", "--home-deadline", "2s", "--home-trust-claimed-names",
                            "--home-uids", json.dumps(uids), "--client-envs", "IPYTHONDIR")

    def begin(user):
        return gateway.start_kernel("python3", env={"KERNEL_USERNAME": user, "IPYTHONDIR": "/tmp/ipython"})["id"]

    def objects(kind, kernel_id):
        return [one for one in kube.list(kind, places[1]) if kernel_id in one["metadata"]["name"]]

    def fail(told):
        kernel_ids = [begin(f"late{number}") for number in range(STARTS)]
        error = connect(gateway, kernel_ids[0]).run_cell("1").error
        assert told in error["evalue"]
        for kernel_id in kernel_ids:
            model = gateway.wait_for_state(kernel_id, "dead", timeout=START_S)
            assert model["reason"] == "HomeFailed" and f"{RELAY} " in model["message"]
            assert not objects("Pod", kernel_id)
            assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
            wait_until(lambda kernel_id=kernel_id: not objects("Secret", kernel_id), START_S, "the end of the kernel's keys")

    with Relay() as relay:
        running = begin("anna")
        client = connect(gateway, running)
        assert client.run_cell("kept = 41").error is None
        assert objects("Pod", running) and objects("Secret", running)
        before = None
        write = "try: open('more.txt', 'w').write('x')\nexcept OSError as error: print(error.errno)\nelse: print('written')"
        for fault, told, cells in (
                (relay.slow(60), "did not answer within 2 s (home-deadline)", {"print(kept + 1)": "42\n"}),
                (server.full(), "has no space left to make /small/late0", {write: "28\n", "print(kept + 2)": "43\n"}),
                (server.fixed(), "is read-only: export it for writing (rw)", {write: "30\n", "print(kept + 3)": "44\n"})):
            with fault:
                fail(told)
                before = before or descriptors(gateway)
                assert descriptors(gateway) <= before + 1  # to the NFS server
                for code, text in cells.items():
                    cell = client.run_cell(code)
                    assert cell.text() == text and cell.error is None, cell.everything()
                assert "reason" not in gateway.model(running)
        assert client.run_cell(write).text() == "written\n"
        assert gateway.delete(f"/api/kernels/{running}").status_code == 204


@pytest.fixture
def mounted(server, tmp_path):
    """The export /open as a directory of this machine."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("machine limit: there is no FUSE to mount NFS with")
    place = tmp_path / "homes"
    place.mkdir()
    subprocess.run([parts.mount_helper(), f"{ADDRESS}:/open", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_hanging_directory_ends_the_start_of_a_local_kernel(build, server, mounted, tmp_path):
    write_spec(tmp_path / "kernels", "stub", [str(build / "tests" / "stub_kernel"), "-f", "{connection_file}"])
    path = f"{uuid.uuid4().hex}-{{user}}"
    with Gateway(build, tmp_path / "kernels", "--home-directory", str(mounted), "--home-path", path, "--home-deadline", "1s") as gateway:
        with server.paused():
            kernel_id = gateway.start_kernel()["id"]
            model = gateway.wait_for_state(kernel_id, "dead", timeout=START_S)
            assert model["reason"] == "HomeFailed" and "did not answer within 1 s (home-deadline)" in model["message"]
        assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
        gateway.wait_for_state(kernel_id, "idle", timeout=START_S)
        assert server.owner_of(f"open/{path.format(user='root')}")[2] == 0o700
