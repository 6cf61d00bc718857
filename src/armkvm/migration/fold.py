"""What the hosts of a fleet come to in their ID registers: the fold of a baseline, register by register.

Few registers and few fields differ between hosts, however many there are. What differs is folded field
by field, over the values that stick on each kind of host; what does not is as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, reduce
from typing import NamedTuple

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.fields import Direction, Field, Kind
from armkvm.arch.idfields import narrow_fields
from armkvm.catalog import name_of
from armkvm.migration.agreement import Takers, maximal
from armkvm.state import Acceptance, FieldRules

Accepts = Callable[[str, frozenset[VcpuFeature]], Acceptance]
"""What a host, by label, accepts for a vCPU with given features."""


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
    them removes the obstacle. `takers` are the largest sets of hosts that agree on a value. The
    `witnesses` alone show the obstacle.
    """

    what: str
    because: str
    camps: tuple[tuple[str, tuple[str, ...]], ...]
    takers: Takers
    witnesses: tuple[str, ...]

    @property
    def to_leave_out(self) -> frozenset[str]:
        """The fewest hosts without which the rest agree."""
        return frozenset(host for _, hosts in self.camps[1:] for host in hosts)


class Lowered(NamedTuple):
    """A field that is kept below the best that some host could give; `refusers` do not accept that."""

    part: Field
    best: int
    kept: int
    refusers: Sequence[str]

    @property
    def loss(self) -> Loss:
        """The same for people."""
        return Loss(
            what=str(self.part),
            best=self.part.told(self.best),
            kept=self.part.told(self.kept),
            because="the most that every host accepts",
            hosts=tuple(sorted(self.refusers)),
            is_field=True,
        )


