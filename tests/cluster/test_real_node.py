"""The cluster itself is true: what its node does and says is what Elara must read."""
import json
import os
import socket

import pytest

from testcluster.images import BUSYBOX, IPYKERNEL
from testcluster.kube import KubeError
from testcluster.pods import has_ended, is_running, pod, state_of, waits_for

FREE_PORT = 8123


def test_a_restricted_pod_runs_as_its_user(kube, namespace):
    kube.create(pod("who", "sh", "-c", "id -u; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status"), namespace)
    ended = kube.wait_for("Pod", "who", namespace, has_ended)
    assert ended["status"]["phase"] == "Succeeded"
    lines = kube.logs("who", namespace).split("\n")
    assert lines[0] == "1000"
    assert [line.split() for line in lines[1:4]] == [["CapEff:", "0000000000000000"], ["NoNewPrivs:", "1"], ["Seccomp:", "2"]]


def test_a_pod_that_is_not_restricted_is_refused(kube, namespace):
    refused = pod("root", "id", securityContext={})
    with pytest.raises(KubeError) as error:
        kube.create(refused, namespace)
    assert error.value.status == 403
    assert 'violates PodSecurity "restricted:latest"' in error.value.answer["message"]


def test_host_and_pod_reach_each_other(cluster, kube, namespace):
    with socket.create_server((cluster.address, 0)) as server:
        server.settimeout(60)
        port = server.getsockname()[1]
        script = f"echo to the host | nc {cluster.address} {port}; echo to the pod | nc -l -p {FREE_PORT}"
        kube.create(pod("peer", "sh", "-c", script), namespace)
        connection, peer = server.accept()
        with connection:
            assert connection.makefile().readline() == "to the host\n"
    running = kube.wait_for("Pod", "peer", namespace, is_running)
    assert running["status"]["podIP"] == peer[0]  # no address translation in between
    assert read_line(peer[0], FREE_PORT) == "to the pod\n"


def read_line(address, port):
    """Tries until something listens."""
    while True:
        try:
            with socket.create_connection((address, port), timeout=10) as connection:
                return connection.makefile().readline()
        except ConnectionError:
            continue


def test_a_service_leads_to_its_pod_from_host_and_pod(kube, namespace):
    server = pod("server", "sh", "-c", f"while true; do echo served | nc -l -p {FREE_PORT}; done")
    server["metadata"]["labels"] = {"app": "server"}
    kube.create(server, namespace)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"},
               "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": FREE_PORT}]}}
    address = kube.create(service, namespace)["spec"]["clusterIP"]
    kube.wait_for("Pod", "server", namespace, is_running)
    assert read_line(address, 80) == "served\n"
    script = f"until nc {address} 80 </dev/null; do :; done"
    kube.create(pod("client", "sh", "-c", script), namespace)
    kube.wait_for("Pod", "client", namespace, has_ended)
    assert kube.logs("client", namespace) == "served\n"


def test_a_pod_reaches_the_api_server_with_its_service_account(kube, namespace):
    kube.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "view"},
                 "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
                 "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}}, namespace)
    script = """import json, os, ssl, urllib.request
place = "/var/run/secrets/kubernetes.io/serviceaccount/"
token, namespace = open(place + "token").read(), open(place + "namespace").read()
host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
request = urllib.request.Request(f"https://{host}:{port}/api/v1/namespaces/{namespace}/pods",
                                 headers={"Authorization": "Bearer " + token})
with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=place + "ca.crt")) as answer:
    print(json.load(answer)["items"][0]["metadata"]["name"])"""
    kube.create(pod("inside", "/usr/bin/python3", "-c", script, image=IPYKERNEL), namespace)
    kube.wait_for("Pod", "inside", namespace, has_ended)
    assert kube.logs("inside", namespace) == "inside\n"


def test_too_much_memory_is_oomkilled(kube, namespace):
    limits = {"resources": {"limits": {"memory": "32Mi"}}}
    kube.create(pod("greedy", "sh", "-c", "tail /dev/zero", container=limits), namespace)
    ended = kube.wait_for("Pod", "greedy", namespace, has_ended)
    assert ended["status"]["phase"] == "Failed"
    kind, details = state_of(ended)
    assert (kind, details["reason"], details["exitCode"]) == ("terminated", "OOMKilled", 137)


