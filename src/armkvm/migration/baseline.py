"""The largest vCPU that every host of a fleet accepts, with what was lost on the way and to whom.

The baseline is a fold over what the hosts accept (`Acceptance`): features in common, the longest
common prefix of the vector lengths, and per ID field the greatest value that sticks on all of
them, which may be a value that no host reports. It does not depend on order or repetition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.migration.agreement import largest_agreeing
from armkvm.migration.fold import Accepts, Fleet, Loss, Obstacle, fold
from armkvm.state import Acceptance, GuestCpu

# Features that are asked for together, in the order in which a baseline tries to keep them.
GROUPS: tuple[tuple[F, ...], ...] = (
    (F.PMU_V3,),
    (F.SVE,),
    (F.SME,),
    (F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC),
)

NEVER = "no baseline has it"
"""Why features that are not in `GROUPS` are left out, but for PSCI_0_2, which is always there."""


class Baseline(NamedTuple):
    """The answer for a fleet: what a VM can be given everywhere, or why there is no such thing.

    `to_leave_out` are the fewest hosts without which the others have a baseline.
    """

    hosts: tuple[str, ...]
    guest: GuestCpu | None
    losses: tuple[Loss, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    to_leave_out: frozenset[str] = frozenset()


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
    fleet = fold(labels, features, accepts)
    for group in GROUPS:
        if fleet.obstacles and features.issuperset(group):
            without = _without(group, fleet, features, accepts)
            if without is not None:
                losses.append(_given_up(group, fleet, without))
                fleet, features = without, features - set(group)
    lengths, lost_lengths = _common_lengths(fleet)
    empty = frozenset(feature for feature, common in lengths.items() if not common)
    if empty:
        fleet = fold(labels, features - empty, accepts, fleet)
    losses += lost_lengths
    if fleet.obstacles:
        obstacles = fleet.obstacles
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


def _without(group: tuple[F, ...], fleet: Fleet, features: frozenset[F], accepts: Accepts) -> Fleet | None:
    """The fleet without some features, if that leaves fewer obstacles.

    The few hosts that show the obstacles are asked first, and of the registers with obstacles alone:
    all hosts together agree on no more.
    """
    witnesses = {host for obstacle in fleet.obstacles for host in obstacle.witnesses}
    disputed = [reg for reg in fleet.hosts[0].compared if fleet.agreements[reg].obstacles]
    few = fold(tuple(sorted(witnesses)), features - set(group), accepts, registers=disputed)
    if len(few.obstacles) >= len(fleet.obstacles):
        return None
    without = fold(fleet.labels, features - set(group), accepts, fleet)
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


def _given_up(group: tuple[F, ...], before: Fleet, after: Fleet) -> Loss:
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


def _common_lengths(fleet: Fleet) -> tuple[dict[F, VectorLengths], list[Loss]]:
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


# -- firmware --------------------------------------------------------------------------------------


def _common_bitmaps(hosts: Sequence[Acceptance]) -> dict[RegId, int]:
    """Services that every kernel implements; a bitmap that some kernel lacks is left at its default."""
    shared = set.intersection(*(set(host.bitmaps) for host in hosts))
    return {reg: reduce(int.__and__, (host.bitmaps[reg] for host in hosts)) for reg in sorted(shared)}
