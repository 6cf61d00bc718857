"""What strangers' files say cannot steer the terminal it is shown on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from armkvm.cli.main import run
from armkvm.cli.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

DIRECTION = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@given(st.text())
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    """No control character but tabs and line ends, and nothing that turns the direction of writing."""
    shown = printable(text)
    assert not [char for char in shown if char not in "\t\n" and (ord(char) < 32 or 0x7F <= ord(char) < 0xA0)]
    assert not set(shown) & set(DIRECTION)


@pytest.mark.parametrize("text", ["", "plain", "a\tb\nc", "größe 大", "ID_AA64PFR0_EL1 0x11"])
def test_ordinary_text_is_left_alone(text: str) -> None:
    """Letters of any language, tabs and line ends."""
    assert printable(text) == text


def test_a_file_name_with_an_escape_sequence_is_spelled_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the way to stderr, where errors name files."""
    (tmp_path / "\x1b[31mred.json").write_text("{}")
    assert run(["pools", str(tmp_path)]) == 3
    told = capsys.readouterr().err
    assert r"\x1b[31mred.json" in told
    assert "\x1b" not in told
