"""Kernels that are ended by the administrator's policy: which, when, and that people are told."""
import hashlib
import json
import os
import re
import signal
from datetime import datetime

import pytest

from support.processes import wait_until

QUICK = {"ELARA_CULL_INTERVAL": "100ms", "ELARA_CULL_IDLE_TIMEOUT": "1s", "ELARA_CULL_WARN_BEFORE": "0"}


def why(gateway, kernel_id, **options):
    answer = gateway.get(f"/api/kernels/{kernel_id}/why", **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def wait_for_end(gateway, kernel_id, timeout=30):
    """The 404's body."""
    return wait_until(lambda: (answer := gateway.get(f"/api/kernels/{kernel_id}")).status_code == 404 and answer.json(),
                      timeout, "the kernel's end")


def test_an_idle_kernel_without_clients_is_ended_with_a_reason(start_gateway):
    """Whoever asks is told, and not with a 500 or silence (nb2kg 31)."""
    gateway = start_gateway(environment=QUICK)
    kernel_id = gateway.start_kernel()["id"]
    ended = wait_for_end(gateway, kernel_id)
    assert ended["reason"].startswith("The kernel was ended because it was idle for ")
    assert ended["reason"].endswith("nobody was connected; the limit is 1 s (cull-idle-timeout).")
    assert gateway.get(f"/api/kernels/{kernel_id}/why").json() == ended
    assert gateway.get("/api/elara/status").json()["culling"]["culled"]["idle"] == 1
    assert f"kernel {kernel_id}: culled by the rule idle" in gateway.log()
    assert not gateway.launcher_pids(kernel_id) and not gateway.kernel_directory(kernel_id).exists()


def test_a_connected_kernel_stays_and_goes_when_its_client_is_gone(start_gateway, connect):
    gateway = start_gateway(environment=QUICK)
    idle, used = (gateway.start_kernel()["id"] for _ in range(2))
    client = connect(gateway, used)
    client.run_cell("print x")
    wait_for_end(gateway, idle)  # as old as the other one
    found = why(gateway, used)
    assert (found["verdict"], found["rule"], found["in_ms"]) == ("keep", "none", None)
    assert found["text"] == "It is kept: somebody is connected to it."
    assert found["fresh"] and found["inputs"]["unattached_for_ms"] == 0 and found["inputs"]["connections"] == 1
    client.close()
    assert "idle" in wait_for_end(gateway, used)["reason"]


def test_the_client_of_another_gateway_is_somebody(start_gateway, connect):
    first = start_gateway(environment={"ELARA_CULL_IDLE_TIMEOUT": "0"})
    used = [first.start_kernel()["id"] for _ in range(6)]
    clients = [connect(first, kernel_id) for kernel_id in used]
    for client in clients:
        client.run_cell("print x")
    second = start_gateway(home=first.home, environment=QUICK | {"ELARA_CULL_INTERVAL": "20ms", "ELARA_CULL_IDLE_TIMEOUT": "100ms"})
    passes = lambda: second.get("/api/elara/status").json()["culling"]["passes"]  # noqa: E731
    wait_until(lambda: all(why(second, kernel_id)["inputs"]["state_for_ms"] > 100 for kernel_id in used), what="idle kernels")
    seen = passes()
    wait_until(lambda: passes() > seen + 50, 60, "many passes")
    for dry_run in (True, False):
        assert second.post("/api/elara/cull", json={"dry_run": dry_run}).json() == []
    assert {kernel["id"] for kernel in first.get("/api/kernels").json()} >= set(used)


def stderr_of(client, text, timeout=30):
    """The first stream on stderr that has this text."""
    return client.receive_until(lambda m: m["header"]["msg_type"] == "stream" and m["content"]["name"] == "stderr"
                                and text in m["content"]["text"], timeout)


def test_the_notebook_is_warned_once_and_told_why(start_gateway, connect):
    gateway = start_gateway(environment=QUICK | {"ELARA_CULL_CONNECTED": "true", "ELARA_CULL_IDLE_TIMEOUT": "2s",
                                                 "ELARA_CULL_WARN_BEFORE": "1s"})
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    for _ in range(2):  # somebody who works on is warned again, once
        cell = client.run_cell("print x").messages[0]["parent_header"]["msg_id"]
        warning = stderr_of(client, "[elara] This kernel will be ended in ")
        assert warning["content"]["text"].endswith("(cull-idle-timeout, cull-connected). Run a cell to keep it.\n")
        assert warning["parent_header"]["msg_id"] == cell
    last = stderr_of(client, "The kernel was ended because it was idle for 2 s")
    assert last["parent_header"]["msg_id"] == cell
    wait_for_end(gateway, kernel_id)
    assert gateway.get("/api/elara/status").json()["culling"]["warned"] == 2


def warnings_and_ends(log, kernel_id):
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return [event for event in events if event["kernel_id"] == kernel_id and event["__schema__"].endswith("kernel_culling:v1")]


def seconds_between(earlier, later):
    return (datetime.fromisoformat(later.rstrip("Z")) - datetime.fromisoformat(earlier.rstrip("Z"))).total_seconds()


def wait_until_idle_for(gateway, kernel_id, ms):
    names = ("state", "untouched", "silent", "at_rest")
    wait_until(lambda: (inputs := why(gateway, kernel_id)["inputs"]) and all(inputs[f"{name}_for_ms"] > ms for name in names),
               60, f"a kernel that is idle for {ms} ms")


def test_a_kernel_whose_tab_breaks_late_has_its_warning(start_gateway, connect, tmp_path):
    log = tmp_path / "events"
    gateway = start_gateway("--event-log", str(log), environment=QUICK | {"ELARA_CULL_IDLE_TIMEOUT": "6s",
                                                                          "ELARA_CULL_WARN_BEFORE": "3s"})
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    client.run_cell("print x")
    wait_until_idle_for(gateway, kernel_id, 7000)
    assert why(gateway, kernel_id)["verdict"] == "keep" and warnings_and_ends(log, kernel_id) == []
    client.drop()
    wait_until(lambda: warnings_and_ends(log, kernel_id), 30, "the warning")
    assert why(gateway, kernel_id)["verdict"] == "warn"
    client = connect(gateway, kernel_id)  # back in time: nothing was about to end it for as long
    passes = gateway.get("/api/elara/status").json()["culling"]["passes"]
    wait_until(lambda: gateway.get("/api/elara/status").json()["culling"]["passes"] > passes + 40, 60, "4 s of them")
    client.drop()
    ended = wait_for_end(gateway, kernel_id)
    assert "nobody was connected; the limit is 6 s" in ended["reason"]
    told = warnings_and_ends(log, kernel_id)
    assert [event["action"] for event in told] == ["warned", "warned", "culled"]
    assert 2000 < told[0]["in_ms"] <= 3000
    assert seconds_between(told[1]["__timestamp__"], told[2]["__timestamp__"]) >= 2.9  # the clock of the log may be turned


def test_a_limit_that_is_lowered_warns_whom_it_puts_beyond_it(start_gateway, connect, tmp_path):
    config = tmp_path / "elara.yaml"
    text = "cull_interval: 100ms\ncull_connected: true\ncull_warn_before: {}\ncull_idle_timeout: {}\n"
    config.write_text(text.format("1s", "1h"))
    gateway = start_gateway("--config", str(config))
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    client.run_cell("print x")
    wait_until_idle_for(gateway, kernel_id, 2500)
    config.write_text(text.format("1s", "2s"))
    gateway.process.send_signal(signal.SIGHUP)
    warning = stderr_of(client, "[elara] This kernel will be ended in 1 s if nothing happens: it was idle for ")
    last = stderr_of(client, "The kernel was ended because it was idle for ")
    assert "the limit is 2 s (cull-idle-timeout, cull-connected)" in last["content"]["text"]
    assert seconds_between(warning["header"]["date"], last["header"]["date"]) >= 0.9
    wait_for_end(gateway, kernel_id)
    at_once = gateway.start_kernel()["id"]
    config.write_text(text.format("0", "1h"))
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: why(gateway, at_once)["policy"]["warn_ms"] == 0, what="the settings")
    wait_until_idle_for(gateway, at_once, 2500)
    config.write_text(text.format("0", "2s"))
    gateway.process.send_signal(signal.SIGHUP)
    wait_for_end(gateway, at_once)
    assert gateway.get("/api/elara/status").json()["culling"]["warned"] == 1


