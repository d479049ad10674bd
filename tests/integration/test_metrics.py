"""GET /metrics, read by Prometheus' own parser, and held against what promtool would complain about."""
import re
import signal
import subprocess

import requests
from prometheus_client.parser import text_string_to_metric_families
from support.processes import wait_until

BASE_UNITS = ("seconds", "bytes")
OTHER_UNITS = re.compile(r"_(milliseconds|microseconds|minutes|hours|days|ms|us|kib|mib|kilobytes|megabytes|bits|percent)(_|$)")


class Metrics:
    """One scrape."""

    def __init__(self, gateway):
        answer = gateway.get("/metrics")
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.text = answer.text
        self.families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        self.samples = {}
        for family in self.families.values():
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"twice: {key}"
                self.samples[key] = sample.value

    def get(self, name, **labels):
        return self.samples.get((name, frozenset(labels.items())), 0)

    def total(self, name, **labels):
        wanted = set(labels.items())
        return sum(value for (found, has), value in self.samples.items() if found == name and wanted <= has)


def test_prometheus_parser_reads_it_and_promtool_would_not_complain(gateway, client):
    client.run_cell("print hello")
    metrics = Metrics(gateway)
    assert metrics.text.endswith("\n") and "\r" not in metrics.text
    names = re.findall(r"^# TYPE (\S+) (\S+)$", metrics.text, re.MULTILINE)
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", metrics.text, re.MULTILINE))
    assert len(names) == len({name for name, _ in names}) and len(names) > 20
    for name, kind in names:
        assert re.fullmatch(r"(elara|process)_[a-z0-9_]+", name), "no colons, no capitals"
        assert helps[name].endswith("."), name
        assert kind in ("counter", "gauge", "histogram"), name
        assert name.endswith("_total") == (kind == "counter"), name
        assert not name.endswith(("_count", "_sum", "_bucket", "_info_total")), name
        assert kind not in name.split("_"), "a name does not tell its type"
        assert not OTHER_UNITS.search(name), "base units"
        if kind == "histogram":
            assert name.endswith(BASE_UNITS), name
    for (name, labels), value in metrics.samples.items():
        assert value >= 0, name
        for label, text in labels:
            assert re.fullmatch(r"[a-z_]+", label) and text, (name, label)


def check_histogram(metrics, name):
    rows = {}
    for (found, labels), value in metrics.samples.items():
        labels = dict(labels)
        if found == name + "_bucket":
            bound = float(labels.pop("le"))
            rows.setdefault(frozenset(labels.items()), []).append((bound, value))
    assert rows, name
    for labels, buckets in rows.items():
        values = [value for _, value in sorted(buckets)]
        assert sorted(buckets)[-1][0] == float("inf") and values == sorted(values)
        assert values[-1] == metrics.get(name + "_count", **dict(labels)), "of +Inf"
        assert (metrics.get(name + "_sum", **dict(labels)) > 0) == (values[-1] > 0) or name == "elara_loop_lag_seconds"


def test_histograms_are_whole(gateway, client):
    client.run_cell("print hello")
    metrics = Metrics(gateway)
    for family in metrics.families.values():
        if family.type == "histogram":
            check_histogram(metrics, family.name)
    wait_until(lambda: Metrics(gateway).get("elara_loop_lag_seconds_count") > 0, 20, "the lag of a quiet loop")


def test_kernels_by_kernelspec_and_state(start_gateway, connect):
    gateway = start_gateway()
    assert Metrics(gateway).get("elara_kernels", kernelspec="stub", state="idle") == 0
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    client = connect(gateway, kernel_id)
    client.run_cell("print hello")
    metrics = Metrics(gateway)
    assert metrics.get("elara_kernels", kernelspec="stub", state="idle") == 1
    assert metrics.total("elara_kernels") == 1
    assert metrics.get("elara_clients") == 1
    assert metrics.get("elara_journal_bytes") > 0
    gateway.delete(f"/api/kernels/{kernel_id}")
    metrics = Metrics(gateway)
    assert metrics.total("elara_kernels") == 0 and metrics.get("elara_journal_bytes") == 0


