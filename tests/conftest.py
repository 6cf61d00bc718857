"""Settings and fixtures of every test."""

from __future__ import annotations

import json
import os
import signal
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

# A job in the background of a shell ignores it, and so would every program that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

ASKED_FOR = {
    "lab": "boots Linux under QEMU",
    "long": "takes minutes",
}
"""Markers whose tests run only when they are named, and why."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    unasked = {name: why for name, why in ASKED_FOR.items() if name not in config.option.markexpr}
    for item in items:
        if item.get_closest_marker("shared") and not SHARED_DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason=ABSENT))
        for name, why in unasked.items():
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=f"{why}; ask for it with -m {name}"))


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
