"""Who can move where: every two kinds of a fleet, in a matrix while that can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from armkvm.migration.arrivals import verdicts
from armkvm.migration.check import Verdict
from armkvm.report.table import Table

MOST_IN_MATRIX = 16
Arrived = Mapping[str, frozenset[str]]
"""By kind, the kinds whose VMs can move there."""


def text(arrived: Arrived, sizes: Mapping[str, int]) -> list[str | Table]:
    """For people: a row says where a kind's VMs can move, or how many hosts that are."""
    counts = Counter(verdict for _, _, verdict in verdicts(arrived, arrived))
    told = ", ".join(f"{counts[verdict]:,} {verdict.value}" for verdict in Verdict if counts[verdict])
    parts: list[str | Table] = [
        "",
        f"moves of each kind's own VMs; of any two kinds {told or 'there are none'}",
    ]
    labels = sorted(arrived)
    if len(labels) <= MOST_IN_MATRIX:
        numbers = [str(number) for number in range(1, len(labels) + 1)]
        rows = [
            (number, one, *("yes" if one in arrived[two] else "-" for two in labels))
            for number, one in zip(numbers, labels, strict=True)
        ]
        return [*parts, Table(("", "VM OF", *(f"TO {number}" for number in numbers)), rows)]
    all_hosts = sum(sizes.values())
    rows = [
        (
            one,
            f"{sum(sizes[two] for two in labels if one in arrived[two]):,} of {all_hosts:,}",
            f"{sum(sizes[two] for two in arrived[one]):,} of {all_hosts:,}",
        )
        for one in labels
    ]
    return [*parts, Table(("HOST", "ITS VMS CAN MOVE TO", "IT TAKES VMS OF"), rows)]


def tree(arrived: Arrived) -> list[dict[str, Any]]:
    """For programs: every two kinds once."""
    return [
        {"source": one, "destination": two, "verdict": verdict.value}
        for one, two, verdict in verdicts(arrived, arrived)
    ]
