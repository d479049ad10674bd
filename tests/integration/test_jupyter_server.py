"""jupyter_server 2.21 as the gateway's client: a real process, nbclient and papermill on its gateway managers."""
import json
import os
import subprocess
import sys
import uuid

import nbformat
import pytest
import requests

from support.client import Client
from support.notebook_server import Server
from support.processes import free_port, wait_until


@pytest.fixture(scope="module")
def server(shared_gateway_process, tmp_path_factory):
    started = Server(shared_gateway_process, tmp_path_factory.mktemp("server"))
    yield started
    started.stop()


@pytest.fixture
def notebook(server, gateway):
    """A session as JupyterLab starts it: its kernel's id."""
    answer = server.request("POST", "/api/sessions", json={"path": f"{uuid.uuid4()}.ipynb", "type": "notebook", "name": "",
                                                           "kernel": {"name": "python3"}})
    assert answer.status_code == 201, answer.text
    yield answer.json()["kernel"]["id"]
    server.request("DELETE", f"/api/sessions/{answer.json()['id']}")


def test_kernelspecs_and_logos_come_through(server):
    specs = server.request("GET", "/api/kernelspecs").json()
    assert {"stub", "python3"} <= set(specs["kernelspecs"]) and specs["default"] == "python3"
    logo = specs["kernelspecs"]["stub"]["resources"]["logo-64x64"]
    assert server.request("GET", logo).content.startswith(b"\x89PNG")
    assert server.request("GET", "/api/kernelspecs/stub").json()["spec"]["display_name"] == "Stub"


def test_notebook_runs_cells(server, notebook):
    with Client(server, notebook) as client:
        assert client.run_cell("print('through')\n1 + 1", timeout=60).text() == "through\n"
        cell = client.run_cell("input('name? ') if False else 6 * 7")
        assert cell.of_type("execute_result")[0]["content"]["data"]["text/plain"] == "42"


def test_kernel_list_and_status_follow(server, gateway, notebook):
    with Client(server, notebook) as client:
        client.run_cell("1", timeout=60)
        models = {model["id"]: model for model in server.request("GET", "/api/kernels").json()}
        assert models[notebook]["name"] == "python3"
        assert server.request("GET", "/api/status").status_code == 200


def test_second_socket_right_behind_the_first_at_kernel_open(server, notebook):
    """What JupyterLab does: it offers v1, the server selects none, it comes again."""
    first = Client(server, notebook, session_id="lab")
    with Client(server, notebook, session_id="lab") as client:
        assert client.kernel_info(timeout=30)["status"] == "ok"
        assert client.run_cell("print('open')", timeout=30).text() == "open\n"
    first.drop()


def test_interrupt_and_restart(server, notebook):
    with Client(server, notebook) as client:
        msg_id = client.send_execute("import time\nprint('go', flush=True)\nwhile True: time.sleep(0.1)")
        client.receive_until(lambda m: m["content"].get("text") == "go\n", timeout=60)
        assert server.request("POST", f"/api/kernels/{notebook}/interrupt", json={}).status_code == 204
        assert client.collect(msg_id).error["ename"] == "KeyboardInterrupt"
        client.run_cell("x = 1")
        assert server.request("POST", f"/api/kernels/{notebook}/restart", json={}).status_code == 200
    with Client(server, notebook) as client:
        assert client.run_cell("x", timeout=60).error["ename"] == "NameError"


