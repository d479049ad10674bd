"""Pods for tests, and what of their status tests ask for."""
from pathlib import Path

from testcluster.images import BUSYBOX

# What Pod Security "restricted" asks for.
RESTRICTED_POD = {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
RESTRICTED_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def pod(name, *command, image=BUSYBOX, container=None, **spec):
    """A pod that "restricted" lets in; `container` and `spec` are added to it."""
    main = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "securityContext": RESTRICTED_CONTAINER}
    if command:
        main["command"] = list(command)
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "securityContext": RESTRICTED_POD, "terminationGracePeriodSeconds": 1,
                 "enableServiceLinks": False, "containers": [main | (container or {})]} | spec,
    }


def is_running(item):
    return item is not None and item["status"].get("phase") == "Running" and bool(item["status"].get("podIP"))


def has_ended(item):
    return item is not None and item["status"].get("phase") in ("Succeeded", "Failed")


def state_of(item, container=0):
    """("waiting" | "running" | "terminated", its details) of a container."""
    statuses = (item or {}).get("status", {}).get("containerStatuses") or [{}]
    return next(iter(statuses[container].get("state", {}).items()), (None, {}))


def waits_for(reason):
    """A condition: the first container waits, for this reason."""
    return lambda item: state_of(item)[0] == "waiting" and state_of(item)[1].get("reason") == reason


def container_pids(uid):
    """The processes of all containers of a pod on the real node but that of its sandbox."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            groups = (entry / "cgroup").read_text() if entry.name.isdigit() else ""
            if (uid in groups or uid.replace("-", "_") in groups) and (entry / "comm").read_text() != "pause\n":
                found.append(int(entry.name))
        except OSError:
            continue
    return found
