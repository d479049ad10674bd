"""What of a pod can be had from outside of it: one port, and never the key with which its kernel's messages are signed. And under
whatever user it runs: users that no image knows, too."""
import base64
import contextlib
import json
from itertools import chain

import pytest

from kernels import *  # noqa: F403
from kernels import START_S, PodSpecs, make_gateway
from support.client import Client
from testcluster.hollow import LINK_PORT

USERS = [(4242, 4242), (1000680000, 0)]  # the latter is what OpenShift does
LISTENS, BOUND = "0A", "07"  # states of sockets in /proc/net/tcp and udp
LOOPBACK = ("0100007F", "00000000000000000000000001000000")  # 127.0.0.1 and ::1 there
REGION_MAX = 1 << 30  # what is larger is reserved and not used: AddressSanitizer's
ROUTES = ["/api/kernels", "/api/kernels/{id}", "/api/kernels/{id}/why", "/api/kernels/{id}/journal", "/api/elara/kernels", "/api/kernelspecs",
          "/metrics"]


@pytest.fixture(scope="module")
def gateway(build, cluster, launcher_image, rooms, tmp_path_factory):
    specs = PodSpecs(tmp_path_factory.mktemp("inside") / "kernels")
    for uid, gid in USERS:
        specs.add(f"user-{uid}", securityContext={"runAsUser": uid, "runAsGroup": gid})
    with make_gateway(build, specs, rooms, launcher_image, cluster.kubeconfig, "--log-level", "DEBUG") as one:
        yield one
        one.print_logs()


class Inside:
    """A kernel and what programs in its pod see."""

    def __init__(self, gateway, kube, namespace, name):
        self.id = gateway.start_kernel(name)["id"]
        self.client = Client(gateway, self.id, timeout=START_S)
        self.kube, self.namespace = kube, namespace

    @property
    def pod(self):
        return f"kernel-{self.id}-1"

    def sh(self, script):
        return self.kube.kubectl("exec", self.pod, "--container", "kernel", "--", "sh", "-c", script, namespace=self.namespace)

    def key(self):
        info = json.loads(self.sh("cat /opt/elara/kernel/connection*.json"))
        assert info["signature_scheme"] == "hmac-sha256" and len(info["key"]) >= 32
        return info["key"]


@pytest.fixture(scope="module")
def kernels(gateway, kube, rooms):
    """{uid: Inside}, each of which has run a cell."""
    made = {uid: Inside(gateway, kube, rooms[1], f"user-{uid}") for uid, _ in USERS}
    requests = {uid: one.client.send_execute("import os; print(os.getuid(), os.getgid())") for uid, one in made.items()}
    for uid, one in made.items():
        one.said = one.client.collect(requests[uid]).text()
    yield made
    for one in made.values():
        one.client.close()


@pytest.mark.parametrize("uid, gid", USERS)
def test_the_launcher_runs_under_any_user(kernels, uid, gid):
    assert kernels[uid].said == f"{uid} {gid}\n"
    name, *lines = kernels[uid].sh("cat /proc/1/comm; grep -E '^(Uid|Gid):' /proc/1/status").splitlines()
    assert name == "elara-launcher"
    assert [set(line.split()[1:]) for line in lines] == [{str(uid)}, {str(gid)}]


@pytest.mark.parametrize("uid", [uid for uid, _ in USERS])
def test_one_port_can_be_reached_from_outside(kernels, kube, uid):
    one = kernels[uid]
    rows = [line.split() for kind in ("tcp", "udp") for line in one.sh(f"cat /proc/net/{kind} /proc/net/{kind}6").splitlines()]
    sockets = [row[1].split(":") for row in rows if row[3] in (LISTENS, BOUND)]
    assert [int(port, 16) for address, port in sockets if address not in LOOPBACK] == [LINK_PORT]
    assert len(sockets) > 1, "the kernel's own are there and are for the launcher alone"
    (container,) = kube.get("Pod", one.pod, one.namespace)["spec"]["containers"]
    assert [port["containerPort"] for port in container["ports"]] == [LINK_PORT]


def test_the_connection_key_stays_in_the_pod(kernels, gateway, kube, rooms):
    one = kernels[4242]
    keys = {one.key()}
    assert gateway.post(f"/api/kernels/{one.id}/restart").status_code == 200
    assert one.client.run_cell("print('again')").text() == "again\n"
    keys.add(one.key())
    texts = dict(objects(kube, rooms)) | {"log": gateway.log().encode(), "pod's log": kube.logs(one.pod, one.namespace).encode()}
    for route in ROUTES:
        answer = gateway.get(route.format(id=one.id))
        assert answer.status_code == 200, route
        texts[route] = answer.content
    assert len(texts) > 10 + len(ROUTES)
    said = [where for where, text in chain(texts.items(), memory(gateway.process.pid)) if any(key.encode() in text for key in keys)]
    assert said == []
    assert any(one.id.encode() in text for _, text in memory(gateway.process.pid)), "this is how to look into it"


def objects(kube, namespaces):
    """(name, text) of all that is there about kernels; what Secrets have in Base64 is decoded."""
    for namespace in namespaces:
        for kind in ("Pod", "Secret", "ConfigMap", "Event"):
            for item in kube.list(kind, namespace):
                decoded = [base64.b64decode(value) for value in item["data"].values()] if kind == "Secret" else []
                yield f"{kind} {item['metadata']['name']}", b"\n".join([json.dumps(item).encode(), *decoded])


def memory(pid):
    """(place, bytes) of all that a process has written in memory."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            begin, end = (int(word, 16) for word in line.split()[0].split("-"))
            if "rw" in line and end - begin <= REGION_MAX:
                with contextlib.suppress(OSError):
                    mem.seek(begin)
                    yield f"memory at {line.strip()}", mem.read(end - begin)
