"""The images' kernels are kernels; pulls are slow or refused when a test wants it."""
import json
import queue

import pytest
from jupyter_client import BlockingKernelClient

from testcluster import images
from testcluster.pods import RESTRICTED_CONTAINER, RESTRICTED_POD, has_ended, is_running, pod, state_of, waits_for
from testcluster.processes import wait_until

PORTS = {"shell_port": 9001, "iopub_port": 9002, "stdin_port": 9003, "control_port": 9004, "hb_port": 9005}


def wait_for_kernel(client):
    """The client's own wait takes a kernel that is not there yet for a dead one."""
    def answers():
        client.kernel_info()
        try:
            client.get_shell_msg(timeout=1)
            return client.get_iopub_msg(timeout=1)
        except queue.Empty:
            return None

    wait_until(answers, 120, "the kernel's answer")


@pytest.mark.parametrize("image, command, code, text", [
    (images.IPYKERNEL, "/usr/bin/python3 -m ipykernel_launcher -f", "import os; print(os.getuid())", "1000\n"),
    (images.MUSL, "musl_kernel", "as it \"came\"", "as it \"came\""),
])
def test_a_kernel_in_a_restricted_pod_answers(kube, namespace, image, command, code, text):
    connection = PORTS | {"ip": "0.0.0.0", "transport": "tcp", "key": "secret", "signature_scheme": "hmac-sha256"}
    kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "connection"}, "data": {"file": json.dumps(connection)}},
                namespace)
    volumes = [{"name": "connection", "configMap": {"name": "connection"}}, {"name": "home", "emptyDir": {}}]
    mounts = [{"name": "connection", "mountPath": "/connection"}, {"name": "home", "mountPath": "/home"}]
    container = {"volumeMounts": mounts, "env": [{"name": "HOME", "value": "/home"}]}
    script = f"cp /connection/file /home/file && exec {command} /home/file"  # ipykernel writes to it
    kube.create(pod("kernel", "sh", "-c", script, image=image, container=container, volumes=volumes), namespace)
    address = kube.wait_for("Pod", "kernel", namespace, is_running)["status"]["podIP"]
    client = BlockingKernelClient()
    client.load_connection_info(connection | {"ip": address})
    client.start_channels()
    try:
        wait_for_kernel(client)
        printed = []
        client.execute_interactive(code, timeout=60, output_hook=printed.append)
        assert [message["content"]["text"] for message in printed if message["msg_type"] == "stream"] == [text]
    finally:
        client.stop_channels()


# Modules that were compiled for sources of another time would be compiled again at each start.
ANYBODY = """
import os, sys
import ipykernel.kernelapp, numpy, pandas
def is_stale(module):
    with open(module.__cached__, "rb") as file:
        head = file.read(16)
    return head[4:8] == bytes(4) and int.from_bytes(head[8:12], "little") != int(os.stat(module.__file__).st_mtime)
modules = [one for one in list(sys.modules.values()) if os.path.exists(getattr(one, "__cached__", None) or "")]
print(os.getuid(), os.environ["HOME"], pandas.DataFrame({"x": numpy.arange(4)}).x.sum())
print(len(modules) > 500, [one.__name__ for one in modules if is_stale(one)])
"""


def test_anybody_runs_the_kernels_image_on_a_read_only_root(kube, namespace):
    container = {"securityContext": RESTRICTED_CONTAINER | {"readOnlyRootFilesystem": True}}
    kube.create(pod("anybody", "python3", "-c", ANYBODY, image=images.IPYKERNEL, container=container,
                    securityContext=RESTRICTED_POD | {"runAsUser": 123456, "runAsGroup": 0}), namespace)
    kube.wait_for("Pod", "anybody", namespace, has_ended)
    assert kube.logs("anybody", namespace).splitlines()[-2:] == ["123456 /home/jovyan 6", "True []"]


def test_the_musl_image_has_nothing_of_glibc(kube, namespace):
    kube.create(pod("shell", "sleep", "1000", image=images.MUSL), namespace)
    kube.wait_for("Pod", "shell", namespace, is_running)
    found = kube.kubectl("exec", "shell", "--", "find", "/lib", "/usr/lib", "/bin/musl_kernel", namespace=namespace)
    assert "ld-musl-" in found and "musl_kernel" in found
    assert "ld-linux" not in found and "libc.so.6" not in found


def test_a_pull_takes_as_long_as_its_registry(kube, namespace, registry):
    image = registry.add("slow", images.archives()[images.BUSYBOX])
    registry.hold()
    kube.create(pod("patient", "sleep", "1000", image=image, container={"imagePullPolicy": "Always"}), namespace)
    kube.wait_event(namespace, "patient", "Pulling")
    kube.wait_for("Pod", "patient", namespace, waits_for("ContainerCreating"))
    registry.release()
    kube.wait_for("Pod", "patient", namespace, is_running)


def test_a_registry_that_refuses_is_quoted(kube, namespace, registry):
    registry.refuse["private"] = (403, "DENIED", "requested access to the resource is denied")
    kube.create(pod("refused", image=f"{registry.address}/private:1"), namespace)
    kube.wait_for("Pod", "refused", namespace, waits_for("ErrImagePull"))
    assert "403 Forbidden" in kube.wait_event(namespace, "refused", "Failed")["message"]
