"""elara doctor: finds what keeps kernels from running, says what helps, and leaves nothing behind."""
import http.server
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from support.doctor import findings_of
from support.kernelspecs import Specs
from support.processes import free_port, processes_mentioning, wait_until

MACHINE = {"descriptors", "processes", "cgroup", "inotify", "space"}  # what this machine has is not ours to say


@pytest.fixture
def runtime():
    with tempfile.TemporaryDirectory(prefix="elara-", dir="/tmp") as place:  # a short path, for the sake of sockets
        yield Path(place) / "run"


@pytest.fixture
def doctor(build, tmp_path, specs, runtime):
    """doctor(*flags) -> exit status, {check: [finding, ...]}"""

    def run(*flags, program=build / "elara", environment=None, prefix=(), directory=runtime, kernelspecs=specs, port=None):
        done = subprocess.run([*prefix, program, "doctor", "--json", "--runtime-dir", directory, "--kernelspec-dirs", str(kernelspecs),
                               "--port", str(port or free_port()), *flags], capture_output=True, text=True, timeout=120,
                              env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)} | (environment or {}))
        findings = findings_of(done)
        assert not processes_mentioning("doctor-") and not list(runtime.glob("doctor-*"))
        return done.returncode, findings
    return run


def failed(findings):
    return {check for check, found in findings.items() for each in found if each["state"] == "fail"} - MACHINE


def text(findings, check):
    return "\n".join(f"{each['state']}: {each['text']} | {each['fix']}" for each in findings[check])


def test_healthy_machine(doctor, runtime):
    runtime.mkdir(mode=0o700)
    _, findings = doctor("--kernel", "stub")
    assert failed(findings) == set()
    for check in ("settings", "runtime-dir", "clock", "launcher", "kernelspecs", "port", "gateway", "kernel", "websocket"):
        assert text(findings, check).startswith("ok: "), text(findings, check)
    assert "private and ours; mmap and flock work" in text(findings, "runtime-dir")
    assert "stub was there" in text(findings, "kernel") and "kernel_info there and back" in text(findings, "websocket")


class Hub(http.server.BaseHTTPRequestHandler):
    """Knows nobody."""

    def do_GET(self):
        self.send_error(403)

    def log_message(self, *_):
        pass


def test_those_who_say_whose_a_token_is(doctor, runtime):
    runtime.mkdir(mode=0o700)
    with http.server.HTTPServer(("127.0.0.1", 0), Hub) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        api = f"http://127.0.0.1:{hub.server_port}/hub/api"
        issuer = f"http://127.0.0.1:{free_port()}"
        _, findings = doctor("--kernel", "stub", "--jupyterhub-api-url", api, "--oidc-issuer", issuer, "--oidc-audience", "elara",
                             "--token-review", "--token-review-namespaces", "users")
        hub.shutdown()
    hub_finding, issuer_finding, review_finding = text(findings, "identity").split("\n")
    assert hub_finding == f"ok: {api} answers | "
    assert issuer_finding.startswith(f"fail: the OpenID provider's keys cannot be fetched: {issuer}/.well-known/openid-configuration: ")
    assert issuer_finding.endswith(" | correct --oidc-issuer, or start the provider")
    assert review_finding.startswith("fail: token-review: this is no pod: ")


