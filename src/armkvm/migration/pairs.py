"""Every two kinds of a fleet side by side: what runs on each, and what could run on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.base import System
from armkvm.migration.baseline import Baseline, baseline
from armkvm.migration.check import Check, check
from armkvm.migration.fold import Accepts
from armkvm.migration.pools import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two kinds by their speakers: the check from `one` to `two` and back, and a new VM for both."""

    one: str
    two: str
    check: Check
    both: Baseline


def pairs(
    fleet: Sequence[Kind],
    offers: Mapping[str, frozenset[F]],
    accepts: Accepts,
    place: Callable[[str], System],
) -> Iterator[Pair]:
    """Each two kinds once, the earlier one first. `place` opens a kind's host, where moves are tried."""
    for one, two in combinations([kind.speaker for kind in fleet], 2):
        yield Pair(
            one=one,
            two=two,
            check=check(place(one), place(two)),
            both=baseline({one: offers[one], two: offers[two]}, accepts),
        )
