"""How long after the API server knows what has become of a kernel's pod its cell says so."""
import contextlib
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from support.client import Client
from testcluster import layout
from testcluster.kube import Kube
from testcluster.pods import pod

ROUNDS = 7
LIMIT_S = 120
GPUS = "nvidia.com/gpu"
ALL_GPUS = {"resources": {"limits": {GPUS: "8"}}}  # of the hollow node


def is_deleted(item):
    return "deletionTimestamp" in item["metadata"]


def has_failed(item):
    return item["status"].get("phase") == "Failed"


def is_out_of_memory(item):
    return "OOMKilled" in str(item["status"].get("containerStatuses"))


def is_not_ready(item):
    return any(one["type"] == "Ready" and one["status"] == "False" for one in item["status"].get("conditions", ()))


def see(place, name, what, begun):
    """When the API server told of it first. The watch is another one than the gateway's, which may be earlier."""
    for _, item in Kube(layout.KUBECONFIG).watch("Pod", place.pods, timeout=LIMIT_S, fieldSelector=f"metadata.name={name}"):
        begun.set()
        if what(item):
            return time.monotonic()
    raise SystemExit(f"nothing has become of the pod {name} within {LIMIT_S} s")


@contextlib.contextmanager
def endless_cell(place, gateway, spec="stub"):
    """(the name of a new kernel's pod, its client): a cell runs."""
    kernel = gateway.start_kernel(spec)["id"]
    with Client(gateway, kernel, timeout=LIMIT_S) as client:
        client.kernel_info()  # until then cells show how far its start is
        request = client.send_execute("sleep 600000")
        client.receive_until(lambda message: message["header"]["msg_type"] == "execute_input"
                             and message["parent_header"]["msg_id"] == request)
        yield f"kernel-{kernel}-1", client
    gateway.delete(f"/api/kernels/{kernel}")


def time_words(place, client, name, what, words, act=None):
    """In ms, until the cell has them: (since the API server told what has happened, since it was brought about)."""
    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        known = pool.submit(see, place, name, what, begun)
        begun.wait()
        begin = time.monotonic()
        if act is not None:
            act(name)
        client.receive_until(lambda message: words in str(message["content"]))
        told = time.monotonic()
        return max(0, told - known.result()) * 1000, (told - begin) * 1000


def time_end(place, gateway, what, words, act, spec="stub"):
    with endless_cell(place, gateway, spec) as (name, client):
        return time_words(place, client, name, what, words, act)


@contextlib.contextmanager
def priority_class(place):
    name = place.pods
    place.kube.create({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1000})
    yield name
    place.kube.delete("PriorityClass", name, api="scheduling.k8s.io/v1")


def time_preemption(place, gateway, priority):
    greedy = place.node.place(pod("greedy", "sleep", "1000", container=ALL_GPUS, priorityClassName=priority))
    found = time_end(place, gateway, is_deleted, "higher priority", lambda _: place.kube.create(greedy, place.pods), "gpu")
    place.kube.delete("Pod", "greedy", place.pods, grace_s=0)
    place.kube.wait_gone("Pod", "greedy", place.pods)
    return found


def time_lost_node(place, gateway):
    """(its silence, its end)"""
    with endless_cell(place, gateway) as (name, client):
        silent = time_words(place, client, name, is_not_ready, "has not been ready", lambda _: place.node.lose())
        lost = time_words(place, client, name, is_deleted, "does not answer")
    place.node.find()
    return silent, lost


def bench_ends(place, gateway, table):
    def add(what, found):
        known, brought = (sorted(column) for column in zip(*found))
        table.add(what, f"{statistics.median(known):.0f} ms", f"since it was done: {statistics.median(brought):.0f} ms",
                  f"at most {known[-1]:.0f} ms", "<= 2 s")

    def act(action):
        return lambda name: place.node.act(action, place.pods, name)

    ways = (("a cell says why, since the API server knows: deleted", is_deleted, "was deleted",
             lambda name: place.kube.delete("Pod", name, place.pods)),
            ("  evicted", has_failed, "low on resource", act("evict")),
            ("  out of memory", is_out_of_memory, "memory limit", act("oom")))
    for what, seen, words, how in ways:
        add(what, [time_end(place, gateway, seen, words, how) for _ in range(ROUNDS)])
    with priority_class(place) as priority:
        add("  preempted", [time_preemption(place, gateway, priority) for _ in range(ROUNDS)])
    silent, lost = time_lost_node(place, gateway)
    add("  its node is silent", [silent])
    add("  its node is lost", [lost])
