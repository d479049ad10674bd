"""An unmodified JupyterLab in Chromium, started with JUPYTER_GATEWAY_URL: what a person does and sees. The screenshots are kept in
test-output/browser of the build directory. The kernel of the spec "slow" starts once the file START is there: no browser is too slow
to see its start."""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from support.environments import node_modules  # noqa: E402
from support.kernelspecs import Specs  # noqa: E402
from support.processes import Gateway, free_port, processes_mentioning, wait_until  # noqa: E402

SCENARIOS = re.findall(r"^async function (\w+)", (HERE / "scenarios.mjs").read_text(), re.MULTILINE)

START = "start-slow"
START_WHEN_TOLD = """
import os, sys, time
while not os.path.exists(sys.argv[1]): time.sleep(0.05)
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture(scope="session")
def build(request):
    return Path(request.config.getoption("--elara-build")).resolve()


@pytest.fixture(scope="session")
def specs(build, tmp_path_factory):
    specs = Specs(tmp_path_factory.mktemp("specs") / "kernels", build)
    shutil.copy(Path(sys.prefix) / "share/jupyter/kernels/python3/logo-64x64.png", specs.python())
    shutil.copy(HERE / "logo-64x64.png", specs.stub())
    specs.add("slow", [sys.executable, "-c", START_WHEN_TOLD, str(specs.directory.parent / START), specs.stub_program, "-f",
                       "{connection_file}"], display_name="Slow")
    specs.add("no-interpreter", ["no-such-python", "-f", "{connection_file}"], display_name="No interpreter")
    return specs


@pytest.fixture(scope="session")
def shared_gateway(build, specs):
    with Gateway(build, specs) as gateway:
        yield gateway


@pytest.fixture
def gateway(shared_gateway):
    """Ends a scenario's kernels after it, so that a sanitizer's report about them is this test's failure."""
    yield shared_gateway
    for model in shared_gateway.get("/api/kernels").json():
        shared_gateway.delete(f"/api/kernels/{model['id']}")
    wait_until(lambda: not processes_mentioning(str(shared_gateway.runtime / "kernels")), 30, "the end of all launchers")
    shared_gateway.check()


@pytest.fixture(scope="session")
def lab(shared_gateway, tmp_path_factory):
    """The URL of a JupyterLab whose kernels are the gateway's."""
    folder = tmp_path_factory.mktemp("lab")
    port = free_port()
    home = {"HOME": str(folder), "JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"), "JUPYTER_GATEWAY_URL": shared_gateway.base}
    work = folder / "work"
    work.mkdir()
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    home["JUPYTERLAB_SETTINGS_DIR"] = str(folder / "settings")
    with open(folder / "lab.log", "wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
             "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password=",
             "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
             f"--ServerApp.root_dir={work}"],
            env={**os.environ, **home}, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"

    def is_up():
        assert server.poll() is None, (folder / "lab.log").read_text()[-3000:]
        try:
            return requests.get(url + "/api", timeout=2).ok
        except requests.RequestException:
            return False

    try:
        wait_until(is_up, 60, "JupyterLab")
        yield url
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_lab(scenario, lab, gateway, build, specs):
    shots = build / "test-output" / "browser"
    shots.mkdir(parents=True, exist_ok=True)
    new_spec = {"argv": [specs.stub_program, "-f", "{connection_file}"], "display_name": "Brand new", "language": "stub"}
    done = subprocess.run(["node", HERE / "lab.mjs", scenario, lab, shots], capture_output=True, text=True, timeout=240,
                          env={**os.environ, "NODE_MODULES": str(node_modules()), "SPECS": str(specs),
                               "START": str(specs.directory.parent / START), "NEW_SPEC": json.dumps(new_spec)})
    assert done.returncode == 0, done.stdout + done.stderr
