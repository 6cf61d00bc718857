"""Where the shared recordings are, for tests that hold the model against what real kernels answered.

They lie beside the repository in ``shared/data``; ARMKVM_SHARED names another place. They are not
part of the repository, so a test that wants them is skipped where they are absent.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = Path(os.environ.get("ARMKVM_SHARED") or REPOSITORY.parent / "shared") / "data"
ABSENT = (
    f"needs the shared recordings, and {SHARED_DATA} is no folder; "
    "put `shared` beside the repository or set ARMKVM_SHARED to it"
)


def recordings(pattern: str) -> list[ParameterSet]:
    """One parameter for each recording that matches, e.g. ``captures/*/*.json``, named after it.

    Where recordings are absent there is one parameter, and it is skipped.
    """
    if not SHARED_DATA.is_dir():
        return [pytest.param(SHARED_DATA / pattern, marks=pytest.mark.shared, id="absent")]
    found = sorted(SHARED_DATA.glob(pattern))
    if not found:
        raise FileNotFoundError(f"no recording matches {SHARED_DATA / pattern}")
    return [
        pytest.param(path, marks=pytest.mark.shared, id=str(path.relative_to(SHARED_DATA).with_suffix("")))
        for path in found
    ]
