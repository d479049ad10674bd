"""docs/recipes.md, followed: what it puts beside manifests/base, and the claims."""
import ipaddress
import re

import pytest
import requests
import yaml

from deployments import QUICK, Service, delete_kernel, wait_for_cell
from homes import share  # noqa: F401
from kernels import *  # noqa: F403
from kernels import START_S
from support.processes import wait_until
from testcluster import manifests
from testcluster.images import IPYKERNEL
from testcluster.layout import ADDRESS, API_SERVICE
from testcluster.manifests import GATEWAY, KERNELS
from testcluster.pods import has_ended, pod

PAGE = manifests.ROOT / "docs" / "recipes.md"


def add_recipes(overlay):
    """As the page's first lines say, and the two that are said in the text: another kernelspec, and a Secret for the first one."""
    kustomization = yaml.safe_load((overlay / "kustomization.yaml").read_text()) | {"patches": []}
    for path, text in manifests.files_of(PAGE).items():
        name = path.removeprefix("my-elara/")
        (overlay / name).write_text(text.replace("quay.io/jupyter/base-notebook", IPYKERNEL))
        if text.startswith("# patch\n"):
            kustomization["patches"].append({"path": name})
        else:
            kustomization["resources"].append(name)
    kustomization["configMapGenerator"] += yaml.safe_load(re.search(r"`(- \{name: elara-kernelspec-r,.*\})`", PAGE.read_text())[1])
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    (overlay / "r").mkdir()
    (overlay / "r" / "kernel.json").write_text('{"argv": ["R"], "display_name": "R", "language": "R"}')
    template = yaml.safe_load((overlay / "pod.yaml").read_text())
    (overlay / "r" / "pod.yaml").write_text(yaml.safe_dump(template))
    (more,) = re.findall(r"^          envFrom: (.*)$", PAGE.read_text(), re.MULTILINE)
    template["spec"]["containers"][0]["envFrom"] = yaml.safe_load(more)
    (overlay / "pod.yaml").write_text(yaml.safe_dump(template))


@pytest.fixture(scope="module")
def service(kube, launcher_image, tmp_path_factory):
    overlay = manifests.write_overlay(tmp_path_factory.mktemp("recipes"), launcher_image, IPYKERNEL, settings=QUICK, components=["kernel-role"])
    add_recipes(overlay)
    with manifests.applied(kube, overlay):
        one = Service(kube)
        wait_until(one.is_there, START_S, "an answer through the Service")
        yield one


def test_kernels_images_are_held_on_the_node(service, kube):
    found = kube.wait_for("DaemonSet", "kernel-images", KERNELS, lambda item: item["status"].get("numberReady", 0) > 0, api="apps/v1")
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == IPYKERNEL


def test_gateways_run_where_and_with_what_is_said(service, kube):
    found = kube.get("Deployment", "elara-gateway", GATEWAY, "apps/v1")
    assert found["status"]["readyReplicas"] == 3
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
    assert container["image"] != "elara" and container["readinessProbe"]  # the patch has left the rest


def test_the_gateways_are_reached_from_outside(service, kube, cluster):
    """The cluster has no load balancer: the node's port is what it would lead to."""
    spec = kube.get("Service", "enterprise-gateway", GATEWAY)["spec"]
    assert (spec["type"], spec["sessionAffinity"], spec["externalTrafficPolicy"]) == ("LoadBalancer", "ClientIP", "Local")
    (port,) = [port["nodePort"] for port in spec["ports"] if port["name"] == "http"]
    assert requests.get(f"http://{cluster.address}:{port}/readyz", timeout=30).status_code == 200


def test_a_kernel_runs_with_what_its_secret_says(service, kube):
    assert sorted(service.get("/api/kernelspecs").json()["kernelspecs"]) == ["python3", "r"]
    kernel_id = service.start_kernel("python3")["id"]
    assert wait_for_cell(service, kernel_id, "import os; print(os.environ['AWS_ACCESS_KEY_ID'])") == "CHANGE-ME\n"
    delete_kernel(service, kernel_id)
    wait_until(lambda: not kube.list("Pod", KERNELS, labelSelector=f"kernel_id={kernel_id}"), START_S, "the pod's end")


