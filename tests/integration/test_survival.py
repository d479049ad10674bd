"""Kernels outlive the gateway; the next one finds and serves them."""
import base64
import contextlib
import os
import signal

import pytest
import requests

from support.client import unpack_v1
from support.link import ATTACH, ATTACHED, DETACH, Link
from support.processes import Gateway, is_alive, wait_until
from test_auth import as_user, token_file


def test_kernel_survives_kill_9_and_the_next_gateway_serves_it(start_gateway, connect):
    first = start_gateway()
    kernel_id = first.start_kernel(env={"KERNEL_MARK": "still me"})["id"]
    client = connect(first, kernel_id)
    pid = int(client.run_cell("pid").text())
    first.kill()
    assert is_alive(pid)
    second = start_gateway(home=first.home)
    assert is_alive(pid)
    listed = {model["id"]: model for model in second.get("/api/kernels").json()}
    assert listed[kernel_id]["name"] == "stub" and listed[kernel_id]["execution_state"] == "idle"
    cell = connect(second, kernel_id).run_cell("pid\nenv KERNEL_MARK")
    assert cell.text() == f"{pid}\nstill me\n"
    assert second.post(f"/api/kernels/{kernel_id}/interrupt").status_code == 204
    assert second.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert connect(second, kernel_id).run_cell("env KERNEL_MARK").text() == "still me\n"
    assert second.delete(f"/api/kernels/{kernel_id}").status_code == 204
    assert not is_alive(pid)


def test_sigterm_leaves_kernels_running_by_default(start_gateway):
    first = start_gateway()
    kernel_id = first.start_kernel()["id"]
    first.wait_for_state(kernel_id, "idle")
    pid = first.kernel_pids(kernel_id)[0]
    assert first.stop() == 0
    assert is_alive(pid)
    second = start_gateway(home=first.home)
    assert kernel_id in [model["id"] for model in second.get("/api/kernels").json()]


def test_on_exit_shutdown_takes_them_along(start_gateway):
    gateway = start_gateway("--on-exit", "shutdown")
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    pid = gateway.kernel_pids(kernel_id)[0]
    assert gateway.stop() == 0
    wait_until(lambda: not is_alive(pid), what="the kernel's end")


def test_cell_that_ran_over_the_gateways_death_ends_for_the_client(start_gateway, connect):
    """The client comes back with its session, and gets the rest: reply and idle."""
    first = start_gateway()
    kernel_id = first.start_kernel()["id"]
    client = connect(first, kernel_id, session_id="user")
    msg_id = client.send_execute("count 20 50\nprint end")
    client.receive_until(lambda m: m["header"]["msg_type"] == "stream")
    first.kill()
    second = start_gateway(home=first.home)
    back = connect(second, kernel_id, session_id="user")
    cell = back.collect(msg_id, timeout=20)
    assert cell.reply["status"] == "ok" and cell.text().endswith("line 19\nend\n")


def test_what_lies_unread_when_the_gateway_is_killed_comes_again(start_gateway, connect):
    """A client's TCP has acknowledged a cell's end, which nobody reads any more."""
    gateway = start_gateway()
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id, session_id="user")
    client.run_cell("print before")
    msg_id = client.send_execute("print unread")
    with Link(gateway.kernel_directory(kernel_id)) as link:
        link.hello()
        wait_until(lambda: ends_of(link, msg_id) == 2, what="the cell's end")
        wait_until(lambda: cursor_of(link, "user") == link.command("journal")["last"], what="its acknowledgement")
    gateway.kill()
    gateway.start()
    cell = connect(gateway, kernel_id, session_id="user").collect(msg_id)
    assert cell.messages[0]["header"]["msg_type"] == "clear_output", "it was perhaps read, after all"
    assert cell.reply["status"] == "ok" and cell.text() == "unread\n"


def ends_of(link, msg_id):
    """Of the cell, how many of reply and idle the launcher has."""
    messages = [unpack_v1(base64.b64decode(row["message"])) for row in link.command("journal")["messages"] if row["message"]]
    return sum(message["parent_header"].get("msg_id") == msg_id and (
        message["header"]["msg_type"] == "execute_reply" or message["content"].get("execution_state") == "idle")
        for message in messages)


def cursor_of(link, session_id):
    """Up to where the session's clients have acknowledged: where a second connection goes on."""
    link.send(ATTACH, {"session_id": session_id, "window": 1 << 20, "from": "cursor", "rebuild": False}, attachment=1)
    cursor = link.expect(ATTACHED).seq
    link.send(DETACH, attachment=1)
    return cursor


def test_dead_kernel_is_still_explained_by_the_next_gateway(start_gateway, connect):
    first = start_gateway("--restart-limit", "0")
    kernel_id = first.start_kernel()["id"]
    connect(first, kernel_id).send_execute("exit 42")
    first.wait_for_state(kernel_id, "dead")
    first.kill()
    second = start_gateway("--restart-limit", "0", home=first.home)
    model = second.wait_for_state(kernel_id, "dead")
    assert "42" in model["reason"]
    assert second.delete(f"/api/kernels/{kernel_id}").status_code == 204