def test_the_reason_outlives_the_gateway(start_gateway):
    gateway = start_gateway(environment=QUICK)
    kernel_id = gateway.start_kernel()["id"]
    ended = wait_for_end(gateway, kernel_id)
    gateway.kill()
    gateway.start()
    assert gateway.get(f"/api/kernels/{kernel_id}").json() == ended


def test_the_reason_of_another_gateways_culling_is_known(start_gateway):
    first = start_gateway(environment=QUICK | {"ELARA_CULL_IDLE_TIMEOUT": "0"})
    kernel_id = first.start_kernel()["id"]
    second = start_gateway(environment=QUICK, home=first.home)
    ended = wait_for_end(second, kernel_id)
    assert wait_for_end(first, kernel_id) == ended


def test_the_next_kernel_of_its_place_says_why_the_earlier_one_ended(start_gateway, connect):
    gateway = start_gateway(environment=QUICK)
    place = {"KERNEL_WORKING_DIR": "/home/ann/work", "KERNEL_USERNAME": "ann"}
    wait_for_end(gateway, gateway.start_kernel(env=place)["id"])
    other = gateway.start_kernel(env=place | {"KERNEL_WORKING_DIR": "/home/ann"})["id"]
    next_one = gateway.start_kernel(env=place)["id"]
    gateway.kill()  # it is the kernel's own by now
    gateway.start()
    client, elsewhere = connect(gateway, next_one), connect(gateway, other)
    assert elsewhere.run_cell("print x").text("stderr") == ""
    client.run_cell("print x", silent=True)
    first = client.run_cell("print x")
    assert first.text("stderr").startswith("[elara] The kernel that was here before was ended on 20")
    assert "it was idle for 1 s and nobody was connected; the limit is 1 s" in first.text("stderr")
    kinds = [m["header"]["msg_type"] for m in first.of_type("execute_input", "stream")]
    assert kinds == ["execute_input", "stream", "stream"] and first.text() == "x\n"
    assert client.run_cell("print y").text("stderr") == ""


