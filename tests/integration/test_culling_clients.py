"""The policy with the clients and kernels that people have: jupyter_server, papermill, ipywidgets, ipykernel.

What has to stay is seen to stay by a witness: a kernel younger than it that nobody uses, and that the policy has ended.
"""
import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest

from support.client import Client
from support.notebook_server import Server
from support.processes import wait_until
from test_culling import QUICK, wait_for_end, why
from test_jupyter_server import PAPERMILL, cell

pytestmark = pytest.mark.timeout(240)  # a notebook server takes its time to start, and 30 s to be missed

LIMIT_S = 3  # a machine that tests are hard on does not tell everything within a second
OFF = {**QUICK, "ELARA_CULL_IDLE_TIMEOUT": "0"}
IDLE = {**QUICK, "ELARA_CULL_IDLE_TIMEOUT": f"{LIMIT_S}s"}
DETACHED = {**OFF, "ELARA_CULL_DETACHED_TIMEOUT": f"{LIMIT_S}s"}


@pytest.fixture
def start_server(tmp_path):
    """start_server(gateway): a jupyter_server in front of it."""
    started = []

    def start(gateway):
        started.append(Server(gateway, tmp_path, JUPYTER_GATEWAY_RETRY_INTERVAL="0.2"))
        return started[-1]

    yield start
    for server in started:
        server.process.send_signal(signal.SIGCONT)
        server.stop()


def notebook(server, name="python3"):
    """The id of a notebook's kernel."""
    answer = server.request("POST", "/api/kernels", json={"name": name})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def outlive_a_witness(gateway, kernel_id):
    """What is decided of the kernel once one that began to be idle later has gone."""
    wait_for_end(gateway, gateway.start_kernel()["id"], 60)
    found = why(gateway, kernel_id)
    assert found["verdict"] == "keep" and found["fresh"], found
    return found


def wait_until_older(gateway, kernel_id, ms):
    """What is decided of a kernel whose state is that old."""
    return wait_until(lambda: (w := why(gateway, kernel_id))["inputs"]["state_for_ms"] > ms and w, 60, "a state that old")


# -- who is there --

def test_a_notebook_server_keeps_its_kernel_until_it_sleeps(start_gateway, start_server, connect):
    """A laptop whose lid is closed, with the notebook server on it: its sockets stay open, and for 30 s no ping is answered."""
    gateway = start_gateway(environment=IDLE | {"ELARA_WS_PING_INTERVAL": "1s"})
    server = start_server(gateway)
    kernel_id = notebook(server)
    connect(server, kernel_id).run_cell("1", timeout=60)
    found = wait_until_older(gateway, kernel_id, 2000 * LIMIT_S)
    assert found["text"] == "It is kept: somebody is connected to it."
    server.process.send_signal(signal.SIGSTOP)
    assert "nobody was connected" in wait_for_end(gateway, kernel_id, 60)["reason"]


def test_a_culled_kernel_is_dropped_and_the_next_one_is_new(start_gateway, start_server, connect):
    """As JupyterLab has it: the notebook server polls, the session goes, the next run asks for a kernel. Nothing is restored."""
    gateway = start_gateway(environment=IDLE)
    server = start_server(gateway)
    wanted = {"path": "a.ipynb", "type": "notebook", "name": "", "kernel": {"name": "python3"}}
    earlier = server.request("POST", "/api/sessions", json=wanted).json()
    kernel_id = earlier["kernel"]["id"]
    client = connect(server, kernel_id)
    client.run_cell("kept = 42", timeout=60)
    client.close()
    wait_for_end(gateway, kernel_id, 60)
    wait_until(lambda: server.request("GET", "/api/kernels").json() == [], 60, "the notebook server's poll")
    assert server.request("GET", "/api/sessions").json() == []
    assert server.request("GET", f"/api/kernels/{kernel_id}").status_code == 404
    later = server.request("POST", "/api/sessions", json=wanted).json()
    assert later["id"] != earlier["id"] and later["kernel"]["id"] != kernel_id
    cell = connect(server, later["kernel"]["id"]).run_cell("print('kept' in globals())", timeout=60)
    assert cell.text() == "False\n"
    assert cell.text("stderr").startswith("[elara] The kernel that was here before was ended on 20")


