"""--event-log: what happens to kernels, as jupyter_events' own package would write it."""
import io
import json
import logging
import os
import signal
import subprocess
from datetime import datetime
from pathlib import Path

import jsonschema
import pytest
import yaml
from jupyter_events import EventLogger
from jupyter_events.validators import JUPYTER_EVENTS_CORE_VALIDATOR
from support.processes import wait_until

SCHEMAS = sorted((Path(__file__).resolve().parents[2] / "docs" / "events").glob("*.yaml"))


@pytest.fixture
def reference():
    """jupyter_events with our schemas: it refuses a bad schema and an event that does not keep to it."""
    output = io.StringIO()
    logger = EventLogger(handlers=[logging.StreamHandler(output)])
    for path in SCHEMAS:
        logger.register_event_schema(path)

    def emit(schema, data):
        output.truncate(output.seek(0))
        assert logger.emit(schema_id=schema, data=data) is not None
        return json.loads(output.getvalue())

    return emit


def check(line, reference):
    """One event, checked against its schema and against what the package makes of the same data."""
    event = json.loads(line)
    JUPYTER_EVENTS_CORE_VALIDATOR.validate(event)
    data = {name: value for name, value in event.items() if not name.startswith("__")}
    theirs = reference(event["__schema__"], data)
    assert {name: event[name] for name in theirs if name != "__timestamp__"} == {
        name: theirs[name] for name in theirs if name != "__timestamp__"}
    assert set(event) == set(theirs)
    assert event["__timestamp__"].endswith("Z")
    datetime.fromisoformat(event["__timestamp__"][:-1])
    return event


def events(path, reference):
    text = path.read_text()
    assert text == "" or text.endswith("\n")
    return [check(line, reference) for line in text.splitlines()]


def actions(path, reference, kernel_id):
    return [event["action"] for event in events(path, reference) if event["kernel_id"] == kernel_id]


def test_schemas_are_valid():
    assert len(SCHEMAS) == 2
    for path in SCHEMAS:
        schema = yaml.safe_load(path.read_text())
        jsonschema.Draft7Validator.check_schema(schema)
        assert schema["$id"] == f"urn:elara:events:{path.stem}:v{schema['version']}"
        assert set(schema["required"]) <= set(schema["properties"])


def test_a_kernels_life(start_gateway, specs, tmp_path, reference):
    specs.add("broken", ["/nowhere/at/all"])
    specs.add("talks", ["/bin/sh", "-c", "echo the salary is 4711; echo giving up; exit 3", "{connection_file}"])
    path = tmp_path / "events.jsonl"
    gateway = start_gateway("--event-log", str(path), token="tok-77aa01")
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    gateway.post(f"/api/kernels/{kernel_id}/interrupt")
    gateway.post(f"/api/kernels/{kernel_id}/restart")
    gateway.wait_for_state(kernel_id, "idle")
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    assert actions(path, reference, kernel_id) == ["start", "ready", "interrupt", "restart", "ready", "shutdown"]
    broken = gateway.start_kernel("broken")["id"]
    gateway.wait_for_state(broken, "dead")
    assert actions(path, reference, broken) == ["start", "dead"]
    found = events(path, reference)
    assert "/nowhere/at/all" in next(event["msg"] for event in found if event["action"] == "dead")
    assert {event["kernel_name"] for event in found} == {"stub", "broken"}
    talks = gateway.start_kernel("talks")["id"]
    gateway.wait_for_state(talks, "dead")
    assert "4711" in gateway.model(talks)["reason"]  # its user is told
    gateway.delete(f"/api/kernels/{talks}")
    assert "exited with code 3" in path.read_text() and "4711" not in path.read_text()
    assert "tok-77aa01" not in path.read_text()


def test_what_was_found_is_no_event(start_gateway, tmp_path, reference):
    path = tmp_path / "events.jsonl"
    gateway = start_gateway("--event-log", str(path))
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    before = path.read_text()
    gateway.kill()
    gateway.start()
    gateway.wait_for_state(kernel_id, "idle")
    assert path.read_text() == before, "appended to, and nothing is told twice"
    gateway.delete(f"/api/kernels/{kernel_id}")
    assert actions(path, reference, kernel_id)[-1] == "shutdown"


def test_a_process_that_died_is_started_again(start_gateway, tmp_path, reference):
    path = tmp_path / "events.jsonl"
    gateway = start_gateway("--event-log", str(path))
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    os.kill(gateway.kernel_pids(kernel_id)[0], signal.SIGKILL)
    wait_until(lambda: actions(path, reference, kernel_id) == ["start", "ready", "restart", "ready"], 20, "its restart")
    gateway.delete(f"/api/kernels/{kernel_id}")


def test_logrotate(start_gateway, tmp_path, reference):
    path, rotated = tmp_path / "events.jsonl", tmp_path / "events.jsonl.1"
    gateway = start_gateway("--event-log", str(path))
    first = gateway.start_kernel()["id"]
    gateway.wait_for_state(first, "idle")
    os.rename(path, rotated)
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(path.exists, 10, "the new file")
    second = gateway.start_kernel()["id"]
    gateway.wait_for_state(second, "idle")
    assert actions(rotated, reference, first) == ["start", "ready"]
    assert actions(path, reference, second) == ["start", "ready"] and actions(path, reference, first) == []
    for kernel_id in (first, second):
        gateway.delete(f"/api/kernels/{kernel_id}")


def test_a_cull_is_told_with_its_rule_and_reason(start_gateway, connect, tmp_path, reference):
    path = tmp_path / "events.jsonl"
    gateway = start_gateway("--event-log", str(path), "--cull-interval", "100ms", "--cull-idle-timeout", "2s",
                            "--cull-warn-before", "1s", "--cull-connected", "true")
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    client.run_cell("print hello")
    wait_until(lambda: gateway.get(f"/api/kernels/{kernel_id}").status_code == 404, 30, "its end")
    told = [event for event in events(path, reference) if event["action"] not in ("start", "ready")]
    assert [event["action"] for event in told] == ["warned", "culled", "shutdown"]
    warned, culled, shutdown = told
    assert warned["__schema__"] == culled["__schema__"] == "urn:elara:events:kernel_culling:v1"
    assert warned["rule"] == culled["rule"] and warned["rule"].startswith("idle")
    assert 0 < warned["in_ms"] <= 1000 and "in_ms" not in culled
    assert "idle" in warned["msg"] and "idle" in culled["msg"] and "idle" in shutdown["msg"]
    assert {event["owner"] for event in told} == {told[0]["owner"]} and told[0]["kernel_name"] == "stub"


def test_a_file_that_cannot_be_is_refused(build, tmp_path):
    refused = subprocess.run([build / "elara-gateway", "--event-log", "/nowhere/events", "--port", "0"],
                             capture_output=True, text=True, timeout=20)
    assert refused.returncode == 1 and "event-log" in refused.stderr and "/nowhere/events" in refused.stderr


def test_a_full_disk_stops_nothing(start_gateway, tmp_path):
    gateway = start_gateway("--event-log", "/dev/full")
    kernel_id = gateway.start_kernel()["id"]
    gateway.wait_for_state(kernel_id, "idle")
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    assert gateway.log().count("events are lost") == 1
