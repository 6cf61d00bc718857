"""Settings and fixtures of every test."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from tests.recordings import ABSENT, SHARED_DATA

if TYPE_CHECKING:
    from pathlib import Path

# `make test` and CI say the same thing twice running; a plain `pytest` looks for new examples.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked_for_lab = "lab" in config.option.markexpr
    asked_for_pairs = "every_pair" in config.option.markexpr
    asked_for_long = "long" in config.option.markexpr
    for item in items:
        if item.get_closest_marker("shared") and not SHARED_DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason=ABSENT))
        if item.get_closest_marker("lab") and not asked_for_lab:
            item.add_marker(pytest.mark.skip(reason="boots Linux under QEMU; ask for it with -m lab"))
        if item.get_closest_marker("every_pair") and not asked_for_pairs:
            item.add_marker(pytest.mark.skip(reason="takes minutes; ask for it with -m every_pair"))
        if item.get_closest_marker("long") and not asked_for_long:
            item.add_marker(pytest.mark.skip(reason="takes minutes; ask for it with -m long"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared recordings; tests that use it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(ABSENT)
    return SHARED_DATA


@pytest.fixture(scope="session")
def reg_lists(shared_data: Path) -> dict[str, Any]:
    """The kernel's register tables and blessed lists, ``reg_lists.json``."""
    tables: dict[str, Any] = json.loads((shared_data / "reg_lists.json").read_text())
    return tables
