"""A hollow node (hollow/main.go) as tests use it: a process of its own, told through its control port what is to go wrong."""
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import requests

from testcluster import parts
from testcluster.credentials import kubeconfig_of
from testcluster.layout import ADDRESS
from testcluster.processes import wait_until

TOLERATIONS = [{"key": "elara.test/hollow", "operator": "Exists"}]
FIRST_NETWORK, NETWORKS = 64, 190  # 127.64.0.0/16 and so on
LINK_PORT = 8877


def hold(address):
    """A socket that has the address's port, None when somebody else has it."""
    one = socket.socket()
    try:
        one.bind((address, LINK_PORT))
    except OSError:
        one.close()
        return None
    return one


def take_network():
    """(the first bytes of addresses that no other node's pods have, what keeps others away for as long as it is open)"""
    first = secrets.randbelow(NETWORKS)
    for number in range(NETWORKS):
        network = f"127.{FIRST_NETWORK + (first + number) % NETWORKS}."
        kept, unused = hold(network + "255.254"), hold(network + "0.1")  # pods of a node that was killed may be left
        if unused is not None:
            unused.close()
        if kept is not None and unused is not None:
            return network, kept
        if kept is not None:
            kept.close()
    raise AssertionError("all networks for hollow nodes are taken")


class HollowNode:
    """Use it as a context manager: at the end the node, its pods and all their processes are gone.

    `selector` and TOLERATIONS bring a pod there: several nodes, of several runs, may be in the cluster. swarm: the program
    launcher_swarm; all pods are then simulated launchers in one process of it.
    """

    def __init__(self, launcher=None, swarm=None, flags=()):
        self.name = f"hollow-{secrets.token_hex(4)}"
        self.selector = {"kubernetes.io/hostname": self.name}
        self.network, self.kept_network = take_network()  # of its pods' addresses
        # Short, as pods have sockets there, and not where only root may look.
        self.directory = Path(tempfile.mkdtemp(prefix="hollow-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.log_path = self.directory / "node.log"
        self.process = None
        self.command = [
            parts.hollow_node(), f"--kubeconfig={kubeconfig_of('hollow')}", f"--node={self.name}", f"--address={ADDRESS}",
            f"--directory={self.directory}", f"--pod-init={parts.c_program('pod_init', ('-static',))}",
            "--backoff=1s", f"--network={self.network}0.0/16",
            *([f"--launcher={Path(launcher).resolve()}"] if launcher else []),
            *([f"--swarm={Path(swarm).resolve()}"] if swarm else []), *flags]

    def __enter__(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([str(word) for word in self.command], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        line = self.process.stdout.readline()  # ends at the latest with the process
        if not line:
            log = self.log_path.read_text()[-2000:]
            self.__exit__()
            raise AssertionError(f"the hollow node ended:\n{log}")
        self.control = json.loads(line)["control"]
        self.session = requests.Session()
        self.session.trust_env = False
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        for pid in self.processes():  # of a node that was killed
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.processes(), 10, "the end of the hollow node's pods")
        subprocess.run(["rm", "-rf", self.directory], check=True)
        self.kept_network.close()

    def processes(self):
        """All processes of its pods: their root is below its directory."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.readlink(entry / "root").startswith(f"{self.directory}/"):
                        found.append(int(entry.name))
        return found

    def place(self, pod, fault=None, message=None):
        """The pod, made for this node; optionally with a fault (see hollow/faults.go)."""
        annotations = {"hollow.elara.test/fault": fault, "hollow.elara.test/message": message}
        pod["metadata"].setdefault("annotations", {}).update({name: value for name, value in annotations.items() if value})
        pod["spec"] |= {"nodeSelector": self.selector, "tolerations": TOLERATIONS}
        return pod

    def tell(self, method, path, body=None):
        answer = self.session.request(method, self.control + path, json=body, timeout=60)
        assert answer.ok, f"{method} {path}: {answer.status_code}: {answer.text}"
        return answer

    def pods(self):
        """{(namespace, name): {"address", "pid", "phase", "directory"}}"""
        return {(item["namespace"], item["name"]): item for item in self.tell("GET", "/pods").json()}

    def act(self, action, namespace, name):
        """"release" what a fault holds; "kill", "oom", "evict" or "shutdown" (of the node) what runs."""
        self.tell("POST", f"/pods/{namespace}/{name}/{action}")

    def add_fault(self, fault, message=None, selector="", count=0):
        """For the pods that come, and that this label selector takes; for so many of them (0: for all)."""
        self.tell("POST", "/faults", {"fault": fault, "message": message or "", "selector": selector, "count": count})

    def clear_faults(self):
        self.tell("DELETE", "/faults")

    def lose(self):
        """The API server hears nothing any more; the pods' processes live on."""
        self.tell("POST", "/node/lost")

    def find(self):
        self.tell("POST", "/node/found")
