"""The kernel link of a real launcher, spoken by hand: what a gateway of another release, or a wrong one, would meet."""
import base64
import os
import signal
import uuid

import pytest

from support.client import pack_v1, unpack_v1
from support.link import COMMAND, EXIT, HELLO, PING, PONG, RESET, STATUS, WELCOME, Link
from support.processes import is_alive, wait_until


@pytest.fixture
def directory(gateway, kernel):
    gateway.wait_for_state(kernel, "idle")
    return gateway.kernel_directory(kernel)


@pytest.fixture
def link(directory):
    with Link(directory) as link:
        assert link.hello().kind == WELCOME
        yield link


def refusal(result, code, *words):
    assert result["ok"] is False and result["code"] == code, result
    for word in words:
        assert word in result["message"], result


# -- HELLO --

@pytest.mark.parametrize("members", [
    {"version": 1, "capabilities": []},
    {"version": 9, "capabilities": ["from-the-future", {"even": "this"}], "more": [1]},
], ids=["as old as it gets", "of the future"])
def test_gateways_of_all_releases_are_welcome(directory, kernel, client, members):
    client.run_cell("print before")
    with Link(directory) as link:
        frame = link.hello(**members)
        welcome = frame.json()
        assert frame.kind == WELCOME and frame.seq > 0
        assert welcome["version"] == 1 and isinstance(welcome["capabilities"], list)
        assert "from-the-future" not in welcome["capabilities"]
        assert welcome["kernel_id"] == kernel and welcome["record"]["name"] == "stub"
        assert welcome["status"]["phase"] == "ready" and welcome["status"]["execution_state"] == "idle"
        assert link.command("record_get")["ok"]
    assert client.run_cell("print after").text() == "after\n", "the other gateway noticed nothing"


def test_hello_without_capabilities_is_welcome(directory, kernel):
    with Link(directory) as link:
        link.send(HELLO, {"version": 1, "gateway": "old", "kernel_id": kernel})
        assert link.expect(WELCOME, RESET).kind == WELCOME


@pytest.mark.parametrize("members, word", [
    ({"version": 0}, "version"), ({"version": -1}, "version"), ({"version": "1"}, "version"),
    ({"version": None}, "version"), ({"capabilities": "all"}, "capabilities"),
    ({"kernel_id": "11111111-2222-4333-8444-555555555555"}, "kernel_id"), ({"gateway": ""}, "gateway"),
])
def test_wrong_hellos_are_reset_and_logged(directory, members, word):
    with Link(directory) as link:
        assert link.hello(**members).kind == RESET
        assert f"a HELLO is refused: {word}: " in (directory / "launcher.log").read_text()
        link.send(COMMAND, {"command": "shutdown", "id": "x", "now": True}, seq=1)
        assert link.expect(RESET), "it is a stranger still"
        assert link.hello().kind == WELCOME, "and may try again"


# -- commands --

def test_logs_are_the_kernels_last_output(link, client):
    client.run_cell("log " + "a" * 100)
    client.run_cell("log the end")
    whole = link.command("logs")["text"]
    assert "a" * 100 in whole and whole.rstrip().endswith("the end")
    few = link.command("logs", max_bytes=40)["text"]
    assert len(few.encode()) <= 40 and few.rstrip().endswith("the end")


def test_resources_are_those_of_the_kernels_processes(link, gateway, kernel):
    first = link.command("resources")
    assert first["processes"] == 1 and first["rss_bytes"] > 1 << 20 and first["cpu_ms"] >= 0
    assert wait_until(lambda: link.command("resources")["uptime_ms"] > first["uptime_ms"], what="time passes")
    os.kill(gateway.kernel_pids(kernel)[0], signal.SIGSTOP)
    try:
        assert link.command("resources")["processes"] == 1, "the launcher looks itself"
    finally:
        os.kill(gateway.kernel_pids(kernel)[0], signal.SIGCONT)


