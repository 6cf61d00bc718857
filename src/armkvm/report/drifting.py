"""What differs between two kernels on one CPU, and what to do about each."""

from __future__ import annotations

from collections import Counter
from typing import Any

from armkvm.migration.drift import Drift, Drifted, Treatment
from armkvm.report.table import Table

_NONE = "no drift: a vCPU is the same under both"


def says(found: Drifted) -> str:
    """All of it in a sentence."""
    told = _counts(found) if found.drifts else _NONE
    return f"{told[0].upper()}{told[1:]}."


def text(found: Drifted) -> list[str | Table]:
    """For people: ids that differ in name only share a line."""
    if not found.drifts:
        return [_NONE]
    groups: dict[tuple[str, ...], list[Drift]] = {}
    for each in found.drifts:
        key = (each.change, each.treatment, each.because, each.before, each.after)
        groups.setdefault(key, []).append(each)
    rows = [
        (_names(alike), change, before or "-", after or "-", treatment, because)
        for (change, treatment, because, before, after), alike in groups.items()
    ]
    return [
        f"with  {'+'.join(map(str, found.features))}",
        _counts(found),
        "",
        Table(("WHAT", "CHANGE", "BEFORE", "AFTER", "TREATMENT", "BECAUSE"), rows),
    ]


def _counts(found: Drifted) -> str:
    """How many there are of each class, what matters most first."""
    counts = Counter(each.treatment for each in found.drifts)
    return ", ".join(f"{counts[each]} {each.value}" for each in reversed(Treatment) if counts[each])


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
