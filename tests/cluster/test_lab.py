"""A lab's notebook server, kernelspecs and names as they are: the fifteen checks of docs/migrating-from-jeg.md, by their numbers."""
import json

import pytest
import yaml

from deployments import check_rights, live, pod_of
from kernels import *  # noqa: F403
from kernels import ROOT, START_S, make_gateway
from lab import LAUNCH, MOUNT, NAMESPACE, PROXY, SPARK, URL, Lab, write_kernelspecs
from starts import stub, wait_running  # noqa: F401
from support.client import Client
from support.processes import wait_until
from testcluster import manifests
from testcluster.images import KERNEL_PY

SPECS = ["python_edited", "python_kubernetes", "spark_python_kubernetes"]


@pytest.fixture(scope="module")
def lab(kube, cluster, launcher_image, tmp_path_factory):
    one = Lab(kube, cluster, tmp_path_factory.mktemp("lab"), launcher_image)
    one.make_files()
    try:
        with one.deployed() as one.service:
            one.server = one.start_server()
            yield one
            one.server.stop()
            print(one.server.log_path.read_text()[-3000:])
            for model in one.service.get("/api/kernels").json():
                one.service.delete(f"/api/kernels/{model['id']}")
            wait_until(lambda: not namespaces(kube, one), START_S, "the end of the kernels' namespaces")
    finally:
        one.clean()


def namespaces(kube, lab):
    return kube.list("Namespace", labelSelector=f"elara.install={lab.name}")


class Kernel:
    """A kernel that the notebook server has started, as JupyterLab asks it to."""

    def __init__(self, lab, name):
        lab.server.request("GET", "/api/kernelspecs")  # from then on KERNEL_LAUNCH_TIMEOUT is in its environment
        self.answer = lab.server.request("POST", "/api/kernels", json={"name": name})
        assert self.answer.status_code == 201, self.answer.text
        self.id = self.answer.json()["id"]
        self.client = Client(lab.server, self.id, timeout=START_S)
        self.kube, self.found = lab.kube, None

    def run(self, code):
        return self.client.run_cell(code).text()

    @property
    def pod(self):
        place = pod_of(self.kube, self.id)
        return self.kube.get("Pod", place["name"], place["namespace"])


@pytest.fixture(scope="module")
def kernel(lab):
    one = Kernel(lab, "python_kubernetes")
    yield one
    one.client.close()


@pytest.fixture(scope="module")
def edited(lab):
    one = Kernel(lab, "python_edited")
    yield one
    one.client.close()


def container_of(pod):
    return next(one for one in pod["spec"]["containers"] if one["name"] == pod["metadata"]["name"])


def without_elaras(items):
    """Volumes or mounts, but for those that bring the launcher."""
    return [item for item in items if item["name"] not in ("elara", "elara-key") and not item["name"].startswith("kube-api-access")]


def variables_of(pod):
    return {one["name"]: one.get("value", "") for one in container_of(pod)["env"]}


def test_l1_the_server_reaches_the_service_by_its_name(lab, kube):
    ports = {port["name"]: port["port"] for port in kube.get("Service", "enterprise-gateway", NAMESPACE)["spec"]["ports"]}
    assert ports == {"http": 8888, "http-response": 8877}
    assert lab.base == URL == "http://enterprise-gateway.enterprise-gateway:8888"
    answer = lab.server.request("GET", "/api/kernelspecs")
    assert answer.status_code == 200 and sorted(answer.json()["kernelspecs"]) == SPECS


