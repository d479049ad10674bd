"""The container images of the tests: root file systems of Debian's packages, packed with tools/pack-image.

Names are in localhost/elara-test/, which no registry serves: a pod that asks for one that is not here gets ErrImagePull.
"""
import inspect
import io
import json
import platform
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

from testcluster import parts
from testcluster.cache import cached

ROOT = Path(__file__).resolve().parents[3]
PACKER = ROOT / "tools" / "pack-image"
KERNEL_IMAGE = ROOT / "tools" / "make-kernel-image"
MUSL_WHEEL = "pyzmq==26.2.0"  # newer ones are linked in a way (DT_RELR) that Debian's musl 1.2.3 cannot load
MUSL_KERNEL = parts.HERE / "programs" / "musl_kernel.c"
MACHINE = platform.machine()
PAUSE = "localhost/elara-test/pause:1"
BUSYBOX = "localhost/elara-test/busybox:1"  # Debian's static busybox alone
MUSL = "localhost/elara-test/musl:1"  # busybox, musl and /usr/bin/musl_kernel: nothing of glibc
IPYKERNEL = "localhost/elara-test/ipykernel:1"  # what `make image-kernels` makes
KERNEL_PY = "localhost/elara-test/kernel-py:dev"  # the same, laid out as Jupyter Enterprise Gateway's kernel images are


def pack(root, tag, output, *options):
    subprocess.run([PACKER, root, output, "--tag", tag, *options], check=True)


def add_file(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def pack_upon(below, root, tag, output, *options):
    """An image whose files lie upon those of the image in the archive `below`."""
    part = output.with_name("upper.tar")
    pack(root, tag, part, *options)
    with tarfile.open(below) as lower, tarfile.open(part) as upper, tarfile.open(output, "w") as made:
        manifests, configs = [], []
        for archive in (lower, upper):
            manifests += json.load(archive.extractfile("manifest.json"))
            configs.append(json.load(archive.extractfile(manifests[-1]["Config"])))
        configs[1]["rootfs"]["diff_ids"] = [one for config in configs for one in config["rootfs"]["diff_ids"]]
        configs[1]["history"] = [one for config in configs for one in config["history"]]
        layers = [name for manifest in manifests for name in manifest["Layers"]]
        add_file(made, "manifest.json", json.dumps([manifests[1] | {"Layers": layers}]).encode())
        add_file(made, manifests[1]["Config"], json.dumps(configs[1]).encode())
        for archive, manifest in zip((lower, upper), manifests):
            for name in manifest["Layers"]:
                made.addfile(archive.getmember(name), archive.extractfile(name))
    part.unlink()


def make_pause(place):
    root = place / "root"
    root.mkdir()
    shutil.copy2(parts.c_program("pause", ("-static",)), root / "pause")
    pack(root, PAUSE, place / "image.tar", "--entrypoint", "/pause", "--user", "65535:65535")
    shutil.rmtree(root)


def busybox_root(root):
    """/bin/busybox with a link for each of its applets, and what a program expects of a root file system."""
    for name in ("bin", "dev", "etc", "home", "lib", "proc", "root", "sys", "tmp", "usr/lib", "var"):
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


def musl_libraries(place):
    """libzmq and libsodium, built against musl: PyZMQ's wheel for Alpine brings them."""
    venv = subprocess.run([ROOT / "tests" / "venv"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    subprocess.run([f"{venv}/bin/python", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", place,
                    "--only-binary=:all:", f"--platform=musllinux_1_1_{MACHINE}", "--python-version=311", "--implementation=cp",
                    "--abi=cp311", MUSL_WHEEL], check=True)
    with zipfile.ZipFile(next(place.glob("*.whl"))) as wheel:
        wheel.extractall(place)
    return sorted(place.glob("*.libs/*.so*"))


def make_musl(place):
    """An Alpine-like root file system: musl's loader and libc are at Alpine's places, everything else is busybox."""
    root, work = place / "root", place / "work"
    work.mkdir()
    busybox_root(root)
    libraries = musl_libraries(work)
    headers = work / "include"  # musl's compiler must not see the rest of the machine's
    headers.mkdir()
    shutil.copy("/usr/include/zmq.h", headers)
    shutil.copy("/usr/include/sodium.h", headers)
    shutil.copytree("/usr/include/sodium", headers / "sodium")
    linked = [path for path in libraries if path.name.startswith(("libzmq", "libsodium"))]
    subprocess.run(["musl-gcc", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-Werror", "-I", headers, "-o", root / "bin" / "musl_kernel",
                    MUSL_KERNEL, *linked, "-Wl,--allow-shlib-undefined"], check=True)
    for library in libraries:
        shutil.copy(library, root / "usr" / "lib" / library.name)
    loader = f"ld-musl-{MACHINE}.so.1"
    shutil.copy(Path("/lib") / loader, root / "lib" / loader)
    (root / "lib" / f"libc.musl-{MACHINE}.so.1").symlink_to(loader)
    pack(root, MUSL, place / "image.tar", "--cmd", "/bin/sh", "--owner", "0")
    shutil.rmtree(root)
    shutil.rmtree(work)


def make_ipykernel(place):
    subprocess.run([KERNEL_IMAGE, place / "image.tar", "--tag", IPYKERNEL], check=True)


# Nothing here runs it: it says so where somebody does.
BOOTSTRAP = "#!/bin/sh\necho \"the bootstrap script of the image was run for $KERNEL_ID\" >&2\nexit 70\n"
LAUNCHERS = "usr/local/bin/kernel-launchers"


def make_kernel_py(place):
    """A bootstrap script, and launchers by language, where that gateway's images have them."""
    root = place / "root"
    launcher = root / LAUNCHERS / "python" / "scripts" / "launch_ipykernel.py"
    launcher.parent.mkdir(parents=True)
    launcher.write_text("raise SystemExit('the launcher of the image was run')\n")
    bootstrap = root / "usr" / "local" / "bin" / "bootstrap-kernel.sh"
    bootstrap.write_text(BOOTSTRAP)
    bootstrap.chmod(0o755)
    pack_upon(image_of_ipykernel(), root, KERNEL_PY, place / "image.tar", "--cmd", "/usr/local/bin/bootstrap-kernel.sh",
              "--env", "PATH=/usr/local/bin:/usr/bin:/bin", "--env", "KERNEL_LANGUAGE=python")
    shutil.rmtree(root)


def image(name, make, *more):
    """The archive of an image that is made again when the function that makes it changes, or more of what it reads."""
    return cached(f"image-{name}", [PACKER, inspect.getsource(make), *more], make) / "image.tar"


def image_of_ipykernel():
    return image("ipykernel", make_ipykernel, KERNEL_IMAGE)


def archives():
    """{name:tag: docker-archive}; those that are not in the cache are made."""
    return {
        PAUSE: image("pause", make_pause, parts.HERE / "programs" / "pause.c"),
        BUSYBOX: image("busybox", make_busybox, inspect.getsource(busybox_root), Path("/bin/busybox")),
        MUSL: image("musl", make_musl, inspect.getsource(busybox_root), inspect.getsource(musl_libraries), MUSL_WHEEL, MUSL_KERNEL),
        IPYKERNEL: image_of_ipykernel(),
        KERNEL_PY: image("kernel-py", make_kernel_py, inspect.getsource(pack_upon), BOOTSTRAP, str(image_of_ipykernel())),
    }