def test_no_notice_where_it_is_switched_off(start_gateway, connect):
    gateway = start_gateway(environment=QUICK | {"ELARA_CULL_NOTICE": "false"})
    wait_for_end(gateway, gateway.start_kernel()["id"])
    client = connect(gateway, gateway.start_kernel()["id"])
    assert client.run_cell("print x").text("stderr") == ""


def test_the_limit_of_a_kernelspec(start_gateway):
    gateway = start_gateway("--max-kernels-per-spec", "1")
    gateway.start_kernel("stub-message")
    kernel_id = gateway.start_kernel()["id"]
    refused = gateway.post("/api/kernels", json={"name": "stub"})
    assert refused.status_code == 403
    assert "1 kernels of kernel spec 'stub' are running" in refused.json()["message"]
    gateway.delete(f"/api/kernels/{kernel_id}")
    gateway.start_kernel()


def test_what_a_kernel_asks_for_itself(start_gateway, specs):
    specs.stub("short", metadata={"cull_idle_timeout": 0.5})
    gateway = start_gateway(environment=QUICK | {"ELARA_CULL_IDLE_TIMEOUT": "1h", "ELARA_CULL_MAX_OWN_TIMEOUT": "2s"})
    by_spec = gateway.start_kernel("short")["id"]
    by_request = gateway.start_kernel(env={"KERNEL_CULL_IDLE_TIMEOUT": "1"})["id"]
    too_long = gateway.start_kernel("short", env={"KERNEL_CULL_IDLE_TIMEOUT": "0"})["id"]
    plain = gateway.start_kernel()["id"]
    ends = {kernel: wait_for_end(gateway, kernel)["reason"] for kernel in (by_spec, by_request, too_long)}
    assert "the limit is 500 ms (its own cull_idle_timeout)" in ends[by_spec]
    assert "the limit is 1 s (its own cull_idle_timeout)" in ends[by_request]
    assert "the limit is 2 s (its own cull_idle_timeout)" in ends[too_long]  # the administrator's maximum
    assert why(gateway, plain)["policy"]["idle_ms"] == 3600000
    for bad in ("soon", "-1", "1e99"):
        answer = gateway.post("/api/kernels", json={"env": {"KERNEL_CULL_IDLE_TIMEOUT": bad}})
        assert answer.status_code == 400 and "KERNEL_CULL_IDLE_TIMEOUT" in answer.json()["message"]


