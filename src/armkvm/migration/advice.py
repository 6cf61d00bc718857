"""Why KVM refuses or changes a register between unlike hosts, and what helps: rows.

They speak where the place gives an errno only, as a real kernel does.

Source: Linux arch/arm64/kvm 6.1 to 7.3 and the project's recordings of restores between hosts.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from armkvm import catalog
from armkvm.abi.regid import RegClass, RegId
from armkvm.migration.ordering import CLEARED_BEFORE, is_feature_id


class Code(StrEnum):
    """Stable names of findings."""

    MACHINE_TYPE = "machine-type"
    CAPABILITY = "capability"
    VCPU = "vcpu"
    FEATURES = "features"
    VECTOR_LENGTHS = "vector-lengths"
    FINALIZE = "finalize"
    REGISTER_REFUSED = "register-refused"
    REGISTER_DIFFERS = "register-differs"
    REGISTER_UNREAD = "register-unread"
    REGISTER_EXTRA = "register-extra"
    EVENTS = "events"
    MP_STATE = "mp-state"
    SOURCE = "source"


@dataclass(frozen=True, slots=True)
class Advice:
    """A row: the case, why KVM answers so, and what helps."""

    code: Code
    errno: int | None
    matches: Callable[[RegId], bool]
    why: str
    remedy: str


def _one_of(*names: str) -> Callable[[RegId], bool]:
    return frozenset(map(catalog.parse, names)).__contains__


def _of_class(reg_class: int) -> Callable[[RegId], bool]:
    return lambda reg: reg.reg_class == reg_class


_PMU_BITS = frozenset(CLEARED_BEFORE) | frozenset(CLEARED_BEFORE.values())
_IMPLEMENTATION = ("MIDR_EL1", "REVIDR_EL1", "AIDR_EL1", "SMIDR_EL1")

ADVICE: tuple[Advice, ...] = (
    Advice(
        Code.REGISTER_REFUSED,
        errno.EINVAL,
        _one_of(*_IMPLEMENTATION),
        "the CPU's implementation is the destination's own unless the VM may choose it",
        "Make the VM with KVM_CAP_ARM_WRITABLE_IMP_ID_REGS if its kernel can, or move between equal CPUs.",
    ),
    Advice(
        Code.REGISTER_REFUSED,
        errno.EINVAL,
        is_feature_id,
        "the guest was shown something the destination cannot give it, or a field that is fixed there",
        "Set the differing fields at the source, before the guest first runs, to values both hosts accept.",
    ),
    Advice(
        Code.REGISTER_REFUSED,
        errno.EBUSY,
        is_feature_id,
        "a vCPU of the VM has run, and feature ID registers are frozen since",
        "Restore into a VM that never ran.",
    ),
    Advice(
        Code.REGISTER_REFUSED,
        errno.EINVAL,
        _one_of("KVM_REG_ARM_PSCI_VERSION"),
        "the destination's kernel does not know this PSCI version, or the PSCI_0_2 feature disagrees with it",
        "Write the destination's newest PSCI version at the source before the guest first runs.",
    ),
    Advice(
        Code.REGISTER_REFUSED,
        errno.EINVAL,
        _of_class(RegClass.FW),
        "the guest was told of a protection that the destination's firmware or CPU does not have",
        "Report the weaker level at the source, or update the destination's firmware.",
    ),
    Advice(
        Code.REGISTER_REFUSED,
        None,
        _of_class(RegClass.FW_FEAT_BMAP),
        "the destination's kernel does not offer all of these hypercalls",
        "Clear them at the source before the guest first runs; a bitmap that is 0 there loses nothing.",
    ),
    Advice(
        Code.REGISTER_REFUSED,
        errno.EINVAL,
        _of_class(RegClass.DEMUX),
        "the cache lines are shorter than the destination's CTR_EL0 lets a guest assume",
        "Describe caches with longer lines at the source before the guest first runs, or move between CPUs "
        "with equal lines.",
    ),
    Advice(
        Code.REGISTER_REFUSED,
        errno.EINVAL,
        _one_of("KVM_REG_ARM64_SVE_VLS", "KVM_REG_ARM64_SME_VLS"),
        "a set of vector lengths is accepted only if it is the beginning of the host's own",
        "Choose the longest beginning that both hosts share.",
    ),
    Advice(
        Code.REGISTER_REFUSED,
        errno.EPERM,
        _one_of("KVM_REG_ARM64_SVE_VLS", "KVM_REG_ARM64_SME_VLS"),
        "vector lengths are fixed once the vCPU is finalized",
        "Write them between KVM_ARM_VCPU_INIT and KVM_ARM_VCPU_FINALIZE.",
    ),
    Advice(
        Code.REGISTER_REFUSED,
        errno.EBUSY,
        _of_class(RegClass.SME),
        "ZA and ZT0 exist only while PSTATE.ZA is 1",
        "Write SVCR first.",
    ),
    Advice(
        Code.REGISTER_REFUSED,
        errno.ENOENT,
        _one_of("ZT0"),
        "ZT0 exists only with SME2, which the destination does not give this vCPU",
        "Hide SME2 at the source (ID_AA64PFR1_EL1.SME = 1) before the guest first runs.",
    ),
    Advice(
        Code.REGISTER_REFUSED,
        errno.ENOENT,
        _of_class(RegClass.SME),
        "the destination gives this vCPU no such SME register: no SME, or a shorter length",
        "Choose SME features and lengths that both hosts have.",
    ),
    Advice(
        Code.REGISTER_REFUSED,
        errno.ENOENT,
        _one_of("FFR"),
        "in streaming mode FFR exists only with FEAT_SME_FA64, which the destination does not give this vCPU",
        "Hide FA64 at the source before the guest first runs.",
    ),
    Advice(
        Code.REGISTER_REFUSED,
        errno.ENOENT,
        _of_class(RegClass.SVE),
        "the destination gives this vCPU no such vector register in its present mode",
        "Choose a destination with SVE, or a VM without it.",
    ),
    Advice(
        Code.REGISTER_REFUSED,
        errno.ENOENT,
        _of_class(RegClass.SYSREG),
        "the destination's kernel does not know the register, or hides it because of the VM's ID registers",
        "Hide the feature it belongs to at the source before the guest first runs, or update that kernel.",
    ),
    Advice(
        Code.REGISTER_DIFFERS,
        None,
        _of_class(RegClass.FW),
        "KVM checks writes of the workaround levels and keeps the host's own, which the guest sees",
        "Move between hosts of the same level, or accept that a guest that asked before has an older answer.",
    ),
    Advice(
        Code.REGISTER_DIFFERS,
        None,
        _PMU_BITS.__contains__,
        "bits of event counters that the destination does not have are dropped",
        "Give the VM no more counters than both hosts have (PMCR_EL0.N).",
    ),
    Advice(
        Code.REGISTER_DIFFERS,
        None,
        _one_of("PMCR_EL0"),
        "the fields that identify the PMU, and the number of its counters, are the destination's own",
        "Move between hosts with the same PMU, or leave the PMU out of the VM.",
    ),
    Advice(
        Code.REGISTER_DIFFERS,
        None,
        is_feature_id,
        "the destination ignores such writes: AArch32's registers where no CPU runs it, or fields KVM drops",
        "Choose a destination that shows the same value.",
    ),
    Advice(
        Code.REGISTER_DIFFERS,
        None,
        lambda _: True,
        "the destination took the value without an error and holds another",
        "Hide the feature it belongs to at the source, or choose another destination.",
    ),
)


def advice(code: Code, reg: RegId, number: int | None = None) -> Advice | None:
    """The first row that speaks of the case."""
    rows = (row for row in ADVICE if row.code == code and row.errno in {None, number} and row.matches(reg))
    return next(rows, None)