def test_starts_by_stage_and_outcome(start_gateway, specs):
    specs.add("broken", ["/nowhere/at/all"])
    gateway = start_gateway()
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    gateway.post(f"/api/kernels/{kernel_id}/restart")
    gateway.wait_for_state(kernel_id, "idle")
    gateway.wait_for_state(gateway.start_kernel("broken")["id"], "dead")
    metrics = Metrics(gateway)
    stages, whole = "elara_kernel_start_stage_duration_seconds", "elara_kernel_start_duration_seconds"
    assert metrics.get(stages + "_count", stage="launcher", outcome="ready") >= 1
    assert metrics.get(stages + "_count", stage="kernel", outcome="ready") == 1
    assert metrics.get(whole + "_count", kind="start", outcome="ready") == 1
    assert metrics.get(whole + "_count", kind="restart", outcome="ready") == 1
    assert metrics.get(whole + "_count", kind="start", outcome="failed") == 1
    assert metrics.get("elara_kernel_deaths_total") == 1
    parts = sum(metrics.get(stages + "_sum", stage=stage, outcome="ready") for stage in ("launcher", "kernel"))
    assert parts >= metrics.get(whole + "_sum", kind="start", outcome="ready") * 0.99


def test_what_was_found_is_no_start(start_gateway):
    gateway = start_gateway()
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    gateway.kill()
    gateway.start()
    gateway.wait_for_state(kernel_id, "idle")
    metrics = Metrics(gateway)
    assert metrics.total("elara_kernels") == 1
    assert metrics.total("elara_kernel_start_duration_seconds_count") == 0
    assert metrics.get("elara_adopting") == 0
    gateway.delete(f"/api/kernels/{kernel_id}")


def test_messages_and_bytes(start_gateway, connect):
    gateway = start_gateway()
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    client = connect(gateway, kernel_id)
    client.kernel_info()
    before = Metrics(gateway)
    sent = [len(message) for message in (client.run_cell("print hello").messages)]
    after = Metrics(gateway)

    def grown(name, **labels):
        return after.get(name, **labels) - before.get(name, **labels)

    assert grown("elara_messages_total", direction="to_kernel", channel="shell") == 1
    assert grown("elara_messages_total", direction="to_client", channel="shell") == 1
    assert grown("elara_messages_total", direction="to_client", channel="iopub") == len(sent) - 1
    assert grown("elara_message_bytes_total", direction="to_kernel", channel="shell") > 200
    assert grown("elara_message_bytes_total", direction="to_client", channel="iopub") > 1000
    assert grown("elara_messages_total", direction="to_client", channel="stdin") == 0
    client.close()
    wait_until(lambda: Metrics(gateway).get("elara_clients") == 0, 10, "the client's end")
    gateway.delete(f"/api/kernels/{kernel_id}")


def test_replayed_messages(start_gateway, connect):
    gateway = start_gateway()
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    first = connect(gateway, kernel_id, user_agent="Tornado/6.5")  # its browser may be gone: the last cell is unsure
    first.run_cell("print hello")
    first.drop()
    again = connect(gateway, kernel_id, user_agent="Tornado/6.5", session_id=first.session_id)
    again.receive_until(lambda message: message["header"]["msg_type"] == "stream")
    metrics = Metrics(gateway)
    assert metrics.get("elara_replayed_messages_total") > 0 and metrics.get("elara_replayed_bytes_total") > 0
    gateway.delete(f"/api/kernels/{kernel_id}")


def test_folded_bytes(start_gateway, connect):
    gateway = start_gateway("--journal-size", "1M")
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    client = connect(gateway, kernel_id)
    assert Metrics(gateway).get("elara_journal_folded_bytes_total") == 0
    for _ in range(2):
        client.run_cell("flood 5000 300")
    wait_until(lambda: Metrics(gateway).get("elara_journal_folded_bytes_total") > 1 << 20, 20, "what was folded")
    assert 0 < Metrics(gateway).get("elara_journal_bytes") <= 1 << 20
    before = Metrics(gateway).get("elara_journal_folded_bytes_total")
    gateway.delete(f"/api/kernels/{kernel_id}")
    after = Metrics(gateway)
    assert after.get("elara_journal_folded_bytes_total") >= before, "a counter never falls"
    assert after.get("elara_journal_bytes") == 0


def test_requests_by_pattern_method_and_status(start_gateway):
    gateway = start_gateway()
    for name in ("a-b-c-d-e", "f-g-h-i-j", "x"):
        gateway.get(f"/api/kernels/{name}")
    gateway.get("/nowhere")
    gateway.get("/elsewhere/entirely")
    gateway.request("PUT", "/api/kernels")
    gateway.request("HEAD", "/api")
    metrics = Metrics(gateway)
    name = "elara_http_requests_total"
    assert metrics.get(name, route="/api/kernels/{kernel_id}", method="GET", status="404") == 3
    assert metrics.get(name, route="none", method="none", status="404") == 2
    assert metrics.get(name, route="none", method="none", status="405") == 1
    assert metrics.get(name, route="/api", method="GET", status="200") == 1
    assert metrics.get("elara_http_request_duration_seconds_count", route="/api/kernels/{kernel_id}", method="GET") == 3
    assert "a-b-c-d-e" not in metrics.text and "nowhere" not in metrics.text
    assert Metrics(gateway).get(name, route="/metrics", method="GET", status="200") == 1


