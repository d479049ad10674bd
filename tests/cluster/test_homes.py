"""Users' home directories on an NFS server: made by the gateway, seen by pods."""
import json
import os
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from kernels import *  # noqa: F403
from kernels import START_S, pods_of
from homes import *  # noqa: F403 - its namespaces, not those of kernels
from homes import ADDRESS, RELAY, WRITERS_GID, Relay
from support.processes import wait_until
from testcluster.hollow import TOLERATIONS
from testcluster.pods import has_ended, pod

def test_homes_are_made_as_root_or_as_their_users(server):
    assert server.prepare("/open", "alice=1001", "bob=1002", "alice=1001") == ["ready"] * 3
    assert server.owner_of("open/alice") == (1001, 1001, 0o700) and server.owner_of("open/bob") == (1002, 1002, 0o700)
    assert server.prepare("/open", "alice=1001", "alice/work=1001") == ["ready"] * 2
    assert server.prepare("/squash", "alice=1001", "bob=1002", parent_gid=WRITERS_GID) == ["ready"] * 2
    assert server.owner_of("squash/alice") == (1001, 1001, 0o700)
    (refused,) = server.prepare("/squash", "carol=1003")
    assert "does not let root make /squash/carol" in refused and "home-parent-gid" in refused
    (refused,) = server.prepare("/squash", "carol=1003", parent_gid=4001)
    assert "does not let uid 1003 with the group 4001" in refused
    assert not (server.folder / "squash" / "carol").exists()


def test_two_hundred_users_at_once(server):
    with Relay() as relay:
        assert server.prepare("/open", *(f"crowd{i}={2000 + i}" for i in range(200)), address=RELAY) == ["ready"] * 200
    assert relay.mkdirs == 200
    assert {server.owner_of(f"open/crowd{i}") for i in range(200)} == {(2000 + i, 2000 + i, 0o700) for i in range(200)}


def test_what_a_kubelet_made_is_given_to_the_user(server):
    (server.folder / "open" / "trap").mkdir(mode=0o755)
    assert server.prepare("/open", "trap=1001") == ["ready"]
    assert server.owner_of("open/trap")[:2] == (1001, 1001)


@pytest.fixture
def claimed(share, cluster, kube):
    """The directory that the server's claim of the lab is (nfs-pv, jhub-claim: bound by size, mode and the empty class), and its namespace."""
    name, labels = f"nfs-pv-{share[0].name}", {"app": "mission-control", "type": "nfs-volume"}
    namespace = kube.make_namespace()
    (share[0] / "claim").mkdir()
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    kube.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name, "labels": labels}, "spec": common | {
        "capacity": {"storage": "15Gi"}, "nfs": {"server": cluster.nfs_server, "path": f"{share[1]}/claim"}}})
    kube.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {
        "name": "jhub-claim", "namespace": namespace, "labels": labels}, "spec": common | {"resources": {"requests": {"storage": "15Gi"}}}})
    yield share[0] / "claim", namespace
    kube.delete("Namespace", namespace)
    kube.delete("PersistentVolume", name)


def test_a_home_that_the_kubelet_has_made_for_a_subpath_is_given_to_its_user(start, share, claimed, kube, connect):
    """As a notebook server's pod comes to its home: with the user's name as subPath of the claim."""
    directory, namespace = claimed
    mount = {"name": "home", "mountPath": "/home/jovyan", "subPath": "alice"}
    kube.create(pod("jupyter-alice", "touch", "/home/jovyan/trapped", container={"volumeMounts": [mount]}, volumes=[
        {"name": "home", "persistentVolumeClaim": {"claimName": "jhub-claim"}}]), namespace)
    ended = kube.wait_for("Pod", "jupyter-alice", namespace, has_ended, START_S)
    assert ended["status"]["phase"] == "Failed" and list((directory / "alice").iterdir()) == []  # its user cannot write there
    assert (directory / "alice").stat().st_uid == 0
    gateway = start("--home-export", f"{share[1]}/claim", "--home-path", "{user}")
    cell = connect(gateway, gateway.start_kernel("python3")["id"]).run_cell("import os\nopen('mine.txt', 'w').write('x')\nprint(os.getuid())")
    assert cell.text() == "1001\n", cell.everything()
    assert (directory / "alice").stat().st_uid == (directory / "alice" / "mine.txt").stat().st_uid == 1001


