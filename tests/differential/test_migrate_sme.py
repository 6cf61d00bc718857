"""Whole moves of SME state between modelled hosts that recordings describe."""

from __future__ import annotations

import pytest
from tests.model_hosts import model
from tests.recordings import SHARED_DATA

from armkvm.abi.regid import RegClass, RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import parse
from armkvm.migration.advice import Code
from armkvm.migration.move import Wanted, migrate, prepare, usual_features
from armkvm.migration.ordering import Stage

pytestmark = pytest.mark.shared

BOTH, SME = (F.PSCI_0_2, F.SVE, F.SME), (F.PSCI_0_2, F.SME)
WITH_SVE = ["max", "nofa64", "qemu10-sme1-host", "sme-1", "sve-1-2-4_sme-1-4", "sve1-sme-2-4-8-16"]
WITHOUT_SVE = ["nosve", "arm64.nosve"]


def host(name: str) -> str:
    if not (SHARED_DATA / "captures/sme-v12" / f"{name}.json").exists():
        pytest.skip(f"the recording sme-v12/{name} is not here")
    return f"sme-v12/{name}"


@pytest.mark.parametrize("svcr", range(4))
@pytest.mark.parametrize(
    ("name", "features"),
    [(name, features) for name in WITH_SVE for features in (BOTH, SME)]
    + [(name, SME) for name in WITHOUT_SVE],
)
def test_every_state_moves_to_a_twin_bit_for_bit(name: str, features: tuple[F, ...], svcr: int) -> None:
    report = migrate(model(host(name)), model(host(name)), Wanted(features=features, svcr=svcr), seed=svcr)
    assert report.findings == ()
    assert report.moved
    assert report.prepared.snapshot is not None
    (state,) = report.prepared.snapshot.vcpus
    classes = {reg.reg_class for reg in state.registers if reg != RegId.sme_vls()}
    assert (RegClass.SME in classes) == (svcr >= 2)
    stages = [step.stage for step in report.plans[0].steps()]
    assert stages.index(Stage.FINALIZE) < stages.index(Stage.MODE) < stages.index(Stage.FLOATING_POINT)


def test_za_and_zt0_carry_what_the_fill_put_there() -> None:
    prepared = prepare(model(host("max")), Wanted(features=BOTH, svcr=3), seed=4)
    assert prepared.snapshot is not None
    (state,) = prepared.snapshot.vcpus
    rows = [
        data for reg, data in state.registers.items() if reg.reg_class == RegClass.SME and reg.size == 256
    ]
    assert len(rows) == 256
    assert all(any(data) for data in rows)
    assert any(state.registers[RegId.zt0()])
    assert state.bytes_held > 65536


def test_streaming_at_one_length_and_not_at_another() -> None:
    """Both sets of lengths move on their own: SVE {1} and SME {2,4,8,16} beside each other."""
    name = host("sve1-sme-2-4-8-16")
    for svcr, live in ((0, 16), (1, 256)):
        prepared = prepare(model(name), Wanted(features=BOTH, svcr=svcr), seed=1)
        assert prepared.snapshot is not None
        z = prepared.snapshot.vcpus[0].registers[RegId.z(0)]
        assert not any(z[live:])
        assert any(z[live - 4 : live])


def test_a_destination_without_the_streaming_length_is_told_from_one_with_it() -> None:
    source, destination = model(host("max")), model(host("sve-1-2-4_sme-1-4"))
    report = migrate(source, destination, Wanted(features=BOTH, svcr=3))
    lengths = {finding.reg: finding for finding in report.findings if finding.code is Code.VECTOR_LENGTHS}
    assert lengths[RegId.sve_vls()].acceptable == "1,2"
    assert lengths[RegId.sme_vls()].acceptable == "1"
    assert "--sme-vls 1" in lengths[RegId.sme_vls()].remedy
    wanted = Wanted(features=BOTH, svcr=3, vls=VectorLengths([1, 2]), sme_vls=VectorLengths([1]))
    assert migrate(source, destination, wanted).moved


def test_a_destination_without_sme2_or_fa64_names_the_id_register_and_what_goes_with_it() -> None:
    source = model(host("max"))
    refused = {}
    for name in ("nofa64", "qemu10-sme1-host"):
        report = migrate(source, model(host(name)), Wanted(features=BOTH, svcr=3))
        assert not report.moved
        refused[name] = {finding.reg for finding in report.findings if finding.code is Code.REGISTER_REFUSED}
    assert {parse("ID_AA64SMFR0_EL1"), RegId.ffr()} <= refused["nofa64"]
    assert {parse("ID_AA64PFR1_EL1"), RegId.zt0()} <= refused["qemu10-sme1-host"]


def test_a_host_without_sme_refuses_the_feature() -> None:
    report = migrate(model(host("max")), model(host("nosme")), Wanted(features=BOTH))
    (finding,) = report.findings
    assert (finding.code, finding.acceptable) == (Code.FEATURES, "PSCI_0_2, SVE")


def test_sme_is_among_the_usual_features_where_it_is_offered() -> None:
    assert usual_features(model(host("max"))) == (F.PSCI_0_2, F.SVE, F.SME)
    assert usual_features(model("7.3/max")) == (F.PSCI_0_2, F.SVE)
    assert usual_features(model(host("nosve"))) == (F.PSCI_0_2, F.SME)
