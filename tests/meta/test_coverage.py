"""docs/coverage.md: every rule of the founding discussions has a test that exists, or a reason."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from tests.recordings import REPOSITORY

from armkvm.testing import conformance

DOCUMENT = (REPOSITORY / "docs" / "coverage.md").read_text()
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
SCENARIO = re.compile(r"`scenario:([\w-]+)`")
ROW = re.compile(r"^\| ([A-G]-\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
ROWS = [tuple(part.strip() for part in match.groups()) for match in ROW.finditer(DOCUMENT)]


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((REPOSITORY / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_every_line_of_a_table_is_a_row() -> None:
    """A row with a bar too many or a number out of order would silently drop out."""
    lines = re.findall(r"^\| [A-G]-\d+ ", DOCUMENT, re.MULTILINE)
    assert len(lines) == len(ROWS) > 130
    for letter in "ABCDEFG":
        numbers = [row for row, *_ in ROWS if row.startswith(f"{letter}-")]
        assert numbers == [f"{letter}-{n}" for n in range(1, len(numbers) + 1)]


@pytest.mark.parametrize(("path", "name"), sorted(set(TEST.findall(DOCUMENT))))
def test_every_named_test_exists(path: str, name: str) -> None:
    assert name in functions_of(path)


def test_every_named_scenario_exists() -> None:
    assert set(SCENARIO.findall(DOCUMENT)) <= {one.name for one in conformance.scenarios()}


@pytest.mark.parametrize(("row", "shown"), [(row, shown) for row, _, _, shown in ROWS])
def test_every_rule_is_shown_or_says_why_not(row: str, shown: str) -> None:
    assert TEST.search(shown) or SCENARIO.search(shown) or shown.startswith("none: "), row


@pytest.mark.parametrize(
    "room", sorted({room.split(" (")[0] for _, _, rooms, _ in ROWS for room in rooms.split(", ")})
)
def test_every_room_exists(room: str) -> None:
    """A module or package of armkvm; profiles and behaviours are told by name."""
    if room.startswith(("profile ", "behaviour ")):
        return
    place = REPOSITORY / "src" / "armkvm" / room
    assert place.is_dir() or place.with_suffix(".py").is_file(), room
