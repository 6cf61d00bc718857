"""The largest vCPU that every host of a fleet accepts, with what was lost on the way and to whom.

The baseline is a fold over what the hosts accept (`Acceptance`): features in common, the longest
common prefix of the vector lengths, and per ID field the greatest value that sticks on all of
them, which may be a value that no host reports. It does not depend on order or repetition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field as attribute
from functools import reduce

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.fields import Direction, Field, Kind
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import id_of, name_of
from armkvm.state import Acceptance, GuestCpu

Accepts = Callable[[str, frozenset[F]], Acceptance]
"""What a host, by label, accepts for a vCPU with given features."""

# Features that are asked for together, in the order in which a baseline tries to keep them.
GROUPS: tuple[tuple[F, ...], ...] = (
    (F.PMU_V3,),
    (F.SVE,),
    (F.SME,),
    (F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Something the best host could give and the baseline does not, with the hosts that cost it."""

    what: str
    best: str
    kept: str
    because: str
    hosts: tuple[str, ...]
    is_field: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """A register or field for which no value suits every host.

    `camps` are the hosts by what they insist on, the largest first; leaving out all but one of
    them removes the obstacle.
    """

    what: str
    because: str
    camps: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def to_leave_out(self) -> frozenset[str]:
        """The fewest hosts without which the rest agree."""
        return frozenset(host for _, hosts in self.camps[1:] for host in hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The answer for a fleet: what a VM can be given everywhere, or why there is no such thing."""

    hosts: tuple[str, ...]
    guest: GuestCpu | None
    losses: tuple[Loss, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()

    @property
    def to_leave_out(self) -> frozenset[str]:
        """Hosts to leave out so that the others have a baseline."""
        return frozenset().union(*(obstacle.to_leave_out for obstacle in self.obstacles))


@dataclass(frozen=True, slots=True)
class _Fleet:
    """The hosts under one choice of features, and what their registers come to together."""

    labels: tuple[str, ...]
    hosts: tuple[Acceptance, ...]
    registers: dict[RegId, int] = attribute(default_factory=dict)
    losses: list[Loss] = attribute(default_factory=list)
    obstacles: list[Obstacle] = attribute(default_factory=list)

    def values(self, reg: RegId) -> list[int]:
        return [host.initial[reg] for host in self.hosts]


def baseline(
    offers: Mapping[str, frozenset[F]], accepts: Accepts, wanted: frozenset[F] | None = None
) -> Baseline:
    """The baseline of the hosts in `offers` (label -> features offered).

    `wanted` restricts the features; by default every group that all hosts offer is kept, unless
    leaving it out is what makes a baseline possible.
    """
    labels = tuple(sorted(offers))
    if not labels:
        raise ValueError("a baseline needs at least one host")
    features, losses = _common_features(offers, wanted)
    fleet = _fold(labels, features, accepts)
    for group in GROUPS:
        if fleet.obstacles and features.issuperset(group):
            without = _fold(labels, features - set(group), accepts)
            if len(without.obstacles) < len(fleet.obstacles):
                losses.append(_given_up(group, fleet, without))
                fleet, features = without, features - set(group)
    lengths, lost_lengths = _common_lengths(fleet)
    empty = frozenset(feature for feature, common in lengths.items() if not common)
    if empty:
        fleet = _fold(labels, features - empty, accepts)
    losses += lost_lengths
    if fleet.obstacles:
        return Baseline(hosts=labels, guest=None, losses=tuple(losses), obstacles=tuple(fleet.obstacles))
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
    _fold_fields(fleet)
    _fold_wide_fields(fleet)
    _fold_identity(fleet)
    return fleet


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
        elif len(without) < len(offers):
            what = " and ".join(group)
            losses.append(
                Loss(what=what, best="offered", kept="left out", because="not offered", hosts=without)
            )
    return frozenset(kept), losses


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


def _fold_fields(fleet: _Fleet) -> None:
    """Each narrow field by itself: the greatest value that sticks everywhere."""
    for field in fleet.hosts[0].fields:
        reg = id_of(field.register)
        values = [field.extract(value) for value in fleet.values(reg)]
        common = reduce(int.__and__, (host.fields[field] for host in fleet.hosts))
        if not common:
            fleet.obstacles.append(_obstacle(field, fleet, values))
            continue
        value = greatest(field, common, values)
        fleet.registers[reg] = field.insert(fleet.registers.get(reg, 0), value)
        fleet.losses.extend(_lost(field, value, fleet, values))


def greatest(field: Field, common: int, reported: Iterable[int]) -> int:
    """Of the values that all hosts accept (bits of `common`) the one that promises most.

    Values of an exact field have no order: one that a host reports beats the safe value.
    """
    values = [v for v in range(common.bit_length()) if common >> v & 1]
    if field.direction is Direction.EXACT:
        shown = set(reported)
        return max(values, key=lambda v: (v in shown, v != field.safe, v))
    return max(values, key=field.rank)


def _lost(field: Field, value: int, fleet: _Fleet, values: list[int]) -> list[Loss]:
    best = greatest(field, reduce(int.__or__, (1 << v for v in values)), values)
    if best == value or field.kind is not Kind.NAMED:
        return []
    pairs = zip(fleet.labels, fleet.hosts, strict=True)
    return [
        Loss(
            what=str(field),
            best=field.told(best),
            kept=field.told(value),
            because="the most that every host accepts",
            hosts=tuple(label for label, host in pairs if not host.fields[field] >> best & 1),
            is_field=True,
        )
    ]


def _obstacle(field: Field, fleet: _Fleet, values: list[int]) -> Obstacle:
    """The hosts by the most popular value that each can take part in."""
    remaining = dict(zip(fleet.labels, fleet.hosts, strict=True))
    candidates = sorted({*values, *([] if field.safe is None else [field.safe])})
    camps: list[tuple[str, tuple[str, ...]]] = []
    while remaining:
        sizes = {v: sum(host.fields[field] >> v & 1 for host in remaining.values()) for v in candidates}
        value = max(candidates, key=sizes.__getitem__)
        camp = tuple(label for label, host in remaining.items() if host.fields[field] >> value & 1)
        camps.append((field.told(value), camp))
        for label in camp:
            del remaining[label]
    because = "no value of this field sticks on every host"
    return Obstacle(what=str(field), because=because, camps=tuple(camps))


def _fold_wide_fields(fleet: _Fleet) -> None:
    """Bits that belong to no narrow field are what they are, and so must agree."""
    narrow: dict[RegId, int] = {}
    for field in fleet.hosts[0].fields:
        reg = id_of(field.register)
        narrow[reg] = narrow.get(reg, 0) | field.mask
    for reg, mask in narrow.items():
        rest = ~mask & _ALL_BITS
        if rest:
            _agree(f"{name_of(reg)} bits {rest:#x}", reg, rest, fleet)


def _fold_identity(fleet: _Fleet) -> None:
    """MIDR_EL1 and its like must agree, unless every host lets a VM have its own."""
    writable = all(host.identity_is_writable for host in fleet.hosts)
    for reg in fleet.hosts[0].identity:
        if not writable:
            _agree(name_of(reg), reg, _ALL_BITS, fleet)
        elif len(set(fleet.values(reg))) > 1:
            fleet.registers[reg] = min(fleet.values(reg))


_ALL_BITS = (1 << 64) - 1


def _agree(what: str, reg: RegId, mask: int, fleet: _Fleet) -> None:
    camps: dict[int, list[str]] = {}
    for label, value in zip(fleet.labels, fleet.values(reg), strict=True):
        camps.setdefault(value & mask, []).append(label)
    if len(camps) == 1:
        fleet.registers[reg] = fleet.registers.get(reg, 0) | next(iter(camps))
        return
    ordered = sorted(camps.items(), key=lambda camp: (-len(camp[1]), camp[0]))
    told = tuple((f"{value:#x}", tuple(members)) for value, members in ordered)
    fleet.obstacles.append(Obstacle(what=what, because="fixed by each host, and unlike", camps=told))


def _common_bitmaps(hosts: Sequence[Acceptance]) -> dict[RegId, int]:
    """Services that every kernel implements; a bitmap that some kernel lacks is left at its default."""
    shared = set.intersection(*(set(host.bitmaps) for host in hosts))
    return {reg: reduce(int.__and__, (host.bitmaps[reg] for host in hosts)) for reg in sorted(shared)}
