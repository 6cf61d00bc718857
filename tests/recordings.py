"""Where recordings are, for tests that hold the model against what real kernels answered.

All of them lie beside the repository in ``shared/data`` (ARMKVM_SHARED names another place), which
is not part of it; a dozen are, in ``tests/golden``. A test gets the former where they are there and
the latter otherwise; what needs more than the dozen is skipped without the rest.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

REPOSITORY = Path(__file__).resolve().parent.parent
GOLDEN = REPOSITORY / "tests" / "golden"
SHARED_DATA = Path(os.environ.get("ARMKVM_SHARED") or REPOSITORY.parent / "shared") / "data"
ABSENT = (
    f"needs the shared recordings, and {SHARED_DATA} is no folder; "
    "put `shared` beside the repository or set ARMKVM_SHARED to it"
)


def shared_recordings(pattern: str) -> list[ParameterSet]:
    """The same for tests that need more of ``shared/data`` than the recording itself."""
    if SHARED_DATA.is_dir():
        return recordings(pattern)
    return [pytest.param(SHARED_DATA / pattern, marks=pytest.mark.shared, id="absent")]


def recordings(pattern: str) -> list[ParameterSet]:
    """One parameter for each recording that matches, e.g. ``captures/*/*.json``, named after it.

    Where none is at hand there is one parameter, and it is skipped.
    """
    root = SHARED_DATA if SHARED_DATA.is_dir() else GOLDEN
    found = sorted(root.glob(pattern))
    if found:
        return [pytest.param(path, id=str(path.relative_to(root).with_suffix(""))) for path in found]
    if root == SHARED_DATA:
        raise FileNotFoundError(f"no recording matches {SHARED_DATA / pattern}")
    return [pytest.param(SHARED_DATA / pattern, marks=pytest.mark.shared, id="absent")]
