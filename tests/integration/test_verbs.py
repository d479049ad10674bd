"""The verbs of elara that ask a running gateway, as an admin types them."""
import json
import subprocess

import pytest

from support.processes import free_port, wait_until
from test_auth import token_file

QUICK = {"ELARA_CULL_INTERVAL": "100ms", "ELARA_CULL_IDLE_TIMEOUT": "0", "ELARA_CULL_WARN_BEFORE": "0"}


@pytest.fixture
def elara(build, tmp_path):
    """elara(gateway, "why", id) -> stdout; status= is what the exit status must be, then stderr is given."""
    def run(gateway, *words, status=0, token=None):
        done = subprocess.run([build / "elara", *words, "--url", gateway if isinstance(gateway, str) else gateway.base],
                              capture_output=True, text=True, timeout=60, cwd=tmp_path, env={"ELARA_TOKEN": token} if token else {})
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr
    return run


def rows(text):
    return [line.split() for line in text.splitlines()]


def test_kernels_says_who_what_since_when_and_until(start_gateway, elara, connect):
    gateway = start_gateway(environment={"ELARA_CULL_IDLE_TIMEOUT": "3h", "ELARA_CULL_UNATTACHED_TIMEOUT": "0"})
    assert rows(elara(gateway, "kernels")) == [["ID", "WHO", "KERNELSPEC", "STATE", "AGE", "IDLE", "CULL", "IN", "MEMORY", "CPU", "REASON"]]
    idle = gateway.start_kernel(env={"KERNEL_USERNAME": "anna"})["id"]
    busy = gateway.start_kernel(env={"KERNEL_USERNAME": "bert"})["id"]
    connect(gateway, busy).send_execute("sleep 60000")
    gateway.wait_for_state(idle, "idle")
    gateway.wait_for_state(busy, "busy")
    heading, *lines = elara(gateway, "kernels").splitlines()

    def cell(line, column, end):
        return line[heading.index(column):heading.index(end)].strip()

    for line, (kernel_id, who, state) in zip(lines, ((idle, "anna", "idle"), (busy, "bert", "busy"))):
        assert line.split()[:4] == [kernel_id[:8], who, "stub", state]
        assert cell(line, "AGE", "IDLE") and "iB" in cell(line, "MEMORY", "CPU") and cell(line, "CPU", "REASON")
    assert cell(lines[0], "IDLE", "CULL IN") and cell(lines[0], "CULL IN", "MEMORY") in ("3 h", "2 h 59 min")
    assert cell(lines[1], "IDLE", "CULL IN") == "" and cell(lines[1], "CULL IN", "MEMORY") == "never"
    models = {model["id"]: model for model in json.loads(elara(gateway, "kernels", "--json"))}
    assert models[idle]["user"] == "anna" and models[idle]["cull_in_ms"] > 2 * 3600 * 1000 and models[busy]["cull_in_ms"] is None


def test_dead_kernel_is_listed_with_its_reason(start_gateway, elara, specs):
    specs.add("dies", ["/bin/sh", "-c", "echo no licence >&2; exit 3", "{connection_file}"])
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("dies")["id"]
    gateway.wait_for_state(kernel_id, "dead")
    line = elara(gateway, "kernels").splitlines()[1]
    assert line.split()[0] == kernel_id[:8] and "dead" in line and "no licence" in line


def test_why_tells_rule_inputs_and_policy(start_gateway, elara, connect):
    gateway = start_gateway(environment={"ELARA_CULL_IDLE_TIMEOUT": "3h", "ELARA_CULL_STALLED_TIMEOUT": "30m", "ELARA_CULL_UNATTACHED_TIMEOUT": "0"})
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    text = elara(gateway, "why", kernel_id[:6])
    first = text.splitlines()[0]
    assert first.startswith("It will be ended in 2 h 59 min") and "the limit is 3 h (cull-idle-timeout)" in first
    facts = dict(line.strip().rsplit("  ", 1) for line in text.splitlines() if line.startswith("  "))
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    assert facts["state"].startswith("idle for ") and facts["cull-idle-timeout"] == "3 h" and facts["cull-stalled-timeout"] == "30 min"
    assert facts["cull-max-age"] == "off" and facts["cull-connected"] == "false" and "MiB" in facts["memory"]
    found = json.loads(elara(gateway, "why", kernel_id, "--json"))
    assert (found["id"], found["verdict"], found["rule"], found["fresh"]) == (kernel_id, "keep", "idle", True)
    connect(gateway, kernel_id).kernel_info()
    assert elara(gateway, "why", kernel_id).startswith("It is kept: somebody is connected to it.\n")


