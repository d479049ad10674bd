"""A policy (docs/policy.md) where kernels are processes: who may start them, and with which variables."""
import json
import os
import subprocess

import pytest
import yaml

from support.explain import assert_explained, explain, field
from support.processes import wait_until
from test_auth import as_user, token_file
from test_rest import check_error

POLICY = """\
variables: {allow: [KERNEL_TEAM, 'KERNEL_MY_*', KERNEL_MODE, KERNEL_PLACE]}
env: {names: ['LAB_*'], count: 8, bytes: 400}
users: {authorized: ['*'], unauthorized: [root, mallory]}
images: ['nothing/*']
volumes: {types: [emptyDir]}
uid: {from: 5000, to: 5001}
rules:
- when: {kernelspecs: [python3], users: [bert]}
  users: {authorized: [nobody-at-all]}
"""
DENIED = [
    ("anna", {"KERNEL_OTHER": "x"}, "KERNEL_OTHER: the variable is not allowed: policy.yaml line 1 (variables.allow)"),
    ("anna", {"KERNEL_IMAGE": "nothing/x"}, "KERNEL_IMAGE: the variable is not allowed: policy.yaml line 1 (variables.allow)"),
    ("anna", {"HOME_SWEET": "x"}, "HOME_SWEET: the variable is not allowed: policy.yaml line 2 (env.names)"),
    ("anna", {f"KERNEL_MY_{i}": "x" for i in range(9)}, "env: 9 variables is not allowed: policy.yaml line 2 (env.count)"),
    ("anna", {"KERNEL_MY_TEXT": "x" * 400}, "more than 400 bytes of variables is not allowed: policy.yaml line 2 (env.bytes)"),
    ("mallory", {}, "KERNEL_USERNAME: the user mallory is not allowed: policy.yaml line 3 (users.unauthorized)"),
    ("mallory", {"KERNEL_USERNAME": "anna"}, "KERNEL_USERNAME: says anna, but the client is mallory"),
    ("bert", {}, "the user bert is not allowed: policy.yaml line 9 (rules[0].users.authorized)"),
]


@pytest.fixture
def start_with(start_gateway, specs, tmp_path):
    """start_with(*flags, policy=...) gives a gateway with it where anna, bert and mallory have tokens."""
    specs.python(env={"KERNEL_MODE": "the-specs", "KERNEL_PLACE": "at ${KERNEL_MODE}", "KERNEL_FREE": "the-specs"},
                 metadata={"elara": {"overridable": ["KERNEL_PLACE"]}})
    path = token_file(tmp_path / "tokens", *((name, "user", f"{name}-token") for name in ("anna", "bert", "mallory")))

    def start(*flags, policy=POLICY, tokens=True):
        (tmp_path / "policy.yaml").write_text(policy)
        flags += ("--auth-token-file", str(path)) if tokens else ()
        gateway = start_gateway("--policy", str(tmp_path / "policy.yaml"), "--client-envs", "*", *flags)
        gateway.token = "anna-token" if tokens else None
        return gateway

    return start


def start(gateway, user, env):
    return gateway.post("/api/kernels", headers=as_user(user), json={"name": "python3", "env": env})


def test_refusals_name_variable_rule_and_line(start_with):
    gateway = start_with()
    for user, env, expected in DENIED:
        answer = start(gateway, user, env)
        check_error(answer, 403, expected)
        assert_explained(gateway, answer, "python3", env, user=user)
        assert explain(gateway, "python3", env, "--dry-run", user=user) == f"refused (403): {answer.json()['message']}\n"
        session = {"path": "a.ipynb", "type": "notebook", "kernel": {"name": "python3", "env": env}}
        check_error(gateway.post("/api/sessions", headers=as_user(user), json=session), 403, expected)
    assert gateway.get("/api/kernels").json() == [] and gateway.get("/api/sessions").json() == []


