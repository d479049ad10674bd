"""`elara kernelspecs check` on kernelspecs of both forms, and docs/kernelspec.schema.json, which says the same to editors."""
import copy
import json
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest

from support.kernelspecs import write_spec

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "kernelspec.schema.json").read_text())
ELARA = SCHEMA["$defs"]["elara"]["properties"]
RESOURCES = ELARA["resources"]["properties"]
TEMPLATE = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: \"{{ kernel_pod_name }}\"\n"


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "kernels"


@pytest.fixture
def check(build, directory):
    """check(*flags): the problems that are told; notes are in check.output."""
    def run(*flags):
        command = [build / "elara", "kernelspecs", "check", "--kernelspec-dirs", directory, "--default-kernel-name", ""]
        told = subprocess.run([*command, "--json", *flags], stdout=subprocess.PIPE, text=True, timeout=10)
        run.output = subprocess.run([*command, *flags], stdout=subprocess.PIPE, text=True, timeout=10).stdout
        problems = json.loads(told.stdout)["problems"]
        assert (told.returncode == 0) == (problems == [])
        return problems

    return run


def spec(**elara):
    return {"argv": ["a"], "metadata": {"elara": elara}}


def is_valid(kernel):
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(kernel)


def put(directory, kernel):
    write_spec(directory, "one", kernel["argv"], metadata=kernel["metadata"])


def known_here(problem):
    return set(re.search(r"known here are (.*)$", problem["problem"])[1].split(", "))


def test_the_schema_has_the_members_that_are_read_and_no_others(check, directory):
    put(directory, spec(anything=1, resources={"anything": 1}))
    elara, resources = check()
    assert elara["field"] == "metadata.elara.anything" and known_here(elara) == set(ELARA)
    assert resources["field"] == "metadata.elara.resources.anything" and known_here(resources) == set(RESOURCES)
    examples = {name: member["examples"][0] for name, member in ELARA.items()}
    examples["resources"] = {name: member["examples"][0] for name, member in RESOURCES.items()}
    put(directory, spec(**examples))
    assert check() == [] and is_valid(spec(**examples))


@pytest.mark.parametrize("name, values", [
    ("argv", [[], ["", "a"], ["a", 1], "a", None]),
    ("home", ["false", 0, None]),
    ("image", ["", 1, None]),
    ("journal_bytes", [1048575, 68719476737, "64M", 1048576.5]),
    ("overridable", ["image", [1], {}]),
    ("provisioner", ["docker", "", 1]),
    ("resources", [[], {"cpus": 0.5}, {"memory": ""}, {"gpus": None}, {"cpu": 1}]),
])
def test_the_schema_and_the_gateway_refuse_the_same(check, directory, name, values):
    for value in values:
        kernel = spec(**{name: value})
        put(directory, kernel)
        (problem,) = check()
        assert problem["field"].startswith(f"metadata.elara.{name}") and not is_valid(kernel), value


@pytest.mark.parametrize("change, field", [
    ({"argv": "a"}, "argv"), ({"argv": [1]}, "argv[0]"), ({"env": {"A": 1}}, "env.A"), ({"interrupt_mode": "sigint"}, "interrupt_mode"),
    ({"metadata": {"cull_idle_timeout": -1}}, "metadata.cull_idle_timeout"),
    ({"metadata": {"process_proxy": {"class_name": 1}}}, "metadata.process_proxy.class_name"),
])
def test_the_rest_of_kernel_json(check, directory, change, field):
    kernel = copy.deepcopy({"argv": ["a"]} | change)
    folder = write_spec(directory, "one", ["a"])
    (folder / "kernel.json").write_text(json.dumps(kernel))
    (problem,) = check()
    assert problem["field"] == field and not is_valid(kernel)


def jeg(directory, name="python_kubernetes", template=TEMPLATE, argv=("python", "/x/scripts/launch_kubernetes.py"), proxy="KubernetesProcessProxy",
        **env):
    folder = write_spec(directory, name, list(argv), language="python", env=env, metadata={
        "process_proxy": {"class_name": f"enterprise_gateway.services.processproxies.any.{proxy}", "config": {"image_name": "a:b"}}})
    (folder / "scripts").mkdir(exist_ok=True)
    (folder / "scripts" / "kernel-pod.yaml.j2").write_text(template)
    return folder