def test_keep_and_taking_it_back(start_gateway, elara):
    gateway = start_gateway(environment=QUICK | {"ELARA_CULL_IDLE_TIMEOUT": "1h"})
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    assert elara(gateway, "keep", kernel_id[:9], "4h") == f"{kernel_id} is kept for 4 h\n"
    assert "Somebody asked to keep it for 3 h 59 min" in elara(gateway, "why", kernel_id)
    assert json.loads(elara(gateway, "keep", kernel_id, "90m", "--json")) == {"id": kernel_id, "keep_ms": 90 * 60000}
    assert elara(gateway, "keep", kernel_id, "0") == f"{kernel_id} is not kept any longer than the rules say\n"
    assert "Somebody asked" not in elara(gateway, "why", kernel_id)
    assert "for how long? elara keep ID 4h" in elara(gateway, "keep", kernel_id, status=2)
    assert "for: " in elara(gateway, "keep", kernel_id, "long", status=1)


def test_dry_run_shows_what_a_file_that_is_not_in_effect_would_do(start_gateway, elara, connect, tmp_path):
    now = tmp_path / "now.yaml"
    now.write_text("cull_idle_timeout: 0\ncull_stalled_timeout: 5h\n")
    gateway = start_gateway("--config", str(now), "--cull-max-age", "9d", "--cull-unattached-timeout", "0",
                            environment={"ELARA_CULL_INTERVAL": "100ms"})
    assert elara(gateway, "cull", "--dry-run") == "no rule would end any kernel\n"  # there is none
    alone, used = (gateway.start_kernel(env={"KERNEL_USERNAME": "anna"})["id"] for _ in range(2))
    gateway.wait_for_state(alone, "idle")
    connect(gateway, used).run_cell("print x")
    assert [row[-1] for row in rows(elara(gateway, "cull", "--dry-run"))[1:]] == ["age", "age"]
    policy = tmp_path / "next.yaml"
    policy.write_text("port: 1\ncull_idle_timeout: 2h\ncull_max_age: 1h\n")  # but the gateway has a flag for that
    heading, *found = rows(elara(gateway, "cull", "--dry-run", "--config", "next.yaml"))
    assert heading == ["ID", "WHO", "KERNELSPEC", "WHEN", "RULE"]
    assert found[0] == [alone[:8], "anna", "stub", "1", "h", "59", "min", "idle"] and found[1][-1] == "age"
    policy.write_text("port: 1\n")  # all of culling is as by default then
    assert rows(elara(gateway, "cull", "--dry-run", "--config", "next.yaml"))[1][3:] == ["11", "h", "59", "min", "idle"]
    policy.write_text("cull_idle_timeout: 1ms\ncull_connected: true\n")

    def due():
        return {entry["id"] for entry in json.loads(elara(gateway, "cull", "--dry-run", "--config", "next.yaml", "--json"))
                if entry["verdict"] == "cull"}

    wait_until(lambda: due() == {alone, used}, what="both to be due")
    assert {model["id"] for model in gateway.get("/api/kernels").json()} == {alone, used}  # nothing was done
    assert elara(gateway, "cull") == "no kernel is due\n"


def test_cull_ends_what_is_due(start_gateway, elara):
    """Now, to have the memory of idle kernels back (classic notebook 5707)."""
    gateway = start_gateway(environment=QUICK | {"ELARA_CULL_INTERVAL": "1s", "ELARA_CULL_IDLE_TIMEOUT": "1ms"})
    kernel_id = gateway.start_kernel()["id"]
    ended = wait_until(lambda: (text := elara(gateway, "cull")) != "no kernel is due\n" and text or gateway.get(
        f"/api/kernels/{kernel_id}").status_code == 404, what="the kernel's end")
    if ended is not True:  # the gateway's own look may have been first
        assert rows(ended)[1][:3] == [kernel_id[:8], "default", "stub"]
    wait_until(lambda: gateway.get(f"/api/kernels/{kernel_id}").status_code == 404, what="the kernel's end")
    assert "it was idle for" in elara(gateway, "why", kernel_id, status=1)


