"""A policy at work: what requests ask for and may not have is refused before anything is made."""
import hashlib
import os

import pytest

from kernels import *  # noqa: F403
from kernels import IPYKERNEL, pods_of
from support.explain import assert_explained, assert_foretold, field
from support.kernelspecs import write_spec
from support.processes import wait_until

NAMES = ("alice", "bob")
POLICY = """\
variables: {{allow: [KERNEL_PATH, KERNEL_VOLUMES, KERNEL_VOLUME_MOUNTS, KERNEL_IMAGE, KERNEL_UID, KERNEL_CPUS]}}
images: ['{image}']
volumes:
  types: [nfs, emptyDir]
  nfs:
  - {{server: '{server}', paths: ['{share}/claim-{{user}}']}}
uid: {{from: 1000, to: 1000}}
resources: {{cpus: {{max: 2}}}}
"""


@pytest.fixture
def places(make_namespace):
    """"restricted" refuses NFS volumes in a pod."""
    return make_namespace(), make_namespace(labels={"pod-security.kubernetes.io/enforce": "baseline"})


@pytest.fixture
def homes(cluster):
    for name in NAMES:
        home = cluster.nfs_directory / f"claim-{name}"
        home.mkdir(exist_ok=True)
        os.chown(home, 1000, 100)
        (home / "whose.txt").write_text(name)
    link = cluster.nfs_directory / "claim-alice" / "link"
    link.unlink(missing_ok=True)
    link.symlink_to("../claim-bob")


@pytest.fixture
def lab(specs, cluster, homes):
    """The kernelspec mounts what the request says is its home."""
    specs.add("lab", env={
        "KERNEL_VOLUME_MOUNTS": "[{name: home, mountPath: /home/jovyan}]",
        "KERNEL_VOLUMES": f"[{{name: home, nfs: {{server: '{cluster.nfs_server}', path: $KERNEL_PATH}}}}]"})
    return specs


@pytest.fixture
def policy(tmp_path, cluster):
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.format(image=IPYKERNEL, server=cluster.nfs_server, share=cluster.nfs_share))
    return path


