"""KVM_ARM_VCPU_INIT and KVM_ARM_VCPU_FINALIZE.

Source: Linux arch/arm64/kvm/arm.c (kvm_arch_vcpu_ioctl_vcpu_init and below), reset.c.
"""

from __future__ import annotations

from collections.abc import Iterable

from armkvm.abi.structs import MpState
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.model import rules
from armkvm.model.lifecycle import FINALIZE
from armkvm.model.outcome import Refused
from armkvm.model.profile import PHYSICAL_TARGET, VM_WIDE_FEATURES, KernelProfile
from armkvm.model.reset import reset
from armkvm.model.vcpu import Vcpu
from armkvm.state import Phase

GENERIC_V8 = 5
_VECTORS = frozenset((F.SVE, F.SME))


def init(vcpu: Vcpu, bits: Iterable[int], target: int) -> Refused | None:
    """KVM_ARM_VCPU_INIT with feature bits as the kernel's header numbers them."""
    vm, profile = vcpu.vm, vcpu.vm.profile
    # identity of the CPU
    accepted = {vm.platform.facts.preferred_target}
    if PHYSICAL_TARGET not in profile:
        accepted.add(GENERIC_V8)
    if target not in accepted:
        return Refused(rules.BAD_TARGET, f"target {target}, accepted are {sorted(accepted)}")
    # features
    wanted, refused = _named(profile, bits)
    if refused is None:
        refused = _check_features(vcpu, wanted)
    if refused is None:
        refused = _check_history(vcpu, wanted)
    if refused is not None:
        return refused
    # effect
    features = wanted - {F.POWER_OFF}
    vcpu.requested = wanted
    vcpu.features = features
    vm.adopt(vcpu)
    reset(vcpu)
    if vcpu.phase is not Phase.READY:
        vcpu.enter(Phase.CONFIGURED if features & _VECTORS else Phase.READY)
    vcpu.mp_state = MpState.STOPPED if F.POWER_OFF in wanted else MpState.RUNNABLE
    return None


def _named(profile: KernelProfile, bits: Iterable[int]) -> tuple[frozenset[F], Refused | None]:
    """The features that bits stand for in this kernel's header."""
    names = {number: name for name, number in profile.feature_bits.items() if name is not F.VEC}
    asked = sorted(set(bits))
    unknown = [bit for bit in asked if bit >= profile.feature_count or bit not in names]
    if unknown:
        return frozenset(), Refused(rules.UNKNOWN_FEATURE, f"bit {', '.join(map(str, unknown))}")
    return frozenset(names[bit] for bit in asked), None


def _check_features(vcpu: Vcpu, wanted: frozenset[F]) -> Refused | None:
    platform = vcpu.vm.platform
    for feature in sorted(wanted - {F.POWER_OFF, F.PSCI_0_2, F.HAS_EL2_E2H0}):
        if not platform.offers(feature):
            return Refused(rules.FEATURE_NOT_OFFERED, f"{feature} on {platform.facts.name}")
    if F.HAS_EL2_E2H0 in wanted and F.HAS_EL2 in wanted and not platform.offers(F.HAS_EL2_E2H0):
        return Refused(rules.FEATURE_NOT_OFFERED, f"{F.HAS_EL2_E2H0} on {platform.facts.name}")
    if (F.PTRAUTH_ADDRESS in wanted) != (F.PTRAUTH_GENERIC in wanted):
        return Refused(rules.PTRAUTH_HALF)
    if F.PMU_V3_STRICT in wanted and F.PMU_V3 not in wanted:
        return Refused(rules.PMU_STRICT_ALONE)
    if F.EL1_32BIT in wanted and (vcpu.vm.has_mte or F.HAS_EL2 in wanted):
        return Refused(rules.AARCH32_CONFLICT)
    return None


def _check_history(vcpu: Vcpu, wanted: frozenset[F]) -> Refused | None:
    """The features must repeat what this vCPU, or the whole VM, was initialised with before."""
    vm = vcpu.vm
    if VM_WIDE_FEATURES in vm.profile:
        features = wanted - {F.POWER_OFF}
        if vm.features is not None and features != vm.features:
            return Refused(rules.FEATURES_DIFFER, _difference(features, vm.features))
        return None
    if vcpu.phase is not Phase.CREATED and wanted != vcpu.requested:
        return Refused(rules.FEATURES_DIFFER, _difference(wanted, vcpu.requested))
    for other in vm.vcpus.values():
        if other.phase is not Phase.CREATED and (F.EL1_32BIT in other.features) != (F.EL1_32BIT in wanted):
            return Refused(rules.WIDTH_DIFFERS, f"vCPU {other.id} differs")
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
        return Refused(rules.NOT_FINALIZABLE, f"feature {feature}")
    if not vcpu.features & _VECTORS:
        return Refused(rules.NOT_FINALIZABLE, "the vCPU has no scalable vectors")
    # permission
    if vcpu.phase is Phase.READY:
        return Refused(rules.ALREADY_FINALIZED)
    # effect
    vcpu.enter(Phase.READY)
    return None
