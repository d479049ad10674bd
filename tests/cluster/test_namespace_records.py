"""Where each kernel has a namespace of its own: what is left when a gateway is killed at any point of a start or an end, and when it is killed as
it makes the gateways' own keys."""
import hashlib
import json
import secrets
import uuid

import pytest

from deployments import pod_of
from homes import share  # noqa: F401
from kernels import *  # noqa: F403
from kernels import START_S, record_of, records_of
from starts import *  # noqa: F403
from starts import GRACE, wait_running
from support.processes import wait_until

START = {
    "namespace": ("POST", "namespaces", '"kind":"Namespace"'),
    "policy": ("POST", "networkpolicies", '"kind":"NetworkPolicy"'),
    "binding": ("POST", "rolebindings", '"kind":"RoleBinding"'),
    "key": ("POST", "secrets", '"elara.kind":"key"'),
    "home": ("GET", "persistentvolumeclaims", ""),
    "claim": ("POST", "persistentvolumeclaims", '"kind":"PersistentVolumeClaim"'),
    "volume": ("POST", "persistentvolumes", '"kind":"PersistentVolume"'),
    "pod": ("POST", "pods", '"kind":"Pod"'),
    "heard": ("PATCH", "secrets", ""),
}
RBAC = "rbac.authorization.k8s.io/v1"
OPEN = {"podSelector": {}, "ingress": [{}]}
END = {"bury": ("PATCH", "secrets", ""), "namespace": ("DELETE", "namespaces", '"preconditions"')}


def hold(proxy, mode, point, text):
    method, kind, part = point
    return proxy.add(mode, method, kind, text, lambda body: part in body.replace(" ", ""))


def mark_of(install, kernel_id):
    """In the names of the kernel's record, of its namespace and so of all that is in it."""
    return hashlib.sha256(f"{install}/{kernel_id}".encode()).hexdigest()[:40]


def both(points):
    return [(point, mode) for point in points for mode in ("before", "after")]


@pytest.fixture
def install():
    return f"test-{secrets.token_hex(4)}"  # all namespaces are seen, other tests' too


@pytest.fixture
def flags(install):
    return *GRACE, "--kubernetes-install", install, "--kubernetes-cluster-role", "view"


@pytest.fixture
def homes(cluster, share):  # noqa: F811
    return "--home-server", cluster.nfs_server, "--home-export", share[1], "--home-path", "all/{user}", "--home-volume", "claim"


@pytest.fixture
def namespaces(kube, install):
    """namespaces() are those of this installation, without those that are going."""
    def list_():
        found = kube.list("Namespace", labelSelector=f"elara.install={install}")
        return [item["metadata"]["name"] for item in found if "deletionTimestamp" not in item["metadata"]]

    yield list_
    for name in list_():
        kube.delete("Namespace", name)


