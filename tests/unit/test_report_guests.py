"""What a guest printed is shown, as far as a person reads it."""

from __future__ import annotations

from armkvm.migration.board import End, Ending, Outcome
from armkvm.report.guests import _printed


def printed(data: bytes) -> list[str]:
    return _printed(Outcome(data, (), (), Ending(End.SYSTEM, "ended"), ""))


def test_control_characters_are_spelled_out() -> None:
    assert printed(b"one\n\x1b[2Jtwo\0") == ["  | one", r"  | \x1b[2Jtwo\x00"]


def test_long_output_is_cut_and_says_so() -> None:
    assert printed(b"x" * 1000) == ["  | " + "x" * 400 + " ... 600 characters more"]
    assert printed(b"x\n" * 25) == ["  | x"] * 20 + ["  ... 5 lines more"]
