"""The manifests on the real node: gateways as pods, with the rights that manifests/ give them and no others."""
import contextlib

import pytest
import requests

from kernels import *  # noqa: F403
from kernels import START_S, Gateway, pods_of, record_of, records_of
from support.client import Client
from support.processes import wait_until
from testcluster import manifests
from testcluster.images import IPYKERNEL
from testcluster.manifests import GATEWAY, KERNELS

# Ended kernels are forgotten soon, and a kernel that asks for it is culled at once.
QUICK = "tombstone_retention: 3s\ncull_interval: 1s\n"
PORT = 8888


class Service(Gateway):
    """The gateways behind their Service; each request may be another one's."""

    def __init__(self, kube):
        self.address = kube.get("Service", "enterprise-gateway", GATEWAY)["spec"]["clusterIP"]
        self.token = manifests.TOKEN

    @property
    def base(self):
        return f"http://{self.address}:{PORT}"

    def is_there(self):
        """The node's proxy hears of the pods a moment after they are ready."""
        try:
            return self.get("/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False


@contextlib.contextmanager
def deployed(kube, directory, launcher_image, **options):
    """The Service of what an overlay has brought about; before it goes, the rights it had are compared with those it used."""
    began = manifests.end_of_audit_log()
    overlay = manifests.write_overlay(directory, launcher_image, IPYKERNEL, **options)
    with manifests.applied(kube, overlay):
        service = Service(kube)
        service.began = began
        wait_until(service.is_there, START_S, "an answer through the Service")
        yield service


def check_rights(kube, service):
    """No request was refused, and nothing is granted that no request has needed."""
    events = manifests.requests_since(service.began)
    assert [manifests.describe(event) for event in events if manifests.is_forbidden(event)] == []
    used, granted = manifests.rights_used(events), manifests.rights_granted(kube)
    assert used == granted, {role: used.get(role, set()) ^ granted.get(role, set()) for role in used | granted}


def wait_for_cell(service, kernel_id, code):
    """The output of a cell, over a connection of its own: the gateway of an earlier one may be gone."""
    with Client(service, kernel_id, timeout=START_S) as client:
        return client.run_cell(code).text()


def delete_kernel(service, kernel_id):
    assert service.delete(f"/api/kernels/{kernel_id}").status_code == 204


def wait_for_nothing(kube, namespace):
    """No pod and no Secret of a kernel is left, and of its record at most what says how it ended."""
    wait_until(lambda: not pods_of(kube, namespace), START_S, "the pods' end")
    wait_until(lambda: not kube.list("Secret", namespace, labelSelector="elara.kind=key"), START_S, "the end of the key Secrets")
    assert {item["metadata"]["labels"]["elara.state"] for item in records_of(kube, GATEWAY)} <= {"ended"}


@pytest.fixture(scope="module")
def base(kube, launcher_image, tmp_path_factory):
    with deployed(kube, tmp_path_factory.mktemp("base"), launcher_image, settings=QUICK) as service:
        yield service


def test_a_kernel_starts_through_the_service_and_outlives_a_gateway(base, kube):
    kernel_id = base.start_kernel("python3")["id"]
    assert wait_for_cell(base, kernel_id, "import os; kept = 42; print(os.getuid())") == "1000\n"
    assert pods_of(kube, KERNELS) == [f"kernel-{kernel_id}-1"]
    gone = manifests.gateway_pods(kube)[0]
    kube.kubectl("delete", "pod", gone, "--wait=false", namespace=GATEWAY)
    kube.kubectl("rollout", "status", "deployment/elara-gateway", f"--timeout={START_S}s", namespace=GATEWAY)
    assert wait_for_cell(base, kernel_id, "print(kept)") == "42\n"
    assert base.post(f"/api/kernels/{kernel_id}/restart", json={}).status_code == 200
    assert wait_for_cell(base, kernel_id, "print('kept' in globals())") == "False\n"
    assert pods_of(kube, KERNELS) == [f"kernel-{kernel_id}-1"]
    delete_kernel(base, kernel_id)
    wait_for_nothing(kube, KERNELS)


def test_a_missing_right_is_named_with_the_role_that_has_to_grant_it(base, kube):
    role = kube.get("Role", "elara-kernels", KERNELS, manifests.RBAC)
    less = [rule | {"verbs": [verb for verb in rule["verbs"] if rule["resources"] != ["pods"] or verb != "create"]} for rule in role["rules"]]
    kube.patch("Role", "elara-kernels", KERNELS, {"rules": less}, manifests.RBAC)
    try:
        kernel_id = base.start_kernel("python3")["id"]
        with Client(base, kernel_id, timeout=START_S) as client:
            told = client.run_cell("1").error["evalue"]
    finally:
        kube.patch("Role", "elara-kernels", KERNELS, {"rules": role["rules"]}, manifests.RBAC)
        base.began = manifests.end_of_audit_log()  # what was refused was to be
    sentence = f'{manifests.USER} may not create pods in namespace "{KERNELS}"'
    for text in (told, manifests.gateway_log(kube)):
        assert sentence in text
        assert 'a Role in that namespace has to grant it (apiGroups: [""], resources: ["pods"], verbs: ["create"])' in text
    delete_kernel(base, kernel_id)
    wait_for_nothing(kube, KERNELS)