def test_l2_the_kernelspecs_of_the_chart_s_volume_are_listed(lab, kube):
    name = manifests.gateway_pods(kube, NAMESPACE)[0]
    spec = kube.get("Pod", name, NAMESPACE)["spec"]
    (volume,) = [one["name"] for one in spec["volumes"] if one.get("persistentVolumeClaim", {}).get("claimName") == "kernelspecs-pvc"]
    assert MOUNT in [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"] if mount["name"] == volume]
    body = lab.service.get("/api/kernelspecs").json()
    assert sorted(body["kernelspecs"]) == SPECS and body["default"] == "python_kubernetes"


@pytest.mark.parametrize("allowed", ['["r_kubernetes","python_kubernetes","spark_python_kubernetes"]',
                                     "'r_kubernetes','python_kubernetes','spark_python_kubernetes'"])
def test_l2_the_allowed_list_in_both_forms(allowed, start_gateway, specs):
    write_kernelspecs(specs.directory, "nfs.example.com")
    gateway = start_gateway(environment={"EG_ALLOWED_KERNELS": allowed, "EG_DEFAULT_KERNEL_NAME": "python_kubernetes"})
    body = gateway.get("/api/kernelspecs").json()
    assert sorted(body["kernelspecs"]) == ["python_kubernetes", "spark_python_kubernetes"] and body["default"] == "python_kubernetes"


def test_l3_kernel_json_comes_as_it_is(lab):
    written = json.loads((lab.directory / "kernelspecs" / "python_kubernetes" / "kernel.json").read_text())
    spec = lab.service.get("/api/kernelspecs/python_kubernetes").json()["spec"]
    assert spec["argv"] == LAUNCH and spec["metadata"] == written["metadata"] and spec["metadata"]["debugger"] is True
    assert spec["display_name"] == "Python on Kubernetes" and set(spec["env"]) == set(written["env"])


def test_l4_a_start_is_answered_within_the_client_s_time(lab, kernel):
    """jupyter_server gives up after its 42 s; what its answer is made of came with its KERNEL_PATH."""
    assert kernel.answer.json()["name"] == "python_kubernetes"
    assert kernel.run("import os; print(os.environ['KERNEL_PATH'], os.environ['KERNEL_LAUNCH_TIMEOUT'])") == f"{lab.kernel_path} 40\n"


@pytest.mark.parametrize("path, told", [
    (None, "${KERNEL_PATH} has no value"), ("/share/claim/..", '".."'), ("/share/claim/", "empty part"), ("/share/a\nb", "KERNEL_PATH"),
])
def test_l4_or_the_error_is_clear(lab, kube, path, told):
    env = {"KERNEL_LAUNCH_TIMEOUT": "40"} | ({} if path is None else {"KERNEL_PATH": path})
    before = len(namespaces(kube, lab))
    for name in ("python_kubernetes", "python_edited"):
        answer = lab.service.post("/api/kernels", json={"name": name, "env": env})
        assert answer.status_code == 400 and told in answer.json()["message"]
    assert len(namespaces(kube, lab)) == before  # nothing is made


def test_l5_references_are_replaced_as_python_does(lab, edited):
    names = ["KNOWN", "DOLLARS", "UNKNOWN", "LATE"]
    assert edited.run(f"import os\nfor name in {names}: print(os.environ[name])").splitlines() == [
        f"{lab.kernel_path}|{lab.kernel_path}", "a$b", "${NOT_KNOWN}|$1|$", "${KUBERNETES_SERVICE_HOST}"]


def test_l6_volumes_in_flow_form_and_as_json(lab, kernel, edited):
    volume = {"name": "nfs-mount", "nfs": {"server": lab.cluster.nfs_server, "path": lab.kernel_path}}
    for one in (kernel, edited):
        assert without_elaras(one.pod["spec"]["volumes"]) == [volume]
        assert without_elaras(container_of(one.pod)["volumeMounts"]) == [{"name": "nfs-mount", "mountPath": "/home/jovyan"}]


def test_l7_the_start_script_means_the_language_s_own_kernel(kernel):
    command = kernel.run("import sys; print(*sys.orig_argv)")
    assert " -m ipykernel_launcher " in command and "launch_kubernetes" not in command


def test_l8_the_pod_is_the_template_s(lab, kernel, kube):
    """All of it, but for what docs/migrating-from-jeg.md lists: test_kube_jinja.c, l8_the_pod_of_the_lab; here as it runs."""
    pod = kernel.pod
    labels, spec, container = pod["metadata"]["labels"], pod["spec"], container_of(pod)
    assert {name: labels[name] for name in ("kernel_id", "app", "component", "source")} == {
        "kernel_id": kernel.id, "app": "enterprise-gateway", "component": "kernel", "source": "kernel-pod.yaml"}
    assert kube.list("Pod", labelSelector=f"kernel_id={kernel.id},component=kernel") and len(spec["containers"]) == 1
    security = spec["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"], security["fsGroup"]) == (1000, 100, 100)
    assert spec["serviceAccountName"] == "default" and spec["automountServiceAccountToken"] is False
    assert (container["image"], container["workingDir"]) == (KERNEL_PY, "/home/jovyan")
    assert variables_of(pod) == {
        "KERNEL_ID": kernel.id, "KERNEL_NAME": "python_kubernetes", "KERNEL_NAMESPACE": pod["metadata"]["namespace"],
        "KERNEL_POD_NAME": pod["metadata"]["name"], "KERNEL_IMAGE": KERNEL_PY, "KERNEL_UID": "1000", "KERNEL_GID": "100",
        "KERNEL_SERVICE_ACCOUNT_NAME": "default", "KERNEL_SPARK_CONTEXT_INIT_MODE": "none", "PORT_RANGE": "0..0", "RESPONSE_ADDRESS": "",
        "PUBLIC_KEY": ""}
    found = set(json.loads(kernel.run("import json, os; print(json.dumps(list(os.environ)))")))
    assert found >= {*variables_of(pod), "KERNEL_USERNAME", "KERNEL_GATEWAY", "KERNEL_LANGUAGE", "KERNEL_PATH", "KERNEL_LAUNCH_TIMEOUT"}
    assert not {name for name in found if name.startswith("EG_")}


