"""The manifests, applied as docs/kubernetes.md tells an administrator to ("From nothing to a kernel").

The names in them are fixed, so one test at a time has them.
"""
import contextlib
import fcntl
import json
import re
import shutil
import textwrap
from collections import defaultdict
from pathlib import Path

import requests

from testcluster.control_plane import AUDIT_LOG
from testcluster.layout import HOME

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "kubernetes.md"
MIGRATION = ROOT / "docs" / "migrating-from-jeg.md"
GATEWAY, KERNELS = "elara", "elara-kernels"  # the namespaces
TOKEN = "CHANGE-ME"
ROLLOUT_S = 120
RBAC = "rbac.authorization.k8s.io/v1"


def user(namespace=GATEWAY, account="elara-gateway"):
    """The gateways, as the API server knows them."""
    return f"system:serviceaccount:{namespace}:{account}"


USER = user()


def files_of(page):
    """{path: text} of the files that the page has one write: indented blocks that begin with "# <path>"."""
    files = {}
    for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", page.read_text(), re.MULTILINE):
        for part in re.split(r"\n\n(?=# |\S)", textwrap.dedent(block).strip("\n")):
            name = re.match(r"# (my-elara/\S+)\n", part)
            if name:
                files[name[1]] = part[name.end():] + "\n"
    return files


def write_overlay(directory, image, kernel_image, overlay=None, settings="", components=(), page=PAGE, objects=()):
    """What an administrator has in his directory; returns the path for `kubectl apply -k`.

    overlay: one of manifests/overlays instead of the base; settings: more lines of elara.yaml; objects: that are there as well.
    """
    shutil.copytree(ROOT / "manifests", directory / "manifests")
    name, _, tag = image.rpartition(":")
    files = files_of(page)
    if overlay:
        place = f"manifests/overlays/{overlay}"
        files["my-elara/kustomization.yaml"] = files["my-elara/kustomization.yaml"].replace("manifests/base", place)
        files["my-elara/elara.yaml"] = (ROOT / place / "elara.yaml").read_text().replace("image: elara", f"image: {image}")
    files["my-elara/elara.yaml"] += settings
    if components:
        files["my-elara/kustomization.yaml"] += f"components: {json.dumps([f'../manifests/components/{one}' for one in components])}\n"
    if objects:
        files["my-elara/kustomization.yaml"] = files["my-elara/kustomization.yaml"].replace("resources: [", "resources: [objects.json, ")
        files["my-elara/objects.json"] = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    for path, text in files.items():
        text = text.replace("REGISTRY/elara:0.1.0", image).replace("REGISTRY/elara", name).replace("newTag: 0.1.0", f"newTag: {tag}")
        text = text.replace("quay.io/jupyter/base-notebook", kernel_image)
        (directory / path).parent.mkdir(exist_ok=True)
        (directory / path).write_text(text)
    return directory / "my-elara"


@contextlib.contextmanager
def locked():
    """The names in the manifests are one test's."""
    with open(HOME / "manifests.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def applied(kube, directory, namespace=GATEWAY):
    """Applies the overlay and waits for the gateways; deletes all of it afterwards. Gives the end_of_audit_log() before it."""
    with locked():
        remove(kube, directory)  # of a run that was killed
        began = end_of_audit_log()
        try:
            kube.kubectl("apply", "-k", directory)
            kube.kubectl("rollout", "status", "deployment/elara-gateway", f"--timeout={ROLLOUT_S}s", namespace=namespace)
            yield began
        finally:
            print_gateways(kube, namespace)
            remove(kube, directory)


def remove(kube, directory):
    kube.kubectl("delete", "-k", directory, "--ignore-not-found", "--wait", "--timeout=90s")


def gateway_pods(kube, namespace=GATEWAY):
    """The names of those that are not on their way out."""
    selector = "app.kubernetes.io/name=elara,app.kubernetes.io/component=gateway"
    return [pod["metadata"]["name"] for pod in kube.list("Pod", namespace, labelSelector=selector)
            if "deletionTimestamp" not in pod["metadata"]]


def gateway_log(kube, namespace=GATEWAY):
    return "\n".join(kube.logs(name, namespace) for name in gateway_pods(kube, namespace))


def print_gateways(kube, namespace):
    """For pytest to show when a test fails."""
    with contextlib.suppress(AssertionError, requests.RequestException):
        for name in gateway_pods(kube, namespace):
            print("\n".join([f"--- {name}", *kube.events(namespace, name)]))
        print(gateway_log(kube, namespace)[-8000:])


# -- rights --
def end_of_audit_log():
    return AUDIT_LOG.stat().st_size


def requests_since(position, namespace=GATEWAY, account="elara-gateway"):
    """The API server's audit events of the gateways, from the end_of_audit_log() of an earlier moment."""
    name = user(namespace, account)
    with open(AUDIT_LOG, "rb") as log:
        log.seek(position)
        lines = [line for line in log if name.encode() in line and line.endswith(b"\n")]
    return [event for event in map(json.loads, lines) if event["user"]["username"] == name]


def describe(event):
    return f"{event['verb']} {event['requestURI']}: {event['responseStatus'].get('message')}"


def is_forbidden(event):
    return event["annotations"].get("authorization.k8s.io/decision") == "forbid"


def rights_used(events):
    """{Role: {(verb, resource)}} that let requests through."""
    used = defaultdict(set)
    for event in events:
        role = re.search(r' of (Role|ClusterRole) "([^"]+)"', event["annotations"].get("authorization.k8s.io/reason", ""))
        if role and "objectRef" in event:
            what = event["objectRef"]
            binding = re.search(r'Binding "([^"]+)"', event["annotations"]["authorization.k8s.io/reason"])[1]
            place = binding.partition("/")[2]
            used[f"{role[1]} {place}/{role[2]}" if role[1] == "Role" else f"{role[1]} {role[2]}"].add(
                (event["verb"], what["resource"] + ("/" + what["subresource"] if "subresource" in what else "")))
    return dict(used)


def rights_granted(kube, namespace=GATEWAY, account="elara-gateway"):
    """The same of the Roles that are bound to the ServiceAccount, the gateways' unless another is named; "bind" is no request, and is not in it."""
    granted = defaultdict(set)
    bindings = kube.list("RoleBinding", api=RBAC) + kube.list("ClusterRoleBinding", api=RBAC)
    for binding in bindings:
        subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
        if subject not in binding.get("subjects", []):
            continue
        role, place = binding["roleRef"], binding["metadata"].get("namespace")
        name = f"Role {place}/{role['name']}" if role["kind"] == "Role" else f"ClusterRole {role['name']}"
        for rule in kube.get(role["kind"], role["name"], place, RBAC)["rules"]:
            granted[name] |= {(verb, resource) for verb in rule["verbs"] for resource in rule["resources"] if verb != "bind"}
    return dict(granted)
