"""Elara installed by its chart, with the values that a lab had for Jupyter Enterprise Gateway's."""
import base64
import contextlib
import re
import uuid

from deployments import Service
from kernels import START_S
from lab import NAMESPACE, Lab, volume_of_kernelspecs
from support.processes import wait_until
from testcluster import chart, manifests

LAB_VALUES = chart.CHART.parents[1] / "tests" / "cluster" / "lab-values.yaml"
README = chart.CHART.parents[1] / "README.md"
VOLUME = "lab-kernelspecs"


class Release(Lab):
    """The lab of test_lab.py, installed by the chart. settings and others are what all commands say beside the lab's own file."""

    settings = {"kubernetes_allow": ["KERNEL_PATH"]}
    others = {}

    def values(self, settings):
        ours = {"kubernetes_install": self.name, "tombstone_retention": "1s", "cull_interval": "1s"}
        return {"image": self.launcher_image, "settings": ours | self.settings | settings} | self.others

    def install(self):
        """With README.md's command; returns the notes."""
        (command,) = re.findall(r"^    helm (install .*)$", README.read_text(), re.MULTILINE)
        ours = {"manifests/helm": chart.CHART, "your-jeg-values.yaml": LAB_VALUES, "REGISTRY/elara:0.1.0": self.launcher_image}
        for name, place in ours.items():
            command = command.replace(name, str(place))
        return chart.helm(*command.split(), "--values", "-", values=self.values({}))

    def helm(self, verb, **settings):
        words = ["--values", LAB_VALUES, "--values", "-"] if verb != "uninstall" else []
        target = [chart.RELEASE, chart.CHART] if words else [chart.RELEASE]
        return chart.helm(verb, *target, "--namespace", NAMESPACE, *words, values=self.values(settings))

    def roll_back(self, revision):
        return chart.helm("rollback", chart.RELEASE, revision, "--namespace", NAMESPACE)

    def token(self):
        return base64.b64decode(self.kube.get("Secret", "elara-token", NAMESPACE)["data"]["token"]).decode()

    def hurry(self):
        """The kubelet looks after the files of a pod when it changes, else once a minute."""
        for name in manifests.gateway_pods(self.kube, NAMESPACE):
            self.kube.patch("Pod", name, NAMESPACE, {"metadata": {"annotations": {"seen": uuid.uuid4().hex}}})

    def wait(self):
        self.kube.kubectl("rollout", "status", "deployment/elara-gateway", f"--timeout={manifests.ROLLOUT_S}s", namespace=NAMESPACE)
        service = Service(self.kube, NAMESPACE, self.token())
        wait_until(service.is_there, START_S, "an answer through the Service")
        return service


@contextlib.contextmanager
def release_in(kube, cluster, folder, launcher_image):
    """What has to be there before `helm install`."""
    one = Release(kube, cluster, folder, launcher_image)
    one.make_files()
    try:
        with chart.alone(kube, NAMESPACE):
            kube.delete("PersistentVolume", VOLUME)  # of a run that was killed
            kube.wait_gone("PersistentVolume", VOLUME, None)
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


def check_uninstall(kube, release, began):
    """Nothing is left, and the hook had no right that it did not need."""
    assert left(kube, release) == set()
    events = manifests.requests_since(began, NAMESPACE, "elara-uninstall")
    assert [manifests.describe(event) for event in events if manifests.is_forbidden(event)] == []
    used = {pair for pairs in manifests.rights_used(events).values() for pair in pairs}
    rules = [rule for item in chart.Rendered({}).objects.values() if item["metadata"]["name"] == "elara-uninstall" for rule in item.get("rules", [])]
    assert used == {(verb, resource) for rule in rules for verb in rule["verbs"] for resource in rule["resources"]}
