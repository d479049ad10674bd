"""manifests/helm: what it renders, and its releases in the cluster."""
import contextlib
import json
import os
import subprocess
import tempfile

import yaml

from testcluster import manifests, parts
from testcluster.layout import KUBECONFIG

CHART = manifests.ROOT / "manifests" / "helm"
RELEASE = "elara"


class HelmError(AssertionError):
    """What it has said."""


def helm(*words, values=None):
    """values: a tree, for `--values -`."""
    text = yaml.safe_dump(values)
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run([parts.helm(), *words], input=text, capture_output=True, text=True, timeout=300,
                              env=os.environ | {"HOME": home, "KUBECONFIG": str(KUBECONFIG)})
    if done.returncode != 0:
        raise HelmError("\n".join(line for line in done.stderr.splitlines() if "found symbolic link" not in line))
    return done.stdout


def name_of(item):
    return item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]


class Rendered:
    """What an install would bring. objects: {(kind, namespace, name): object}, those of hooks too. looks: at what is in the cluster."""

    def __init__(self, values, namespace="enterprise-gateway", chart=CHART, looks=False):
        self.words = RELEASE, chart, "--namespace", namespace, "--values", "-"
        self.values = values
        texts = helm("template", *self.words, *(["--dry-run=server"] if looks else []), values=values)
        self.objects = {name_of(item): item for item in yaml.safe_load_all(texts) if item}

    @property
    def warnings(self):
        """Of the notes that an admin sees. Helm changes nothing, and does not mind what another test has there at the moment."""
        made = json.loads(helm("install", *self.words, "--dry-run=client", "--take-ownership", "--output=json", values=self.values))
        return [line for line in made["info"]["notes"].splitlines() if line.startswith("value ")]

    def one(self, kind, name=None):
        """The object of that kind (and name)."""
        (item,) = [item for key, item in self.objects.items() if key[0] == kind and name in (None, key[2])]
        return item

    def has(self, kind, name):
        return any((kind, name) == (key[0], key[2]) for key in self.objects)

    @property
    def settings(self):
        return yaml.safe_load(self.one("ConfigMap", "elara-settings")["data"]["elara.yaml"])

    @property
    def pod(self):
        return self.one("Deployment")["spec"]["template"]["spec"]


@contextlib.contextmanager
def alone(kube, namespace):
    """One test at a time has the names of the manifests. What is in the namespace goes before and afterwards."""
    with manifests.locked():
        clear(kube, namespace)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
        try:
            yield
        finally:
            manifests.print_gateways(kube, namespace)
            clear(kube, namespace)


def clear(kube, namespace):
    """Of a run that was killed, too, whose release may be half there."""
    with contextlib.suppress(HelmError):
        helm("uninstall", RELEASE, "--namespace", namespace, "--no-hooks")
    for kind in ("ClusterRoleBinding", "ClusterRole"):
        for item in kube.list(kind, api=manifests.RBAC):
            if item["metadata"].get("annotations", {}).get("meta.helm.sh/release-namespace") == namespace or item["metadata"]["name"] == "elara-uninstall":
                kube.delete(kind, item["metadata"]["name"], api=manifests.RBAC)
    kube.delete("Namespace", namespace)
    kube.wait_gone("Namespace", namespace, None, 90)
