"""Kernels as they are: ipykernel 7 and 6, xpython, IRkernel, bash_kernel."""
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from support.environments import python_environment
from support.kernelspecs import Specs
from support.processes import Gateway


@dataclass
class Language:
    hello: str
    loop: str
    raises: str
    error: str  # in its error message
    ask: str = ""
    prompt: str = ""
    info: str = "python"
    extra: dict = field(default_factory=dict)


PYTHON = Language(hello="print('hello')", loop="import time\nprint('go', flush=True)\nwhile True: time.sleep(0.05)",
                  raises="1/0", error="ZeroDivisionError", ask="print('got', input('who? '))", prompt="who? ")
KERNELS = {
    "ipykernel-7": PYTHON,
    "ipykernel-6": PYTHON,
    "xpython": PYTHON,
    "ir": Language(hello="cat('hello\\n')", loop="cat('go\\n'); flush.console(); repeat Sys.sleep(0.05)",
                   raises="stop('on purpose')", error="on purpose", ask="cat('got', readline('who? '), '\\n')",
                   prompt="who? ", info="R"),
    # The loop forks nothing: bash loses an interrupt that reaches its child between fork and exec.
    "bash": Language(hello="echo hello", loop="echo go; while true; do :; done", raises="false", error="1", info="bash"),
}


def add_kernel(specs, name):
    if name == "ipykernel-7":
        return specs.python(name)
    if name == "ipykernel-6":
        return specs.python(name, python_environment("requirements-ipykernel6.txt"))
    if name == "bash":
        return specs.add(name, [sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"], language="bash",
                         env={"PS1": "$"})
    program = {"xpython": "xpython", "ir": "R"}[name]
    if shutil.which(program) is None:
        pytest.skip(f"machine limit: {program} is not installed (Debian's {'r-cran-irkernel' if name == 'ir' else name})")
    argv = {"xpython": ["xpython", "-f", "{connection_file}"],
            "ir": ["R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"]}[name]
    return specs.add(name, argv, language=KERNELS[name].info)


@pytest.fixture(scope="module", params=KERNELS)
def real(request, build, tmp_path_factory):
    """(gateway, kernel id, language) of one kernel for the module's tests."""
    specs = Specs(tmp_path_factory.mktemp("real") / "kernels", build)
    add_kernel(specs, request.param)
    with Gateway(build, specs) as gateway:
        kernel_id = gateway.start_kernel(request.param)["id"]
        yield gateway, kernel_id, KERNELS[request.param]


@pytest.fixture(params=[False, True], ids=["legacy", "v1"])
def session(request, real, connect):
    gateway, kernel_id, language = real
    client = connect(gateway, kernel_id, v1=request.param, timeout=60)
    assert client.kernel_info(timeout=60)["status"] == "ok"
    return gateway, kernel_id, language, client


def test_names_its_language(session):
    _, _, language, client = session
    assert client.kernel_info()["language_info"]["name"].lower() == language.info.lower()


def test_runs_a_cell(session):
    _, _, language, client = session
    for _ in range(3):
        cell = client.run_cell(language.hello)
        assert cell.text() == "hello\n" and cell.reply["status"] == "ok"
        assert cell.states[0] == "busy" and cell.states[-1] == "idle"


def test_error_reaches_the_client(session):
    _, _, language, client = session
    cell = client.run_cell(language.raises)
    assert cell.reply["status"] == "error" and language.error in cell.everything()


@pytest.mark.parametrize("real", [name for name, language in KERNELS.items() if language.ask], indirect=True)  # bash has no input()
def test_input(session):
    _, _, language, client = session
    msg_id = client.send_execute(language.ask)
    question = client.receive_until(lambda m: m["header"]["msg_type"] == "input_request")
    assert question["content"]["prompt"] == language.prompt
    client.send("input_reply", {"value": "Ada", "status": "ok"}, channel="stdin", parent=question["header"])
    assert "got Ada" in client.collect(msg_id).text()


def test_interrupt_ends_a_loop(session):
    gateway, kernel_id, language, client = session
    msg_id = client.send_execute(language.loop)
    client.receive_until(lambda m: "go" in m["content"].get("text", ""))
    assert gateway.post(f"/api/kernels/{kernel_id}/interrupt", json={}).status_code == 204
    cell = client.collect(msg_id, timeout=20)
    assert cell.reply["status"] in ("error", "abort", "aborted")
    assert client.run_cell(language.hello).text().endswith("hello\n")


def test_completion(session):
    _, _, language, client = session
    code = {"python": "pri", "r": "prin", "bash": "ech"}[language.info.lower()]
    msg_id = client.send("complete_request", {"code": code, "cursor_pos": len(code)})
    reply = client.collect(msg_id, reply_type="complete_reply").reply
    assert any(match.startswith(code) for match in reply["matches"])


def test_restart_gives_a_fresh_kernel(session):
    gateway, kernel_id, language, client = session
    client.run_cell(language.hello)
    assert gateway.post(f"/api/kernels/{kernel_id}/restart", json={}, timeout=60).status_code == 200
    cell = client.run_cell(language.hello, timeout=60)
    assert cell.text() == "hello\n"
    assert cell.of_type("execute_input")[0]["content"]["execution_count"] == 1


# -- Python's richer messages --

@pytest.fixture(scope="module")
def python(build, tmp_path_factory):
    specs = Specs(tmp_path_factory.mktemp("python") / "kernels", build)
    specs.python()
    with Gateway(build, specs) as gateway:
        yield gateway, gateway.start_kernel("python3")["id"]


@pytest.fixture
def ipython(python, connect):
    client = connect(*python, timeout=60)
    client.kernel_info(timeout=60)
    return client


def test_plot_arrives_as_an_image(ipython):
    cell = ipython.run_cell("%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 3, 2]); plt.show()", timeout=90)
    images = [m for m in cell.of_type("display_data", "execute_result") if "image/png" in m["content"]["data"]]
    assert len(images) == 1 and len(images[0]["content"]["data"]["image/png"]) > 2000


def test_display_is_updated_in_place(ipython):
    cell = ipython.run_cell("from IPython.display import display\nh = display('one', display_id=True)\nh.update('two')")
    first, second = cell.of_type("display_data", "update_display_data")
    assert first["content"]["transient"]["display_id"] == second["content"]["transient"]["display_id"]
    assert second["content"]["data"]["text/plain"] == "'two'"


def test_subshell_runs_beside_a_busy_main_shell(ipython):
    assert "kernel subshells" in ipython.kernel_info()["supported_features"]
    created = ipython.collect(ipython.send("create_subshell_request", {}, channel="control"),
                              reply_type="create_subshell_reply").reply
    busy = ipython.send_execute("import time; time.sleep(3)")
    ipython.receive_until(lambda m: m["header"]["msg_type"] == "execute_input")
    header = ipython.header("execute_request", subshell_id=created["subshell_id"])
    ipython.send("execute_request", {"code": "print('beside')", "silent": False}, header=header)
    order = []
    while len(order) < 2:
        message = ipython.receive()
        if message["header"]["msg_type"] == "execute_reply":
            order.append(message["parent_header"]["msg_id"])
    assert order == [header["msg_id"], busy]


def test_large_cell_source_is_run(ipython):
    source = "x = '''" + "y" * 2_000_000 + "'''\nprint(len(x))"
    assert ipython.run_cell(source, timeout=60).text() == "2000000\n"


def test_print_flood_of_ipykernel_arrives_whole(ipython):
    cell = ipython.run_cell("for i in range(20000): print(i)", timeout=60)
    assert cell.text().split() == [str(i) for i in range(20000)]