def test_a_killed_notebook_server_leaves_what_runs(start_gateway, start_server, connect, tmp_path):
    """What is idle goes, and what asks a user who is not there any more; what runs goes on to its end, and has its time then."""
    gateway = start_gateway(environment=DETACHED)
    server = start_server(gateway)
    idle, asks, runs = (notebook(server) for _ in range(3))
    go = tmp_path / "go"
    ran, asking, running = (connect(server, kernel_id, timeout=60) for kernel_id in (idle, asks, runs))  # before one is ended
    ran.run_cell("1", timeout=60)
    asking.send_execute("input('name? ')")
    asking.receive_until(lambda m: m["header"]["msg_type"] == "input_request", 60)
    running.send_execute(f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.1)")
    gateway.wait_for_state(runs, "busy", timeout=60)
    assert outlive_a_witness(gateway, idle)["rule"] == "none"
    found = why(gateway, asks)
    assert found["inputs"]["waits_for_input"] and found["text"] == "It is kept: its cell waits for input."
    server.kill()
    for kernel_id in (idle, asks):
        assert "nobody was connected and nothing ran" in wait_for_end(gateway, kernel_id, 60)["reason"]
    found = outlive_a_witness(gateway, runs)
    assert found["inputs"]["unattached_for_ms"] > 1000 * LIMIT_S and found["text"] == "It is kept: it is busy."
    go.touch()
    assert "nothing ran" in wait_for_end(gateway, runs, 60)["reason"]


SLOW_STORAGE = """
import os, time
from papermill.iorw import LocalHandler, papermill_io
class Slow(LocalHandler):
    def write(self, text, path):
        super().write(text, path.removeprefix("slow:"))
        if "\\"'first'\\"" in text and not os.path.exists("between"):
            open("between", "w").close()
            while not os.path.exists("go"): time.sleep(0.05)
papermill_io.register("slow:", Slow())
""" + PAPERMILL.replace("sys.argv[2]", "'slow:' + sys.argv[2]")


def test_papermill_keeps_its_kernel_between_cells(start_gateway, tmp_path):
    """It waits for its storage, which takes the notebook after each cell."""
    gateway = start_gateway(environment=IDLE)
    cells = [cell("n = 1", tags=["parameters"]), cell("kept = n; 'first'"), cell("kept * 7")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}), tmp_path / "in.ipynb")
    command = [sys.executable, "-c", SLOW_STORAGE, "in.ipynb", "out.ipynb"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "JUPYTER_GATEWAY_URL": gateway.base, "HOME": str(tmp_path)}) as papermill:
        try:
            wait_until((tmp_path / "between").exists, 90, "the end of the first cell")
            [model] = gateway.get("/api/kernels").json()
            found = wait_until_older(gateway, model["id"], 2000 * LIMIT_S)
            assert found["inputs"]["state"] == "idle" and found["text"] == "It is kept: somebody is connected to it."
            (tmp_path / "go").touch()
            assert papermill.wait(90) == 0, papermill.stderr.read()[-3000:]
        finally:
            papermill.kill()
    done = nbformat.read(tmp_path / "out.ipynb", 4)
    assert done.cells[-1].outputs[0].data["text/plain"] == "42"


# -- what is work --

# It ends with its parent, which a test may have killed.
CHILD = ("import os, subprocess, sys\n"
         "subprocess.run([sys.executable, '-c', f'import os\\nwhile os.getppid() == {os.getpid()}: pass'])")


def test_a_sleeping_cell_stays_unless_the_stalled_rule_is_on(start_gateway, connect, tmp_path):
    """And a cell stays under it that does nothing itself, but waits for a program that computes."""
    config = tmp_path / "elara.yaml"
    config.write_text("cull_interval: 100ms\ncull_warn_before: 0\n"
                      f"cull_idle_timeout: {LIMIT_S}s\ncull_detached_timeout: {LIMIT_S}s\n")
    gateway = start_gateway("--config", str(config))
    sleeps, works = (gateway.start_kernel("python3")["id"] for _ in range(2))
    for kernel_id, code in ((sleeps, "import time; time.sleep(600)"), (works, CHILD)):
        client = connect(gateway, kernel_id, timeout=60)
        client.run_cell("1")
        client.send_execute(code)
        gateway.wait_for_state(kernel_id, "busy", timeout=60)
        client.drop()
    assert outlive_a_witness(gateway, sleeps)["text"] == "It is kept: it is busy."
    config.write_text(config.read_text() + "cull_stalled_timeout: 6s\n")
    gateway.process.send_signal(signal.SIGHUP)
    assert "without output and without using the CPU; the limit is 6 s" in wait_for_end(gateway, sleeps, 60)["reason"]
    found = wait_until_older(gateway, works, 8000)
    assert found["verdict"] == "keep" and found["rule"] == "stalled" and found["inputs"]["at_rest_for_ms"] < 6000


