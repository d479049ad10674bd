"""An unmodified JupyterLab in Chromium, started with JUPYTER_GATEWAY_URL: what a person does and sees. The screenshots are kept in
test-output/browser of the build directory. The kernel of the spec "slow" starts once the file START is there: no browser is too slow
to see its start. Between browser and notebook server stands a proxy that can go bad; what a scenario wants to be broken is in Acts."""
import contextlib
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from support.environments import node_modules  # noqa: E402
from support.handover import hand_over  # noqa: E402
from support.kernelspecs import Specs  # noqa: E402
from support.lab import notebook_server, play  # noqa: E402
from support.processes import Gateway, processes_mentioning, wait_until  # noqa: E402
from support.proxy import Proxy  # noqa: E402

SCENARIOS = re.findall(r"^async function (\w+)\(lab\)", (HERE / "scenarios.mjs").read_text(), re.MULTILINE)

# What these show about our own programs' memory, integration tests show sooner: the sanitizers' stage leaves them out.
LONG = {"gatewayKilledInTheMiddleOfALongCell", "gatewayStoppedAndStartedInTheMiddleOfACell", "browserOfflineForTenSeconds",
        "networkCutBetweenNotebookServerAndGateway", "laptopThatSleepsLosesItsKernel"}

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
    config = specs.directory.parent / "elara.yaml"
    config.write_text(NO_POLICY)
    with Gateway(build, specs, "--config", str(config)) as gateway:
        gateway.config = config
        yield gateway


NO_POLICY = "cull_interval: 100ms\ncull_warn_before: 0\n"  # nothing is culled while a scenario lasts
POLICY = NO_POLICY + "cull_idle_timeout: 3s\n"


def set_policy(gateway, policy=NO_POLICY):
    gateway.config.write_text(policy)
    gateway.process.send_signal(signal.SIGHUP)


@pytest.fixture
def gateway(shared_gateway):
    """Ends a scenario's kernels after it, so that a sanitizer's report about them is this test's failure."""
    yield shared_gateway
    set_policy(shared_gateway)
    for model in shared_gateway.get("/api/kernels").json():
        shared_gateway.delete(f"/api/kernels/{model['id']}")
    wait_until(lambda: not processes_mentioning(str(shared_gateway.runtime / "kernels")), 30, "the end of all launchers")
    shared_gateway.check()


@pytest.fixture(scope="session")
def acts(shared_gateway, tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Acts(shared_gateway, tmp_path_factory, stack)


class Acts:
    """What scenarios ask for; the answer goes back to them."""

    def __init__(self, gateway, folders, stack):
        self.gateway, self.folders, self.stack = gateway, folders, stack
        port = stack.enter_context(notebook_server(folders.mktemp("lab"), gateway.base))
        self.browser_side = stack.enter_context(Proxy(port))
        self.url = f"http://127.0.0.1:{self.browser_side.port}"
        self.gateway_side = self.proxied_url = None
        self.browser = None  # that plays now

    def behind_proxy(self):
        """The URL of another JupyterLab, with a proxy between it and the gateway."""
        if self.proxied_url is None:
            self.gateway_side = self.stack.enter_context(Proxy(self.gateway.port))
            port = self.stack.enter_context(
                notebook_server(self.folders.mktemp("proxied"), f"http://127.0.0.1:{self.gateway_side.port}"))
            self.proxied_url = f"http://127.0.0.1:{port}"
        return self.proxied_url

    def freeze_gateway(self):
        self.gateway_side.refuses = True
        self.gateway_side.freeze()

    def cut_gateway(self):
        self.gateway_side.cut()

    def mend_gateway(self):
        self.gateway_side.refuses = False

    def swallow_for_browser(self):
        self.browser_side.swallow()

    def cut_browser(self):
        self.browser_side.cut()

    def kill_gateway(self):
        self.gateway.kill()

    def stop_gateway(self):
        assert self.gateway.stop() == 0

    def start_gateway(self):
        self.gateway.start()

    def restart_gateway(self):
        self.gateway.kill()
        self.gateway.start()

    def hand_over(self):
        hand_over(self.gateway)

    def kernel_id(self):
        [model] = self.gateway.get("/api/kernels").json()
        return model["id"]

    def kill_launcher(self):
        [pid] = self.gateway.launcher_pids(self.kernel_id())
        os.kill(pid, signal.SIGKILL)

    def cull_unconnected(self):
        """What is decided of the kernel once one that nobody uses has gone."""
        kernel_id = self.kernel_id()
        witness = self.gateway.start_kernel()["id"]
        set_policy(self.gateway, POLICY)
        self.wait_for_end(witness)
        return self.gateway.get(f"/api/kernels/{kernel_id}/why").json()["text"]

    def cull_connected(self):
        kernel_id = self.kernel_id()
        set_policy(self.gateway, POLICY + "cull_connected: true\n")
        return self.wait_for_end(kernel_id)

    def wait_for_end(self, kernel_id):
        """Why it was ended; its successor is not."""
        ended = wait_until(lambda: (answer := self.gateway.get(f"/api/kernels/{kernel_id}")).status_code == 404 and answer.json(),
                           120, "the kernel's end")
        set_policy(self.gateway)
        return ended["reason"]

    def soon_without_pongs(self):
        """The URL of another JupyterLab, which misses its browser within seconds. As it opens a notebook it leaves a socket behind that
        it never reads: the gateway misses that one after 30 s."""
        set_policy(self.gateway, NO_POLICY + "ws_ping_interval: 1s\n")
        port = self.stack.enter_context(notebook_server(
            self.folders.mktemp("pings"), self.gateway.base,
            "--ServerApp.tornado_settings={'ws_ping_interval': 1000, 'ws_ping_timeout': 5000}"))
        return f"http://127.0.0.1:{port}"

    def sleep_until_culled(self):
        kernel_id = self.kernel_id()
        processes = psutil.Process(self.browser.pid).children(recursive=True)
        for process in processes:
            process.suspend()
        try:
            set_policy(self.gateway, POLICY)
            return self.wait_for_end(kernel_id)
        finally:
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def printed(self):
        """All that the kernel's cells have ever printed, as the journal has it."""
        path, rows, since = f"/api/kernels/{self.kernel_id()}/journal", [], 0
        while page := [json.loads(line) for line in self.gateway.get(f"{path}?since={since}").text.splitlines()]:
            rows += page
            since = page[-1]["seq"]
        return "".join(row["content"]["text"] for row in rows if row["header"]["msg_type"] == "stream")


@pytest.mark.parametrize("scenario", [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in SCENARIOS])
def test_lab(scenario, acts, gateway, build, specs):
    shots = build / "test-output" / "browser"
    shots.mkdir(parents=True, exist_ok=True)
    new_spec = {"argv": [specs.stub_program, "-f", "{connection_file}"], "display_name": "Brand new", "language": "stub"}
    status, said = play(scenario, acts, shots, {
        "NODE_MODULES": str(node_modules()), "SPECS": str(specs), "START": str(specs.directory.parent / START),
        "NEW_SPEC": json.dumps(new_spec)})
    assert status == 0, said