def test_what_is_in_the_way_is_named(server):
    top = server.folder / "open"
    (top / "link").symlink_to("/etc")
    (top / "to-victim").symlink_to("victim")
    (top / "file").write_text("")
    (top / "victim").mkdir(mode=0o700)
    os.chown(top / "victim", 1009, 1009)
    (top / "locked").mkdir(mode=0o500)
    os.chown(top / "locked", 1001, 1001)
    (top / "locked").chmod(0o500)
    link, below, file, below_file, foreign, locked, none = server.prepare(
        "/open", "link=1001", "to-victim/x=1001", "file=1001", "file/x=1001", "victim=1001", "locked=1001", "ready=1001")
    assert "/open/link on the NFS server" in link and "is a symbolic link" in link
    assert "/open/to-victim on the NFS server" in below and "is a symbolic link" in below
    assert "is a file" in file and "/open/file on" in below_file and "is a file" in below_file
    assert "belongs to uid 1009, not to uid 1001" in foreign
    assert "with the mode 0500 and cannot be written by uid 1001" in locked
    assert none == "ready"
    assert not (top / "victim" / "x").exists()


def test_what_an_export_refuses_is_named(server):
    assert server.prepare("/open", "dora=1004") == ["ready"]
    there, missing = server.prepare("/fixed", "dora=1004", "erin=1005")
    assert "/fixed/dora" in there and "is read-only" in there and "is read-only" in missing
    (none,) = server.prepare("/nowhere", "dora=1004")
    assert "has no export /nowhere" in none and "insecure" not in none
    assert server.prepare("/ports", "dora=1004") == ["ready"]
    (high,) = server.prepare("/ports", "dora=1004", before=("setpriv", "--bounding-set", "-net_bind_service"))
    assert "the export option insecure" in high and "PrivilegedPort = false" in high


def test_a_server_that_is_gone_or_hangs_ends_at_the_deadline(server):
    with server.paused():
        told = server.prepare("/open", "alice=1001", "bob=1002", deadline_ms=1000)
    assert all("did not answer within 1 s" in one for one in told)
    server.stop()
    (told,) = server.prepare("/open", "alice=1001", deadline_ms=1000)
    assert "could not be reached within 1 s" in told and "refused" in told
    waiting = subprocess.Popen(server.command("/open", "later=1001", deadline_ms=60000), stdout=subprocess.PIPE, text=True)
    server.start()
    assert waiting.communicate(timeout=60)[0].splitlines() == ["ready", "0"]


# --- pods ---


def test_two_users_have_homes_of_their_own(start, share, connect, kube, places):
    gateway = start("--home-extra", "data:/data,all:/all")
    first = gateway.start_kernel("python3", env={"KERNEL_WORKING_DIR": "/home/jovyan/none"})["id"]
    gateway.token = "bob"
    second = gateway.start_kernel("python3")["id"]
    gateway.token = "alice"
    alice = connect(gateway, first)
    cell = alice.run_cell("import os\nopen('mine.txt', 'w').write('secret')\nos.mkdir('project')\n"
                          "print(os.getuid(), os.getcwd(), os.environ['HOME'], open('/data/table.csv').read().strip())")
    assert cell.text() == "1001 /home/jovyan /home/jovyan 1,2\n"
    written = share[0] / "all" / "alice" / "mine.txt"
    assert written.read_text() == "secret" and written.stat().st_uid == 1001
    (share[0] / "all" / "alice" / "from-outside.txt").write_text("hello")
    assert alice.run_cell("print(open('from-outside.txt').read())").text() == "hello\n"
    gateway.token = "bob"
    bob = connect(gateway, second)
    cell = bob.run_cell("import os\nprint(os.getuid(), 'mine.txt' in os.listdir('.'))\n"
                        "for path in ('/all/alice', '/all/alice/mine.txt'):\n"
                        "    try:\n        os.listdir(path) if path.endswith('alice') else open(path)\n"
                        "    except PermissionError: print('refused')\n"
                        "try: open('/data/table.csv', 'a')\nexcept OSError: print('read-only')")
    assert cell.text() == "1002 False\nrefused\nrefused\nread-only\n"
    assert (share[0] / "all" / "bob").stat().st_uid == 1002


