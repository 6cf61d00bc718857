"""How a place kept the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from armkvm.report.table import Table
from armkvm.testing.conformance import Result


def text(results: Sequence[Result], *, show_passed: bool) -> list[str | Table]:
    """Failures with rule and source, then what was skipped and why, then the count."""
    told = [result.as_json() for result in results]
    parts: list[str | Table] = []
    for each in told:
        if each["status"] == "failed":
            parts += [
                f"FAILED {each['scenario']}",
                f"  rule    {each['rule']}",
                f"  source  {each['source']}",
                f"  found   {each['reason']}",
                "",
            ]
    shown = [each for each in told if each["status"] == "skipped" or show_passed]
    if shown:
        rows = [(each["status"], each["scenario"], each["reason"] or each["rule"]) for each in shown]
        parts += [Table(("RESULT", "SCENARIO", "RULE, OR WHY SKIPPED"), rows), ""]
    return [*parts, summary(told)]


def summary(told: Sequence[dict[str, str]]) -> str:
    """The count of each kind of result."""
    counts = Counter(each["status"] for each in told)
    words = [f"{counts[status]} {status}" for status in ("failed", "passed", "skipped") if counts[status]]
    noun = "scenario" if len(told) == 1 else "scenarios"
    return f"{len(told)} {noun}: {', '.join(words) or 'none'}"


def tree(results: Sequence[Result], uri: str, kernel: str) -> dict[str, Any]:
    """The same as data."""
    told = [result.as_json() for result in results]
    return {"place": uri, "kernel": kernel, "scenarios": told}
