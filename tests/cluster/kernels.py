"""Gateways whose kernels are pods of the test cluster: what the tests of kernels share."""
import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from testcluster.images import IPYKERNEL

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from support.client import Client  # noqa: E402
from support.kernelspecs import write_spec  # noqa: E402
from support.processes import Gateway  # noqa: E402

ARGV = ["python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
RESTRICTED = {"runAsUser": 1000, "runAsGroup": 1000}
START_S = 90


class PodSpecs:
    """A directory of kernelspecs with a pod.yaml each; str() is its path."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.add("python3")

    def __str__(self):
        return str(self.directory)

    def add(self, name, image=IPYKERNEL, container=None, argv=ARGV, env=None, annotations=None,
            labels=None, display_name="Python 3", **pod):
        """pod.json is what a pod.yaml may be as well: a PodTemplateSpec."""
        folder = write_spec(self.directory, name, argv, display_name, "python", **({"env": env} if env else {}))
        containers = [{"name": "kernel", "image": image} | (container or {})]
        template = {"metadata": {"annotations": annotations or {}, "labels": labels or {}}, "spec": {"containers": containers, "securityContext": RESTRICTED} | pod}
        (folder / "pod.json").write_text(json.dumps(template))
        return name


@pytest.fixture(scope="session")
def launcher_image(cluster, build, tmp_path_factory):
    """Elara's image, made of the build under test."""
    archive = tmp_path_factory.mktemp("image") / "elara.tar"
    tag = f"localhost/elara-test/elara:{hashlib.sha256(bytes(build)).hexdigest()[:12]}"  # two trees may share a cluster
    subprocess.run([ROOT / "tools" / "make-image", build, archive, "--tag", tag], check=True)
    cluster.import_image(archive)
    return tag


@pytest.fixture
def specs(tmp_path):
    return PodSpecs(tmp_path / "kernels")


@pytest.fixture
def places(make_namespace):
    """The namespaces of one installation: the gateway's and the kernels'."""
    return make_namespace(), make_namespace()


@pytest.fixture(scope="module")
def rooms(kube):
    """The same for all tests of a file."""
    made = kube.make_namespace(), kube.make_namespace()
    yield made
    for name in made:
        kube.delete("Namespace", name)


def make_gateway(build, specs, places, launcher_image, kubeconfig, *flags, environment=None):
    """A gateway on this machine, not started yet."""
    return Gateway(build, specs, "--provisioner", "kubernetes", "--kubernetes-gateway-namespace", places[0],
                   "--kubernetes-namespace", places[1], "--kubernetes-launcher-image", launcher_image, *flags,
                   environment={"KUBECONFIG": str(kubeconfig)} | (environment or {}))


@pytest.fixture
def start_gateway(build, cluster, specs, places, launcher_image):
    """start_gateway(*flags) gives a gateway on this machine; all of a test are replicas of one installation."""
    started = []

    def start(*flags, environment=None, ready=True, kubeconfig=None):
        gateway = make_gateway(build, specs, places, launcher_image, kubeconfig or cluster.kubeconfig, *flags, environment=environment)
        started.append(gateway)
        return gateway.start(wait=ready)

    yield start
    for gateway in reversed(started):
        gateway.print_logs()
        gateway.__exit__(None)


@pytest.fixture
def gateway(start_gateway):
    return start_gateway()


@pytest.fixture
def connect():
    """connect(gateway, kernel_id) gives a Client, closed at the end."""
    opened = []

    def open_(gateway, kernel_id, **options):
        client = Client(gateway, kernel_id, **({"timeout": START_S} | options))
        opened.append(client)
        return client

    yield open_
    for client in opened:
        client.close()


def pods_of(kube, namespace):
    return [item["metadata"]["name"] for item in kube.list("Pod", namespace)]


def records_of(kube, namespace):
    return kube.list("Secret", namespace, labelSelector="elara.kind=record")


def record_of(secret):
    """record.json of a record Secret."""
    return json.loads(base64.b64decode(secret["data"]["record.json"]))
