"""Starts and ends of pods on the real node: what is shown and timed on the way, an image without glibc, too much memory, containers that fail
again and again, and what is left of a kernel that nobody wanted."""
import json
import re
import time

import pytest

from desk import desk_at
from kernels import *  # noqa: F403
from kernels import START_S, PodSpecs, make_gateway, pods_of, record_of, records_of
from support.client import Client
from support.processes import wait_until
from testcluster import images
from testcluster.hollow import LINK_PORT
from testcluster.pods import RESTRICTED_CONTAINER
from testcluster.registry import Registry

STAGES = ["created", "scheduled", "pulled", "started", "hello", "ready"]
MUSL_ARGV = ["musl_kernel", "{connection_file}"]
MEMORY = "384Mi"
GREEDY = "print('before', flush=True)\ninput()\nkept = bytearray(1 << 30)\nfor at in range(0, len(kept), 4096): kept[at] = 1"

OUT_OF_MEMORY = ("The kernel was killed by signal 9 (SIGKILL): the system ended it because the memory limit was reached. Use less memory, or "
                 "ask for a larger limit.")

# What a kubelet starts three times takes half a minute to fail: it goes on beside the other tests.
FAILING = {
    "port-taken": ("CrashLoopBackOff", f"The kernel's container ended 3 times soon after its start, the last time with exit code 1: link: cannot "
                   f"bind tcp://*:{LINK_PORT}: Address already in use. Look at the kernel's log; an image or a kernelspec that cannot work is "
                   "the usual cause."),
    "licence": ("InitContainerFailed", "The init container licence failed 3 times, the last time with exit code 3: no licence. Elara's own has the "
                "image of kubernetes-launcher-image; the others stand in the kernelspec's pod.yaml."),
}
JUPYTER_SERVER_S = 42  # its request_timeout


@pytest.fixture(scope="module")
def images_served():
    with Registry() as one:
        one.add("team/musl", images.archives()[images.MUSL])
        yield one


@pytest.fixture(scope="module")
def gateway(build, cluster, launcher_image, rooms, images_served, tmp_path_factory):
    specs = PodSpecs(tmp_path_factory.mktemp("real") / "kernels")
    specs.add("pulled", f"{images_served.address}/team/musl:1", argv=MUSL_ARGV, display_name="Pulled")
    specs.add("nameless", "Team/Py:3", argv=MUSL_ARGV)
    specs.add("musl", images.MUSL, argv=MUSL_ARGV)
    specs.add("small", container={"resources": {"limits": {"memory": MEMORY}, "requests": {"cpu": "500m"}}})
    before = {"image": images.BUSYBOX, "securityContext": RESTRICTED_CONTAINER, "terminationMessagePolicy": "FallbackToLogsOnError"}
    specs.add("port-taken", images.MUSL, argv=MUSL_ARGV, initContainers=[before | {
        "name": "web", "command": ["httpd", "-f", "-p", str(LINK_PORT)], "restartPolicy": "Always"}])
    specs.add("licence", images.MUSL, argv=MUSL_ARGV, initContainers=[before | {
        "name": "licence", "command": ["sh", "-c", "echo no licence; exit 3"]}])
    with make_gateway(build, specs, rooms, launcher_image, cluster.kubeconfig, "--cull-interval", "1s", "--cull-unattached-timeout", "1s",
                      "--log-format", "json") as one:
        yield one
        one.print_logs()


@pytest.fixture(scope="module")
def pull_s(request):
    return int(request.config.getoption("--pull-seconds"))


@pytest.fixture(scope="module")
def desk(gateway, pull_s, tmp_path_factory):
    """A notebook server that has less patience than pulls take."""
    impatience = {} if pull_s > JUPYTER_SERVER_S else {"JUPYTER_GATEWAY_REQUEST_TIMEOUT": str(pull_s - 3)}
    with desk_at(gateway, tmp_path_factory.mktemp("desk"), **impatience) as one:
        yield one


@pytest.fixture(scope="module")
def failing(desk):
    for name in FAILING:
        desk.run(name)
    return desk.open


@pytest.fixture
def held(images_served):
    """The images' pulls take until release(); the node pulls one at a time."""
    images_served.hold()
    yield images_served
    images_served.release()


@pytest.fixture
def start(gateway):
    """start(name) gives the id of a kernel, and its client."""
    opened = []

    def start_(name):
        kernel_id = gateway.start_kernel(name)["id"]
        opened.append(Client(gateway, kernel_id, timeout=START_S))
        return kernel_id, opened[-1]

    yield start_
    for client in opened:
        client.close()


def measured(gateway, name, **labels):
    """The value of a metric that has these labels."""
    for line in gateway.get("/metrics").text.splitlines():
        found = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line)
        if found and found[1] == name and dict(re.findall(r'(\w+)="([^"]*)"', found[2])) == labels:
            return float(found[3])
    raise AssertionError(f"no {name} {labels}")


def took(gateway, stage):
    """How many starts went through it, and how many seconds that took."""
    return tuple(measured(gateway, f"elara_kernel_pod_stage_duration_seconds_{what}", stage=stage) for what in ("count", "sum"))


def shown(message):
    """The stage in a message that shows one."""
    text = message["content"].get("data", {}).get("text/plain", "") if message["header"]["msg_type"].endswith("display_data") else ""
    return text.partition(": ")[2]


