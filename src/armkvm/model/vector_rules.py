"""The rule book's part on scalable vectors and matrices: SVE and SME.

Source: the recordings of real KVM; Linux arch/arm64/kvm/{guest,reset}.c; the SME series.
"""

from __future__ import annotations

from errno import EBUSY, EINVAL, EIO, ENOENT, EPERM

from armkvm.errors import Rule

_VECTOR_IDS = (
    "Ids of the SVE class name Zn (2048 bits), Pn and FFR (256 bits) or the vector-length set (512 bits).",
    "Use the id that KVM_GET_REG_LIST returns.",
)
VECTOR_ID_MALFORMED = Rule("vector-id-malformed", EINVAL, *_VECTOR_IDS)
NO_SVE = Rule(
    "no-sve",
    ENOENT,
    "The vCPU was initialised without SVE.",
    "Ask for the SVE feature in KVM_ARM_VCPU_INIT.",
)
SLICE_BEYOND_LENGTH = Rule(
    "slice-beyond-length",
    ENOENT,
    "A slice exists only as far as the vCPU's vector length reaches; slice 0 holds all of 2048 bits.",
    "Use slice 0.",
)
VECTOR_NOT_FINALIZED = Rule(
    "vector-not-finalized",
    EPERM,
    "Z, P, FFR, ZA and ZT0 exist only after the vector lengths are final.",
    "Call KVM_ARM_VCPU_FINALIZE(KVM_ARM_VCPU_SVE) first; with SME it is also called KVM_ARM_VCPU_VEC.",
)
VLS_FINAL = Rule(
    "vls-final",
    EPERM,
    "The set of vector lengths is immutable after KVM_ARM_VCPU_FINALIZE.",
    "Write it between KVM_ARM_VCPU_INIT and KVM_ARM_VCPU_FINALIZE.",
)
VLS_FINAL_BY_USE = Rule(
    "vls-final-by-use",
    EPERM,
    "The set of vector lengths is immutable after an access to Z, P or FFR, KVM_GET_REG_LIST or KVM_RUN.",
    "Write it right after KVM_ARM_VCPU_INIT, ahead of these.",
)
NO_FINALIZE = Rule(
    "no-finalize",
    EINVAL,
    "This kernel has no KVM_ARM_VCPU_FINALIZE: vector lengths become final without it.",
    "Leave the call out, and choose the lengths right after KVM_ARM_VCPU_INIT.",
)
NO_LENGTHS_CALL = Rule(
    "no-lengths-call",
    EINVAL,
    "This kernel has no KVM_ARM_VCPU_GET_SVE_VLS and no KVM_ARM_VCPU_SET_SVE_VLS.",
    "Read and write KVM_REG_ARM64_SVE_VLS.",
)
NO_LENGTHS_REGISTER = Rule(
    "no-lengths-register",
    EINVAL,
    "This kernel has no register for the set of SVE vector lengths.",
    "Use KVM_ARM_VCPU_GET_SVE_VLS and KVM_ARM_VCPU_SET_SVE_VLS.",
)
VLS_NOT_PREFIX = Rule(
    "vls-not-prefix",
    EINVAL,
    "A set of vector lengths must hold exactly the host's lengths up to its own largest one.",
    "Use a prefix of the host's set; between hosts, their longest common prefix.",
)
VLS_AFTER_RUN = Rule(
    "vls-after-run",
    EPERM,
    "The set of vector lengths is immutable once the vCPU has run.",
    "Call KVM_ARM_VCPU_SET_SVE_VLS before the first KVM_RUN.",
)
NO_SVE_FOR_CALL = Rule(
    "no-sve-for-call",
    EINVAL,
    "KVM_ARM_VCPU_GET_SVE_VLS and KVM_ARM_VCPU_SET_SVE_VLS are for vCPUs with SVE.",
    "Ask for the SVE feature in KVM_ARM_VCPU_INIT.",
)
VECTOR_ID_UNKNOWN = Rule("vector-id-unknown", ENOENT, *_VECTOR_IDS)
_NO_LENGTH = (
    "The host's CPUs have no streaming vector length in common, and this kernel offers SME all the same.",
    "Leave SME out on this host.",
)
NO_LENGTH_TO_READ = Rule("no-length-to-read", EINVAL, *_NO_LENGTH)
NO_LENGTH_TO_FINALIZE = Rule("no-length-to-finalize", EIO, *_NO_LENGTH)
NOT_STREAMING = Rule(
    "not-streaming",
    ENOENT,
    "A vCPU with SME but not SVE has Z and P only in streaming mode.",
    "Write SVCR with SM=1 first, or use the V registers.",
)
FFR_STREAMING = Rule(
    "ffr-in-streaming-mode",
    ENOENT,
    "In streaming mode FFR exists only for a guest with FEAT_SME_FA64.",
    "Leave FFR out while SM=1; it holds nothing then.",
)
NO_SME = Rule(
    "no-sme",
    ENOENT,
    "The vCPU was initialised without SME.",
    "Ask for the SME feature in KVM_ARM_VCPU_INIT.",
)
MATRIX_ID_MALFORMED = Rule(
    "matrix-id-malformed",
    EINVAL,
    "Ids of the SME class name a row of ZA (2048 bits), ZT0 (512 bits) or the set of lengths (512 bits).",
    "Make the id of that size; where KVM_GET_REG_LIST names these registers, it does while SVCR.ZA is 1.",
)
ZA_ROW_BEYOND_END = Rule(
    "za-row-beyond-end",
    EINVAL,
    "ZA has as many rows as the vCPU's longest streaming vector has bytes.",
    "Use a smaller row number, or allow longer vectors before finalizing.",
)
NO_SME2 = Rule(
    "no-sme2",
    ENOENT,
    "ZT0 belongs to SME2, which ID_AA64PFR1_EL1.SME does not show this guest.",
    "Leave ZT0 out, or leave ID_AA64PFR1_EL1.SME at 2.",
)
_ZA_OFF = (
    "ZA and ZT0 hold something only while PSTATE.ZA is set.",
    "Write SVCR with ZA=1 first; a restore sets SVCR before ZA and ZT0.",
)
ZA_OFF = Rule("za-off", EBUSY, *_ZA_OFF)
ZA_OFF_EINVAL = Rule("za-off-v4", EINVAL, *_ZA_OFF)
SVCR_RESERVED = Rule(
    "svcr-reserved", EINVAL, "Of SVCR only SM (bit 0) and ZA (bit 1) may be set.", "Write 0 to 3."
)
SMPRIMAP_ZERO = Rule(
    "smprimap-zero",
    EINVAL,
    "Streaming priorities are not virtualised, so SMPRIMAP_EL2 is 0.",
    "Write 0.",
)
