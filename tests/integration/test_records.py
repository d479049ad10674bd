"""record.json says what a kernel is, to whichever gateway comes next: also when it cannot be read, when the kernel is dead, and when no launcher ever had
it."""
import json
import os
import signal
import subprocess

import pytest

from support.processes import is_alive, wait_until
from test_auth import as_user, token_file
from test_journal_cap import fill, small_disk  # noqa: F401 - a fixture

JUPYTER = {"User-Agent": "Tornado/6.4"}  # as a notebook server: a refusal is shown in the notebook


@pytest.fixture
def tokens(tmp_path):
    """The flags for three users; whose token a gateway's tests send is said by begin()."""
    return ["--auth-token-file", str(token_file(tmp_path / "tokens", ("anna", "user", "anna-token"), ("bert", "user", "bert-token"),
                                                ("ops", "admin", "ops-token")))]


@pytest.fixture
def begin(start_gateway):
    def run(name, *flags, **options):
        gateway = start_gateway(*flags, **options)
        gateway.token = f"{name}-token"
        return gateway
    return run


def record_path(gateway, kernel_id):
    return gateway.kernel_directory(kernel_id) / "record.json"


def kill_launcher(gateway, kernel_id):
    killed = gateway.launcher_pids(kernel_id)
    assert killed
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, killed)), what="the launcher's end")


def status(gateway, kernel_id, name=None, what=""):
    return gateway.get(f"/api/kernels/{kernel_id}{what}", headers=as_user(name) if name else {}).status_code


def journal(gateway, kernel_id):
    answer = gateway.get(f"/api/kernels/{kernel_id}/journal")
    return answer.text if answer.status_code == 200 else ""


# -- records that cannot be read --

@pytest.mark.parametrize("damage", ["{", "[]", " " * (2 << 20), None], ids=["torn", "no object", "too large", "gone"])
def test_living_kernel_with_an_unreadable_record_is_served(begin, connect, tokens, damage):
    first = begin("anna", *tokens)
    kernel_id = first.start_kernel(env={"KERNEL_MARK": "hers"})["id"]
    pid = int(connect(first, kernel_id, session_id="user").run_cell("pid").text())
    first.kill()
    path = record_path(first, kernel_id)
    path.unlink() if damage is None else path.write_text(damage)
    second = begin("anna", *tokens, home=first.home)
    wait_until(lambda: status(second, kernel_id) == 200, what="its owner's answer")
    assert [status(second, kernel_id, name) for name in ("bert", "ops")] == [404, 200]
    assert second.model(kernel_id)["name"] == "stub"
    assert connect(second, kernel_id, session_id="user").run_cell("pid\nenv KERNEL_MARK").text() == f"{pid}\nhers\n"
    record = wait_until(lambda: path.exists() and "request" in path.read_text() and json.loads(path.read_text()), what="the record")
    assert record["owner"] == "anna" and record["request"]["env"]["KERNEL_MARK"] == "hers" and "launcher_pid" in record


def test_record_that_cannot_be_read_is_never_written_over(begin, build, tokens):
    first = begin("anna", *tokens)
    kernel_id = first.start_kernel()["id"]
    first.wait_for_state(kernel_id, "idle")
    first.kill()
    kill_launcher(first, kernel_id)
    path = record_path(first, kernel_id)
    path.write_text("{ torn")
    done = subprocess.run([build / "elara-launcher", "--directory", path.parent], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "record.json" in done.stderr and "left as it is" in done.stderr
    second = begin("ops", *tokens, home=first.home)
    assert second.wait_for_state(kernel_id, "dead")["reason"]
    assert status(second, kernel_id, "anna") == 404, "nobody knows whose it is"
    assert not second.post(f"/api/kernels/{kernel_id}/restart").ok
    assert path.read_text() == "{ torn"
    assert second.delete(f"/api/kernels/{kernel_id}").status_code == 204
    assert not path.parent.exists()


def test_request_that_is_too_large_for_a_record_is_refused(start_gateway):
    first = start_gateway()
    answer = first.post("/api/kernels", json={"name": "stub", "env": {f"KERNEL_V{i}": "x" * 4000 for i in range(140)}})
    assert answer.status_code == 400 and answer.json()["message"].startswith("env: ") and "512 KiB" in answer.text
    assert first.get("/api/kernels").json() == [] and list((first.runtime / "kernels").iterdir()) == []
    session = first.post("/api/sessions", json={"path": "a.ipynb", "name": "", "type": "notebook", "kernel": {"name": "stub"}}).json()
    large = first.start_kernel(env={f"KERNEL_V{i}": "x" * 4000 for i in range(125)})["id"]
    first.wait_for_state(large, "idle")
    first.kill()
    second = start_gateway(home=first.home)
    assert second.wait_for_state(large, "idle")
    assert second.post(f"/api/kernels/{large}/restart").status_code == 200
    assert session["id"] in second.get("/api/sessions").text


# -- dead kernels --

@pytest.fixture
def dead(start_gateway, connect):
    """A gateway, and a kernel of it that said hello and died."""
    gateway = start_gateway("--restart-limit", "0")
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id, session_id="user")
    client.run_cell("print hello")
    client.send_execute("exit 42")
    gateway.wait_for_state(kernel_id, "dead")
    return gateway, kernel_id