@pytest.fixture
def gateway(start_gateway, lab, policy, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("".join(f"{name}:user:sha256:{hashlib.sha256(name.encode()).hexdigest()}\n" for name in NAMES))
    tokens.chmod(0o600)
    gateway = start_gateway("--policy", str(policy), "--auth-token-file", str(tokens))
    gateway.token = "alice"
    return gateway


def hostile(share, server):
    """Kernelspec, variables, what the 403 says; None: it is no path, list or text at all, 400."""
    yield "lab", {"KERNEL_PATH": f"{share}/claim-bob"}, 'line 5 (volumes.nfs)'
    yield "lab", {"KERNEL_PATH": f"{share}/claim-bob", "KERNEL_USERNAME": "bob"}, "KERNEL_USERNAME: says bob, but the client is alice"
    yield "lab", {"KERNEL_PATH": share}, 'line 5 (volumes.nfs)'
    yield "lab", {"KERNEL_PATH": f"{share}/claim-alice/x"}, 'line 5 (volumes.nfs)'
    yield "lab", {"KERNEL_PATH": share + '/x}},{"name":h,"hostPath":{"path":"/etc'}, 'line 5 (volumes.nfs)'
    yield "lab", {"KERNEL_PATH": f"{share}/claim-alice/link"}, 'line 5 (volumes.nfs)'  # it leads to bob's
    yield "lab", {"KERNEL_PATH": f"{share}/claim-alice/../claim-bob"}, None
    yield "lab", {"KERNEL_PATH": f"{share}//claim-alice"}, None
    yield "lab", {"KERNEL_PATH": f"{share}/claim-alice\n"}, None
    yield "lab", {"KERNEL_PATH": f"{share}/claim-alice\0"}, None
    yield "lab", {"KERNEL_PATH": f"{share}/$(id)"}, None
    yield "lab", {"KERNEL_PATH": "/" + "a" * (1 << 20)}, None
    yield "lab", {"KERNEL_PATH": {"path": f"{share}/claim-bob"}}, None
    yield "lab", {"KERNEL_PATH": [f"{share}/claim-bob"]}, None
    yield "lab", {"KERNEL_PATH": 7}, None
    yield "python3", {"KERNEL_VOLUMES": "&a [{name: r, hostPath: {path: /}}, *a]"}, None
    yield "python3", {"KERNEL_VOLUMES": "[{name: r, hostPath: {path: /}}]"}, "KERNEL_VOLUMES: hostPath / is not allowed: policy.yaml line 4 (volumes.types)"
    yield "python3", {"KERNEL_VOLUMES": "[{name: k, secret: {secretName: s}}]"}, "line 4 (volumes.types)"
    yield "python3", {"KERNEL_VOLUMES": f"[{{name: n, nfs: {{server: '{server}', path: '{share}/claim-bob'}}}}]"}, "line 5 (volumes.nfs)"
    yield "python3", {"KERNEL_IMAGE": "evil.example.com/x"}, "policy.yaml line 2 (images)"
    yield "python3", {"KERNEL_UID": "1001"}, "policy.yaml line 7 (uid.to)"
    yield "python3", {"KERNEL_CPUS": "3"}, "policy.yaml line 8 (resources.cpus.max)"
    yield "python3", {"KERNEL_SERVICE_ACCOUNT_NAME": "x"}, "the variable is not allowed: policy.yaml line 1 (variables.allow)"
    yield "python3", {"KERNEL_NAMESPACE": "kube-system"}, "policy.yaml line 1 (variables.allow)"


def test_alice_never_sees_bobs_files(gateway, connect, cluster, kube, places, policy):
    for spec, env, expected in hostile(cluster.nfs_share, cluster.nfs_server):
        answer = gateway.post("/api/kernels", json={"name": spec, "env": env})
        assert answer.status_code == (403 if expected else 400), (env, answer.text)
        message = answer.json()["message"]
        assert expected is None or expected in message and any(name in message for name in env), (env, message)
        if "\\x00" not in str(env):  # no file of JSON has one
            assert_explained(gateway, answer, spec, env, user="alice")
    assert gateway.get("/api/kernels").json() == []
    assert not pods_of(kube, places[1]) and not kube.list("Secret", places[1]) and not records(kube, places)
    own = {"KERNEL_PATH": f"{cluster.nfs_share}/claim-alice"}
    answer = gateway.post("/api/kernels", json={"name": "lab", "env": own})
    told = assert_explained(gateway, answer, "lab", own, user="alice")
    kernel_id = answer.json()["id"]
    client = connect(gateway, kernel_id, headers=["Authorization: token alice"])
    assert client.run_cell("print(open('/home/jovyan/whose.txt').read())").text() == "alice\n"
    (pod,) = [kube.get("Pod", name, places[1]) for name in pods_of(kube, places[1])]
    assert [volume["nfs"]["path"] for volume in pod["spec"]["volumes"] if "nfs" in volume] == [own["KERNEL_PATH"]]
    assert pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] == "2"
    assert field(told, "spec.volumes[home].nfs.path") == (own["KERNEL_PATH"], "client's KERNEL_PATH", "policy.yaml line 6 (volumes.nfs[0])")
    assert field(told, "spec.containers[kernel].resources.limits.cpu") == ("2", "policy", "policy.yaml line 8 (resources.cpus.max)")
    assert field(told, "metadata.namespace")[0] == places[1] and field(told, "user")[:2] == ("alice", "token")
    assert_foretold(told["pod"], pod)
    policy.write_text(policy.read_text() + "imgaes: []\n")  # a mistake: the policy before stays
    wait_until(lambda: "imgaes" in gateway.log(), 10, "the mistake's line in the log")
    bobs = {"name": "lab", "env": {"KERNEL_PATH": f"{cluster.nfs_share}/claim-bob"}}
    assert "line 5 (volumes.nfs)" in gateway.post("/api/kernels", json=bobs).json()["message"]
    policy.write_text("variables: {allow: []}\n")
    wait_until(lambda: "KERNEL_PATH: the variable is not allowed" in gateway.post("/api/kernels", json=bobs).json()["message"], 10,
               "the new policy")


def test_a_refusal_is_told_in_the_notebook(start_gateway, connect, policy, kube, places):
    gateway = start_gateway("--policy", str(policy), "--refusal-style", "notebook")
    kernel_id = gateway.start_kernel("python3", env={"KERNEL_VOLUMES": "[{name: r, hostPath: {path: /}}]"})["id"]
    cell = connect(gateway, kernel_id).run_cell("1")
    assert "KERNEL_VOLUMES: hostPath / is not allowed: policy.yaml line 4 (volumes.types)" in str(cell.messages)
    assert not pods_of(kube, places[1]) and not kube.list("Secret", places[1])


def test_a_gateway_with_a_mistake_in_its_policy_does_not_start(start_gateway, policy):
    policy.write_text("volumes:\n  types: [hostpath]\n")
    gateway = start_gateway("--policy", str(policy), ready=False)
    assert gateway.process.wait(20) != 0
    assert "policy.yaml:2: volumes.types[0]" in gateway.log()
    gateway.process.returncode = 0


def records(kube, places):
    return kube.list("Secret", places[0], labelSelector="elara.kind=record")
