"""manifests/jupyterhub: the pods of notebook servers that KubeSpawner makes of it, as a hub's configuration and as its chart's values."""
import itertools
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from support.environments import python_environment

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "manifests" / "jupyterhub"
SCRIPT = Path(__file__).parent / "support" / "user_pods.py"
USERS = ["alice", "Ann.Lee@example.org", "a-b", "7up", "-", "x" * 70, "\u0130stanbul \U0001f600"]
CHOICES = {"image": ["python", "science", "pytorch"], "size": ["small", "large", "gpu"]}
KUBECONFIG = {"apiVersion": "v1", "kind": "Config", "current-context": "nowhere", "users": [{"name": "nobody", "user": {}}],
              "clusters": [{"name": "nowhere", "cluster": {"server": "http://127.0.0.1:9"}}],
              "contexts": [{"name": "nowhere", "context": {"cluster": "nowhere", "user": "nobody"}}]}


@pytest.fixture(scope="module")
def pods_of(tmp_path_factory):
    """pods_of(file, [(user, choices), ...])"""
    kubeconfig = tmp_path_factory.mktemp("kube") / "config"  # KubeSpawner reads one, and asks nobody
    kubeconfig.write_text(json.dumps(KUBECONFIG))

    def pods_of(file, asked):
        told = subprocess.run([python_environment("requirements-jupyterhub.txt"), SCRIPT, file, json.dumps(asked)], check=True, timeout=120,
                              stdout=subprocess.PIPE, env=os.environ | {"KUBECONFIG": str(kubeconfig)})
        return json.loads(told.stdout)

    return pods_of


def environment_of(pod):
    """As a kubelet makes it: $(NAME) is the value of a variable that stands before."""
    made = {}
    for one in pod["spec"]["containers"][0]["env"]:
        made[one["name"]] = re.sub(r"\$\((\w+)\)", lambda found: made.get(found[1], found[0]), one["value"])
    return made


def ours(pod):
    return {name: value for name, value in environment_of(pod).items() if name.startswith(("KERNEL_", "JUPYTER_GATEWAY_"))}


def test_the_chart_s_values_and_the_configuration_make_the_same_pods(pods_of):
    chosen = [dict(zip(CHOICES, choice)) for choice in itertools.product(*CHOICES.values())]
    asked = [("alice", choice) for choice in [{}, *chosen]] + [(user, {}) for user in USERS]
    assert pods_of(FOLDER / "elara.py", asked) == pods_of(FOLDER / "values.yaml", asked)


def test_a_server_knows_the_gateway_its_user_and_what_he_has_chosen(pods_of):
    chosen = {"profile": "notebooks", "image": "science", "size": "gpu"}
    plain, gpu, bobs = pods_of(FOLDER / "elara.py", [("alice", {}), ("alice", chosen), ("Bob.B", {})])
    known = {"JUPYTER_GATEWAY_URL": "http://enterprise-gateway.elara:8888", "JUPYTER_GATEWAY_AUTH_TOKEN": "token of alice", "KERNEL_USERNAME": "alice"}
    assert ours(plain) == known | {"KERNEL_IMAGE": "quay.io/jupyter/base-notebook", "KERNEL_CPUS": "1", "KERNEL_MEMORY": "2Gi",
                                   "KERNEL_MEMORY_LIMIT": "2Gi"}
    assert ours(gpu) == known | {"KERNEL_IMAGE": "quay.io/jupyter/scipy-notebook", "KERNEL_CPUS": "4", "KERNEL_MEMORY": "16Gi",
                                 "KERNEL_MEMORY_LIMIT": "16Gi", "KERNEL_GPUS": "1", "KERNEL_GPUS_LIMIT": "1"}
    assert ours(bobs).items() >= {"JUPYTER_GATEWAY_AUTH_TOKEN": "token of Bob.B", "KERNEL_USERNAME": "Bob.B"}.items()
    assert gpu["spec"]["containers"][0]["resources"] == {"limits": {}, "requests": {}}  # it is the kernels that are large


def test_server_and_kernel_have_the_same_home(pods_of, build):
    """As the gateway's own code writes it by its default, home_user_names: hub; and by the default of home_mount."""
    names = subprocess.run([build / "tests" / "user_names", "hub"], input="".join(f"{user}\0" for user in USERS).encode(),
                           stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert re.search(r"`home_user_names:` \| `\w+` \| `hub` \|", page)
    place = re.search(r"`home_mount:` \| `\w+` \| `(\S+)` \|", page)[1]
    for pod, name in zip(pods_of(FOLDER / "elara.py", [(user, {}) for user in USERS]), names, strict=True):
        claim = {"name": "home", "persistentVolumeClaim": {"claimName": "homes"}}
        assert claim in pod["spec"]["volumes"]
        assert {"name": "home", "mountPath": place, "subPath": name} in pod["spec"]["containers"][0]["volumeMounts"]
        (maker,) = pod["spec"]["initContainers"]
        assert maker["volumeMounts"] == [{"name": "home", "mountPath": "/homes"}] and maker["command"][-1] == f"/homes/{name}"


def test_the_lab_s_policy_allows_what_the_form_offers(pods_of, build, tmp_path):
    """And the kernel's pod has it: what `elara policy explain` makes of the servers' variables."""
    lab, base = ROOT / "manifests" / "overlays" / "lab", ROOT / "manifests" / "base"
    settings, spec = tmp_path / "elara.yaml", tmp_path / "kernels" / "python3"
    settings.write_text((lab / "elara.yaml").read_text().replace("/etc/elara/policy.yaml", str(lab / "policy.yaml"))
                        + "kubernetes_launcher_image: elara\n")
    spec.mkdir(parents=True)
    for name in ("kernel.json", "pod.yaml"):
        (spec / name).write_text((base / name).read_text())
    chosen = [dict(zip(CHOICES, choice)) for choice in itertools.product(*CHOICES.values())]
    for choice, pod in zip(chosen, pods_of(FOLDER / "elara.py", [("Ann.Lee", one) for one in chosen]), strict=True):
        kernels = {name: value for name, value in ours(pod).items() if name.startswith("KERNEL_")}
        words = [word for name, value in kernels.items() for word in ("--env", f"{name}={value}")]
        told = subprocess.run([build / "elara", "policy", "explain", "--config", settings, "--kernelspec-dirs", spec.parent, "--kernelspec", "python3",
                               "--user", "Ann.Lee", *words, "--dry-run", "--json"], stdout=subprocess.PIPE, timeout=60)
        assert told.returncode == 0, (choice, told.stdout)
        container = json.loads(told.stdout)["spec"]["containers"][0]
        requests = {"cpu": kernels["KERNEL_CPUS"], "memory": kernels["KERNEL_MEMORY"]} | ({"nvidia.com/gpu": 1} if choice["size"] == "gpu" else {})
        assert (container["image"], container["resources"]["requests"]) == (kernels["KERNEL_IMAGE"], requests)
        assert {mount["subPath"] for mount in container["volumeMounts"] if mount["mountPath"] == "/home/jovyan"} == {"-41nn-2e-4cee"}
