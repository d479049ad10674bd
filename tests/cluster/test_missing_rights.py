"""Each right that manifests/ grant, taken away by itself: what the gateway then says names verb, resource, namespace and Role.

The rights are those of the rendered manifests, the gateways real ones with a service account each; their pods run on a hollow node.
So it is with the rights of the Job at `helm uninstall`, and what `elara purge` says.
"""
import concurrent.futures
import contextlib
import re
import secrets
import shutil
import subprocess

import pytest

from kernels import *  # noqa: F403
from kernels import START_S, PodSpecs, make_gateway
from support.processes import wait_until
from testcluster import chart, rights
from testcluster.hollow import TOLERATIONS, HollowNode

AT_ONCE = 6
SENTENCE = re.compile(r'gateway-\d+ may not (\w+) (\w+) (?:"[\w-]+" )?(?:in namespace "([\w-]+)"|in the whole cluster) at .*?: '
                      r'the (?:Cluster)?Role ([\w-]+) .*?has to grant it \(.*?verbs: \["(\w+)"\]\), bound to it by a (?:Cluster)?RoleBinding')


class Place:
    """What the gateways of this file share."""

    def __init__(self, kube, cluster, build, places, folder):
        self.kube, self.cluster, self.build, self.gateway, self.kernels, self.folder = kube, cluster, build, *places, folder
        self.specs = PodSpecs(folder / "kernels")
        self.accounts = 0

    def account(self, objects, right):
        """(kubeconfig, ClusterRoles) of a new service account that has all of these rights but that one."""
        self.accounts += 1
        name = f"gateway-{self.accounts}"
        self.kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}, self.gateway)
        made = rights.grant(self.kube, rights.without(objects, right), name, self.gateway, self.kernels)
        return self.kube.service_account(self.gateway, name, self.folder / name).path, made


@pytest.fixture(scope="module")
def place(kube, cluster, build, rooms, tmp_path_factory):
    one = Place(kube, cluster, build, rooms, tmp_path_factory.mktemp("rights"))
    with HollowNode(launcher=build / "elara-launcher") as node:
        argv = [str(build / "tests" / "stub_kernel"), "-f", "{connection_file}"]
        one.specs.add("stub", image="registry.test/team/py:3", argv=argv, nodeSelector=node.selector, tolerations=TOLERATIONS)
        yield one


def live(gateway, kube, is_told):
    """All that a gateway does with the API server, until it says that it may not."""
    def reaches(condition, what):
        return wait_until(lambda: is_told() or condition(), START_S, what) and not is_told()
    if not reaches(gateway.is_ready, "the gateway"):
        return
    answer = gateway.post("/api/kernels", json={"name": "stub", "env": {"KERNEL_USERNAME": "ann"}})
    if answer.status_code != 201:
        gateway.said = answer.json()["message"]
        return
    kernel_id = answer.json()["id"]

    def pods():
        return [pod["metadata"] for pod in kube.list("Pod", labelSelector=f"kernel_id={kernel_id}") if "deletionTimestamp" not in pod["metadata"]]
    if not reaches(lambda: gateway.model(kernel_id)["execution_state"] == "idle", "the kernel"):
        return
    (pod,) = pods()
    kube.patch("Pod", pod["name"], pod["namespace"], {"metadata": {"labels": {"elara.kind": "other"}}})
    if not reaches(lambda: [one for one in pods() if one["labels"]["elara.kind"] == "pod"], "the pod's label"):
        return
    kube.delete("Pod", pod["name"], pod["namespace"], grace_s=0)
    if not reaches(lambda: [one for one in pods() if one["name"] != pod["name"]]
                   and gateway.model(kernel_id)["execution_state"] == "idle", "the next pod"):
        return
    gateway.delete(f"/api/kernels/{kernel_id}")
    wait_until(is_told, START_S, "what it may not")


def told_without(place, objects, right, flags):
    """(verb, resource, namespace, Role) of the first sentence that a gateway without the right has said."""
    kubeconfig, made = place.account(objects, right)
    install = f"rights-{secrets.token_hex(4)}"
    flags = [flag.replace("elara-kernel", f"{place.gateway}-{kubeconfig.name}-elara-kernel") for flag in flags]
    gateway = make_gateway(place.build, place.specs, (place.gateway, place.kernels), "elara.test/elara:1", kubeconfig, "--kubernetes-install",
                           install, "--kubernetes-namespace-prefix", f"{install}-", "--tombstone-retention", "1s", *flags)
    gateway.said = ""

    def sentence():
        return SENTENCE.search(f"{gateway.log()}\n{gateway.said}")
    try:
        gateway.start(wait=False)
        with contextlib.suppress(AssertionError):
            live(gateway, place.kube, sentence)
        found = sentence()
        if not found or found[1] != found[5]:
            return gateway.log()
        namespace = found[3] if found[3] in (None, place.gateway, place.kernels) else "one of its own"
        return found[1], found[2], namespace, found[4]
    finally:
        gateway.kill()  # it may be trying still
        gateway.clean()
        rights.revoke(place.kube, made)
        for item in place.kube.list("Namespace", labelSelector=f"elara.install={install}"):
            place.kube.delete("Namespace", item["metadata"]["name"])
        for item in place.kube.list("PersistentVolume", labelSelector=f"elara.install={install}"):
            place.kube.delete("PersistentVolume", item["metadata"]["name"])


