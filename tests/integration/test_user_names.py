"""Users' names as directories', beside the library that JupyterHub's spawner for Kubernetes writes them with."""
import random
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
SEED = 7
ORACLE = """
import string, sys, escapism
for name in sys.stdin.buffer.read().decode().split("\\0")[:-1]:
    print(escapism.safe_slug(name) if sys.argv[1] == "safe-slug" else
          escapism.escape(name, safe=set(string.ascii_lowercase + string.digits), escape_char="-").lower())
"""


def some_names():
    names = ["alice", "a-b", "a--b", "Ann.Lee@example.org", "7up", "-", "---", "x" * 63, "x" * 64, "a b  c", "..", "\u0130stanbul", "\u212a", "x\u0130y",
             "a" * 20 + "-b", "a" * 21 + "-b", "a" * 20 + "\u0130", "1" + "2" * 40, "1" * 18 + "-" + "a" * 9, "\u00e9", "\U0001f600", "a\t", "a\n",
             "domain\\user", "UPPER", "trailing-", "\u4e2d\u6587"]
    letters = "abcxyz0189-_.@ABZ /\\\u00e9\u0130\u212a\u4e2d\U0001f600\t\x7f"
    chosen = random.Random(SEED)
    return names + ["".join(chosen.choices(letters, k=chosen.randint(1, 40))) for _ in range(600)]


@pytest.mark.parametrize("scheme", ["hub", "safe-slug"])
def test_names_are_those_of_the_hub(scheme, build):
    python = Path(subprocess.check_output([TESTS / "venv", TESTS / "requirements-escapism.txt"], text=True).strip()) / "bin/python"
    given = "".join(f"{name}\0" for name in some_names()).encode()
    expected = subprocess.run([python, "-c", ORACLE, scheme], input=given, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    told = subprocess.run([build / "tests" / "user_names", scheme], input=given, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    for name, ours, theirs in zip(some_names(), told, expected, strict=True):
        if len(theirs) <= 255:
            assert ours == theirs, repr(name)
    assert len(set(told) - {"-"}) == len({name for name, ours in zip(some_names(), told) if ours != "-"})
