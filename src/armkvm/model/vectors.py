"""Scalable vectors: the sets of vector lengths, and Z, P and FFR as ids show them.

Every slice-0 id is as wide as the architecture's largest register (2048 bits, 256 for P and
FFR); what lies beyond the current vector length reads as zero and is ignored on write. On a vCPU
with SME the view follows SVCR: in streaming mode Z and P have the SME length, and a vCPU without
SVE has them only then.

Source: Linux arch/arm64/kvm/guest.c (get_sve_vls, set_sve_vls, sve_reg_to_region); SME series v12.
"""

from __future__ import annotations

from armkvm.abi import vls
from armkvm.abi.regid import P_BYTES, SVE_FFR, SVE_P, Z_BYTES, RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch import vectorfields
from armkvm.arch.idfields import field
from armkvm.arch.vectors import ARCH_VQ_MAX, VectorLengths, Vq
from armkvm.catalog import id_of
from armkvm.model import rules, vector_rules
from armkvm.model.lifecycle import ACCESS_VECTORS, GET_LENGTHS_CALL, SET_LENGTHS, SET_LENGTHS_CALL
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu
from armkvm.model.vector_behaviours import (
    FFR_NEEDS_FA64,
    IMPLICIT_FINALIZATION,
    LISTS_SME_STATE,
    SVE_VLS_CALLS,
    VECTOR_IDS_ENOENT,
)
from armkvm.state import Phase

Z_COUNT, P_COUNT = 32, 16
FFR_INDEX = P_COUNT  # FFR is kept as the register after P15
SM, ZA = (vectorfields.field("SVCR", name).mask for name in ("SM", "ZA"))

_SVE_VLS = int(RegId.sve_vls())
_Z_PREFIX = RegId.z(0) >> 16
_P_PREFIX = RegId.p(0) >> 16
_Z_END = Z_COUNT << 5
_P_END = SVE_FFR + (1 << 5)
_VQS = {vq: Vq(vq) for vq in range(1, ARCH_VQ_MAX + 1)}

_FA64 = field("ID_AA64SMFR0_EL1", "FA64")
_SMFR0 = int(id_of(_FA64.register))


# -- what a vCPU has now -----------------------------------------------------------------------


def is_streaming(vcpu: Vcpu) -> bool:
    """Whether the vCPU is in streaming mode (PSTATE.SM, which only SVCR shows)."""
    return bool(vcpu.svcr & SM)


def has_z_registers(vcpu: Vcpu) -> bool:
    """Whether Z and P exist: with SVE always, with SME in streaming mode."""
    return F.SVE in vcpu.features or is_streaming(vcpu)


def has_v_registers(vcpu: Vcpu) -> bool:
    """Whether V0..V31 are registers of their own, not the low parts of Z0..Z31."""
    return not has_z_registers(vcpu)


def has_ffr(vcpu: Vcpu) -> bool:
    """Whether FFR exists: not in streaming mode, unless the guest has FEAT_SME_FA64."""
    if is_streaming(vcpu) and FFR_NEEDS_FA64 in vcpu.vm.profile:
        return bool(_FA64.extract(vcpu.id_regs[_SMFR0]))
    return has_z_registers(vcpu)


def vector_length(vcpu: Vcpu) -> Vq:
    """The length Z and P have now; only where they exist."""
    return _VQS[vcpu.sme_max_vq if is_streaming(vcpu) else vcpu.sve_max_vq]


def lengths(vcpu: Vcpu) -> VectorLengths:
    """The vector lengths of an SVE vCPU: the host's, up to the vCPU's largest."""
    return vcpu.vm.platform.sve.up_to(vcpu.sve_max_vq)


# -- KVM_GET_ONE_REG, KVM_SET_ONE_REG ----------------------------------------------------------


