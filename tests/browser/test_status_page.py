"""The status page in Chromium, as a person reads it and acts on it. The screenshots are kept in test-output/browser of the build directory;
docs/status-page.png is the light one."""
import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from support.client import Client  # noqa: E402
from support.environments import node_modules  # noqa: E402
from support.kernelspecs import Specs  # noqa: E402
from support.processes import Gateway  # noqa: E402
from test_auth import token_file  # noqa: E402

SCENARIOS = re.findall(r"^  async (\w+)\(\) {", (HERE / "page.mjs").read_text(), re.MULTILINE)
TOKEN = "correct-horse-battery-staple"
HOSTILE = ("<script>document.title='taken'</script><img src=x onerror=alert(1)>\"'><svg onload=alert(2)>"
           "<iframe srcdoc='<script>parent.alert(3)</script>'></iframe>" + "wide" * 40)


@pytest.fixture(scope="module")
def gateway(request, tmp_path_factory):
    build = Path(request.config.getoption("--elara-build")).resolve()
    folder = tmp_path_factory.mktemp("page")
    specs = Specs(folder / "kernels", build)
    specs.stub("python3", display_name="Python 3.12 (analysis)")
    specs.stub("hostile", display_name=HOSTILE)
    specs.add("ir", ["no-such-program", "-f", "{connection_file}"], display_name="R 4.5")
    tokens = token_file(folder / "tokens", ("anna", "user", "anna-token"), ("bert", "user", "bert-token"), ("ops", "admin", TOKEN))
    with Gateway(build, specs, "--max-kernels", "100", "--max-kernels-per-user", "10", "--cull-idle-timeout", "2h",
                 "--auth-token-file", str(tokens),
                 environment={"PATH": "/usr/local/bin:/usr/bin:/bin"}) as gateway:
        yield gateway


@contextlib.contextmanager
def kernel_of(gateway, owner, spec, state):
    gateway.token = f"{owner}-token"
    kernel_id = gateway.start_kernel(spec)["id"]
    gateway.token = TOKEN
    gateway.wait_for_state(kernel_id, state)
    try:
        yield kernel_id
    finally:
        gateway.delete(f"/api/kernels/{kernel_id}")


@pytest.fixture
def kernels(gateway, scenario):
    with contextlib.ExitStack() as stack:
        def start(*arguments):
            return stack.enter_context(kernel_of(gateway, *arguments))

        found = {"idle": start("anna", "python3", "idle"), "busy": start("bert", "python3", "idle"), "dead": start("anna", "ir", "dead")}
        if scenario != "reads":  # whose picture is the one in docs/
            found["hostile"] = start("bert", "hostile", "idle")
        stack.enter_context(Client(gateway, found["busy"])).send_execute("sleep 600000")
        gateway.wait_for_state(found["busy"], "busy")
        yield found
    gateway.check()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_status_page(scenario, gateway, kernels):
    shots = gateway.build / "test-output" / "browser"
    shots.mkdir(parents=True, exist_ok=True)
    seen = subprocess.run(["node", HERE / "page.mjs", scenario, gateway.base, TOKEN, json.dumps(kernels), shots], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=240, env={**os.environ, "NODE_MODULES": str(node_modules())})
    assert seen.returncode == 0, seen.stdout
