"""manifests/base as docs/kubernetes.md has an administrator apply it."""
import contextlib
import json
import re

import pytest

from deployments import PORT, QUICK, Client, check_rights, delete_kernel, deployed, live, wait_for_cell, wait_for_nothing
from doctors import failed, filtered, text
from kernels import *  # noqa: F403
from kernels import START_S, pods_of
from support.doctor import findings_of
from testcluster import manifests
from testcluster.images import BUSYBOX, IPYKERNEL
from testcluster.manifests import GATEWAY, KERNELS
from testcluster.pods import has_ended, pod


@pytest.fixture(scope="module")
def base(kube, launcher_image, tmp_path_factory):
    with deployed(kube, tmp_path_factory.mktemp("base"), launcher_image, settings=QUICK) as service:
        yield service


def selects(selector, item):
    return item["metadata"]["labels"].items() >= selector["matchLabels"].items()


def check_network_policies(kube, kernel):
    """The bridge of the test cluster enforces none: that the two rules are about these pods and these ports is what can be told."""
    (of_kernels,) = kube.list("NetworkPolicy", KERNELS, "networking.k8s.io/v1")
    (of_gateways,) = kube.list("NetworkPolicy", GATEWAY, "networking.k8s.io/v1")
    gateway = kube.get("Pod", manifests.gateway_pods(kube)[0], GATEWAY)
    assert selects(of_gateways["spec"]["podSelector"], gateway)
    assert not selects(of_kernels["spec"]["podSelector"], gateway)
    assert [port["port"] for rule in of_gateways["spec"]["ingress"] for port in rule["ports"]] == [PORT]
    assert [port["containerPort"] for port in gateway["spec"]["containers"][0]["ports"]] == [PORT]
    assert selects(of_kernels["spec"]["podSelector"], kernel)
    ((rule,), (peer,)) = of_kernels["spec"]["ingress"], of_kernels["spec"]["ingress"][0]["from"]
    assert selects(peer["podSelector"], gateway)
    assert selects(peer["namespaceSelector"], kube.get("Namespace", GATEWAY))
    assert not selects(peer["namespaceSelector"], kube.get("Namespace", KERNELS))
    assert [f"tcp://*:{port['port']}" in kernel["spec"]["containers"][0]["command"] for port in rule["ports"]] == [True]


def try_from_another_pod(kube, address):
    """As docs/kubernetes.md has it tried whether policies are enforced."""
    script, command = re.search(r"^    echo '(nc .*)' \| kubectl (.*)$", manifests.PAGE.read_text(), re.MULTILINE).groups()
    words = command.replace("--image=busybox", f"--image={BUSYBOX}").split()
    return kube.kubectl(*words, text=script.replace("ADDRESS", address))


def test_a_kernel_starts_through_the_service_and_outlives_a_gateway(base, kube):
    kernel_id = base.start_kernel("python3")["id"]
    assert wait_for_cell(base, kernel_id, "import os; kept = 42; print(os.getuid())") == "1000\n"
    assert pods_of(kube, KERNELS) == [f"kernel-{kernel_id}-1"]
    kernel = kube.get("Pod", f"kernel-{kernel_id}-1", KERNELS)
    check_network_policies(kube, kernel)
    assert try_from_another_pod(kube, kernel["status"]["podIP"]).startswith("open\n")
    gone = manifests.gateway_pods(kube)[0]
    kube.kubectl("delete", "pod", gone, "--wait=false", namespace=GATEWAY)
    kube.kubectl("rollout", "status", "deployment/elara-gateway", f"--timeout={START_S}s", namespace=GATEWAY)
    assert wait_for_cell(base, kernel_id, "print(kept)") == "42\n"
    assert base.post(f"/api/kernels/{kernel_id}/restart", json={}).status_code == 200
    assert wait_for_cell(base, kernel_id, "print('kept' in globals())") == "False\n"
    assert pods_of(kube, KERNELS) == [f"kernel-{kernel_id}-1"]
    delete_kernel(base, kernel_id)
    wait_for_nothing(kube, KERNELS)


def test_a_pod_reaches_the_gateways_by_the_address_that_notebook_servers_are_given(base, kube, namespace):
    """docs/kubernetes.md names it."""
    (url,) = re.findall(r"JUPYTER_GATEWAY_URL=(\S+)", manifests.PAGE.read_text())
    asks = ("import sys, urllib.request as web; "
            "print(web.urlopen(web.Request(sys.argv[1], headers={'Authorization': 'token ' + sys.argv[2]})).read().decode())")
    kube.create(pod("notebooks", "python3", "-c", asks, f"{url}/api/kernelspecs", manifests.TOKEN, image=IPYKERNEL), namespace)
    kube.wait_for("Pod", "notebooks", namespace, has_ended)
    assert json.loads(kube.logs("notebooks", namespace))["default"] == "python3"


def test_the_base_grants_what_is_needed_and_no_more(base, kube):
    place = live(base, kube)
    assert place["metadata"]["name"] == KERNELS
    wait_for_nothing(kube, KERNELS)
    check_rights(kube, base)
    (budget,) = kube.list("PodDisruptionBudget", GATEWAY, "policy/v1")
    assert budget["status"]["expectedPods"] == 2


