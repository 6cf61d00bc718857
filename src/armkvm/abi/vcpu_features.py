"""vCPU features of KVM_ARM_VCPU_INIT, by name; and the bit numbers each header gives them.

A name is stable; a number is not (bit 8 was SME in the 2025 series and is HAS_EL2_E2H0 in
mainline). So numbers live in tables, and a kernel profile or a real header picks one.

Source: Linux arch/arm64/include/uapi/asm/kvm.h (6.1 to 7.3); the SME series v4 and v12.
"""

from __future__ import annotations

from enum import StrEnum

FEATURE_BITS_MAX = 7 * 32  # struct kvm_vcpu_init has features[7]


class VcpuFeature(StrEnum):
    """KVM_ARM_VCPU_<name>."""

    POWER_OFF = "POWER_OFF"
    EL1_32BIT = "EL1_32BIT"
    PSCI_0_2 = "PSCI_0_2"
    PMU_V3 = "PMU_V3"
    SVE = "SVE"
    PTRAUTH_ADDRESS = "PTRAUTH_ADDRESS"
    PTRAUTH_GENERIC = "PTRAUTH_GENERIC"
    HAS_EL2 = "HAS_EL2"
    HAS_EL2_E2H0 = "HAS_EL2_E2H0"
    PMU_V3_STRICT = "PMU_V3_STRICT"
    SME = "SME"
    VEC = "VEC"  # KVM_ARM_VCPU_VEC: FINALIZE's name for SVE and SME together; shares SVE's number


RESHAPING = frozenset(
    (
        VcpuFeature.POWER_OFF,
        VcpuFeature.EL1_32BIT,
        VcpuFeature.HAS_EL2_E2H0,
        VcpuFeature.PMU_V3_STRICT,
        VcpuFeature.VEC,
    )
)
"""Features that change what a vCPU is rather than add to it; "all features" leaves them out."""

_SINCE_4_X = {
    VcpuFeature.POWER_OFF: 0,
    VcpuFeature.EL1_32BIT: 1,
    VcpuFeature.PSCI_0_2: 2,
    VcpuFeature.PMU_V3: 3,
    VcpuFeature.SVE: 4,
    VcpuFeature.PTRAUTH_ADDRESS: 5,
    VcpuFeature.PTRAUTH_GENERIC: 6,
}
_WITH_EL2 = _SINCE_4_X | {VcpuFeature.HAS_EL2: 7, VcpuFeature.HAS_EL2_E2H0: 8}

BITS_6_1 = _SINCE_4_X
BITS_6_16 = _WITH_EL2
BITS_7_3 = _WITH_EL2 | {VcpuFeature.PMU_V3_STRICT: 9}
BITS_SME_V4 = _SINCE_4_X | {VcpuFeature.HAS_EL2: 7, VcpuFeature.VEC: 4, VcpuFeature.SME: 8}
BITS_SME_V12 = _WITH_EL2 | {VcpuFeature.VEC: 4, VcpuFeature.SME: 9}
