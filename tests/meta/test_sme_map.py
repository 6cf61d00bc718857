"""docs/sme.md names a test, or a reason, for every row of the facts; the tests are there."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from tests.recordings import REPOSITORY, SHARED_DATA

from armkvm.model import vector_behaviours
from armkvm.model.behaviour import BEHAVIOURS
from armkvm.model.profile import PROFILES

DOCUMENT = (REPOSITORY / "docs" / "sme.md").read_text()
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROW = re.compile(r"^\| ([\w.]+-\w+) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)
SHORT = re.compile(r"^(TABLE|ACCESS|REPLAY) = ", re.MULTILINE)
ROWS = [(match[1], match[3].strip()) for match in ROW.finditer(DOCUMENT)]
FACTS = SHARED_DATA.parent / "facts"


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((REPOSITORY / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED.findall(DOCUMENT))))
def test_every_named_test_exists(path: str, name: str) -> None:
    assert name in functions_of(path)


@pytest.mark.parametrize(("row", "says"), ROWS)
def test_every_row_has_a_test_or_a_reason(row: str, says: str) -> None:
    has_test = bool(NAMED.search(says)) or any(word in says for word in SHORT.findall(DOCUMENT))
    assert has_test or says.startswith("none"), row


def test_every_observation_has_a_row() -> None:
    assert [row for row, _ in ROWS if row.startswith("seen-")] == [f"seen-{n}" for n in range(1, 35)]


@pytest.mark.shared
@pytest.mark.parametrize("section", ["1", "1.1", "2", "3.2", "3.3", "4", "5", "9"])
def test_no_row_of_the_facts_is_left_out(section: str) -> None:
    """As many numbered rows as the section's table has."""
    text = (FACTS / "sme-abi.md").read_text()
    start = re.search(rf"^#+ {re.escape(section)}\.? ", text, re.MULTILINE)
    assert start
    body = re.split(r"^#+ ", text[start.end() :], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in body.splitlines() if line.startswith("|")]
    there = len(lines) - 2  # heading and rule
    mapped = [row for row, _ in ROWS if re.fullmatch(rf"{re.escape(section)}-\d+", row)]
    assert mapped == [f"{section}-{n}" for n in range(1, there + 1)]


def _vector_behaviours() -> list[str]:
    names = {value for value in vars(vector_behaviours).values() if isinstance(value, str)}
    return sorted(names & BEHAVIOURS.keys())


@pytest.mark.parametrize("name", _vector_behaviours())
def test_every_behaviour_names_a_test_that_exists(name: str) -> None:
    """And some kernel has it."""
    path = BEHAVIOURS[name].test.split()[0]
    assert (REPOSITORY / path).is_file()
    assert any(name in profile for profile in PROFILES.values())
