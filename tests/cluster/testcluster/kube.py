"""The API server as tests talk to it: JSON objects as dictionaries, waiting by watching. Needs `requests`."""
import contextlib
import json
import os
import secrets
import subprocess
import time
from pathlib import Path

import requests

from testcluster import parts
from testcluster.credentials import kubeconfig
from testcluster.layout import SECRETS

ANSWER_TIMEOUT_S = 60


class KubeError(AssertionError):
    """A refusal. `status` is the HTTP status, `answer` the Status object."""

    def __init__(self, response):
        self.status = response.status_code
        try:
            self.answer = response.json()
        except ValueError:
            self.answer = {"message": response.text}
        super().__init__(f"{response.request.method} {response.url}: {self.status}: {self.answer.get('message')}")


class Kube:
    """A user of the API server, by a kubeconfig that this module or the cluster has written (token or certificate)."""

    def __init__(self, path):
        self.path = Path(path)
        config = json.loads(self.path.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.server = cluster["server"]
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy of the machine's
        self.session.verify = cluster["certificate-authority"]
        if "token" in user:
            self.session.headers["Authorization"] = f"Bearer {user['token']}"
        else:
            self.session.cert = (user["client-certificate"], user["client-key"])
        self.resources = {}  # {(apiVersion, kind): (plural, namespaced)}

    # -- requests --
    def request(self, method, path, body=None, content_type="application/json", **options):
        data = None if body is None else json.dumps(body)
        options.setdefault("timeout", ANSWER_TIMEOUT_S)
        response = self.session.request(method, self.server + path, data=data, headers={"Content-Type": content_type}, **options)
        if not response.ok:
            raise KubeError(response)
        return response

    def resource(self, api, kind):
        if (api, kind) not in self.resources:
            for entry in self.request("GET", f"/apis/{api}" if "/" in api else f"/api/{api}").json()["resources"]:
                if "/" not in entry["name"]:
                    self.resources[api, entry["kind"]] = (entry["name"], entry["namespaced"])
        return self.resources[api, kind]

    def location(self, kind, name=None, namespace=None, api="v1"):
        """The path of objects of a kind, or of one. Without a namespace: of all."""
        plural, namespaced = self.resource(api, kind)
        parts_ = [f"/apis/{api}" if "/" in api else f"/api/{api}"]
        if namespaced and namespace is not None:
            parts_.append(f"namespaces/{namespace}")
        parts_.append(plural)
        return "/".join(parts_ + ([name] if name else []))

    def create(self, manifest, namespace=None):
        namespace = namespace or manifest["metadata"].get("namespace", "default")
        path = self.location(manifest["kind"], None, namespace, manifest["apiVersion"])
        return self.request("POST", path, manifest).json()

    def get(self, kind, name, namespace=None, api="v1"):
        """None: there is none."""
        try:
            return self.request("GET", self.location(kind, name, namespace, api)).json()
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind, namespace=None, api="v1", **selectors):
        """kube.list("Pod", "name", labelSelector="app=x")"""
        return self.request("GET", self.location(kind, None, namespace, api), params=selectors).json()["items"]

    def patch(self, kind, name, namespace, change, api="v1"):
        path = self.location(kind, name, namespace, api)
        return self.request("PATCH", path, change, content_type="application/merge-patch+json").json()

    def delete(self, kind, name, namespace=None, api="v1", grace_s=None):
        """None: there was none."""
        body = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
        try:
            return self.request("DELETE", self.location(kind, name, namespace, api), body).json()
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    def make_namespace(self, labels=None):
        """The name of a new one, in which pods are admitted."""
        name = f"test-{secrets.token_hex(4)}"
        labels = {"pod-security.kubernetes.io/enforce": "restricted"} | (labels or {})
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        # The controller manager makes it a moment later; without it no pod is admitted.
        self.wait_for("ServiceAccount", "default", name, lambda item: item is not None)
        return name

    # -- waiting --
    def watch(self, kind, namespace=None, api="v1", timeout=60, tells_nothing=False, **selectors):
        """Yields (type, object) of all that is there, as "ADDED", and of each change, until the time is over.
        If nothing is there to begin with, ("DELETED", None) for those who want to know."""
        deadline = time.monotonic() + timeout
        path = self.location(kind, None, namespace, api)
        found = self.request("GET", path, params=selectors).json()
        for item in found["items"]:
            yield "ADDED", item
        if tells_nothing and not found["items"]:
            yield "DELETED", None
        version = found["metadata"]["resourceVersion"]
        while (left := deadline - time.monotonic()) > 0:
            query = selectors | {"watch": "1", "resourceVersion": version, "timeoutSeconds": max(1, int(left))}
            with contextlib.suppress(requests.ConnectionError, requests.Timeout), \
                    self.request("GET", path, params=query, stream=True, timeout=(10, left + 1)) as response:
                for line in response.iter_lines(chunk_size=None):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise AssertionError(f"watching {path}: {event['object'].get('message')}")
                    version = event["object"]["metadata"]["resourceVersion"]
                    yield event["type"], event["object"]

    def wait_for(self, kind, name, namespace, condition, timeout=60, api="v1", what=None):
        """The object (None: deleted) for which condition(object) was true first."""
        last = None
        for event, item in self.watch(kind, namespace, api, timeout, condition_of_none(condition), fieldSelector=f"metadata.name={name}"):
            last = None if event == "DELETED" else item
            if condition(last):
                return last
        state = json.dumps((last or {}).get("status"), indent=1)
        events = "\n".join(self.events(namespace, name))
        raise AssertionError(f"{kind} {name}: not {what or 'what was waited for'} within {timeout} s: {state}\n{events}")

    def wait_gone(self, kind, name, namespace, timeout=60, api="v1"):
        self.wait_for(kind, name, namespace, lambda item: item is None, timeout, api, "gone")

    def wait_event(self, namespace, name, reason, timeout=60):
        """The first Event with this reason about the object of that name."""
        selector = f"involvedObject.name={name},reason={reason}"
        for event, item in self.watch("Event", namespace, timeout=timeout, fieldSelector=selector):
            if event != "DELETED":
                return item
        raise AssertionError(f"no Event {reason} about {name} within {timeout} s:\n" + "\n".join(self.events(namespace, name)))

    def events(self, namespace, name):
        """The Events about an object, as lines."""
        found = self.list("Event", namespace, fieldSelector=f"involvedObject.name={name}")
        return [f"{item['reason']}: {item.get('message')}" for item in found]

    # -- others --
    def logs(self, name, namespace, **query):
        return self.request("GET", self.location("Pod", name, namespace) + "/log", params=query).text

    def run_kubectl(self, *words, namespace=None, text=None, timeout=120):
        """kubectl, ended, as this user; `text` is its standard input."""
        command = [parts.kubernetes(), "kubectl", *(["--namespace", namespace] if namespace else []), *map(str, words)]
        return subprocess.run(command, env=os.environ | {"KUBECONFIG": str(self.path)}, input=text, timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def kubectl(self, *words, **options):
        """What it prints; it has to succeed."""
        done = self.run_kubectl(*words, **options)
        if done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout

    def service_account(self, namespace, name, path, seconds=3600):
        """Writes a kubeconfig with a token of a ServiceAccount, as it is mounted in a pod; returns its Kube."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}}
        where = self.location("ServiceAccount", name, namespace) + "/token"
        token = self.request("POST", where, body).json()["status"]["token"]
        return Kube(kubeconfig(Path(path), {"token": token}, self.server, SECRETS / "ca.crt", namespace))


def condition_of_none(condition):
    """Whether a condition is true of what is not there; most are not made to be asked."""
    try:
        return condition(None)
    except (TypeError, KeyError, AttributeError):
        return False