LISTS = {"KERNEL_VOLUMES": "[{name: 'home',nfs: {server: 'a',path: $KERNEL_PATH}}]",
         "KERNEL_VOLUME_MOUNTS": "[{name: 'home',mountPath: '/home/jovyan'}]"}


def test_kernelspecs_of_jeg(check, directory):
    folder = jeg(directory, **LISTS)
    assert check("--provisioner", "kubernetes") == [] and "note: " not in check.output
    mistakes = [
        (TEMPLATE + "{% include 'x' %}\n", 6, '"include" is not in the part of Jinja that is read here'),
        (TEMPLATE + "    image: {{ kernel_image | upper }}\n", 6, 'the filter "upper" is not known'),
        (TEMPLATE + "---\nkind: Secret\n", 7, "kind: Secret: only the Pod is made of a template"),
    ]
    for template, line, told in mistakes:
        jeg(directory, template=template)
        (problem,) = check("--provisioner", "kubernetes")
        assert problem["file"] == f"{folder}/scripts/kernel-pod.yaml.j2" and problem["line"] == line
        assert problem["problem"].startswith(told)
        assert f"{folder}/scripts/kernel-pod.yaml.j2:{line}: " in check.output


@pytest.mark.parametrize("name, text, told", [
    ("KERNEL_VOLUMES", "[{name: home, nfs: {server: a, path: $X}", None),
    ("KERNEL_VOLUMES", "[{name: home}]", "[0]: must have a name and one source"),
    ("KERNEL_VOLUMES", "{name: home}", "must be a list of mappings such as"),
    ("KERNEL_VOLUME_MOUNTS", "[{name: home, mountPath: x}]", "[0].mountPath: must begin with /"),
    ("KERNEL_VOLUME_MOUNTS", "[{name: home, mountPath: /x, readonly: true}]", "[0].readonly: unknown"),
])
def test_lists_of_volumes_that_cannot_be_read(check, directory, name, text, told):
    folder = jeg(directory, **LISTS | {name: text})
    (problem,) = check("--provisioner", "kubernetes")
    assert (problem["file"], problem["field"]) == (f"{folder}/kernel.json", f"env.{name}")
    assert told is None or problem["problem"].startswith(told)


def test_lists_of_volumes_with_references_are_no_mistake(check, directory):
    jeg(directory, KERNEL_VOLUMES='[{"name": "home", "nfs": {"server": "${NFS}", "path": "/share/${KERNEL_PATH}"}}]',
        KERNEL_VOLUME_MOUNTS="[{name: home, mountPath: $KERNEL_HOME}]")
    assert check("--provisioner", "kubernetes") == []


def test_what_is_read_and_cannot_be_started_is_a_note(check, directory):
    jeg(directory, "spark_python_kubernetes", argv=["/x/spark_python_kubernetes/bin/run.sh"])
    jeg(directory, "far", argv=["python", "/x/scripts/launch_ipykernel.py"], proxy="DistributedProcessProxy")
    write_spec(directory, "here", ["a"], metadata={"elara": {"provisioner": "local"}})
    write_spec(directory, "there", ["a"], metadata={"elara": {"provisioner": "kubernetes"}})
    assert check("--provisioner", "kubernetes") == []
    notes = [line for line in check.output.splitlines() if ": note: " in line]
    assert len(notes) == 3
    assert "metadata.process_proxy starts kernels on other hosts by ssh, which this gateway does not do" in notes[0]
    assert 'metadata.elara.provisioner "local"' in notes[1]
    assert "its argv starts Spark (/x/spark_python_kubernetes/bin/run.sh)" in notes[2]
    assert check() == [] and 'kernelspec there is for metadata.elara.provisioner "kubernetes"' in check.output


def test_the_examples(build):
    examples = ROOT / "kernelspecs" / "examples"
    done = subprocess.run([build / "elara", "kernelspecs", "check", "--kernelspec-dirs", examples, "--provisioner", "kubernetes"],
                          stdout=subprocess.PIPE, text=True, timeout=10)
    assert done.returncode == 0 and "5 kernelspecs, 0 problems" in done.stdout and "note: " not in done.stdout, done.stdout
    for folder in examples.iterdir():
        assert is_valid(json.loads((folder / "kernel.json").read_text())), folder.name
