"""The restore order is rows with reasons, and says what real kernels need."""

from __future__ import annotations

from itertools import combinations

import pytest

from armkvm import catalog
from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.arch.sysregs import BY_NAME
from armkvm.catalog import parse
from armkvm.migration import ordering
from armkvm.migration.ordering import RULES, Stage, rule_of
from armkvm.migration.plan import plan
from armkvm.migration.snapshot import VcpuState
from armkvm.state import RegisterSet


def state(*names: str) -> VcpuState:
    registers = RegisterSet((parse(name), bytes(parse(name).size)) for name in names)
    return VcpuState(id=0, features=(), registers=registers)


def position(names: tuple[str, ...], name: str) -> int:
    return plan(state(*names)).written.index(parse(name))


@pytest.mark.parametrize(
    ("earlier", "later", "source"),
    [
        ("ID_AA64PFR0_EL1", "KVM_REG_ARM64_SVE_VLS", "INIT, ID registers, VLS, FINALIZE"),
        ("MPIDR_EL1", "X0", "feature ID space"),
        ("ID_AA64PFR1_EL1", "KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_2", "its answer depends on SSBS"),
        ("KVM_REG_ARM64_SME_VLS", "SVCR", "sme-oracle 17, 30"),
        ("SVCR", "Z0", "sme-oracle 30: SM clears Z"),
        ("SVCR", "V0", "sme-oracle 16"),
        ("SVCR", "P15", "sme-oracle 30"),
        ("SVCR", "FFR", "sme-oracle 30"),
        ("SVCR", "ZA[0]", "sme-oracle 14: EBUSY while ZA=0"),
        ("SVCR", "ZT0", "sme-oracle 14"),
        ("SVCR", "FPSR", "sme-oracle 30: FPSR becomes 0x0800009f"),
        ("SVCR", "FPMR", "sme-oracle 16: FPMR becomes 0"),
        ("PSTATE", "X0", "an AArch32 PSTATE cuts later core writes"),
        ("PSTATE", "PC", "likewise"),
        ("PMCR_EL0", "PMCNTENSET_EL0", "PMCR_EL0.N masks"),
        ("PMCNTENCLR_EL0", "PMCNTENSET_EL0", "6.12.95 clears and sets"),
        ("PMINTENCLR_EL1", "PMINTENSET_EL1", "6.12.95 clears and sets"),
        ("PMOVSCLR_EL0", "PMOVSSET_EL0", "6.12.95 clears and sets"),
        ("KVM_REG_ARM_TIMER_CNT", "KVM_REG_ARM_TIMER_CVAL", "deadlines are guest time"),
        ("KVM_REG_ARM_TIMER_CVAL", "KVM_REG_ARM_TIMER_CTL", "enabled last"),
        ("CNTKCTL_EL1", "KVM_REG_ARM_TIMER_CTL", "enabled last"),
    ],
)
def test_one_register_comes_before_another(earlier: str, later: str, source: str) -> None:
    names = (later, earlier)
    assert position(names, earlier) < position(names, later), source


def test_identity_firmware_and_lengths_come_before_finalize_and_the_rest_after() -> None:
    made = plan(state("X0", "Z0", "KVM_REG_ARM64_SVE_VLS", "KVM_REG_ARM_PSCI_VERSION", "MIDR_EL1", "FPSR"))
    assert list(map(catalog.name_of, made.configuring)) == [
        "MIDR_EL1",
        "KVM_REG_ARM_PSCI_VERSION",
        "KVM_REG_ARM64_SVE_VLS",
    ]
    assert list(map(catalog.name_of, made.filling)) == ["Z0", "FPSR", "X0"]