def test_overrides_and_their_reload(start_gateway, specs, tmp_path):
    specs.stub("gpu-large")
    config = tmp_path / "elara.yaml"
    config.write_text("cull_interval: 100ms\ncull_idle_timeout: 1h\ncull_warn_before: 0\n"
                      "cull_overrides:\n  owners:\n    ann: {max_age: 1s}\n")
    gateway = start_gateway("--config", str(config))
    gpu, plain = gateway.start_kernel("gpu-large")["id"], gateway.start_kernel()["id"]
    annes = gateway.start_kernel("gpu-large", env={"KERNEL_USERNAME": "ann"})["id"]
    assert "old; the limit is 1 s (cull-max-age)" in wait_for_end(gateway, annes)["reason"]
    config.write_text("cull_interval: 100ms\ncull_idle_timeout: 1h\ncull_warn_before: 0\n"
                      'cull_overrides:\n  specs:\n    "gpu-*": {idle_timeout: 500ms}\n')
    gateway.process.send_signal(signal.SIGHUP)
    assert "the limit is 500 ms (cull-idle-timeout)" in wait_for_end(gateway, gpu)["reason"]
    assert why(gateway, plain)["verdict"] == "keep"
    config.write_text("cull_interval: 100ms\ncull_idle_timeout: 1s\ncull_overrides: {owners: {ann: {idle: 3}}}\n")
    gateway.process.send_signal(signal.SIGHUP)  # a broken file lowers nothing
    wait_until(lambda: "idle" in gateway.log().split("SIGHUP")[-1] and "cull_overrides" in gateway.log(), what="the complaint")
    assert why(gateway, plain)["policy"]["idle_ms"] == 3600000


def test_a_kept_kernel_stays(start_gateway, connect):
    gateway = start_gateway(environment=QUICK)
    kept, other = (gateway.start_kernel()["id"] for _ in range(2))
    gateway.wait_for_state(kept, "idle")
    answer = gateway.post(f"/api/kernels/{kept}/keep", json={"for": "1h"})
    assert answer.status_code == 200 and answer.json() == {"keep_ms": 3600000}
    wait_for_end(gateway, other)
    found = why(gateway, kept)
    assert found["verdict"] == "keep" and found["rule"] == "idle" and 3500000 < found["in_ms"] <= 3600001
    assert "Somebody asked to keep it for 59 min" in found["text"]
    gateway.kill()
    gateway.start()
    assert why(gateway, kept)["inputs"]["keep_ms"] > 3500000
    assert gateway.post(f"/api/kernels/{kept}/keep", json={"for": 0}).json() == {"keep_ms": 0}
    wait_for_end(gateway, kept)


@pytest.mark.parametrize("body", [{}, {"for": None}, {"for": "soon"}, {"for": -1}, {"for": []}, {"for": "9999d"}, []])
def test_bad_wishes_to_keep(gateway, kernel, body):
    answer = gateway.post(f"/api/kernels/{kernel}/keep", json=body)
    assert answer.status_code == 400 and "for" in answer.json()["message"]


