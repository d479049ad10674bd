"""The lab's kernelspecs where users have tokens of their own and a policy says what each may mount: no file of theirs is changed."""
import hashlib
import os

import pytest

from deployments import pod_of
from homes import share  # noqa: F401
from kernels import *  # noqa: F403
from kernels import START_S
from lab import write_kernelspecs
from support.client import Client
from support.notebook_server import Server

NAMES = ("alice", "bob")
NAME = "python_kubernetes"
POLICY = """\
variables: {{allow: [KERNEL_PATH]}}
volumes:
  types: [nfs]
  nfs:
  - {{server: '{server}', paths: ['{share}/claim/{{user}}']}}
"""


@pytest.fixture
def places(make_namespace):
    """"restricted" refuses NFS volumes in a pod."""
    return make_namespace(), make_namespace(labels={"pod-security.kubernetes.io/enforce": "baseline"})


@pytest.fixture
def gateway(start_gateway, specs, cluster, share, tmp_path):
    write_kernelspecs(specs.directory, cluster.nfs_server)
    policy, tokens = tmp_path / "policy.yaml", tmp_path / "tokens"
    policy.write_text(POLICY.format(server=cluster.nfs_server, share=share[1]))
    tokens.write_text("".join(f"{name}:user:sha256:{hashlib.sha256(name.encode()).hexdigest()}\n" for name in NAMES))
    tokens.chmod(0o600)
    for name in NAMES:
        home = share[0] / "claim" / name
        home.mkdir(parents=True)
        os.chown(home, 1000, 100)
        (home / "whose.txt").write_text(name)
    return start_gateway("--policy", str(policy), "--auth-token-file", str(tokens), "--kubernetes-uid", "1000", "--kubernetes-gid", "100")


@pytest.fixture
def start_server(gateway, share, tmp_path):
    """start_server(whose token, whose KERNEL_PATH) is a notebook server as the lab has it."""
    servers = []

    def start(user, path):
        folder = tmp_path / f"server{len(servers)}"
        folder.mkdir()
        servers.append(Server(gateway, folder, share[0] / "claim" / path, JUPYTER_GATEWAY_AUTH_TOKEN=user, JUPYTERHUB_USER=user,
                              KERNEL_PATH=f"{share[1]}/claim/{path}", KERNEL_USERNAME=user))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def test_a_notebook_server_with_a_token(gateway, start_server, share, kube):
    """The kernelspec mounts her own directory; with her token and bob's path the cell says which rule refuses it."""
    server = start_server("alice", "alice")
    kernel_id = server.request("POST", "/api/kernels", json={"name": NAME}).json()["id"]
    other = start_server("alice", "bob")
    answer = other.request("POST", "/api/kernels", json={"name": NAME})
    refusal = f"{share[1]}/claim/bob is not allowed: policy.yaml line 4 (volumes.nfs)"
    with Client(other, answer.json()["id"], timeout=START_S) as client:
        assert refusal in client.run_cell("1").error["evalue"]
    assert not kube.list("Pod", labelSelector=f"kernel_id={answer.json()['id']}")
    with Client(server, kernel_id, timeout=START_S) as client:
        cell = client.run_cell("import os\nprint(os.getuid(), open('/home/jovyan/whose.txt').read())\n"
                               "open('/home/jovyan/from-kernel.txt', 'w').write('here')")
        assert cell.text() == "1000 alice\n", cell.everything()
    assert server.request("GET", "/api/contents/from-kernel.txt").json()["content"] == "here"
    place = pod_of(kube, kernel_id)
    volumes = kube.get("Pod", place["name"], place["namespace"])["spec"]["volumes"]
    assert [volume["nfs"]["path"] for volume in volumes if "nfs" in volume] == [f"{share[1]}/claim/alice"]