def test_steps_go_through_the_stages_in_their_order_and_say_why() -> None:
    made = plan(state("X0", "SVCR", "Z0", "ZA[3]", "KVM_REG_ARM64_SME_VLS", "MIDR_EL1", "PSTATE"))
    stages = [step.stage for step in made.steps()]
    assert stages == sorted(stages, key=list(Stage).index)
    assert stages[0] is Stage.INIT
    assert stages[-2:] == [Stage.EVENTS, Stage.MP_STATE]
    assert Stage.FINALIZE in stages
    assert all(step.because for step in made.steps())
    assert sum(len(step.regs) for step in made.steps()) == 7


@pytest.mark.parametrize(
    ("names", "feature"),
    [
        (("X0",), None),
        (("KVM_REG_ARM64_SVE_VLS",), VcpuFeature.SVE),
        (("KVM_REG_ARM64_SME_VLS",), VcpuFeature.VEC),
        (("KVM_REG_ARM64_SVE_VLS", "KVM_REG_ARM64_SME_VLS"), VcpuFeature.VEC),
    ],
)
def test_vectors_are_finalized_once_under_the_name_that_covers_them(
    names: tuple[str, ...], feature: VcpuFeature | None
) -> None:
    assert plan(state(*names)).finalize is feature


def test_the_clock_is_restored_with_the_first_vcpu_only() -> None:
    """TIMER_CNT moves the offset of the whole VM; a second write would move it again."""
    whole = state("KVM_REG_ARM_TIMER_CNT", "KVM_REG_ARM_PTIMER_CNT", "KVM_REG_ARM_TIMER_CVAL")
    later = plan(whole, first=False)
    assert set(later.left) == {parse("KVM_REG_ARM_TIMER_CNT"), parse("KVM_REG_ARM_PTIMER_CNT")}
    assert later.written == (parse("KVM_REG_ARM_TIMER_CVAL"),)
    assert not plan(whole).left


def test_a_clearing_register_is_written_ones_when_its_partner_sets_the_value() -> None:
    clear, set_ = parse("PMCNTENCLR_EL0"), parse("PMCNTENSET_EL0")
    value = b"\5" + bytes(7)
    pair = RegisterSet([(clear, value), (set_, value)])
    made = plan(VcpuState(id=0, features=(), registers=pair))
    assert list(made.values(made.written, pair).items()) == [(clear, b"\xff" * 8), (set_, value)]
    alone = RegisterSet([(clear, value)])
    made = plan(VcpuState(id=0, features=(), registers=alone))
    assert made.values(made.written, alone) == alone


def test_every_row_speaks_of_some_register_and_has_its_reason() -> None:
    """A row that an earlier one hides, or that nothing matches, would be dead."""
    known = [*catalog._IDS.values(), *map(catalog.id_of, BY_NAME.values())]
    reached = {rule_of(reg).name for reg in known} | {rule_of(RegId.za(7)).name}
    assert reached == {rule.name for rule in RULES}
    assert all(rule.because for rule in RULES)
    assert all(one.name != other.name for one, other in combinations(RULES, 2))


def test_explain_names_register_stage_rule_and_reason() -> None:
    assert ordering.explain(parse("FPSR")) == (
        "FPSR is restored in stage floating-point (rule fp-status): a change of SVCR overwrites FPSR and FPMR"
    )
    assert ordering.explain(RegId(0x6030000010130000)).startswith("0x6030000010130000 is restored")


def test_volatile_bits_are_few_and_each_has_a_reason() -> None:
    """The list excuses differences, so it must not grow unseen."""
    assert {(catalog.name_of(row.reg), row.bits) for row in ordering.VOLATILE} == {
        ("KVM_REG_ARM_TIMER_CNT", (1 << 64) - 1),
        ("KVM_REG_ARM_PTIMER_CNT", (1 << 64) - 1),
        ("KVM_REG_ARM_TIMER_CTL", 4),
        ("KVM_REG_ARM_PTIMER_CTL", 4),
    }
    assert all(row.because for row in ordering.VOLATILE)
    assert all(row.because for row in ordering.READ_FIRST)
