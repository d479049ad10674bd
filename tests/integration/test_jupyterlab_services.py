"""@jupyterlab/services from npm on Node, pointed straight at the gateway."""
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from support.client import V1
from support.environments import node_modules

SCRIPT = Path(__file__).with_name("services.mjs")


def run_services(gateway):
    if shutil.which("node") is None:
        pytest.skip("machine limit: node is not installed (Debian's nodejs)")
    done = subprocess.run(["node", SCRIPT, node_modules(), gateway.base, gateway.token or ""], capture_output=True, text=True,
                          timeout=110)
    assert done.returncode == 0 and done.stdout, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=[None, "services-token"], ids=["open", "with a token"])
def saw(request, build, tmp_path_factory):
    from conftest import add_standard_specs
    from support.kernelspecs import Specs
    from support.processes import Gateway
    specs = add_standard_specs(Specs(tmp_path_factory.mktemp("services") / "kernels", build))
    environment = {"ELARA_AUTH_TOKEN": request.param} if request.param else {}
    gateway = Gateway(build, specs, environment=environment)
    gateway.token = request.param
    with gateway:
        yield run_services(gateway)


def test_no_step_failed(saw):
    assert "failed" not in saw, saw["failed"]


def test_kernelspecs_pass_its_validation(saw):
    assert saw["specs"] == ["python3", "stub", "stub-message"]


def test_v1_is_spoken_and_a_cell_runs(saw):
    assert set(saw["protocols"]) == {V1}
    assert saw["text"] == "hello\n" and saw["status"] == "ok" and saw["info"] == "stub"


def test_input_and_buffers(saw):
    assert saw["input"] == "Ada\n" and saw["buffers"] == [0, 255, 254, 7]


def test_interrupt_and_restart(saw):
    assert saw["interrupted"] == "error" and saw["restarted"] is True


def test_autorestart_is_shown_and_survived(saw):
    assert saw["autorestart"] in ("autorestarting", "restarting") and saw["afterAutorestart"] == "back\n"


def test_odd_states_of_a_kernel_do_not_reach_it(saw):
    assert saw["afterOddStates"] == ["calm\n", False]


def test_list_and_shutdown(saw):
    assert saw["listed"] is True and saw["gone"] is True


def test_sessions(saw):
    assert saw["sessionCell"] == "in a session\n" and saw["sessionMoved"] is True
    assert saw["sessionKernel"] == "stub-message" and saw["sessionCellAfter"] == "changed\n"
    assert saw["sessionsLeft"] == 0