class Agreement(NamedTuple):
    """What hosts that start a register at `values` come to in it, and what is in the way."""

    values: Sequence[int]
    kept: int
    lowered: tuple[Lowered, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()


class Fleet(NamedTuple):
    """The hosts under one choice of features, and what they come to in each register."""

    labels: tuple[str, ...]
    hosts: tuple[Acceptance, ...]
    agreements: Mapping[RegId, Agreement]

    @property
    def rules(self) -> list[FieldRules]:
        """What each host goes by."""
        return [host.rules for host in self.hosts]

    @property
    def registers(self) -> dict[RegId, int]:
        """What a VM can be given everywhere, if there are no obstacles."""
        return {reg: each.kept for reg, each in self.agreements.items()}

    @property
    def obstacles(self) -> tuple[Obstacle, ...]:
        return tuple(obstacle for each in self.agreements.values() for obstacle in each.obstacles)

    @property
    def losses(self) -> Iterator[Loss]:
        return (lowered.loss for each in self.agreements.values() for lowered in each.lowered)


def fold(
    labels: tuple[str, ...],
    features: frozenset[VcpuFeature],
    accepts: Accepts,
    before: Fleet | None = None,
    registers: Iterable[RegId] | None = None,
) -> Fleet:
    """What the hosts come to with these features in these registers, all by default, and in who they are.

    `before`: what they come to with other features, which is the same in most registers.
    """
    fleet = Fleet(labels, tuple(accepts(label, features) for label in labels), {})
    initials = [host.initial for host in fleet.hosts]
    rules = fleet.rules
    known = before.agreements if before and before.labels == labels and before.rules == rules else {}
    agreements: dict[RegId, Agreement] = {}
    for reg in fleet.hosts[0].compared if registers is None else registers:
        values = [initial[reg] for initial in initials]
        if reg in known and known[reg].values == values:
            agreements[reg] = known[reg]
        elif len(set(values)) == 1:
            agreements[reg] = Agreement(values, kept=values[0])
        else:
            agreements[reg] = _agreement(reg, values, rules, labels)
    agreements.update(_identities(fleet))
    return fleet._replace(agreements=agreements)


def _agreement(
    reg: RegId, values: Sequence[int], rules: Sequence[FieldRules], labels: Sequence[str]
) -> Agreement:
    """Each narrow field by itself; bits of no such field are what they are, and so must agree."""
    kinds: dict[tuple[int, FieldRules], list[str]] = defaultdict(list)
    for kind, label in zip(zip(values, rules, strict=True), labels, strict=True):
        kinds[kind].append(label)
    parts = _masked(reg)
    accepted = zip(*(rule(reg, value) for value, rule in kinds), strict=True)
    unlike = reduce(int.__or__, (value ^ values[0] for value, _ in kinds))
    kept, lowered, obstacles = values[0] & ~unlike, list[Lowered](), list[Obstacle]()
    for (part, mask), bits in zip(parts, accepted, strict=True):
        if mask & unlike:
            column = _column(part, kinds, bits)
            if not column.common:
                obstacles.append(_unmet(column))
                continue
            most, best = greatest(part, column.common, column.reported), column.best
            kept = part.insert(kept, most)
            if part.kind is Kind.NAMED and most != best:
                lowered.append(Lowered(part, best, most, column.hosts(best, takers=False)))
    rest = _ALL_BITS & ~sum(mask for _, mask in parts)
    if rest & unlike:
        held = ((value & rest, hosts) for (value, _), hosts in kinds.items())
        obstacles.append(_unlike(f"{name_of(reg)} bits {rest:#x}", held))
    return Agreement(values, kept, tuple(lowered), tuple(obstacles))


_ALL_BITS = (1 << 64) - 1


@cache
def _masked(reg: RegId) -> tuple[tuple[Field, int], ...]:
    """The narrow fields of a register, each with its mask."""
    encoding = reg.encoding
    assert encoding is not None  # noqa: S101 - feature ID registers are system registers
    return tuple((part, part.mask) for part in narrow_fields(encoding))


class _Column(NamedTuple):
    """A field that hosts start unlike: hosts by its value and by the values that stick, as bits."""

    part: Field
    kinds: Mapping[tuple[int, int], list[str]]

    @property
    def reported(self) -> set[int]:
        return {value for value, _ in self.kinds}

    @property
    def common(self) -> int:
        """The values that stick everywhere, as bits."""
        return reduce(int.__and__, (bits for _, bits in self.kinds))

    @property
    def best(self) -> int:
        """The value that promises most of those that hosts report."""
        return greatest(self.part, reduce(int.__or__, (1 << v for v in self.reported)), self.reported)

    def hosts(self, value: int, *, takers: bool) -> list[str]:
        """The hosts on which a value sticks, or those on which it does not."""
        return [
            host
            for (_, bits), hosts in self.kinds.items()
            if bool(bits >> value & 1) is takers
            for host in hosts
        ]


def _column(
    part: Field, kinds: Mapping[tuple[int, FieldRules], list[str]], accepted: Iterable[int]
) -> _Column:
    """One field of a register; `accepted`: what sticks in it on each kind of host, as bits."""
    column: dict[tuple[int, int], list[str]] = defaultdict(list)
    for ((value, _), hosts), bits in zip(kinds.items(), accepted, strict=True):
        column[part.extract(value), bits] += hosts
    return _Column(part, column)


def greatest(field: Field, common: int, reported: Iterable[int]) -> int:
    """Of the values that all hosts accept (bits of `common`) the one that promises most.

    Values of an exact field have no order: one that a host reports beats the safe value.
    """
    if field.direction is Direction.LOWER and not field.signed:
        return common.bit_length() - 1
    values = [v for v in range(common.bit_length()) if common >> v & 1]
    if field.direction is Direction.EXACT:
        shown = set(reported)
        return max(values, key=lambda v: (v in shown, v != field.safe, v))
    return max(values, key=field.rank)


def _unmet(column: _Column) -> Obstacle:
    """No value of a field sticks everywhere: the hosts by the most popular value that each can take."""
    part = column.part
    candidates = sorted({*column.reported, *([] if part.safe is None else [part.safe])})
    takers = {value: frozenset(column.hosts(value, takers=True)) for value in candidates}
    remaining = {host for hosts in column.kinds.values() for host in hosts}
    camps: list[tuple[str, tuple[str, ...]]] = []
    while remaining:
        value = max(candidates, key=lambda value: len(takers[value] & remaining))
        camps.append((part.told(value), tuple(sorted(takers[value] & remaining))))
        remaining -= takers[value]
    return Obstacle(
        what=str(part),
        because="no value of this field sticks on every host",
        camps=tuple(camps),
        takers=maximal(takers.values()),
        witnesses=tuple(hosts[0] for hosts in column.kinds.values()),
    )


def _unlike(what: str, held: Iterable[tuple[int, Sequence[str]]]) -> Obstacle:
    """Bits that no VM can choose, and that hosts do not agree on."""
    camps: dict[int, list[str]] = defaultdict(list)
    for value, hosts in held:
        camps[value] += hosts
    ordered = sorted(camps.items(), key=lambda camp: (-len(camp[1]), camp[0]))
    return Obstacle(
        what=what,
        because="fixed by each host, and unlike",
        camps=tuple((f"{value:#x}", tuple(sorted(hosts))) for value, hosts in ordered),
        takers=frozenset(map(frozenset, camps.values())),
        witnesses=tuple(hosts[0] for hosts in camps.values()),
    )


def _identities(fleet: Fleet) -> Iterator[tuple[RegId, Agreement]]:
    """MIDR_EL1 and its like must agree, unless every host lets a VM have its own.

    They are part of the baseline only where they have to be chosen, which takes a capability.
    """
    are_writable = all(host.identity_is_writable for host in fleet.hosts)
    for reg in fleet.hosts[0].identity:
        values = [host.initial[reg] for host in fleet.hosts]
        if len(set(values)) > 1:
            held = zip(values, ([label] for label in fleet.labels), strict=True)
            obstacles = () if are_writable else (_unlike(name_of(reg), held),)
            yield reg, Agreement(values, kept=min(values), obstacles=obstacles)
