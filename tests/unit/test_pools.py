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


def asked(*names: str, features: frozenset[F]) -> dict[str, tuple[str, tuple[str, ...]]]:
    found = baseline({name: OFFERS[name] for name in names}, ask, features)
    return {loss.what: (loss.because, loss.hosts) for loss in found.losses if loss.kept == "left out"}


def test_a_feature_asked_for_is_in_the_baseline_or_among_its_losses() -> None:
    """One that no host offers, one that some lack, half of a pair, and one that no baseline has."""
    assert asked("max", "neoverse-v1", features=frozenset({F.SME, F.PMU_V3})) == {
        "SME": ("not offered", ("max", "neoverse-v1"))
    }
    assert asked("max", "max-nosve", features=frozenset({F.SVE})) == {"SVE": ("not offered", ("max-nosve",))}
    assert asked("max", features=frozenset({F.PSCI_0_2, F.PTRAUTH_ADDRESS})) == {
        "PTRAUTH_ADDRESS": ("only together with PTRAUTH_GENERIC", ("max",))
    }
    assert asked("max", features=frozenset({F.HAS_EL2, F.PMU_V3})) == {
        "HAS_EL2": ("no baseline has it", ("max",))
    }
    everything = frozenset(F)
    told = " and ".join(asked("max", features=everything)).split(" and ")
    kept = baseline({"max": OFFERS["max"]}, ask, everything).guest
    assert kept is not None
    assert {*told, *map(str, kept.features)} == set(map(str, F))


def test_a_feature_to_keep_that_no_pool_has_is_told() -> None:
    """And parts no hosts: nothing is lost where nobody has it."""
    division = divide("max", "neoverse-v1", keep=frozenset({F.SME, F.SVE, F.HAS_EL2}))
    assert [(loss.what, loss.because) for loss in division.unkept] == [
        ("HAS_EL2", "not offered"),
        ("SME", "not offered"),
    ]
    assert len(division.pools) == 1
    nested = {name: Platform(*library.find("max-nested", "7.3")) for name in ("one", "two")}
    offers = {name: offered(host) for name, host in nested.items()}
    kinds = [Kind(speaker=name, hosts=(name,)) for name in nested]
    division = partition(kinds, offers, lambda name, fs: accepts(nested[name], fs), frozenset({F.HAS_EL2}))
    assert [(loss.what, loss.because, loss.hosts) for loss in division.unkept] == [
        ("HAS_EL2", "no baseline has it", ("one", "two"))
    ]
    assert len(division.pools) == 1
