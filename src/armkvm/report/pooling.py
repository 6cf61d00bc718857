"""A fleet in pools: who is in which, what keeps them apart, and the answers to what-if questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from armkvm.migration.pools import Admission, Partition, Pool
from armkvm.report import baselines
from armkvm.report.table import Table


@dataclass(frozen=True, slots=True)
class Admitted:
    """What each pool, by number from 1, says to a newcomer."""

    host: str
    to: tuple[tuple[int, Admission], ...]


@dataclass(frozen=True, slots=True)
class Takers:
    """The hosts that can take a VM."""

    vm: str
    hosts: tuple[str, ...]


# -- text ------------------------------------------------------------------------------------------


def text(
    division: Partition,
    sizes: Mapping[str, int],
    before: Partition | None,
    admitted: Sequence[Admitted],
    takers: Sequence[Takers],
) -> list[str | Table]:
    """Pools for people."""
    hosts = sum(sizes.values())
    parts: list[str | Table] = [f"{_count(hosts, 'host')} in {_count(len(division.pools), 'pool')}"]
    if before is not None:
        parts[0] = f"{parts[0]}; as they are, {_count(len(before.pools), 'pool')}"
    rows = [_row(number, pool, sizes) for number, pool in enumerate(division.pools, start=1)]
    parts += ["", Table(("POOL", "HOSTS", "FEATURES", "SVE", "SME", "LOST", "WHO"), rows)]
    if division.apart:
        parts += ["", Table(("POOLS", "KEPT APART BY", "HOSTS"), _apart(division, sizes))]
    if division.unkept:
        parts += ["", baselines.losses(division.unkept, sizes)]
    for one in admitted:
        parts += ["", Table((f"{one.host} TO POOL", "", "COSTS"), [_admission(*each) for each in one.to])]
    if takers:
        total = f"of {hosts:,}"
        places = [
            (one.vm, f"{len(one.hosts):,} {total}", baselines.named(one.hosts, {}) or "-") for one in takers
        ]
        parts += ["", Table(("VM", "CAN RUN ON", "WHICH"), places)]
    return parts


def _row(number: int, pool: Pool, sizes: Mapping[str, int]) -> tuple[str, ...]:
    guest = pool.baseline.guest
    speakers = [kind.speaker for kind in pool.kinds]
    if guest is None:
        return (str(number), f"{len(pool.hosts):,}", "none", "-", "-", "-", baselines.named(speakers, sizes))
    return (
        str(number),
        f"{len(pool.hosts):,}",
        "+".join(sorted(map(str, guest.features))),
        str(guest.sve) if guest.sve else "-",
        str(guest.sme) if guest.sme else "-",
        str(len(pool.baseline.losses)),
        baselines.named(speakers, sizes),
    )


def _apart(division: Partition, sizes: Mapping[str, int]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for (one, two), obstacles in division.apart.items():
        pair = f"{one + 1} and {two + 1}"
        if not obstacles:
            rows.append((pair, "features that are to be kept, or that one would lose", ""))
        for obstacle in baselines.aarch32_last(obstacles)[:_MANY_OBSTACLES]:
            camps = "; ".join(f"{value}: {baselines.named(hosts, sizes)}" for value, hosts in obstacle.camps)
            rows.append((pair, obstacle.what, camps))
            pair = ""
        if len(obstacles) > _MANY_OBSTACLES:
            rows.append(("", f"and {len(obstacles) - _MANY_OBSTACLES} more", ""))
    return rows


def _admission(number: int, found: Admission) -> tuple[str, str, str]:
    if not found.possible:
        return str(number), "no", ", ".join(obstacle.what for obstacle in found.after.obstacles)
    if found.free:
        return str(number), "yes", "nothing: the pool's VMs can use it as they are"
    lost = [loss for loss in found.after.losses if loss not in found.before.losses]
    told = ", ".join(f"{loss.what} {loss.best} -> {loss.kept}" for loss in lost[:_MANY])
    more = f" and {len(lost) - _MANY} more" if len(lost) > _MANY else ""
    return str(number), "yes, at a cost", f"{told}{more}; VMs made before cannot use it" if told else "-"


_MANY = 3
_MANY_OBSTACLES = 8
"""As many obstacles are told of two pools; of more the number, and --json has all."""


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


# -- JSON ------------------------------------------------------------------------------------------


def tree(
    division: Partition,
    before: Partition | None,
    admitted: Sequence[Admitted],
    takers: Sequence[Takers],
) -> dict[str, Any]:
    """Pools for programs, hosts in full."""
    return {
        "pools": _pools(division),
        "apart": [
            {"pools": [one + 1, two + 1], "obstacles": list(map(baselines.obstacle_tree, obstacles))}
            for (one, two), obstacles in division.apart.items()
        ],
        "unkept": list(map(baselines.loss_tree, division.unkept)),
        "before": None if before is None else _pools(before),
        "admit": [
            {
                "host": one.host,
                "pools": [
                    {
                        "pool": number,
                        "possible": found.possible,
                        "free": found.free,
                        "baseline": baselines.tree(found.after),
                    }
                    for number, found in one.to
                ],
            }
            for one in admitted
        ],
        "vms": [{"vm": one.vm, "hosts": list(one.hosts)} for one in takers],
    }


def _pools(division: Partition) -> list[dict[str, Any]]:
    return [{"hosts": list(pool.hosts), "baseline": baselines.tree(pool.baseline)} for pool in division.pools]