def test_text_names_check_and_fix(build, runtime, specs):
    done = subprocess.run([build / "elara", "doctor", "--kernel", "stub", "--runtime-dir", runtime, "--launcher", "/no/launcher",
                           "--kernelspec-dirs", str(specs)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "fail  launcher     /no/launcher: No such file or directory\n" + " " * 19 + "fix: install elara-launcher" in done.stdout
    assert done.stdout.splitlines()[-1].split(",")[0] in ("2 failed", "3 failed")  # the kernel too; the port may be taken


def test_kernel_that_does_not_start_is_told_with_its_reason(doctor, specs):
    specs.add("dies", ["/bin/sh", "-c", "echo no licence found >&2; exit 3", "{connection_file}"])
    specs.add("nowhere", ["/no/such/program", "{connection_file}"])
    _, findings = doctor("--kernel", "dies")
    assert "kernel" in failed(findings) and "no licence found" in text(findings, "kernel") and "websocket" not in findings
    assert "nowhere: there is no program /no/such/program" in text(findings, "kernelspec")
    _, findings = doctor("--kernel", "cobol")
    assert "cobol" in text(findings, "kernel") and "kernel" in failed(findings) and "Not Found" not in text(findings, "kernel")


def test_python_is_the_one_of_the_settings(doctor, specs, build):
    specs.add("py", ["python3.99", "{connection_file}"])
    assert "py: there is no program" not in text(doctor("--kernel", "stub", "--python", "/bin/sh")[1] | {"kernelspec": []}, "kernelspec")
    _, findings = doctor("--kernel", "stub", "--python", "/no/such/python")
    assert "py: there is no program /no/such/python for this user here | install it, or correct --python" in text(findings, "kernelspec")
    checked = subprocess.run([build / "elara", "kernelspecs", "check", "--kernelspec-dirs", str(specs), "--python", "/no/such/python"],
                             capture_output=True, text=True, timeout=60)
    assert "there is no program /no/such/python" in checked.stdout and checked.returncode == 0


def test_no_kernelspecs_and_a_broken_one(doctor, tmp_path, build):
    empty = Specs(tmp_path / "empty", build)
    _, findings = doctor(kernelspecs=empty)
    assert {"kernelspecs", "kernel"} <= failed(findings) and "ipykernel install" in text(findings, "kernelspecs")
    (empty.directory / "bad").mkdir()
    (empty.directory / "bad" / "kernel.json").write_text('{"argv": 1}')
    empty.stub()
    _, findings = doctor("--default-kernel-name", "cobol", "--kernel", "stub", kernelspecs=empty)
    assert "bad/kernel.json:1: argv" in text(findings, "kernelspec")
    assert failed(findings) == {"kernelspecs"} and "cobol is the default" in text(findings, "kernelspecs")


@pytest.mark.parametrize("make, word, fix", [
    (lambda path: path.mkdir(mode=0o755), "open to others (mode 755)", "chmod 700"),
    (lambda path: path.write_text(""), "is no directory", "--runtime-dir"),
], ids=["open", "file"])
def test_bad_runtime_directory(doctor, runtime, make, word, fix):
    make(runtime)
    _, findings = doctor("--kernel", "stub")
    assert failed(findings) == {"runtime-dir"} and word in text(findings, "runtime-dir") and fix in text(findings, "runtime-dir")


def test_runtime_directory_that_nobody_can_make_or_that_is_too_long(doctor):
    _, findings = doctor("--kernel", "stub", directory="/proc/elara")
    assert "runtime-dir" in failed(findings)
    _, findings = doctor("--kernel", "stub", directory="/tmp/" + "x" * 90)
    assert "too long" in text(findings, "runtime-dir")


def test_port_says_who_has_it(doctor, gateway, start_gateway):
    _, findings = doctor("--kernel", "stub", port=gateway.port)
    assert failed(findings) == set() and text(findings, "port").startswith("warn: a gateway ")
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.listen()
        _, findings = doctor("--kernel", "stub", port=other.getsockname()[1])
    assert failed(findings) == {"port"} and "Address already in use" in text(findings, "port") and "ss -ltnp" in text(findings, "port")
    _, findings = doctor("--kernel", "stub", "--ip", "192.0.2.1")
    assert {"port", "token"} == failed(findings) and "must be an address of this machine" in text(findings, "port")
    guarded = start_gateway(token="t")
    _, findings = doctor("--kernel", "stub", port=guarded.port)
    assert "something that wants a token" in text(findings, "port")


def test_running_gateway(doctor, start_gateway, tmp_path):
    running = start_gateway(token="s3cret")
    (tmp_path / "token").write_text("s3cret\n")
    url = ("--url", running.base, "--kernel", "stub")
    _, findings = doctor(*url, "--token-file", str(tmp_path / "token"))
    assert failed(findings) == set() and "port" not in findings
    assert text(findings, "websocket").startswith("ok: ")
    assert running.get("/api/kernels").json() == []
    _, findings = doctor(*url)
    assert failed(findings) == {"gateway"} and "token" in text(findings, "gateway")
    _, findings = doctor("--url", f"http://127.0.0.1:{free_port()}/")
    assert failed(findings) == {"gateway"} and "is the gateway running" in text(findings, "gateway")


def test_gateway_below_a_base_url(doctor, start_gateway):
    running = start_gateway("--base-url", "/below/", ready=False)
    wait_until(lambda: "listens on" in running.log(), what="the gateway")
    _, findings = doctor("--url", running.base + "/below", "--kernel", "stub")
    assert text(findings, "websocket").startswith("ok: ")


def test_own_gateway_minds_none_of_the_settings_about_who_may_come(doctor, tmp_path):
    environment = {"EG_AUTH_TOKEN": "theirs", "ELARA_URL": "http://192.0.2.1/", "ELARA_TOKEN_FILE": "/none", "http_proxy": "http://192.0.2.1/",
                   "EG_MAX_KERNELS": "0", "EG_BASE_URL": "/x/"}
    _, findings = doctor("--kernel", "stub", "--ip", "0.0.0.0", environment=environment)
    assert failed(findings) == set()


def test_settings_that_no_gateway_takes(doctor, tmp_path):
    status, findings = doctor("--port", "many")
    assert status == 1 and list(findings) == ["settings"] and "--port" in text(findings, "settings")
    _, findings = doctor("--config", "/none.yaml")
    assert "/none.yaml" in text(findings, "settings")


def test_limits_too_low(doctor):
    _, findings = doctor("--kernel", "stub", prefix=("prlimit", "--nofile=200:200"))
    assert text(findings, "descriptors").startswith("fail: 200") and "LimitNOFILE" in text(findings, "descriptors")
    _, findings = doctor("--kernel", "stub", prefix=("prlimit", "--nofile=1000:1000", "--fsize=100000000:100000000"))
    assert text(findings, "descriptors").startswith("warn: 1000") and text(findings, "file-size").startswith("fail: ")


def test_clock_behind_the_program(doctor, build, tmp_path):
    """A copy of the program that claims to have been made in the future."""
    folder = tmp_path / "programs"
    folder.mkdir()
    shutil.copy(build / "elara", folder)
    for name in ("elara-gateway", "elara-launcher"):
        (folder / name).symlink_to(build / name)
    os.utime(folder / "elara", (4e9, 4e9))
    _, findings = doctor("--kernel", "stub", program=folder / "elara")
    assert failed(findings) == {"clock"} and "NTP" in text(findings, "clock")


def test_gateway_that_cannot_run_leaves_its_last_words(doctor, build, tmp_path):
    folder = tmp_path / "programs"
    folder.mkdir()
    shutil.copy(build / "elara", folder)
    (folder / "elara-launcher").symlink_to(build / "elara-launcher")
    gateway = folder / "elara-gateway"
    gateway.write_text("#!/bin/sh\necho 'no library today'\nexit 1\n")
    gateway.chmod(0o755)
    _, findings = doctor(program=folder / "elara")
    assert failed(findings) == {"gateway"} and "no library today" in text(findings, "gateway")
    gateway.unlink()
    _, findings = doctor(program=folder / "elara")
    assert "No such file" in text(findings, "gateway")


def test_pods_need_nothing_of_this_machine_but_their_template(doctor, specs, build):
    """No gateway is started either: it would be a replica, and its end that of everybody's kernels."""
    specs.add("elsewhere", ["/only/in/the/image", "{connection_file}"], metadata={"process_proxy": {"class_name": "a.KubernetesProcessProxy"}})
    wrong = specs.stub("wrong")
    (wrong / "pod.yaml").write_text("spec: {containers: [{image: 5}]}\n")
    flags = ("--provisioner", "kubernetes", "--kubernetes-launcher-image", "r/elara:1")
    _, findings = doctor(*flags, "--launcher", "/no/launcher")
    assert failed(findings) == {"credentials"} and not {"kernel", "websocket", "runtime-dir"} & set(findings)
    assert "runs in no pod" in text(findings, "credentials") and "--kubeconfig" in text(findings, "credentials")
    assert "comes with r/elara:1" in text(findings, "launcher") and "--url" in text(findings, "gateway")
    [finding] = findings["kernelspec"]
    assert finding["text"] == f"{wrong}/pod.yaml: spec.containers[0].image: must be a text (put it in quotes)"
    _, findings = doctor("--provisioner", "kubernetes")
    assert failed(findings) == {"launcher", "credentials"} and "--kubernetes-launcher-image" in text(findings, "launcher")
    _, findings = doctor("--kernel", "stub")
    assert "local processes only" in text(findings, "kernelspec") and "pod.yaml" not in text(findings, "kernelspec")
