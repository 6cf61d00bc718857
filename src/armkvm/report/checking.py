"""What a check found: the verdict, what decides, and what a VM for both hosts would be."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from armkvm.migration.advice import Code
from armkvm.migration.baseline import Baseline
from armkvm.migration.check import Check, Direction, Verdict
from armkvm.migration.findings import Finding
from armkvm.report import baselines
from armkvm.report.moving import finding_tree, findings_text
from armkvm.report.table import Table

_SAYS = {
    Verdict.IDENTICAL: "what runs on either can move to the other",
    Verdict.SUPERSET: "what runs on {source} can move to {destination}; not all of it can move back",
    Verdict.SUBSET: "what runs on {source} cannot move to {destination}; what runs there can move back",
    Verdict.INCOMPATIBLE: "what runs on {source} cannot move to {destination}, nor the other way",
}

# -- text ------------------------------------------------------------------------------------------


def text(names: tuple[str, str], result: Check, both: Baseline | None) -> list[str | Table]:
    """A check for people."""
    source, destination = names
    parts: list[str | Table] = [says(names, result)]
    if result.forth.features:
        parts.append(f"with  {'+'.join(map(str, result.forth.features))}")
    parts += _direction(result.forth)
    if result.back is not None and not result.back.possible:
        blocking = [found for found in result.back.findings if found.blocking]
        command = shlex.join(("armkvm", "check", destination, source))
        parts += ["", f"the other way, {_count(len(blocking), 'obstacle')} ({command})"]
    if both is not None and not result.moves:
        parts += ["", "a new VM that can run on both", *baselines.brief(both, names)]
    return parts


def says(names: tuple[str, str], result: Check) -> str:
    """The verdict in a sentence."""
    source, destination = names
    if result.back is None:
        return f"{source} {'can' if result.moves else 'cannot'} be restored on {destination}"
    told = _SAYS[result.verdict].format(source=source, destination=destination)
    return f"{result.verdict.value}: {told}"


def _direction(direction: Direction) -> list[str | Table]:
    fields = [found for found in direction.findings if found.code is Code.ID_FIELD]
    others = [found for found in direction.findings if found.code is not Code.ID_FIELD]
    parts: list[str | Table] = []
    if fields:
        rows = [
            (found.subject, found.asked, found.there, found.acceptable or found.there) for found in fields
        ]
        parts += ["", Table(("FIELD THAT DECIDES", "ASKED", "THERE", "TAKES"), rows)]
        remedies = dict.fromkeys(found.remedy for found in fields)
        parts += [f"  do    {remedy}" for remedy in remedies]
    return [*parts, *findings_text(others)]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


# -- JSON ------------------------------------------------------------------------------------------


def tree(names: tuple[str, str], result: Check, both: Baseline | None) -> dict[str, Any]:
    """A check for programs. `restore` is what a restore at the destination answers, call by call."""
    back = result.back
    return {
        "source": names[0],
        "destination": names[1],
        "verdict": result.verdict.value
        if back is not None
        else ("superset" if result.moves else "incompatible"),
        "moves": result.moves,
        **_tree(result.forth),
        "back": None if back is None else {"moves": back.possible, **_tree(back)},
        "baseline": None if both is None else baselines.tree(both),
    }


def _tree(direction: Direction) -> dict[str, Any]:
    tried = [rehearsal.as_record() for rehearsal in direction.rehearsals]
    found: Sequence[Finding] = direction.findings
    return {
        "features": [str(feature) for feature in direction.features],
        "restore": tried[0] if tried else None,
        "other_vcpus": tried[1:],
        "findings": list(map(finding_tree, found)),
    }