def test_l8_a_template_that_was_edited_keeps_working(edited):
    spec = edited.pod["spec"]
    assert edited.run("import os; print(os.environ['TEAM'], os.environ['PORT_RANGE'])") == "research 0..0\n"
    assert [one["name"] for one in spec["containers"]] == [edited.pod["metadata"]["name"], "sidecar"]
    assert {"key": "research", "operator": "Exists"} in spec["tolerations"]
    assert all(status["ready"] for status in edited.pod["status"]["containerStatuses"])


def test_l9_a_namespace_for_each_kernel_that_goes_with_it(lab, edited, kube):
    name = edited.pod["metadata"]["namespace"]
    labels = kube.get("Namespace", name)["metadata"]["labels"]
    assert (labels["app"], labels["component"], labels["kernel_id"]) == ("enterprise-gateway", "kernel", edited.id)
    (binding,) = kube.list("RoleBinding", name, manifests.RBAC)
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "default", "namespace": name}]
    assert binding["roleRef"]["kind"] == "ClusterRole"
    assert lab.server.request("DELETE", f"/api/kernels/{edited.id}").status_code == 204
    kube.wait_gone("Namespace", name, None, START_S)


def test_l9_a_namespace_that_is_shared_or_named_stays(build, cluster, kube, specs, stub, places, make_namespace):  # noqa: F811
    """EG_SHARED_NAMESPACE and KERNEL_NAMESPACE."""
    other = make_namespace()
    environment = {"EG_SHARED_NAMESPACE": "True", "EG_NAMESPACE": places[0]}
    with make_gateway(build, specs, places, "elara.test/elara:1", cluster.kubeconfig, "--kubernetes-allow", "KERNEL_NAMESPACE",
                      environment=environment) as gateway:
        kernels = {gateway.start_kernel(stub, env=env)["id"]: place
                   for env, place in (({}, places[1]), ({"KERNEL_NAMESPACE": other}, other))}
        for kernel_id, place in kernels.items():
            assert pod_of(kube, kernel_id)["namespace"] == place
            assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
        for place in kernels.values():
            wait_until(lambda place=place: not kube.list("Pod", place), START_S, "the pod's end")
            assert kube.get("Namespace", place)["status"]["phase"] == "Active"


def test_l10_an_image_of_the_stock_layout_runs_its_own_kernel(lab, kernel):
    """What starts is not the image's command, nor its launchers, but the kernel that it has."""
    seen = kernel.run("import os, ipykernel\nprint(os.path.exists('/usr/local/bin/bootstrap-kernel.sh'))\n"
                      "print(os.path.exists('/usr/local/bin/kernel-launchers/python/scripts/launch_ipykernel.py'))\n"
                      "print(os.environ['KERNEL_LANGUAGE'], os.environ['KERNEL_ID'])")
    assert seen.splitlines() == ["True", "True", f"python {kernel.id}"]
    assert "bootstrap script" not in lab.kube.logs(kernel.pod["metadata"]["name"], kernel.pod["metadata"]["namespace"])


def test_l11_the_gateway_s_path_is_not_the_kernel_s(kernel):
    """The image's own, as KERNEL_PY has it; the gateway's image has another one."""
    assert kernel.run("import os; print(os.environ['PATH'])") == "/usr/local/bin:/usr/bin:/bin\n"


def test_l12_the_working_directory_is_the_notebook_s(kernel):
    """Only as mirror_working_dirs is on: test_kube_jinja.c, working_directories_only_where_they_are_mirrored."""
    assert kernel.run("import os; print(os.getcwd())") == "/home/jovyan\n"


