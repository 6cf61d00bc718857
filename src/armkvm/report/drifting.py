"""What differs between two kernels on one CPU, and what to do about each."""

from __future__ import annotations

from collections import Counter
from typing import Any

from armkvm.migration.drift import Drift, Drifted
from armkvm.report.table import Table


def text(found: Drifted) -> list[str | Table]:
    """For people: ids that differ in name only share a line."""
    if not found.drifts:
        return ["no drift: a vCPU is the same under both"]
    groups: dict[tuple[str, ...], list[Drift]] = {}
    for each in found.drifts:
        key = (each.change, each.treatment, each.because, each.before, each.after)
        groups.setdefault(key, []).append(each)
    rows = [
        (_names(alike), change, before or "-", after or "-", treatment, because)
        for (change, treatment, because, before, after), alike in groups.items()
    ]
    counts = Counter(each.treatment.value for each in found.drifts)
    return [
        f"with  {'+'.join(map(str, found.features))}",
        ", ".join(f"{count} {word}" for word, count in counts.items()),
        "",
        Table(("WHAT", "CHANGE", "BEFORE", "AFTER", "TREATMENT", "BECAUSE"), rows),
    ]


def _names(alike: list[Drift]) -> str:
    if len(alike) == 1:
        return alike[0].what
    return f"{alike[0].what} .. {alike[-1].what} ({len(alike)})"


def tree(found: Drifted) -> dict[str, Any]:
    """For programs, every id by itself."""
    return {
        "features": [str(feature) for feature in found.features],
        "same_cpu": found.same_cpu,
        "harmless": found.harmless,
        "drifts": [
            {
                "register": each.what,
                "id": each.reg.hex,
                "field": each.field,
                "change": each.change.value,
                "before": each.before,
                "after": each.after,
                "treatment": each.treatment.value,
                "because": each.because,
            }
            for each in found.drifts
        ],
    }
