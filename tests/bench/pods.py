"""Kernels as pods of the test cluster (docs/test-cluster.md), on a hollow node: what the gateway and its API server make of
hundreds of starts at once and of thousands of kernels."""
import contextlib
import json
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cluster"))

import requests  # noqa: E402
from ends import ALL_GPUS, bench_ends  # noqa: E402
from kernels import PodSpecs, make_gateway  # noqa: E402
from scale import Crowd  # noqa: E402
from servers import cpu_us, rss_kib  # noqa: E402
from support.container import copy_with_libraries  # noqa: E402
from support.processes import Gateway, wait_until  # noqa: E402
from testcluster import layout, nfs  # noqa: E402
from testcluster.audit import Account  # noqa: E402
from testcluster.hollow import TOLERATIONS, HollowNode  # noqa: E402
from testcluster.kube import Kube  # noqa: E402

CLUSTER = ROOT / "tests" / "cluster" / "cluster"
KERNELS = 2000
IN_FLIGHT = 200
AT_ONCE = 500
CONNECTIONS = 32  # of the gateway to the API server
ROUNDS = 200
STARTS = 15
POSTS = 50
USERS = 200
HOME_RUNS = 3
PACE_S = 0.1
IDLE_S = 60
LIMIT_S = 300


class Installation:
    """Two namespaces, and gateways whose pods are on a hollow node. Use it as a context manager."""

    def __init__(self, options, folder, is_swarm):
        self.options = options
        self.kube = Kube(layout.KUBECONFIG)
        self.stack = contextlib.ExitStack()
        tests = Path(options.build) / "tests"
        launchers = {"swarm": tests / "launcher_swarm"} if is_swarm else {"launcher": Path(options.build) / "elara-launcher"}
        self.node = self.stack.enter_context(HollowNode(**launchers))
        self.own, self.pods = (self.make_namespace() for _ in range(2))
        self.account = Account(self.kube, (self.own, self.pods), Path(folder) / "kubeconfig")
        self.specs = PodSpecs(Path(folder) / "kernels")
        argv = [str(tests / "stub_kernel"), "-f", "{connection_file}"]
        for name, container in (("stub", {}), ("gpu", ALL_GPUS)):
            self.specs.add(name, argv=argv, nodeSelector=self.node.selector, tolerations=TOLERATIONS, container=container)

    def make_namespace(self):
        name = self.kube.make_namespace()
        self.stack.callback(self.kube.wait_gone, "Namespace", name, None, timeout=LIMIT_S)
        self.stack.callback(self.kube.delete, "Namespace", name)
        return name

    def gateway(self, *flags):
        """It is started by the caller."""
        return Gateway(self.options.build, self.specs, "--provisioner", "kubernetes", "--kubernetes-gateway-namespace", self.own,
                       "--kubernetes-namespace", self.pods, "--kubernetes-launcher-image", "elara", "--log-level", "WARNING", *flags,
                       environment={"KUBECONFIG": str(self.account.kubeconfig)})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()


def post_at_once(gateway, count):
    """So many starts in the same moment, over connections that are there already: after how many ms each had its 201."""
    body = json.dumps({"name": "stub"})
    request = (f"POST /api/kernels HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
               f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}").encode()
    sockets = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(count)]
    found = []
    with selectors.DefaultSelector() as selector:
        for one in sockets:
            begin = time.monotonic()
            one.sendall(request)
            selector.register(one, selectors.EVENT_READ, begin)
        while selector.get_map():
            for key, _ in selector.select(LIMIT_S):
                answer = key.fileobj.recv(65536)
                found.append((time.monotonic() - key.data) * 1000)
                if not answer.startswith(b"HTTP/1.1 201"):
                    raise SystemExit(f"a start was refused: {answer[:500]}")
                selector.unregister(key.fileobj)
    for one in sockets:
        one.close()
    return sorted(found)