def test_signal_goes_to_the_kernel(link, gateway, kernel, client):
    msg_id = client.send_execute("sleep 30000")
    client.receive_until(lambda m: m["header"]["msg_type"] == "execute_input")
    assert link.command("signal", signum=int(signal.SIGINT)) == {"ok": True}
    assert client.collect(msg_id).error["ename"] == "KeyboardInterrupt"
    assert link.command("signal", signum=0) == {"ok": True}, "is it there?"
    pid = gateway.kernel_pids(kernel)[0]
    assert link.command("signal", signum=int(signal.SIGKILL)) == {"ok": True}
    report = link.expect(EXIT).json()
    assert report["signal"] == 9 and report["code"] is None and report["restarting"] is True
    wait_until(lambda: not is_alive(pid), what="the kernel's end")
    link.expect(STATUS, where=lambda frame: frame.json()["phase"] == "ready" and frame.json()["restarts"] == 1)


@pytest.mark.parametrize("command, members, word", [
    ("signal", {}, "signum"), ("signal", {"signum": "9"}, "signum"), ("signal", {"signum": 65}, "signum"),
    ("signal", {"signum": -1}, "signum"), ("record_set", {}, "set"), ("record_set", {"set": [1]}, "set"),
    ("inject", {}, "message"), ("inject", {"message": 5}, "message"), ("inject", {"message": "!"}, "message"),
    ("inject", {"message": base64.b64encode(b"no message").decode()}, "message"),
    ("journal", {"since": -1}, "since"), ("journal", {"since": "0"}, "since"),
    ("journal", {"max_bytes": 1.5}, "max_bytes"), ("logs", {"max_bytes": "many"}, "max_bytes"),
    ("logs", {"max_bytes": -1}, "max_bytes"), ("shutdown", {"now": "yes"}, "now"),
    ("shutdown", {"reason": 7}, "reason"), ("keep", {}, "for_ms"), ("keep", {"for_ms": "4h"}, "for_ms"),
    ("keep", {"for_ms": -1}, "for_ms"), ("keep", {"for_ms": 10 ** 12}, "for_ms"),
    ("keep", {"for_ms": 1.5}, "for_ms"), ("keep", {"for_ms": 1, "by": 7}, "by"), ("keep", {"for_ms": 1, "by": "x" * 257}, "by"),
])
def test_bad_members_are_refused_by_name(link, client, command, members, word):
    refusal(link.command(command, **members), "invalid", word)
    assert client.run_cell("print on").text() == "on\n"


@pytest.mark.parametrize("members, code, word", [
    ({"command": "dance", "id": "a"}, "unsupported", "dance"),
    ({"command": 7, "id": "a"}, "invalid", "command"), ({"id": "a"}, "invalid", "command"),
    ({"command": "logs"}, "invalid", "id"), ({"command": "logs", "id": ""}, "invalid", "id"),
    ({"command": "logs", "id": 1}, "invalid", "id"), ({"command": "logs", "id": "a\0b"}, "invalid", "id"),
    ({"command": "logs", "id": "x" * 129}, "invalid", "id"), (["logs"], "invalid", "object"),
    (b"{", "invalid", "COMMAND"),
])
def test_malformed_and_unknown_commands_are_refused(link, members, code, word):
    refusal(link.result(link.send_command(members)), code, word)
    assert link.command("resources")["ok"]


def test_repeated_id_is_carried_out_once(link, directory, kernel):
    """On the same connection, on another one, and with other members: the first result stands."""
    again = {"command": "record_set", "id": "once-" + uuid.uuid4().hex, "set": {"tries": 1}}
    first = link.result(link.send_command(again))
    assert first["ok"] and first["record"]["tries"] == 1
    assert link.command("record_set", set={"tries": 2})["record"]["tries"] == 2
    assert link.result(link.send_command(again)) == first
    with Link(directory) as other:
        other.hello()
        assert other.result(other.send_command(again | {"set": {"tries": 3}})) == first
        assert other.command("record_get")["record"]["tries"] == 2


def test_repeated_restart_waits_for_the_one_result(link, client):
    before = client.run_cell("pid").text()
    again = {"command": "restart", "id": uuid.uuid4().hex}
    numbers = [link.send_command(again) for _ in range(3)]
    assert [link.result(number)["ok"] for number in numbers] == [True] * 3
    link.expect(STATUS, where=lambda frame: frame.json()["phase"] == "ready" and frame.json()["restarts"] == 1)
    assert client.run_cell("pid").text() != before
    assert link.command("record_get")["record"]["phase"] == "ready"