@pytest.mark.parametrize("text, words, status, told", [
    ("cull_idle_timeout: 1h", ("cull", "--config", "next.yaml"), 2, "only with --dry-run"),
    ("cull_idle_timeot: 1h", ("cull", "--dry-run", "--config", "next.yaml"), 1, 'did you mean "cull_idle_timeout"?'),
    ("cull_idle_timeout: soon", ("cull", "--dry-run", "--config", "next.yaml"), 1, "cull_idle_timeout"),
    ("a: [", ("cull", "--dry-run", "--config", "next.yaml"), 1, "next.yaml"),
    ("port: lots\ncull_idle_timeout: 1h", ("cull", "--dry-run", "--config", "next.yaml"), 1, "next.yaml:1: port: "),
    ("keyfile: k\ncull_idle_timeout: 1h", ("cull", "--dry-run", "--config", "next.yaml"), 1, "keyfile is set without certfile"),
    ("max_kernel: 1", ("cull", "--dry-run", "--config", "next.yaml"), 1, 'next.yaml:1: unknown key "max_kernel"; did you mean'),
    ("", ("cull", "--dry-run", "--config"), 2, "--config"),
    ("", ("cull", "--dry-run", "--config", "none.yaml"), 1, "none.yaml"),
])
def test_bad_dry_runs(gateway, elara, tmp_path, text, words, status, told):
    (tmp_path / "next.yaml").write_text(text)
    assert told in elara(gateway, *words, status=status)


def test_a_dry_run_tells_what_may_not_be_meant_in_its_file(gateway, build, tmp_path):
    (tmp_path / "next.yaml").write_text("cull_idle_timeout:\ncull_overrides: {owners: {ann: {idle_timeout: }}}\n")
    done = subprocess.run([build / "elara", "cull", "--dry-run", "--json", "--config", "next.yaml", "--url", gateway.base],
                          capture_output=True, text=True, timeout=60, cwd=tmp_path, env={"EG_PROT": "1"})
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    assert done.stderr.splitlines() == ["note: next.yaml:1: cull_idle_timeout has no value; the default counts, which is 12h",
                                        "note: next.yaml:2: cull_overrides.owners.ann.idle_timeout has no value, and says nothing"]


def test_status(start_gateway, elara):
    gateway = start_gateway("--max-kernels-per-user", "3", environment={"ELARA_CULL_IDLE_TIMEOUT": "90m"})
    gateway.wait_for_state(gateway.start_kernel()["id"], "idle")
    lines = dict(line.split(maxsplit=1) for line in elara(gateway, "status").splitlines() if line[0] != " ")
    assert lines["gateway"].startswith("0.") and ", up " in lines["gateway"]
    assert lines["kernels"] == "1 idle; 0 connections" and lines["limits"] == "max_kernels_per_user 3"
    assert lines["culling"].startswith("idle without a connection for 1 h 30 min, never connected to for 1 h; next look in ") and lines["culled"] == "none"
    assert json.loads(elara(gateway, "status", "--json"))["kernels"]["live"] == 1


def test_status_says_that_a_file_was_not_taken_and_what_waits(start_gateway, elara, tmp_path):
    config = tmp_path / "elara.yaml"
    config.write_text("max_kernels: 5\n")
    gateway = start_gateway("--config", str(config))
    assert f"settings  {config} is in effect\n" in elara(gateway, "status")

    def say(text, word):
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").rename(config)
        return wait_until(lambda: word in (told := elara(gateway, "status")) and told, what=word)

    told = say("max_kernels: 6\nmax_kernel: 7\n", "PROBLEM")
    assert 'elara.yaml:2: unknown key "max_kernel"; did you mean "max_kernels"?' in told and "limits    max_kernels 5\n" in told
    told = say("max_kernels: 6\nbase_url: /below/\n", "waiting for a restart: base-url")
    assert "PROBLEM" not in told and "limits    max_kernels 6\n" in told


