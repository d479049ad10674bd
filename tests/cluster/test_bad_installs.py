"""What an administrator does wrong when installing, and what `elara doctor` and Helm then say."""
import json
import os
import re
import subprocess

import pytest

from kernels import *  # noqa: F403
from kernels import START_S
from lab import NAMESPACE, volume_of_kernelspecs
from support.processes import wait_until
from testcluster import chart

IMAGE = "localhost/elara-test/no-such:1"
CLAIM = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "kernelspecs-pvc"}}


@pytest.fixture
def alone(kube):
    with chart.alone(kube, NAMESPACE):
        yield


def told_of_pods(build, cluster, kube, specs):
    """As the cluster's administrator, from outside: no gateway runs."""
    done = subprocess.run([build / "elara", "doctor", "--json", "--provisioner", "kubernetes", "--kubernetes-namespaces", "kernel", "--port", "0",
                           "--kernelspec-dirs", str(specs), "--kubernetes-launcher-image", IMAGE, "--kubernetes-gateway-namespace", NAMESPACE,
                           "--service-account", "elara-gateway", "--kubeconfig", kube.path], capture_output=True, text=True, timeout=60,
                          env={"PATH": os.environ["PATH"]})
    checks = json.loads(done.stdout)["checks"]
    (rights,) = [each for each in checks if each["check"] == "rights"]
    assert rights["text"].startswith(f"system:serviceaccount:{NAMESPACE}:elara-gateway has all "), rights
    return "\n".join(f"{each['state']}: {each['text']}" for each in checks if each["check"] == "pod")


def test_a_release_without_its_claim_with_another_class_and_with_no_image(alone, build, cluster, kube, specs, make_namespace):
    """One after the other, as they are met; the namespace is there already, and a second release is refused."""
    def tells(pattern):
        said = []
        wait_until(lambda: said.append(told_of_pods(build, cluster, kube, specs)) or re.search(pattern, said[-1]), START_S, pattern)

    chart.helm("install", chart.RELEASE, chart.CHART, "--namespace", NAMESPACE, "--values", "-",
               values={"image": IMAGE, "deployment": {"replicas": 1}, "settings": {"kubernetes_install": "bad-installs"}})
    tells(rf'elara-gateway-\S+ in {NAMESPACE}: .*persistentvolumeclaim "kernelspecs-pvc" not found')
    kube.create(CLAIM | {"spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "no-such",
                                  "resources": {"requests": {"storage": "1Mi"}}}}, NAMESPACE)
    tells(rf"elara-gateway-\S+ in {NAMESPACE}: .*unbound immediate PersistentVolumeClaims")
    kube.wait_event(NAMESPACE, "kernelspecs-pvc", "ProvisioningFailed", START_S)
    kube.delete("PersistentVolumeClaim", "kernelspecs-pvc", NAMESPACE)
    kube.wait_gone("PersistentVolumeClaim", "kernelspecs-pvc", NAMESPACE)
    for item in volume_of_kernelspecs(cluster.nfs_server, cluster.nfs_share):
        kube.create(item)
    try:
        tells(rf"elara-gateway-\S+ in {NAMESPACE}: .*{IMAGE}")
        with pytest.raises(chart.HelmError, match='ClusterRole "elara-[a-z-]+".* exists and cannot be imported into the current release'):
            chart.helm("install", "second", chart.CHART, "--namespace", make_namespace(), "--values", "-", values={"image": IMAGE})
        # What then stays, and what to do about it, is in docs/troubleshooting.md.
        with pytest.raises(chart.HelmError, match=r"uninstallation completed with 1 error\(s\): (?s:.*)timed out waiting for the condition"):
            chart.helm("uninstall", chart.RELEASE, "--namespace", NAMESPACE, "--timeout", "2s")
        with pytest.raises(chart.HelmError, match="release: not found"):
            chart.helm("status", chart.RELEASE, "--namespace", NAMESPACE)
        assert [job["metadata"]["name"] for job in kube.list("Job", NAMESPACE, "batch/v1")] == ["elara-uninstall"]
        assert kube.get("ServiceAccount", "elara-uninstall", NAMESPACE) is None
    finally:
        kube.delete("PersistentVolume", "lab-kernelspecs")