def test_a_gateway_is_killed_at_every_point_of_a_namespace(start_gateway, proxy, begin, end, kube, places, flags, homes, install, namespaces):
    def volumes():
        return kube.list("PersistentVolume", labelSelector=f"elara.install={install}")

    flags = *flags, *homes, "--kubernetes-namespaces", "kernel", "--kubernetes-network-policy", json.dumps(OPEN)
    first = start_gateway(*flags, kubeconfig=proxy.kubeconfig)
    ids = {point: str(uuid.uuid4()) for point in both(START)}
    held = [hold(proxy, mode, START[point], mark_of(install, kernel_id)) for (point, mode), kernel_id in ids.items()]
    for kernel_id in ids.values():
        begin(first, kernel_id)
    for rule in held:
        rule.wait()
    assert len(namespaces()) == len(ids) - 1  # of one it was not asked yet
    first.kill()

    second = start_gateway(*flags, kubeconfig=proxy.kubeconfig)
    wait_running(second, ids.values())
    pods = {kernel_id: pod_of(kube, kernel_id) for kernel_id in ids.values()}  # one each
    assert sorted(pod["namespace"] for pod in pods.values()) == sorted(namespaces())
    for kernel_id in (ids["pod", "after"], ids["heard", "before"], ids["heard", "after"]):
        assert pods[kernel_id]["labels"]["elara.attempt"] == "1"  # what was there has gone on
    for pod in pods.values():
        (binding,) = kube.list("RoleBinding", pod["namespace"], api=RBAC)
        assert binding["roleRef"]["name"] == "view"
        (policy,) = kube.list("NetworkPolicy", pod["namespace"], api="networking.k8s.io/v1")
        assert policy["spec"]["ingress"] == OPEN["ingress"]
        (claim,) = kube.list("PersistentVolumeClaim", pod["namespace"])
        (volume,) = (one for one in volumes() if one["spec"]["claimRef"]["namespace"] == pod["namespace"])
        assert claim["status"]["phase"] == "Bound" and claim["spec"]["volumeName"] == volume["metadata"]["name"]
    assert len(volumes()) == len(ids)

    points = dict(zip(both(END), (ids[point] for point in both(("namespace", "binding")))))
    held = [hold(proxy, mode, END[point], mark_of(install, kernel_id) if point == "bury" else pods[kernel_id]["namespace"])
            for (point, mode), kernel_id in points.items()]
    for kernel_id in points.values():
        end(second, kernel_id)
    for rule in held:
        rule.wait()
    second.kill()

    third = start_gateway(*flags)
    unburied = points["bury", "before"]
    assert third.wait_for_state(unburied, "dead", timeout=START_S)["reason"]
    for kernel_id in set(points.values()) - {unburied}:
        assert "it was shut down" in third.get(f"/api/kernels/{kernel_id}").text
    for kernel_id in set(ids.values()) - set(points.values()) | {unburied}:
        assert third.delete(f"/api/kernels/{kernel_id}").status_code == 204
    wait_until(lambda: not namespaces(), START_S, "the end of all namespaces")
    wait_until(lambda: not kube.list("Pod", labelSelector=f"elara.install={install}"), START_S, "the end of all pods")
    wait_until(lambda: not volumes(), START_S, "the end of all volumes")
    wait_until(lambda: all(item["metadata"]["labels"]["elara.state"] == "ended" and "unfinished" not in record_of(item)
                           for item in records_of(kube, places[0])), START_S, "records that are tombstones, of which nothing is left")


def test_a_gateway_is_killed_as_it_furnishes_a_namespace_that_is_there(start_gateway, proxy, begin, kube, flags, namespaces):
    """A user's, with another kernel in it. One start was told that its RoleBinding is there; then somebody takes that away."""
    flags = *flags, "--kubernetes-namespaces", "user"
    first = start_gateway(*flags, kubeconfig=proxy.kubeconfig)
    begun = [begin(first)]
    wait_running(first, begun)
    (place,) = namespaces()
    for mode in ("after", "before"):
        held = proxy.add(mode, "POST", "rolebindings", place)
        begun.append(begin(first))
        held.wait()
        if mode == "after":
            (binding,) = kube.list("RoleBinding", place, api=RBAC)
            kube.delete("RoleBinding", binding["metadata"]["name"], place, api=RBAC)
    first.kill()
    assert kube.list("RoleBinding", place, api=RBAC) == []

    second = start_gateway(*flags)
    wait_running(second, begun)
    assert [pod_of(kube, kernel_id)["namespace"] for kernel_id in begun] == [place] * 3
    (binding,) = kube.list("RoleBinding", place, api=RBAC)
    assert binding["roleRef"]["name"] == "view"
    assert namespaces() == [place]


@pytest.mark.parametrize("mode", ["before", "after"])
def test_a_gateway_is_killed_as_it_makes_the_gateways_keys(start_gateway, proxy, stub, kube, places, mode):
    link = proxy.add(mode, "POST", "secrets", '"elara-link-elara"')
    first = start_gateway(kubeconfig=proxy.kubeconfig, ready=False)
    link.wait()
    first.kill()
    there = kube.get("Secret", "elara-link-elara", places[0])
    assert (there is None) == (mode == "before")
    second = start_gateway()
    wait_running(second, [second.start_kernel(stub)["id"]])
    now = kube.get("Secret", "elara-link-elara", places[0])
    assert there is None or now["data"] == there["data"]
