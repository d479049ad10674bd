"""The gateway's Kubernetes client (launcher/kube_*.c) against a real API server, through kube_probe."""
import contextlib
import json
import select
import socket
import subprocess
import threading
import time

import pytest
import requests

from testcluster.credentials import kubeconfig
from testcluster.layout import ADDRESS, API_PORT, SECRETS
from testcluster.processes import load_state

PATIENCE_S = 90


class Probe:
    """Runs kube_probe with one kubeconfig."""

    def __init__(self, build, path):
        self.command = [build / "tests" / "kube_probe", path]

    def run(self, *words):
        done = subprocess.run([*self.command, *words], stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def call(self, method, path, body=None, content_type=None):
        words = [] if body is None and content_type is None else [json.dumps(body) if body is not None else "-"]
        return self.run("call", method, path, *words, *([content_type] if content_type else []))[0]

    @contextlib.contextmanager
    def watch(self, path, *selectors):
        process = subprocess.Popen([*self.command, "watch", path, *selectors], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            yield Watch(process)
        finally:
            process.stdin.close()
            process.wait(PATIENCE_S)
            process.stdout.close()


class Watch:
    """What kube_probe's watch tells, line by line."""

    def __init__(self, process):
        self.process = process
        self.pending = b""

    def next(self):
        end = time.monotonic() + PATIENCE_S
        while b"\n" not in self.pending:
            assert select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0], "the watch tells nothing"
            data = self.process.stdout.read1()
            assert data, "kube_probe has ended"
            self.pending += data
        line, self.pending = self.pending.split(b"\n", 1)
        return json.loads(line)

    def until(self, event, name=None):
        """All up to the first of that event (about the object of that name); troubles and their ends are passed over."""
        told = []
        while True:
            line = self.next()
            if line["event"] not in ("trouble", "well") or line["event"] == event:
                told.append((line["event"], line.get("object", {}).get("metadata", {}).get("name")))
            if line["event"] == event and (name is None or told[-1][1] == name):
                return line, told

    def counts(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return self.until("counts")[0]


class Proxy:
    """TCP to the API server that can be cut."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pairs = []
        self.is_cut = False
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                with self.lock:
                    if self.is_cut:
                        client.close()
                        continue
                    pair = (client, socket.create_connection((ADDRESS, API_PORT)))
                    self.pairs.append(pair)
                for source, sink in (pair, pair[::-1]):
                    threading.Thread(target=self.copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def copy(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        with self.lock:
            self.is_cut = True
            for pair in self.pairs:
                for end in pair:
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
            self.pairs.clear()

    def mend(self):
        with self.lock:
            self.is_cut = False

    def close(self):
        self.cut()
        self.listener.close()


@pytest.fixture
def proxy():
    proxy = Proxy()
    yield proxy
    proxy.close()


@pytest.fixture
def probe(build, cluster):
    return Probe(build, cluster.kubeconfig)


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"test": "kube-client"}}, "data": data}


def path_of(namespace, name=None):
    return f"/api/v1/namespaces/{namespace}/configmaps" + (f"/{name}" if name else "")


def test_calls_make_change_and_delete_objects(probe, namespace):
    made = probe.call("POST", path_of(namespace), config_map("a", x="ü"))
    assert made["status"] == 201 and made["error"] is None
    assert made["answer"]["data"] == {"x": "ü"}
    again = probe.call("POST", path_of(namespace), config_map("a"))
    assert again["status"] == 409
    assert again["error"] == {"code": "exists", "text": 'configmaps "a" already exists'}
    changed = probe.call("PATCH", path_of(namespace, "a"), {"data": {"y": "1"}}, "application/merge-patch+json")
    assert changed["answer"]["data"] == {"x": "ü", "y": "1"}
    stale = made["answer"] | {"data": {}}
    conflict = probe.call("PUT", path_of(namespace, "a"), stale)
    assert conflict["status"] == 409 and conflict["error"]["code"] == "unavailable"
    deleted = probe.call("DELETE", path_of(namespace, "a"), {"preconditions": {"uid": made["answer"]["metadata"]["uid"]}})
    assert deleted["status"] == 200
    gone = probe.call("GET", path_of(namespace, "a"))
    assert gone["error"] == {"code": "not_found", "text": 'configmaps "a" not found'}
    invalid = probe.call("POST", path_of(namespace), config_map("No Capitals"))
    assert invalid["status"] == 422 and invalid["error"]["code"] == "invalid"
    assert "metadata.name" in invalid["error"]["text"]


def test_a_client_certificate_and_a_service_account_are_let_in(build, kube, namespace, tmp_path):
    by_certificate = Probe(build, SECRETS / "admin-certificate.kubeconfig").call("GET", path_of(namespace))
    assert by_certificate["status"] == 200
    kube.service_account(namespace, "default", tmp_path / "account")
    refused = Probe(build, tmp_path / "account").call("GET", path_of(namespace))
    assert refused["status"] == 403 and refused["error"]["code"] == "denied"
    assert refused["error"]["text"] == (
        f'system:serviceaccount:{namespace}:default may not list configmaps in namespace "{namespace}" at the Kubernetes API '
        f'server {kube.server}: a Role in that namespace has to grant it (apiGroups: [""], resources: ["configmaps"], verbs: '
        '["list"]), bound to it by a RoleBinding')
    refused = Probe(build, tmp_path / "account").call("POST", "/api/v1/namespaces", {"metadata": {"name": "x"}})
    assert "may not create namespaces in the whole cluster" in refused["error"]["text"]


def test_a_quota_speaks_for_itself(probe, kube, namespace):
    kube.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"count/configmaps": "0"}}},
                namespace)
    kube.wait_for("ResourceQuota", "few", namespace, lambda item: item["status"].get("used"))
    refused = probe.call("POST", path_of(namespace), config_map("a"))
    assert refused["status"] == 403 and refused["error"]["code"] == "limit"
    assert "exceeded quota: few" in refused["error"]["text"]


def test_wrong_credentials_and_certificates_are_told_apart(build, kube, cluster, tmp_path):
    def error(name, user, **options):
        return Probe(build, kubeconfig(tmp_path / name, user, **options)).call("GET", "/api/v1/namespaces")["error"]

    token = json.loads(cluster.kubeconfig.read_text())["users"][0]["user"]
    wrong = error("token", {"token": "s3cret"})
    assert wrong["code"] == "denied" and "(401 Unauthorized)" in wrong["text"] and "s3cret" not in wrong["text"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                    "/CN=other", "-keyout", tmp_path / "other.key", "-out", tmp_path / "other.crt"], check=True, capture_output=True)
    wrong = error("ca", token, ca=tmp_path / "other.crt")
    assert wrong == {"code": "denied", "text": f"the certificate of the Kubernetes API server {kube.server} is not signed by the "
                                               f"certificate authority of context \"test\" of {tmp_path / 'ca'}"}
    refused = error("client", {"client-certificate": str(tmp_path / "other.crt"), "client-key": str(tmp_path / "other.key")})
    assert refused["code"] == "denied"


def test_an_expired_token_is_read_again(build, kube, namespace, tmp_path):
    """The watch goes on with the token that is in the file by then; a pod's token is exchanged in the same way."""
    kube.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "view"},
                 "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
                 "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}]}, namespace)
    kube.service_account(namespace, "default", tmp_path / "account")
    token = json.loads((tmp_path / "account").read_text())["users"][0]["user"]["token"]
    (tmp_path / "token").write_text("not.the.one")
    kubeconfig(tmp_path / "config", {"tokenFile": "token"})
    with Probe(build, tmp_path / "config").watch(path_of(namespace), "test=kube-client") as watch:
        refused = watch.until("trouble")[0]
        assert "(401 Unauthorized)" in refused["error"]["text"]
        (tmp_path / "next").write_text(token)
        (tmp_path / "next").rename(tmp_path / "token")
        watch.until("well")


def test_a_watch_lists_and_follows(probe, kube, namespace):
    for name in ("a", "b"):
        kube.create(config_map(name), namespace)
    with probe.watch(path_of(namespace), "test=kube-client") as watch:
        told = watch.until("synced")[1]
        assert sorted(told) == [("added", "a"), ("added", "b"), ("synced", None)]
        kube.create(config_map("c"), namespace)
        assert watch.until("added", "c")[1] == [("added", "c")]
        kube.patch("ConfigMap", "a", namespace, {"data": {"x": "y"}})
        assert watch.until("modified", "a")[0]["object"]["data"] == {"x": "y"}
        kube.patch("ConfigMap", "b", namespace, {"metadata": {"labels": {"test": None}}})
        watch.until("deleted", "b")  # an edited label takes it out of sight
        kube.delete("ConfigMap", "a", namespace)
        watch.until("deleted", "a")
        counts = watch.counts()
        assert (counts["lists"], counts["streams"], counts["objects"], counts["requests"]) == (1, 1, 1, 2)


def test_a_cut_watch_tells_what_it_missed_once(build, kube, cluster, namespace, proxy, tmp_path):
    user = json.loads(cluster.kubeconfig.read_text())["users"][0]["user"]
    kubeconfig(tmp_path / "config", user, server=f"https://127.0.0.1:{proxy.port}")
    for name in ("a", "b"):
        kube.create(config_map(name), namespace)
    with Probe(build, tmp_path / "config").watch(path_of(namespace), "test=kube-client") as watch:
        watch.until("synced")
        proxy.cut()
        watch.until("trouble")
        kube.delete("ConfigMap", "a", namespace)
        kube.create(config_map("c"), namespace)
        proxy.mend()
        assert watch.until("added", "c")[1] == [("deleted", "a"), ("added", "c")]
        assert watch.counts()["lists"] == 1


def compact():
    """Makes etcd forget all but the present."""
    etcd = f"http://127.0.0.1:{load_state()['etcd_port']}/v3"
    revision = requests.post(f"{etcd}/kv/range", json={"key": "AA=="}, timeout=30).json()["header"]["revision"]
    requests.post(f"{etcd}/kv/compaction", json={"revision": revision, "physical": True}, timeout=30).raise_for_status()


@pytest.mark.restarts
def test_a_watch_lists_again_after_compaction_and_restart(build, kube, cluster, namespace, proxy, tmp_path):
    user = json.loads(cluster.kubeconfig.read_text())["users"][0]["user"]
    kubeconfig(tmp_path / "config", user, server=f"https://127.0.0.1:{proxy.port}")
    for name in ("a", "b", "c"):
        kube.create(config_map(name), namespace)
    with Probe(build, tmp_path / "config").watch(path_of(namespace), "test=kube-client") as watch:
        watch.until("synced")
        proxy.cut()
        watch.until("trouble")
        kube.delete("ConfigMap", "a", namespace)
        kube.delete("ConfigMap", "b", namespace)
        kube.create(config_map("b", new="yes"), namespace)
        kube.create(config_map("d"), namespace)
        compact()
        cluster.restart("kube-apiserver")
        proxy.mend()
        told = watch.until("deleted", "a")[1]
        assert told == [("deleted", "b"), ("added", "b"), ("added", "d"), ("deleted", "a")]
        kube.create(config_map("last"), namespace)
        assert watch.until("added", "last")[1] == [("added", "last")]
        counts = watch.counts()
        assert (counts["lists"], counts["objects"]) == (2, 4)


def is_there():
    try:
        socket.create_connection((ADDRESS, API_PORT), timeout=10).close()
    except ConnectionError:
        return False
    return True


@pytest.mark.restarts
def test_calls_wait_for_a_server_that_restarts(probe, kube, cluster, namespace):
    results, spans = [], []

    def call_all():
        while not stop.is_set():
            began = time.monotonic()
            results.append(probe.call("POST", path_of(namespace), config_map(f"n{len(results)}")))
            spans.append((began, time.monotonic()))

    stop = threading.Event()
    thread = threading.Thread(target=call_all)
    thread.start()
    restart = threading.Thread(target=cluster.restart, args=("kube-apiserver",))
    restart.start()
    while is_there():
        pass
    absent = time.monotonic()
    restart.join()
    stop.set()
    thread.join()
    assert any(began <= absent <= ended for began, ended in spans), "no call was made while it was not there"
    assert results[-1]["status"] == 201
    assert {result["status"] for result in results} <= {201, 409}, results


def test_hundreds_of_calls_at_once(probe, namespace):
    _, posts, deletes = probe.run("burst", path_of(namespace), "500", "32")
    assert len(posts["took_us"]) == len(deletes["took_us"]) == 500