# -- the journal --

def test_journal_in_pages_is_the_journal_in_one(link, client):
    for i in range(20):
        client.run_cell(f"print line {i}")
    client.run_cell("big 400000")
    whole = link.command("journal", max_bytes=16 << 20)
    assert whole["oldest"] == 1 and whole["next"] == whole["last"]
    numbers = [item["seq"] for item in whole["messages"]]
    assert numbers == sorted(set(numbers)) and numbers[-1] == whole["last"], "in order, each once"
    messages = [unpack_v1(base64.b64decode(item["message"])) for item in whole["messages"]]
    texts = [m["content"]["text"] for m in messages if m["header"]["msg_type"] == "stream"]
    assert texts[:20] == [f"line {i}\n" for i in range(20)]
    pages, since = [], 0
    while since < whole["last"]:
        page = link.command("journal", since=since, max_bytes=2000)
        sizes = [len(base64.b64decode(item["message"])) for item in page["messages"]]
        assert sum(sizes) <= 2000 or len(sizes) == 1
        assert all(since < item["seq"] <= page["next"] for item in page["messages"]) and page["next"] > since
        pages += page["messages"]
        since = page["next"]
    assert pages == whole["messages"]
    end = link.command("journal", since=since)
    assert end["messages"] == [] and end["next"] == since
    assert link.command("journal", since=since + 1000)["messages"] == [], "beyond the end"


def test_injected_message_reaches_clients_and_the_journal(link, client):
    client.run_cell("print attached")  # a new session is told only what comes then
    header = client.header("stream")
    message = pack_v1("iopub", header, {}, {}, {"name": "stderr", "text": "a word of the admin\n"})
    text = base64.b64encode(message).decode()
    answer = link.command("inject", message=text)
    assert answer["ok"]
    seen = client.receive_until(lambda m: m["header"]["msg_id"] == header["msg_id"])
    assert seen["content"]["text"] == "a word of the admin\n"
    kept = link.command("journal", since=answer["seq"] - 1)["messages"][0]
    assert kept == {"seq": answer["seq"], "message": text}


# -- the record --

def test_record_is_merged_and_null_deletes(link, gateway, kernel):
    path = gateway.kernel_directory(kernel) / "record.json"

    def still(record):
        return {name: value for name, value in record.items() if name != "activity"}  # which is as of the writing

    before = still(link.command("record_get")["record"])
    after = still(link.command("record_set", set={"marks": {"pinned": True}, "grants": ["bert"]})["record"])
    assert after == before | {"marks": {"pinned": True}, "grants": ["bert"]}
    assert still(link.command("record_set", set={"grants": None})["record"]) == before | {"marks": {"pinned": True}}
    assert '"pinned"' in path.read_text() and path.stat().st_mode & 0o777 == 0o600
    refusal(link.command("record_set", set={"note": "x" * 800000}), "limit", "768 KiB")
    assert "note" not in link.command("record_get")["record"]


def test_record_survives_the_gateway(start_gateway, connect):
    first = start_gateway()
    kernel_id = first.start_kernel()["id"]
    first.wait_for_state(kernel_id, "idle")
    directory = first.kernel_directory(kernel_id)
    marks = {"marks": {"pinned": {"by": "anna", "until": "2026-12-31T00:00:00Z"}}, "grants": {"bert": "read"}}
    with Link(directory) as link:
        link.hello()
        link.command("record_set", set=marks)
        first.kill()
        assert link.command("record_get")["record"]["grants"] == {"bert": "read"}, "nobody needs a gateway for it"
    second = start_gateway(home=first.home)
    second.wait_for_state(kernel_id, "idle")
    assert second.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    with Link(directory) as link:
        record = link.hello().json()["record"]
        assert {name: record[name] for name in marks} == marks
    assert connect(second, kernel_id).run_cell("print on").text() == "on\n"


def test_link_that_is_silent_answers_pings(link):
    link.send(PING, seq=77)
    assert link.expect(PONG).seq == 77