def get(vcpu: Vcpu, reg: int) -> bytes | Refused:
    """KVM_GET_ONE_REG in the SVE class."""
    if reg == _SVE_VLS and SVE_VLS_CALLS not in vcpu.vm.profile:
        if F.SVE not in vcpu.features:
            return Refused(vector_rules.NO_SVE)
        return vls.encode(lengths(vcpu))
    refused = _check(vcpu, reg)
    if refused is not None:
        return refused
    low = reg & 0xFFFF
    return vcpu.z[low >> 5] if low < SVE_P else vcpu.p[(low - SVE_P) >> 5]


def put(vcpu: Vcpu, reg: int, data: bytes | None) -> Refused | None:
    """KVM_SET_ONE_REG in the SVE class."""
    if reg == _SVE_VLS and SVE_VLS_CALLS not in vcpu.vm.profile:
        return _put_sve_vls(vcpu, data)
    refused = _check(vcpu, reg)
    if refused is not None:
        return refused
    if data is None:
        return Refused(rules.BAD_POINTER)
    low, vq = reg & 0xFFFF, vector_length(vcpu)
    if low < SVE_P:
        vcpu.z[low >> 5] = data[: vq.vl].ljust(Z_BYTES, b"\0")
    else:
        vcpu.p[(low - SVE_P) >> 5] = data[: vq.pl].ljust(P_BYTES, b"\0")
    return None


def _check(vcpu: Vcpu, reg: int) -> Refused | None:
    """Whether an id names a Z, P or FFR that can be accessed now, in the kernel's order."""
    if IMPLICIT_FINALIZATION in vcpu.vm.profile and F.SVE in vcpu.features:
        vcpu.admit(ACCESS_VECTORS)  # ahead of everything that may refuse the access
    # identity and size
    prefix, low = reg >> 16, reg & 0xFFFF
    if not ((prefix == _Z_PREFIX and low < _Z_END) or (prefix == _P_PREFIX and SVE_P <= low < _P_END)):
        if VECTOR_IDS_ENOENT in vcpu.vm.profile:
            return Refused(vector_rules.VECTOR_ID_UNKNOWN)
        return Refused(
            vector_rules.NO_LENGTHS_REGISTER if reg == _SVE_VLS else vector_rules.VECTOR_ID_MALFORMED
        )
    if not has_z_registers(vcpu):
        return Refused(vector_rules.NOT_STREAMING if F.SME in vcpu.features else vector_rules.NO_SVE)
    if low & 31:
        return Refused(vector_rules.SLICE_BEYOND_LENGTH, f"slice {low & 31}")
    if low >= SVE_FFR and not has_ffr(vcpu):
        return Refused(vector_rules.FFR_STREAMING, "SM=1 and ID_AA64SMFR0_EL1.FA64 is 0")
    # permission
    rule = vcpu.refuses.get(ACCESS_VECTORS)
    return None if rule is None else Refused(rule)


def _put_sve_vls(vcpu: Vcpu, data: bytes | None) -> Refused | None:
    if F.SVE not in vcpu.features:
        return Refused(vector_rules.NO_SVE)
    asked = check_vls(vcpu, vcpu.vm.platform.sve, data)
    if isinstance(asked, Refused):
        return asked
    vcpu.sve_max_vq = asked.max
    return None


def check_vls(vcpu: Vcpu, host: VectorLengths, data: bytes | None) -> VectorLengths | Refused:
    """Whether a set of vector lengths may be written now; the same rule for SVE and SME."""
    # permission
    rule = vcpu.refuses.get(SET_LENGTHS)
    if rule is not None:
        return Refused(rule)
    return _check_value(host, data)


def _check_value(host: VectorLengths, data: bytes | None) -> VectorLengths | Refused:
    if data is None:
        return Refused(rules.BAD_POINTER)
    # value
    asked = vls.decode(data)
    if not asked or not asked.is_prefix_of(host):
        shared = asked.common_prefix(host)
        return Refused(
            vector_rules.VLS_NOT_PREFIX,
            f"asked for {{{asked}}}, the host has {{{host}}}, the largest set both have is {{{shared}}}",
        )
    return asked


# -- KVM_ARM_VCPU_GET_SVE_VLS, KVM_ARM_VCPU_SET_SVE_VLS -------------------------------------------


