"""Real clients whose kernels are pods as uid 1000 under Pod Security "restricted": nbclient, and JupyterLab in Chromium. The screenshots
are kept beside those of tests/browser."""
import os
import subprocess
import sys

import nbformat
import pytest

from kernels import *  # noqa: F403
from kernels import ROOT, START_S, PodSpecs, make_gateway
from support.environments import node_modules
from support.lab import notebook_server, play
from testcluster import images
from testcluster.registry import Registry

SENTENCE = ("The image {}/team/private:1 cannot be pulled: pulling from host {} failed with status code [manifests 1]: 403 Forbidden. "
            "Check the image's name and tag, and that the cluster may pull it (imagePullSecrets of the kernelspec's pod.yaml).")
PLOT = "from IPython.display import SVG\nSVG('<svg xmlns=\"http://www.w3.org/2000/svg\"><path d=\"M0 0L9 9\"/></svg>')"
NBCLIENT = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True,
               kernel_manager_class="jupyter_server.gateway.managers.GatewayKernelManager").execute()
nbformat.write(notebook, sys.argv[2])
"""


@pytest.fixture(scope="module")
def registry():
    with Registry() as one:
        one.add("team/py", images.archives()[images.IPYKERNEL])
        one.refuse["team/private"] = (403, "DENIED", "requested access to the resource is denied")
        yield one


@pytest.fixture(scope="module")
def pods_gateway(build, cluster, kube, launcher_image, registry, tmp_path_factory):
    specs = PodSpecs(tmp_path_factory.mktemp("clients") / "kernels")
    specs.add("pulled", f"{registry.address}/team/py:1", display_name="Pulled")
    specs.add("private", f"{registry.address}/team/private:1", display_name="Private")
    rooms = kube.make_namespace(), kube.make_namespace()  # both enforce "restricted"
    with make_gateway(build, specs, rooms, launcher_image, cluster.kubeconfig) as gateway:
        yield gateway
        gateway.print_logs()
    for name in rooms:
        kube.delete("Namespace", name)


@pytest.fixture(scope="module")
def lab(pods_gateway, registry, tmp_path_factory):
    with notebook_server(tmp_path_factory.mktemp("lab"), pods_gateway.base) as port:
        yield Lab(port, registry)


class Lab:
    """A JupyterLab, and what scenarios ask for that are played at it."""

    browser = None

    def __init__(self, port, registry):
        self.url = f"http://127.0.0.1:{port}"
        self.registry = registry

    def release(self):
        self.registry.release()

    def sentence(self):
        return SENTENCE.format(self.registry.address, self.registry.address)


def test_nbclient_runs_a_notebook(pods_gateway, tmp_path):
    """It takes a kernel that is not there after 30 s for dead; ours has its image."""
    sources = ["import os; print('user', os.getuid())", PLOT,
               "from IPython.display import display\nshown = display('before', display_id=True)\nshown.update('after')", "1 / 0"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources], metadata={
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    nbformat.write(notebook, tmp_path / "in.ipynb")
    subprocess.run([sys.executable, "-c", NBCLIENT, "in.ipynb", "out.ipynb"], cwd=tmp_path, check=True, timeout=START_S,
                   env={**os.environ, "JUPYTER_GATEWAY_URL": pods_gateway.base, "HOME": str(tmp_path)})
    outputs = [cell.outputs[-1] for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells]
    assert outputs[0].text == "user 1000\n"
    assert "M0 0L9 9" in outputs[1].data["image/svg+xml"]
    assert outputs[2].data["text/plain"] == "'after'"
    assert outputs[3].ename == "ZeroDivisionError"


@pytest.mark.parametrize("scenario", ["aNotebookRunsInAPod", "aPullIsShownInTheCell", "anImageThatCannotBePulledIsExplainedInTheCell"])
def test_jupyterlab(scenario, lab, build, registry):
    shots = build / "test-output" / "browser"
    shots.mkdir(parents=True, exist_ok=True)
    if scenario == "aPullIsShownInTheCell":
        registry.hold()
    status, said = play(scenario, lab, shots, {
        "NODE_MODULES": str(node_modules()), "SCENARIOS": str(ROOT / "tests" / "browser" / "pod_scenarios.mjs"), "SEEN_WITHIN_MS": "90000"})
    assert status == 0, said
