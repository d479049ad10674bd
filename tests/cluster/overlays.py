"""The overlays that an administrator edits in place and applies: manifests/overlays/lab and notebook-only, on the test cluster."""
import contextlib
import os
import shutil
import uuid

import requests

from deployments import Client, Service, pod_of, pods_of
from hubs import Visitor
from kernels import ROOT, START_S
from support.processes import wait_until
from testcluster import manifests
from testcluster.images import IPYKERNEL
from testcluster.lab_image import GID, LAB, UID
from testcluster.manifests import GATEWAY, KERNELS

HUB = "jupyterhub"  # the namespace
ROLLOUT_S = 180
CODE = "import os; open('data.csv', 'w').write('1,2'); print(os.getcwd(), os.getuid(), os.environ['KERNEL_USERNAME'])"
# A small kernel leaves room for those of other tests. With the lab's images there is no registry to ask.
EDITS = {
    "quay.io/jupyterhub/k8s-hub:4.4.0": LAB, "quay.io/jupyterhub/configurable-http-proxy:5.3.0": LAB,
    "quay.io/jupyterhub/k8s-singleuser-sample:4.4.0": LAB,
    "quay.io/jupyter/base-notebook": IPYKERNEL, "quay.io/jupyter/*": "localhost/elara-test/*",
    'KERNEL_CPUS="1"': 'KERNEL_CPUS="150m"', '"alice", "bob"': '"alice", "ann.lee@example.org"',
}
EDITED = ["base/pod.yaml", "jupyterhub/elara.py"]


@contextlib.contextmanager
def homes_at(cluster):
    """A directory of the cluster's NFS server, as the page has an administrator make it; gives its name."""
    name = f"lab-{uuid.uuid4().hex[:8]}"
    place = cluster.nfs_directory / name
    place.mkdir(mode=0o755)
    os.chown(place, UID, GID)
    try:
        yield name
    finally:
        def is_removed():  # a kernel may be writing there still
            shutil.rmtree(place, ignore_errors=True)
            return not place.exists()

        wait_until(is_removed, START_S, "the end of the homes' files")


def edit(directory, overlay, cluster, homes, image):
    """The manifests in that directory, with the names of this cluster; returns the path for `kubectl apply -k`."""
    name, _, tag = image.rpartition(":")
    edits = EDITS | {"REGISTRY/elara, newTag: 0.1.0": f"{name}, newTag: {tag}", "nfs.example.org": cluster.nfs_server,
                     "/export/home": f"{cluster.nfs_share}/{homes}"}
    shutil.copytree(ROOT / "manifests", directory / "manifests")
    place = directory / "manifests" / "overlays" / overlay
    for path in [*place.iterdir(), *(directory / "manifests" / one for one in EDITED)]:
        text = path.read_text()
        for before, after in edits.items():
            text = text.replace(before, LAB if path.name == "notebook.yaml" and after == IPYKERNEL else after)
        path.write_text(text)
    return place


@contextlib.contextmanager
def applied(kube, cluster, directory, overlay, image):
    """What one `kubectl apply -k` has brought about: the gateways' Service, with the name of the homes' directory."""
    with homes_at(cluster) as homes, manifests.applied(kube, edit(directory, overlay, cluster, homes, image)) as began:
        service = Service(kube, GATEWAY, None)
        service.began, service.homes = began, cluster.nfs_directory / homes
        yield service


class UsersServer:
    """A notebook server that its user has started at the hub of overlays/lab. Behaves like a gateway: base, token, request."""

    def __init__(self, kube, user, password):
        self.user, self.visitor = user, Visitor(kube, HUB)
        self.visitor.login(user, password)
        self.base, self.token = f"{self.visitor.base}/user/{user}", None

    def start(self, **chosen):
        page = self.visitor.get("/hub/spawn").text
        assert all(f"profile-option-notebooks--{name}" in page for name in chosen), page
        path = self.visitor.start_server(profile="notebooks", **chosen)
        lab = self.visitor.get(f"{path}/lab")  # after all redirections of the hub's log in
        assert lab.status_code == 200 and "jupyter-config-data" in lab.text
        return self.take_token()

    def take_token(self):
        made = self.visitor.request("POST", f"/hub/api/users/{self.user}/tokens", json={"note": "tests"})
        assert made.status_code == 201, made.text
        self.token = made.json()["token"]
        return self

    def request(self, method, path, **options):
        headers = {"Authorization": f"token {self.token}", **options.pop("headers", {})}
        return requests.request(method, self.base + path, headers=headers, timeout=60, **options)


@contextlib.contextmanager
def volume_of_hub(kube, place):
    """For the claim of the hub's database: the cluster has no StorageClass. For who has the manifests: its name is fixed."""
    place.chmod(0o777)
    kube.delete("PersistentVolume", "hub")  # of a run that was killed
    kube.wait_gone("PersistentVolume", "hub", None)
    kube.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "hub"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "claimRef": {"namespace": HUB, "name": "hub"},
        "hostPath": {"path": str(place)}}})
    try:
        yield
    finally:
        kube.delete("PersistentVolume", "hub")


def password_of_hub(kube):
    """Which it has made when it runs."""
    wait_for_rollout(kube, "hub", HUB)
    return kube.kubectl("exec", "deployment/hub", "-c", "hub", "--", "cat", "password", namespace=HUB)


def wait_for_rollout(kube, name, namespace):
    try:
        kube.kubectl("rollout", "status", f"deployment/{name}", f"--timeout={ROLLOUT_S}s", namespace=namespace, timeout=ROLLOUT_S + 30)
    except AssertionError:
        print_pods(kube, namespace)
        raise


def print_pods(kube, namespace):
    """For pytest to show when a test fails."""
    for name in pods_of(kube, namespace):
        print("\n".join([f"--- {name}", *kube.events(namespace, name)]))
        with contextlib.suppress(AssertionError):
            print(kube.kubectl("logs", name, "--all-containers", "--tail=40", namespace=namespace))


def run_a_kernel(one, kube, homes, user, home):
    """A kernel of the notebook server: its cell writes into the home that the server shows. Returns its pod as it was."""
    answer = one.request("POST", "/api/kernels", json={"name": "python3"})
    assert answer.status_code == 201, answer.text
    kernel_id = answer.json()["id"]
    with Client(one, kernel_id, timeout=START_S) as client:
        assert client.run_cell(CODE).text() == f"/home/jovyan {UID} {user}\n"
    assert one.request("GET", "/api/contents/data.csv").json()["content"] == "1,2"
    written, made = (homes / home / "data.csv").stat(), (homes / home).stat()
    assert (written.st_uid, written.st_gid) == (UID, GID) and made.st_mode & 0o777 == 0o700
    place = pod_of(kube, kernel_id)
    assert place["namespace"] == KERNELS and place["annotations"]["elara.owner"] == user
    pod = kube.get("Pod", place["name"], KERNELS)
    assert one.request("DELETE", f"/api/kernels/{kernel_id}").status_code == 204
    wait_until(lambda: not pods_of(kube, KERNELS), START_S, "the end of the kernel's pod")
    return pod
