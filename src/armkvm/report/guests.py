"""A guest that was moved in the middle of its work, told for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from armkvm.migration.board import Ending, Outcome
from armkvm.migration.guest_move import GuestReport, Halfway
from armkvm.migration.move import Offered
from armkvm.report import moving
from armkvm.report.table import Table

_MODES = {
    0: "not in streaming mode, ZA off",
    1: "in streaming mode, ZA off",
    2: "not in streaming mode, ZA on",
    3: "in streaming mode, ZA on",
}
_MOST_LINES = 20
_LONGEST_LINE = 400


def guest(report: GuestReport, offers: Sequence[Offered]) -> list[str | Table]:
    """A guest's move for people."""
    program = report.program
    about = [f"guest {program.name}, {program.size:,} bytes, entered at {program.entry:#x}"]
    if report.halfway is not None:
        about.append(f"stop  {_where(report.halfway)}")
    return [*moving.migration(report.migration, offers, about), *_ending(report)]


def _where(halfway: Halfway) -> str:
    snapshot = halfway.snapshot.vcpus[0]
    mode = f", {_MODES[halfway.svcr & 3]}" if snapshot.sme_lengths else ""
    return f"{halfway.ending.words}, at {halfway.pc:#x}{mode}"


def _ending(report: GuestReport) -> list[str]:
    unmoved = report.unmoved
    if unmoved is None:
        return []
    if report.halfway is None:
        told = f"it did not get to {report.stop}: unmoved, it {_ended(unmoved.ending)}"
        return ["", f"nothing was moved: {told}", *_printed(unmoved)]
    if report.moved is None:
        return []
    moved = report.moved
    lines = [f"and {len(report.halfway.memory):,} bytes of memory", ""]
    if report.differences:
        lines += ["the guest did not finish as it does unmoved:", *(f"  {d}" for d in report.differences)]
        return [*lines, f"unmoved, it {_ended(unmoved.ending)}", *_printed(unmoved)]
    if not report.agrees:
        return [*lines, f"moved or not, the guest {_ended(moved.ending)}", *_printed(moved)]
    ended = f"the guest went on and {_ended(moved.ending)}; output and memory are those of a run that stayed"
    return [*lines, ended, *_printed(moved)]


def _ended(ending: Ending) -> str:
    return f"ended: {ending.words}"


def _printed(outcome: Outcome) -> list[str]:
    """What a guest printed, set off; control characters shown as such."""
    lines = outcome.text.splitlines()
    more = [f"  ... {len(lines) - _MOST_LINES:,} lines more"] if len(lines) > _MOST_LINES else []
    return [*(f"  | {_shown(line)}" for line in lines[:_MOST_LINES]), *more]


def _shown(line: str) -> str:
    more = f" ... {len(line) - _LONGEST_LINE:,} characters more" if len(line) > _LONGEST_LINE else ""
    characters = line[:_LONGEST_LINE]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in characters) + more


def guest_tree(report: GuestReport, offers: Sequence[Offered]) -> dict[str, Any]:
    """A guest's move for programs."""
    halfway = report.halfway
    return moving.migration_tree(report.migration, offers) | {
        "guest": {
            "program": report.program.name,
            "bytes": report.program.size,
            "entry": report.program.entry,
            "memory": report.program.memory,
            "stop": str(report.stop),
            "stopped": None
            if halfway is None
            else {
                "pc": halfway.pc,
                "svcr": halfway.svcr,
                "markers": len(halfway.done.markers),
                "printed": len(halfway.done.printed),
            },
            "unmoved": _outcome_tree(report.unmoved),
            "moved": _outcome_tree(report.moved),
            "differences": report.differences,
            "agrees": report.agrees,
        }
    }


def _outcome_tree(outcome: Outcome | None) -> dict[str, Any] | None:
    if outcome is None:
        return None
    return {
        "ended": outcome.ending.end.name.lower(),
        "how": outcome.ending.words,
        "printed": outcome.text,
        "markers": list(outcome.markers),
        "stores": [{"address": address, "data": data.hex()} for address, data in outcome.others],
        "memory_sha256": outcome.memory,
    }
