"""What the API server refuses is told in its own words: in the first cell, through a real jupyter_server, and as {reason, message} of the
kernel's model. No pod is ever made here; a quota that is used up, Pod Security and a policy of the cluster are in test_faults.py."""
import base64
import contextlib
import json
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from desk import desk_of
from kernels import *  # noqa: F403
from kernels import START_S, PodSpecs, make_gateway, pods_of
from support.processes import wait_until
from testcluster.kube import KubeError
from testcluster.pods import pod

IMAGE = "registry.test/team/py:3"
WEBHOOK = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
TEAM, FORGOTTEN = "team.elara.test", "forgotten.elara.test"
NOBODY = 9  # a port where nobody listens
HOLD = "elara.test/hold"


class Reviewer(BaseHTTPRequestHandler):
    """An admission webhook that wants pods to say whose they are."""

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        review["response"] = {"uid": review.pop("request")["uid"], "allowed": False, "status": {"message": "each pod says its cost centre"}}
        answer = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def reviewed(kube, namespace, directory):
    """In that namespace the webhook is asked about the pods that have the label TEAM, and one that nobody runs about the FORGOTTEN."""
    key, certificate = directory / "key", directory / "certificate"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=reviewer", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Reviewer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    bundle = base64.b64encode(certificate.read_bytes()).decode()

    def webhook(name, port, label):
        return {"name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": bundle},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "objectSelector": {"matchExpressions": [{"key": label, "operator": "Exists"}]}}

    webhooks = [webhook("cost.elara.test", server.server_port, TEAM), webhook("gone.elara.test", NOBODY, FORGOTTEN)]
    name = kube.create(WEBHOOK | {"metadata": {"name": f"cost-{namespace}"}, "webhooks": webhooks})["metadata"]["name"]
    tried = pod("try")
    tried["metadata"]["labels"] = {TEAM: "one"}
    try:
        wait_until(lambda: "cost centre" in refusal(kube, namespace, tried), START_S, "the webhook")
        yield
    finally:
        kube.delete(WEBHOOK["kind"], name, api=WEBHOOK["apiVersion"])
        server.shutdown()
        server.server_close()


def refusal(kube, namespace, item):
    try:
        kube.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", item)
    except KubeError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def ending(kube, namespace):
    """The namespace is being deleted, for as long as this lasts: something in it may not go yet."""
    kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": [HOLD]}}, namespace)
    kube.delete("Namespace", namespace)
    kube.wait_for("Namespace", namespace, None, lambda item: item["status"]["phase"] == "Terminating")
    try:
        yield
    finally:
        kube.patch("ConfigMap", "held", namespace, {"metadata": {"finalizers": None}})


@pytest.fixture(scope="module")
def places(kube, rooms):
    """Of those kernels that are not for rooms[1]."""
    made = {name: kube.make_namespace() for name in ("limited", "counted", "ending")}
    kube.create({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": {
        "limits": [{"type": "Container", "max": {"cpu": "1"}, "maxLimitRequestRatio": {"memory": "2"}}]}}, made["limited"])
    kube.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "counted"},
                 "spec": {"hard": {"requests.cpu": "9", "limits.memory": "9Gi"}}}, made["counted"])
    kube.wait_for("ResourceQuota", "counted", made["counted"], lambda item: item["status"].get("hard"))
    yield made | {"missing": f"{rooms[1]}-missing"}
    for name in made.values():
        kube.delete("Namespace", name)


