"""The largest vCPU that every host of a fleet accepts, with what was lost on the way and to whom.

The baseline is a fold over what the hosts accept (`Acceptance`): features in common, the longest
common prefix of the vector lengths, and per ID field the greatest value that sticks on all of
them, which may be a value that no host reports. It does not depend on order or repetition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.fields import Direction, Field, Kind
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import name_of
from armkvm.migration.agreement import Takers, largest_agreeing, maximal
from armkvm.state import Acceptance, FieldRules, GuestCpu

Accepts = Callable[[str, frozenset[F]], Acceptance]
"""What a host, by label, accepts for a vCPU with given features."""

# Features that are asked for together, in the order in which a baseline tries to keep them.
GROUPS: tuple[tuple[F, ...], ...] = (
    (F.PMU_V3,),
    (F.SVE,),
    (F.SME,),
    (F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC),
)

NEVER = "no baseline has it"
"""Why features that are not in `GROUPS` are left out, but for PSCI_0_2, which is always there."""


class Loss(NamedTuple):
    """Something the best host could give and the baseline does not, with the hosts that cost it."""

    what: str
    best: str
    kept: str
    because: str
    hosts: tuple[str, ...]
    is_field: bool = False


class Obstacle(NamedTuple):
    """A register or field for which no value suits every host.

    `camps` are the hosts by what they insist on, the largest first; leaving out all but one of
    them removes the obstacle. `takers` are the largest sets of hosts that agree on a value.
    """

    what: str
    because: str
    camps: tuple[tuple[str, tuple[str, ...]], ...]
    takers: Takers

    @property
    def to_leave_out(self) -> frozenset[str]:
        """The fewest hosts without which the rest agree."""
        return frozenset(host for _, hosts in self.camps[1:] for host in hosts)


class Baseline(NamedTuple):
    """The answer for a fleet: what a VM can be given everywhere, or why there is no such thing.

    `to_leave_out` are the fewest hosts without which the others have a baseline.
    """

    hosts: tuple[str, ...]
    guest: GuestCpu | None
    losses: tuple[Loss, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    to_leave_out: frozenset[str] = frozenset()


class _Column(NamedTuple):
    """A register that hosts of a fleet start unlike: hosts by its value and by what its fields accept.

    However many hosts there are, few are unlike in one register.
    """

    reg: RegId
    kinds: tuple[tuple[int, Mapping[Field, int], list[str]], ...]

    @property
    def values(self) -> list[int]:
        return [value for value, _, _ in self.kinds]

    def common(self, part: Field) -> int:
        """The values of a field that stick everywhere, as bits."""
        return reduce(int.__and__, (fields[part] for _, fields, _ in self.kinds))

    def split(self, part: Field, value: int) -> tuple[list[str], list[str]]:
        """The hosts on which a value of a field sticks, and the others."""
        takers: list[str] = []
        others: list[str] = []
        for _, fields, labels in self.kinds:
            (takers if fields[part] >> value & 1 else others).extend(labels)
        return takers, others


class _Fleet:
    """The hosts under one choice of features, and what their registers come to together.

    `witnesses` alone have the same obstacles as all hosts.
    """

    __slots__ = ("hosts", "labels", "losses", "obstacles", "registers", "witnesses")

    def __init__(self, labels: tuple[str, ...], hosts: tuple[Acceptance, ...]) -> None:
        self.labels = labels
        self.hosts = hosts
        self.registers: dict[RegId, int] = {}
        self.losses: list[Loss] = []
        self.obstacles: list[Obstacle] = []
        self.witnesses: set[str] = set()

    def values(self, reg: RegId) -> list[int]:
        return [host.initial[reg] for host in self.hosts]

    def column(self, reg: RegId, values: Sequence[int]) -> _Column:
        """A register with the hosts' values of it."""
        kinds: dict[tuple[int, FieldRules], list[str]] = {}
        for label, host, value in zip(self.labels, self.hosts, values, strict=True):
            kinds.setdefault((value, host.rules), []).append(label)
        unlike = ((value, rules(reg, value), labels) for (value, rules), labels in kinds.items())
        return _Column(reg, tuple(unlike))


