"""manifests/monitoring: the alerts by Prometheus' own promtool, and both by what a gateway's /metrics has."""
import json
import pathlib
import re
import subprocess

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support.processes import free_port, wait_until

MONITORING = pathlib.Path(__file__).parents[2] / "manifests" / "monitoring"
RULES = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["spec"]
BOARD = json.loads((MONITORING / "dashboard.json").read_text())
PAGE = (MONITORING.parents[1] / "docs" / "operations.md").read_text().split("\n## Alerts\n")[1].split("\n## ")[0]
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
OF_PROMETHEUS = {"job", "instance"}  # labels that it adds to all
A, B = '{job="elara", instance="a"}', '{job="elara", instance="b"}'
OF_A = {"job": "elara", "instance": "a"}
OF_JOB = {"job": "elara"}


def labelled(name, labels, of=A):
    return f"{name}{{{labels}, {of[1:]}"


BUILD = labelled("elara_build_info", 'version="1"')
BUILD_B = labelled("elara_build_info", 'version="1"', B)
STARTS = "elara_kernel_start_duration_seconds"
FAILED, READY = (labelled(f"{STARTS}_count", f'kind="start", outcome="{outcome}"') for outcome in ("failed", "ready"))


def buckets(name, bounds, labels=""):
    """{series: values}; bounds: {le: values}"""
    return {labelled(name + "_bucket", f'{labels}le="{bound}"'): values for bound, values in bounds.items()}


# The alert, series by minute, when it is quiet, when it fires, with which labels and summary.
CASES = [
    ("ElaraGone", {BUILD: "1x10 stale", BUILD_B: "1x10 stale"}, ["5m", "14m"], ["16m"], {}, "No gateway answers Prometheus"),
    ("ElaraGone", {BUILD: "1x10 stale", BUILD_B: "1x30"}, ["16m", "30m"], [], {}, ""),
    ("ElaraGatewayDown", {BUILD: "1x10 stale", BUILD_B: "1x30", "up" + A: "1x10 0x20", "up" + B: "1x30", 'up{job="else", instance="c"}': "0x30"},
     ["10m", "15m"], ["16m", "30m"], OF_A, "The gateway a does not answer"),
    ("ElaraRestarts", {BUILD: "1x60", "process_start_time_seconds" + A: "1x9 2x9 3x9 4x9 5x20",
                       'process_start_time_seconds{job="else", instance="c"}': "0+1x60"},
     ["35m"], ["41m"], OF_A, "The gateway a was started 4 times within an hour"),
    ("ElaraAdopts", {"elara_adopting" + A: "0x5 1x10 0x9", "elara_adopting" + B: "1x3 0x20"}, ["5m", "10m", "17m"], ["12m"], OF_A,
     "The gateway a has not found all kernels yet, and answers 503"),
    ("ElaraStartsFail", {FAILED: "0+1x30", READY: "0+1x30"}, ["5m"], ["20m"], OF_JOB, "15 kernels could not start within 15 minutes"),
    ("ElaraStartsFail", {FAILED: "0+1x30", READY: "0+20x30"}, ["20m"], [], {}, ""),
    ("ElaraStartsFail", {FAILED: "0 1 2 3 3x30", READY: "0x30"}, ["10m", "20m"], [], {}, ""),
    ("ElaraStartsSlow", buckets(STARTS, {"60": "0x60", "180": "0+1x60", "+Inf": "0+1x60"}, 'kind="start", outcome="ready", '),
     ["15m"], ["30m"], OF_JOB, "One of ten kernels needs 2m 48s or more to start"),
    ("ElaraStartsSlow", buckets(STARTS, {"60": "0+1x60", "180": "0+1x60", "+Inf": "0+1x60"}, 'kind="start", outcome="ready", '),
     ["30m", "60m"], [], {}, ""),
    ("ElaraKernelsDie", {"elara_kernel_deaths_total" + A: "0+1x30"}, ["5m"], ["20m"], OF_JOB,
     "15 kernels died for good or could not start within 15 minutes"),
    ("ElaraKernelsDie", {"elara_kernel_deaths_total" + A: "0+1x8 8x30"}, ["10m", "20m"], [], {}, ""),
    ("ElaraSlow", buckets("elara_loop_lag_seconds", {"0.25": "0x30", "1": "0+9x30", "+Inf": "0+9x30"}), ["9m"], ["20m"], OF_A,
     "The gateway a is late by 992.5ms"),
    ("ElaraSlow", buckets("elara_loop_lag_seconds", {"0.25": "0+9x30", "1": "0+9x30", "+Inf": "0+9x30"}), ["20m"], [], {}, ""),
    ("ElaraErrors", {labelled("elara_http_requests_total", 'route="/api", method="GET", status="500"'): "0+60x30"}, ["4m"], ["15m"], OF_JOB,
     "Requests are answered with 500 or above, 1 a second"),
    ("ElaraErrors", {labelled("elara_http_requests_total", 'route="/api", method="GET", status="404"'): "0+60x30",
                     labelled("elara_http_requests_total", 'route="/readyz", method="GET", status="503"'): "0+60x30",
                     labelled("elara_http_requests_total", 'route="/api", method="GET", status="500"'): "0+3x30"}, ["15m", "30m"], [], {}, ""),
    ("ElaraRefusesClients", {"elara_http_overload_refusals_total" + A: "0+5x30"}, ["8m"], ["20m"], OF_A,
     "The gateway a refuses clients, because a limit is reached"),
    ("ElaraRefusesClients", {"elara_http_overload_refusals_total" + A: "0+9x5 45x30"}, ["12m", "25m"], [], {}, ""),
    ("ElaraDescriptors", {BUILD: "1x30", "process_open_fds" + A: "5x5 9x20", "process_max_fds" + A: "10x30",
                          'process_open_fds{job="else", instance="c"}': "9x30", 'process_max_fds{job="else", instance="c"}': "10x30"},
     ["5m", "9m"], ["11m"], OF_A, "The gateway a has 90% of its descriptors open"),
    ("ElaraSettingsBroken", {"elara_settings_problem" + A: "0x5 1x10 0x9"}, ["5m", "10m", "17m"], ["12m"], OF_A,
     "The gateway a could not read a file that was changed, and goes on with what was there"),
    ("ElaraSettingsWait", {"elara_settings_pending" + A: "0x5 1x1600"}, ["5m", "23h"], ["25h"], OF_A,
     "A changed setting waits for a restart of the gateway a"),
]