def test_killed_kernel_is_explained_in_the_notebook(server, notebook):
    with Client(server, notebook) as client:
        client.run_cell("1", timeout=60)
        client.send_execute("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        notice = client.receive_until(lambda m: m["header"]["msg_type"] == "stream", timeout=20)
        assert notice["content"]["name"] == "stderr" and "SIGKILL" in notice["content"]["text"]
        client.receive_until(lambda m: m["content"].get("execution_state") == "restarting", timeout=20)
        assert client.run_cell("print('again')", timeout=60).text() == "again\n"


def test_widget_buffers_do_not_kill_the_reader(server, notebook):
    code = """
from comm import create_comm
c = create_comm(target_name='t', data={}, buffers=[bytes(range(256))])
c.send(data={'k': 1}, buffers=[b'\\xff' * 1000])
print('sent')
"""
    with Client(server, notebook) as client:
        cell = client.run_cell(code, timeout=60)
        assert "sent\n" in cell.text() and cell.reply["status"] == "ok"
        assert client.run_cell("print('alive')").text() == "alive\n"


def test_binary_message_from_the_browser_reaches_the_kernel(server, notebook):
    """The server forwards it as a text frame that begins with NUL."""
    code = """
from comm import get_comm_manager
def opened(comm, message):
    comm.on_msg(lambda m: print('buffers', [bytes(b) for b in m['buffers']]))
get_comm_manager().register_target('bin', opened)
"""
    with Client(server, notebook) as client:
        client.run_cell(code, timeout=60)
        opened = client.send("comm_open", {"comm_id": "b", "target_name": "bin", "data": {}})
        client.receive_until(lambda m: m["parent_header"].get("msg_id") == opened
                             and m["content"].get("execution_state") == "idle")
        client.send("comm_msg", {"comm_id": "b", "data": {}}, buffers=[b"\xff\x00\xfe"])
        said = client.receive_until(lambda m: m["header"]["msg_type"] == "stream")
        assert said["content"]["text"] == "buffers [b'\\xff\\x00\\xfe']\n"
        assert client.run_cell("print('alive')").text() == "alive\n"


def test_output_above_10_mib_keeps_the_connection(server, notebook):
    with Client(server, notebook) as client:
        cell = client.run_cell("print('x' * 12_000_000)", timeout=90)
        assert len(cell.text()) == 12_000_001
        cell = client.run_cell("from IPython.display import display\ndisplay({'text/plain': 'y' * 12_000_000}, raw=True)",
                               timeout=90)
        assert "MiB" in cell.text("stderr") and cell.reply["status"] == "ok"


def test_reason_of_a_failed_start_reaches_the_first_cell(server, shared_gateway_process, gateway):
    from support.kernelspecs import write_spec
    write_spec(str(gateway.specs), "nowhere", ["/opt/nowhere/bin/python", "{connection_file}"])
    wait_until(lambda: gateway.get("/api/kernelspecs/nowhere").status_code == 200, what="the kernelspec")
    answer = server.request("POST", "/api/kernels", json={"name": "nowhere"})
    assert answer.status_code == 201
    with Client(server, answer.json()["id"]) as client:
        cell = client.run_cell("1", timeout=30)
        assert "/opt/nowhere/bin/python" in cell.error["evalue"]
    assert server.request("DELETE", f"/api/kernels/{answer.json()['id']}").status_code == 204


def test_gateway_that_is_replaced_is_found_again_by_the_server(start_gateway, tmp_path):
    """A rolling update: the notebook stays open, its kernel keeps its variables."""
    first = start_gateway()
    server = Server(first, tmp_path, GATEWAY_RETRY_INTERVAL="0.2", JUPYTER_GATEWAY_RETRY_INTERVAL="0.2")
    try:
        kernel_id = server.request("POST", "/api/kernels", json={"name": "python3"}).json()["id"]
        with Client(server, kernel_id) as client:
            client.run_cell("x = 'kept'", timeout=60)
            first.stop()
            first.start()
            wait_until(lambda: first.model(kernel_id)["connections"] > 0, 20, "the server's return")
            assert client.run_cell("print(x)", timeout=30).text() == "kept\n"
    finally:
        server.stop()


# -- nbclient and papermill on jupyter_server's gateway kernel manager, without a notebook server --

MANAGER = "jupyter_server.gateway.managers.GatewayKernelManager"

NBCLIENT = f"""
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=60, kernel_name="python3", kernel_manager_class="{MANAGER}").execute()
nbformat.write(notebook, sys.argv[2])
"""

PAPERMILL = f"""
import sys, papermill
papermill.execute_notebook(sys.argv[1], sys.argv[2], kernel_name="python3", language="python", parameters={{"n": 6}},
                           progress_bar=False, kernel_manager_class="{MANAGER}")
"""


def run_script(script, gateway, folder, *cells, **environment):
    notebook = nbformat.v4.new_notebook(cells=list(cells), metadata={
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    nbformat.write(notebook, folder / "in.ipynb")
    done = subprocess.run([sys.executable, "-c", script, "in.ipynb", "out.ipynb"], cwd=folder, capture_output=True, text=True,
                          timeout=100, env={**os.environ, "JUPYTER_GATEWAY_URL": gateway.base, "HOME": str(folder),
                                            **environment})
    return done, (nbformat.read(folder / "out.ipynb", 4) if done.returncode == 0 else None)


def cell(source, **metadata):
    return nbformat.v4.new_code_cell(source, metadata=metadata)


def test_nbclient_executes_a_notebook(gateway, tmp_path):
    done, notebook = run_script(NBCLIENT, gateway, tmp_path, cell("print('out')"), cell("import sys; print('err', file=sys.stderr)"),
                                cell("6 * 7"), cell("from IPython.display import display; display('shown')"))
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = [one.outputs[0] for one in notebook.cells]
    assert outputs[0].text == "out\n" and outputs[1].text == "err\n"
    assert outputs[2].data["text/plain"] == "42" and outputs[3].data["text/plain"] == "'shown'"


def test_nbclient_waits_for_a_kernel_that_starts_slowly(start_gateway, specs, tmp_path):
    """It fails by itself when a kernel takes more than a second for its first answer."""
    slowly = "import runpy, time; time.sleep(2); runpy.run_module('ipykernel_launcher', run_name='__main__')"
    specs.add("python3", [sys.executable, "-c", slowly, "-f", "{connection_file}"], language="python")
    done, notebook = run_script(NBCLIENT, start_gateway(), tmp_path, cell("6 * 7"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert notebook.cells[0].outputs[0].data["text/plain"] == "42"


def test_nbclient_sees_a_cells_error(gateway, tmp_path):
    done, _ = run_script(NBCLIENT, gateway, tmp_path, cell("raise ValueError('on purpose')"))
    assert done.returncode != 0 and "on purpose" in done.stderr


def test_papermill_executes_a_notebook_with_parameters(gateway, tmp_path):
    done, notebook = run_script(PAPERMILL, gateway, tmp_path, cell("n = 1", tags=["parameters"]), cell("print(n * 7)"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert notebook.cells[-1].outputs[0].text == "42\n"


def test_nbclient_without_a_token_on_its_websocket_is_told_what_to_do(start_gateway, tmp_path):
    gateway = start_gateway(token="needed")
    done, _ = run_script(NBCLIENT, gateway, tmp_path, cell("1"), JUPYTER_GATEWAY_AUTH_TOKEN="needed")
    assert done.returncode != 0
    told = "no token was sent, and nbclient, nbconvert and papermill cannot send one on their WebSocket: start a second gateway"
    assert "Handshake status 401" in done.stderr and told in done.stderr
    line, = [line for line in gateway.log().splitlines() if "/channels" in line]
    assert " INFO " in line and "-> 401 in " in line and told in line and "docs/security.md" in line