def percentile(values, percent):
    return values[(len(values) - 1) * percent // 100]


def states(gateway):
    with contextlib.suppress(requests.RequestException):
        answer = requests.get(gateway.base + "/api/kernels", timeout=LIMIT_S)
        if answer.status_code == 200:
            return [model["execution_state"] for model in answer.json()]
    return []


def wait_for_idle(gateway, count):
    """It asks seldom: a list of thousands is work for the gateway."""
    end = time.monotonic() + LIMIT_S
    while states(gateway).count("idle") != count:
        if time.monotonic() > end:
            raise SystemExit(f"{count} kernels are not ready within {LIMIT_S} s")
        time.sleep(0.25)


def time_ready(place, gateway):
    """From the moment when the API server tells that a kernel's pod runs, in ms."""
    kernel = gateway.start_kernel("stub")["id"]
    selector = f"metadata.name=kernel-{kernel}-1"
    for _, pod in place.kube.watch("Pod", place.pods, fieldSelector=selector):
        if pod.get("status", {}).get("phase") == "Running":
            begin = time.monotonic()
            break
    with requests.Session() as session:
        while (model := session.get(f"{gateway.base}/api/kernels/{kernel}").json())["execution_state"] != "idle":
            if model["execution_state"] == "dead":
                raise SystemExit(model["reason"])
    found = (time.monotonic() - begin) * 1000
    gateway.delete(f"/api/kernels/{kernel}")
    return found


def bench_pod(options, elara, folder, table):
    """One kernel, with a real launcher."""
    with Installation(options, folder, is_swarm=False) as place, place.gateway() as gateway:
        found = sorted(time_ready(place, gateway) for _ in range(STARTS))
        table.add("a stub kernel is ready after its pod runs", f"{statistics.median(found):.0f} ms",
                  f"{found[0]:.0f} to {found[-1]:.0f} ms", "", "<= 50 ms")
        add_latency(options, gateway, elara, table, "kernel_info round trip of a pod, p50")
        bench_ends(place, gateway, table)


def import_image(options, folder):
    """Elara's image, made of the build, on the test cluster's own node; its name."""
    image = "localhost/elara-test/elara:bench"
    subprocess.run([ROOT / "tools" / "make-image", options.build, folder / "elara.tar", "--tag", image], check=True)
    subprocess.run([CLUSTER, "import", folder / "elara.tar"], check=True)
    return image


def bench_container(options, elara, folder, table):
    """The latency again, of a container on the test cluster's own node: its network lies between."""
    folder, kube = Path(folder), Kube(layout.KUBECONFIG)
    image = import_image(options, folder)
    folder.chmod(0o755)
    words = copy_with_libraries(Path(options.build) / "tests" / "stub_kernel", folder / "stub")
    specs = PodSpecs(folder / "kernels")
    places = kube.make_namespace(), kube.make_namespace({"pod-security.kubernetes.io/enforce": "privileged"})  # for the stub
    specs.add("stub", argv=[f"/stub/{words[0]}", "--library-path", "/stub", f"/stub/{words[-1]}", "-f", "{connection_file}"],
              container={"volumeMounts": [{"name": "stub", "mountPath": "/stub"}]},
              volumes=[{"name": "stub", "hostPath": {"path": str(folder / "stub")}}])
    with make_gateway(options.build, specs, places, image, layout.KUBECONFIG, "--log-level", "WARNING") as gateway:
        add_latency(options, gateway, elara, table, "kernel_info of a container behind the pod network, p50")
    for namespace in places:
        kube.delete("Namespace", namespace)


def add_latency(options, gateway, elara, table, what):
    """Of a pod beside a local kernel, both started for it."""
    kernel, local = gateway.start_kernel("stub")["id"], elara.start_kernel()
    gateway.wait_for_state(kernel, "idle", timeout=LIMIT_S)
    elara.wait_for_state(local, "idle")
    crowd = Crowd(options.build, gateway.port, [kernel], (elara.port, local))
    latency = crowd.latency(ROUNDS)
    crowd.close()
    table.add(what, f"{latency['p50_us']:.0f} us", f"a local kernel: {latency['lone_p50_us']:.0f} us",
              f"{latency['p50_ratio']:.2f} x ({latency['p50_ratio_min']:.2f} to {latency['p50_ratio_max']:.2f})", "<= 1.3 x")
    elara.end_kernel(local)
    gateway.delete(f"/api/kernels/{kernel}")


def post_secret(place):
    """What the API server needs for an object of a record's size, in ms."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"generateName": "bare-"}, "stringData": {"data": "x" * 1024}}
    begin = time.monotonic()
    place.kube.create(secret, place.pods)
    return (time.monotonic() - begin) * 1000


def bench_posts_beside(place, gateway, table):
    """Returns how many kernels there are then."""
    place.node.add_fault("SlowPull")
    post_at_once(gateway, IN_FLIGHT)
    wait_until(lambda: len(place.kube.list("Pod", place.pods)) == IN_FLIGHT, LIMIT_S, "the pods")
    found, bare = [], []
    for _ in range(POSTS):
        time.sleep(PACE_S)
        found += post_at_once(gateway, 1)
        time.sleep(PACE_S)
        bare.append(post_secret(place))
    found, bare = sorted(found), sorted(bare)
    for percent, what, goal in ((50, f"POST to 201 while {IN_FLIGHT} starts are in flight, p50", "<= 50 ms"), (95, "  p95", "<= 500 ms")):
        ours, floor = percentile(found, percent), percentile(bare, percent)
        table.add(what, f"{ours:.0f} ms", f"POST of a bare Secret: {floor:.0f} ms", f"{ours / floor:.2f} x", goal)
    place.node.clear_faults()
    for pod in place.kube.list("Pod", place.pods):
        place.node.act("release", place.pods, pod["metadata"]["name"])
    wait_for_idle(gateway, IN_FLIGHT + POSTS)
    return IN_FLIGHT + POSTS


def secrets_at_once(place, count):
    """What the API server needs for so many objects in the same moment, over as many connections as the gateway has: ms each."""
    command = [Path(place.options.build) / "tests" / "kube_probe", layout.KUBECONFIG, "burst",
               f"/api/v1/namespaces/{place.pods}/secrets", str(count), str(CONNECTIONS)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_S).stdout.splitlines()
    (posts,) = (one for one in map(json.loads, lines) if one["method"] == "POST")
    return sorted(took / 1000 for took in posts["took_us"])


def bench_posts_at_once(place, gateway, count, there, table, goals=("", "")):
    bare = secrets_at_once(place, count)
    begin, cpu = time.monotonic(), cpu_us(gateway.process.pid)
    found = post_at_once(gateway, count)
    for percent, what, goal in ((50, f"{count} POSTs in one moment: to 201, p50", goals[0]), (95, "  p95", goals[1])):
        ours, floor = percentile(found, percent), percentile(bare, percent)
        table.add(what, f"{ours:.0f} ms", f"so many bare Secrets: {floor:.0f} ms", f"{ours / floor:.2f} x", goal)
    wait_for_idle(gateway, there + count)
    table.add("  all of them ready", f"{time.monotonic() - begin:.1f} s",
              f"CPU of the gateway: {(cpu_us(gateway.process.pid) - cpu) / count / 1000:.1f} ms each")
    return there + count


BARE = """
import sys, zmq
def rss():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS:")).split()[1])
endpoints = [line.split() for line in sys.stdin]
context = zmq.Context()
context.set(zmq.MAX_SOCKETS, 10)
router = context.socket(zmq.ROUTER)
monitor = router.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
public, secret = zmq.curve_keypair()
before = rss()
for endpoint, key in endpoints:
    router.curve_serverkey, router.curve_publickey, router.curve_secretkey = key.encode(), public, secret
    router.connect(endpoint)
for _ in endpoints:
    monitor.recv_multipart()
print((rss() - before) / len(endpoints))
"""


def link_kib(place):
    """What libzmq alone needs for a connection to one of the pods."""
    lines = []
    for pod in place.kube.list("Pod", place.pods):
        key = pod["metadata"]["annotations"]["elara.server-key"]
        lines.append(f"tcp://{pod['status']['podIP']}:8877 {key}\n")
    done = subprocess.run([sys.executable, "-c", BARE], input="".join(lines), capture_output=True, text=True, check=True,
                          timeout=LIMIT_S)
    return float(done.stdout)


def bench_adoption(place, gateway, count, table):
    gateway.kill()
    begin = time.monotonic()
    gateway.start(wait=False)
    while states(gateway).count("idle") != count:
        if time.monotonic() > begin + LIMIT_S:
            raise SystemExit(f"{count} kernels were not adopted within {LIMIT_S} s")
        time.sleep(0.02)
    table.add(f"{count:,} pods adopted, exec to the last one connected", f"{time.monotonic() - begin:.2f} s", "", "", "< 5 s")


def bench_many(options, folder, table):
    with Installation(options, folder, is_swarm=True) as place, place.gateway() as gateway:
        empty = rss_kib(gateway.process.pid)
        place.account.forget()
        count = bench_posts_beside(place, gateway, table)
        count = bench_posts_at_once(place, gateway, IN_FLIGHT, count, table, ("<= 50 ms", "<= 500 ms"))
        count = bench_posts_at_once(place, gateway, AT_ONCE, count, table)
        while count < KERNELS:
            step = min(AT_ONCE, KERNELS - count)
            post_at_once(gateway, step)
            count += step
            wait_for_idle(gateway, count)
        asked = place.account.asked()
        begun = [line for line in asked if line.split()[0] in ("create", "patch", "get", "update")]
        table.add("API requests of a start", f"{len(begun) / count:.2f}", f"and {len(asked) - len(begun)} for watches", "", "<= 4")
        bench_adoption(place, gateway, count, table)
        each, link = (rss_kib(gateway.process.pid) - empty) / count, link_kib(place)
        table.add("  gateway RSS a kernel", f"{each:.0f} KiB", f"a bare CURVE connection: {link:.0f} KiB", f"+{each - link:.0f} KiB",
                  "<= +64 KiB")
        place.account.forget()
        time.sleep(IDLE_S)
        asked = place.account.asked()
        table.add(f"  API requests within {IDLE_S} s of rest", f"{len(asked)}", ", ".join(sorted(set(asked))), "", "0")


def time_start(gateway, session, name, user):
    """From the request to an idle kernel, in ms."""
    begin = time.monotonic()
    kernel = gateway.start_kernel(name, env={"KERNEL_USERNAME": user})["id"]
    while (model := session.get(f"{gateway.base}/api/kernels/{kernel}").json())["execution_state"] != "idle":
        if model["execution_state"] == "dead":
            raise SystemExit(model["message"])
    return (time.monotonic() - begin) * 1000


def check_cluster():
    if subprocess.run([CLUSTER, "status"], stdout=subprocess.DEVNULL).returncode != 0:
        raise SystemExit("the test cluster is not up: make cluster-up")


def time_homes(place, share):
    """Starts with a home to be made and without one, in turn, through a gateway of their own: ms each, in order."""
    folder = Path(share) / f"run-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    found = {"stub": [], "homeless": []}
    with place.gateway("--home-server", layout.ADDRESS, "--home-export", f"{nfs.SHARE}/{folder.parent.name}/{folder.name}",
                       "--home-trust-claimed-names") as gateway, requests.Session() as session:
        time_start(gateway, session, "homeless", "first")
        for number in range(USERS):
            for name in sorted(found, reverse=number % 2 == 1):
                found[name].append(time_start(gateway, session, name, f"user{number}"))
        for kernel in session.get(f"{gateway.base}/api/kernels").json():
            gateway.delete(f"/api/kernels/{kernel['id']}")
    if len(list(folder.iterdir())) != USERS:
        raise SystemExit("not each user has a home")
    return sorted(found["stub"]), sorted(found["homeless"])


def bench_homes(options, elara, jeg, table):
    """What homes add to starts: the gateway's own work, as a hollow node mounts no NFS."""
    check_cluster()
    with (tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder, tempfile.TemporaryDirectory(dir=nfs.EXPORT) as share,
          Installation(options, folder, is_swarm=True) as place):
        place.kube.kubectl("label", "--overwrite", "namespace", place.pods, "pod-security.kubernetes.io/enforce=baseline")
        place.specs.add("homeless", argv=[str(Path(options.build) / "tests" / "stub_kernel"), "-f", "{connection_file}"],
                        nodeSelector=place.node.selector, tolerations=TOLERATIONS)
        kernel = place.specs.directory / "homeless" / "kernel.json"
        kernel.write_text(json.dumps(json.loads(kernel.read_text()) | {"metadata": {"elara": {"home": False}}}))
        runs = [time_homes(place, share) for _ in range(HOME_RUNS)]
    for percent, goal in ((50, ""), (95, "<= +30 ms")):
        pairs = [(percentile(ours, percent), percentile(bare, percent)) for ours, bare in runs]
        added = sorted(with_home - without for with_home, without in pairs)
        with_home, without = (statistics.median(column) for column in zip(*pairs))
        table.add(f"{USERS} starts of {USERS} users whose homes are made, p{percent}", f"{with_home:.0f} ms",
                  f"without a home: {without:.0f} ms",
                  f"{statistics.median(added):+.0f} ms ({added[0]:+.0f} to {added[-1]:+.0f} in {HOME_RUNS} runs)", goal)


def bench_kubernetes(options, elara, jeg, table):
    check_cluster()
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder:
        bench_pod(options, elara, folder, table)
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder:
        bench_container(options, elara, folder, table)
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder:
        bench_many(options, folder, table)
