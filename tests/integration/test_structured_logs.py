"""--log-format json: every line that the gateway and its launchers log is one JSON object, and holds no secret."""
import json
import re
import signal
import subprocess

import pytest
import requests
from support.processes import wait_until

TOKEN = "tok-5b1e92d0c7"
MEMBERS = {"ts", "level", "area", "kernel_id", "message"}
LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR"}


def check_lines(text):
    """The entries; each line is one."""
    entries = []
    for line in text.splitlines():
        entry = json.loads(line)
        assert {"ts", "level", "area", "message"} <= set(entry) <= MEMBERS, line
        assert all(isinstance(value, str) for value in entry.values()), line
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", entry["ts"]), line
        assert entry["level"] in LEVELS, line
        entries.append(entry)
    return entries


def use_everything(gateway, connect):
    """A kernel's life with all that is logged: the launcher's log goes with the kernel, so it is given back first."""
    kernel_id = gateway.start_kernel()["id"]
    client = connect(gateway, kernel_id)
    assert client.run_cell("print hello").text() == "hello\n"
    assert gateway.post(f"/api/kernels/{kernel_id}/interrupt").status_code == 204
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    assert client.run_cell("print again").text() == "again\n"
    requests.get(gateway.base + '/api/kernels/a"b\\c%0a?token=' + TOKEN, timeout=10)
    requests.get(gateway.base + "/api/kernels?token=wrong", timeout=10)
    requests.get(gateway.base + "/api", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
    client.send_frame("{not JSON")
    client.expect_close()
    launcher_log = wait_until(lambda: (gateway.kernel_directory(kernel_id) / "launcher.log").read_text(), 10, "its log")
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    return kernel_id, launcher_log


def test_every_line_is_json_and_no_token_is_in_any(start_gateway, connect):
    gateway = start_gateway("--log-format", "json", "--log-level", "DEBUG", token=TOKEN,
                            environment={"EG_NO_SUCH_SETTING": "1"})
    kernel_id, launcher_log = use_everything(gateway, connect)
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP" in gateway.log(), 10, "the reload")
    gateway.stop()
    entries = check_lines(gateway.log())
    assert any("EG_NO_SUCH_SETTING" in entry["message"] for entry in entries), "warned about before anything else"
    assert entries[-1]["message"] == "ended"
    own = [entry for entry in entries if entry.get("kernel_id") == kernel_id]
    assert any(entry["message"].startswith("POST ") for entry in own), "requests about a kernel name it"
    assert any(entry["area"].startswith("gateway/kernel") for entry in own)
    assert not any(entry["message"].startswith("kernel ") for entry in own), "the id is a member of its own"
    launched = check_lines(launcher_log)
    assert launched and all(entry["kernel_id"] == kernel_id for entry in launched)
    assert TOKEN not in gateway.log() and TOKEN not in launcher_log


def test_the_format_can_be_changed_without_a_restart(start_gateway, tmp_path):
    config = tmp_path / "elara.yaml"
    config.write_text("log_format: text\n")
    gateway = start_gateway("--config", str(config))
    with pytest.raises(ValueError):
        check_lines(gateway.log())
    config.write_text("log_format: json\n")
    before = len(gateway.log())
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: gateway.get("/api/kernels/none").status_code == 404 and "{" in gateway.log()[before:], 10, "JSON")
    gateway.stop()
    lines = gateway.log()[before:]
    assert check_lines(lines[lines.index("{"):])


def test_a_gateway_that_cannot_start_says_so_in_json(build):
    refused = subprocess.run([build / "elara-gateway", "--log-format", "json", "--port", "0", "--certfile",
                              "/nowhere"], capture_output=True, text=True, timeout=20)
    assert refused.returncode == 1
    entries = check_lines(refused.stderr)
    assert entries[-1]["level"] == "ERROR" and "/nowhere" in entries[-1]["message"]


def test_another_format_is_refused(build):
    refused = subprocess.run([build / "elara-gateway", "--log-format", "xml"], capture_output=True, text=True, timeout=10)
    assert refused.returncode == 1 and "log-format" in refused.stderr and "text" in refused.stderr
