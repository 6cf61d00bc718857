"""SME's own registers: ZA by rows, ZT0, and the set of streaming vector lengths.

ZA exists while PSTATE.ZA is set, as many rows as a streaming vector has bytes; ZT0 with it, on a
guest that is shown SME2.

Source: SME series v12 (patches 14, 20, 21) as a kernel built from it answered; v4 where named.
"""

from __future__ import annotations

from armkvm.abi import vls
from armkvm.abi.regid import Z_BYTES, ZT0_BYTES, RegId
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import field
from armkvm.arch.vectors import ARCH_VQ_MAX, QUADWORD_BYTES, VectorLengths
from armkvm.catalog import id_of
from armkvm.model import rules, vector_rules, vectors
from armkvm.model.lifecycle import ACCESS_VECTORS
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu
from armkvm.model.vector_behaviours import LISTS_SME_STATE, SME_GUESTS, SME_VLS_ALIAS, ZA_OFF_IS_EINVAL

ROWS_MAX = ARCH_VQ_MAX * QUADWORD_BYTES
_VLS = int(RegId.sme_vls())
_VLS_POSTED = int(RegId.sme_vls_posted())
_LENGTHS = frozenset((_VLS, _VLS_POSTED))
_ZT0 = int(RegId.zt0())
_FIRST, _SECOND = RegId.za(0), RegId.za(1)
ROWS = range(_FIRST, _FIRST + ROWS_MAX * (_SECOND - _FIRST), _SECOND - _FIRST)
"""The ids of ZA's rows."""

_ROW_PREFIX = _FIRST >> 16
_ROWS_END = ROWS_MAX << 5

_SME = field("ID_AA64PFR1_EL1", "SME")
_PFR1 = int(id_of(_SME.register))


def lengths(vcpu: Vcpu) -> VectorLengths:
    """The streaming vector lengths of an SME vCPU: the host's, up to the vCPU's largest."""
    return vcpu.vm.platform.sme.up_to(vcpu.sme_max_vq)


def has_za(vcpu: Vcpu) -> bool:
    """Whether ZA and ZT0 hold anything now (PSTATE.ZA)."""
    return bool(vcpu.svcr & vectors.ZA)


def has_sme2(vcpu: Vcpu) -> bool:
    """Whether the guest is shown SME2, and so has ZT0."""
    return _SME.extract(vcpu.id_regs[_PFR1]) >= 2


def row_count(vcpu: Vcpu) -> int:
    """Rows of ZA: the largest streaming vector length in bytes."""
    return vcpu.sme_max_vq * QUADWORD_BYTES


def is_known(vcpu: Vcpu) -> bool:
    """Whether the vCPU's kernel knows the SME class at all."""
    return F.SME in vcpu.features or SME_GUESTS in vcpu.vm.profile


def get(vcpu: Vcpu, reg: int) -> bytes | Refused:
    """KVM_GET_ONE_REG in the SME class."""
    if reg in _LENGTHS and _is_vls(vcpu, reg):
        if F.SME not in vcpu.features:
            return Refused(vector_rules.NO_SME)
        return vls.encode(lengths(vcpu)) if vcpu.sme_max_vq else Refused(vector_rules.NO_LENGTH_TO_READ)
    refused = _check(vcpu, reg)
    if refused is not None:
        return refused
    return vcpu.zt0 if reg == _ZT0 else vcpu.za[_ROW_OF[reg][0]]


def put(vcpu: Vcpu, reg: int, data: bytes | None) -> Refused | None:
    """KVM_SET_ONE_REG in the SME class."""
    if reg in _LENGTHS and _is_vls(vcpu, reg):
        return _put_vls(vcpu, data)
    refused = _check(vcpu, reg)
    if refused is not None:
        return refused
    if data is None:
        return Refused(rules.BAD_POINTER)
    if reg == _ZT0:
        vcpu.zt0 = data
    else:
        vcpu.za[_ROW_OF[reg][0]] = data[: row_count(vcpu)].ljust(Z_BYTES, b"\0")
    return None


def _is_vls(vcpu: Vcpu, reg: int) -> bool:
    return reg == _VLS or (reg == _VLS_POSTED and SME_VLS_ALIAS in vcpu.vm.profile)


def _put_vls(vcpu: Vcpu, data: bytes | None) -> Refused | None:
    if F.SME not in vcpu.features:
        return Refused(vector_rules.NO_SME)
    asked = vectors.check_vls(vcpu, vcpu.vm.platform.sme, data)
    if isinstance(asked, Refused):
        return asked
    vcpu.sme_max_vq = asked.max
    return None


def _row_of(reg: int) -> tuple[int, int]:
    """The row of ZA and the slice of it that an id names; -1 if it names none."""
    low = reg & 0xFFFF
    return (low >> 5, low & 31) if reg >> 16 == _ROW_PREFIX and low < _ROWS_END else (-1, 0)


_ROW_OF = {reg: (n, 0) for n, reg in enumerate(ROWS)}  # those in use


def _check(vcpu: Vcpu, reg: int) -> Refused | None:
    """Whether an id names a row of ZA, or ZT0, that can be accessed now, in the kernel's order."""
    row, part = _ROW_OF.get(reg) or _row_of(reg)
    # identity and size
    if row < 0 and reg != _ZT0:
        return Refused(vector_rules.MATRIX_ID_MALFORMED)
    if F.SME not in vcpu.features:
        return Refused(vector_rules.NO_SME)
    if row >= 0:
        if row >= row_count(vcpu):
            return Refused(vector_rules.ZA_ROW_BEYOND_END, f"row {row} of {row_count(vcpu)}")
        if part:
            return Refused(vector_rules.SLICE_BEYOND_LENGTH, f"slice {part}")
    elif not has_sme2(vcpu):
        return Refused(vector_rules.NO_SME2, f"ID_AA64PFR1_EL1.SME is {_SME.extract(vcpu.id_regs[_PFR1])}")
    return _check_permission(vcpu)


def _check_permission(vcpu: Vcpu) -> Refused | None:
    """PSTATE.ZA first, then finalization; the first revisions had it the other way round."""
    rule = vcpu.refuses.get(ACCESS_VECTORS)
    if rule is None and has_za(vcpu):
        return None
    not_final = None if rule is None else Refused(rule)
    if ZA_OFF_IS_EINVAL in vcpu.vm.profile:
        return not_final or Refused(vector_rules.ZA_OFF_EINVAL, "SVCR.ZA is 0")
    return not_final if has_za(vcpu) else Refused(vector_rules.ZA_OFF, "SVCR.ZA is 0")


def reset(vcpu: Vcpu) -> None:
    """KVM_ARM_VCPU_INIT leaves neither streaming mode nor ZA."""
    vcpu.svcr = 0
    clear(vcpu)


def clear(vcpu: Vcpu) -> None:
    """Zero ZA and ZT0."""
    vcpu.za = [bytes(Z_BYTES)] * ROWS_MAX
    vcpu.zt0 = bytes(ZT0_BYTES)


def listed(vcpu: Vcpu) -> list[int]:
    """The SME block of KVM_GET_REG_LIST: what exists in the current mode."""
    if F.SME not in vcpu.features or LISTS_SME_STATE not in vcpu.vm.profile:
        return []
    if not has_za(vcpu):
        return [_VLS]
    return [_VLS, *ROWS[: row_count(vcpu)], *([_ZT0] if has_sme2(vcpu) else [])]
