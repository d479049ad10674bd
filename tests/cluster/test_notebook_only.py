"""manifests/overlays/notebook-only: one `kubectl apply -k`, and a notebook server without a hub has kernels of the gateway in its home."""
import contextlib
import re
from types import SimpleNamespace

import pytest
import requests

from kernels import *  # noqa: F403
from kernels import START_S
from overlays import applied, run_a_kernel, wait_for_rollout
from support.processes import wait_until

NOTEBOOK = "notebook"  # the namespace, and the names of what is in it


def server_of(kube):
    """Its token is in its log, for who may read that."""
    address = kube.get("Service", NOTEBOOK, NOTEBOOK)["spec"]["clusterIP"]
    token = re.search(r"[?]token=([0-9a-f]+)", kube.kubectl("logs", f"deployment/{NOTEBOOK}", "-c", NOTEBOOK, namespace=NOTEBOOK))[1]
    base, headers = f"http://{address}:8888", {"Authorization": f"token {token}"}

    def request(method, path, **options):
        return requests.request(method, base + path, headers=headers, timeout=60, **options)

    return SimpleNamespace(base=base, token=token, request=request)


def answers(server):
    with contextlib.suppress(requests.ConnectionError):  # the node's proxy hears of the pod a moment after it is ready
        return server.request("GET", "/api/status").status_code == 200


@pytest.fixture
def gateways(kube, cluster, launcher_image, tmp_path):
    with applied(kube, cluster, tmp_path, "notebook-only", launcher_image) as service:
        wait_for_rollout(kube, NOTEBOOK, NOTEBOOK)
        yield service


def test_a_notebook_server_without_a_hub(gateways, kube):
    server = server_of(kube)
    wait_until(lambda: answers(server), START_S, "the notebook server's answer")
    run_a_kernel(server, kube, gateways.homes, NOTEBOOK, NOTEBOOK)
    assert gateways.get("/api/kernels").status_code == 401  # nobody without a token