def test_a_missing_image_says_so(kube, namespace):
    kube.create(pod("missing", image="localhost/elara-test/missing:1"), namespace)
    kube.wait_for("Pod", "missing", namespace, waits_for("ErrImagePull"))
    kube.wait_for("Pod", "missing", namespace, waits_for("ImagePullBackOff"))
    assert 'Failed to pull image "localhost/elara-test/missing:1"' in kube.wait_event(namespace, "missing", "Failed")["message"]


def test_an_impossible_image_name_says_so(kube, namespace):
    kube.create(pod("wrong", image="Upper/Case:1"), namespace)
    kube.wait_for("Pod", "wrong", namespace, waits_for("InvalidImageName"))


def test_a_container_that_ends_again_and_again_backs_off(kube, namespace):
    kube.create(pod("crash", "sh", "-c", "exit 3", restartPolicy="Always"), namespace)
    crashed = kube.wait_for("Pod", "crash", namespace, waits_for("CrashLoopBackOff"))
    assert crashed["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 3


def test_a_quota_refuses_with_its_name(kube, namespace):
    kube.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "0"}}}, namespace)
    kube.wait_for("ResourceQuota", "few", namespace, lambda item: item["status"].get("hard"))
    with pytest.raises(KubeError, match="exceeded quota: few") as error:
        kube.create(pod("more", "true"), namespace)
    assert error.value.status == 403


def test_a_pod_that_fits_nowhere_is_unschedulable(kube, namespace):
    huge = {"resources": {"requests": {"memory": "900Gi"}}}
    kube.create(pod("huge", "true", container=huge), namespace)

    def is_refused(item):
        return any(one.get("reason") == "Unschedulable" for one in item["status"].get("conditions", []))

    refused = kube.wait_for("Pod", "huge", namespace, is_refused)
    assert "Insufficient memory" in refused["status"]["conditions"][0]["message"]


def test_nfs_is_mounted_and_written_by_the_user(cluster, kube, make_namespace):
    namespace = make_namespace({"pod-security.kubernetes.io/enforce": "baseline"})  # "restricted" forbids inline NFS
    home = cluster.nfs_directory / namespace
    home.mkdir()
    os.chown(home, 1000, 1000)
    volume = {"name": "home", "nfs": {"server": cluster.nfs_server, "path": f"{cluster.nfs_share}/{namespace}"}}
    mounts = {"volumeMounts": [{"name": "home", "mountPath": "/home"}]}
    script = "cd /home && mkdir work && echo written >work/file && cat work/file && stat -c %u:%g work/file && grep ' /home ' /proc/mounts"
    kube.create(pod("writer", "sh", "-c", script, container=mounts, volumes=[volume]), namespace)
    ended = kube.wait_for("Pod", "writer", namespace, has_ended)
    lines = kube.logs("writer", namespace).split("\n")
    assert (ended["status"]["phase"], lines[:2]) == ("Succeeded", ["written", "1000:1000"])
    assert (home / "work" / "file").read_text() == "written\n"
    assert (home / "work" / "file").stat().st_uid == 1000
    if cluster.nfs_client.startswith("bind"):
        pytest.skip(f"machine limit: NFS is mounted by {cluster.nfs_client}")
    assert "nfs" in lines[2]


