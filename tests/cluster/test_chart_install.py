"""manifests/helm, installed with the values that a lab had for Jupyter Enterprise Gateway's chart, upgraded and uninstalled."""
import pytest

from deployments import check_rights, live, pod_of, wait_for_cell
from kernels import *  # noqa: F403
from kernels import START_S
from lab import NAMESPACE
from releases import check_uninstall, release_in
from support.processes import wait_until
from testcluster import manifests


@pytest.fixture
def release(kube, cluster, launcher_image, tmp_path):
    with release_in(kube, cluster, tmp_path, launcher_image) as one:
        yield one


def test_the_lab_s_values_install_and_what_they_bring_goes_again(release, kube):
    began = manifests.end_of_audit_log()
    notes = release.install()
    assert "value " not in notes and "JUPYTER_GATEWAY_URL=http://enterprise-gateway.enterprise-gateway:8888" in notes
    assert "until the claim kernelspecs-pvc" in notes and "kubernetes_allow" not in notes  # which the lab has said
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
    release.hurry()
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
