"""What the command line prints is what the transcripts say."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli import transcript

TRANSCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=[path.stem for path in TRANSCRIPTS])
def test_a_transcript_repeats_itself(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("ARMKVM_DEBUG", raising=False)
    expected = path.read_text()
    assert transcript.repeat(expected) == expected
