"""The programs that are built for the test cluster, with Go and with C."""
import functools
import os
import re
import subprocess
from pathlib import Path

from testcluster.cache import cached

HERE = Path(__file__).resolve().parents[1]
KUBERNETES = "v1.34.4"
VERSION = "k8s.io/component-base/version"
HELM = HERE / "helm"  # a module of its own: what Kubernetes is built from stays as it is
COREDNS = HERE / "coredns"  # likewise


@functools.cache
def go():
    """The path of a Go that is new enough."""
    made = subprocess.run([HERE / "go-program"], check=True, stdout=subprocess.PIPE, text=True)
    return made.stdout.strip()


def build_go(package, output, flags=(), module=HERE):
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false"}
    subprocess.run([go(), "build", *flags, "-o", output, package], cwd=module, env=environment, check=True)


def go_program(name, flags=()):
    """The path of the program whose sources are in the folder of that name."""
    sources = sorted((HERE / name).glob("*.go"))
    inputs = [HERE / "go.mod", HERE / "go.sum", *sources, *flags]
    return cached(name, inputs, lambda place: build_go(f"./{name}", place / name, flags)) / name


def kubernetes():
    """All of Kubernetes in one program: its first argument says which part."""
    minor = KUBERNETES.split(".")[1]
    linked = {"gitVersion": KUBERNETES, "gitMajor": "1", "gitMinor": minor, "gitTreeState": "clean"}
    values = " ".join(f"-X {VERSION}.{name}={value}" for name, value in linked.items())
    return go_program("kubernetes", ("-ldflags", f"-s -w {values}"))


def hollow_node():
    return go_program("hollow", ("-ldflags", "-s -w"))


def helm():
    """Knows charts for the Kubernetes that is built here."""
    (version,) = re.findall(r"helm\.sh/helm/v3 (v\S+)", (HELM / "go.mod").read_text())
    major, minor = KUBERNETES.removeprefix("v").split(".")[:2]
    linked = {"internal/version.version": version, "pkg/chartutil.k8sVersionMajor": major, "pkg/chartutil.k8sVersionMinor": minor}
    flags = ("-ldflags", " ".join(["-s -w", *(f"-X helm.sh/helm/v3/{name}={value}" for name, value in linked.items())]))
    inputs = [HELM / "go.mod", HELM / "go.sum", *flags]
    return cached("helm", inputs, lambda place: build_go("helm.sh/helm/v3/cmd/helm", place / "helm", flags, HELM)) / "helm"


def coredns():
    inputs = [COREDNS / name for name in ("go.mod", "go.sum", "main.go")]
    return cached("coredns", inputs, lambda place: build_go(".", place / "coredns", ("-ldflags", "-s -w"), COREDNS)) / "coredns"


def compile_c(source, output, flags, packages):
    found = []
    if packages:
        asked = subprocess.run(["pkg-config", "--cflags", "--libs", *packages], check=True, stdout=subprocess.PIPE, text=True)
        found = asked.stdout.split()
    words = ["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-o", output, source, *flags, *found]
    subprocess.run(words, check=True)


def c_program(name, flags=(), packages=()):
    """The path of the program of one file in programs/."""
    source = HERE / "programs" / f"{name}.c"
    inputs = [source, *flags, *packages]
    return cached(name, inputs, lambda place: compile_c(source, place / name, flags, packages)) / name


def mount_helper():
    return c_program("mount_nfs", packages=("fuse3", "libnfs"))