def test_policies_say_who_comes_and_where_kernels_go(service, kube, cluster):
    """The bridge of the test cluster enforces none. The API server, the NFS server and the node have addresses that kernels are kept from."""
    of_gateways = kube.get("NetworkPolicy", "elara-gateway", GATEWAY, "networking.k8s.io/v1")["spec"]["ingress"]
    assert [(rule["ports"][0]["port"], len(rule["from"])) for rule in of_gateways] == [(8888, 1)]
    base, more = (kube.get("NetworkPolicy", name, KERNELS, "networking.k8s.io/v1")["spec"] for name in ("elara-kernels", "elara-kernels-egress"))
    assert base["podSelector"] == more["podSelector"] and more["policyTypes"] == ["Egress"]
    names, world = more["egress"]
    assert names == {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
                     "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    ((peer,),) = world.values()
    block = peer["ipBlock"]
    assert peer.keys() == {"ipBlock"} and block["cidr"] == "0.0.0.0/0"
    kept_from = [ipaddress.ip_network(one) for one in block["except"]]
    for address in (API_SERVICE, ADDRESS, cluster.nfs_server, "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254"):
        assert any(ipaddress.ip_address(address) in one for one in kept_from), address
    assert not any(ipaddress.ip_address("192.0.2.1") in one for one in kept_from)


@pytest.mark.parametrize("verb, what, allowed", [("list", "pods", True), ("get", "pods/log", True), ("list", "secrets", False), ("delete", "pods", False)])
def test_viewers_see_pods_and_no_secrets(service, kube, verb, what, allowed):
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": {
        "user": "eve", "groups": ["lab-support"], "resourceAttributes": {
            "namespace": KERNELS, "verb": verb, "resource": what.partition("/")[0], "subresource": what.partition("/")[2]}}}
    assert kube.create(review)["status"]["allowed"] is allowed


def test_the_role_for_apps_is_the_kernels_role(service, kube):
    rules = kube.get("ClusterRole", "elara-kernel", api=manifests.RBAC)["rules"]
    assert {what for rule in rules for what in rule["resources"]} == {"deployments", "configmaps", "services"}  # test_overlays.py uses them


# -- claims --

def objects_of(file):
    """The block of the page that begins with the file's name."""
    block = re.search(rf"^    # {file}\n((?:    .*\n)+)", PAGE.read_text(), re.MULTILINE)[1]
    return list(yaml.safe_load_all(re.sub("^    ", "", block, flags=re.MULTILINE)))


def bind(kube, cluster, namespace, path, volume, claim):
    """They stand in a namespace of the test's, and lead to its directory."""
    volume["metadata"]["name"] = claim["spec"]["volumeName"] = namespace
    claim["spec"]["storageClassName"] = volume["spec"]["storageClassName"]
    volume["spec"]["claimRef"]["namespace"] = claim["metadata"]["namespace"] = namespace
    volume["spec"]["nfs"] = {"server": cluster.nfs_server, "path": path}
    kube.create(volume)
    kube.create(claim)
    kube.wait_for("PersistentVolumeClaim", claim["metadata"]["name"], namespace, lambda item: item["status"]["phase"] == "Bound")
    return claim["metadata"]["name"]


@pytest.mark.parametrize("page", ["homes", "kernelspecs"])
def test_claims_are_bound_and_mounted(kube, cluster, namespace, share, page):  # noqa: F811
    volume, claim = objects_of("homes.yaml") if page == "homes" else objects_of("volume.yaml") + objects_of("claim.yaml")
    try:
        name = bind(kube, cluster, namespace, share[1], volume, claim)
        mount = {"name": "files", "mountPath": "/files", "subPath": "data"}
        kube.create(pod("reader", "cat", "/files/table.csv", volumes=[{"name": "files", "persistentVolumeClaim": {"claimName": name}}],
                        container={"volumeMounts": [mount]}), namespace)
        kube.wait_for("Pod", "reader", namespace, has_ended)
        assert kube.logs("reader", namespace) == "1,2\n"
    finally:
        kube.delete("PersistentVolume", namespace)
