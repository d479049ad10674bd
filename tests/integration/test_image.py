"""The container image: the same bytes each time, nothing of this machine, and a bill that says all that is in it (docs/images.md)."""
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from support.environments import python_environment
from test_valgrind import is_sanitized

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
TARGETS = ("elara-gateway", "elara-launcher", "elara", "pod-runtime", "pages")
MEGABYTES = 1000 * 1000


class Image:
    """A docker-archive of one layer. .files is {path: bytes}, .members {path: its entry}."""

    def __init__(self, archive):
        self.archive = archive
        with tarfile.open(archive) as outer:
            manifest, = json.load(outer.extractfile("manifest.json"))
            self.config = json.load(outer.extractfile(manifest["Config"]))
            with tarfile.open(fileobj=outer.extractfile(manifest["Layers"][0])) as layer:
                self.members = {"/" + member.name.strip("/"): member for member in layer}
                self.files = {path: layer.extractfile(member).read() for path, member in self.members.items() if not member.isdir()}

    @property
    def bill(self):
        return self.archive.with_suffix(".spdx.json")


def make_image(build, folder, umask=0o022):
    folder.mkdir()
    archive = folder / "elara-image.tar"
    subprocess.run([TOOLS / "make-image", build, archive], check=True, cwd=folder, umask=umask, env=os.environ | {"TMPDIR": str(folder)})
    return Image(archive)


@pytest.fixture(scope="module")
def image(build, tmp_path_factory):
    return make_image(build, tmp_path_factory.mktemp("image") / "made")


def test_the_same_build_gives_the_same_bytes(build, image, tmp_path):
    """Made later, below another directory, by somebody whose files nobody else may read."""
    again = make_image(build, tmp_path / "again", umask=0o077)
    assert again.archive.read_bytes() == image.archive.read_bytes()
    assert again.bill.read_bytes() == image.bill.read_bytes()


def test_it_is_small_and_for_no_user_of_the_machine(image):
    assert len(gzip.compress(image.archive.read_bytes(), 1)) < 40 * MEGABYTES
    assert image.config["config"]["User"] == "65532:65532"
    for path, member in image.members.items():
        owner = 65532 if path == "/run/elara" else 0
        assert (member.uid, member.gid, member.mtime) == (owner, owner, 0), path
        mode = {"/run/elara": 0o700, "/tmp": 0o1777}.get(path)
        assert member.mode == mode if mode else member.mode in (0o755, 0o644), path
    assert {Path(path).name for path in image.files if "/bin/" in path} == {"elara", "elara-gateway", "elara-launcher"}


def test_nothing_in_it_is_of_this_machine(image, build):
    if "ELARA_SANITIZE:BOOL=ON" not in (build / "CMakeCache.txt").read_text():  # those say where the sources are
        for path, content in image.files.items():
            assert str(ROOT).encode() not in content, path
    authorities = (path.read_bytes() for path in sorted(Path("/usr/share/ca-certificates/mozilla").glob("*.crt")))
    assert image.files["/etc/ssl/certs/ca-certificates.crt"] == b"".join(authorities)


