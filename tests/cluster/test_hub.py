"""A JupyterHub in the cluster, whose users get notebook servers with JupyterLab as pods."""
import pytest

from hubs import Visitor, hub_objects
from testcluster.pods import is_running


@pytest.fixture
def hub(kube, namespace):
    """The namespace that has one."""
    for item in hub_objects(namespace):
        kube.create(item, namespace)
    yield namespace
    print(kube.logs("hub", namespace))


def test_a_user_gets_a_notebook_server_with_jupyterlab(hub, kube):
    alice = Visitor(kube, hub).login("alice")
    server = alice.start_server()
    assert is_running(kube.get("Pod", "jupyter-alice", hub))
    page = alice.get(f"{server}/lab")
    assert (page.status_code, page.url) == (200, f"{alice.base}{server}/lab")
    assert '"appName": "JupyterLab"' in page.text
    assert alice.get(f"{server}/api/contents").json()["type"] == "directory"
    bob = Visitor(kube, hub).login("bob")
    assert bob.get(f"{server}/api/contents").status_code == 403
    assert alice.request("DELETE", "/hub/api/users/alice/server").status_code in (202, 204)
    kube.wait_gone("Pod", "jupyter-alice", hub)