def test_dry_run_by_this_and_another_policy(start_gateway, connect):
    gateway = start_gateway(environment={"ELARA_CULL_INTERVAL": "100ms", "ELARA_CULL_UNATTACHED_TIMEOUT": "0"})
    idle, used = (gateway.start_kernel()["id"] for _ in range(2))
    gateway.wait_for_state(idle, "idle")
    connect(gateway, used).run_cell("print x")
    wait_until(lambda: gateway.get("/api/elara/status").json()["culling"]["quiet_ms"] == 0, what="the first intervals")

    def dry_run(**policy):
        answer = gateway.post("/api/elara/cull", json={"dry_run": True, "policy": policy})
        assert answer.status_code == 200, answer.text
        return {entry["id"]: entry for entry in answer.json()}

    now = dry_run()
    assert list(now) == [idle] and now[idle]["verdict"] == "keep" and now[idle]["rule"] == "idle"
    assert 42000000 < now[idle]["in_ms"] <= 43200001
    others = dry_run(cull_idle_timeout="1ms", cull_idle_connected_timeout="1h")
    assert list(others) == [idle, used]  # what goes first comes first
    assert others[idle]["verdict"] == "cull" and others[idle]["in_ms"] == 0
    assert others[used]["rule"] == "idle-connected" and 3500000 < others[used]["in_ms"] <= 3600001
    assert gateway.model(idle) and gateway.model(used)  # nothing was done
    assert gateway.post("/api/elara/cull", json={}).json() == []
    for bad in ({"dry_run": 1}, {"policy": {}}, {"dry_run": True, "policy": {"cull_idle_timeot": 1}}, [],
                {"dry_run": True, "policy": {"cull_idle_timeout": "soon"}}, {"dry_run": True, "policy": 7}):
        answer = gateway.post("/api/elara/cull", json=bad)
        assert answer.status_code == 400, bad


def test_users_see_and_end_their_own(start_gateway, tmp_path):
    tokens = tmp_path / "tokens"
    people = {"anna": "user", "bert": "user", "root": "admin"}
    tokens.write_text("".join(f"{name}:{role}:sha256:{hashlib.sha256(name.encode()).hexdigest()}\n"
                              for name, role in people.items()))
    tokens.chmod(0o600)
    gateway = start_gateway("--auth-token-file", str(tokens), "--cull-max-own-timeout", "1h",
                            environment={"ELARA_CULL_OVERRIDES": '{"owners": {"bert": {"max_own_timeout": "30m"}}}'})

    def as_(name):
        return {"headers": {"Authorization": f"token {name}"}}

    kernels = {name: gateway.post("/api/kernels", json={"name": "stub"}, **as_(name)).json()["id"] for name in ("anna", "bert")}
    for path in ("why", "logs"):
        assert gateway.get(f"/api/kernels/{kernels['anna']}/{path}", **as_("bert")).status_code == 404
    assert gateway.post(f"/api/kernels/{kernels['anna']}/keep", json={"for": 1}, **as_("bert")).status_code == 404
    assert [k["id"] for k in gateway.get("/api/elara/kernels", **as_("anna")).json()] == [kernels["anna"]]
    assert {k["id"] for k in gateway.get("/api/elara/kernels", **as_("root")).json()} == set(kernels.values())
    assert gateway.get("/api/elara/status", **as_("bert")).json()["kernels"]["live"] == 1
    wait_until(lambda: len(gateway.post("/api/elara/cull", json={"dry_run": True}, **as_("root")).json()) == 2, what="both idle")
    assert [k["id"] for k in gateway.post("/api/elara/cull", json={"dry_run": True}, **as_("bert")).json()] == [kernels["bert"]]
    refused = gateway.post(f"/api/kernels/{kernels['anna']}/keep", json={"for": "2h"}, **as_("anna"))
    assert refused.status_code == 403 and "at most 1 h" in refused.json()["message"]
    refused = gateway.post(f"/api/kernels/{kernels['bert']}/keep", json={"for": "1h"}, **as_("bert"))
    assert refused.status_code == 403 and "at most 30 min" in refused.json()["message"]
    assert [k["keep_max_ms"] for k in gateway.get("/api/elara/kernels", **as_("bert")).json()] == [1800000]
    assert "Keep for 30 min" in gateway.get("/elara", **as_("bert")).text and "Keep for 1 h" in gateway.get("/elara", **as_("anna")).text
    allowed = gateway.post(f"/api/kernels/{kernels['anna']}/keep", json={"for": "2h"}, **as_("root"))
    assert allowed.json() == {"keep_ms": 7200000}


