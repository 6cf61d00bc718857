"""A migration makes, fills, captures, restores and compares; what stands in the way is said."""

from __future__ import annotations

import errno

import pytest
from tests.fakes import Host

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import parse
from armkvm.migration.advice import Code
from armkvm.migration.move import Wanted, migrate, prepare, usual_features
from armkvm.migration.ordering import Stage

SVE = (VcpuFeature.PSCI_0_2, VcpuFeature.SVE)


def test_a_move_between_twins_arrives_and_closes_both_vms() -> None:
    source, destination = Host(), Host()
    report = migrate(source.system(), destination.system(), Wanted(features=SVE, vcpus=2), seed=5)
    assert report.moved
    assert report.findings == ()
    assert report.registers == 28
    assert report.bytes_held == sum(
        len(data)
        for vcpu in (report.prepared.snapshot.vcpus if report.prepared.snapshot else ())
        for data in vcpu.registers.values()
    )
    assert source.open_vms == destination.open_vms == 0
    assert [step.stage for step in report.plans[0].steps()][:2] == [Stage.INIT, Stage.IDENTITY]


def test_the_lengths_asked_for_are_chosen_at_the_source() -> None:
    wanted = Wanted(features=SVE, vls=VectorLengths([1]))
    prepared = prepare(Host().system(), wanted)
    assert prepared.snapshot is not None
    assert prepared.snapshot.vcpus[0].sve_lengths == VectorLengths([1])


def test_a_set_the_source_does_not_take_is_a_finding_with_the_longest_that_both_hosts_do() -> None:
    source = Host(lengths=VectorLengths([1, 2, 4]))
    destination = Host(lengths=VectorLengths([1, 2, 3, 4]))
    report = migrate(source.system(), destination.system(), Wanted(features=SVE, vls=VectorLengths([1, 4])))
    assert not report.moved
    (finding,) = report.findings
    assert (finding.code, finding.asked, finding.there, finding.acceptable) == (
        Code.VECTOR_LENGTHS,
        "1,4",
        "1,2,4",
        "1,2",
    )
    assert source.open_vms == destination.open_vms == 0


def test_a_set_the_source_does_not_take_without_a_destination_has_the_longest_it_would() -> None:
    wanted = Wanted(features=SVE, vls=VectorLengths([1, 4]))
    (finding,) = prepare(Host(lengths=VectorLengths([1, 2, 4])).system(), wanted).findings
    assert finding.acceptable == "1"


def test_lengths_for_a_vcpu_without_them_are_refused_by_the_place_itself() -> None:
    prepared = prepare(Host().system(), Wanted(vls=VectorLengths([1])))
    (finding,) = prepared.findings
    assert (finding.code, finding.reg, finding.errno) == (
        Code.REGISTER_REFUSED,
        RegId.sve_vls(),
        errno.ENOENT,
    )


def test_a_source_that_refuses_the_vm_moves_nothing() -> None:
    source, destination = Host(refuse_call={"KVM_CREATE_VCPU": errno.EINVAL}), Host()
    report = migrate(source.system(), destination.system(), Wanted(features=SVE))
    assert [finding.code for finding in report.findings] == [Code.VCPU]
    assert report.restored is None
    assert destination.log == []


def test_the_mode_asked_for_is_set_after_finalize_and_before_the_fill() -> None:
    svcr = parse("SVCR")
    source = Host(more={svcr: bytes(8)})
    prepared = prepare(source.system(), Wanted(features=SVE, svcr=2))
    assert prepared.snapshot is not None
    assert prepared.snapshot.vcpus[0].registers[svcr][0] == 2
    calls = [call if call != "KVM_SET_ONE_REG" else reg for call, reg in source.log]
    assert calls.index("KVM_ARM_VCPU_FINALIZE") < calls.index(svcr) < calls.index(RegId.x(0))


@pytest.mark.parametrize("nonsense", [{"vcpus": 0}, {"svcr": 4}, {"svcr": -1}, {"features": (224,)}])
def test_nonsense_is_refused_when_it_is_asked_for(nonsense: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"at least one|0\.\.3|0\.\.223"):
        Wanted(**nonsense)  # type: ignore[arg-type]  # nonsense on purpose


def test_the_usual_features_are_those_the_place_takes() -> None:
    source = Host(lengths=VectorLengths())
    taken = usual_features(source.system())
    assert VcpuFeature.PSCI_0_2 in taken
    assert VcpuFeature.SVE not in taken
    assert source.open_vms == 0
