"""What a replay found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from armkvm.traces.replay import Difference


def text(differences: Sequence[Difference], sequences: int, steps: int) -> list[str]:
    """One line for each difference, and a summary."""
    found = len(differences)
    verdict = "no difference" if not found else f"{found:,} difference{'s' if found > 1 else ''}"
    return [*map(str, differences), f"{sequences:,} sequences, {steps:,} steps: {verdict}"]


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