def get_lengths(vcpu: Vcpu) -> bytes | Refused:
    """The set of vector lengths by a call of its own, where that exists."""
    rule = vcpu.refuses.get(GET_LENGTHS_CALL)
    if rule is not None:
        return Refused(rule)
    return vls.encode(lengths(vcpu)) if F.SVE in vcpu.features else Refused(vector_rules.NO_SVE_FOR_CALL)


def set_lengths(vcpu: Vcpu, data: bytes) -> Refused | None:
    """Write the set by a call of its own, until the vCPU first runs."""
    rule = vcpu.refuses.get(SET_LENGTHS_CALL)
    if rule is not None:
        return Refused(rule)
    # identity
    if F.SVE not in vcpu.features:
        return Refused(vector_rules.NO_SVE_FOR_CALL)
    # permission
    if vcpu.has_run:
        return Refused(vector_rules.VLS_AFTER_RUN)
    # value
    asked = _check_value(vcpu.vm.platform.sve, data)
    if isinstance(asked, Refused):
        return asked
    # effect
    vcpu.sve_max_vq = asked.max
    clear(vcpu)
    return None


# -- SVCR as a plain register ----------------------------------------------------------------------


def reinterpret(vcpu: Vcpu, svcr: int) -> None:
    """Change SVCR and nothing else: the same buffer is cut into registers of the new length."""
    old = _cut(vcpu)
    vcpu.svcr = svcr
    new = _cut(vcpu)
    if old == new or not old or not new:
        return
    content = b"".join(z[: old.vl] for z in vcpu.z) + b"".join(p[: old.pl] for p in vcpu.p)
    content = content.ljust(_buffer_bytes(new), b"\0")
    at = Z_COUNT * new.vl
    vcpu.z = [content[n * new.vl : (n + 1) * new.vl].ljust(Z_BYTES, b"\0") for n in range(Z_COUNT)]
    vcpu.p = [
        content[at + n * new.pl : at + (n + 1) * new.pl].ljust(P_BYTES, b"\0") for n in range(P_COUNT + 1)
    ]


def _cut(vcpu: Vcpu) -> Vq | None:
    exists = vcpu.phase is Phase.READY and has_z_registers(vcpu)
    return vector_length(vcpu) if exists else None


def _buffer_bytes(vq: Vq) -> int:
    return Z_COUNT * vq.vl + (P_COUNT + 1) * vq.pl


# -- reset and listing -------------------------------------------------------------------------


def reset(vcpu: Vcpu) -> None:
    """What KVM_ARM_VCPU_INIT does: lengths back to the default until final, contents to zero."""
    platform = vcpu.vm.platform
    if vcpu.phase is not Phase.READY:
        vcpu.sve_max_vq = platform.ground.sve_limit if F.SVE in vcpu.features else 0
        vcpu.sme_max_vq = platform.ground.sme_limit if F.SME in vcpu.features else 0
    clear(vcpu)


def clear(vcpu: Vcpu) -> None:
    """Zero Z, P and FFR."""
    vcpu.z = [bytes(Z_BYTES)] * Z_COUNT
    vcpu.p = [bytes(P_BYTES)] * (P_COUNT + 1)


def listed(vcpu: Vcpu) -> list[int]:
    """The SVE block of KVM_GET_REG_LIST: the set of lengths first, so that a restore in list
    order writes it before what it gives its size.
    """
    has_sve = F.SVE in vcpu.features
    if not has_sve and not (is_streaming(vcpu) and LISTS_SME_STATE in vcpu.vm.profile):
        return []
    with_ffr = has_ffr(vcpu) or LISTS_SME_STATE not in vcpu.vm.profile
    with_vls = has_sve and SVE_VLS_CALLS not in vcpu.vm.profile
    return [*([_SVE_VLS] if with_vls else []), *_CONTENTS[: None if with_ffr else -1]]


_CONTENTS = [
    *(int(RegId.z(n)) for n in range(Z_COUNT)),
    *(int(RegId.p(n)) for n in range(P_COUNT)),
    int(RegId.ffr()),
]
