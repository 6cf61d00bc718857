"""Any bytes as code, any registers, any page tables: a run ends within its budget, in a documented stop."""

from __future__ import annotations

import pytest
from tests.unit.cpu.hostile import run_share


@pytest.mark.parametrize("share", range(4))
def test_hostile_guests_stay_within_their_budget(share: int) -> None:
    assert sum(run_share(1000 * share, 30).values()) == 30
