"""The one real node: containerd, the pods' network, the kubelet, kube-proxy and the DNS."""
import json
import subprocess
import urllib.request

from testcluster import images, parts
from testcluster.control_plane import ask
from testcluster.credentials import kubeconfig_of
from testcluster.layout import ADDRESS, BRIDGE, CGROUP, CONTAINERD_SOCKET, DOMAIN, HOME, NODE, POD_NETWORK, SECRETS
from testcluster.machine import run, works
from testcluster.processes import start, wait_for_daemon

CONTAINERD = f"""version = 2
root = "{HOME}/containerd"
state = "{HOME}/containerd-state"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{HOME}/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{images.PAUSE}"
  netns_mounts_under_state_dir = true
  # A root without CAP_SYS_RESOURCE may not lower the score, and then no sandbox would start.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{HOME}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
"""
NETWORK = {
    "cniVersion": "1.0.0", "name": "elara-test", "plugins": [
        {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": False, "hairpinMode": True,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": POD_NETWORK}]], "routes": [{"dst": "0.0.0.0/0"}],
                  "dataDir": f"{HOME}/addresses"}}],
}
KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
    "address": ADDRESS, "port": 10250, "healthzPort": 0, "readOnlyPort": 0,
    "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False},
                       "x509": {"clientCAFile": f"{SECRETS}/ca.crt"}},
    "authorization": {"mode": "AlwaysAllow"},
    "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
    "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{CGROUP}", "failCgroupV1": False, "failSwapOn": False,
    "enforceNodeAllocatable": [], "makeIPTablesUtilChains": False, "registerWithTaints": [], "maxPods": 200,
    "clusterDNS": [ADDRESS], "clusterDomain": DOMAIN, "resolvConf": "/dev/null",
    "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%"},
    "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99, "imageMinimumGCAge": "24h",
    "volumePluginDir": f"{HOME}/volume-plugins", "podLogsDir": f"{HOME}/pod-logs",
    "nodeStatusUpdateFrequency": "5s", "nodeLeaseDurationSeconds": 12, "kubeAPIQPS": 200, "kubeAPIBurst": 400,
    "shutdownGracePeriod": "0s", "serverTLSBootstrap": False,
}
PROXY = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
    "mode": "nftables", "clientConnection": {"kubeconfig": str(kubeconfig_of("system:kube-proxy"))},
    "clusterCIDR": POD_NETWORK, "hostnameOverride": NODE, "bindAddress": ADDRESS,
    "healthzBindAddress": f"{ADDRESS}:10256", "metricsBindAddress": f"{ADDRESS}:10249",
    # A pod that reaches another one through a Service must get its answers through the same translation.
    "nftables": {"masqueradeAll": True},
    "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
}

DNS_READY = f"{ADDRESS}:8181"
# Of the world outside the cluster, no name is known.
DNS = f"""
. {{
    bind {ADDRESS}
    errors
    ready {DNS_READY}
    kubernetes {DOMAIN} {{
        kubeconfig {kubeconfig_of("coredns")} test
    }}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def write_json(name, value):
    path = HOME / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1))
    return path


def ctr(*words):
    return run("ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io", *words)


def start_containerd():
    config = HOME / "containerd.toml"
    config.write_text(CONTAINERD)
    write_json("cni/10-bridge.conflist", NETWORK)
    start("containerd", "containerd", "--config", config)

    def answers():
        done = subprocess.run(["ctr", "--address", CONTAINERD_SOCKET, "version"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return done.returncode == 0

    wait_for_daemon("containerd", answers, 60, "containerd's socket")


def import_image(archive):
    """Makes the images in a docker-archive known to the node: no registry is asked for them."""
    ctr("images", "import", archive)


def start_kubelet():
    config = write_json("kubelet.json", KUBELET)
    start("kubelet", parts.kubernetes(), "kubelet", f"--config={config}", f"--root-dir={HOME}/kubelet",
          f"--kubeconfig={kubeconfig_of(f'system:node:{NODE}')}", f"--hostname-override={NODE}", f"--node-ip={ADDRESS}",
          f"--cert-dir={SECRETS}/kubelet")


def start_proxy():
    config = write_json("proxy.json", PROXY)
    start("kube-proxy", parts.kubernetes(), "kube-proxy", f"--config={config}")


def start_dns():
    config = HOME / "Corefile"
    config.write_text(DNS)
    start("coredns", parts.coredns(), "-conf", config)


def dns_is_ready():
    try:
        with urllib.request.urlopen(f"http://{DNS_READY}/ready", timeout=5):
            return True
    except OSError:  # also when it says that it is not
        return False


def node_is_ready():
    status, body = ask(f"/api/v1/nodes/{NODE}")
    conditions = json.loads(body).get("status", {}).get("conditions", []) if status == 200 else []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def wait_for_node():
    wait_for_daemon("kubelet", node_is_ready, 120, "the node's condition Ready")
    wait_for_daemon("kube-controller-manager", lambda: ask("/api/v1/namespaces/default/serviceaccounts/default")[0] == 200, 60,
                    "the service account of the namespace default")
    wait_for_daemon("coredns", dns_is_ready, 60, "the DNS")


def clean_proxy():
    """Removes kube-proxy's tables from the machine's packet filter; its own --cleanup would also make tables of iptables'."""
    for family in ("ip", "ip6"):
        works("nft", "delete", "table", family, "kube-proxy")
