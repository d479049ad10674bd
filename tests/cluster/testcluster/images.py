"""The container images of the tests: root file systems of Debian's packages, packed with tools/pack-image.

Names are in localhost/elara-test/, which no registry serves: a pod that asks for one that is not here gets ErrImagePull.
"""
import inspect
import shutil
import subprocess
from pathlib import Path

from testcluster import parts
from testcluster.cache import cached

ROOT = Path(__file__).resolve().parents[3]
PACKER = ROOT / "tools" / "pack-image"
PAUSE = "localhost/elara-test/pause:1"
BUSYBOX = "localhost/elara-test/busybox:1"  # Debian's static busybox alone
IPYKERNEL = "localhost/elara-test/ipykernel:1"  # Debian 12 with python3-ipykernel
RELEASE = "bookworm"
# debootstrap does not look for what provides a virtual package: python3-zmq and gdb need the others.
PACKAGES = "python3-ipykernel,python3-cffi-backend,libboost-regex1.74.0"
NOT_NEEDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/fonts", "var/cache/apt",
              "var/lib/apt/lists", "var/log")


def pack(root, tag, output, *options):
    subprocess.run([PACKER, root, output, "--tag", tag, *options], check=True)


def make_pause(place):
    root = place / "root"
    root.mkdir()
    shutil.copy2(parts.c_program("pause", ("-static",)), root / "pause")
    pack(root, PAUSE, place / "image.tar", "--entrypoint", "/pause", "--user", "65535:65535")
    shutil.rmtree(root)


def busybox_root(root):
    """/bin/busybox with a link for each of its applets, and what a program expects of a root file system."""
    for name in ("bin", "dev", "etc", "home", "lib", "proc", "root", "sys", "tmp", "usr", "var"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "usr" / "bin").symlink_to("../bin")
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    (root / "etc" / "group").write_text("root:x:0:\nnogroup:x:65534:\n")
    shutil.copy2("/bin/busybox", root / "bin" / "busybox")
    applets = subprocess.run(["/bin/busybox", "--list"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")


def make_busybox(place):
    root = place / "root"
    busybox_root(root)
    pack(root, BUSYBOX, place / "image.tar", "--cmd", "/bin/sh", "--owner", "0")
    shutil.rmtree(root)


def make_ipykernel(place):
    root = place / "root"
    log = place / "debootstrap.log"
    with open(log, "w") as output:
        done = subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, root],
                              stdout=output, stderr=output)
    if done.returncode != 0:
        raise RuntimeError(f"debootstrap failed:\n{log.read_text(errors='replace')[-2000:]}")
    for name in NOT_NEEDED:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    pack(root, IPYKERNEL, place / "image.tar", "--cmd", "/usr/bin/python3", "--env", "PATH=/usr/local/bin:/usr/bin:/bin")
    shutil.rmtree(root)


def image(name, make, *more):
    """The archive of an image that is made again when the function that makes it changes, or more of what it reads."""
    return cached(f"image-{name}", [PACKER, inspect.getsource(make), *more], make) / "image.tar"


def archives():
    """{name:tag: docker-archive}; those that are not in the cache are made."""
    return {
        PAUSE: image("pause", make_pause, parts.HERE / "programs" / "pause.c"),
        BUSYBOX: image("busybox", make_busybox, inspect.getsource(busybox_root), Path("/bin/busybox")),
        IPYKERNEL: image("ipykernel", make_ipykernel, RELEASE, PACKAGES, NOT_NEEDED),
    }
