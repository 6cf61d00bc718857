"""The baseline of a fleet: what every host takes, and no less; whatever the fleet."""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import combinations

import pytest
from hypothesis import given, settings, strategies as st

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.fields import Direction, Field
from armkvm.arch.idfields import field, fields_of
from armkvm.arch.vectors import VectorLengths
from armkvm.backends.model import ModelSystem, ModelVcpu
from armkvm.catalog import id_of
from armkvm.errors import KvmError
from armkvm.hosts import library
from armkvm.migration.baseline import Baseline, baseline
from armkvm.migration.provision import PSCI_VERSION, configure, registers
from armkvm.model.acceptance import accepts, offered
from armkvm.model.host import Platform
from armkvm.state import Acceptance, GuestCpu
from armkvm.value import replace

Altered = tuple[str, tuple[tuple[str, str, int], ...]]
"""A host and fields of it set to something else."""

HOSTS = ("max?7.3", "max-vq4?7.3", "neoverse-v1?7.3", "neoverse-n2?7.3", "neoverse-n1?7.3", "max?6.18")
# Fields of every kind of order: lower, signed, exact with a safe value, fixed by the kernel.
FIELDS = (
    ("ID_AA64ISAR0_EL1", "ATOMIC"),
    ("ID_AA64ISAR0_EL1", "TS"),
    ("ID_AA64DFR0_EL1", "DOUBLELOCK"),
    ("ID_AA64MMFR0_EL1", "TGRAN4_2"),
    ("ID_AA64MMFR0_EL1", "TGRAN16"),
    ("ID_AA64MMFR1_EL1", "HPDS"),
    ("ID_AA64PFR0_EL1", "CSV2"),
    ("ID_AA64PFR1_EL1", "SSBS"),
    ("CTR_EL0", "DMINLINE"),
)


@lru_cache(maxsize=256)
def platform(altered: Altered) -> Platform:
    name, changes = altered
    facts, profile = library.find(*name.split("?"))
    plain = dict(facts.values["plain"])
    for register, part, value in changes:
        one = field(register, part)
        reg = id_of(one.register)
        plain[reg] = one.insert(plain.get(reg, 0), value & (1 << one.width) - 1)
    return Platform(replace(facts, values={**facts.values, "plain": plain}), profile)


@cache
def acceptance(altered: Altered, features: frozenset[F]) -> Acceptance:
    return accepts(platform(altered), features)


def found_for(hosts: list[Altered], sizes: dict[str, int] | None = None) -> Baseline:
    labelled = {f"h{number}": host for number, host in enumerate(hosts)}
    offers = {label: offered(platform(host)) for label, host in labelled.items()}
    return baseline(offers, lambda label, features: acceptance(labelled[label], features), sizes=sizes)


changes = st.lists(
    st.tuples(st.sampled_from(FIELDS), st.integers(0, 15)).map(lambda row: (*row[0], row[1])), max_size=3
).map(tuple)
hosts = st.lists(st.tuples(st.sampled_from(HOSTS), changes), min_size=1, max_size=4)


def vcpu_as(host: Altered, guest: GuestCpu) -> ModelVcpu:
    """A vCPU of that host with the guest's features, otherwise as initialised."""
    place = platform(host)
    vm = ModelSystem(place.facts, place.profile).create_vm()
    if vm.check_extension(Cap.ARM_WRITABLE_IMP_ID_REGS) > 0:
        vm.enable_cap(Cap.ARM_WRITABLE_IMP_ID_REGS)
    vcpu = vm.create_vcpu(0)
    vcpu.init(guest.features)
    return vcpu


def sticks(vcpu: ModelVcpu, reg: RegId, value: int) -> bool:
    data = value.to_bytes(reg.size, "little")
    try:
        vcpu.set_one_reg(reg, data)
    except KvmError:
        return False
    return vcpu.get_one_reg(reg) == data


@given(hosts)
@settings(max_examples=40)
def test_every_host_takes_all_of_it(fleet: list[Altered]) -> None:
    """Features, lengths, every ID register, PSCI version and bitmap stick; FINALIZE succeeds."""
    guest = found_for(fleet).guest
    for host in fleet if guest is not None else ():
        assert guest is not None
        vcpu = vcpu_as(host, guest)
        configure(vcpu, guest)
        for reg, value in registers(guest).items():
            assert vcpu.get_one_reg(reg) == value.to_bytes(reg.size, "little"), (host, reg)


