"""A policy at work: what requests ask for and may not have is refused before anything is made."""
import hashlib
import json
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

JINJA = """\
kind: Pod
spec:
  containers:
  - name: kernel
    image: IMAGE
    volumeMounts:
    {% for mount in kernel_volume_mounts %}
    - {{ mount }}
    {% endfor %}
  volumes:
  {% if kernel_volumes is defined %}
  {% for volume in kernel_volumes %}
  - {{ volume }}
  {% endfor %}
  {% endif %}
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
    kernel_json = specs.directory / "lab" / "kernel.json"
    kernel_json.write_text(json.dumps(json.loads(kernel_json.read_text()) | {"metadata": {"elara": {"home": False}}}))
    scripts = write_spec(specs.directory, "jinja", ["python3"]) / "scripts"
    scripts.mkdir()
    (scripts / "kernel-pod.yaml.j2").write_text(JINJA.replace("IMAGE", IPYKERNEL))
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
    gateway = start_gateway("--policy", str(policy), "--auth-token-file", str(tokens), "--home-pvc", "homes")  # a claim of all homes
    gateway.token = "alice"
    return gateway


def hostile_paths(share):
    """Values of KERNEL_PATH, which the kernelspec mounts, and whether they are a path at all."""
    yield from ((path, True) for path in (
        f"{share}/claim-bob", f"{share}/claim-alice2", f"{share}/claim-alic", share, f"{share}/claim-ALICE", f"{share}/claim-alice ",
        f"{share}/claim-alice/x", f"{share}/claim-alice/link", f"{share}X/claim-alice", f"{share}/*", f"{share}/claim-{{user}}",
        f"{share}/claim-\u0430lice",
        f"{share}/claim-alice, readOnly: false", f"{share}/claim-alice #", share + '/x}},{"name":h,"hostPath":{"path":"/etc',
        f"{share}/claim-alice\u200b", f"{share}\u2215claim-alice", f"{share}\uff0fclaim-alice", f"{share}/\uff0e\uff0e",
        f"{share}/\u2025/claim-bob", f"{share}/\u202ebob", f"{share}/claim-alice\\..\\claim-bob", "/" + "a" * 2000,
        "relative/claim-alice", "a: b", "&anchor /export", "{{ kernel_path }}"))
    yield from ((path, False) for path in (
        f"{share}/claim-alice/../claim-bob", f"{share}/claim-alice/..", f"{share}/./claim-alice", f"{share}//claim-alice",
        f"{share}/claim-alice/", "/", "//", "", f"{share}/$(id)", f"{share}/claim-${{KERNEL_USERNAME}}", f"{share}/claim-alice\n", f"{share}/claim-alice\x7f", f"{share}/claim-alice\0",
        share + "/claim-alice'}}, {name: x, hostPath: {path: '/", "!!python/object /", "/" + "a" * (1 << 20),
        {"path": f"{share}/claim-bob"}, [f"{share}/claim-bob"], 7))


def hostile_variables(share, server):
    """What else is asked for, and what the 403 says; None: it is no list or number at all, 400."""
    types, nfs = "policy.yaml line 4 (volumes.types)", "policy.yaml line 5 (volumes.nfs)"
    for source in ("hostPath: {path: /}", "secret: {secretName: elara-kernel-bob}", "projected: {sources: [{secret: {name: s}}]}", "csi: {driver: d}",
                   "configMap: {name: c}", "persistentVolumeClaim: {claimName: bobs}", "persistentVolumeClaim: {claimName: elara-home-0}",
                   "ephemeral: {}", "iscsi: {}"):
        yield {"KERNEL_VOLUMES": f"[{{name: e, emptyDir: {{}}}}, {{name: r, {source}}}]"}, types
    yield {"KERNEL_VOLUMES": '[{"name": "r", "hostPath": {"path": "/etc"}}]'}, f"KERNEL_VOLUMES: hostPath /etc is not allowed: {types}"
    for where in (f"server: evil.example.com, path: '{share}/claim-alice'", f"server: '{server}.', path: '{share}/claim-alice'",
                  f"server: '{server}', path: '{share}/claim-bob'", f"server: '{server}', path: '{share}/claim-\u0430lice'",
                  f"server: '{server}', path: '{share}\u2215claim-alice'", f"server: '{server}\u200b', path: '{share}/claim-alice'"):
        yield {"KERNEL_VOLUMES": f"[{{name: n, nfs: {{{where}}}}}]"}, nfs
    for text in ("&a [{name: r, hostPath: {path: /}}, *a]", "[*a]", "!!map {name: r}", "[{<<: {hostPath: {path: /}}, name: x}]",
                 "{name: r, hostPath: {path: /}}", "[{name: r, hostPath: {path: {path: /}}}]", "[[{name: r, hostPath: {path: /}}]]",
                 "[{name: s, emptyDir: {}, hostPath: {path: /}}]", "[{name: elara-key, emptyDir: {}}]", "[{name: elara-home, emptyDir: {}}]",
                 "[{name: r, hostPath: {path: /}", "[{name: e, emptyDir: {}}]\n---\n[{name: r, hostPath: {path: /}}]", "\u2028- {name: r}"):
        yield {"KERNEL_VOLUMES": text}, None
    own = f"[{{name: n, nfs: {{server: '{server}', path: '{share}/claim-alice'}}}}]"
    for sub_path in ("../claim-bob", "x/../../claim-bob", "x//y", "."):
        yield {"KERNEL_VOLUMES": own, "KERNEL_VOLUME_MOUNTS": f"[{{name: n, mountPath: /n, subPath: '{sub_path}'}}]"}, "subPath"
    for sub_path in ("link", "\u2025", "\uff0e\uff0e\uff0fclaim-bob", "x\u200b", "x\u202ey", "a\\b"):
        yield {"KERNEL_VOLUMES": own, "KERNEL_VOLUME_MOUNTS": f"[{{name: n, mountPath: /n, subPath: '{sub_path}'}}]"}, "volumes"
    for more in ("subPathExpr: x", "mountPropagation: Bidirectional"):
        yield {"KERNEL_VOLUMES": own, "KERNEL_VOLUME_MOUNTS": f"[{{name: n, mountPath: /n, {more}}}]"}, more.split(":")[0]
    yield {"KERNEL_VOLUMES": own, "KERNEL_VOLUME_MOUNTS": "[{name: n, mountPath: /n, subPathExpr: $(KERNEL_USERNAME)}]"}, None
    for name in ("elara", "elara-key", "elara-tmp", "elara-home", "elara-home-1", "nobodys"):
        yield {"KERNEL_VOLUME_MOUNTS": f"[{{name: {name}, mountPath: /all}}]"}, None
    yield {"KERNEL_VOLUMES": own, "KERNEL_VOLUME_MOUNTS": "[{name: n, mountPath: /etc/elara/x}]"}, None
    for image in ("evil.example.com/x", f"{IPYKERNEL}.evil.example.com/x", f"{IPYKERNEL}x"):
        yield {"KERNEL_IMAGE": image}, "policy.yaml line 2 (images)"
    yield {"KERNEL_UID": "1001"}, "policy.yaml line 7 (uid.to)"
    yield {"KERNEL_UID": "999"}, "policy.yaml line 7 (uid.from)"
    yield {"KERNEL_UID": "0"}, "KERNEL_UID: 0 is root"
    for uid in ("-1", "4294967296", "\u0661\u0660\u0660\u0660"):
        yield {"KERNEL_UID": uid}, None
    yield {"KERNEL_CPUS": "3"}, "policy.yaml line 8 (resources.cpus.max)"
    for name in ("KERNEL_SERVICE_ACCOUNT_NAME", "KERNEL_NAMESPACE", "KERNEL_X", "KERNEL_VOLUM\u0415S", "KERNEL_MEMORY"):
        yield {name: "kube-system"}, "the variable is not allowed: policy.yaml line 1 (variables.allow)"


def hostile(share, server):
    """Kernelspec, variables, what the 403 says; None: 400."""
    for path, is_path in hostile_paths(share):
        yield "lab", {"KERNEL_PATH": path}, "line 5 (volumes.nfs)" if is_path else None
    yield "lab", {"KERNEL_PATH": f"{share}/claim-bob", "KERNEL_USERNAME": "bob"}, "KERNEL_USERNAME: says bob, but the client is alice"
    for env, expected in hostile_variables(share, server):
        yield "python3", env, expected
    for env, expected in hostile_variables(share, server):
        if "KERNEL_VOLUME_MOUNTS" in env:
            yield "jinja", env, expected


def test_alice_never_sees_bobs_files(gateway, connect, cluster, kube, places, policy):
    explained = set()
    for spec, env, expected in hostile(cluster.nfs_share, cluster.nfs_server):
        answer = gateway.post("/api/kernels", json={"name": spec, "env": env})
        assert answer.status_code == (403 if expected else 400), (env, answer.text)
        message = answer.json()["message"]
        assert expected is None or expected in message and any(name in message for name in env), (env, message)
        if expected not in explained and "\\x00" not in str(env):  # no file of JSON has one
            explained.add(expected)
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
