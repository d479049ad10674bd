"""tools/run, which is `make run` without installing and building: what it says to type next is typed."""
import os
import re
import shlex
import shutil
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.notebook_server import Server
from support.processes import Gateway, wait_until

TOOLS = Path(__file__).resolve().parents[2] / "tools"
TOKEN = "correct-horse-battery-staple"


@pytest.fixture
def tree(tmp_path, build):
    """A tree with the tools, and the programs to test where they look for them."""
    shutil.copytree(TOOLS, tmp_path / "tree" / "tools")
    programs = tmp_path / "tree" / "build"
    programs.mkdir()
    for name in ("elara-gateway", "elara-launcher"):
        (programs / name).symlink_to(build / name)
    return tmp_path / "tree"


@pytest.fixture
def certificate(tmp_path):
    """The flags for one of 127.0.0.1, and its file."""
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=elara", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", files[1], "-out", files[0]],
                   check=True, capture_output=True, timeout=30)
    return ["--certfile", str(files[0]), "--keyfile", str(files[1])], str(files[0])


@pytest.fixture
def run(tree, build, specs):
    """run(*flags, environment={...}) gives what is to be typed: the variables' words, then the command's."""
    class Run(Gateway):
        def command(self):
            return [tree / "tools" / "run", "--runtime-dir", str(self.runtime), "--kernelspec-dirs", str(self.specs), *self.arguments]

    started = []

    def start(*flags, environment=None):
        gateway = Run(build, specs, *flags, environment=environment)
        started.append(gateway)
        gateway.start(wait=False)

        def said():
            assert gateway.process.poll() is None, gateway.log()
            return re.search(r"to use it: (.*)\n", gateway.log())

        line = wait_until(said, 20, "what to type next")[1]
        *variables, program, what = shlex.split(re.sub(r"<[^>]*>", lambda hole: shlex.quote(hole[0]), line))
        assert (program, what) == ("jupyter", "lab")
        assert TOKEN not in gateway.log()
        return dict(variable.split("=", 1) for variable in variables)

    yield start
    for gateway in started:
        gateway.__exit__(None)


def check(variables, folder):
    """A notebook server with these variables, and no other of the gateway's, starts and ends a kernel there."""
    server = Server(SimpleNamespace(base=""), folder, **variables)
    try:
        started = server.request("POST", "/api/kernels", json={"name": "stub"})
        assert started.status_code == 201, started.text + server.log_path.read_text()[-3000:]
        assert server.request("DELETE", f"/api/kernels/{started.json()['id']}").status_code == 204
    finally:
        server.stop()


def test_free_port_below_a_base_url(run, tmp_path):
    variables = run("--port", "0", "--base-url", "/" + "deep/" * 60)
    assert list(variables) == ["JUPYTER_GATEWAY_URL"]
    check(variables, tmp_path)


def test_next_port_and_a_token(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        variables = run("--port", str(port), "--port-retries", "20", environment={"ELARA_AUTH_TOKEN": TOKEN})
        assert variables.pop("JUPYTER_GATEWAY_AUTH_TOKEN") == "<token>"
        assert list(variables) == ["JUPYTER_GATEWAY_URL"] and f":{port}" not in variables["JUPYTER_GATEWAY_URL"]
        check({**variables, "JUPYTER_GATEWAY_AUTH_TOKEN": TOKEN}, tmp_path)


def test_https(run, certificate, tmp_path):
    flags, file = certificate
    variables = run("--port", "0", *flags)
    assert variables["SSL_CERT_FILE"] == "<file of its CA>" and len(variables) == 2
    check({**variables, "SSL_CERT_FILE": file}, tmp_path)


def test_demo_takes_the_same_variables(run, certificate, tree):
    """JupyterLab is not installed for this: another program stands in its place and says what it was given."""
    flags, file = certificate
    variables = run("--port", "0", *flags, environment={"ELARA_AUTH_TOKEN": TOKEN})
    variables |= {"SSL_CERT_FILE": file, "JUPYTER_GATEWAY_AUTH_TOKEN": TOKEN}
    program = tree / "build" / "demo" / "bin" / "jupyter"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nenv\n")
    program.chmod(0o755)
    (tree / "build" / "demo" / "complete").touch()
    demo = subprocess.run([tree / "tools" / "demo"], env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True,
                          timeout=60)
    assert demo.returncode == 0, demo.stderr
    assert {f"{name}={value}" for name, value in variables.items()} <= set(demo.stdout.splitlines())
    assert "starting one" not in demo.stdout
