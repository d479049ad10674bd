"""etcd, the API server, the controller manager and the scheduler."""
import json
import socket
import ssl
import urllib.error
import urllib.request

from testcluster import parts
from testcluster.credentials import kubeconfig_of
from testcluster.layout import ADDRESS, API_PORT, HOME, KUBECONFIG, SECRETS, SERVER, SERVICE_NETWORK
from testcluster.processes import remember, start, wait_for_daemon

AUDIT_LOG = HOME / "logs" / "audit.log"
# Who asked for what, but for the cluster's own parts: the tests count requests and compare them with Roles.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler",
                                    "system:kube-proxy", "coredns", "hollow", "admin"]},
        {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system", "system:unauthenticated"]},
        {"level": "Metadata"},
    ],
}
# The default client rates would take minutes for the tests' 2,000 pods.
SCHEDULER = {
    "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
    "leaderElection": {"leaderElect": False},
    "clientConnection": {"kubeconfig": str(kubeconfig_of("system:kube-scheduler")), "qps": 1000, "burst": 2000},
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_listening(address, port):
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def ask(path, method="GET", body=None, timeout_s=30):
    """(status, body) of a request to the API server, as its administrator; status 0 when it does not answer."""
    user = json.loads(KUBECONFIG.read_text())["users"][0]["user"]
    request = urllib.request.Request(SERVER + path, method=method, data=json.dumps(body).encode() if body is not None else None,
                                     headers={"Authorization": f"Bearer {user['token']}", "Content-Type": "application/json"})
    context = ssl.create_default_context(cafile=SECRETS / "ca.crt")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def is_ready():
    return ask("/readyz")[0] == 200


def start_etcd():
    client, peer = free_port(), free_port()
    remember(etcd_port=client)
    start("etcd", "etcd", "--name", "test", "--data-dir", HOME / "etcd", "--unsafe-no-fsync", "--log-level", "warn",
          "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}",
          "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
          "--initial-cluster", f"test=http://127.0.0.1:{peer}", "--quota-backend-bytes", str(1 << 30))
    wait_for_daemon("etcd", lambda: is_listening("127.0.0.1", client), 60, "etcd's port")
    return client


def start_apiserver(etcd_port):
    policy = HOME / "audit-policy.json"
    policy.write_text(json.dumps(AUDIT_POLICY))
    start("kube-apiserver", parts.kubernetes(), "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd_port}",
          f"--bind-address={ADDRESS}", f"--advertise-address={ADDRESS}", f"--secure-port={API_PORT}",
          f"--service-cluster-ip-range={SERVICE_NETWORK}", f"--cert-dir={SECRETS}",
          f"--tls-cert-file={SECRETS}/apiserver.crt", f"--tls-private-key-file={SECRETS}/apiserver.key",
          f"--client-ca-file={SECRETS}/ca.crt", f"--token-auth-file={SECRETS}/tokens.csv", "--authorization-mode=Node,RBAC",
          f"--service-account-key-file={SECRETS}/service-account.key",
          f"--service-account-signing-key-file={SECRETS}/service-account.key",
          "--service-account-issuer=https://kubernetes.default.svc", "--enable-admission-plugins=NodeRestriction",
          f"--kubelet-client-certificate={SECRETS}/apiserver-kubelet.crt",
          f"--kubelet-client-key={SECRETS}/apiserver-kubelet.key", "--kubelet-preferred-address-types=InternalIP",
          f"--audit-policy-file={policy}", f"--audit-log-path={AUDIT_LOG}",
          # Pods of a lost node are evicted after seconds, not after five minutes.
          "--default-not-ready-toleration-seconds=5", "--default-unreachable-toleration-seconds=5",
          "--shutdown-delay-duration=0s", "--profiling=false")
    wait_for_daemon("kube-apiserver", is_ready, 120, "the API server's /readyz")


def start_controllers():
    """They answer nobody, so nobody waits for them; the node's becoming ready shows that they work."""
    start("kube-controller-manager", parts.kubernetes(), "kube-controller-manager",
          f"--kubeconfig={kubeconfig_of('system:kube-controller-manager')}", "--use-service-account-credentials",
          f"--service-account-private-key-file={SECRETS}/service-account.key", f"--root-ca-file={SECRETS}/ca.crt",
          "--leader-elect=false", f"--bind-address={ADDRESS}", f"--cert-dir={SECRETS}", "--kube-api-qps=1000",
          "--kube-api-burst=2000", "--concurrent-gc-syncs=40", "--concurrent-namespace-syncs=20",
          # A lost node is noticed after 20 s, not after 50.
          "--node-monitor-period=1s", "--node-monitor-grace-period=20s", "--node-eviction-rate=100")
    config = HOME / "scheduler.json"
    config.write_text(json.dumps(SCHEDULER))
    start("kube-scheduler", parts.kubernetes(), "kube-scheduler", f"--config={config}", f"--bind-address={ADDRESS}",
          f"--cert-dir={SECRETS}")
