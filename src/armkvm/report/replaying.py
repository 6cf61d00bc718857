"""What a replay found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from armkvm.traces.replay import Difference


def text(differences: Sequence[Difference], sequences: int, steps: int) -> list[str]:
    """One line for each difference, and a summary."""
    verdict = _count(len(differences), "difference") if differences else "no difference"
    summary = f"{_count(sequences, 'sequence')}, {_count(steps, 'step')}: {verdict}"
    return [*map(str, differences), summary]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def tree(differences: Sequence[Difference], sequences: int, steps: int) -> dict[str, Any]:
    """The same as data."""
    return {
        "sequences": sequences,
        "steps": steps,
        "differences": [
            {
                "sequence": each.sequence,
                "step": each.step,
                "call": each.call,
                "what": each.what,
                "recorded": each.recorded,
                "here": each.here,
                "because": each.because,
            }
            for each in differences
        ],
    }