def test_interrupt_restart_delete(start_gateway, elara, connect):
    gateway = start_gateway()
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    client.send_execute("sleep 60000")
    gateway.wait_for_state(kernel_id, "busy")
    assert elara(gateway, "interrupt", kernel_id[:8]) == f"{kernel_id} interrupted\n"
    gateway.wait_for_state(kernel_id, "idle")
    before = gateway.kernel_pids(kernel_id)
    assert elara(gateway, "restart", kernel_id) == f"{kernel_id} restarted\n"
    assert before != wait_until(lambda: gateway.kernel_pids(kernel_id), what="the new process")
    assert json.loads(elara(gateway, "delete", kernel_id, "--json")) == {"id": kernel_id, "done": "deleted"}
    assert gateway.get(f"/api/kernels/{kernel_id}").status_code == 404
    assert "it was shut down" in elara(gateway, "restart", kernel_id, status=1)  # also of one that is gone


def test_logs_are_the_kernels_own(start_gateway, elara, specs):
    specs.add("talks", ["/bin/sh", "-c", f'echo "to be or not" >&2; exec {specs.stub_program} -f "$0"', "{connection_file}"])
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("talks")["id"]
    gateway.wait_for_state(kernel_id, "idle")
    assert "to be or not\n" in elara(gateway, "logs", kernel_id[:8])
    found = json.loads(elara(gateway, "logs", kernel_id, "--json"))
    assert found["id"] == kernel_id and "to be or not" in found["text"]


def test_an_id_may_be_short_but_must_be_clear(start_gateway, elara):
    gateway = start_gateway()
    ids = [gateway.start_kernel()["id"] for _ in range(17)]  # two of them begin with the same of 16 digits
    shared = next(digit for digit in "0123456789abcdef" if sum(each[0] == digit for each in ids) > 1)
    told = elara(gateway, "delete", shared, status=2)
    assert f"{shared} is not enough of an id, it fits " in told and told.count("-") >= 8
    assert len(gateway.get("/api/kernels").json()) == 17
    elara(gateway, "delete", ids[0][:20].upper())
    assert "no kernel's id begins with zz; `elara kernels` lists them" in elara(gateway, "why", "zz", status=1)
    for verb in ("why", "keep", "logs", "interrupt", "restart", "delete", "journal"):
        assert "which kernel? Its id" in elara(gateway, verb, status=2)
        assert "is not a kernel's id" in elara(gateway, verb, "../../api", "4h", status=2)


def test_everybody_sees_and_does_what_is_his(start_gateway, elara, tmp_path):
    users = token_file(tmp_path / "tokens", ("anna", "user", "anna-token"), ("bert", "user", "bert-token"), ("ops", "admin", "ops-token"))
    gateway = start_gateway("--auth-token-file", str(users), environment={"ELARA_CULL_MAX_OWN_TIMEOUT": "1h"})
    gateway.token = "anna-token"
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    assert len(rows(elara(gateway, "kernels", token="bert-token"))) == 1
    assert "no kernel's id begins with" in elara(gateway, "delete", kernel_id[:8], status=1, token="bert-token")
    assert "404" in elara(gateway, "why", kernel_id, status=1, token="bert-token")
    assert "at most 1 h may be asked for" in elara(gateway, "keep", kernel_id, "2h", status=1, token="anna-token")
    elara(gateway, "keep", kernel_id, "2h", token="ops-token")
    assert rows(elara(gateway, "kernels", token="ops-token"))[1][:2] == [kernel_id[:8], "anna"]
    assert "--token-file" in elara(gateway, "status", status=1)
    assert json.loads(elara(gateway, "status", "--json", token="anna-token"))["settings"] is None  # it may name files


@pytest.mark.parametrize("verb", ["status", "kernels", "cull"])
def test_no_gateway_there(elara, verb):
    assert "is the gateway running, and --url its address?" in elara(f"http://127.0.0.1:{free_port()}/", verb, status=1)


def test_kernelspecs_as_json(build, specs):
    def ask(verb):
        done = subprocess.run([build / "elara", "kernelspecs", verb, "--json", "--kernelspec-dirs", str(specs)], capture_output=True,
                              text=True, timeout=60)
        return done.returncode, json.loads(done.stdout)

    status, listed = ask("list")
    assert status == 0 and listed["default"] == "python3"
    assert {"name": "stub", "display_name": "Stub", "language": "stub", "directory": str(specs.directory / "stub")} in listed["kernelspecs"]
    assert ask("check")[0] == 0
    specs.add("bad", "no list")
    status, checked = ask("check")
    assert status == 1 and checked["default_is_there"] is True
    assert [(problem["field"], problem["file"]) for problem in checked["problems"]] == [("argv", str(specs.directory / "bad" / "kernel.json"))]
