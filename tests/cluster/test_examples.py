"""kernelspecs/examples, started as they are but for the names of images, servers, nodes and the hollow node's Python."""
import hashlib
import json
import os
import shutil
import uuid

import pytest
import yaml

from deployments import pod_of
from kernels import *  # noqa: F403
from kernels import IPYKERNEL, ROOT, START_S
from support.processes import wait_until
from testcluster.hollow import TOLERATIONS, HollowNode

EXAMPLES = ROOT / "kernelspecs" / "examples"


@pytest.fixture
def places(make_namespace):
    """"restricted" refuses NFS volumes in a pod."""
    return make_namespace(), make_namespace(labels={"pod-security.kubernetes.io/enforce": "baseline"})


@pytest.fixture
def example(specs):
    """example(name, image, program, more of the pod's spec) puts it where the gateway looks."""
    def put(name, image=IPYKERNEL, program=None, **more):
        folder = specs.directory / name
        shutil.copytree(EXAMPLES / name, folder)
        kernel = json.loads((folder / "kernel.json").read_text())
        kernel["metadata"]["elara"]["image"] = image
        if program:
            kernel["argv"][0] = program
            kernel["env"] = {"PYTHONSAFEPATH": "1"}  # it starts in this machine's /tmp
        (folder / "kernel.json").write_text(json.dumps(kernel))
        pod = yaml.safe_load((folder / "pod.yaml").read_text())
        pod["spec"] |= more
        (folder / "pod.yaml").write_text(yaml.safe_dump(pod))
        return name

    return put


@pytest.fixture
def hollow(cluster, build):
    """It says that it has one GPU."""
    with HollowNode(launcher=build / "elara-launcher", flags=["--gpus=1"]) as node:
        yield node


def resources_of(kube, kernel_id):
    place = pod_of(kube, kernel_id)
    spec = kube.get("Pod", place["name"], place["namespace"])["spec"]
    return spec["nodeName"], spec["containers"][0]["resources"]


def test_python_with_a_home_or_a_volume(example, start_gateway, connect, cluster, kube, tmp_path):
    """A home comes by the settings beside the example, a volume by the kernelspec alone."""
    folder = cluster.nfs_directory / f"examples-{uuid.uuid4().hex[:8]}"
    share = f"{cluster.nfs_share}/{folder.name}"
    for path in ("homes", "volumes/alice"):
        (folder / path).mkdir(parents=True)
    (folder / "volumes" / "alice" / "whose.txt").write_text("alice")
    os.chown(folder / "volumes" / "alice", 1000, 100)
    example("python_kubernetes")
    example("python_home")
    example("python_volume", volumes=[{"name": "home", "nfs": {"server": cluster.nfs_server, "path": share + "/volumes/${KERNEL_USERNAME}"}}])
    tokens, settings = tmp_path / "tokens", tmp_path / "elara.yaml"
    tokens.write_text("".join(f"{name}:user:sha256:{hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("alice", "bob")))
    tokens.chmod(0o600)
    wanted = yaml.safe_load((EXAMPLES / "python_home" / "elara.yaml").read_text())
    settings.write_text(yaml.safe_dump(wanted | {"home_server": cluster.nfs_server, "home_export": f"{share}/homes"}))
    gateway = start_gateway("--auth-token-file", str(tokens), "--config", str(settings))
    gateway.token = "bob"  # he has a home, too; kernels that share one wait for each other's history
    plain = gateway.start_kernel("python_kubernetes")["id"]
    gateway.token = "alice"
    home, volume = (gateway.start_kernel(name)["id"] for name in ("python_home", "python_volume"))
    gateway.token = "bob"
    cell = connect(gateway, plain).run_cell("import os; print(os.getuid(), os.getgid())")
    assert cell.text() == "1000 100\n"
    assert resources_of(kube, plain)[1] == {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}
    gateway.token = "alice"
    cell = connect(gateway, home).run_cell("import os; print(os.getcwd()); open('mine.txt', 'w').close()")
    assert cell.text() == "/home/jovyan\n" and (folder / "homes" / "alice" / "mine.txt").stat().st_uid == 1000
    assert connect(gateway, volume).run_cell("print(open('whose.txt').read())").text() == "alice\n"
    shutil.rmtree(folder, ignore_errors=True)


def test_r_and_a_gpu(example, start_gateway, connect, kube, hollow):
    """On a node that says it has a GPU and runs this machine's R."""
    on_it = {"nodeSelector": hollow.selector, "tolerations": TOLERATIONS}
    example("ir_kubernetes", "registry.test/r:1", **on_it)
    example("python_gpu", "registry.test/gpu:1", "/usr/bin/python3", **on_it)
    gateway = start_gateway()
    ir, gpu = (gateway.start_kernel(name)["id"] for name in ("ir_kubernetes", "python_gpu"))
    assert connect(gateway, ir).run_cell("cat(6 * 7)").text() == "42"
    cell = connect(gateway, gpu).run_cell("print(6 * 7)")
    assert cell.text() == "42\n", cell.everything()
    node, resources = resources_of(kube, gpu)
    assert node == hollow.name and resources["limits"] == {"nvidia.com/gpu": "1"} == {
        name: value for name, value in resources["requests"].items() if name == "nvidia.com/gpu"}


def test_a_gpu_is_free_when_its_kernel_was_culled(example, start_gateway, connect, kube, hollow):
    """The node has one: who comes second waits for it."""
    example("python_gpu", "registry.test/gpu:1", "/usr/bin/python3", nodeSelector=hollow.selector, tolerations=TOLERATIONS)
    gateway = start_gateway("--cull-interval", "1s")
    first = gateway.start_kernel("python_gpu", env={"KERNEL_CULL_IDLE_TIMEOUT": "1"})["id"]
    holder = connect(gateway, first)
    assert holder.run_cell("print(6 * 7)").text() == "42\n"
    second = gateway.start_kernel("python_gpu")["id"]
    place = pod_of(kube, second)
    assert "Insufficient nvidia.com/gpu" in kube.wait_event(place["namespace"], place["name"], "FailedScheduling")["message"]
    holder.close()
    wait_until(lambda: gateway.get(f"/api/kernels/{first}").status_code == 404, START_S, "the end of the idle kernel")
    assert connect(gateway, second).run_cell("print(6 * 7)").text() == "42\n"
    assert pod_of(kube, second)["name"] == place["name"]