def test_kernels_in_detail_come_in_pages(start_gateway):
    gateway = start_gateway()
    ids = [gateway.start_kernel()["id"] for _ in range(5)]

    def page(**query):
        answer = gateway.get("/api/elara/kernels", params=query)
        return [model["id"] for model in answer.json()], answer.headers.get("Elara-Continue")

    assert page() == (ids, None) and page(limit=5) == (ids, None)
    first, after = page(limit=2)
    assert first == ids[:2]
    assert gateway.delete(f"/api/kernels/{ids[1]}").status_code == 204  # the page's last, and one of the next:
    assert gateway.delete(f"/api/kernels/{ids[2]}").status_code == 204
    second, after = page(limit=2, **{"continue": after})
    assert (second, after) == (ids[3:], None)
    for query in ({"limit": 0}, {"limit": 257}, {"limit": "x"}, {"continue": -1}):
        assert gateway.get("/api/elara/kernels", params=query).status_code == 400, query


def test_what_is_shown_as_idle_is_what_the_rules_measure(start_gateway, connect):
    """A thread prints behind the prompt: the kernel is at work for the rules, and in the list."""
    gateway = start_gateway()
    kernel_id = gateway.start_kernel("python3")["id"]
    connect(gateway, kernel_id, timeout=60).run_cell(
        "import threading, time\ndef talk():\n    while True:\n        print('x', flush=True)\n        time.sleep(0.1)\n"
        "threading.Thread(target=talk, daemon=True).start()")

    def idle():
        found = why(gateway, kernel_id)["inputs"]
        entry, = gateway.get("/api/elara/kernels").json()
        return found["state_for_ms"] > 3000 and entry["idle_ms"] < 2000

    wait_until(idle, 60, "a prompt behind which something works")


def test_kernels_in_detail_and_their_logs(gateway, connect):
    with gateway.kernel("python3") as kernel_id:
        client = connect(gateway, kernel_id, timeout=60)
        client.run_cell("import os; os.write(2, 'tr\u00e4ge\\n'.encode()) and None")
        entry = next(k for k in gateway.get("/api/elara/kernels").json() if k["id"] == kernel_id)
        assert entry["name"] == "python3" and entry["execution_state"] == "idle" and entry["connections"] == 1
        assert entry["rss_bytes"] > 1 << 20 and entry["processes"] >= 1 and entry["cpu_ms"] >= 0
        assert entry["idle_ms"] <= entry["age_ms"] and entry["rule"] == "none" and entry["cull_in_ms"] is None
        logs = gateway.get(f"/api/kernels/{kernel_id}/logs")
        assert logs.headers["Content-Type"] == "text/plain; charset=utf-8" and "tr\u00e4ge" in logs.text
        assert len(gateway.get(f"/api/kernels/{kernel_id}/logs?max_bytes=3").content) <= 3
        assert gateway.get(f"/api/kernels/{kernel_id}/logs?max_bytes=x").status_code == 400


def test_what_runs_stays_and_what_hangs_goes(start_gateway, connect):
    """A cell that sleeps, one that computes in silence, one that prints and one that asks."""
    gateway = start_gateway(environment=QUICK | {"ELARA_CULL_IDLE_TIMEOUT": "0", "ELARA_CULL_STALLED_TIMEOUT": "6s"})
    sleeps, asks = (gateway.start_kernel()["id"] for _ in range(2))
    works = gateway.start_kernel("python3")["id"]
    connect(gateway, works, timeout=60).send_execute("while True: pass")
    connect(gateway, asks).send_execute("input name?")
    connect(gateway, sleeps).send_execute("sleep 600000")
    ended = wait_for_end(gateway, sleeps, 60)
    assert re.search(r"its cell ran for \d+ s without output and without using the CPU; the limit is 6 s", ended["reason"])
    assert why(gateway, asks)["inputs"]["waits_for_input"] and why(gateway, asks)["rule"] == "none"
    found = wait_until(lambda: (w := why(gateway, works))["inputs"]["state_for_ms"] > 8000 and w, 60, "a cell older than the limit")
    assert found["inputs"]["at_rest_for_ms"] < 6000 and found["verdict"] == "keep" and found["rule"] == "stalled"