def test_a_notebooks_directory_below_the_home_is_where_its_kernel_starts(start, share, connect):
    for path in ("all/alice", "all/alice/project"):
        (share[0] / path).mkdir()
        os.chown(share[0] / path, 1001, 1001)
    gateway = start()
    kernel_id = gateway.start_kernel("python3", env={"KERNEL_WORKING_DIR": "/home/jovyan/project"})["id"]
    assert connect(gateway, kernel_id).run_cell("import os\nprint(os.getcwd())").text() == "/home/jovyan/project\n"


def test_a_claim_brings_homes_where_nfs_volumes_are_refused(start, start_gateway, share, cluster, connect, kube, places):
    kube.kubectl("label", "--overwrite", "namespace", places[1], "pod-security.kubernetes.io/enforce=restricted")
    name = share[0].name
    kube.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "", "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": places[1], "name": "homes"}, "nfs": {"server": cluster.nfs_server, "path": share[1]}}})
    kube.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "homes", "namespace": places[1]}, "spec": {
        "accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": name, "resources": {"requests": {"storage": "1Gi"}}}})
    try:
        gateway = start("--home-pvc", "homes")
        client = connect(gateway, gateway.start_kernel("python3")["id"])
        assert client.run_cell("open('claimed.txt', 'w').write('x')\nimport os\nprint(os.getcwd())").text() == "/home/jovyan\n"
        assert (share[0] / "all" / "alice" / "claimed.txt").stat().st_uid == 1001
    finally:
        kube.kubectl("label", "--overwrite", "namespace", places[1], "pod-security.kubernetes.io/enforce=baseline")
        kube.delete("PersistentVolumeClaim", "homes", places[1])
        kube.delete("PersistentVolume", name)


def test_claims_are_made_in_namespaces_of_the_gateway(start, share, cluster, connect, kube):
    install = f"test-{uuid.uuid4().hex[:8]}"
    labels = {"labelSelector": f"elara.install={install}"}
    gateway = start("--kubernetes-namespaces", "user", "--kubernetes-install", install, "--kubernetes-namespace-prefix", f"{install}-",
                    "--kubernetes-namespace-labels", json.dumps({"pod-security.kubernetes.io/enforce": "restricted"}),
                    "--home-volume", "claim", "--home-options", "nfsvers=4.1,soft", "--home-extra", "data:/data")
    first = connect(gateway, gateway.start_kernel("python3")["id"])  # it makes IPython's files, which two may not make at once over FUSE
    assert first.run_cell("open('claimed.txt', 'w').write('x')\nimport os\nprint(os.getcwd())").text() == "/home/jovyan\n"
    second = connect(gateway, gateway.start_kernel("python3")["id"])
    assert second.run_cell("print(open('claimed.txt').read(), open('/data/table.csv').read().strip())").text().startswith("x 1,2\n")
    assert (share[0] / "all" / "alice" / "claimed.txt").stat().st_uid == 1001
    gateway.token = "bob"
    assert connect(gateway, gateway.start_kernel("python3")["id"]).run_cell("import os\nprint(os.listdir('.'))").text() == "['.ipython']\n"
    volumes, namespaces = kube.list("PersistentVolume", **labels), kube.list("Namespace", **labels)
    assert len(volumes) == len(namespaces) == 2
    for volume in volumes:
        spec = volume["spec"]
        assert spec["mountOptions"] == ["nfsvers=4.1", "soft"] and spec["nfs"] == {"server": cluster.nfs_server, "path": share[1]}
        (claim,) = kube.list("PersistentVolumeClaim", spec["claimRef"]["namespace"])
        assert claim["status"]["phase"] == "Bound" and claim["spec"]["volumeName"] == volume["metadata"]["name"]
    for namespace in namespaces:
        kube.delete("Namespace", namespace["metadata"]["name"])
    wait_until(lambda: not kube.list("PersistentVolume", **labels), START_S, "the volumes' end")


