"""A lab's whole story: the chart with the values that the lab had, a JupyterHub before it, homes on NFS, and alice and bob at JupyterLab.

The chapters follow one another; each is what a user sees (tests/browser/story_scenarios.mjs) and what the cluster shows of it."""
import contextlib
import os
import re
import signal
import subprocess
import time

import pytest
import requests
import yaml

from deployments import pod_of
from hubs import Visitor
from kernels import *  # noqa: F403
from kernels import ROOT, START_S
from lab import NAMESPACE
from overlays import HUB, edit, password_of_hub, print_pods, volume_of_hub
from releases import check_uninstall, release_in
from support.environments import node_modules
from support.lab import play
from support.processes import wait_until
from test_route_matrix import BODIES, WEBSOCKET, table
from testcluster import manifests
from testcluster.lab_image import GID, UID
from testcluster.pods import container_pids
from testcluster.processes import pid_of

SPEC = "python_kubernetes"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
STORY_S = 600
NFS_STOPS_S = 60
pytestmark = pytest.mark.timeout(STORY_S)
QUICKLY = {"cull_idle_timeout": "3s"}
# JupyterLab's first visit: nothing is asked. A cell that is out of sight keeps its output in the page.
SETTINGS = {"apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
            "docmanager-extension/plugin": '{"renameUntitledFileOnSave": false}',
            "notebook-extension/tracker": '{"windowingMode": "none"}'}


def homes(release, cluster):
    """The claim of all homes, for the servers; kernels mount the same directories by the lab's kernelspec."""
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    return [{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": release.name}, "spec": spec | {
        "capacity": {"storage": "1Gi"}, "claimRef": {"namespace": HUB, "name": "homes"},
        "nfs": {"server": cluster.nfs_server, "path": f"{release.share}/claim"}}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "homes", "namespace": HUB}, "spec": spec | {
            "volumeName": release.name, "resources": {"requests": {"storage": "1Gi"}}}}]


def hub_overlay(release, cluster, directory):
    """The hub of manifests/overlays/lab, in front of the gateways of the chart, whose namespace is another one."""
    place = edit(directory, "lab", cluster, f"{release.name}/claim", release.launcher_image)
    for path in (place / "hub.yaml", directory / "manifests" / "jupyterhub" / "elara.py"):
        path.write_text(path.read_text().replace("enterprise-gateway.elara:", f"enterprise-gateway.{NAMESPACE}:")
                        .replace("metadata.name: elara\n", f"metadata.name: {NAMESPACE}\n"))
    config = place / "jupyterhub_config.py"
    config.write_text(f"""{config.read_text()}
c.Authenticator.allowed_users = {{"alice", "bob"}}
c.KubeSpawner.environment.update({{"KERNEL_PATH": "{release.share}/claim/$(JUPYTERHUB_USER)"}})  # the lab's kernelspec mounts it
""")
    (place / "homes.yaml").write_text(yaml.safe_dump_all(homes(release, cluster)))
    (place / "kustomization.yaml").write_text(yaml.safe_dump({
        "resources": ["../../jupyterhub", "homes.yaml", "hub.yaml"],
        "configMapGenerator": [{"name": "hub", "namespace": HUB, "files": ["jupyterhub_config.py"]}]}))
    return place


def is_ready_again(pod):
    (status,) = pod["status"]["containerStatuses"]
    return status["ready"] and status["restartCount"] > 0


def remove_hub(kube):
    kube.delete("Namespace", HUB)
    kube.wait_gone("Namespace", HUB, None, START_S)


