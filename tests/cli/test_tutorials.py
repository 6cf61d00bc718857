"""What the tutorials show is what happens; parts about public fingerprints need those."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.cli import transcript
from tests.recordings import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

TUTORIALS = sorted((REPOSITORY / "docs").glob("tutorial-*.md"))
SHOWN = re.compile(r"^```\n(\$ .*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    pytest.param(text, id=f"{path.stem}: {text.splitlines()[0]}")
    for path in TUTORIALS
    for text in SHOWN.findall(path.read_text())
]


@pytest.mark.parametrize("text", BLOCKS)
def test_what_it_shows_is_what_happens(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    there = transcript.furnish(tmp_path)
    if ".json" in text.splitlines()[0] and not there:
        pytest.skip("needs the public fingerprints, which are not part of the repository")
    assert transcript.repeat(text) == text


def test_a_part_can_be_followed_without_files() -> None:
    free = [text for text in SHOWN.findall(TUTORIALS[0].read_text()) if ".json" not in text.splitlines()[0]]
    assert len(free) >= 4
