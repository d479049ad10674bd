"""Virtual environments and node modules of the tests, made once and kept (tests/venv, tests/npm-modules)."""
import subprocess
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]


def python_environment(requirements):
    """The interpreter of an environment with these requirements (a file in tests/)."""
    made = subprocess.run([TESTS / "venv", TESTS / requirements], check=True, stdout=subprocess.PIPE, text=True)
    return str(Path(made.stdout.strip()) / "bin" / "python")


def node_modules():
    """The node_modules directory that tests/package.json asks for."""
    made = subprocess.run([TESTS / "npm-modules"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(made.stdout.strip())