@pytest.fixture(scope="module")
def kernelspecs(tmp_path_factory, places):
    specs = PodSpecs(tmp_path_factory.mktemp("refusals") / "kernels")

    def add(name, place=None, container=None, **more):
        specs.add(name, IMAGE, container, env={"KERNEL_NAMESPACE": places[place]} if place else None, **more)

    add("limit", "limited", {"resources": {"limits": {"cpu": "2", "memory": "64Mi"}}})
    add("ratio", "limited", {"resources": {"requests": {"memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}}})
    add("amounts", "counted")
    add("missing", "missing")
    add("ending", "ending")
    add("account", serviceAccountName="no-such")
    add("priority", priorityClassName="no-such")
    add("runtime", runtimeClassName="no-such")
    add("field", container={"livenessProbe": {"periodSeconds": -5, "tcpSocket": {"port": 8877}}})
    add("webhook", labels={TEAM: "one"})
    add("webhook-gone", labels={FORGOTTEN: "one"})
    return specs


@pytest.fixture(scope="module")
def desk(build, cluster, kube, kernelspecs, rooms, places, tmp_path_factory):
    gateway = make_gateway(build, kernelspecs, rooms, "elara.test/elara:1", cluster.kubeconfig)
    folder = tmp_path_factory.mktemp("desk")
    with reviewed(kube, rooms[1], folder), ending(kube, places["ending"]), desk_of(gateway, folder) as desk:
        for name in REFUSED:
            desk.run(name)
        yield desk


AMOUNT = "Ask for an amount within the limits (KERNEL_CPUS, KERNEL_MEMORY and their _LIMIT)."
CLASS = "Correct priorityClassName or runtimeClassName in the kernelspec's pod.yaml, or ask the administrator to make it."

# The kernelspec's name: reason and message.
REFUSED = {
    "limit": ("LimitRange", f"Kubernetes refuses the kernel's pod: maximum cpu usage per Container is 1, but limit is 2. {AMOUNT}"),
    "ratio": ("LimitRange", "Kubernetes refuses the kernel's pod: memory max limit to request ratio per Container is 2, but provided ratio is "
              f"4.000000. {AMOUNT}"),
    "amounts": ("QuotaNeedsAmounts", "Kubernetes refuses the kernel's pod: failed quota: counted: must specify limits.memory for: "
                "elara-launcher,kernel; requests.cpu for: elara-launcher,kernel. Say them with KERNEL_CPUS, KERNEL_MEMORY and their _LIMIT, "
                "or in the kernelspec's pod.yaml; a LimitRange of the namespace can give defaults."),
    "missing": ("NamespaceMissing", "Kubernetes refuses the kernel's key Secret: namespaces \"{missing}\" not found. The administrator has to "
                "make it, or correct the gateway's setting or KERNEL_NAMESPACE."),
    "ending": ("NamespaceEnding", "Kubernetes refuses the kernel's key Secret: unable to create new content in namespace {ending} because it is "
               "being terminated. Start the kernel again in a while."),
    "account": ("ServiceAccountMissing", "Kubernetes refuses the kernel's pod: error looking up service account {namespace}/no-such: "
                "serviceaccount \"no-such\" not found. The administrator has to make it in the namespace, or correct the kernelspec's "
                "pod.yaml or KERNEL_SERVICE_ACCOUNT_NAME."),
    "priority": ("ClassMissing", f"Kubernetes refuses the kernel's pod: no PriorityClass with name no-such was found. {CLASS}"),
    "runtime": ("ClassMissing", f"Kubernetes refuses the kernel's pod: pod rejected: RuntimeClass \"no-such\" not found. {CLASS}"),
    "field": ("InvalidObject", "Kubernetes refuses the kernel's pod: spec.containers[0].livenessProbe.periodSeconds: Invalid value: -5: must be "
              "greater than or equal to 0. Correct the field in the kernelspec's pod.yaml or in the request."),
    "webhook": ("AdmissionDenied", "Kubernetes refuses the kernel's pod: admission webhook \"cost.elara.test\" denied the request: each pod says "
                "its cost centre. Its sentence says what it wants; the administrator of the cluster knows the policy."),
    "webhook-gone": ("ApiUnavailable", "Kubernetes could not be asked for the kernel's pod: Internal error occurred: failed calling webhook "
                     "\"gone.elara.test\": failed to call webhook: Post \"https://127.0.0.1:9/?timeout=10s\": dial tcp 127.0.0.1:9: connect: "
                     "connection refused. Start the kernel again in a while, and tell the administrator if that does not help."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_api_server_refuses_is_told_in_its_words(desk, kube, rooms, places, name):
    reason, message = REFUSED[name]
    kernel_id, client, request = desk.open[name]
    said = client.collect(request).error["evalue"]
    model = desk.gateway.wait_for_state(kernel_id, "dead")
    expected = message.format(namespace=rooms[1], **places)
    assert (said, model["reason"], model["message"]) == (expected, reason, expected)
    assert not pods_of(kube, rooms[1])
