"""KVM_ARM_VCPU_INIT and KVM_ARM_VCPU_FINALIZE.

Source: Linux arch/arm64/kvm/arm.c (kvm_arch_vcpu_ioctl_vcpu_init and below), reset.c.
"""

from __future__ import annotations

from collections.abc import Iterable

from armkvm.abi.structs import MpState
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.model import rules, vector_rules
from armkvm.model.host import GENERIC_V8, Platform
from armkvm.model.lifecycle import FINALIZE, INIT
from armkvm.model.outcome import Refused
from armkvm.model.profile import KernelProfile
from armkvm.model.reset import reset
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import PHYSICAL_TARGET, VM_WIDE_FEATURES
from armkvm.state import Phase

_VECTORS = frozenset((F.SVE, F.SME))


def init(vcpu: Vcpu, bits: Iterable[int], target: int) -> Refused | None:
    """KVM_ARM_VCPU_INIT with feature bits as the kernel's header numbers them."""
    wanted = _choose(vcpu, bits, target)
    if isinstance(wanted, Refused):
        return wanted
    # effect
    vcpu.requested = wanted
    vcpu.features = wanted - {F.POWER_OFF}
    vcpu.vm.adopt(vcpu)
    reset(vcpu)
    if vcpu.phase is not Phase.READY:
        unfinished = vcpu.features & _VECTORS and vcpu.life.configures
        vcpu.enter(Phase.CONFIGURED if unfinished else Phase.READY)
    vcpu.mp_state = MpState.STOPPED if F.POWER_OFF in wanted else MpState.RUNNABLE
    return None


def _choose(vcpu: Vcpu, bits: Iterable[int], target: int) -> frozenset[F] | Refused:
    """All of KVM_ARM_VCPU_INIT but its effect: the features the vCPU is to have, or the refusal."""
    vm = vcpu.vm
    # phase
    rule = vcpu.refuses.get(INIT)
    if rule is not None:
        return Refused(rule)
    # identity of the CPU
    refused = check_target(vm.platform, target)
    if refused is not None:
        return refused
    # features
    for_one = _choose_for_vm if VM_WIDE_FEATURES in vm.profile else _choose_for_vcpu
    return for_one(vcpu, sorted(set(bits)))


def check_target(platform: Platform, target: int) -> Refused | None:
    """Whether the target is this CPU's."""
    generic = () if PHYSICAL_TARGET in platform.profile else (GENERIC_V8,)
    accepted = (platform.physical_target, *generic)
    if target in accepted:
        return None
    return Refused(rules.BAD_TARGET, f"target {target}, accepted are {sorted({*accepted})}")


def _choose_for_vm(vcpu: Vcpu, bits: list[int]) -> frozenset[F] | Refused:
    """All vCPUs of a VM are alike, but for POWER_OFF."""
    names, vm = _names(vcpu.vm.profile), vcpu.vm
    unknown = [bit for bit in bits if bit not in names]
    if unknown:
        return Refused(rules.UNKNOWN_FEATURE, f"bit {', '.join(map(str, unknown))}")
    wanted = frozenset(names[bit] for bit in bits)
    refused = check_features(vm.platform, wanted, has_mte=vm.has_mte)
    if refused is not None:
        return refused
    if vm.features is not None and wanted - {F.POWER_OFF} != vm.features:
        return Refused(rules.FEATURES_DIFFER, _difference(wanted - {F.POWER_OFF}, vm.features))
    return wanted


def _choose_for_vcpu(vcpu: Vcpu, bits: list[int]) -> frozenset[F] | Refused:
    """Each vCPU for itself, bit by bit: what a refused first call took before its fault stays taken,
    and the VM's register width is fixed by the first call that gets as far as a reset and asks for
    a width that can be had.
    """
    vm, names = vcpu.vm, _names(vcpu.vm.profile)
    for bit in sorted({*bits, *names}):
        if bit not in names:
            return Refused(rules.UNKNOWN_FEATURE, f"bit {bit}")
        asked = bit in bits
        if vcpu.phase is not Phase.CREATED and asked != (names[bit] in vcpu.requested):
            return Refused(rules.FEATURES_DIFFER, f"{'+' if asked else '-'}{names[bit]}")
        if asked:
            vcpu.requested |= {names[bit]}
    wanted = vcpu.requested
    is_32bit = F.EL1_32BIT in wanted
    if vm.is_32bit is None and (not is_32bit or (vm.platform.offers(F.EL1_32BIT) and not vm.has_mte)):
        vm.is_32bit = is_32bit
    if vm.is_32bit is not None and is_32bit != vm.is_32bit:
        vcpu.requested = frozenset()
        return Refused(rules.WIDTH_DIFFERS)
    refused = check_features(vm.platform, wanted, has_mte=vm.has_mte)
    if refused is not None:
        vcpu.requested = frozenset()
        return refused
    return wanted


def _names(profile: KernelProfile) -> dict[int, F]:
    """Features by their number in this kernel's header."""
    return {number: name for name, number in profile.feature_bits.items() if name is not F.VEC}


_ALWAYS_OFFERED = frozenset((F.POWER_OFF, F.PSCI_0_2, F.HAS_EL2_E2H0))


def check_features(platform: Platform, wanted: frozenset[F], *, has_mte: bool) -> Refused | None:
    """Whether the host offers these features, and together."""
    missing = wanted - _ALWAYS_OFFERED - platform.ground.offered
    if missing:
        return Refused(rules.FEATURE_NOT_OFFERED, f"{min(missing)} on {platform.facts.name}")
    if F.HAS_EL2_E2H0 in wanted and F.HAS_EL2 in wanted and not platform.offers(F.HAS_EL2_E2H0):
        return Refused(rules.FEATURE_NOT_OFFERED, f"{F.HAS_EL2_E2H0} on {platform.facts.name}")
    if (F.PTRAUTH_ADDRESS in wanted) != (F.PTRAUTH_GENERIC in wanted):
        return Refused(rules.PTRAUTH_HALF)
    if F.PMU_V3_STRICT in wanted and F.PMU_V3 not in wanted:
        return Refused(rules.PMU_STRICT_ALONE)
    if F.EL1_32BIT in wanted and (has_mte or F.HAS_EL2 in wanted):
        return Refused(rules.AARCH32_CONFLICT)
    return None


def _difference(asked: frozenset[F], before: frozenset[F]) -> str:
    more = [f"+{feature}" for feature in sorted(asked - before)]
    less = [f"-{feature}" for feature in sorted(before - asked)]
    return " ".join(more + less)


def finalize(vcpu: Vcpu, feature: int | None) -> Refused | None:
    """KVM_ARM_VCPU_FINALIZE; `feature` None stands for a bad pointer."""
    # phase
    rule = vcpu.refuses.get(FINALIZE)
    if rule is not None:
        return Refused(rule)
    if feature is None:
        return Refused(rules.BAD_POINTER)
    # identity
    if feature != vcpu.vm.profile.feature_bits[F.SVE]:
        known = f"feature {feature}" if feature >= 0 else "a feature that this kernel has no number for"
        return Refused(rules.NOT_FINALIZABLE, known)
    if not vcpu.features & _VECTORS:
        return Refused(rules.NOT_FINALIZABLE, "the vCPU has no scalable vectors")
    # permission
    if vcpu.phase is Phase.READY:
        return Refused(rules.ALREADY_FINALIZED)
    # value
    if F.SME in vcpu.features and not vcpu.sme_max_vq:
        return Refused(vector_rules.NO_LENGTH_TO_FINALIZE)
    # effect
    vcpu.enter(Phase.READY)
    return None
