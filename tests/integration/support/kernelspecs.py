"""Kernelspecs for the tests."""
import base64
import json
import os
import sys
from pathlib import Path

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def write_spec(directory, name, argv, display_name=None, language="stub", logo=True, **more):
    """directory/name/kernel.json, replaced atomically as editors and package managers do it."""
    folder = Path(directory) / name
    folder.mkdir(parents=True, exist_ok=True)
    spec = {"argv": argv, "display_name": display_name or name, "language": language, **more}
    part = folder / "kernel.json.part"
    part.write_text(json.dumps(spec, indent=1))
    os.replace(part, folder / "kernel.json")
    if logo:
        (folder / "logo-64x64.png").write_bytes(PIXEL)
    return folder


class Specs:
    """A directory of kernelspecs; str() is its path."""

    def __init__(self, directory, build):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.stub_program = str(Path(build) / "tests" / "stub_kernel")

    def __str__(self):
        return str(self.directory)

    def stub(self, name="stub", *options, **more):
        """A spec of the stub kernel with options."""
        return write_spec(self.directory, name, [self.stub_program, "-f", "{connection_file}", *options],
                          more.pop("display_name", "Stub"), **more)

    def python(self, name="python3", interpreter=sys.executable, **more):
        """ipykernel of this (or another) environment."""
        return write_spec(self.directory, name, [interpreter, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                          more.pop("display_name", "Python 3"), "python", **more)

    def add(self, name, argv, **more):
        return write_spec(self.directory, name, argv, **more)