def test_the_kernelspecs_values_count_and_images_do_not_matter(start_with, connect):
    """What is for pods alone refuses no process; a client's value counts where the kernelspec says nothing, or lets it."""
    gateway = start_with()
    env = {"KERNEL_MODE": "mine", "KERNEL_TEAM": "blue", "LAB_X": "1", "KERNEL_FREE": "mine"}
    code = "import json, os; print(json.dumps({name: os.environ.get(name) for name in " \
           "('KERNEL_MODE', 'KERNEL_PLACE', 'KERNEL_TEAM', 'LAB_X', 'KERNEL_FREE')}))"
    for place, expected in ((None, "at ${KERNEL_MODE}"), ("my own", "my own")):
        sent = env | ({"KERNEL_PLACE": place} if place else {})
        answer = start(gateway, "anna", sent)
        told = assert_explained(gateway, answer, "python3", sent, user="anna")
        assert field(told, "user") == ("anna", "token", "policy.yaml line 3 (users.authorized)")
        assert field(told, "env.KERNEL_TEAM") == ("blue", "client", "policy.yaml line 1 (variables.allow)")
        assert field(told, "env.KERNEL_MODE") == ("mine", "client, does not count", "")
        kernel_id = answer.json()["id"]
        cell = connect(gateway, kernel_id).run_cell(code)
        assert json.loads(cell.text()) == {"KERNEL_MODE": "the-specs", "KERNEL_PLACE": expected, "KERNEL_TEAM": "blue", "LAB_X": "1",
                                           "KERNEL_FREE": "the-specs"}
        gateway.delete(f"/api/kernels/{kernel_id}")


def test_a_refusal_is_told_in_the_notebook_and_a_changed_policy_counts(start_with, connect, tmp_path):
    gateway = start_with("--refusal-style", "notebook")
    kernel_id = start(gateway, "anna", {"KERNEL_OTHER": "x"}).json()["id"]
    cell = connect(gateway, kernel_id).run_cell("1")
    assert "KERNEL_OTHER: the variable is not allowed: policy.yaml line 1 (variables.allow)" in str(cell.messages)
    (tmp_path / "policy.yaml").write_text("imgaes: []\n")  # a mistake: the policy before stays
    wait_until(lambda: "policy.yaml:1: imgaes" in gateway.log(), 10, "the mistake's line in the log")
    (tmp_path / "policy.yaml").write_text("\nvariables: {allow: []}\n")
    wait_until(lambda: "line 2" in (start(gateway, "anna", {"KERNEL_TEAM": "x"}).json().get("message") or ""), 10, "the new policy")


@pytest.mark.parametrize("trusts, claim, expected", [
    ("false", "mallory", None), ("false", None, None), ("true", "mallory", "the user mallory is not allowed"), ("true", "anna", None)])
def test_claimed_names_count_where_they_are_trusted(start_with, trusts, claim, expected):
    """Nobody's own user is asked about, so a gateway of root's starts kernels though root is on the list."""
    gateway = start_with(policy=f"users: {{unauthorized: [root, mallory], trust_claimed_names: {trusts}}}\n", tokens=False)
    answer = gateway.post("/api/kernels", json={"name": "stub", "env": {"KERNEL_USERNAME": claim} if claim else {}})
    if expected:
        check_error(answer, 403, expected)
    else:
        assert answer.status_code == 201


SECRET = "s3cret"
TEMPLATE = f"""\
spec:
  containers:
  - name: kernel
    image: registry.example.org/lab
    env:
    - {{name: DATABASE_PASSWORD, value: {SECRET}-1}}
    - {{name: OTHER_TOKEN, valueFrom: {{secretKeyRef: {{name: database, key: token}}}}}}
    - {{name: MODE, value: "${{KERNEL_MODE}}"}}
  - {{name: proxy, image: envoy, env: [{{name: PROXY_SECRET, value: {SECRET}-2}}]}}
"""


