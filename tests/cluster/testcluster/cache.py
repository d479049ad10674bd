"""What takes long to make is made once for each content of what it is made from, and kept outside the tree."""
import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import time
from pathlib import Path


def cache_directory():
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "elara"


@contextlib.contextmanager
def locked(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def key_of(inputs):
    digest = hashlib.sha256()
    for part in inputs:
        content = part.read_bytes() if isinstance(part, Path) else str(part).encode()
        digest.update(b"%d:" % len(content) + content)
    return digest.hexdigest()[:16]


def say(text):
    print(text, file=sys.stderr, flush=True)


def cached(name, inputs, make):
    """The directory that make(directory) filled when it was last called with these inputs (files and texts).

    Several may ask at the same time: one makes it, the others wait.
    """
    place = cache_directory() / f"cluster-{name}-{key_of(inputs)}"
    with locked(place.with_name(place.name + ".lock")):
        if not (place / "complete").exists():
            say(f"Making {name} in {place}")
            started = time.monotonic()
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            make(place)
            (place / "complete").touch()
            say(f"Made {name} in {time.monotonic() - started:.0f} s")
    return place
