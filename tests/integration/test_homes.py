"""Homes of local kernels: a directory of this machine, made and checked before the kernel is started."""
import hashlib
import json
import os

import pytest

from support.processes import wait_until


@pytest.fixture
def homes(tmp_path):
    (tmp_path / "homes" / "all").mkdir(parents=True)
    return tmp_path / "homes"


@pytest.fixture
def start(start_gateway, homes, tmp_path):
    """A gateway with homes for alice and bob, who have tokens of their names."""
    def start(*flags):
        tokens = tmp_path / "tokens"
        tokens.write_text("".join(f"{name}:user:sha256:{hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("alice", "bob")))
        tokens.chmod(0o600)
        gateway = start_gateway("--auth-token-file", str(tokens), "--home-directory", str(homes), "--home-path", "all/{user}", *flags)
        gateway.token = "alice"
        return gateway

    return start


WHERE = "import os\nprint(os.getcwd(), os.environ['HOME'], os.path.expanduser('~'))"


def test_two_users_have_homes_of_their_own(start, homes, connect, specs):
    specs.add("homeless", json.loads((specs.directory / "python3" / "kernel.json").read_text())["argv"],
              metadata={"elara": {"home": False}})
    gateway = start()
    alice, bob = str(homes / "all" / "alice"), str(homes / "all" / "bob")
    first = gateway.start_kernel("python3", env={"KERNEL_WORKING_DIR": str(homes)})["id"]
    client = connect(gateway, first)
    assert client.run_cell(WHERE + "\nos.mkdir('project')").text() == f"{alice} {alice} {alice}\n"
    status = os.stat(alice)
    assert status.st_mode & 0o7777 == 0o700 and status.st_uid == os.geteuid()
    for wish, place in ((alice + "/project", alice + "/project"), (alice + "/none", alice), (alice + "/../bob", alice)):
        kernel_id = gateway.start_kernel("python3", env={"KERNEL_WORKING_DIR": wish})["id"]
        assert connect(gateway, kernel_id).run_cell(WHERE).text() == f"{place} {alice} {alice}\n"
    kernel_id = gateway.start_kernel("homeless")["id"]
    assert alice not in connect(gateway, kernel_id).run_cell(WHERE).text()
    gateway.token = "bob"
    second = gateway.start_kernel("python3")["id"]
    assert connect(gateway, second).run_cell(WHERE).text() == f"{bob} {bob} {bob}\n"


def test_a_home_that_cannot_be_made_ready_ends_the_start_in_the_cell(start, homes, connect):
    (homes / "all" / "alice").symlink_to("bob")
    (homes / "all" / "bob").mkdir(mode=0o700)
    gateway = start()
    kernel_id = gateway.start_kernel("stub")["id"]
    error = connect(gateway, kernel_id).run_cell("print 1").error
    assert f"{homes}/all/alice is a symbolic link" in error["evalue"] and "docs/homes.md" in error["evalue"]
    model = gateway.wait_for_state(kernel_id, "dead")
    assert model["reason"] == "HomeFailed" and model["message"] == error["evalue"]
    (homes / "all" / "alice").unlink()
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    gateway.wait_for_state(kernel_id, "idle")
    assert (homes / "all" / "alice").is_dir()


def test_a_kernel_goes_on_and_is_restarted_whatever_becomes_of_its_home(start, homes, connect):
    gateway = start()
    kernel_id = gateway.start_kernel("stub")["id"]
    client = connect(gateway, kernel_id)
    assert client.run_cell("print 1").text() == "1\n"
    (homes / "all" / "alice").rename(homes / "all" / "moved")
    assert client.run_cell("print 2").text() == "2\n"
    gateway.kill()
    gateway.start()
    assert connect(gateway, kernel_id).run_cell("print 3").text() == "3\n"


def replace(path, text):
    """At once: nobody sees it empty."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.rename(path)


def test_users_ids_are_read_again_when_their_file_changes(start, homes, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("machine limit: only root gives directories away")
    passwd = tmp_path / "passwd"
    passwd.write_text("root:x:0:0:root:/root:/bin/sh\nalice:x:1001:100::/home/alice:/bin/sh\nbob:x:1002:100:::\n")
    gateway = start("--home-passwd", str(passwd), "--home-uids", json.dumps({"bob": "1003:103"}))
    for name, owner in (("alice", (1001, 100)), ("bob", (1003, 103))):
        gateway.token = name
        gateway.wait_for_state(gateway.start_kernel("stub")["id"], "idle")
        status = (homes / "all" / name).stat()
        assert (status.st_uid, status.st_gid) == owner
    replace(passwd, "alice:x:1007:100:::\n")
    gateway.token = "alice"
    kernel_id = gateway.start_kernel("stub")["id"]
    wait_until(lambda: f"{passwd} has changed" in gateway.log(), 10, "the new ids")
    kernel_id = gateway.start_kernel("stub")["id"]
    assert "belongs to uid 1001, not to uid 1007" in gateway.wait_for_state(kernel_id, "dead")["message"]
    replace(passwd, "alice:x:1001\n")
    wait_until(lambda: f"{passwd} line 1: must be NAME:x:UID:GID" in gateway.log(), 10, "the mistake")