def test_l13_idle_kernels_go_and_those_with_a_client_stay(start_gateway, stub, connect):  # noqa: F811
    """An hour cannot be waited for: it is seen that it counts, and then another gateway has a second instead."""
    limits = {"EG_CULL_IDLE_TIMEOUT": "3600", "EG_CULL_INTERVAL": "60", "EG_CULL_CONNECTED": "False"}
    gateway = start_gateway(environment=limits)
    idle, used = (gateway.start_kernel(stub)["id"] for _ in range(2))
    wait_running(gateway, (idle, used))
    client = connect(gateway, used)
    client.run_cell("print x")

    def why(kernel_id):
        return gateway.get(f"/api/kernels/{kernel_id}/why").json()

    found = wait_until(lambda: (told := why(idle))["rule"] == "idle" and told, START_S, "the rule")
    assert found["verdict"] == "keep" and 3500000 < found["in_ms"] <= 3660000
    assert why(used)["text"] == "It is kept: somebody is connected to it."
    start_gateway(environment={name: "1" if name.startswith("EG_CULL_I") else value for name, value in limits.items()})
    wait_until(lambda: gateway.get(f"/api/kernels/{idle}").status_code == 404, START_S, "the idle kernel's end")
    assert client.run_cell("print x").text() == "x\n"
    client.close()
    wait_until(lambda: gateway.get(f"/api/kernels/{used}").status_code == 404, START_S, "the end of the one that was left")


def test_l14_server_and_kernel_have_the_same_files(lab, kernel, kube):
    """nbclient writes in its pod, the contents API of jupyter_server reads; and the other way round. Files outlive kernels.

    Both have the home over NFS, as far as the machine can mount it."""
    if lab.cluster.nfs_client.startswith("FUSE"):
        assert any(line.split()[1] == str(lab.mounted) and "fuse" in line.split()[2] for line in open("/proc/mounts"))
    code = "import os\nopen('/home/jovyan/from-kernel.txt', 'w').write('written in the pod')\nprint(os.getuid(), os.environ['KERNEL_ID'])"
    (told,) = lab.run_notebook(code)
    assert told.startswith("1000 ") and kernel.id not in told
    contents = "/api/contents/from-kernel.txt"
    assert lab.server.request("GET", contents).json()["content"] == "written in the pod"
    made = lab.server.request("PUT", "/api/contents/from-server.txt", json={"type": "file", "format": "text", "content": "written here"})
    assert made.status_code == 201
    assert kernel.run("print(open('from-server.txt').read())") == "written here\n"
    namespace = kernel.pod["metadata"]["namespace"]
    assert lab.server.request("DELETE", f"/api/kernels/{kernel.id}").status_code == 204
    kube.wait_gone("Namespace", namespace, None, START_S)
    assert lab.server.request("GET", contents).json()["content"] == "written in the pod"


def test_l15_spark_is_listed_and_refused_precisely(lab):
    spec = lab.server.request("GET", "/api/kernelspecs").json()["kernelspecs"]["spark_python_kubernetes"]["spec"]
    assert spec["argv"] == SPARK and spec["metadata"]["process_proxy"]["class_name"] == PROXY
    answer = lab.service.post("/api/kernels", json={"name": "spark_python_kubernetes", "env": {"KERNEL_PATH": lab.kernel_path}})
    assert answer.status_code == 501
    message = answer.json()["message"]
    assert f"its argv starts Spark ({MOUNT}/spark_python_kubernetes/bin/run.sh), which this gateway does not do" in message
    assert "metadata.elara.argv" in message


def test_what_is_granted_is_needed_and_no_more(lab, kube):
    place = live(lab.service, kube, "python_kubernetes", KERNEL_PATH=lab.kernel_path)
    kube.wait_gone("Namespace", place["metadata"]["name"], None, START_S)
    check_rights(kube, lab.service)


def test_the_settings_of_the_page_are_the_overlay_s():
    """The page's file replaces the overlay's: what it leaves out nobody has."""
    overlay = yaml.safe_load((ROOT / "manifests" / "overlays" / "enterprise-gateway" / "elara.yaml").read_text())
    page = yaml.safe_load(manifests.files_of(manifests.MIGRATION)["my-elara/elara.yaml"])
    assert page == overlay | {"kubernetes_launcher_image": "REGISTRY/elara:0.1.0", "insecure": True, "kubernetes_allow": ["KERNEL_PATH"]}
