"""Pools: hosts that share a baseline, alike hosts together, features kept where that is asked for."""

from __future__ import annotations

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.hosts import library
from armkvm.migration.baseline import baseline
from armkvm.migration.pools import Kind, Partition, admit, partition
from armkvm.model.acceptance import accepts, offered
from armkvm.model.host import Platform
from armkvm.state import Acceptance

HOSTS = {
    name: Platform(*library.find(name, "7.3"))
    for name in ("max", "max-vq4", "max-nosve", "neoverse-v1", "neoverse-n1")
}
OFFERS = {name: offered(host) for name, host in HOSTS.items()}


def ask(name: str, features: frozenset[F]) -> Acceptance:
    return accepts(HOSTS[name], features)


def divide(*names: str, keep: frozenset[F] = frozenset()) -> Partition:
    return partition([Kind(speaker=name, hosts=(name,)) for name in names], OFFERS, ask, keep)


def pools(division: Partition) -> list[set[str]]:
    return [set(pool.hosts) for pool in division.pools]


def test_only_hosts_at_odds_are_apart() -> None:
    division = divide("max", "max-vq4", "neoverse-v1", "neoverse-n1")
    assert pools(division) == [{"max", "max-vq4", "neoverse-v1"}, {"neoverse-n1"}]
    assert {obstacle.what for obstacle in division.apart[0, 1]} >= {"ID_AA64MMFR2_EL1.FWB"}


def test_every_pool_has_its_hosts_baseline() -> None:
    for pool in divide(*HOSTS).pools:
        offers = {kind.speaker: OFFERS[kind.speaker] for kind in pool.kinds}
        assert pool.baseline == baseline(offers, ask)
        assert pool.baseline.guest is not None


def test_a_feature_that_is_kept_divides_who_has_it_from_who_has_not() -> None:
    assert pools(divide("max", "max-nosve")) == [{"max", "max-nosve"}]
    assert pools(divide("max", "max-nosve", keep=frozenset({F.SVE}))) == [{"max"}, {"max-nosve"}]
    assert pools(divide("max", "max-vq4", keep=frozenset({F.SVE}))) == [{"max", "max-vq4"}]


def test_admission_is_free_costs_or_is_impossible() -> None:
    (pool,) = divide("max-vq4").pools
    answers = {
        name: admit(pool, Kind(speaker=name, hosts=(name,)), OFFERS, ask)
        for name in ("max", "neoverse-v1", "neoverse-n1")
    }
    assert {name: (found.possible, found.free) for name, found in answers.items()} == {
        "max": (True, True),
        "neoverse-v1": (True, False),
        "neoverse-n1": (False, False),
    }