def test_dead_kernel_without_a_launcher_is_found_with_its_output(dead, start_gateway, connect):
    first, kernel_id = dead
    died_ms = json.loads(record_path(first, kernel_id).read_text())["died_ms"]
    first.kill()
    kill_launcher(first, kernel_id)
    second = start_gateway("--restart-limit", "0", home=first.home)
    model = second.model(kernel_id)
    assert model["execution_state"] == "dead" and "42" in model["reason"]
    wait_until(lambda: "hello" in journal(second, kernel_id), what="its journal")
    assert second.model(kernel_id) | {"last_activity": ""} == model | {"last_activity": ""}
    assert json.loads(record_path(first, kernel_id).read_text())["died_ms"] == died_ms, "it died once"
    assert second.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert connect(second, kernel_id).run_cell("print again").text() == "again\n"
    assert "hello" in journal(second, kernel_id)
    assert "died_ms" not in json.loads(record_path(first, kernel_id).read_text())


def test_gateway_that_starts_takes_no_dead_kernel_from_another(dead, start_gateway, connect):
    first, kernel_id = dead
    for _ in range(4):  # until no launcher is started again
        if not first.launcher_pids(kernel_id):
            break
        kill_launcher(first, kernel_id)
        wait_until(lambda: first.launcher_pids(kernel_id) or "is not running any more" in
                   first.get(f"/api/kernels/{kernel_id}/journal").text, what="its successor, or none")
    assert not first.launcher_pids(kernel_id)
    second = start_gateway("--restart-limit", "0", home=first.home)
    for gateway in (first, second):
        assert "42" in gateway.model(kernel_id)["reason"]
    wait_until(lambda: "hello" in journal(second, kernel_id), what="its journal")
    assert first.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert connect(first, kernel_id).run_cell("print again").text() == "again\n"
    second.wait_for_state(kernel_id, "idle")


@pytest.mark.parametrize("change", [{"died_ms": 1}, {"phase": "stopping"}, {"reason": None}, {"phase": "starting", "launcher_pid": None}],
                         ids=["retention is over", "being ended", "was shut down", "never had a launcher"])
def test_what_is_over_is_removed(dead, start_gateway, change):
    first, kernel_id = dead
    first.kill()
    kill_launcher(first, kernel_id)
    path = record_path(first, kernel_id)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    second = start_gateway(home=first.home)
    wait_until(lambda: status(second, kernel_id) == 404, what="its end")
    wait_until(lambda: not path.parent.exists(), what="the end of its directory")
    assert not second.launcher_pids(kernel_id)


# -- kernels that no launcher ever had --

def test_refused_kernel_is_explained_by_the_next_gateway(begin, connect, tokens):
    flags = [*tokens, "--max-kernels", "1"]
    first = begin("anna", *flags)
    running = first.start_kernel()["id"]
    body = {"name": "stub", "env": {"KERNEL_MARK": "hers"}}
    refused = first.post("/api/kernels", json=body, headers=JUPYTER).json()["id"]
    reason = first.wait_for_state(refused, "dead")["reason"]
    assert "max-kernels" in reason
    other = begin("anna", *flags, home=first.home)
    first.kill()
    second = begin("anna", *flags, home=first.home)
    for gateway in (second, other):
        assert gateway.model(refused)["execution_state"] == "dead" and gateway.model(refused)["reason"] == reason
        assert status(gateway, refused, "bert") == 404
    assert connect(second, refused).run_cell("print 1").error["evalue"] == reason
    assert second.delete(f"/api/kernels/{running}").status_code == 204
    assert second.post(f"/api/kernels/{refused}/restart").status_code == 200
    assert connect(second, refused).run_cell("env KERNEL_MARK").text() == "hers\n"
    assert connect(other, refused).run_cell("env KERNEL_MARK").text() == "hers\n", "the other gateway follows"
    assert second.delete(f"/api/kernels/{refused}").status_code == 204
    wait_until(lambda: not second.kernel_directory(refused).exists(), what="the end of its directory")  # the other one may look into it


def test_refused_kernel_is_seen_by_another_gateway_and_deleted_there(start_gateway):
    first = start_gateway("--max-kernels", "0")
    second = start_gateway("--max-kernels", "0", home=first.home)
    refused = first.post("/api/kernels", json={"name": "stub"}, headers=JUPYTER).json()["id"]
    wait_until(lambda: status(second, refused) == 200, what="the other's answer")
    assert second.delete(f"/api/kernels/{refused}").status_code == 204
    wait_until(lambda: status(first, refused) == 404, what="its end at the first")
    assert not first.kernel_directory(refused).exists()


# -- a full disk --

def test_killed_launcher_is_started_again_on_a_full_disk(small_disk, start_gateway, connect):  # noqa: F811
    gateway = start_gateway("--journal-size", "2M", home=small_disk)
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id, session_id="user")
    client.run_cell("print hello")
    msg_id = client.send_execute("sleep 600000")
    client.receive_until(lambda m: m["header"]["msg_type"] == "execute_input" and m["parent_header"]["msg_id"] == msg_id)
    fill(small_disk / "filler")
    killed = gateway.launcher_pids(kernel_id)
    kill_launcher(gateway, kernel_id)
    cell = client.collect(msg_id, timeout=40)
    assert "launcher was killed by signal 9" in cell.text("stderr") + cell.reply["evalue"], "the reason needs no file"
    assert "No space left on device" in gateway.wait_for_state(kernel_id, "dead")["reason"], "the kernel itself needs a file"
    assert gateway.launcher_pids(kernel_id) and gateway.launcher_pids(kernel_id) != killed
    assert "hello" in journal(gateway, kernel_id)
    (small_disk / "filler").unlink()
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert client.run_cell("print again").text() == "again\n"