def promtool(*words):
    done = subprocess.run(["promtool", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def times(case):
    """(when, what is expected then)"""
    alert, _, quiet, firing, labels, summary = case
    expected = {"exp_labels": labels | ALERTS[alert]["labels"], "exp_annotations": {"summary": summary}}
    return [(when, []) for when in quiet] + [(when, [expected]) for when in firing]


def test_each_alert_comes_when_it_should_and_not_otherwise(tmp_path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULES))
    tests = [{"interval": "1m", "input_series": [{"series": series, "values": values} for series, values in case[1].items()],
              "alert_rule_test": [{"eval_time": when, "alertname": case[0], "exp_alerts": expected} for when, expected in times(case)]}
             for case in CASES]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", tmp_path / "tests.yaml")
    assert {case[0] for case in CASES if case[2] and case[3]} == set(ALERTS), "each is shown quiet and firing"


def test_the_page_says_what_to_do_about_each_alert():
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == list(ALERTS)


def test_the_page_says_how_they_are_taken_without_the_operator():
    program = re.search(r"    sed '(.+)' manifests/monitoring/alerts.yaml", PAGE)[1]
    made = subprocess.run(["sed", program, MONITORING / "alerts.yaml"], stdout=subprocess.PIPE, check=True, timeout=60)
    assert yaml.safe_load(made.stdout) == RULES


def test_promtool_can_read_each_panel(tmp_path):
    rules = [{"record": f"panel_{panel['id']}_{target['refId']}", "expr": readable(target["expr"])}
             for panel in PANELS for target in panel["targets"]]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "panels.yaml")
    assert len(rules) > 25


def readable(expression):
    """Without Grafana's variables."""
    return expression.replace("$__rate_interval", "5m").replace("$job", "elara")


def used(expression):
    """({metric: labels that it is asked for}, labels that results are grouped by)"""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    metrics = {}
    for name, matchers in re.findall(r"\b(up|(?:elara|process)_\w+)\b(?:\s*\{([^}]*)\})?", bare):
        metrics.setdefault(name, set()).update(re.findall(r"(\w+)\s*[=!]", matchers))
    groups = re.findall(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)", bare)
    return metrics, {label.strip() for group in groups for label in group.split(",")}


