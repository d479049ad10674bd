"""Kernelspecs as Jupyter Enterprise Gateway's charts ship them, and administrators edit them: unchanged, in real pods."""
import os

import pytest

from kernels import *  # noqa: F403
from kernels import IPYKERNEL, START_S, pods_of, write_spec
from support.processes import wait_until

LAUNCH = ["python", "/usr/local/share/jupyter/kernels/python_kubernetes/scripts/launch_kubernetes.py",
          "--RemoteProcessProxy.kernel-id", "{kernel_id}", "--RemoteProcessProxy.port-range", "{port_range}",
          "--RemoteProcessProxy.response-address", "{response_address}", "--RemoteProcessProxy.public-key", "{public_key}"]
TEMPLATE = """\
apiVersion: v1
kind: Pod
metadata:
  name: "{{ kernel_pod_name }}"
  namespace: "{{ kernel_namespace }}"
  labels:
    kernel_id: "{{ kernel_id }}"
    app: enterprise-gateway
    component: kernel
    source: kernel-pod.yaml
spec:
  restartPolicy: Never
  serviceAccountName: "{{ kernel_service_account_name }}"
  {% if kernel_uid is defined or kernel_gid is defined %}
  securityContext:
    {% if kernel_uid is defined %}
    runAsUser: {{ kernel_uid | int }}
    {% endif %}
    {% if kernel_gid is defined %}
    runAsGroup: {{ kernel_gid | int }}
    {% endif %}
    fsGroup: 100
  {% endif %}
  containers:
  - name: "{{ kernel_pod_name }}"
    image: "{{ kernel_image }}"
    env:
    # the administrator's own
    - name: TEAM
      value: research
    {% if kernel_working_dir is defined %}
    workingDir: "{{ kernel_working_dir }}"
    {% endif %}
    volumeMounts:
    {% for mount in kernel_volume_mounts %}
    - {{ mount }}
    {% endfor %}
  volumes:
  {% for volume in kernel_volumes %}
  - {{ volume }}
  {% endfor %}
"""


@pytest.fixture
def places(make_namespace):
    """"restricted" refuses NFS volumes in a pod."""
    return make_namespace(), make_namespace(labels={"pod-security.kubernetes.io/enforce": "baseline"})


@pytest.fixture
def lab(specs, cluster):
    """A kernelspec that mounts what the notebook server says is its home."""
    folder = write_spec(specs.directory, "python_kubernetes", LAUNCH, "Python on Kubernetes", "python", metadata={
        "process_proxy": {"class_name": "enterprise_gateway.services.processproxies.k8s.KubernetesProcessProxy",
                          "config": {"image_name": IPYKERNEL}}, "debugger": True}, env={
        "KERNEL_VOLUME_MOUNTS": "[{name: 'nfs-mount',mountPath: '/home/jovyan'}]",
        "KERNEL_VOLUMES": f"[{{name: 'nfs-mount',nfs: {{server: '{cluster.nfs_server}',path: $KERNEL_PATH}}}}]"})
    (folder / "scripts").mkdir()
    (folder / "scripts" / "kernel-pod.yaml.j2").write_text(TEMPLATE)
    home = cluster.nfs_directory / "claim-alice"
    home.mkdir(exist_ok=True)
    os.chown(home, 1000, 100)
    return home


def test_the_lab_finds_its_home(lab, start_gateway, connect, cluster, kube, places):
    gateway = start_gateway("--kubernetes-uid", "1000", "--kubernetes-gid", "100", "--kubernetes-allow", "KERNEL_PATH")
    spec = gateway.get("/api/kernelspecs").json()["kernelspecs"]["python_kubernetes"]["spec"]
    assert spec["argv"] == LAUNCH and spec["metadata"]["debugger"] is True
    env = {"KERNEL_PATH": f"{cluster.nfs_share}/claim-alice", "KERNEL_LAUNCH_TIMEOUT": "40", "KERNEL_WORKING_DIR": "/home/jovyan"}
    kernel_id = gateway.start_kernel("python_kubernetes", env=env)["id"]
    client = connect(gateway, kernel_id)
    cell = client.run_cell("import os\nopen('/home/jovyan/out.txt', 'w').write('from the pod')\nprint(os.getuid(), os.environ['TEAM'])")
    assert cell.text() == "1000 research\n"
    assert (lab / "out.txt").read_text() == "from the pod" and (lab / "out.txt").stat().st_uid == 1000
    (pod,) = [kube.get("Pod", name, places[1]) for name in pods_of(kube, places[1])]
    labels = pod["metadata"]["labels"]
    assert (labels["source"], labels["kernel_id"], labels["app"], labels["component"]) == \
        ("kernel-pod.yaml", kernel_id, "enterprise-gateway", "kernel")
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    wait_until(lambda: not pods_of(kube, places[1]), START_S, "the pod's end")
    assert (lab / "out.txt").exists()


@pytest.mark.parametrize("path, expected", [
    (None, "${KERNEL_PATH} has no value"), ("/share/claim/..", '".."'), ("/share/claim/", "empty part"), ("/share/a\nb", "KERNEL_PATH"),
])
def test_a_path_that_climbs_starts_nothing(lab, gateway, kube, places, path, expected):
    env = {} if path is None else {"KERNEL_PATH": path}
    answer = gateway.post("/api/kernels", json={"name": "python_kubernetes", "env": env})
    assert answer.status_code == 400 and expected in answer.json()["message"]
    assert not pods_of(kube, places[1]) and not kube.list("Secret", places[1])
