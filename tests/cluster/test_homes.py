"""Users' home directories on an NFS server: made by the gateway, seen by pods."""
import hashlib
import json
import os
import shutil
import signal
import subprocess
import uuid

import pytest

from kernels import *  # noqa: F403
from kernels import START_S, pods_of
from support.processes import wait_until
from testcluster.control_plane import is_listening

ADDRESS, PORT = "127.0.0.71", 2049  # a server of these tests' own, which they may stop
GANESHA = """
NFS_CORE_PARAM {{ Protocols = 4; NFS_Port = {port}; Bind_addr = {address}; Enable_NLM = false; Enable_RQUOTA = false; }}
NFSv4 {{ Graceless = true; Only_Numeric_Owners = true; RecoveryRoot = "{folder}/recovery"; }}
EXPORT_DEFAULTS {{ SecType = sys; Squash = No_Root_Squash; Attr_Expiration_Time = 0; }}
EXPORT {{ Export_Id = 1; Path = "{folder}/open"; Pseudo = "/open"; Access_Type = RW; FSAL {{ Name = VFS; }} }}
EXPORT {{ Export_Id = 2; Path = "{folder}/squash"; Pseudo = "/squash"; Access_Type = RW; Squash = Root_Squash; FSAL {{ Name = VFS; }} }}
EXPORT {{ Export_Id = 3; Path = "{folder}/open"; Pseudo = "/fixed"; Access_Type = RO; FSAL {{ Name = VFS; }} }}
EXPORT {{ Export_Id = 4; Path = "{folder}/ports"; Pseudo = "/ports"; Access_Type = RW; PrivilegedPort = true; FSAL {{ Name = VFS; }} }}
LOG {{ Default_Log_Level = WARN; }}
"""
WRITERS_GID = 4000


class Server:
    def __init__(self, folder, build):
        self.folder, self.maker, self.process = folder, build / "tests" / "home_maker", None
        for name in ("open", "squash", "ports", "recovery"):
            (folder / name).mkdir(mode=0o755)
        os.chown(folder / "squash", 0, WRITERS_GID)
        (folder / "squash").chmod(0o775)
        (folder / "ganesha.conf").write_text(GANESHA.format(folder=folder, port=PORT, address=ADDRESS))

    def start(self):
        self.process = subprocess.Popen(["ganesha.nfsd", "-F", "-f", self.folder / "ganesha.conf", "-L", self.folder / "log",
                                         "-p", self.folder / "pid"], stdin=subprocess.DEVNULL)
        wait_until(lambda: is_listening(ADDRESS, PORT), 60, "the NFS server's port")

    def stop(self):
        self.process.kill()
        self.process.wait()

    def command(self, export, *homes, parent_gid=-1, deadline_ms=20000):
        return [self.maker, ADDRESS, str(PORT), export, str(deadline_ms), str(parent_gid), *homes]

    def prepare(self, export, *homes, before=(), **options):
        """What is told of each home, "path=uid"; nothing is left open."""
        told = subprocess.run([*before, *self.command(export, *homes, **options)], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
        *lines, left = told.stdout.splitlines()
        assert left == "0" and len(lines) == len(homes)
        return lines

    def owner_of(self, path):
        status = (self.folder / path).stat()
        return status.st_uid, status.st_gid, status.st_mode & 0o7777


@pytest.fixture(scope="module")
def server(cluster, build):
    folder = cluster.nfs_directory.parent / f"nfs-{uuid.uuid4().hex[:8]}"  # a file system that the server can export
    folder.mkdir(mode=0o755)
    one = Server(folder, build)
    one.start()
    yield one
    one.stop()
    shutil.rmtree(folder)


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
    assert server.prepare("/open", *(f"crowd{i}={2000 + i}" for i in range(200))) == ["ready"] * 200
    assert {server.owner_of(f"open/crowd{i}") for i in range(200)} == {(2000 + i, 2000 + i, 0o700) for i in range(200)}


def test_what_a_kubelet_made_is_given_to_the_user(server):
    (server.folder / "open" / "trap").mkdir(mode=0o755)
    assert server.prepare("/open", "trap=1001") == ["ready"]
    assert server.owner_of("open/trap")[:2] == (1001, 1001)


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
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        told = server.prepare("/open", "alice=1001", "bob=1002", deadline_ms=1000)
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert all("did not answer within 1 s" in one for one in told)
    server.stop()
    (told,) = server.prepare("/open", "alice=1001", deadline_ms=1000)
    assert "could not be reached within 1 s" in told and "refused" in told
    waiting = subprocess.Popen(server.command("/open", "later=1001", deadline_ms=60000), stdout=subprocess.PIPE, text=True)
    server.start()
    assert waiting.communicate(timeout=60)[0].splitlines() == ["ready", "0"]


# --- pods ---


@pytest.fixture(scope="module")
def places(kube):
    """"restricted" refuses nfs volumes in a pod."""
    made = kube.make_namespace(), kube.make_namespace({"pod-security.kubernetes.io/enforce": "baseline"})
    yield made
    for name in made:
        kube.delete("Namespace", name)


@pytest.fixture
def share(cluster):
    """A directory of the cluster's own NFS server: its path here, and what it is exported as."""
    name = f"homes-{uuid.uuid4().hex[:8]}"
    (cluster.nfs_directory / name / "all").mkdir(parents=True)
    (cluster.nfs_directory / name / "data").mkdir()
    (cluster.nfs_directory / name / "data" / "table.csv").write_text("1,2\n")
    yield cluster.nfs_directory / name, f"{cluster.nfs_share}/{name}"

    def is_removed():  # a kernel may be writing there still
        shutil.rmtree(cluster.nfs_directory / name, ignore_errors=True)
        return not (cluster.nfs_directory / name).exists()

    wait_until(is_removed, START_S, "the end of the share's files")


@pytest.fixture
def start(start_gateway, share, cluster, tmp_path):
    """A gateway with homes for alice and bob, who have tokens of their names."""
    def start(*flags):
        tokens = tmp_path / "tokens"
        tokens.write_text("".join(f"{name}:user:sha256:{hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("alice", "bob")))
        tokens.chmod(0o600)
        gateway = start_gateway("--auth-token-file", str(tokens), "--home-server", cluster.nfs_server, "--home-export", share[1],
                                "--home-path", "all/{user}", "--home-uids", json.dumps({"alice": "1001:1001", "bob": "1002:1002"}), *flags)
        gateway.token = "alice"
        return gateway

    return start


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
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        kernel_id = gateway.start_kernel("python3")["id"]
        client = connect(gateway, kernel_id)
        client.send_execute("1")
        client.receive_until(lambda message: "preparing the home directory" in str(message["content"]))
        assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
        assert kernel_id not in [model["id"] for model in gateway.get("/api/kernels").json()]
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert not [name for name in pods_of(kube, places[1]) if kernel_id in name]