def test_a_kernel_whose_launcher_does_not_answer_stays(start_gateway):
    gateway = start_gateway(environment=QUICK)
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    launcher, = gateway.launcher_pids(kernel_id)
    os.kill(launcher, signal.SIGSTOP)
    others = gateway.start_kernel()["id"]
    wait_for_end(gateway, others)  # by then it would be due as well
    assert gateway.model(kernel_id)["execution_state"] == "idle"
    os.kill(launcher, signal.SIGCONT)
    wait_for_end(gateway, kernel_id)


def test_a_new_gateway_gives_clients_time_to_come_back(start_gateway):
    gateway = start_gateway(environment=QUICK | {"ELARA_CULL_IDLE_TIMEOUT": "1h"})
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    gateway.kill()
    gateway.environment |= {"ELARA_CULL_IDLE_TIMEOUT": "1ms", "ELARA_CULL_INTERVAL": "30m"}
    gateway.start()
    found = why(gateway, kernel_id)
    assert found["rule"] == "idle" and 3500000 < found["in_ms"] <= 3600000  # two intervals
    assert gateway.post("/api/elara/cull").json() == []


def test_a_detached_kernel_that_asks_nobody_goes(start_gateway, connect):
    gateway = start_gateway(environment=QUICK | {"ELARA_CULL_IDLE_TIMEOUT": "0", "ELARA_CULL_DETACHED_TIMEOUT": "1s"})
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    client.send_execute("input name?")
    client.receive_until(lambda m: m["header"]["msg_type"] == "input_request")
    assert why(gateway, kernel_id)["rule"] == "none"
    client.drop()
    assert "nobody was connected and nothing ran; the limit is 1 s" in wait_for_end(gateway, kernel_id)["reason"]


def test_a_failed_start_is_not_culled(start_gateway, specs):
    specs.stub("crash", "--crash-at-start", "no licence")
    gateway = start_gateway("--cull-max-age", "1ms", environment=QUICK)
    crashed = gateway.start_kernel("crash")["id"]
    gateway.wait_for_state(crashed, "dead")
    wait_for_end(gateway, gateway.start_kernel()["id"])
    assert "no licence" in gateway.model(crashed)["reason"]
    assert why(gateway, crashed)["text"] == "It is kept: it is dead, and kept for its reason (failed-retention)."


def test_a_clock_that_is_set_ends_nobody(start_gateway, build, tmp_path):
    """Neither a day ahead nor a day back: durations are the launcher's, by a clock that nobody sets."""
    shift = tmp_path / "shift"
    shift.write_text("0")
    gateway = start_gateway("--cull-interval", "100ms", "--cull-idle-timeout", "1h", "--cull-warn-before", "10m",
                            environment={"LD_PRELOAD": str(build / "tests" / "clock_shift.so"), "CLOCK_SHIFT_FILE": str(shift),
                                         "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"})
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    for days in (1, -1):
        shift.write_text(str(days * 86400))
        before = datetime.fromisoformat(gateway.log().splitlines()[-1][:26])
        gateway.get("/api/kernels/unknown")  # is logged
        after = datetime.fromisoformat(gateway.log().splitlines()[-1][:26])
        assert abs((after - before).total_seconds()) > 80000, "the clock did jump"
        passes = gateway.get("/api/elara/status").json()["culling"]["passes"]
        wait_until(lambda: gateway.get("/api/elara/status").json()["culling"]["passes"] > passes + 5, 30, "passes")
        found = why(gateway, kernel_id)
        assert found["verdict"] == "keep" and found["inputs"]["state_for_ms"] < 3600_000
    assert gateway.get("/api/elara/status").json()["culling"]["warned"] == 0
