"""manifests/overlays: gateways that make the namespaces of their kernels."""
import contextlib
import re
import secrets
import shutil
import textwrap

import pytest
import requests
import yaml

from deployments import QUICK, USER, Client, check_rights, delete_kernel, deployed, live, pod_of, wait_for_nothing
from kernels import *  # noqa: F403
from kernels import ROOT, START_S
from support.processes import wait_until
from test_token_review import name_of, token_of
from testcluster import manifests
from testcluster.images import IPYKERNEL
from testcluster.manifests import GATEWAY

pytestmark = pytest.mark.timeout(600)  # files that apply the manifests wait for each other
RECIPES = ROOT / "docs" / "recipes.md"


def own_install():
    """A gateway that sees all namespaces would take the objects of other tests' gateways for its own."""
    return f"test-{secrets.token_hex(4)}"


def labels_of(namespace):
    return namespace["metadata"]["labels"]


def test_a_namespace_for_each_user_is_made_and_kept(kube, launcher_image, tmp_path):
    install = own_install()
    settings = (f"{QUICK}kubernetes_install: {install}\nkubernetes_namespace_prefix: {install}-\nkubernetes_cluster_role: elara-kernel\n"
                f"token_review: true\ntoken_review_namespaces: [{GATEWAY}]\n")
    with deployed(kube, tmp_path, launcher_image, overlay="namespace-per-user", settings=settings, prepare=let_notebooks_make_apps,
                  components=["token-review", "kernel-role"]) as service:
        assert name_of(service, token_of(kube, GATEWAY, "elara-gateway")) == "elara-gateway"
        place = live(service, kube)
        name = place["metadata"]["name"]
        assert name.startswith(f"{install}-ann-lee")
        assert labels_of(place).items() >= {"elara.install": install, "pod-security.kubernetes.io/enforce": "restricted"}.items()
        assert "elara.kernel" not in labels_of(place)
        wait_for_nothing(kube, name)
        check_network_policy(kube, name)
        check_app(kube, service, name)
        check_rights(kube, service)
        assert kube.get("Namespace", name)["status"]["phase"] == "Active"
        kube.delete("Namespace", name)


def let_notebooks_make_apps(overlay):
    """docs/recipes.md, "An app out of a notebook"."""
    (overlay / "apps.yaml").write_text(manifests.files_of(RECIPES)["my-elara/apps.yaml"])
    for name, line in (("kustomization.yaml", "patches: [{path: apps.yaml}]\n"), ("pod.yaml", "  automountServiceAccountToken: true\n")):
        with open(overlay / name, "a") as file:
            file.write(line)


def answer_of(address):
    with contextlib.suppress(requests.ConnectionError):  # its pod has yet to start
        return requests.get(f"http://{address}", timeout=5).text


def check_app(kube, service, namespace):
    """What the recipe's cell makes answers when the kernel is gone; the cell can make nothing else, and nothing elsewhere."""
    (cell,) = re.findall(r"^    # a cell\n((?:    .*\n)+)", RECIPES.read_text(), re.MULTILINE)
    kernel_id = service.start_kernel("python3", env={"KERNEL_USERNAME": USER})["id"]
    with Client(service, kernel_id, timeout=START_S) as client:
        shown = client.run_cell(textwrap.dedent(cell).replace("quay.io/jupyter/base-notebook", IPYKERNEL) + "print(namespace)")
        assert shown.text() == f"{namespace}\n", shown.everything()
        for line in ('make("api/v1", "secrets", metadata=name)', f'namespace = "{GATEWAY}"; make("api/v1", "configmaps", metadata=name)'):
            assert client.run_cell(line).error["evalue"] == "HTTP Error 403: Forbidden", line
    delete_kernel(service, kernel_id)
    wait_until(lambda: not kube.list("Pod", namespace, labelSelector=f"kernel_id={kernel_id}"), START_S, "the end of the kernel's pod")
    address = kube.get("Service", "hello", namespace)["spec"]["clusterIP"]
    wait_until(lambda: answer_of(address) == "<h1>hello</h1>", START_S, "the app's answer")


def test_a_namespace_for_each_kernel_goes_with_it(kube, cluster, launcher_image, tmp_path):
    install = own_install()
    (cluster.nfs_directory / install).mkdir()
    settings = (f"{QUICK}kubernetes_install: {install}\nkubernetes_cluster_role: elara-kernel\nhome_server: {cluster.nfs_server}\n"
                f"home_export: {cluster.nfs_share}/{install}\nhome_volume: claim\n")
    with deployed(kube, tmp_path, launcher_image, overlay="namespace-per-kernel", settings=settings,
                  components=["kernel-role", "home-claims"]) as service:
        place = live(service, kube)
        labels = labels_of(place)
        assert labels.items() >= {"elara.install": install, "pod-security.kubernetes.io/enforce": "restricted",
                                  "app": "enterprise-gateway", "component": "kernel"}.items()
        assert labels["kernel_id"] == place["metadata"]["annotations"]["elara.kernel-id"]
        kube.wait_gone("Namespace", place["metadata"]["name"], None, START_S)
        wait_until(lambda: not kube.list("PersistentVolume", labelSelector=f"elara.install={install}"), START_S, "the volume's end")
        check_rights(kube, service)
        check_binding(kube, service, install)
    shutil.rmtree(cluster.nfs_directory / install)


def check_network_policy(kube, namespace):
    """That of manifests/base, of which test_manifests.py looks what it is about."""
    (base,) = [item for item in yaml.safe_load_all((ROOT / "manifests/base/kernels.yaml").read_text()) if item["kind"] == "NetworkPolicy"]
    base["spec"]["ingress"][0]["ports"][0]["protocol"] = "TCP"  # the API server's default
    (policy,) = kube.list("NetworkPolicy", namespace, "networking.k8s.io/v1")
    assert (policy["metadata"]["name"], policy["spec"]) == (base["metadata"]["name"], base["spec"])


def check_binding(kube, service, install):
    """A kernel's service account has the role that is set; without the right to give it, the cell says which is missing."""
    kernel_id = service.start_kernel("python3")["id"]
    namespace = pod_of(kube, kernel_id)["namespace"]
    check_network_policy(kube, namespace)
    (binding,) = kube.list("RoleBinding", namespace, manifests.RBAC)
    assert binding["metadata"]["name"] == binding["roleRef"]["name"] == "elara-kernel"
    assert binding["roleRef"]["kind"] == "ClusterRole"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}]
    delete_kernel(service, kernel_id)
    kube.kubectl("patch", "clusterrole", "elara-kernel-role", "--type=json", "--patch", '[{"op": "remove", "path": "/rules/1"}]')
    kernel_id = service.start_kernel("python3")["id"]
    with Client(service, kernel_id, timeout=START_S) as client:
        told = client.run_cell("1").error["evalue"]
    assert f'{manifests.USER} may not bind clusterroles "elara-kernel"' in told
    assert 'resourceNames: ["elara-kernel"], verbs: ["bind"]' in told
    delete_kernel(service, kernel_id)
    wait_until(lambda: not kube.list("Namespace", labelSelector=f"elara.install={install}"), START_S, "the namespaces' end")
