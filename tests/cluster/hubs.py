"""A JupyterHub in the cluster: itself with its proxy as one pod, its users' notebook servers as others. And its users, over HTTP."""
import contextlib
import json
import re

import requests

from testcluster.lab_image import GID, HOME, LAB, UID
from testcluster.pods import RESTRICTED_CONTAINER, RESTRICTED_POD
from testcluster.processes import wait_until

START_S = 180  # a hub or a notebook server, on a busy machine
RBAC = "rbac.authorization.k8s.io/v1"
SCRATCH = {"home": HOME, "tmp": "/tmp"}  # what can be written to, while the rest is read-only
AS_JOVYAN = RESTRICTED_POD | {"runAsUser": UID, "runAsGroup": GID, "fsGroup": GID}
READ_ONLY = RESTRICTED_CONTAINER | {"readOnlyRootFilesystem": True}
VOLUMES = [{"name": name, "emptyDir": {}} for name in SCRATCH]
MOUNTS = [{"name": name, "mountPath": path} for name, path in SCRATCH.items()]
CONFIGURATION = f"""
c.JupyterHub.hub_bind_url = "http://:8081"
c.JupyterHub.hub_connect_url = "http://hub:8081"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.image = "{LAB}"
c.KubeSpawner.start_timeout = c.KubeSpawner.http_timeout = {START_S}
c.KubeSpawner.pod_security_context = {AS_JOVYAN}
c.KubeSpawner.container_security_context = {READ_ONLY}
c.KubeSpawner.volumes = {VOLUMES}
c.KubeSpawner.volume_mounts = {MOUNTS}
"""


def service(name, port, target):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": "hub"}, "ports": [{"port": port, "targetPort": target}]}}


def hub_objects(namespace):
    """Of one namespace, which enforces "restricted"."""
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "delete"]},
             {"apiGroups": [""], "resources": ["events"], "verbs": ["get", "list", "watch"]}]
    configuration = {"name": "configuration", "mountPath": "/etc/jupyterhub"}
    container = {"name": "hub", "image": LAB, "imagePullPolicy": "IfNotPresent", "workingDir": HOME, "securityContext": READ_ONLY,
                 "command": ["jupyterhub", "--config=/etc/jupyterhub/jupyterhub_config.py"], "volumeMounts": [*MOUNTS, configuration]}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "hub"}},
        {"apiVersion": RBAC, "kind": "Role", "metadata": {"name": "hub"}, "rules": rules},
        {"apiVersion": RBAC, "kind": "RoleBinding", "metadata": {"name": "hub"},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "hub"},
         "subjects": [{"kind": "ServiceAccount", "name": "hub", "namespace": namespace}]},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hub"}, "data": {"jupyterhub_config.py": CONFIGURATION}},
        service("hub", 8081, 8081), service("proxy-public", 80, 8000),
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hub", "labels": {"app": "hub"}},
         "spec": {"serviceAccountName": "hub", "securityContext": AS_JOVYAN, "containers": [container], "terminationGracePeriodSeconds": 1,
                  "enableServiceLinks": False, "volumes": [*VOLUMES, {"name": "configuration", "configMap": {"name": "hub"}}]}},
    ]


class Visitor:
    """A person's browser at the hub whose proxy has this Service: logs in, and is redirected as a browser is."""

    def __init__(self, kube, namespace, proxy="proxy-public"):
        found = kube.get("Service", proxy, namespace)["spec"]
        self.base = f"http://{found['clusterIP']}:{found['ports'][0]['port']}"
        self.session = requests.Session()
        self.session.trust_env = False
        self.user = None

    def request(self, method, path, **options):
        """With what a page of that application would add: its cookie against forged requests, again as a header."""
        cookies = {cookie.path: cookie.value for cookie in self.session.cookies if cookie.name == "_xsrf"}
        place = max((one for one in cookies if path.startswith(one)), key=len, default=None)
        headers = {"X-XSRFToken": cookies[place]} if place else {}
        return self.session.request(method, self.base + path, headers=headers, timeout=60, **options)

    def get(self, path):
        return self.request("GET", path)

    def is_there(self):
        """The hub's page of login, through the proxy."""
        with contextlib.suppress(requests.RequestException):
            return self.get("/hub/login").status_code == 200
        return False

    def login(self, user, password=""):
        wait_until(self.is_there, START_S, "the hub's page of login")
        (xsrf,) = re.findall(r'name="_xsrf" value="([^"]+)"', self.get("/hub/login").text)
        answer = self.session.post(f"{self.base}/hub/login", data={"username": user, "password": password, "_xsrf": xsrf}, timeout=60,
                                   allow_redirects=False)
        assert answer.status_code == 302, answer.text
        self.user = user
        return self

    def start_server(self, **choices):
        """Returns when it answers; `choices` are those of the form, of a profile."""
        assert self.get("/hub/home").status_code == 200
        answer = self.request("POST", f"/hub/api/users/{self.user}/server", json=choices)
        assert answer.status_code in (201, 202), answer.text
        progress = self.request("GET", f"/hub/api/users/{self.user}/server/progress", stream=True)
        told = [json.loads(line.removeprefix(b"data:")) for line in progress.iter_lines() if line.startswith(b"data:")]
        assert told[-1].get("ready"), told
        return f"/user/{self.user}"
