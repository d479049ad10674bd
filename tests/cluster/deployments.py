"""The manifests on the real node: gateways as pods, with the rights that manifests/ give them and no others."""
import contextlib

import requests

from kernels import START_S, Gateway, pods_of, records_of
from support.client import Client
from support.processes import wait_until
from testcluster import manifests
from testcluster.images import IPYKERNEL
from testcluster.manifests import GATEWAY

# Ended kernels are forgotten soon, and a kernel that asks for it is culled at once.
QUICK = "tombstone_retention: 1s\ncull_interval: 1s\n"
USER = "Ann.Lee"
PORT = 8888


class Service(Gateway):
    """The gateways behind their Service; each request may be another one's."""

    def __init__(self, kube, namespace=GATEWAY, token=manifests.TOKEN):
        self.namespace = namespace
        self.address = kube.get("Service", "enterprise-gateway", namespace)["spec"]["clusterIP"]
        self.token = token

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
def deployed(kube, directory, launcher_image, namespace=GATEWAY, token=manifests.TOKEN, prepare=lambda overlay: None, **options):
    """The Service of what an overlay has brought about; prepare(its path) may change it before."""
    overlay = manifests.write_overlay(directory, launcher_image, IPYKERNEL, **options)
    prepare(overlay)
    with manifests.applied(kube, overlay, namespace) as began:
        service = Service(kube, namespace, token)
        service.began = began
        wait_until(service.is_there, START_S, "an answer through the Service")
        yield service


def check_rights(kube, service):
    """No request was refused, and nothing is granted that no request has needed."""
    events = manifests.requests_since(service.began, service.namespace)
    assert [manifests.describe(event) for event in events if manifests.is_forbidden(event)] == []
    used, granted = manifests.rights_used(events), manifests.rights_granted(kube, service.namespace)
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


def pod_of(kube, kernel_id):
    """The one pod of a kernel, wherever it is."""
    def find():
        return [pod for pod in kube.list("Pod", labelSelector=f"kernel_id={kernel_id}") if "deletionTimestamp" not in pod["metadata"]]
    (pod,) = wait_until(find, START_S, "the kernel's pod")
    return pod["metadata"]


def live(service, kube, name="python3", **env):
    """A kernel that goes through all that a gateway does with the API server, until it is culled and forgotten.

    Returns its namespace as it was meanwhile.
    """
    kernel_id = service.start_kernel(name, env={"KERNEL_USERNAME": USER, "KERNEL_CULL_IDLE_TIMEOUT": "1"} | env)["id"]
    with Client(service, kernel_id, timeout=START_S) as client:
        assert client.run_cell("kept = 42; print(kept)").text() == "42\n"  # it was noted before there was a pod
        pod = pod_of(kube, kernel_id)
        place = kube.get("Namespace", pod["namespace"])
        kube.patch("Pod", pod["name"], pod["namespace"], {"metadata": {"labels": {"elara.kind": "other"}}})
        kube.wait_for("Pod", pod["name"], pod["namespace"], lambda item: item["metadata"]["labels"]["elara.kind"] == "pod")
        kube.delete("Pod", pod["name"], pod["namespace"], grace_s=0)
        wait_until(lambda: service.model(kernel_id)["execution_state"] == "idle" and pod_of(kube, kernel_id)["name"] != pod["name"],
                   START_S, "the next pod")
        assert client.run_cell("print('kept' in globals())").text() == "False\n"
        assert kube.get("Namespace", pod["namespace"])["metadata"]["uid"] == place["metadata"]["uid"]
    wait_until(lambda: kernel_id not in str(records_of(kube, service.namespace)), START_S, "the end of the kernel's record")
    return place
