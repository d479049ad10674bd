"""manifests/overlays/lab: one `kubectl apply -k`, and users log in at a hub, have servers, and kernels of the gateway in their homes."""
import pytest

from deployments import Client, pods_of
from kernels import *  # noqa: F403
from kernels import START_S
from overlays import HUB, UsersServer, applied, password_of_hub, print_pods, run_a_kernel, volume_of_hub
from support.processes import wait_until
from testcluster import manifests
from testcluster.manifests import KERNELS


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


def stop_a_server_with_a_kernel(lab, kube):
    """As a user does, or the hub's culler. The server ends its kernels, also one that runs (docs/recipes.md says so)."""
    one = UsersServer(kube, "alice", lab.password).take_token()
    kernel_id = one.request("POST", "/api/kernels", json={"name": "python3"}).json()["id"]
    with Client(one, kernel_id, timeout=START_S) as client:
        client.send_execute("print('runs', flush=True); import time; time.sleep(3600)")
        client.receive_until(lambda message: message["header"]["msg_type"] == "stream", START_S)
        stopped = one.visitor.request("DELETE", "/hub/api/users/alice/server")
        assert stopped.status_code in (202, 204), stopped.text
        kube.wait_gone("Pod", "jupyter-alice", HUB, START_S)
    wait_until(lambda: not pods_of(kube, KERNELS), START_S, "the end of the kernel's pod")


def test_the_hub_has_the_rights_that_it_uses_and_no_more(lab, kube):
    stop_a_server_with_a_kernel(lab, kube)
    events = manifests.requests_since(lab.began, HUB, "hub")
    assert [manifests.describe(event) for event in events if manifests.is_forbidden(event)] == []
    assert manifests.rights_used(events) == manifests.rights_granted(kube, HUB, "hub")
