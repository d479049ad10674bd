import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from testcluster import layout, nfs, processes  # noqa: E402
from testcluster.hollow import HollowNode  # noqa: E402
from testcluster.kube import Kube  # noqa: E402
from testcluster.registry import Registry  # noqa: E402

ROOT = HERE.parents[1]
START_LIMIT_S = 40 * 60  # a fresh machine builds Kubernetes first


def pytest_addoption(parser):
    parser.addoption("--elara-build", default=str(ROOT / "build"), help="build directory with the programs to test")
    parser.addoption("--pull-seconds", default="8", help="how long a pull takes in test_real_pods.py; from 43 on the notebook server "
                     "has its own timeouts, which are shorter")
    parser.addoption("--replica-seconds", default="45", help="how long gateways are killed in test_replicas.py")


@pytest.fixture(scope="session")
def build(request):
    return Path(request.config.getoption("--elara-build")).resolve()


class Cluster:
    """The running cluster. `kube` is its administrator."""

    node = layout.NODE
    address = layout.ADDRESS  # the host's, as pods see it
    kubeconfig = layout.KUBECONFIG
    nfs_directory = nfs.EXPORT  # on the server's side what pods mount as nfs_server:nfs_share
    nfs_server = layout.ADDRESS
    nfs_share = nfs.SHARE

    def __init__(self):
        self.kube = Kube(self.kubeconfig)
        self.nfs_client = processes.load_state()["nfs_client"]

    def run(self, *words, **options):
        return subprocess.run([HERE / "cluster", *words], check=True, **options)

    def restart(self, *daemons):
        """Ends daemons and starts them again: kube-apiserver, kubelet, ..."""
        self.run("restart", *daemons)

    def import_image(self, archive):
        """Makes the images in a docker-archive (tools/pack-image) known to the node."""
        self.run("import", archive)


@pytest.fixture(scope="session")
def cluster():
    """The test cluster: the one that `make cluster-up` has left running, or one for this run alone."""
    limit = subprocess.run([HERE / "cluster", "limit"], stdout=subprocess.PIPE, text=True)
    if limit.returncode != 0:
        pytest.skip(limit.stdout.strip())
    was_up = subprocess.run([HERE / "cluster", "status"], stdout=subprocess.DEVNULL).returncode == 0
    if not was_up:
        subprocess.run([HERE / "cluster", "up"], check=True, timeout=START_LIMIT_S)
    yield Cluster()
    if not was_up:
        subprocess.run([HERE / "cluster", "down"], check=True, timeout=300)


@pytest.fixture(scope="session")
def kube(cluster):
    """The API server, as its administrator."""
    return cluster.kube


@pytest.fixture
def make_namespace(kube):
    """make_namespace(labels={...}) gives the name of a new namespace, which is deleted after the test.

    Pods in it must pass Pod Security "restricted" unless the labels say otherwise.
    """
    made = []

    def make(labels=None):
        made.append(kube.make_namespace(labels))
        return made[-1]

    yield make
    for name in made:
        kube.delete("Namespace", name)


@pytest.fixture
def namespace(make_namespace):
    return make_namespace()


@pytest.fixture
def hollow(cluster, build):
    """A node without containers; see testcluster/hollow.py. What a pod's command calls elara-launcher is that of the build."""
    with HollowNode(launcher=build / "elara-launcher") as node:
        yield node


@pytest.fixture
def registry():
    """A registry of the test's own; see testcluster/registry.py."""
    with Registry() as one:
        yield one
