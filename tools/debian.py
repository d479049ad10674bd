"""What Debian's package manager knows of files on this machine."""
import subprocess
import sys
from pathlib import Path

FIELDS = ("binary:Package", "Package", "Version", "Architecture", "source:Package", "source:Version", "Homepage")


def names_of(path):
    """A file's names in dpkg's lists, where /usr may have come later than the package: /lib/x is in them, or /usr/lib/x."""
    for name in (path, path.resolve()):
        yield str(name)
        yield str(name).removeprefix("/usr")


def owners(paths):
    """{path: name of the package that brought it}; ends the program when one has none."""
    names = sorted({name for path in paths for name in names_of(path)})
    try:
        listed = subprocess.run(["dpkg-query", "--search", *names], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except FileNotFoundError:
        sys.exit("dpkg-query is not here: the image's libraries are Debian's. manifests/image/Containerfile makes the same "
                 "image with a container engine.")
    found = {}
    for line in listed.stdout.splitlines():
        package, _, name = line.partition(": ")
        if not package.startswith("diversion by "):
            found[name] = package.split(",")[0]
    owned = {path: next((found[name] for name in names_of(path) if name in found), None) for path in paths}
    strangers = sorted(str(path) for path, package in owned.items() if package is None)
    if strangers:
        sys.exit(f"These files come from no Debian package, so nobody could say what is in the image: {', '.join(strangers)}")
    return owned


def packages(names):
    """{name: {field of FIELDS: value}}."""
    form = "\t".join("${%s}" % field for field in FIELDS) + "\n"
    listed = subprocess.run(["dpkg-query", "--show", f"--showformat={form}", *sorted(names)], check=True, stdout=subprocess.PIPE, text=True)
    rows = [dict(zip(FIELDS, line.split("\t"))) for line in listed.stdout.splitlines()]
    wanted = set(names)
    return {name: row for row in rows for name in (row["binary:Package"], row["Package"]) if name in wanted}


def copyright_file(package):
    return Path("/usr/share/doc") / package.partition(":")[0] / "copyright"
