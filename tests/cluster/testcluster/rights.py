"""The Roles of manifests/, rendered, for service accounts of a test's own: whole, or with less."""
import copy
import subprocess

import yaml

from testcluster import manifests, parts

RBAC = manifests.RBAC
ROLES = ("Role", "ClusterRole")


def rendered(directory, components=()):
    """The objects of an overlay of manifests/ that are about rights. Its components may not all be in an overlay that is there."""
    texts = [subprocess.run([parts.kubernetes(), "kubectl", "kustomize", manifests.ROOT / "manifests" / directory], check=True,
                            stdout=subprocess.PIPE, text=True).stdout]
    texts += [(manifests.ROOT / "manifests" / "components" / one / "access.yaml").read_text() for one in components]
    return [item for text in texts for item in yaml.safe_load_all(text) if item["apiVersion"] == RBAC]


def granted(objects):
    """{(verb, resource, name of the Role, name of the one object or None)} of those that are bound to the gateways' account."""
    bound = {(item["roleRef"]["kind"], item["roleRef"]["name"]) for item in objects if "roleRef" in item}
    return {(verb, resource, item["metadata"]["name"], name)
            for item in objects if (item["kind"], item["metadata"]["name"]) in bound
            for rule in item["rules"] for verb in rule["verbs"] for resource in rule["resources"]
            for name in rule.get("resourceNames", [None])}


def without(objects, right):
    """The same Roles, one verb of one of them less."""
    verb, resource, role, _ = right
    less = copy.deepcopy(objects)
    for item in less:
        if item["kind"] in ROLES and item["metadata"]["name"] == role:
            for rule in item["rules"]:
                if resource in rule["resources"]:
                    rule["verbs"] = [one for one in rule["verbs"] if one != verb]
            item["rules"] = [rule for rule in item["rules"] if rule["verbs"]]
    return less


def grant(kube, objects, account, gateway, kernels):
    """To the service account in the gateway's namespace. ClusterRoles get names of their own, which this returns for revoke()."""
    made = []
    prefix = f"{gateway}-{account}-"
    for item in copy.deepcopy(objects):
        meta = item["metadata"]
        if item["kind"].startswith("Cluster"):
            meta["name"] = prefix + meta["name"]
            made.append((item["kind"], meta["name"]))
        else:
            meta["namespace"] = kernels if meta["name"] == "elara-kernels" else gateway
            meta["name"] = f"{account}-{meta['name']}"
        for rule in item.get("rules", []):
            if "resourceNames" in rule:
                rule["resourceNames"] = [prefix + one for one in rule["resourceNames"]]
        if "roleRef" in item:
            begin = prefix if item["roleRef"]["kind"] == "ClusterRole" else f"{account}-"
            item["roleRef"]["name"] = begin + item["roleRef"]["name"]
            item["subjects"] = [{"kind": "ServiceAccount", "name": account, "namespace": gateway}]
        kube.create(item, meta.get("namespace"))
    return made


def revoke(kube, made):
    for kind, name in made:
        kube.delete(kind, name, api=RBAC)