@pytest.fixture
def explain_alone(build, specs, tmp_path):
    """explain_alone(*flags) is the tree that --dry-run prints of a request of anna's, which is allowed; no gateway and no cluster is there."""
    specs.add("lab", ["python3"], env={"LAB_API_KEY": f"{SECRET}-3"})
    (specs.directory / "lab" / "pod.yaml").write_text(TEMPLATE)
    (tmp_path / "policy.yaml").write_text("variables: {allow: [KERNEL_MODE]}\nenv: {names: [MY_*]}\n")

    def run(*flags):
        command = [build / "elara", "policy", "explain", "--kernelspec", "lab", "--user", "anna", "--env", "KERNEL_MODE=fast", "--env",
                   f"MY_TOKEN={SECRET}-4", "--client-envs", "MY_TOKEN", "--kernelspec-dirs", specs, "--policy", tmp_path / "policy.yaml", *flags]
        both = [subprocess.run([*map(str, command), *more], capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"]})
                for more in ((), ("--dry-run",), ("--json",))]
        for one in both:
            assert one.returncode == 0 and one.stderr == "" and SECRET not in one.stdout, one
        return both[0].stdout, yaml.safe_load(both[1].stdout)

    return run


def test_dry_run_prints_the_pod_without_secrets(explain_alone):
    told, pod = explain_alone("--provisioner", "kubernetes", "--kubernetes-launcher-image", "elara:1", "--home-server", "nfs.example.org",
                              "--home-export", "/export", "--home-uids", '{"anna": "1001:100"}', "--home-extra", "data:/data")
    kernel, proxy = pod["spec"]["containers"]
    assert kernel["env"] == [{"name": "DATABASE_PASSWORD", "value": "(masked)"},
                             {"name": "OTHER_TOKEN", "valueFrom": {"secretKeyRef": {"name": "database", "key": "token"}}},
                             {"name": "MODE", "value": "fast"}]
    assert proxy["env"] == [{"name": "PROXY_SECRET", "value": "(masked)"}] and kernel["image"] == "registry.example.org/lab"
    assert {"server": "nfs.example.org", "path": "/export/anna", "readOnly": False} in [one.get("nfs") for one in pod["spec"]["volumes"]]
    assert (kernel["securityContext"]["runAsUser"], kernel["securityContext"]["runAsGroup"]) == (1001, 100)
    lines = [line.split() for line in told.splitlines()]
    said = {line[0]: " ".join(line[2:]) for line in lines if line}
    assert said["spec.volumes[elara-home].nfs.server"] == "setting home-server"
    assert said["spec.volumes[elara-home].nfs.path"] == "settings home-export, home-path"
    assert said["spec.volumes[elara-home-1].nfs.path"] == "settings home-export, home-extra"
    assert said["spec.containers[kernel].volumeMounts[/home/jovyan].mountPath"] == "setting home-mount"
    assert said["spec.containers[kernel].securityContext.runAsUser"] == "setting home-uids"
    assert ["env.MY_TOKEN", "(masked)", "client", "policy.yaml", "line", "2", "(env.names)"] in lines


def test_dry_run_prints_the_process_without_secrets(explain_alone, tmp_path):
    _, process = explain_alone("--home-directory", str(tmp_path))
    env = process["env"]
    assert env["MY_TOKEN"] == env["LAB_API_KEY"] == "(masked)" and env["KERNEL_MODE"] == "fast"
    assert process["cwd"] == [f"{tmp_path}/anna"] and env["HOME"] == f"{tmp_path}/anna"


def test_a_policy_that_trusts_no_claims_refuses_the_setting_that_does(start_with, start_gateway, tmp_path):
    flags = ("--home-directory", str(tmp_path), "--home-trust-claimed-names")
    trusting = start_with(*flags, policy="users: {trust_claimed_names: true}\n", tokens=False)
    assert trusting.get("/api").status_code == 200
    (tmp_path / "policy.yaml").write_text("images: []\n")
    gateway = start_gateway("--policy", str(tmp_path / "policy.yaml"), *flags, ready=False)
    assert gateway.process.wait(20) != 0
    assert "home-trust-claimed-names: the policy does not trust claimed names: write users: {trust_claimed_names: true} to it" in gateway.log()
    gateway.process.returncode = 0
