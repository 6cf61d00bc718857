"""Whole moves between modelled hosts that recordings describe."""

from __future__ import annotations

import pytest
from tests.model_hosts import capture_file, model

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths
from armkvm.catalog import parse
from armkvm.errors import KvmError
from armkvm.migration import codec
from armkvm.migration.advice import Code
from armkvm.migration.capture import capture_vcpu
from armkvm.migration.compare import differences
from armkvm.migration.fill import fill
from armkvm.migration.move import Wanted, migrate, prepare
from armkvm.migration.restore import restore
from armkvm.value import replace

pytestmark = pytest.mark.shared

ALL = (F.PSCI_0_2, F.PMU_V3, F.SVE, F.PTRAUTH_ADDRESS, F.PTRAUTH_GENERIC)
KERNELS = ["6.1", "6.12", "6.18", "7.0", "7.2", "7.3"]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_filled_vm_moves_to_its_twin_bit_for_bit(kernel: str, seed: int) -> None:
    report = migrate(model(f"{kernel}/max"), model(f"{kernel}/max"), Wanted(features=ALL, vcpus=2), seed=seed)
    assert report.findings == ()
    assert report.moved
    listed = capture_file(f"{kernel}/max")["configs"]["all"]["reg_count"]
    assert report.registers == 2 * listed


@pytest.mark.parametrize("kernel", ["6.12", "7.3"])
def test_unlike_vector_lengths_move_with_the_common_prefix_and_only_with_it(kernel: str) -> None:
    source, destination = model(f"{kernel}/max"), model(f"{kernel}/max-sve-1-2-4")
    refused = migrate(source, destination, Wanted(features=ALL))
    (finding,) = refused.findings
    assert (finding.code, finding.asked, finding.there, finding.acceptable) == (
        Code.VECTOR_LENGTHS,
        "1-16",
        "1,2,4",
        "1,2",
    )
    accepted = VectorLengths.parse(finding.acceptable)
    assert migrate(source, destination, Wanted(features=ALL, vls=accepted)).moved


def test_a_vm_with_el2_moves_to_its_twin() -> None:
    wanted = Wanted(features=(*ALL, F.HAS_EL2))
    report = migrate(model("7.3/max-nested"), model("7.3/max-nested"), wanted, seed=3)
    assert report.moved
    assert report.findings == ()


def test_a_destination_without_sve_says_so_and_what_it_would_take() -> None:
    report = migrate(model("7.3/neoverse-v1"), model("7.3/neoverse-n1"), Wanted(features=(F.PSCI_0_2, F.SVE)))
    (finding,) = report.findings
    assert (finding.code, finding.errno, finding.acceptable) == (Code.FEATURES, 22, "PSCI_0_2")


def test_refusals_carry_the_models_rule_and_say_what_is_there() -> None:
    report = migrate(model("7.3/neoverse-v1"), model("7.3/a64fx"), Wanted(features=(F.PSCI_0_2, F.SVE)))
    assert not report.moved
    refused = [finding for finding in report.findings if finding.code is Code.REGISTER_REFUSED]
    assert parse("MIDR_EL1") in {finding.reg for finding in refused}
    assert all(finding.rule and finding.why and finding.remedy and finding.there for finding in refused)


def test_a_snapshot_file_restores_as_the_snapshot_does() -> None:
    prepared = prepare(model("7.3/max"), Wanted(features=ALL), seed=9)
    assert prepared.snapshot is not None
    read = codec.decode(codec.encode(prepared.snapshot), "file")
    with restore(model("7.3/max"), read) as restored:
        assert restored.report.verified
        again = replace(read, vcpus=(capture_vcpu(restored.vcpus[0], read.vcpus[0].features),))
    clocks = {parse("KVM_REG_ARM_TIMER_CNT"), parse("KVM_REG_ARM_PTIMER_CNT")}
    assert {each.reg for each in differences(prepared.snapshot, again)} <= clocks


@pytest.mark.parametrize("kernel", KERNELS)
def test_fill_is_refused_nothing(kernel: str) -> None:
    """Its values are legal: no write of any register the list names is refused."""
    with model(f"{kernel}/max").create_vm() as vm:
        vcpu = vm.create_vcpu(0)
        vcpu.init(ALL)
        vcpu.finalize(F.SVE)
        filled = fill(vcpu, 1)
        assert not [reg for reg, reason in filled.left.items() if "refused" in reason or "cannot" in reason]
        assert len(filled.written) > 250
        for reg in filled.written[:5]:
            assert vcpu.get_one_reg(reg)
        with pytest.raises(KvmError):
            vcpu.set_one_reg(parse("KVM_REG_ARM64_SVE_VLS"), bytes(64))
