"""The short form of `make soak`: clients of all kinds, idle ones and slow ones, leave no memory and no descriptor behind."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "soak"))

from soak import soak  # noqa: E402

from test_valgrind import is_sanitized  # noqa: E402


def test_nothing_is_left_behind(start_gateway, build):
    """Longer with sanitizers, which look for what is lost when the gateway ends."""
    looks_itself = is_sanitized(build / "elara-gateway")  # and keeps what was freed for a while
    seconds = 20 if looks_itself else 5
    gateway = start_gateway("--log-level", "WARNING", "--header-timeout", "2s")
    found, problems = soak(gateway, seconds, seed=8, slow=300, idle=100, may_grow=looks_itself)
    print(found)
    assert problems == []
    assert found["slow requests cut off"] >= 300 and sum(found["visits"].values()) > seconds
