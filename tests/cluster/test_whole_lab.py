"""manifests/overlays/lab: one `kubectl apply -k`, and users log in at a hub, have servers, and kernels of the gateway in their homes."""
import pytest

from kernels import *  # noqa: F403
from kernels import START_S
from overlays import HUB, UsersServer, applied, print_pods, run_a_kernel, wait_for_rollout
from testcluster import manifests


def volume_of_hub(place):
    """For its claim: the cluster has no StorageClass."""
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "hub"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "claimRef": {"namespace": HUB, "name": "hub"},
        "hostPath": {"path": str(place)}}}


@pytest.fixture(scope="module")
def lab(kube, cluster, launcher_image, tmp_path_factory):
    place = tmp_path_factory.mktemp("hub")
    place.chmod(0o777)
    with applied(kube, cluster, tmp_path_factory.mktemp("lab"), "lab", launcher_image) as service:
        try:
            kube.delete("PersistentVolume", "hub")  # of a run that was killed
            kube.wait_gone("PersistentVolume", "hub", None)
            kube.create(volume_of_hub(place))
            wait_for_rollout(kube, "hub", HUB)
            service.password = kube.kubectl("exec", "deployment/hub", "-c", "hub", "--", "cat", "password", namespace=HUB)
            yield service
        finally:
            print_pods(kube, HUB)
            kube.delete("PersistentVolume", "hub")


@pytest.mark.parametrize("user, home", [("alice", "alice"), ("ann.lee@example.org", "ann-2elee-40example-2eorg")])
def test_a_user_logs_in_and_has_a_kernel_in_her_home(lab, kube, user, home):
    one = UsersServer(kube, user, lab.password).start(image="python", size="small")
    pod = run_a_kernel(one, kube, lab.homes, user, home)
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "150m", "memory": "2Gi"}


def test_the_hub_has_the_rights_that_it_uses_and_no_more(lab, kube):
    one = UsersServer(kube, "alice", lab.password)
    stopped = one.visitor.request("DELETE", "/hub/api/users/alice/server")
    assert stopped.status_code in (202, 204), stopped.text
    kube.wait_gone("Pod", "jupyter-alice", HUB, START_S)
    events = manifests.requests_since(lab.began, HUB, "hub")
    assert [manifests.describe(event) for event in events if manifests.is_forbidden(event)] == []
    assert manifests.rights_used(events) == manifests.rights_granted(kube, HUB, "hub")