def test_two_hundred_starts_at_once_make_each_home_once(start_gateway, server, hollow, specs, build, kube, places):
    """Each of 200 users starts a kernel, and each tenth one more. The pods, which a hollow node has, wait for their images."""
    argv = [str(build / "tests" / "stub_kernel"), "-f", "{connection_file}"]
    specs.add("stub", argv=argv, nodeSelector=hollow.selector, tolerations=TOLERATIONS)
    hollow.add_fault("SlowPull")
    users = [f"many{number}" for number in range(200)]
    starts = [*users, *users[::10]]
    uids = {name: f"{uid}:{uid}" for uid, name in enumerate(users, 3000)}
    gateway = start_gateway("--home-server", RELAY, "--home-export", "/open", "--home-trust-claimed-names", "--home-uids", json.dumps(uids),
                            "--home-deadline", "60s")
    with Relay() as relay:
        with ThreadPoolExecutor(len(starts)) as threads:
            kernel_ids = list(threads.map(lambda user: gateway.start_kernel("stub", env={"KERNEL_USERNAME": user})["id"], starts))
        wait_until(lambda: len(hollow.pods()) == len(starts), START_S, "the pods")
    assert relay.mkdirs == len(users)
    assert [server.owner_of(f"open/{name}") for name in users] == [(uid, uid, 0o700) for uid in range(3000, 3200)]
    with ThreadPoolExecutor(16) as threads:
        assert set(threads.map(lambda one: gateway.delete(f"/api/kernels/{one}").status_code, kernel_ids)) == {204}


def test_a_home_that_cannot_be_made_ends_the_start_in_the_cell(start, share, connect, kube, places):
    (share[0] / "all" / "alice").write_text("")
    gateway = start()
    kernel_id = gateway.start_kernel("python3")["id"]
    error = connect(gateway, kernel_id).run_cell("1").error
    assert "all/alice on the NFS server" in error["evalue"] and "is a file" in error["evalue"]
    model = gateway.wait_for_state(kernel_id, "dead", timeout=START_S)
    assert model["reason"] == "HomeFailed"
    assert not [name for name in pods_of(kube, places[1]) if kernel_id in name]
    (share[0] / "all" / "alice").unlink()
    assert gateway.post(f"/api/kernels/{kernel_id}/restart").status_code == 200
    gateway.wait_for_state(kernel_id, "idle", timeout=START_S)


def test_claimed_names_count_only_where_the_setting_says_so(start_gateway, share, cluster, kube, places, specs):
    specs.add("homeless", env={"X": "1"})
    kernel = specs.directory / "homeless" / "kernel.json"
    kernel.write_text(json.dumps(json.loads(kernel.read_text()) | {"metadata": {"elara": {"home": False}}}))

    def paths(gateway, name="python3"):
        before = set(pods_of(kube, places[1]))
        kernel_id = gateway.start_kernel(name, env={"KERNEL_USERNAME": "zoe"})["id"]
        pods = wait_until(lambda: set(pods_of(kube, places[1])) - before, START_S, "the pod")
        volumes = [kube.get("Pod", one, places[1])["spec"]["volumes"] for one in pods]
        assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
        return [volume["nfs"]["path"] for found in volumes for volume in found if "nfs" in volume]

    flags = ("--home-server", cluster.nfs_server, "--home-export", share[1])
    gateway = start_gateway(*flags)
    assert paths(gateway) == [f"{share[1]}/root"]
    assert paths(gateway, "homeless") == []
    gateway = start_gateway(*flags, "--home-trust-claimed-names")
    assert paths(gateway) == [f"{share[1]}/zoe"]


def test_a_kernel_whose_home_is_being_prepared_can_be_ended(start_gateway, server, connect, kube, places):
    gateway = start_gateway("--home-server", ADDRESS, "--home-export", "/open", "--home-deadline", "60s")
    with server.paused():
        kernel_id = gateway.start_kernel("python3")["id"]
        client = connect(gateway, kernel_id)
        client.send_execute("1")
        client.receive_until(lambda message: "preparing the home directory" in str(message["content"]))
        assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
        assert kernel_id not in [model["id"] for model in gateway.get("/api/kernels").json()]
    assert not [name for name in pods_of(kube, places[1]) if kernel_id in name]
