"""manifests/helm, installed with the values that a lab had for Jupyter Enterprise Gateway's chart, upgraded and uninstalled."""
import base64

import pytest

from deployments import Client, Service, check_rights, live, pod_of, wait_for_cell
from kernels import *  # noqa: F403
from kernels import START_S
from lab import NAMESPACE, Lab, volume_of_kernelspecs
from support.processes import wait_until
from testcluster import chart, manifests

LAB_VALUES = chart.CHART.parents[1] / "tests" / "cluster" / "lab-values.yaml"
VOLUME = "lab-kernelspecs"


class Release(Lab):
    """The lab of test_lab.py, installed by the chart."""

    def values(self, **settings):
        """What is said beside the lab's own file."""
        return {"image": self.launcher_image, "settings": {
            "kubernetes_install": self.name, "kubernetes_allow": ["KERNEL_PATH"], "tombstone_retention": "1s", "cull_interval": "1s"} | settings}

    def helm(self, verb, **settings):
        words = ["--values", LAB_VALUES, "--values", "-"] if verb != "uninstall" else []
        target = [chart.RELEASE, chart.CHART] if words else [chart.RELEASE]
        return chart.helm(verb, *target, "--namespace", NAMESPACE, *words, values=self.values(**settings))

    def token(self):
        return base64.b64decode(self.kube.get("Secret", "elara-token", NAMESPACE)["data"]["token"]).decode()

    def wait(self):
        self.kube.kubectl("rollout", "status", "deployment/elara-gateway", f"--timeout={manifests.ROLLOUT_S}s", namespace=NAMESPACE)
        service = Service(self.kube, NAMESPACE, self.token())
        wait_until(service.is_there, START_S, "an answer through the Service")
        return service


@pytest.fixture
def release(kube, cluster, launcher_image, tmp_path):
    one = Release(kube, cluster, tmp_path, launcher_image)
    one.make_files()
    try:
        with chart.alone(kube, NAMESPACE):
            for item in volume_of_kernelspecs(cluster.nfs_server, f"{one.share}/kernelspecs"):
                kube.create(item)
            yield one
    finally:
        kube.delete("PersistentVolume", VOLUME)
        one.clean()


def left(kube, release):
    """What has to do with the release, wherever it is."""
    items = [item for kind in ("Namespace", "Pod", "Secret") for item in kube.list(kind, labelSelector=f"elara.install={release.name}")]
    for kind, api in (("Secret", "v1"), ("ConfigMap", "v1"), ("Service", "v1"), ("Deployment", "apps/v1"), ("Job", "batch/v1"), ("Pod", "v1"),
                      ("ServiceAccount", "v1"), ("Role", manifests.RBAC), ("RoleBinding", manifests.RBAC),
                      ("NetworkPolicy", "networking.k8s.io/v1"), ("PodDisruptionBudget", "policy/v1")):
        items += kube.list(kind, NAMESPACE, api)
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        items += [item for item in kube.list(kind, api=manifests.RBAC) if item["metadata"]["name"].startswith("elara-")]
    return {item["metadata"]["name"] for item in items} - {"kube-root-ca.crt", "default"}


def test_the_lab_s_values_install_and_what_they_bring_goes_again(release, kube):
    began = manifests.end_of_audit_log()
    notes = release.helm("install")
    assert "value " not in notes and "JUPYTER_GATEWAY_URL=http://enterprise-gateway.enterprise-gateway:8888" in notes
    service = release.wait()
    service.began = began
    deployment = kube.get("Deployment", "elara-gateway", NAMESPACE, "apps/v1")["spec"]
    assert (deployment["replicas"], deployment["template"]["spec"]["terminationGracePeriodSeconds"]) == (1, 60)
    assert deployment["template"]["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "5Gi"}
    assert service.get("/api/kernelspecs").json()["default"] == "python_kubernetes"

    kernel_id = service.start_kernel("python_kubernetes", env={"KERNEL_USERNAME": "alice", "KERNEL_PATH": release.kernel_path})["id"]
    assert wait_for_cell(service, kernel_id, "kept = 42; print(open('/home/jovyan/data.csv', 'w').write('1,2'))") == "3\n"
    release.helm("upgrade", default_kernel_name="python_edited")
    assert release.token() == service.token
    for name in manifests.gateway_pods(kube, NAMESPACE):  # the kubelet looks after its files when the pod changes, else once a minute
        kube.patch("Pod", name, NAMESPACE, {"metadata": {"annotations": {"seen": "true"}}})
    wait_until(lambda: service.get("/api/kernelspecs").json()["default"] == "python_edited", START_S, "the upgrade's setting")
    assert wait_for_cell(service, kernel_id, "print(kept)") == "42\n"

    place = live(service, kube, "python_kubernetes", KERNEL_PATH=release.kernel_path)
    kube.wait_gone("Namespace", place["metadata"]["name"], None, START_S)
    check_rights(kube, service)

    namespace = pod_of(kube, kernel_id)["namespace"]
    began = manifests.end_of_audit_log()
    release.helm("uninstall")
    check_uninstall(kube, release, began)
    assert kube.get("Namespace", namespace) is None
    assert (release.home / "data.csv").read_text() == "1,2"
    assert kube.get("PersistentVolumeClaim", "kernelspecs-pvc", NAMESPACE)["status"]["phase"] == "Bound"


def check_uninstall(kube, release, began):
    """Nothing is left, and the hook had no right that it did not need."""
    assert left(kube, release) == set()
    events = manifests.requests_since(began, NAMESPACE, "elara-uninstall")
    assert [manifests.describe(event) for event in events if manifests.is_forbidden(event)] == []
    used = {pair for pairs in manifests.rights_used(events).values() for pair in pairs}
    rules = [rule for item in chart.Rendered({}).objects.values() if item["metadata"]["name"] == "elara-uninstall" for rule in item.get("rules", [])]
    assert used == {(verb, resource) for rule in rules for verb in rule["verbs"] for resource in rule["resources"]}
