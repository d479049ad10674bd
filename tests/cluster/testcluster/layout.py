"""Where the test cluster is: one directory, one bridge, three ranges of addresses. One cluster runs on a machine."""
from pathlib import Path

# Below a directory that only root writes, and short: sockets' addresses have room for about 100 bytes.
HOME = Path("/var/lib/elara-test-cluster")
LOGS = HOME / "logs"
SECRETS = HOME / "secrets"  # keys, certificates, tokens, kubeconfigs
KUBECONFIG = SECRETS / "admin.kubeconfig"  # for users: token of a member of system:masters
STATE = HOME / "state.json"
CONTAINERD_SOCKET = HOME / "containerd.sock"

NODE = "elara-node"
CGROUP = "elara-test-cluster"
BRIDGE = "elara-test0"
ADDRESS = "10.244.0.1"  # the bridge's: the API server, the node and the gateway of all pods
POD_NETWORK = "10.244.0.0/24"
SERVICE_NETWORK = "10.245.0.0/16"
API_SERVICE = "10.245.0.1"
DOMAIN = "cluster.local"  # in which the Services have names
API_PORT = 6443
SERVER = f"https://{ADDRESS}:{API_PORT}"
