"""The short form of `make chaos`: whatever breaks between a notebook and its kernel, the cell shows exactly what it would have shown."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "chaos"))

from chaos import run  # noqa: E402

ROUNDS = 32
SEED = 4  # `tests/chaos/run --seed 4 --rounds 32` is the same


@pytest.mark.timeout(900)
def test_every_cell_is_shown_exactly(build, specs):
    assert run(build, specs, ROUNDS, SEED, verbose=True) == []
