"""Where kernels are when a request says so, and namespaces that a gateway did not live to delete."""
import secrets

import pytest
import yaml

from deployments import pod_of
from kernels import *  # noqa: F403
from kernels import ROOT, START_S, pods_of, records_of
from support.processes import wait_until
from testcluster.kube import KubeError

BASE = ROOT / "manifests" / "base"


def apply(kube, file, namespaces):
    """The objects of a file of manifests/base, in other namespaces than theirs."""
    for item in yaml.safe_load_all((BASE / file).read_text()):
        item["metadata"]["namespace"] = namespaces[item["metadata"]["namespace"]]
        for subject in item.get("subjects", []):
            subject["namespace"] = namespaces[subject["namespace"]]
        if item["kind"] != "NetworkPolicy":
            kube.create(item)


@pytest.fixture
def account(kube, places, tmp_path):
    """A ServiceAccount with the rights of manifests/base, as a Kube."""
    namespaces = {"elara": places[0], "elara-kernels": places[1]}
    apply(kube, "access.yaml", namespaces)
    apply(kube, "kernels.yaml", namespaces)
    return kube.service_account(places[0], "elara-gateway", tmp_path / "kubeconfig")


def may_list_pods(account, namespace):
    try:
        return account.list("Pod", namespace) is not None
    except KubeError:
        return False


def test_a_kernel_runs_in_the_namespace_that_the_request_names(start_gateway, account, connect, kube, places, make_namespace):
    other = make_namespace()
    wish = {"KERNEL_NAMESPACE": other}
    options = {"kubeconfig": account.path}
    gateway = start_gateway("--kubernetes-allow", "KERNEL_NAMESPACE", **options)
    refused = gateway.start_kernel("python3", env=wish)["id"]
    told = connect(gateway, refused).run_cell("1").error["evalue"]
    assert f'may not create secrets in namespace "{other}"' in told
    assert "the Role elara-kernels in that namespace (the ClusterRole elara-kernels where the gateway makes the namespaces) has to grant it" in told
    assert gateway.delete(f"/api/kernels/{refused}").status_code == 204
    answer = gateway.post("/api/kernels", json={"name": "python3", "env": {"KERNEL_NAMESPACE": places[0]}})
    assert answer.status_code == 403
    assert f"{places[0]} is the gateway's own" in answer.json()["message"]

    apply(kube, "kernels.yaml", {"elara": places[0], "elara-kernels": other})
    wait_until(lambda: may_list_pods(account, other), START_S, "the rights")
    kernel_id = gateway.start_kernel("python3", env=wish)["id"]
    assert connect(gateway, kernel_id).run_cell("kept = 42; print(kept)").text() == "42\n"
    assert pods_of(kube, other) == [f"kernel-{kernel_id}-1"]
    assert pods_of(kube, places[1]) == []
    gateway.kill()
    gateway = start_gateway("--kubernetes-allow", "KERNEL_NAMESPACE", **options)
    assert [model["id"] for model in gateway.get("/api/kernels").json()] == [kernel_id]
    assert connect(gateway, kernel_id).run_cell("print(kept)").text() == "42\n"
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    wait_until(lambda: not pods_of(kube, other) and not kube.list("Secret", other), START_S, "the kernel's end")
    assert kube.get("Namespace", other)["status"]["phase"] == "Active"


def test_a_namespace_whose_kernel_is_no_more_is_deleted(start_gateway, connect, kube, places, make_namespace):
    install = f"test-{secrets.token_hex(4)}"  # all namespaces are seen, other tests' too
    flags = ("--kubernetes-namespaces", "kernel", "--kubernetes-install", install, "--kubernetes-sweep-grace", "2s",
             "--kubernetes-allow", "KERNEL_NAMESPACE")
    gateway = start_gateway(*flags)
    kernel_id = gateway.start_kernel("python3")["id"]
    assert connect(gateway, kernel_id).run_cell("print(1)").text() == "1\n"
    namespace = pod_of(kube, kernel_id)["namespace"]
    foreign, ours = make_namespace(), make_namespace({"elara.install": install, "elara.kind": "namespace"})
    cell = connect(gateway, gateway.start_kernel("python3", env={"KERNEL_NAMESPACE": foreign})["id"]).run_cell("1")
    assert f"{foreign} is there, and lacks the label elara.install={install}" in cell.error["evalue"]
    used = gateway.start_kernel("python3", env={"KERNEL_NAMESPACE": ours})["id"]
    assert connect(gateway, used).run_cell("print(1)").text() == "1\n"
    assert pod_of(kube, used)["namespace"] == ours
    gateway.kill()
    for record in records_of(kube, places[0]):
        kube.delete("Secret", record["metadata"]["name"], places[0])
    start_gateway(*flags)
    kube.wait_gone("Namespace", namespace, None, START_S)
    wait_until(lambda: not pods_of(kube, ours), START_S, "the end of the pod that nobody knows")
    assert kube.get("Namespace", ours)["status"]["phase"] == "Active"