def test_the_bill_is_valid_spdx(image):
    judge = Path(python_environment("requirements-spdx.txt")).parent / "pyspdxtools"
    judged = subprocess.run([judge, "--infile", image.bill], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert judged.returncode == 0, judged.stdout


def test_the_bill_covers_each_file(image):
    bill = json.loads(image.bill.read_text())
    sums = {file["fileName"].removeprefix("."): {one["algorithm"]: one["checksumValue"] for one in file["checksums"]} for file in bill["files"]}
    assert sums == {path: {"SHA1": hashlib.sha1(content).hexdigest(), "SHA256": hashlib.sha256(content).hexdigest()}
                    for path, content in image.files.items()}
    contained = [one["relatedSpdxElement"] for one in bill["relationships"] if one["relationshipType"] == "CONTAINS"]
    for file in bill["files"]:
        assert contained.count(file["SPDXID"]) == 1, file["fileName"]


def test_the_bill_names_what_debian_installed(image):
    bill = json.loads(image.bill.read_text())
    packages = {package["name"]: package for package in bill["packages"]}
    files = {file["SPDXID"]: file["fileName"].removeprefix(".") for file in bill["files"]}
    ids = {package["SPDXID"]: name for name, package in packages.items()}
    owners = {files[one["relatedSpdxElement"]]: ids[one["spdxElementId"]] for one in bill["relationships"]
              if one["relationshipType"] == "CONTAINS" and one["relatedSpdxElement"] in files}
    for path, name in owners.items():
        if ".so" in path:
            listed = subprocess.run(["dpkg", "--listfiles", name], check=True, stdout=subprocess.PIPE, text=True).stdout
            assert f"/{Path(path).name}\n" in listed, path
    installed = subprocess.run(["dpkg-query", "--show", "--showformat=${Package} ${Version}\n"], check=True, stdout=subprocess.PIPE, text=True)
    versions = dict(line.split() for line in installed.stdout.splitlines())
    brought = {name: package["versionInfo"] for name, package in packages.items() if package.get("supplier") == "Organization: Debian"}
    assert brought == {name: versions[name] for name in brought}
    assert {"libc6", "libc6-dev", "libzmq5", "libcurl4", "libnfs13", "ca-certificates"} <= set(brought)
    assert packages["elara"]["licenseDeclared"] == "Apache-2.0" and packages["libjansson4"]["licenseDeclared"] == "MIT"
    assert owners["/usr/bin/elara-gateway"] == owners["/usr/lib/elara/pod/bin/elara-launcher"] == "elara"


@pytest.mark.parametrize("path, hint", [("usr/bin/stranger", "not as this machine's packages have it"),
                                        ("usr/lib/elara/pod/lib/libc.so.6", "remove pod-runtime")])
def test_what_nobody_brought_is_refused(tmp_path, path, hint):
    file = tmp_path / "root" / path
    file.parent.mkdir(parents=True)
    file.write_text("of an older package")
    archive = tmp_path / "image.tar"
    subprocess.run([TOOLS / "pack-image", tmp_path / "root", archive, "--tag", "localhost/elara:1"], check=True)
    told = subprocess.run([TOOLS / "image-sbom", archive, tmp_path / "bill"], stderr=subprocess.PIPE, text=True)
    assert told.returncode != 0 and f"/{path} of the image" in told.stderr and hint in told.stderr
    assert not (tmp_path / "bill").exists()


def copy_tree(place):
    """But for what was built here."""
    return shutil.copytree(ROOT, place, ignore=lambda folder, names: [
        name for name in names if name in (".git", "__pycache__") or folder == str(ROOT) and name.startswith("build")])


@pytest.mark.timeout(1800)
def test_another_directory_gives_the_same_bytes(build, image, tmp_path):
    if is_sanitized(build / "elara-gateway"):
        return  # no image is made of such a build
    tree = copy_tree(tmp_path / "further" / "down" / "elara")
    subprocess.run([tree / "tools" / "build", "build", *TARGETS], check=True, umask=0o077)
    again = make_image(tree / "build", tmp_path / "again")
    assert again.archive.read_bytes() == image.archive.read_bytes()
    assert again.bill.read_bytes() == image.bill.read_bytes()


@pytest.fixture
def buildah(tmp_path):
    """Buildah, with images of its own, and a Debian among them that no registry was asked for."""
    base = tmp_path / "debian.tar"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "--skip=output/mknod", "bookworm", tmp_path / "root.tar"], check=True)
    subprocess.run([TOOLS / "pack-image", tmp_path / "root.tar", base, "--tag", "localhost/debian:12-slim"], check=True)

    def run(*words):
        subprocess.run(["buildah", "--root", tmp_path / "storage", "--runroot", tmp_path / "run", "--storage-driver", "vfs", *words], check=True)

    run("pull", f"docker-archive:{base}")
    return run


def without_build_id(program, folder):
    """It is made of debug information, too, which names the sources of newer libraries by other lines."""
    (folder / "program").write_bytes(program)
    subprocess.run(["objcopy", "--remove-section=.note.gnu.build-id", folder / "program"], check=True)
    return (folder / "program").read_bytes()


@pytest.mark.image_builds
@pytest.mark.timeout(1800)
def test_the_containerfile_makes_the_same_image(image, buildah, tmp_path):
    """But for the libraries of packages of which this machine has another version."""
    tree, archive = copy_tree(tmp_path / "elara"), tmp_path / "built.tar"
    buildah("bud", "--isolation", "chroot", "--build-arg", "BASE=localhost/debian:12-slim", "--tag", "localhost/elara:built",
            "--file", tree / "manifests" / "image" / "Containerfile", tree)
    buildah("push", "localhost/elara:built", f"docker-archive:{archive}:localhost/elara:built")
    built = Image(archive)

    def entries(one):
        return {path: (member.type == tarfile.DIRTYPE, member.uid, member.gid, member.mode & 0o7777) for path, member in one.members.items()}

    assert entries(built) == entries(image)
    for name in ("User", "Env", "Entrypoint"):
        assert built.config["config"][name] == image.config["config"][name]
    programs = [path for path in image.files if Path(path).name.startswith("elara")]
    assert len(programs) == 5
    for path in programs:
        assert without_build_id(built.files[path], tmp_path) == without_build_id(image.files[path], tmp_path), path
    for path in ("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/usr/share/doc/elara/copyright"):
        assert built.files[path] == image.files[path]
