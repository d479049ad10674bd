"""manifests/overlays/lab: one `kubectl apply -k`, and users log in at a hub, have servers, and kernels of the gateway in their homes."""
import pytest

from kernels import *  # noqa: F403
from kernels import START_S
from overlays import HUB, UsersServer, applied, password_of_hub, print_pods, run_a_kernel, volume_of_hub
from testcluster import manifests


@pytest.fixture(scope="module")
def lab(kube, cluster, launcher_image, tmp_path_factory):
    with applied(kube, cluster, tmp_path_factory.mktemp("lab"), "lab", launcher_image) as service, \
            volume_of_hub(kube, tmp_path_factory.mktemp("hub")):
        try:
            service.password = password_of_hub(kube)
            yield service
        finally:
            print_pods(kube, HUB)


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
