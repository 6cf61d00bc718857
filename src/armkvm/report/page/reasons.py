"""The reasons behind an answer as tables: which field, which of its bits, what each host says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from armkvm.arch.fields import Field
from armkvm.arch.idfields import field
from armkvm.migration.baseline import Baseline
from armkvm.migration.check import Direction
from armkvm.migration.drift import Drift
from armkvm.migration.findings import Finding
from armkvm.migration.fold import Loss, Obstacle
from armkvm.report import baselines
from armkvm.report.page.parts import BITS, Block

MOST_ROWS = 60
"""As many rows a table of reasons has; the rest is counted."""

# -- what stands in the way of what runs ----------------------------------------------------------


def findings(direction: Direction) -> tuple[Block, ...]:
    """What blocks a move, alike findings together; then what is only worth knowing."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for found in sorted(direction.findings, key=lambda found: not found.blocking):
        groups.setdefault(_case(found), []).append(found)
    return tuple(map(_alike, groups.values()))


def _case(found: Finding) -> tuple[object, ...]:
    return found.code, found.blocking, found.operation, found.errno, found.remedy


def _alike(group: Sequence[Finding]) -> Block:
    first = group[0]
    same = len({found.why for found in group}) == 1
    told = (_does(first), _sentence(first.why) if same else "", _sentence(first.remedy))
    rows = [
        (
            found.subject or str(found.code),
            *_where(found.subject, found.asked, found.there),
            _brief(found.asked),
            _brief(found.there),
            _brief(found.acceptable),
            "" if same or found.acceptable else _sentence(found.why),  # what it takes says it all
        )
        for found in group
    ]
    return table(
        f"{'In the way' if first.blocking else 'Worth knowing'}: {first.code}",
        tuple(filter(None, told)),
        ("Decides", BITS, "Differ in", "Asked", "There", "Takes", "Why"),
        rows,
    )


def _does(found: Finding) -> str:
    """What KVM does, where it is the same for all findings alike."""
    return f"{found.behaviour}." if found.errno is not None else ""


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def _brief(value: str) -> str:
    return f"{value[:38]}…{value[-8:]}" if len(value) > 60 and value.startswith("0x") else value


# -- what a common vCPU costs, and what stands in its way -----------------------------------------


def costs(losses: Sequence[Loss], sizes: Mapping[str, int], heading: str = "What it costs") -> Block:
    """Everything the best host could give and the baseline does not."""
    usual, times = Counter(loss.because for loss in losses).most_common(1)[0] if losses else ("", 0)
    hoisted = times > 1
    rows = [
        (
            loss.what,
            *_where(loss.what, loss.best, loss.kept),
            loss.best,
            loss.kept,
            "" if hoisted and loss.because == usual else loss.because,
            baselines.named(loss.hosts, sizes),
        )
        for loss in losses
    ]
    return table(
        f"{heading}: {len(losses)}",
        (f"Where no other reason is given: {usual}.",) if hoisted else (),
        ("Lost", BITS, "Differ in", "Best", "Kept", "Because", "For the sake of"),
        rows,
    )


def obstacles(found: Sequence[Obstacle], sizes: Mapping[str, int], heading: str) -> Block:
    """Fields for which no value suits all, with what each host insists on."""
    reasons = {obstacle.because for obstacle in found}
    same = len(reasons) == 1
    rows = [
        (
            obstacle.what,
            *_where(obstacle.what, *(value for value, _ in obstacle.camps[:2])),
            "\n".join(f"{value}: {baselines.named(hosts, sizes)}" for value, hosts in obstacle.camps),
            "" if same else obstacle.because,
        )
        for obstacle in baselines.aarch32_last(found)
    ]
    lines = tuple(map(_sentence, reasons)) if same else ()
    return table(heading, lines, ("Decides", BITS, "Differ in", "Insists on", "Because"), rows)


def both(found: Baseline, sizes: Mapping[str, int]) -> tuple[Block, ...]:
    """A vCPU for all the hosts of a baseline with its costs, or why there is none."""
    if found.guest is None:
        return (obstacles(found.obstacles, sizes, "No vCPU suits both: no value of these does"),)
    guest = Block("What both accept", headings=("", ""), rows=tuple(baselines.guest_rows(found.guest)))
    return (guest, costs(found.losses, sizes)) if found.losses else (guest,)


# -- what differs between two kernels --------------------------------------------------------------


def drifts(found: Sequence[Drift], heading: str) -> Block:
    """Ids that drifted alike, with the value on either side; what their reasons share stands above them."""
    heads = {each.because.partition(": ")[0] for each in found}
    same = len(heads) == 1
    rows = [
        (
            each.what,
            *_where(each.what, each.before, each.after),
            _brief(each.before),
            _brief(each.after),
            each.because.partition(": ")[2] if same else each.because,
        )
        for each in found
    ]
    lines = tuple(map(_sentence, heads)) if same else ()
    return table(heading, lines, ("What", BITS, "Differ in", "Before", "After", "Because"), rows)


# -- tables ----------------------------------------------------------------------------------------


def table(
    heading: str,
    lines: tuple[str, ...],
    headings: Sequence[str],
    rows: Sequence[tuple[str, ...]],
    most: int = MOST_ROWS,
) -> Block:
    """A table of bounded length, without columns that are empty throughout."""
    kept = rows[:most]
    used = [n for n in range(len(headings)) if any(row[n] for row in kept)]
    more = f"and {len(rows) - len(kept)} more; the text report and --json have all" if kept != rows else ""
    return Block(
        heading,
        lines,
        tuple(headings[n] for n in used),
        tuple(tuple(row[n] for n in used) for row in kept),
        more,
    )


def _where(what: str, *values: str) -> tuple[str, str]:
    """A field's bits in its register, "" for a whole one; and those in which two values differ."""
    part = _field(what)
    bits, lsb = (part.bits, part.lsb) if part is not None else ("", 0)
    numbers = list(_numbers(values))
    return bits, _named((numbers[0] ^ numbers[1]) << lsb) if len(numbers) > 1 else ""


def _named(unlike: int) -> str:
    """Bits of a register as Arm writes them, ``bits 31:24, 12``; of what is wider than 64 bits none."""
    if not 0 < unlike < 1 << 64:
        return ""
    runs = ((63 - run.start(), 64 - run.end()) for run in re.finditer("1+", f"{unlike:064b}"))
    told = ", ".join(str(high) if high == low else f"{high}:{low}" for high, low in runs)
    return f"bit{'s' * (unlike.bit_count() > 1)} {told}"


def _field(what: str) -> Field | None:
    register, dot, name = what.partition(".")
    try:
        return field(register, name) if dot else None
    except (KeyError, ValueError):
        return None


def _numbers(values: Iterable[str]) -> Iterator[int]:
    for value in values:
        number, _, _ = value.partition(" ")
        if number.startswith("0x"):
            yield int(number, 16)