PROGRAM_ON_NFS = """import mmap, os, sqlite3
os.chdir("/home")
with open("a", "w") as file: file.write("x" * 3000000)
with open("a", "r+b") as file: file.truncate(10)
with open("a", "a") as file: file.write("end")
assert open("a").read() == "x" * 10 + "end"
os.rename("a", "b"), os.link("b", "c"), os.symlink("b", "d"), os.chmod("b", 0o640), os.utime("b", (5, 6))
status = os.stat("d")
assert (status.st_mode & 0o777, status.st_mtime, status.st_nlink, status.st_uid) == (0o640, 6, 2, 1000), status
database = sqlite3.connect("database")
database.execute("create table numbers(number)")
database.executemany("insert into numbers values(?)", [(number,) for number in range(1000)])
database.commit()
assert database.execute("select sum(number) from numbers").fetchone() == (499500,)
with open("gone", "w+") as file:
    os.unlink("gone")
    file.write("still there"), file.seek(0)
    assert file.read() == "still there"
with open("mapped", "w+b") as file:
    file.truncate(4096)
    with mmap.mmap(file.fileno(), 4096) as area: area[:6] = b"mapped"
assert open("mapped", "rb").read(6) == b"mapped"
for wrong in (lambda: os.open("b", os.O_CREAT | os.O_EXCL), lambda: os.chown("b", 0, 0), lambda: os.mkdir("b")):
    try: wrong()
    except OSError: continue
    raise AssertionError("it worked")
print(sorted(os.listdir(".")))"""


def test_programs_do_on_nfs_what_they_do_elsewhere(cluster, kube, make_namespace):
    namespace = make_namespace({"pod-security.kubernetes.io/enforce": "baseline"})
    home = cluster.nfs_directory / namespace
    home.mkdir()
    os.chown(home, 1000, 1000)
    volume = {"name": "home", "nfs": {"server": cluster.nfs_server, "path": f"{cluster.nfs_share}/{namespace}"}}
    mounts = {"workingDir": "/", "volumeMounts": [{"name": "home", "mountPath": "/home"}]}  # the image's is below the mount: it would be made
    kube.create(pod("program", "/usr/bin/python3", "-c", PROGRAM_ON_NFS, image=IPYKERNEL, container=mounts, volumes=[volume]), namespace)
    kube.wait_for("Pod", "program", namespace, has_ended)
    assert kube.logs("program", namespace) == "['b', 'c', 'd', 'database', 'mapped']\n"


def test_an_export_that_is_not_there_is_a_failed_mount(cluster, kube, make_namespace):
    namespace = make_namespace({"pod-security.kubernetes.io/enforce": "baseline"})
    volume = {"name": "home", "nfs": {"server": cluster.nfs_server, "path": "/nowhere"}}
    mounts = {"volumeMounts": [{"name": "home", "mountPath": "/home"}]}
    kube.create(pod("waiting", "true", container=mounts, volumes=[volume]), namespace)
    assert "MountVolume.SetUp failed" in kube.wait_event(namespace, "waiting", "FailedMount")["message"]
    kube.wait_for("Pod", "waiting", namespace, waits_for("ContainerCreating"))


def test_kubectl_applies_and_answers_in_json(kube, namespace):
    kube.kubectl("apply", "--filename", "-", namespace=namespace, text=json.dumps(pod("applied", "sleep", "1000")))
    kube.wait_for("Pod", "applied", namespace, is_running)
    found = json.loads(kube.kubectl("get", "pods", "--output", "json", namespace=namespace))
    assert [item["spec"]["containers"][0]["image"] for item in found["items"]] == [BUSYBOX]
    assert kube.kubectl("exec", "applied", "--", "id", "-u", namespace=namespace) == "1000\n"


def test_a_service_account_may_do_what_its_role_says(kube, namespace, tmp_path):
    user = kube.service_account(namespace, "default", tmp_path / "kubeconfig")
    with pytest.raises(KubeError, match="cannot list resource"):
        user.list("Pod", namespace)


def test_a_deleted_namespace_goes_with_its_pods(kube, make_namespace):
    namespace = make_namespace()
    kube.create(pod("inside", "sleep", "1000"), namespace)
    kube.wait_for("Pod", "inside", namespace, is_running)
    kube.delete("Namespace", namespace)
    kube.wait_gone("Namespace", namespace, None)


@pytest.mark.restarts
def test_the_api_server_comes_back_with_everything(cluster, kube, namespace):
    kube.create(pod("before", "sleep", "1000"), namespace)
    kube.wait_for("Pod", "before", namespace, is_running)
    cluster.restart("kube-apiserver")
    assert kube.get("Pod", "before", namespace)["status"]["phase"] == "Running"
    kube.create(pod("after", "true"), namespace)
    kube.wait_for("Pod", "after", namespace, has_ended)