class Story:
    """What the chapters ask for; the answers go back to them."""

    def __init__(self, kube, cluster, release, build, folder):
        self.kube, self.cluster, self.release, self.build, self.folder = kube, cluster, release, build, folder
        self.service, self.password, self.url, self.kernel_id, self.browser = None, None, None, None, None

    def install(self):
        release = self.release
        os.chown(release.home.parent, UID, GID)
        for plugin, text in SETTINGS.items():
            for user in ("alice", "bob"):
                path = release.home.parent / user / ".jupyter" / "lab" / "user-settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        subprocess.run(["chown", "-R", f"{UID}:{GID}", release.home.parent], check=True)
        release.settings = {"jupyterhub_api_url": f"http://hub.{HUB}:8081/hub/api", "auth_cache": "1s", "cull_warn_before": "0",
                            "ws_ping_interval": "1s"}  # a notebook server leaves sockets behind that it never reads
        # The lab asks for a whole core for each: a gateway needs less, and so many the node has not.
        release.others = {"deployment": {"replicas": 2, "resources": {"requests": {"cpu": "100m"}}}, "policy": {
            "variables": {"allow": ["KERNEL_PATH", "KERNEL_IMAGE", "KERNEL_CPUS*", "KERNEL_MEMORY*"]}, "images": ["localhost/elara-test/*"],
            "volumes": {"types": ["nfs"], "nfs": [{"server": self.cluster.nfs_server, "paths": [f"{release.share}/claim/{{user}}"]}]}}}
        release.install()
        self.kube.kubectl("apply", "-k", hub_overlay(release, self.cluster, self.folder))
        self.service = release.wait()
        self.password = password_of_hub(self.kube)
        self.url = f"http://{self.kube.get('Service', 'proxy-public', HUB)['spec']['clusterIP']}"
        wait_until(Visitor(self.kube, HUB).is_there, START_S, "the hub's page, through its Service")

    def play(self, chapter):
        shots = self.build / "test-output" / "browser"
        shots.mkdir(parents=True, exist_ok=True)
        status, said = play(chapter, self, shots, {
            "NODE_MODULES": str(node_modules()), "SCENARIOS": str(ROOT / "tests" / "browser" / "story_scenarios.mjs"), "SEEN_WITHIN_MS": "120000",
            "PASSWORD": self.password}, limit_s=STORY_S)
        print(said)
        assert status == 0, said

    def token_of(self, user):
        """Of his server, with which it asks the gateway."""
        (container,) = self.kube.get("Pod", f"jupyter-{user}", HUB)["spec"]["containers"]
        return next(one["value"] for one in container["env"] if one["name"] == "JUPYTERHUB_API_TOKEN")

    def as_user(self, user, method, path, **options):
        headers = {"Authorization": f"token {self.token_of(user)}", **options.pop("headers", {})}
        return requests.request(method, self.service.base + path, headers=headers, timeout=60, **options)

    def look_at_the_pod(self):
        """Her kernel: a pod in a namespace of its own, and a file that is hers."""
        (model,) = self.as_user("alice", "GET", "/api/kernels").json()
        self.kernel_id = model["id"]
        pod = pod_of(self.kube, self.kernel_id)
        assert pod["namespace"].startswith("alice-") and pod["annotations"]["elara.owner"] == "alice"
        written = (self.release.home / "data.csv").stat()
        assert (written.st_uid, written.st_gid) == (UID, GID)
        said = "".join(self.kube.logs(pod["metadata"]["name"], NAMESPACE) for pod in self.gateways())
        print(*re.findall(f"{self.kernel_id}: its start took: .*", said))

    def tell(self, act):
        """The cell that waits for it."""
        (self.release.home / act).touch()

    def kill_replicas(self):
        """One after the other, as when memory runs out: the one that her notebook server is connected to is among them."""
        for pod in self.gateways():
            for pid in container_pids(pod["metadata"]["uid"]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.kube.wait_for("Pod", pod["metadata"]["name"], NAMESPACE, is_ready_again, START_S)
        self.tell("kill_replicas")

    def upgrade(self):
        """To another setting and another image, whose programs are others: each has a byte more."""
        image, root, archive = f"{self.release.launcher_image}-next", self.folder / "next", self.folder / "next.tar"
        subprocess.run([ROOT / "tools" / "make-image", self.build, root, "--directory"], check=True)
        for program in (root / "usr").rglob("elara*"):
            if program.is_file():
                program.write_bytes(program.read_bytes() + b"\n")
        subprocess.run([ROOT / "tools" / "pack-image", root, archive, "--tag", image, "--entrypoint", "/usr/bin/elara-gateway",
                        "--user", "65532:65532", "--env", "PATH=/usr/bin"], check=True)
        self.cluster.import_image(archive)
        before, self.release.launcher_image = self.release.launcher_image, image
        self.change(default_kernel_name="python_edited")
        self.see_version(image, "python_edited")
        self.release.launcher_image = before
        self.tell("upgrade")

    def roll_back(self):
        """To what was there at first."""
        self.release.roll_back("1")
        self.release.wait()
        self.release.hurry()
        self.see_version(self.release.launcher_image, SPEC)
        self.tell("roll_back")

    def see_version(self, image, default_name):
        wait_until(lambda: self.default_kernelspec() == default_name, START_S, "the setting")
        assert {pod["spec"]["containers"][0]["image"] for pod in self.gateways()} == {image}

    def default_kernelspec(self):
        answer = self.as_user("alice", "GET", "/api/kernelspecs")
        assert answer.status_code == 200, answer.text
        return answer.json()["default"]

    def change(self, **settings):
        self.release.helm("upgrade", **settings)
        self.release.wait()
        self.release.hurry()

    def stop_nfs(self):
        os.kill(pid_of("ganesha"), signal.SIGSTOP)

    def start_nfs(self):
        os.kill(pid_of("ganesha"), signal.SIGCONT)

    def see_that_nothing_dies(self):
        """Her cell runs and says nothing, and the gateways answer."""
        wait_until(lambda: self.her_kernel().json()["execution_state"] == "busy", START_S, "her cell")
        until = time.monotonic() + NFS_STOPS_S
        while time.monotonic() < until:
            assert self.her_kernel().json()["execution_state"] == "busy"
            statuses = [status for pod in self.gateways() for status in pod["status"]["containerStatuses"]]
            assert statuses and all(status["ready"] and status["restartCount"] == 0 for status in statuses)
        assert not (self.release.home / "late.csv").exists()

    def gateways(self):
        """Their pods, but for those on their way out."""
        return [pod for pod in self.kube.list("Pod", NAMESPACE) if "deletionTimestamp" not in pod["metadata"]]

    def her_kernel(self):
        return self.as_user("alice", "GET", f"/api/kernels/{self.kernel_id}")

    def cull(self):
        """Why her kernel was ended, once nobody looked at it for longer than the admin wants."""
        self.change(**QUICKLY)
        def ended():
            answer = self.her_kernel()
            if answer.status_code != 404:
                self.release.hurry()  # until the kubelet has heard of the change itself
                return None
            return answer.json()["reason"]

        reason = wait_until(ended, START_S, "the end of her kernel")
        self.change()
        return reason

    def clean(self):
        self.start_nfs()
        try:
            print_pods(self.kube, HUB)
        finally:
            remove_hub(self.kube)
            self.kube.delete("PersistentVolume", self.release.name)
            for namespace in self.kube.list("Namespace", labelSelector=f"elara.install={self.release.name}"):  # of a chapter that has failed
                self.kube.delete("Namespace", namespace["metadata"]["name"])


@pytest.fixture(scope="module")
def story(kube, cluster, launcher_image, build, tmp_path_factory):
    folder = tmp_path_factory.mktemp("story")
    with release_in(kube, cluster, folder, launcher_image) as release:
        remove_hub(kube)  # of a run that was killed
        with volume_of_hub(kube, tmp_path_factory.mktemp("hub")):
            one = Story(kube, cluster, release, build, folder)
            try:
                one.install()
                yield one
            finally:
                one.clean()


def test_alice_works_while_things_break(story):
    story.play("aliceWorksWhileThingsBreak")
    assert (story.release.home / "late.csv").read_text() == "late"


def refused(story, route, ids):
    """What bob is told: the status, and the text without the name that he has asked for."""
    method, path = route.split(" ")
    for name, value in ids.items():
        path = path.replace("{%s}" % name, value)
    answer = story.as_user("bob", method, path.replace("{user}", "bob"), json=BODIES.get(route), headers=WEBSOCKET if path.endswith("/channels") else {})
    return answer.status_code, answer.text.replace(ids["kernel_id"], "ID").replace(ids["session_id"], "ID")


def hostile(story):
    """{name: value}: what would bring him to what is hers."""
    alice, claim = pod_of(story.kube, story.kernel_id), f"{story.release.share}/claim"
    server = story.cluster.nfs_server
    return [
        {"KERNEL_USERNAME": "alice"},
        *({"KERNEL_PATH": path} for path in (f"{claim}/alice", claim, f"{claim}/", f"{claim}/bob/../alice", f"{claim}/./alice", "/", f"{claim}/bob/",
                                             f"{claim}/alice, readOnly: true", f"{claim}/bob}}}},{{name: h,hostPath: {{path: /")),
        {"KERNEL_VOLUMES": f"[{{name: nfs-mount, nfs: {{server: {server}, path: {claim}/alice}}}}]"},
        {"KERNEL_VOLUMES": "[{name: nfs-mount, hostPath: {path: /}}]"},
        {"KERNEL_VOLUME_MOUNTS": "[{name: nfs-mount, mountPath: /home/jovyan, subPath: ../alice}]"},
        {"KERNEL_NAMESPACE": alice["namespace"]}, {"KERNEL_POD_NAME": alice["name"]}, {"KERNEL_ID": story.kernel_id},
        {"KERNEL_WORKING_DIR": "/home/jovyan/../alice"}, {"KERNEL_IMAGE": "registry.example.org/evil:1"},
        {"KERNEL_UID": "0"}, {"KERNEL_GID": "0"}, {"KERNEL_SERVICE_ACCOUNT_NAME": "elara-gateway"},
        *({name: "x"} for name in ("KERNEL_CPUS", "KERNEL_MEMORY", "KERNEL_GPUS", "KERNEL_CPUS_LIMIT", "KERNEL_MEMORY_LIMIT", "KERNEL_GPUS_LIMIT",
                                   "KERNEL_EXECUTOR_IMAGE", "KERNEL_LAUNCH_TIMEOUT", "KERNEL_NAME", "KERNEL_LANGUAGE", "KERNEL_CLASS_NAME",
                                   "KERNEL_CULL_IDLE_TIMEOUT", "KERNEL_SPARK_CONTEXT_INIT_MODE", "KERNEL_OPTS", "KERNEL_GATEWAY")),
    ]


def is_his(story, kernel_id):
    """Of a start that was accepted: what was said did not count, and what is mounted is bob's."""
    place = pod_of(story.kube, kernel_id)
    pod = story.kube.get("Pod", place["name"], place["namespace"])["spec"]
    volumes = [volume for volume in pod["volumes"] if not volume["name"].startswith("elara")]
    return (place["namespace"].startswith("bob-") and place["annotations"]["elara.owner"] == "bob" and pod["securityContext"]["runAsUser"] == UID
            and pod.get("serviceAccountName") == "default" and all(not mount.get("subPath") for mount in pod["containers"][0]["volumeMounts"])
            and volumes == [{"name": "nfs-mount", "nfs": {"server": story.cluster.nfs_server, "path": f"{story.release.share}/claim/bob"}}])


def test_bob_reaches_nothing_of_hers(story):
    """By the page, by each route, by each variable."""
    story.play("bobSeesNothingOfHers")
    session = story.as_user("alice", "POST", "/api/sessions", json={"path": "a.ipynb", "type": "notebook", "kernel": {"id": story.kernel_id}})
    hers = {"kernel_id": story.kernel_id, "session_id": session.json()["id"]}
    routes = [route for route in table() if "{kernel_id}" in route or "{session_id}" in route]
    assert len(routes) > 11
    for route in routes:
        assert refused(story, route, hers) == refused(story, route, dict.fromkeys(hers, UNKNOWN)), route
    for path in ("/api/kernels", "/api/sessions", "/api/elara/kernels"):
        assert story.kernel_id not in story.as_user("bob", "GET", path).text
    own = {"KERNEL_PATH": f"{story.release.share}/claim/bob"}
    accepted = []
    for env in hostile(story):
        answer = story.as_user("bob", "POST", "/api/kernels", json={"name": SPEC, "env": own | env})
        assert answer.status_code in (201, 400, 403, 409), (env, answer.text)
        if "KERNEL_PATH" in env or "KERNEL_USERNAME" in env:
            assert answer.status_code != 201, (env, answer.text)
        if answer.status_code == 201:
            accepted.append((env, answer.json()["id"]))
    for env, kernel_id in accepted:
        assert is_his(story, kernel_id), env
        assert story.as_user("bob", "DELETE", f"/api/kernels/{kernel_id}").status_code == 204
    print("accepted, and without effect:", [env for env, _ in accepted])
    assert pod_of(story.kube, story.kernel_id)["annotations"]["elara.owner"] == "alice"


def test_her_kernel_is_culled_and_says_so_when_she_comes_back(story):
    assert "nobody was connected" in story.cull()
    story.play("aliceComesBack")


def test_what_is_left_after_it_are_homes(story):
    began = manifests.end_of_audit_log()
    story.release.helm("uninstall")
    check_uninstall(story.kube, story.release, began)
    assert (story.release.home / "data.csv").read_text() == "a,b"