def test_kernel_that_died_between_two_gateways_is_no_ghost(start_gateway):
    first = start_gateway("--restart-limit", "0")
    kernel_id = first.start_kernel()["id"]
    first.wait_for_state(kernel_id, "idle")
    launchers, kernels = first.launcher_pids(kernel_id), first.kernel_pids(kernel_id)
    first.kill()
    for pid in [*launchers, *kernels]:
        os.kill(pid, signal.SIGKILL)
    second = start_gateway(home=first.home)
    answer = second.get(f"/api/kernels/{kernel_id}")
    assert answer.status_code == 404 or answer.json()["execution_state"] == "dead" and answer.json()["reason"]


def test_owner_is_kept_over_the_gateways_death(start_gateway, tmp_path):
    path = token_file(tmp_path / "tokens", ("anna", "user", "anna-token"), ("bert", "user", "bert-token"))
    first = start_gateway("--auth-token-file", str(path))
    first.token = "anna-token"
    kernel_id = first.start_kernel()["id"]
    first.wait_for_state(kernel_id, "idle", "starting")
    first.kill()
    second = start_gateway("--auth-token-file", str(path), home=first.home)
    second.token = "anna-token"
    assert second.get(f"/api/kernels/{kernel_id}").status_code == 200
    assert second.get(f"/api/kernels/{kernel_id}", headers=as_user("bert")).status_code == 404


def test_reads_answer_503_until_all_kernels_are_found(start_gateway):
    """Never an early empty list: clients would forget their kernels. A POST is not held back: no client repeats it."""
    first = start_gateway()
    kernels = {first.start_kernel()["id"] for _ in range(3)}
    for kernel_id in kernels:
        first.wait_for_state(kernel_id, "idle")
    launchers = [pid for kernel_id in kernels for pid in first.launcher_pids(kernel_id)]
    first.kill()
    for pid in launchers:
        os.kill(pid, signal.SIGSTOP)
    second = start_gateway(home=first.home, ready=False)

    def listed():
        with contextlib.suppress(requests.ConnectionError):
            return second.get("/api/kernels")

    answer = wait_until(lambda: (got := listed()) is not None and (got,), 20, "an answer")[0]
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
    assert second.get("/api/kernels/11111111-2222-4333-8444-555555555555").status_code == 503
    made = second.start_kernel()["id"]
    assert second.get("/api/kernels").status_code == 503
    for pid in launchers:
        os.kill(pid, signal.SIGCONT)
    found = wait_until(lambda: (got := second.get("/api/kernels")).status_code == 200 and got.json(), 20, "the list")
    assert {model["id"] for model in found} == kernels | {made}


def test_anothers_kernel_is_as_an_unknown_one_until_all_are_found(start_gateway, tmp_path):
    path = token_file(tmp_path / "tokens", ("anna", "user", "anna-token"), ("bert", "user", "bert-token"))
    first = start_gateway("--auth-token-file", str(path))
    first.token = "anna-token"
    found, missing = (first.start_kernel()["id"] for _ in range(2))
    for kernel_id in (found, missing):
        first.wait_for_state(kernel_id, "idle")
    launchers = first.launcher_pids(missing)
    first.kill()
    for pid in launchers:
        os.kill(pid, signal.SIGSTOP)
    second = start_gateway("--auth-token-file", str(path), home=first.home, ready=False)
    second.token = "anna-token"

    def status(kernel_id, **options):
        with contextlib.suppress(requests.ConnectionError):
            return second.get(f"/api/kernels/{kernel_id}", **options).status_code

    wait_until(lambda: status(found) == 200, 20, "the kernel that is there")
    unknown = "11111111-2222-4333-8444-555555555555"
    asked = [status(kernel_id, headers=as_user("bert")) for kernel_id in (found, missing, unknown)]
    for pid in launchers:
        os.kill(pid, signal.SIGCONT)
    assert asked == [503] * 3
    wait_until(lambda: status(found, headers=as_user("bert")) == 404, 20, "the end of looking")


def test_cells_that_wait_for_a_starting_kernel_outlive_the_gateway(start_gateway, connect, specs, tmp_path):
    """They are with the launcher as soon as there is one."""
    specs.stub("slow", "--start-when", str(tmp_path / "gate"))
    first = start_gateway()
    kernel_id = first.start_kernel("slow")["id"]
    client = connect(first, kernel_id, session_id="user")
    msg_ids = [client.send_execute("print one"), client.send_execute("print two")]
    client.receive_until(lambda m: m["header"]["msg_type"] == "display_data")  # the stage of the start
    first.kill()
    second = start_gateway(home=first.home)
    back = connect(second, kernel_id, session_id="user")
    (tmp_path / "gate").touch()
    cells = back.collect_all(msg_ids)
    assert [cell.text() for cell in cells] == ["one\n", "two\n"]
    assert [cell.reply["status"] for cell in cells] == ["ok", "ok"]