def test_labels_are_bounded(start_gateway, specs):
    for number in range(130):
        specs.stub(f"spec-{number}", logo=False)
    gateway = start_gateway()
    metrics = Metrics(gateway)
    named = {dict(labels)["kernelspec"] for (name, labels) in metrics.samples if name == "elara_kernels"}
    assert len(named) <= 101
    last = sorted(gateway.get("/api/kernelspecs").json()["kernelspecs"])
    kernel_id = gateway.start_kernel(next(name for name in last if name not in named))["id"]
    gateway.wait_for_state(kernel_id, "idle")
    assert Metrics(gateway).get("elara_kernels", kernelspec="other", state="idle") == 1
    gateway.delete(f"/api/kernels/{kernel_id}")


def test_the_process(gateway):
    metrics = Metrics(gateway)
    pid = gateway.process.pid
    assert 1 << 20 < metrics.get("process_resident_memory_bytes") <= metrics.get("process_virtual_memory_bytes")
    assert 5 < metrics.get("process_open_fds") < metrics.get("process_max_fds")
    assert metrics.get("process_cpu_seconds_total") > 0
    with open(f"/proc/{pid}/stat") as stat, open("/proc/stat") as system:
        ticks = int(stat.read().rsplit(")", 1)[1].split()[19])
        boot = next(int(line.split()[1]) for line in system if line.startswith("btime"))
    assert abs(metrics.get("process_start_time_seconds") - (boot + ticks / 100)) < 10
    version = gateway.get("/api").json()["gateway_version"]
    assert metrics.get("elara_build_info", version=version) == 1


def test_who_may_read_it(start_gateway, tmp_path, build):
    made = subprocess.run([build / "elara", "token", "new", "alice"], capture_output=True, text=True, timeout=20)
    assert made.returncode == 0, made.stderr
    token, line = (re.search(rf"^{name}: +(\S+)$", made.stdout, re.MULTILINE)[1] for name in ("token", "line"))
    tokens = tmp_path / "tokens"
    tokens.write_text(line + "\n")
    tokens.chmod(0o600)
    gateway = start_gateway("--auth-token-file", str(tokens), token="the-admin")
    assert requests.get(gateway.base + "/metrics", timeout=10).status_code == 401
    refused = requests.get(gateway.base + "/metrics", headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert refused.status_code == 403 and "the role metrics, viewer or admin" in refused.json()["message"]
    assert Metrics(gateway).get("elara_adopting") == 0
    public = start_gateway("--metrics-public", "true", token="the-admin")
    assert requests.get(public.base + "/metrics", timeout=10).status_code == 200
    assert requests.get(public.base + "/api/kernels", timeout=10).status_code == 401


def test_culls_by_rule(start_gateway):
    gateway = start_gateway("--cull-interval", "100ms", "--cull-idle-timeout", "1s", "--cull-warn-before", "500ms")
    metrics = Metrics(gateway)
    told = {dict(labels)["rule"] for (name, labels) in metrics.samples if name == "elara_culled_kernels_total"}
    assert len(told) == 6 and "idle" in told and metrics.total("elara_culled_kernels_total") == 0
    kernel_id = gateway.start_kernel()["id"]
    wait_until(lambda: gateway.get(f"/api/kernels/{kernel_id}").status_code == 404, 30, "its end")
    metrics = Metrics(gateway)
    assert metrics.get("elara_culled_kernels_total", rule="idle") == 1
    assert metrics.total("elara_culled_kernels_total") == 1
    assert metrics.get("elara_cull_warnings_total") == 1
    assert metrics.get("elara_culling_last_pass_duration_seconds") < 60


def test_broken_settings_are_seen(start_gateway, tmp_path):
    config = tmp_path / "elara.yaml"
    config.write_text("max_kernels: 5\n")
    gateway = start_gateway("--config", str(config))
    assert Metrics(gateway).get("elara_settings_problem") == 0
    config.write_text("max_kernels: many\n")
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: Metrics(gateway).get("elara_settings_problem") == 1, 10, "the problem")
    config.write_text("max_kernels: 5\nmetrics_public: true\n")
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: Metrics(gateway).get("elara_settings_pending") == 1, 10, "what waits for a restart")
    assert Metrics(gateway).get("elara_settings_problem") == 0
