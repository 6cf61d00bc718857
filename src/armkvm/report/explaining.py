"""What the ABI says, from the tables that the model runs on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import Any

from armkvm import catalog
from armkvm.abi.regid import RegId
from armkvm.abi.structs import is_feature_id
from armkvm.arch.sysregs import name_of as sysreg_name
from armkvm.errors import Rule, errno_name
from armkvm.migration import ordering
from armkvm.model.behaviour import Behaviour
from armkvm.model.differences import Row, Value, differences
from armkvm.model.lifecycle import REFUSES
from armkvm.model.profile import PROFILES, KernelProfile
from armkvm.model.tables.writable import LINEAGE, reported_mask, writable_fields
from armkvm.report.registers import decoded, decoded_tree
from armkvm.report.table import Table
from armkvm.state import Phase
from armkvm.traces.trials import Circumstance, Trial

Parts = list[str | Table]

# -- rules and errnos ------------------------------------------------------------------------------


def rule(one: Rule) -> Parts:
    """A rule of the rule book."""
    return [f"{one.name}: {errno_name(one.errno)}", f"  {one.sentence}", f"  {one.remedy}"]


def rules(some: Sequence[Rule]) -> Parts:
    """Several rules, in the book's order."""
    return [line for one in some for line in rule(one)]


def rule_tree(one: Rule) -> dict[str, Any]:
    """A rule for programs."""
    return {
        "rule": one.name,
        "errno": errno_name(one.errno),
        "sentence": one.sentence,
        "remedy": one.remedy,
    }


# -- kernels ---------------------------------------------------------------------------------------


def behaviour(one: Behaviour) -> Parts:
    """One difference between kernels."""
    rows = (
        ("since", one.since),
        ("seen by", one.detect),
        ("source", one.source),
        ("kernels", " ".join(_kernels(one)) or "none"),
    )
    return [one.name, f"  {one.sentence}", *(f"  {word:8} {text}" for word, text in rows)]


def behaviour_tree(one: Behaviour) -> dict[str, Any]:
    """The same for programs."""
    return {
        "behaviour": one.name,
        "sentence": one.sentence,
        "since": one.since,
        "detect": one.detect,
        "source": one.source,
        "kernels": _kernels(one),
    }


def _kernels(one: Behaviour) -> list[str]:
    return [name for name, profile in PROFILES.items() if one.name in profile]


def profiles(some: Sequence[KernelProfile]) -> Parts:
    """How kernels differ; a single one with all it has."""
    found, names = differences(some), [profile.name for profile in some]
    parts: Parts = [f"{profile.name}: {profile.summary}" for profile in some if profile.summary]
    fields = "FIELDS" if len(some) == 1 else "FIELDS THAT DIFFER"
    for rows, what, meaning, word in (
        (found.behaviours, "BEHAVIOUR", "WHAT IT IS", _word),
        (found.numbers, "NUMBER", "OF WHAT", _word),
        (found.masks, "WRITABLE BITS", fields, _mask),
    ):
        if rows:
            told = [(row.name, *map(word, row.values), row.meaning) for row in rows]
            parts += [*([""] if parts else []), Table((what, *names, meaning), told)]
    return parts if any(astuple(found)) else [*parts, "the model knows no difference between them"]


def profiles_tree(some: Sequence[KernelProfile]) -> dict[str, Any]:
    """The same for programs; a number that a kernel does not have is null."""
    found, names = differences(some), [profile.name for profile in some]
    return {
        "profiles": names,
        "behaviours": {row.name: {"sentence": row.meaning, **_by(names, row)} for row in found.behaviours},
        "numbers": {row.name: {"of": row.meaning, **_by(names, row)} for row in found.numbers},
        "writable": {
            row.name: {
                "fields": row.meaning.split(),
                **{name: None if mask is None else hex(mask) for name, mask in _by(names, row).items()},
            }
            for row in found.masks
        },
    }


def number(row: Row) -> Parts:
    """A number that belongs to the kernel rather than to the name, by kernel that has it."""
    numbers = ((name, str(value)) for name, value in _by(PROFILES, row).items() if value is not None)
    return [f"{row.name}: {row.meaning}", Table(("KERNEL", "NUMBER"), numbers)]


def number_tree(row: Row) -> dict[str, Any]:
    """The same for programs."""
    return {"name": row.name, "of": row.meaning, "numbers": _by(PROFILES, row)}


def _by(names: Iterable[str], row: Row) -> dict[str, Value]:
    return dict(zip(names, row.values, strict=True))


