"""The same CPU under two kernels: what appeared, vanished or changed, and whether it matters."""

from __future__ import annotations

import pytest

from armkvm.backends.model import ModelSystem
from armkvm.hosts import library
from armkvm.migration.drift import Drift, drift


def drifts(cpu: str, before: str, after: str) -> dict[str, Drift]:
    places = (ModelSystem(*library.find(cpu, kernel)) for kernel in (before, after))
    found = drift(*places)
    assert found.same_cpu
    return {each.what: each for each in found.drifts}


@pytest.mark.parametrize(
    ("what", "change", "treatment", "because"),
    [
        ("CCSIDR_EL1(3)", "appeared", "droppable", "reset value"),
        ("CCSIDR_EL1(0)", "changed value", "translatable", "keeps the old value"),
        ("KVM_REG_ARM_PSCI_VERSION", "changed value", "translatable", "keeps the old value"),
        ("ID_AA64DFR0_EL1.DebugVer", "changed value", "translatable", "keeps the old value"),
        ("ID_AA64MMFR2_EL1.NV", "changed value", "must match", "drops it"),
        ("PMCR_EL0", "changed value", "must match", "drops it"),
    ],
)
def test_from_6_1_to_7_3(what: str, change: str, treatment: str, because: str) -> None:
    """The newer kernel takes an older view back, but for NV, which it drops, and the PMU's identity."""
    found = drifts("max", "6.1", "7.3")[what]
    assert (found.change, found.treatment) == (change, treatment)
    assert because in found.because


@pytest.mark.parametrize(
    ("what", "change", "treatment"),
    [
        ("KVM_REG_ARM_VENDOR_HYP_BMAP_2", "vanished", "droppable"),
        ("KVM_REG_ARM_PSCI_VERSION", "changed value", "must match"),
        ("ID_AA64MMFR2_EL1.NV", "changed value", "must match"),
        ("TCR2_EL1", "appeared", "droppable"),
    ],
)
def test_from_7_3_back_to_6_12(what: str, change: str, treatment: str) -> None:
    found = drifts("max", "7.3", "6.12")[what]
    assert (found.change, found.treatment) == (change, treatment)


def test_only_fields_that_the_kernel_refuses_must_match() -> None:
    """6.1 fixes nearly every field; the ones that are alike are not told at all."""
    found = drifts("max", "7.3", "6.1")
    assert found["ID_AA64MMFR1_EL1.HCX"].treatment == "must match"
    assert all(each.before != each.after for each in found.values())


def test_a_set_of_lengths_is_told_in_quadwords_and_refused_not_dropped() -> None:
    before, after = (ModelSystem(*library.find(name, "7.3")) for name in ("max", "max-vq4"))
    (found,) = drift(before, after).drifts
    assert (found.what, found.before, found.after) == ("KVM_REG_ARM64_SVE_VLS", "1-16", "1-4")
    assert found.treatment == "must match"
    assert "refuses the old set" in found.because
    (back,) = drift(after, before).drifts
    assert back.treatment == "translatable"


def test_one_kernel_does_not_drift() -> None:
    assert drifts("neoverse-v1", "7.3", "7.3") == {}
