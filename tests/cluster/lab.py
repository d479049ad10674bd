"""A lab as Jupyter Enterprise Gateway's users have it: its names, kernelspecs and notebook server, with Elara behind them.

A notebook server in the namespace of JupyterHub and each kernel have the same home on NFS: the server says in KERNEL_PATH where it
is, and the kernelspec mounts that. Here the server is a process of this machine. It reaches the Service by its name, for which
/etc/hosts has the cluster's address of it, since the machine does not ask the cluster's DNS.
"""
import json
import os
import shutil
import subprocess
import sys
import uuid

import nbformat

from deployments import QUICK, deployed
from kernels import START_S
from support.kernelspecs import write_spec
from support.notebook_server import Server
from testcluster import manifests, nfs
from testcluster.images import BUSYBOX, KERNEL_PY

NAMESPACE = "enterprise-gateway"
URL = f"http://enterprise-gateway.{NAMESPACE}:8888"
USER = "alice"
MOUNT = "/usr/local/share/jupyter/kernels"
PROXY = "enterprise_gateway.services.processproxies.k8s.KubernetesProcessProxy"
OPTIONS = [word for name in ("kernel-id", "port-range", "response-address", "public-key")
           for word in (f"--RemoteProcessProxy.{name}", f"{{{name.replace('-', '_')}}}")]
LAUNCH = ["python", f"{MOUNT}/python_kubernetes/scripts/launch_kubernetes.py", *OPTIONS]
SPARK = [f"{MOUNT}/spark_python_kubernetes/bin/run.sh", *OPTIONS, "--RemoteProcessProxy.spark-context-initialization-mode", "lazy"]
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
#    an administrator's variables go here
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
NBCLIENT = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
client = NotebookClient(notebook, timeout=60, kernel_manager_class="jupyter_server.gateway.managers.GatewayKernelManager")
client.execute(kernel_name="python_kubernetes")
nbformat.write(notebook, sys.argv[2])
"""
SIDECAR = f"""\
  - name: sidecar
    image: {BUSYBOX}
    command: [sh, -c, "trap exit TERM; sleep 100000 & wait"]
  tolerations:
  - {{key: research, operator: Exists}}
"""
TITLES = {"python_kubernetes": "Python on Kubernetes", "spark_python_kubernetes": "Spark - Python (Kubernetes Mode)", "python_edited": "Edited Python"}
# Each of the variables that an administrator adds is about the replacement of references.
EDITED_ENV = {"KNOWN": "$KERNEL_PATH|${KERNEL_PATH}", "DOLLARS": "a$$b", "UNKNOWN": "${NOT_KNOWN}|$1|$", "LATE": "${KUBERNETES_SERVICE_HOST}"}


def write_kernelspecs(directory, nfs_server, image=KERNEL_PY):
    """The lab's two, and python_edited, whose administrator has written more into template and env, and the lists as JSON."""
    mounts = [{"name": "nfs-mount", "mountPath": "/home/jovyan"}]
    volumes = [{"name": "nfs-mount", "nfs": {"server": nfs_server, "path": "${KERNEL_PATH}"}}]
    flow = {"KERNEL_VOLUME_MOUNTS": "[{name: 'nfs-mount',mountPath: '/home/jovyan'}]",
            "KERNEL_VOLUMES": f"[{{name: 'nfs-mount',nfs: {{server: '{nfs_server}',path: $KERNEL_PATH}}}}]"}
    proxy = {"process_proxy": {"class_name": PROXY, "config": {"image_name": image}}, "debugger": True}
    edited = TEMPLATE.replace("#    an administrator's variables go here\n", "    - name: TEAM\n      value: research\n")
    edited = edited.replace("  volumes:\n", f"{SIDECAR}  volumes:\n")
    json_form = {"KERNEL_VOLUMES": json.dumps(volumes), "KERNEL_VOLUME_MOUNTS": json.dumps(mounts)}
    for name, argv, env, template in (("python_kubernetes", LAUNCH, flow, TEMPLATE), ("spark_python_kubernetes", SPARK, flow, TEMPLATE),
                                      ("python_edited", LAUNCH, json_form | EDITED_ENV, edited)):
        folder = write_spec(directory, name, argv, TITLES[name], "python", metadata=proxy, env=env)
        (folder / "scripts").mkdir()
        (folder / "scripts" / "kernel-pod.yaml.j2").write_text(template)
        (folder / "scripts" / "launch_kubernetes.py").write_text("raise SystemExit('nobody runs this')\n")


