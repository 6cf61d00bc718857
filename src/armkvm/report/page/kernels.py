"""The page of `drift`: one CPU under two kernels, every difference with its class and its reason."""

from __future__ import annotations

from collections.abc import Iterator

from armkvm.migration.drift import Change, Drifted, Treatment
from armkvm.report import drifting
from armkvm.report.page import reasons
from armkvm.report.page.parts import Block, Page, Section

_MEANS = {
    Treatment.MUST_MATCH: "The guest would see another value, or the state is lost.",
    Treatment.TRANSLATABLE: (
        "Another value or id says there what it said here, or the kernel there takes the old value."
    ),
    Treatment.DROPPABLE: "It can be left out: the guest cannot tell.",
}
"""The classes, what matters most first."""


def drift(names: tuple[str, str], found: Drifted) -> Page:
    """A drift by class. What must match stands open, the rest can be unfolded."""
    lines = [drifting.says(found)]
    if not found.same_cpu:
        lines.append("By MIDR_EL1 these are unlike CPUs; not all is the kernel's doing.")
    if found.features:
        lines.append(f"The vCPU has {'+'.join(map(str, found.features))}.")
    return Page(
        verb="drift",
        title=" → ".join(names),
        good=found.harmless,
        lines=tuple(lines),
        sections=(_overview(found), *_classes(found)),
    )


def _overview(found: Drifted) -> Section:
    """How many ids became what, by class."""
    rows = [
        (change.value.capitalize(), *(_count(found, change, treatment) for treatment in _MEANS))
        for change in Change
        if any(each.change is change for each in found.drifts)
    ]
    headings = ("", *(treatment.value.capitalize() for treatment in _MEANS))
    lines = () if rows else ("Nothing.",)
    counts = reasons.table("", (), headings, rows)
    return Section(key="overview", title="What differs", lines=lines, blocks=(counts,) if rows else ())


def _count(found: Drifted, change: Change, treatment: Treatment) -> str:
    alike = sum(each.change is change and each.treatment is treatment for each in found.drifts)
    return f"{alike:,}" if alike else ""


def _classes(found: Drifted) -> Iterator[Section]:
    for treatment, means in _MEANS.items():
        blocks = tuple(_blocks(found, treatment))
        if not blocks:
            continue
        matters = treatment is Treatment.MUST_MATCH
        yield Section(
            key=treatment.value.replace(" ", "-"),
            title=treatment.value.capitalize(),
            lines=(means,),
            blocks=blocks if matters else (),
            folds=() if matters else blocks,
        )


def _blocks(found: Drifted, treatment: Treatment) -> Iterator[Block]:
    """What a class has, by what became of the ids."""
    for change in Change:
        alike = [each for each in found.drifts if each.treatment is treatment and each.change is change]
        if alike:
            yield reasons.drifts(alike, f"{change.value.capitalize()}: {len(alike)}")
