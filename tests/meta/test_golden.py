"""The golden recordings in the repository are the shared ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.recordings import GOLDEN, REPOSITORY


@pytest.mark.shared
def test_golden_recordings_are_current(shared_data: Path) -> None:
    run = subprocess.run(
        [sys.executable, REPOSITORY / "tools" / "golden", "--check"],
        env=os.environ | {"ARMKVM_SHARED": str(shared_data.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "")


def test_a_dozen_recordings_of_every_kernel_are_in_the_repository() -> None:
    found = sorted(GOLDEN.glob("captures/*/*.json"))
    assert len(found) >= 12
    assert {path.parent.name for path in found} >= {"6.1", "6.12", "6.18", "7.0", "7.2", "7.3"}
