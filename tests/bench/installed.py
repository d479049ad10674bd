"""A gateway that is a pod itself, installed by manifests/ on the test cluster's real node: the memory that the kubelet counts."""
import contextlib
import json
import re
import statistics
import tempfile
import time
from pathlib import Path

from pods import LIMIT_S, check_cluster, import_image
from scale import Crowd
from servers import rss_kib
from support.processes import wait_until

import deployments
import yaml
from testcluster import layout
from testcluster.images import MUSL
from testcluster.kube import Kube
from testcluster.manifests import KERNELS, TOKEN, applied, gateway_pods, write_overlay

COUNT = 100
AT_ONCE = 5
OUTPUTS, SIZE = 1000, 200
RESOURCES = "/api/v1/nodes/elara-node/proxy/metrics/resource"


def process_of(pod):
    """The gateway's id on this machine; its host's name is the pod's."""
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if place.name.isdigit() and (place / "comm").read_text() == "elara-gateway\n" and (place / "root/etc/hostname").read_text().strip() == pod:
                return int(place.name)
    raise LookupError(pod)


def write_lab(folder, image):
    """One gateway, whose kernels are small and ask for nothing, so that the node has room for all."""
    overlay = write_overlay(folder, image, MUSL)
    said = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    said["replicas"] = [{"name": "elara-gateway", "count": 1}]
    for one in said["configMapGenerator"]:
        if one["name"] == "elara-kernelspec-python3":
            one["files"].append("kernel.json")
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(said))
    (overlay / "kernel.json").write_text(json.dumps({"argv": ["musl_kernel", "{connection_file}"], "display_name": "C", "language": "c"}))
    pod = {"containers": [{"name": "kernel", "image": MUSL}], "securityContext": {"runAsUser": 1000, "runAsGroup": 1000}}
    (overlay / "pod.yaml").write_text(yaml.safe_dump({"spec": pod}))
    return overlay


def working_sets(kube, namespace):
    """{pod: MiB}, of values that the kubelet has measured from now on: it does so every few seconds."""
    asked = time.time() * 1000
    pattern = re.compile(rf'^pod_memory_working_set_bytes{{namespace="{namespace}",pod="([^"]+)"}} (\S+) (\d+)$', re.MULTILINE)

    def read():
        found = pattern.findall(kube.kubectl("get", "--raw", RESOURCES))
        return found if found and all(int(at) > asked for _, _, at in found) else None
    return {pod: float(value) / 2**20 for pod, value, _ in wait_until(read, LIMIT_S, "the kubelet's figures")}


def bench_installed(options, elara, jeg, table):
    check_cluster()
    kube = Kube(layout.KUBECONFIG)
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder:
        image = import_image(options, Path(folder))
        with applied(kube, write_lab(Path(folder), image)):
            measure(options, kube, table)


def measure(options, kube, table):
    service = deployments.Service(kube)

    def add(what, goal=""):
        (gateway,) = gateway_pods(kube)
        counted, resident = working_sets(kube, service.namespace)[gateway], rss_kib(process_of(gateway)) / 1024
        table.add(what, f"{counted:.1f} MiB", f"RSS: {resident:.1f} MiB", "", goal)
    wait_until(service.is_there, LIMIT_S, "an answer through the Service")
    add("a gateway's pod, as Kubernetes counts its memory")
    kernels = []

    def are_idle():
        time.sleep(0.2)
        return service.is_there() and [model["execution_state"] for model in service.get("/api/kernels").json()].count("idle") == len(kernels)
    while len(kernels) < COUNT:
        kernels += [service.start_kernel("python3")["id"] for _ in range(AT_ONCE)]
        wait_until(are_idle, LIMIT_S, "the kernels")
    add(f"  with {COUNT} kernels, {AT_ONCE} started at a time")
    crowd = Crowd(options.build, deployments.PORT, kernels, host=service.address, query=f"&token={TOKEN}")
    add("  and a client of each", "<= 32 MiB")
    crowd.flood(OUTPUTS, SIZE)
    add(f"  after {OUTPUTS:,} outputs to each client", "<= 32 MiB")
    of_kernels = sorted(working_sets(kube, KERNELS).values())
    table.add("  the pod of one of them: launcher and a kernel in C", f"{statistics.median(of_kernels):.1f} MiB",
              f"{of_kernels[0]:.1f} to {of_kernels[-1]:.1f} MiB")
    crowd.close()
    (gateway,) = gateway_pods(kube)
    kube.delete("Pod", gateway, service.namespace)
    kube.wait_gone("Pod", gateway, service.namespace, LIMIT_S)
    wait_until(are_idle, LIMIT_S, "the kernels, found by another gateway")
    add("  found by a gateway that was started later", "<= 32 MiB")
    for kernel in kernels:
        service.delete(f"/api/kernels/{kernel}")
    wait_until(lambda: not kube.list("Pod", KERNELS), LIMIT_S, "the pods' end")