def _word(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def _mask(value: Value) -> str:
    return "-" if value is None else f"{value:#x}"


# -- calls -----------------------------------------------------------------------------------------


def phases(operation: str) -> Table:
    """What the life cycle's table says of a call."""
    row = REFUSES[operation]
    return Table(
        ("PHASE", operation),
        (
            (phase.value, "admitted" if one is None else f"{errno_name(one.errno)} ({one.name})")
            for phase, one in zip(Phase, row, strict=True)
        ),
    )


def trials(came: Sequence[Trial], errno: int | None = None) -> Parts:
    """What a call answered when it was tried: each answer with its rule and its circumstances.

    With `errno` only that answer.
    """
    parts: Parts = []
    for (number, name), group in _by_answer(came).items():
        if errno is None or number == errno:
            title = "succeeds" if number is None else f"{errno_name(number)}{f' ({name})' if name else ''}"
            parts += [title, *_reason(group[0].rule), *_circumstances(group, came)]
    return parts


def trials_tree(came: Iterable[Trial]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [
        {
            "errno": None if errno is None else errno_name(errno),
            "rule": name or None,
            "circumstances": [
                {"vcpu": trial.kind, "moment": trial.moment, "svcr": trial.svcr, "way": trial.way}
                for trial in group
            ],
        }
        for (errno, name), group in _by_answer(came).items()
    ]


def _by_answer(came: Iterable[Trial]) -> dict[tuple[int | None, str], list[Trial]]:
    answers: dict[tuple[int | None, str], list[Trial]] = {}
    for trial in came:
        answers.setdefault((trial.errno, trial.rule.name if trial.rule else ""), []).append(trial)
    return answers


def _reason(one: Rule | None) -> list[str]:
    return [] if one is None else [f"  {one.sentence}", f"  {one.remedy}"]


def _circumstances(group: Iterable[Trial], everything: Sequence[Trial]) -> list[str]:
    """When an answer came, briefly: kinds, modes, moments and ways are named where they make a difference."""
    ways: dict[tuple[str, str, int | None], list[str]] = {}
    for trial in group:
        ways.setdefault((trial.kind, trial.moment, trial.svcr), []).append(trial.way)
    tried: dict[tuple[str, str, int | None], list[str]] = {}
    for trial in everything:
        tried.setdefault((trial.kind, trial.moment, trial.svcr), []).append(trial.way)
    modes: dict[tuple[str, str, str], list[int | None]] = {}
    for (kind, moment, svcr), these in ways.items():
        how = "" if tried[kind, moment, svcr] == these else " or ".join(these)
        modes.setdefault((kind, moment, how), []).append(svcr)
    moments: dict[tuple[str, str, str], list[str]] = {}
    for (kind, moment, how), states in modes.items():
        moments.setdefault((kind, _mode(states), how), []).append(moment)
    kinds: dict[tuple[tuple[str, ...], str, str], list[str]] = {}
    for (kind, mode, how), at in moments.items():
        kinds.setdefault((tuple(at), mode, how), []).append(kind)
    lines = []
    for (when, mode, how), who in kinds.items():
        there = {kind for kind, moment, _ in tried if moment in when}
        subject = "any vCPU" if set(who) == there else ", ".join(who)
        lines.append(f"  - {subject}: {', '.join(filter(None, (' or '.join(when), mode, how)))}")
    return lines


_MODES = {
    (0,): "with PSTATE.SM and PSTATE.ZA clear",
    (3,): "with PSTATE.SM and PSTATE.ZA set",
    (0, 1): "with PSTATE.ZA clear",
    (2, 3): "with PSTATE.ZA set",
    (0, 2): "with PSTATE.SM clear",
    (1, 3): "with PSTATE.SM set",
    (0, 1, 2): "with PSTATE.SM or PSTATE.ZA clear",
    (1, 2, 3): "with PSTATE.SM or PSTATE.ZA set",
    (0, 1, 2, 3): "",
}


def _mode(states: Iterable[int | None]) -> str:
    """Values of SVCR in words; none for all, and for a vCPU without SVCR."""
    values = tuple(sorted(svcr for svcr in states if svcr is not None))
    return _MODES.get(values, f"with SVCR {' or '.join(map(str, values))}") if values else ""


# -- registers -------------------------------------------------------------------------------------


def listed_by(lists: Iterable[tuple[Circumstance, bool]]) -> list[str]:
    """The kinds of vCPU that list a register, and in which modes if it depends."""
    modes: dict[str, list[int | None]] = {}
    for at, is_listed in lists:
        if is_listed:
            modes.setdefault(at.kind, []).append(at.svcr)
    return [f"{kind} {_mode(states)}".rstrip() for kind, states in modes.items()]


def register(reg: RegId, listed_by: Sequence[str]) -> Parts:
    """A register: its id, when it is listed, when it is restored, and what may be written."""
    parts: Parts = list(decoded(reg))
    parts.append(f"  listed    {'; '.join(listed_by) if listed_by else 'never'}")
    if catalog.name_of(reg):
        where = ordering.rule_of(reg)
        stage = where.stage.name.lower().replace("_", " ")
        parts.append(f"  restored  in the step {stage!r}: {where.because}")
    masks = _masks(reg)
    if masks:
        parts += ["", Table(("KERNEL", "WRITABLE", "FIELDS THAT CAN CHANGE"), masks)]
    return parts


def register_tree(reg: RegId, listed_by: Sequence[str]) -> dict[str, Any]:
    """The same for programs."""
    tree: dict[str, Any] = {**decoded_tree(reg), "listed": list(listed_by)}
    if catalog.name_of(reg):
        where = ordering.rule_of(reg)
        tree["restored"] = {"step": where.stage.name.lower(), "rule": where.name, "because": where.because}
    tree["writable"] = {kernel: {"mask": mask, "fields": fields} for kernel, mask, fields in _masks(reg)}
    return tree


def _masks(reg: RegId) -> list[tuple[str, str, str]]:
    """Per kernel: the mask that the ioctl reports and the fields in it that really change."""
    encoding = reg.encoding
    if encoding is None or not is_feature_id(reg):
        return []
    rows = []
    for kernel in LINEAGE:
        mask = reported_mask(kernel, encoding)
        try:
            fields = " ".join(field.name for field in writable_fields(kernel, encoding))
        except ValueError:  # no feature ID register, though in their space
            fields = ""
        if mask or fields:
            rows.append((kernel, f"{mask:#x}" if mask else "not reported", fields or sysreg_name(encoding)))
    return rows
