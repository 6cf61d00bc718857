"""Why KVM refuses or changes a register between unlike hosts, and what helps: rows.

They speak where the place gives an errno only, as a real kernel does.

Source: Linux arch/arm64/kvm 6.1 to 7.3 and the project's recordings of restores between hosts.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from enum import StrEnum

from armkvm import catalog
from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegClass, RegId
from armkvm.abi.structs import is_feature_id
from armkvm.arch.fields import Field
from armkvm.migration.ordering import CLEARED_BEFORE
from armkvm.value import Value


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
    REGISTER_MISSING = "register-missing"
    ID_FIELD = "id-field"
    GIC = "vgic"
    EVENTS = "events"
    MP_STATE = "mp-state"
    SOURCE = "source"


class Advice(Value):
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
        "Write them right after KVM_ARM_VCPU_INIT, ahead of what makes them final.",
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
        Code.REGISTER_MISSING,
        None,
        lambda _: True,
        "the destination does not list the register, so it would be lost when the VM is saved there",
        "Hide the feature it belongs to at the source before the guest first runs, or update that kernel.",
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


class FieldAdvice(Value):
    """A row: ID register fields that are told apart from the rest, what a difference means, what helps."""

    fields: frozenset[str]
    why: str
    remedy: str


def _fields(text: str) -> frozenset[str]:
    """``REGISTER.FIELD ...`` as `Field` spells itself."""
    return frozenset(text.split())


FIELD_ADVICE: tuple[FieldAdvice, ...] = (
    FieldAdvice(
        _fields(
            "ID_AA64ISAR1_EL1.APA ID_AA64ISAR1_EL1.API ID_AA64ISAR1_EL1.GPA ID_AA64ISAR1_EL1.GPI "
            "ID_AA64ISAR2_EL1.APA3 ID_AA64ISAR2_EL1.GPA3"
        ),
        "the CPUs sign pointers by unlike algorithms, and signed pointers lie in the guest's memory",
        "Leave pointer authentication out of the VM (PTRAUTH_ADDRESS, PTRAUTH_GENERIC).",
    ),
    FieldAdvice(
        _fields("ID_AA64DFR0_EL1.PMUVer ID_DFR0_EL1.PerfMon"),
        "the PMU is of another version",
        "Write the older version at the source before the guest first runs, or leave PMU_V3 out of the VM.",
    ),
    FieldAdvice(
        _fields("ID_AA64PFR1_EL1.MTE ID_AA64PFR1_EL1.MTE_frac ID_AA64PFR1_EL1.MTEX"),
        "the guest was promised memory tagging that it does not have there",
        "Make the VM without KVM_CAP_ARM_MTE, or with it at both ends.",
    ),
    FieldAdvice(
        _fields("ID_AA64PFR0_EL1.GIC ID_PFR1_EL1.GIC"),
        "the guest was told that its interrupt controller has, or lacks, system registers",
        "Give the VM a GICv3 at both ends; kernels differ in what a vCPU shows before it has one.",
    ),
    FieldAdvice(
        _fields("ID_AA64MMFR0_EL1.TGran4_2 ID_AA64MMFR0_EL1.TGran16_2 ID_AA64MMFR0_EL1.TGran64_2"),
        "values of this field have no order: all that unlike hosts can agree on is 1, not supported",
        "Write 1 at the source before the guest first runs.",
    ),
    FieldAdvice(
        _fields("ID_AA64PFR0_EL1.CSV2 ID_AA64PFR0_EL1.CSV3 ID_AA64PFR1_EL1.CSV2_frac"),
        "the guest was told that the CPU needs no protection against speculation, and there it does",
        "Write the lower value at the source before the guest first runs, so that the guest protects itself.",
    ),
)

ANY_FIELD = FieldAdvice(
    frozenset(),
    "the destination does not let a VM have this value",
    "Set the field at the source, before the guest first runs, to a value that both hosts accept.",
)


def field_advice(part: Field) -> FieldAdvice:
    """The first row that speaks of a field, else what holds for any."""
    return next((row for row in FIELD_ADVICE if str(part) in row.fields), ANY_FIELD)


CAP_ADVICE: dict[Cap, str] = {
    Cap.ARM_MTE: "a VM made with memory tagging cannot be made there",
    Cap.ARM_VM_IPA_SIZE: "a VM whose guest physical addresses are wider cannot be made there",
    Cap.COUNTER_OFFSET: "there the counter offset moves by writes of the counters only, not by "
    "KVM_ARM_SET_COUNTER_OFFSET",
    Cap.ARM_WRITABLE_IMP_ID_REGS: "there a VM cannot have a MIDR_EL1, REVIDR_EL1 or AIDR_EL1 of its own",
    Cap.ARM_SUPPORTED_REG_MASK_RANGES: "there KVM does not tell which ID register fields a VM may set",
    Cap.ARM_EL2: "a guest that uses EL2 cannot run there",
    Cap.GUEST_DEBUG_HW_BPS: "a debugger attached to the VM has fewer breakpoints there",
    Cap.GUEST_DEBUG_HW_WPS: "a debugger attached to the VM has fewer watchpoints there",
    Cap.ARM_EL1_32BIT: "a guest that runs AArch32 at EL1 cannot run there",
    Cap.NR_VCPUS: "it has fewer CPUs; more vCPUs than that share them",
}
"""What it means that a destination has less of a capability."""
