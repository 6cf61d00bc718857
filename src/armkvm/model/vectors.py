"""Scalable vectors: the sets of vector lengths, and Z, P and FFR as ids show them.

Every slice-0 id is as wide as the architecture's largest register (2048 bits, 256 for P and
FFR); what lies beyond the vCPU's vector length reads as zero and is ignored on write.

Source: Linux arch/arm64/kvm/guest.c (get_sve_vls, set_sve_vls, sve_reg_to_region).
"""

from __future__ import annotations

from armkvm.abi import vls
from armkvm.abi.regid import P_BYTES, SVE_FFR, SVE_P, Z_BYTES, RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.vectors import VectorLengths, Vq
from armkvm.model import rules
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu
from armkvm.state import Phase

Z_COUNT, P_COUNT = 32, 16
FFR_INDEX = P_COUNT  # FFR is kept as the register after P15

_SVE_VLS = int(RegId.sve_vls())
_Z_PREFIX = RegId.z(0) >> 16
_P_PREFIX = RegId.p(0) >> 16
_Z_END = Z_COUNT << 5
_P_END = SVE_FFR + (1 << 5)


def lengths(vcpu: Vcpu) -> VectorLengths:
    """The vector lengths of an SVE vCPU: the host's, up to the vCPU's largest."""
    return vcpu.vm.platform.sve.up_to(vcpu.sve_max_vq)


def has_v_registers(vcpu: Vcpu) -> bool:
    """Whether V0..V31 are registers of their own, not the low parts of Z0..Z31."""
    return F.SVE not in vcpu.features


def vector_length(vcpu: Vcpu) -> Vq:
    """The length Z and P have now."""
    return Vq(vcpu.sve_max_vq)


# -- KVM_GET_ONE_REG, KVM_SET_ONE_REG ----------------------------------------------------------


def get(vcpu: Vcpu, reg: int) -> bytes | Refused:
    """KVM_GET_ONE_REG in the SVE class."""
    if reg == _SVE_VLS:
        if F.SVE not in vcpu.features:
            return Refused(rules.NO_SVE)
        return vls.encode(lengths(vcpu))
    refused = _check(vcpu, reg)
    if refused is not None:
        return refused
    low = reg & 0xFFFF
    return vcpu.z[low >> 5] if low < SVE_P else vcpu.p[(low - SVE_P) >> 5]


def put(vcpu: Vcpu, reg: int, data: bytes | None) -> Refused | None:
    """KVM_SET_ONE_REG in the SVE class."""
    if reg == _SVE_VLS:
        return _put_vls(vcpu, data)
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
    # identity and size
    prefix, low = reg >> 16, reg & 0xFFFF
    if not ((prefix == _Z_PREFIX and low < _Z_END) or (prefix == _P_PREFIX and SVE_P <= low < _P_END)):
        return Refused(rules.VECTOR_ID_MALFORMED)
    if F.SVE not in vcpu.features:
        return Refused(rules.NO_SVE)
    if low & 31:
        return Refused(rules.SLICE_BEYOND_LENGTH, f"slice {low & 31}")
    # permission
    if vcpu.phase is not Phase.READY:
        return Refused(rules.VECTOR_NOT_FINALIZED)
    return None


def _put_vls(vcpu: Vcpu, data: bytes | None) -> Refused | None:
    # identity
    if F.SVE not in vcpu.features:
        return Refused(rules.NO_SVE)
    # permission
    if vcpu.phase is Phase.READY:
        return Refused(rules.VLS_FINAL)
    if data is None:
        return Refused(rules.BAD_POINTER)
    # value
    asked = vls.decode(data)
    host = vcpu.vm.platform.sve
    if not asked or not asked.is_prefix_of(host):
        return Refused(
            rules.VLS_NOT_PREFIX,
            f"asked for {{{asked}}}, the host has {{{host}}}, the largest set it shares is "
            f"{{{asked.common_prefix(host)}}}",
        )
    # effect
    vcpu.sve_max_vq = asked.max
    return None


def reset(vcpu: Vcpu) -> None:
    """What KVM_ARM_VCPU_INIT does: lengths back to the default until final, contents to zero."""
    if vcpu.phase is not Phase.READY:
        vcpu.sve_max_vq = vcpu.vm.platform.sve.max if F.SVE in vcpu.features else 0
    clear(vcpu)


def clear(vcpu: Vcpu) -> None:
    """Zero Z, P and FFR."""
    vcpu.z = [bytes(Z_BYTES)] * Z_COUNT
    vcpu.p = [bytes(P_BYTES)] * (P_COUNT + 1)


def listed(vcpu: Vcpu) -> list[int]:
    """The SVE block of KVM_GET_REG_LIST: the set of lengths first, so that a restore in list
    order writes it before what it gives its size.
    """
    if F.SVE not in vcpu.features:
        return []
    return [_SVE_VLS, *_CONTENTS]


_CONTENTS = [
    *(int(RegId.z(n)) for n in range(Z_COUNT)),
    *(int(RegId.p(n)) for n in range(P_COUNT)),
    int(RegId.ffr()),
]
