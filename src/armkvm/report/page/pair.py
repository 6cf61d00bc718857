"""The page of `check`: two hosts, or a VM and a host, both ways, and what a VM for both would be."""

from __future__ import annotations

from armkvm.migration.baseline import Baseline
from armkvm.migration.check import Check, Direction
from armkvm.report import checking
from armkvm.report.page import reasons
from armkvm.report.page.parts import Block, Page, Section


def check(names: tuple[str, str], result: Check, both: Baseline | None) -> Page:
    """A check, each finding with its field, its bits and its reason."""
    source, destination = names
    sections = [_direction("forth", source, destination, result.forth)]
    if result.back is not None:
        sections.append(_direction("back", destination, source, result.back))
    if both is not None:
        sections.append(Section(key="both", title="A new VM for both", blocks=reasons.both(both, {})))
    features = "+".join(map(str, result.forth.features))
    return Page(
        verb="check",
        title=f"{source} → {destination}",
        good=result.moves,
        lines=(f"{checking.says(names, result)}.", *((f"The VM has {features}.",) if features else ())),
        sections=tuple(sections),
    )


def _direction(key: str, here: str, there: str, moves: Direction) -> Section:
    blocks: tuple[Block, ...] = reasons.findings(moves)
    says = "It moves as it is." if moves.possible else "It cannot move."
    return Section(key=key, title=f"What runs on {here}, to {there}", lines=(says,), blocks=blocks)