def volume_of_kernelspecs(server, path):
    """The claim that the chart mounts, bound by hand where the lab has a provisioner."""
    name = "lab-kernelspecs"
    return [{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": {
        "capacity": {"storage": "20Mi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "", "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": NAMESPACE, "name": "kernelspecs-pvc"}, "nfs": {"server": server, "path": path}}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "kernelspecs-pvc", "namespace": NAMESPACE}, "spec": {
            "accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": name, "resources": {"requests": {"storage": "20Mi"}}}}]


class Lab:
    """service: the gateways behind their Service. server: the notebook server of alice. home: hers, on the NFS server's side; mounted:
    the same as the notebook server has it, over NFS where this machine can."""

    def __init__(self, kube, cluster, folder, launcher_image):
        self.kube, self.cluster, self.folder, self.launcher_image = kube, cluster, folder, launcher_image
        self.name = f"lab-{uuid.uuid4().hex[:8]}"
        self.directory = cluster.nfs_directory / self.name
        self.share = f"{cluster.nfs_share}/{self.name}"
        self.home = self.directory / "claim" / USER
        self.kernel_path = f"{self.share}/claim/{USER}"
        self.mounted = folder / "home"

    def make_files(self):
        self.home.mkdir(parents=True)
        os.chown(self.home, 1000, 100)
        write_kernelspecs(self.directory / "kernelspecs", self.cluster.nfs_server)

    def deployed(self):
        volume = volume_of_kernelspecs(self.cluster.nfs_server, f"{self.share}/kernelspecs")
        settings = f"{QUICK}kubernetes_install: {self.name}\n"  # it sees all namespaces, those of other tests too
        return deployed(self.kube, self.folder, self.launcher_image, NAMESPACE, None, page=manifests.MIGRATION, objects=volume,
                        settings=settings)

    def start_server(self):
        place = self.folder / "server"
        place.mkdir()
        self.mounted.mkdir()
        nfs.mount(f"{self.cluster.nfs_server}:{self.kernel_path}", self.mounted)
        return Server(self, place, self.mounted, self.shell(), JUPYTERHUB_USER=USER, KERNEL_WORKING_DIR="/home/jovyan")

    def shell(self):
        """Words before a command: as the lab's values have it, the shell that starts it puts the user's name into KERNEL_PATH."""
        hosts = self.folder / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n{self.service.address} enterprise-gateway.{NAMESPACE}\n")
        script = 'hosts=$1 claim=$2; shift 2; mount --bind "$hosts" /etc/hosts && exec env KERNEL_PATH="$claim/$JUPYTERHUB_USER" "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", hosts, f"{self.share}/claim"]

    def run_notebook(self, *sources):
        """What nbclient makes of a notebook, on jupyter_server's gateway manager: the texts of its cells."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources], metadata={
            "kernelspec": {"name": "python_kubernetes", "display_name": "Python on Kubernetes", "language": "python"}})
        nbformat.write(notebook, self.folder / "in.ipynb")
        subprocess.run([*self.shell(), sys.executable, "-c", NBCLIENT, "in.ipynb", "out.ipynb"], cwd=self.folder, check=True, timeout=START_S,
                       env={**os.environ, "JUPYTER_GATEWAY_URL": URL, "JUPYTERHUB_USER": USER, "HOME": str(self.folder)})
        return [cell.outputs[0].text for cell in nbformat.read(self.folder / "out.ipynb", 4).cells]

    @property
    def base(self):
        """JUPYTER_GATEWAY_URL, unchanged."""
        return URL

    def clean(self):
        if os.path.ismount(self.mounted):
            subprocess.run(["umount", "-l", self.mounted], check=True)
        shutil.rmtree(self.directory, ignore_errors=True)
