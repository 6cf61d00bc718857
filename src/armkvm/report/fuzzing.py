"""What a campaign found."""

from __future__ import annotations

from typing import Any

from armkvm.fuzzing.campaign import Tally
from armkvm.report.table import Table


def text(tally: Tally) -> list[str | Table]:
    """Each difference once, with its least sequence; then the count."""
    parts: list[str | Table] = []
    for signature, count in tally.unexplained.most_common():
        parts += [
            f"{tally.told.get(signature) or signature}",
            f"  found   in {count} of {tally.done} sequences",
        ]
        if signature in tally.files:
            parts.append(f"  replay  {tally.files[signature]}")
        parts.append("")
    if tally.explained:
        rows = [(name, str(count)) for name, count in tally.explained.most_common()]
        parts += [Table(("EXPLAINED", "SEQUENCES"), rows), ""]
    kinds = len(tally.unexplained)
    verdict = f"{kinds} unexplained difference{'s' * (kinds != 1)}" if kinds else "no unexplained difference"
    return [*parts, f"{tally.done:,} sequences, {tally.steps:,} steps: {verdict}"]


def tree(tally: Tally) -> dict[str, Any]:
    """The same as data."""
    return {
        "sequences": tally.done,
        "steps": tally.steps,
        "unexplained": [
            {
                "signature": signature,
                "sequences": count,
                "difference": tally.told.get(signature, ""),
                "trace": str(tally.files[signature]) if signature in tally.files else None,
            }
            for signature, count in tally.unexplained.most_common()
        ],
        "explained": dict(tally.explained.most_common()),
    }