def baseline(
    offers: Mapping[str, frozenset[F]],
    accepts: Accepts,
    wanted: frozenset[F] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Baseline:
    """The baseline of the hosts in `offers` (label -> features offered).

    `wanted` restricts the features; by default every group that all hosts offer is kept, unless
    leaving it out is what makes a baseline possible. `sizes`: how many hosts a label stands for, 1
    if it is not said; the fewest of those are left out where there is no baseline.
    """
    labels = tuple(sorted(offers))
    if not labels:
        raise ValueError("a baseline needs at least one host")
    features, losses = _common_features(offers, wanted)
    fleet = _fold(labels, features, accepts)
    for group in GROUPS:
        if fleet.obstacles and features.issuperset(group):
            without = _without(group, fleet, features, accepts)
            if without is not None:
                losses.append(_given_up(group, fleet, without))
                fleet, features = without, features - set(group)
    lengths, lost_lengths = _common_lengths(fleet)
    empty = frozenset(feature for feature, common in lengths.items() if not common)
    if empty:
        fleet = _fold(labels, features - empty, accepts)
    losses += lost_lengths
    if fleet.obstacles:
        obstacles = tuple(fleet.obstacles)
        agreeing = largest_agreeing(labels, (obstacle.takers for obstacle in obstacles), sizes or {})
        return Baseline(
            hosts=labels,
            guest=None,
            losses=tuple(losses),
            obstacles=obstacles,
            to_leave_out=frozenset(labels) - agreeing,
        )
    guest = GuestCpu(
        features=features - empty,
        sve=lengths.get(F.SVE, VectorLengths()),
        sme=lengths.get(F.SME, VectorLengths()),
        id_registers=fleet.registers,
        bitmaps=_common_bitmaps(fleet.hosts),
        psci_version=max(set.intersection(*(set(host.psci_versions) for host in fleet.hosts))),
    )
    return Baseline(hosts=labels, guest=guest, losses=(*losses, *fleet.losses))


def _fold(labels: tuple[str, ...], features: frozenset[F], accepts: Accepts) -> _Fleet:
    fleet = _Fleet(labels, tuple(accepts(label, features) for label in labels))
    for reg in fleet.hosts[0].compared:
        values = fleet.values(reg)
        if len(set(values)) == 1:
            fleet.registers[reg] = values[0]
        else:
            column = fleet.column(reg, values)
            _fold_fields(column, fleet)
            _fold_rest(column, fleet)
    _fold_identity(fleet)
    return fleet


def _without(group: tuple[F, ...], fleet: _Fleet, features: frozenset[F], accepts: Accepts) -> _Fleet | None:
    """The fleet without some features, if that leaves fewer obstacles.

    The few hosts that show the obstacles are asked first: all hosts together agree on no more.
    """
    few = _fold(tuple(sorted(fleet.witnesses)), features - set(group), accepts)
    if len(few.obstacles) >= len(fleet.obstacles):
        return None
    without = _fold(fleet.labels, features - set(group), accepts)
    return without if len(without.obstacles) < len(fleet.obstacles) else None


# -- features and vector lengths ---------------------------------------------------------------


def _common_features(
    offers: Mapping[str, frozenset[F]], wanted: frozenset[F] | None
) -> tuple[frozenset[F], list[Loss]]:
    kept: set[F] = {F.PSCI_0_2}
    losses: list[Loss] = []
    for group in GROUPS:
        if wanted is not None and not wanted.issuperset(group):
            continue
        without = tuple(sorted(label for label, has in offers.items() if not has.issuperset(group)))
        if not without:
            kept.update(group)
        elif wanted is not None or len(without) < len(offers):
            best = "offered" if len(without) < len(offers) else "asked for"
            what = " and ".join(group)
            losses.append(Loss(what=what, best=best, kept="left out", because="not offered", hosts=without))
    return frozenset(kept), [*losses, *_unheard(offers, wanted or frozenset())]


def _unheard(offers: Mapping[str, frozenset[F]], wanted: frozenset[F]) -> Iterator[Loss]:
    """Features asked for that no baseline has: one by itself of those that go together, or any other."""
    for feature in sorted(wanted - {F.PSCI_0_2}):
        group = next((group for group in GROUPS if feature in group), ())
        if group and wanted.issuperset(group):
            continue
        others = " and ".join(other for other in group if other not in wanted)
        because = f"only together with {others}" if group else NEVER
        yield Loss(str(feature), "asked for", "left out", because, tuple(sorted(offers)))


def _given_up(group: tuple[F, ...], before: _Fleet, after: _Fleet) -> Loss:
    """A feature left out because of how unlike hosts show it (an algorithm, a version)."""
    left = {obstacle.what for obstacle in after.obstacles}
    removed = [obstacle for obstacle in before.obstacles if obstacle.what not in left]
    return Loss(
        what=" and ".join(group),
        best="offered",
        kept="left out",
        because="hosts differ in " + ", ".join(obstacle.what for obstacle in removed),
        hosts=tuple(sorted(frozenset().union(*(obstacle.to_leave_out for obstacle in removed)))),
    )


def _common_lengths(fleet: _Fleet) -> tuple[dict[F, VectorLengths], list[Loss]]:
    """The longest common prefix of each kind of vector; empty where the hosts share no beginning."""
    kept: dict[F, VectorLengths] = {}
    losses: list[Loss] = []
    for feature, sets in ((F.SVE, [h.sve for h in fleet.hosts]), (F.SME, [h.sme for h in fleet.hosts])):
        if feature not in fleet.hosts[0].features:
            continue
        kept[feature] = reduce(VectorLengths.common_prefix, sets)
        longest = max(sets, key=lambda s: (s.max, len(s)))
        if kept[feature] != longest:
            costing = [
                label
                for label, own in zip(fleet.labels, sets, strict=True)
                if own.common_prefix(longest) != longest
            ]
            losses.append(
                Loss(
                    what=f"{feature} vector lengths",
                    best=str(longest),
                    kept=str(kept[feature]),
                    because="a vCPU's lengths must begin every host's own",
                    hosts=tuple(costing),
                )
            )
    return kept, losses


# -- registers ---------------------------------------------------------------------------------


def _fold_fields(column: _Column, fleet: _Fleet) -> None:
    """Each narrow field by itself: the greatest value that sticks everywhere."""
    reg, values = column.reg, column.values
    for part in column.kinds[0][1]:
        reported = [part.extract(value) for value in values]
        if len(set(reported)) == 1:  # which is the most that any of them accepts
            fleet.registers[reg] = fleet.registers.get(reg, 0) | reported[0] << part.lsb
            continue
        common = column.common(part)
        if not common:
            fleet.obstacles.append(_obstacle(part, column))
            fleet.witnesses.update(labels[0] for _, _, labels in column.kinds)
            continue
        value = greatest(part, common, reported)
        fleet.registers[reg] = fleet.registers.get(reg, 0) | value << part.lsb
        if part.kind is Kind.NAMED:
            best = greatest(part, reduce(int.__or__, (1 << v for v in reported)), reported)
            if best != value:
                fleet.losses.append(_lost(part, value, best, column))


def greatest(field: Field, common: int, reported: Iterable[int]) -> int:
    """Of the values that all hosts accept (bits of `common`) the one that promises most.

    Values of an exact field have no order: one that a host reports beats the safe value.
    """
    values = [v for v in range(common.bit_length()) if common >> v & 1]
    if field.direction is Direction.EXACT:
        shown = set(reported)
        return max(values, key=lambda v: (v in shown, v != field.safe, v))
    return max(values, key=field.rank)


def _lost(part: Field, value: int, best: int, column: _Column) -> Loss:
    _, costing = column.split(part, best)
    return Loss(
        what=str(part),
        best=part.told(best),
        kept=part.told(value),
        because="the most that every host accepts",
        hosts=tuple(sorted(costing)),
        is_field=True,
    )


def _obstacle(part: Field, column: _Column) -> Obstacle:
    """The hosts by the most popular value that each can take part in."""
    reported = {part.extract(value) for value in column.values}
    candidates = sorted({*reported, *([] if part.safe is None else [part.safe])})
    remaining = {label for _, _, labels in column.kinds for label in labels}
    camps: list[tuple[str, tuple[str, ...]]] = []
    while remaining:
        takers = {value: remaining.intersection(column.split(part, value)[0]) for value in candidates}
        value = max(candidates, key=lambda value: len(takers[value]))
        camps.append((part.told(value), tuple(sorted(takers[value]))))
        remaining -= takers[value]
    agreeing = maximal(frozenset(column.split(part, value)[0]) for value in candidates)
    because = "no value of this field sticks on every host"
    return Obstacle(what=str(part), because=because, camps=tuple(camps), takers=agreeing)


def _fold_rest(column: _Column, fleet: _Fleet) -> None:
    """Bits that belong to no narrow field are what they are, and so must agree."""
    rest = _ALL_BITS & ~sum(part.mask for part in column.kinds[0][1])
    if rest:
        held = [(value & rest, labels) for value, _, labels in column.kinds]
        _agree(f"{name_of(column.reg)} bits {rest:#x}", column.reg, held, fleet)


def _fold_identity(fleet: _Fleet) -> None:
    """MIDR_EL1 and its like must agree, unless every host lets a VM have its own.

    They are part of the baseline only where they have to be chosen, which takes a capability.
    """
    writable = all(host.identity_is_writable for host in fleet.hosts)
    for reg in fleet.hosts[0].identity:
        values = fleet.values(reg)
        if len(set(values)) == 1:
            continue
        if writable:
            fleet.registers[reg] = min(values)
        else:
            _agree(name_of(reg), reg, zip(values, ([label] for label in fleet.labels), strict=True), fleet)


_ALL_BITS = (1 << 64) - 1


def _agree(what: str, reg: RegId, held: Iterable[tuple[int, list[str]]], fleet: _Fleet) -> None:
    """Bits that no VM can choose: the hosts' own values, which are the baseline's if they are one."""
    camps: dict[int, list[str]] = {}
    for value, labels in held:
        camps.setdefault(value, []).extend(labels)
    if len(camps) == 1:
        fleet.registers[reg] = fleet.registers.get(reg, 0) | next(iter(camps))
        return
    ordered = sorted(camps.items(), key=lambda camp: (-len(camp[1]), camp[0]))
    told = tuple((f"{value:#x}", tuple(sorted(members))) for value, members in ordered)
    fleet.witnesses.update(members[0] for members in camps.values())
    takers = frozenset(map(frozenset, camps.values()))
    fleet.obstacles.append(
        Obstacle(what=what, because="fixed by each host, and unlike", camps=told, takers=takers)
    )


def _common_bitmaps(hosts: Sequence[Acceptance]) -> dict[RegId, int]:
    """Services that every kernel implements; a bitmap that some kernel lacks is left at its default."""
    shared = set.intersection(*(set(host.bitmaps) for host in hosts))
    return {reg: reduce(int.__and__, (host.bitmaps[reg] for host in hosts)) for reg in sorted(shared)}