def test_each_stage_of_a_start_is_timed_and_shown(gateway, desk, held, pull_s):
    """The notebook server's request for it is answered while the pull goes on, and would long have been given up when that is over."""
    before = {stage: took(gateway, stage) for stage in STAGES}
    kernel_id, client, request = desk.run("pulled")
    pulling = f"pulling the image {held.address}/team/musl:1"
    told = client.receive_until(lambda message: shown(message).startswith(pulling))
    began = time.monotonic()
    assert told["content"]["data"]["text/plain"].startswith("Starting Pulled: ")
    model = next(model for model in gateway.get("/api/elara/kernels").json() if model["id"] == kernel_id)
    assert model["stage"].startswith(pulling)
    after = {stage: took(gateway, stage) for stage in STAGES}
    assert [after[stage][0] - before[stage][0] for stage in STAGES] == [1, 1, 0, 0, 0, 0]
    later = client.receive_until(lambda message: shown(message).startswith(pulling) and int(shown(message).split()[-2]) >= pull_s)
    assert later["header"]["msg_type"] == "update_display_data"  # the cell is written anew as time passes
    assert later["content"]["transient"] == told["content"]["transient"]
    held_s = time.monotonic() - began
    held.release()
    cell = client.collect(request)
    assert cell.text() == "print here" and cell.of_type("clear_output")
    after = {stage: took(gateway, stage) for stage in STAGES}
    assert [after[stage][0] - before[stage][0] for stage in STAGES] == [1] * len(STAGES)
    seconds = {stage: after[stage][1] - before[stage][1] for stage in STAGES}
    assert seconds["pulled"] >= held_s and min(seconds.values()) >= 0, seconds
    logged = [json.loads(line) for line in gateway.log().splitlines() if "its start took" in line]
    (line,) = [line["message"] for line in logged if line["kernel_id"] == kernel_id]
    said = dict(re.findall(r"(\w+) (\d+\.\d{3}) s", line))
    assert list(said) == STAGES
    assert all(abs(float(said[stage]) - seconds[stage]) < 0.002 for stage in STAGES), (said, seconds)


@pytest.mark.usefixtures("failing")
def test_a_kernel_of_an_image_without_glibc_runs(start, gateway, kube, rooms):
    kernel_id, client = start("musl")
    assert client.kernel_info()["implementation"] == "musl"
    assert client.run_cell("as it came").text() == "as it came"
    program = f"kernel-{kernel_id}-1", "--container", "kernel", "--"
    linked = kube.kubectl("exec", *program, "sh", "-c", "cat /proc/*/maps 2>/dev/null || true", namespace=rooms[1])
    assert "ld-musl-" in linked  # the kernel's, and the launcher beside it has brought its own
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    cell = client.run_cell("again")
    assert cell.text() == "again", cell.everything()
    assert f"kernel-{kernel_id}-1" in pods_of(kube, rooms[1])


def test_a_kernel_that_takes_too_much_memory_is_told_so(start, kube, rooms):
    """On the real node, by the kernel's own OOM killer."""
    kernel_id, client = start("small")
    request = client.send_execute(GREEDY)
    awaited = {"stream", "input_request"}
    client.receive_until(lambda message: awaited.discard(message["header"]["msg_type"]) or not awaited)
    client.send("input_reply", {"value": "", "status": "ok"}, channel="stdin")
    cell = client.collect(request)
    assert cell.reply.get("evalue") == OUT_OF_MEMORY, cell.everything()[-2000:]
    assert cell.text("stderr") == f"\n{OUT_OF_MEMORY} It is restarted: its variables are lost.\n"
    assert client.run_cell("print('kept' in globals())").text() == "False\n"
    assert f"kernel-{kernel_id}-1" in pods_of(kube, rooms[1])


def test_what_nobody_wants_leaves_nothing(gateway, kube, rooms):
    """A kernel that nobody attaches to, and one that failed and is deleted."""
    unattached = gateway.start_kernel("musl")["id"]
    failed = gateway.start_kernel("nameless")["id"]
    assert gateway.wait_for_state(failed, "dead", timeout=START_S)["reason"] == "InvalidImageName"
    assert gateway.delete(f"/api/kernels/{failed}").status_code == 204
    said = wait_until(lambda: (answer := gateway.get(f"/api/kernels/{unattached}")).status_code == 404 and answer.json(), START_S, "its end")
    assert "cull-unattached-timeout" in said["reason"], said
    ids = {unattached, failed}

    def left():
        objects = [*kube.list("Pod", rooms[1]), *kube.list("Secret", rooms[1]), *kube.list("ConfigMap", rooms[1])]
        return [item["metadata"]["name"] for item in objects if any(one in item["metadata"]["name"] for one in ids)]

    wait_until(lambda: not left(), START_S, "the end of their objects")

    def told():
        found = {item["metadata"]["annotations"]["elara.kernel-id"]: item for item in records_of(kube, rooms[0])}
        return [(found[one]["metadata"]["labels"]["elara.state"], "unfinished" in record_of(found[one])) for one in ids]

    wait_until(lambda: told() == [("ended", False)] * 2, START_S, "tombstones of which nothing is left")


@pytest.mark.parametrize("name", FAILING)
def test_what_fails_again_and_again_is_told(gateway, failing, name):
    reason, message = FAILING[name]
    kernel_id, client, request = failing[name]
    said = client.collect(request).error["evalue"]
    model = gateway.wait_for_state(kernel_id, "dead")
    assert (said, model["reason"], model["message"]) == (message, reason, message)