def check(place, objects, wanted, namespace_of, flags=()):
    """wanted: the rights. All are tried, some at once."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
        told = dict(zip(wanted, threads.map(lambda right: told_without(place, objects, right, flags), wanted), strict=True))
    assert told == {right: (right[0], right[1], namespace_of(right), right[2]) for right in wanted}


def test_each_right_of_the_base(place):
    objects = rights.rendered("base")
    wanted = sorted(rights.granted(objects), key=str)
    assert len(wanted) == 16
    check(place, objects, wanted, lambda right: place.gateway if right[2] == "elara-records" else place.kernels)


def test_each_right_that_namespaces_of_their_own_need_as_well(place):
    """But tokenreviews, which test_token_review.py has. What is done in the namespaces is what is done in the one of the base."""
    home = place.cluster.nfs_directory / place.gateway
    home.mkdir()
    flags = ("--kubernetes-namespaces", "kernel", "--kubernetes-cluster-role", "elara-kernel", "--home-server", place.cluster.nfs_server,
             "--home-export", f"{place.cluster.nfs_share}/{place.gateway}", "--home-volume", "claim", "--kubernetes-network-policy",
             '{"podSelector": {}}', "--kubernetes-uid", "1000", "--kubernetes-gid", "1000")
    objects = rights.rendered("overlays/namespace-per-kernel", ("home-claims", "kernel-role"))
    wanted = sorted((right for right in rights.granted(objects) if right[1] not in ("pods", "secrets", "events")), key=str)
    assert len(wanted) == 11

    def namespace_of(right):  # the API server counts what is about one namespace as in it
        in_it = right[1] in ("networkpolicies", "persistentvolumeclaims", "rolebindings") or right[:2] in (("get", "namespaces"), ("delete", "namespaces"))
        return "one of its own" if in_it else None
    try:
        check(place, objects, wanted, namespace_of, flags)
    finally:
        shutil.rmtree(home)


def live_on(place, install):
    """A kernel in a namespace of its own, whose gateway is gone."""
    gateway = make_gateway(place.build, place.specs, (place.gateway, place.kernels), "elara.test/elara:1", place.cluster.kubeconfig,
                           "--kubernetes-install", install, "--kubernetes-namespace-prefix", f"{install}-", "--kubernetes-namespaces", "kernel")
    try:
        gateway.start()
        kernel_id = gateway.post("/api/kernels", json={"name": "stub"}).json()["id"]
        wait_until(lambda: gateway.model(kernel_id)["execution_state"] == "idle", START_S, "the kernel")
    finally:
        gateway.kill()
        gateway.clean()


def test_each_right_of_the_job_at_helm_uninstall(place):
    """Without it the purge fails, and its record keeps the kernel in mind; with all of them another one ends it."""
    install = f"purge-{secrets.token_hex(4)}"
    objects = [item for item in chart.Rendered({}).objects.values() if item["metadata"]["name"] == "elara-uninstall" and item["apiVersion"] == rights.RBAC]
    last = "delete", "secrets"  # it comes behind all others, and the namespace is gone then
    wanted = sorted(rights.granted(objects), key=lambda right: (right[:2] == last, right[:2]))
    assert len(wanted) == 5
    accounts = {right: place.account(objects, right) for right in [*wanted, (None, None, None, None)]}

    def secrets_left():
        return place.kube.list("Secret", place.gateway, labelSelector=f"elara.install={install}")

    def purge(right):
        return subprocess.run([place.build / "elara", "purge", "--kubeconfig", accounts[right][0], "--kubernetes-gateway-namespace", place.gateway,
                               "--kubernetes-install", install], capture_output=True, text=True, timeout=START_S)

    def told(right):
        done = purge(right)
        assert (done.returncode, done.stdout) == (1, ""), done
        assert len(secrets_left()) == 2  # the record, and the gateways' own key
        return SENTENCE.search(done.stderr).groups()
    try:
        live_on(place, install)
        (own,) = [item["metadata"]["name"] for item in place.kube.list("Namespace", labelSelector=f"elara.install={install}")]
        where = {("list", "secrets"): place.gateway, ("list", "pods"): place.gateway}
        for right in wanted:
            verb, resource, role, _ = right
            assert told(right) == (verb, resource, where.get((verb, resource), own), role, verb)
        done = purge((None, None, None, None))
        assert (done.returncode, done.stdout) == (0, f"1 kernel of the install {install} in {place.gateway}: nothing is left\n"), done.stderr
        assert secrets_left() == [] and place.kube.get("Namespace", own) is None
    finally:
        for item in place.kube.list("Namespace", labelSelector=f"elara.install={install}"):
            place.kube.delete("Namespace", item["metadata"]["name"])
        for _, made in accounts.values():
            rights.revoke(place.kube, made)