def test_doctor_finds_nothing_in_a_gateways_pod(base, kube):
    """With all that this gateway has: its rights, its network, its file system; through it a kernel is tried."""
    said = kube.kubectl("exec", manifests.gateway_pods(kube)[0], "--", "elara", "doctor", "--config", "/etc/elara/elara.yaml", "--url",
                        f"http://127.0.0.1:{PORT}", namespace=GATEWAY)
    *lines, summary = said.splitlines()
    assert summary == "0 failed, 0 to look at", said
    assert {"api-server", "clock", "rights", "network", "kernel", "websocket"} <= {line.split()[1] for line in lines}
    assert f"{manifests.USER} has all 16 that these settings need" in said
    wait_for_nothing(kube, KERNELS)


@contextlib.contextmanager
def without(kube, verb, resource, role, namespace):
    """While the role does not grant that."""
    rules = kube.get("Role", role, namespace, manifests.RBAC)["rules"]
    less = [rule | {"verbs": [one for one in rule["verbs"] if rule["resources"] != [resource] or one != verb]} for rule in rules]
    kube.patch("Role", role, namespace, {"rules": less}, manifests.RBAC)
    try:
        yield
    finally:
        kube.patch("Role", role, namespace, {"rules": rules}, manifests.RBAC)


def findings_in_pod(kube, *flags):
    """{check: [finding, ...]} of the pod's doctor, with the gateway's own settings and these."""
    done = kube.run_kubectl("exec", manifests.gateway_pods(kube)[0], "--", "elara", "doctor", "--json", "--config", "/etc/elara/elara.yaml",
                            "--port", "0", *flags, namespace=GATEWAY)
    done.stderr = done.stderr.removesuffix(f"command terminated with exit code {done.returncode}\n")  # kubectl's own
    return findings_of(done)


def test_doctor_tells_faults_apart_in_a_gateways_pod(base, kube, cluster):
    """By the pod's rights, network and name servers: each is the only one, and has a sentence of its own."""
    with without(kube, "create", "pods", "elara-kernels", KERNELS):
        findings = findings_in_pod(kube)
    assert failed(findings) == {"rights"}
    (right,) = findings["rights"]
    assert right["text"].startswith(f'{manifests.USER} may not create pods in namespace "{KERNELS}" at the Kubernetes API server https://')
    assert ": the Role elara-kernels in that namespace (" in right["text"] and 'resources: ["pods"], verbs: ["create"])' in right["text"]

    def homes(server, *flags):
        findings = findings_in_pod(kube, "--home-server", server, *flags)
        return failed(findings), findings
    which, findings = homes(cluster.nfs_server, "--home-export", cluster.nfs_share)
    assert not which and text(findings, "homes").startswith(f"ok: {cluster.nfs_server} exports {cluster.nfs_share} to us")
    which, findings = homes(cluster.nfs_server, "--home-export", "/none")
    assert which == {"homes"}
    assert text(findings, "homes").startswith(f"fail: the NFS server {cluster.nfs_server} has no export /none for the gateway: correct home-export")
    which, findings = homes("nfs.lab")
    assert which == {"dns"} and text(findings, "dns").startswith("fail: nfs.lab (home-server) has no address: ")
    assert findings["dns"][0]["fix"] == "correct the name, or have the name server know it"
    address = kube.get("Pod", manifests.gateway_pods(kube)[0], GATEWAY)["status"]["podIP"]
    with filtered("input", f"ip saddr {address} udp dport 53", "reject"):
        which, findings = homes("nfs.lab")
    assert which == {"dns"} and "whether a NetworkPolicy keeps port 53" in findings["dns"][0]["fix"]


def test_a_missing_right_is_named_with_the_role_that_has_to_grant_it(base, kube):
    with without(kube, "create", "pods", "elara-kernels", KERNELS):
        kernel_id = base.start_kernel("python3")["id"]
        with Client(base, kernel_id, timeout=START_S) as client:
            told = client.run_cell("1").error["evalue"]
    for text in (told, manifests.gateway_log(kube)):
        assert f'{manifests.USER} may not create pods in namespace "{KERNELS}"' in text
        assert ('the Role elara-kernels in that namespace (the ClusterRole elara-kernels where the gateway makes the namespaces) has to grant it '
                '(apiGroups: [""], resources: ["pods"], verbs: ["create"])') in text
    delete_kernel(base, kernel_id)
    wait_for_nothing(kube, KERNELS)
    with without(kube, "create", "secrets", "elara-records", GATEWAY):
        answer = base.post("/api/kernels", json={"name": "python3"})
    assert answer.status_code == 503, answer.text
    assert f'{manifests.USER} may not create secrets in namespace "{GATEWAY}"' in answer.json()["message"]
    assert 'the Role elara-records in that namespace has to grant it (apiGroups: [""], resources: ["secrets"], verbs: ["create"])' in answer.json()["message"]