@given(hosts, st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_neither_order_nor_repetition_matters(fleet: list[Altered], random: object) -> None:
    shuffled = [*fleet, *fleet[:1]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert found_for(shuffled).guest == found_for(fleet).guest


@given(hosts.filter(lambda fleet: len(fleet) > 1), st.data())
@settings(max_examples=25)
def test_it_never_shrinks_when_a_host_leaves(fleet: list[Altered], data: st.DataObject) -> None:
    gone = data.draw(st.integers(0, len(fleet) - 1))
    before, after = found_for(fleet).guest, found_for(fleet[:gone] + fleet[gone + 1 :]).guest
    if before is None:
        return
    assert after is not None
    assert before.features <= after.features
    assert before.sve.is_prefix_of(after.sve)
    assert before.sme.is_prefix_of(after.sme)
    assert (before.psci_version or 0) <= (after.psci_version or 0)
    assert all(not bits & ~after.bitmaps[reg] for reg, bits in before.bitmaps.items())
    for part, old in ordered_fields(before):
        new = part.extract(after.id_registers[id_of(part.register)])
        assert part.rank(old) <= part.rank(new), part


def ordered_fields(guest: GuestCpu) -> list[tuple[Field, int]]:
    return [
        (part, part.extract(value))
        for reg, value in guest.id_registers.items()
        if reg.encoding is not None
        for part in fields_of(reg.encoding)
        if part.direction is not Direction.EXACT and part.width <= 4
    ]


@given(hosts, st.data())
@settings(max_examples=40)
def test_leaving_out_the_fewest_hosts_gives_the_others_a_baseline(
    fleet: list[Altered], data: st.DataObject
) -> None:
    """No smaller number of hosts would do, as every set of them shows; alike hosts are counted."""
    sizes = {f"h{number}": data.draw(st.integers(1, 3)) for number in range(len(fleet))}
    found = found_for(fleet, sizes)
    assert (found.guest is None) == bool(found.to_leave_out)
    kept = [number for number in range(len(fleet)) if f"h{number}" not in found.to_leave_out]
    assert found_for([fleet[number] for number in kept]).guest is not None
    most = sum(sizes[f"h{number}"] for number in kept)
    for some in (some for n in range(1, len(fleet)) for some in combinations(range(len(fleet)), n)):
        if sum(sizes[f"h{number}"] for number in some) > most:
            assert found_for([fleet[number] for number in some]).guest is None


@given(hosts)
@settings(max_examples=40)
def test_obstacles_are_told_by_who_insists_on_what(fleet: list[Altered]) -> None:
    """Every host is in one camp of each obstacle, and each camp alone agrees."""
    for obstacle in found_for(fleet).obstacles:
        camps = [set(members) for _, members in obstacle.camps]
        assert len(camps) > 1
        assert sorted(label for members in camps for label in members) == sorted(
            f"h{number}" for number in range(len(fleet))
        )
        assert all(any(members <= takers for takers in obstacle.takers) for members in camps)


@given(hosts)
@settings(max_examples=25)
def test_nothing_can_be_added_without_some_host_refusing(fleet: list[Altered]) -> None:
    """Not a vector length, nor a PSCI version, nor a bit of a firmware bitmap."""
    guest = found_for(fleet).guest
    if guest is None:
        return
    own = [acceptance(host, guest.features) for host in fleet]
    for name, lengths in (("sve", guest.sve), ("sme", guest.sme)):
        for vq in range(lengths.max + 1, 17):
            longer = VectorLengths([*lengths, vq])
            assert not all(longer.is_prefix_of(getattr(each, name)) for each in own)
    fresh = [vcpu_as(host, guest) for host in fleet]
    for reg, value in {**guest.bitmaps, PSCI_VERSION: guest.psci_version or 0}.items():
        for more in {value | 1 << bit for bit in range(8)} | {value + 1, 0x10003} - {value}:
            if more > value:
                assert not all(sticks(vcpu, reg, more) for vcpu in fresh), (reg, more)


@given(hosts)
@settings(max_examples=15)
def test_no_field_can_be_raised_without_some_host_refusing(fleet: list[Altered]) -> None:
    guest = found_for(fleet).guest
    if guest is None:
        return
    fresh = [vcpu_as(host, guest) for host in fleet]
    for part, value in ordered_fields(guest):
        reg = id_of(part.register)
        for more in range(1 << part.width):
            if part.rank(more) > part.rank(value):
                assert not all(_alone(vcpu, reg, part, more) for vcpu in fresh), (part, more)


def _alone(vcpu: ModelVcpu, reg: RegId, part: Field, value: int) -> bool:
    """Whether a value sticks in an otherwise untouched register, which is as it was afterwards."""
    initial = int.from_bytes(vcpu.get_one_reg(reg), "little")
    stuck = sticks(vcpu, reg, part.insert(initial, value))
    assert sticks(vcpu, reg, initial)
    return stuck


@pytest.mark.parametrize("names", [("neoverse-v1?7.3", "max?7.3")])
def test_it_finds_values_that_no_host_reports(names: tuple[str, ...]) -> None:
    """Stage 2 granules are exact but for 1: unlike hosts agree on what neither shows."""
    guest = found_for([(name, ()) for name in names]).guest
    assert guest is not None
    part = field("ID_AA64MMFR0_EL1", "TGRAN4_2")
    reg = id_of(part.register)
    assert part.extract(guest.id_registers[reg]) == 1
    assert 1 not in {part.extract(platform((name, ())).value(reg)) for name in names}
