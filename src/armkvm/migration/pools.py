"""Dividing a fleet into pools whose hosts share a baseline, and what each division costs.

Equal hosts are reasoned about once: a `Kind` is a set of hosts that accept the same, with one of
them to speak for all. Two kinds are at odds if some field has no value that both take; a pool is a
set of kinds with a baseline, and the partition is a colouring of the graph of kinds at odds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.migration.baseline import GROUPS, NEVER, Baseline, baseline
from armkvm.migration.fold import Accepts, Loss, Obstacle


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Hosts that are alike: `speaker` stands for all of `hosts`."""

    speaker: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Hosts that all accept the pool's baseline; `journeys` tells what its VMs meet between them."""

    kinds: tuple[Kind, ...]
    baseline: Baseline

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(sorted(host for kind in self.kinds for host in kind.hosts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A fleet in pools, the largest first, and what keeps each two of them apart.

    `unkept` are features to keep that no pool has.
    """

    pools: tuple[Pool, ...]
    apart: Mapping[tuple[int, int], tuple[Obstacle, ...]]
    unkept: tuple[Loss, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What letting a host into a pool would mean."""

    host: str
    before: Baseline
    after: Baseline

    @property
    def possible(self) -> bool:
        """Whether the pool would still have a baseline."""
        return self.after.guest is not None

    @property
    def free(self) -> bool:
        """Whether the pool's running VMs, made to its baseline, could use the host as they are."""
        return self.after.guest == self.before.guest


def partition(
    fleet: Sequence[Kind],
    offers: Mapping[str, frozenset[F]],
    accepts: Accepts,
    keep: frozenset[F] = frozenset(),
) -> Partition:
    """The fleet in as few pools as can be found, larger kinds placed first.

    Hosts that offer features of `keep` are pooled only where the pool keeps them.
    """
    ordered = sorted(fleet, key=lambda kind: (-len(kind.hosts), kind.speaker))
    hosts = _Hosts(offers, accepts, keep & frozenset().union(*GROUPS))
    members: list[list[Kind]] = []
    settled: list[Baseline] = []
    for kind in ordered:
        place = _cheapest(kind, members, settled, hosts)
        if place is None:
            members.append([kind])
            settled.append(hosts.baseline([kind]))
        else:
            index, found = place
            members[index].append(kind)
            settled[index] = found
    pools = [Pool(kinds=tuple(group), baseline=found) for group, found in zip(members, settled, strict=True)]
    pools.sort(key=lambda pool: (-len(pool.hosts), pool.hosts))
    apart = {
        (one, two): hosts.baseline([*pools[one].kinds, *pools[two].kinds]).obstacles
        for one in range(len(pools))
        for two in range(one + 1, len(pools))
    }
    return Partition(pools=tuple(pools), apart=apart, unkept=tuple(_unkept(pools, offers, keep)))


def _unkept(pools: Sequence[Pool], offers: Mapping[str, frozenset[F]], keep: frozenset[F]) -> Iterator[Loss]:
    """What was to be kept and no pool has: a feature no host offers, or one no baseline has."""
    has = frozenset[F]().union(*(pool.baseline.guest.features for pool in pools if pool.baseline.guest))
    for feature in sorted(keep - has):
        able = tuple(sorted(label for label, offered in offers.items() if feature in offered))
        because = NEVER if able else "not offered"
        yield Loss(str(feature), "to be kept", "left out", because, able or tuple(sorted(offers)))


@dataclass(frozen=True, slots=True)
class _Hosts:
    """All that is known of the hosts, by speaker, and the features not to lose."""

    offers: Mapping[str, frozenset[F]]
    accepts: Accepts
    keep: frozenset[F] = frozenset()

    def baseline(self, group: Iterable[Kind]) -> Baseline:
        return baseline({kind.speaker: self.offers[kind.speaker] for kind in group}, self.accepts)

    def pooled(self, group: Sequence[Kind]) -> Baseline | None:
        """The baseline of a group that may be a pool: there is one, and it loses nothing that is kept."""
        found = self.baseline(group)
        wished = self.keep.intersection(frozenset().union(*(self.offers[kind.speaker] for kind in group)))
        return found if found.guest is not None and wished <= found.guest.features else None


def _cheapest(
    kind: Kind, members: Sequence[Sequence[Kind]], settled: Sequence[Baseline], hosts: _Hosts
) -> tuple[int, Baseline] | None:
    """The pool that loses least by taking a kind in, with its new baseline."""
    options = []
    for index, group in enumerate(members):
        found = hosts.pooled([*group, kind])
        if found is not None:
            cost = len(found.losses) - len(settled[index].losses)
            options.append((cost, index, found))
    if not options:
        return None
    _, index, found = min(options, key=lambda option: option[:2])
    return index, found


def admit(pool: Pool, newcomer: Kind, offers: Mapping[str, frozenset[F]], accepts: Accepts) -> Admission:
    """What admitting a kind of host to a pool does to the pool's baseline."""
    after = _Hosts(offers, accepts).baseline([*pool.kinds, newcomer])
    return Admission(host=newcomer.speaker, before=pool.baseline, after=after)