def scrape(gateway):
    """{metric: labels} of all that it tells; a histogram's parts by their own names."""
    found = {"up": set()}
    for family in text_string_to_metric_families(gateway.get("/metrics").text):
        found.setdefault(family.name + ("_total" if family.type == "counter" else ""), set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


EXPRESSIONS = [(name, rule["expr"]) for name, rule in ALERTS.items()] + [
    (panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]] + [
    (case[0], " + ".join(case[1])) for case in CASES]


@pytest.fixture(scope="module")
def told(shared_gateway_process):
    shared_gateway_process.get("/api")
    return scrape(shared_gateway_process)


@pytest.mark.parametrize("where, expression", EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_only_what_a_gateway_tells_is_asked_for(where, expression, told):
    metrics, groups = used(expression)
    assert metrics and set(metrics) <= set(told)
    for name, labels in metrics.items():
        assert labels <= told[name] | OF_PROMETHEUS, name
    assert groups <= set().union(OF_PROMETHEUS, *(told[name] for name in metrics))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_what_a_legend_names_is_in_the_result(panel):
    for target in panel["targets"]:
        legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        _, groups = used(target["expr"])
        assert legend <= groups | OF_PROMETHEUS
        if re.match(r"(sum|max|count)\b", target["expr"]):  # it drops what it does not name
            outer = re.match(r"\w+ by \(([^)]*)\)", target["expr"])
            assert legend <= {label.strip() for label in outer[1].split(",")} if outer else not legend


def test_panels_are_told_apart_and_fill_their_lines():
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    squares = [(x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]
    assert len(squares) == len(set(squares)) == 24 * (max(y for _, y in squares) + 1)


class Prometheus:
    """A real one, which reads the gateway once a second. Use it as a context manager."""

    def __init__(self, folder, gateway):
        self.base = f"http://127.0.0.1:{free_port()}"
        job = {"job_name": "elara", "static_configs": [{"targets": [f"127.0.0.1:{gateway.port}"]}],
               "authorization": {"credentials_file": "token"}}
        (folder / "token").write_text(gateway.token)
        (folder / "rules.yaml").write_text(yaml.safe_dump(RULES))
        (folder / "prometheus.yaml").write_text(yaml.safe_dump({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "100ms"},
            "rule_files": ["rules.yaml"], "scrape_configs": [job]}))
        self.command = ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
                        f"--web.listen-address={self.base.removeprefix('http://')}"]
        self.log = folder / "prometheus.log"

    def __enter__(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(self.base + "/-/ready", timeout=10).ok
        except requests.ConnectionError:
            return False

    def ask(self, path, **query):
        answer = requests.get(f"{self.base}/api/v1/{path}", params=query, timeout=10)
        assert answer.ok, answer.text
        return answer.json()["data"]


def test_a_prometheus_takes_the_alerts_and_has_something_for_each_panel(tmp_path, start_gateway):
    gateway = start_gateway(token="secret")
    gateway.wait_for_state(gateway.start_kernel()["id"], "idle")
    with Prometheus(tmp_path, gateway) as prometheus:
        def has_data(expression):
            return prometheus.ask("query", query=readable(expression))["result"]

        def rules():
            return [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        wait_until(prometheus.is_ready, 60, "Prometheus")
        wait_until(lambda: has_data("count_over_time(elara_build_info[1m]) > 1"), 60, "a Prometheus that has read the gateway twice")
        wait_until(lambda: {rule["health"] for rule in rules()} == {"ok"}, 60, "all rules, evaluated")
        wait_until(lambda: not [rule["name"] for rule in rules() if rule["state"] != "inactive"], 60, "quiet")
        local = [target["expr"] for panel in PANELS for target in panel["targets"]
                 if "_swept_" not in target["expr"] and not re.search(r"> 0\)?$", target["expr"])]
        wait_until(lambda: all(has_data(expression) for expression in local), 30, "data for each panel")
        wait_until(lambda: has_data('sum(elara_kernels{job="elara", state="idle"}) == 1'), 30, "the kernel")
        assert len(local) > 20