@pytest.mark.parametrize("what, sign, limit_s", [  # on a busy machine a second of CPU takes some
    ("print('.', flush=True); time.sleep(0.2)", "silent_for_ms", LIMIT_S), ("sum(range(100_000))", "at_rest_for_ms", 10)],
                         ids=["prints", "computes"])
def test_a_thread_that_goes_on_behind_an_idle_prompt_keeps_its_kernel(start_gateway, connect, tmp_path, what, sign, limit_s):
    gateway = start_gateway(environment=IDLE | {"ELARA_CULL_IDLE_TIMEOUT": f"{limit_s}s"})
    kernel_id = gateway.start_kernel("python3")["id"]
    end = tmp_path / "end"
    with Client(gateway, kernel_id, timeout=60) as client:
        client.run_cell(f"import os, threading, time\ndef work():\n    while not os.path.exists({str(end)!r}):\n        {what}\n"
                        "threading.Thread(target=work).start()")
    found = wait_until_older(gateway, kernel_id, 2000 * limit_s)
    assert found["inputs"]["state"] == "idle" and found["inputs"]["unattached_for_ms"] > 1000 * limit_s
    assert found["inputs"][sign] < 1000 * limit_s and found["verdict"] == "keep" and found["rule"] == "idle"
    end.touch()
    assert "nobody was connected" in wait_for_end(gateway, kernel_id, 60)["reason"]


# -- what is noise --

SLIDER = "from ipywidgets import IntSlider\nslider = IntSlider()\nprint(slider.comm.comm_id)"


def test_a_widgets_heartbeat_keeps_no_kernel(start_gateway, connect):
    """A page that nobody looks at, whose widget tells the kernel its value again and again."""
    gateway = start_gateway(environment=IDLE | {"ELARA_CULL_CONNECTED": "true"})
    kernel_id = gateway.start_kernel("python3")["id"]
    client = connect(gateway, kernel_id, timeout=60)
    comm_id = client.run_cell(SLIDER).text().strip()
    answered, text = 0, None
    while text is None:
        assert answered < 200, "it lives on its heartbeat"
        time.sleep(0.2)  # a heartbeat, not a wait
        update = client.send("comm_msg", {"comm_id": comm_id, "data": {
            "method": "update", "state": {"value": answered % 100}, "buffer_paths": []}})
        heard = client.receive_until(lambda m: m["header"]["msg_type"] == "stream" or m["parent_header"].get("msg_id") == update
                                     and m["content"].get("execution_state") == "idle")
        text = heard["content"].get("text")
        answered += 1
    assert answered > 3 and "though somebody was connected" in text
    wait_for_end(gateway, kernel_id, 60)


def test_a_kernel_nobody_came_to_goes_and_one_that_was_used_stays(start_gateway, connect):
    gateway = start_gateway(environment={**OFF, "ELARA_CULL_UNATTACHED_TIMEOUT": "5s"})
    used = gateway.start_kernel()["id"]
    client = connect(gateway, used)
    client.run_cell("print x")
    client.close()
    for pid in gateway.launcher_pids(used):  # the next one knows it, too
        os.kill(pid, signal.SIGKILL)
    unused = gateway.start_kernel()["id"]
    ended = wait_for_end(gateway, unused)
    assert "nobody connected to it in the " in ended["reason"] and ended["reason"].endswith("the limit is 5 s (cull-unattached-timeout).")
    assert gateway.get("/api/elara/status").json()["culling"]["culled"]["unattached"] == 1
    gateway.wait_for_state(used, "idle", timeout=60)
    found = wait_until(lambda: (w := why(gateway, used))["inputs"] and w, 60, "what the launcher knows")
    assert (found["verdict"], found["rule"], found["inputs"]["was_attached"]) == ("keep", "none", True)
