"""Moves between two labs go as ``armkvm check`` on their probed host files says they will.

A few pairs, chosen so that something moves and something is refused: other lengths on one kernel, two
kernels of one CPU, unlike CPUs. ``python -m tests.lab.pairs`` tries all.
"""

from __future__ import annotations

import pytest
from tests.lab.conftest import OpenLab
from tests.lab.pairs import Lab, compared

from armkvm.backends.base import System
from armkvm.backends.locate import parse

pytestmark = pytest.mark.lab

PAIRS = [
    ("lab:max?kernel=6.12", "lab:max,sve-max-vq=4?kernel=6.12"),
    ("lab:max?kernel=6.12", "lab:max,sve-max-vq=4?kernel=7.3"),
    ("lab:neoverse-n1?kernel=7.3", "lab:cortex-a76?kernel=7.3"),
    ("lab:max?kernel=6.1", "lab:max?kernel=7.3"),
]


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_move_goes_as_the_probed_files_foretell(lab: OpenLab, pair: tuple[str, str]) -> None:
    """Every refusal with its errno, every register that reads back differently, and the verdict."""

    def open_one(uri: str) -> System:
        _, cpu, options = parse(uri)
        return lab(cpu, **options)

    one, other = (Lab.probed(uri, open_one(uri)) for uri in pair)
    rows = list(compared(one, other, open_one))
    assert len(rows) >= 4
    assert [row for row in rows if row.disputed] == []
    if pair == PAIRS[0]:
        assert [row for row in rows if row.what == "move 1-4" and row.happened != "moves"] == []
