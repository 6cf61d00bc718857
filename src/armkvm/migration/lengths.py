"""Vector lengths as every kernel has them: SVE's set, and what makes it final.

A move carries SVE's set as the register KVM_REG_ARM64_SVE_VLS and ends its choice with
KVM_ARM_VCPU_FINALIZE. Two proposals on the road there had calls in place of that register, or nothing in
place of FINALIZE. Which of these a place has, its answers tell, never its name.
"""

from __future__ import annotations

import errno

from armkvm.abi.regid import RegClass, RegId
from armkvm.backends.base import Feature, SveVlsCalls, Vcpu
from armkvm.errors import KvmError

SVE_VLS = RegId.sve_vls()


def listed(vcpu: Vcpu) -> list[RegId]:
    """KVM_GET_REG_LIST; where a call tells SVE's lengths, their register leads the vectors all the same."""
    regs = vcpu.reg_list()
    first = next((n for n, reg in enumerate(regs) if reg.reg_class == RegClass.SVE), None)
    if first is not None and SVE_VLS not in regs and by_call(vcpu) is not None:
        regs.insert(first, SVE_VLS)
    return regs


def by_call(vcpu: Vcpu) -> bytes | None:
    """What KVM_ARM_VCPU_GET_SVE_VLS tells, 64 bytes; None where there is no such call, or no SVE."""
    if isinstance(vcpu, SveVlsCalls):
        try:
            return vcpu.get_sve_vls()
        except KvmError:
            return None
    return None


def choose_by_call(vcpu: Vcpu, data: bytes, refusal: KvmError) -> KvmError | None:
    """Write the set after the register was refused: the call's answer, or `refusal` where there is none."""
    if by_call(vcpu) is None or not isinstance(vcpu, SveVlsCalls):
        return refusal
    try:
        vcpu.set_sve_vls(data)
    except KvmError as own:
        return own
    return None


def writing(vcpu: Vcpu, reg: RegId) -> str:
    """The operation that writes a set of lengths there."""
    called = reg == SVE_VLS and by_call(vcpu) is not None
    return "KVM_ARM_VCPU_SET_SVE_VLS" if called else "KVM_SET_ONE_REG"


def finalize(vcpu: Vcpu, what: Feature) -> None:
    """Make the vector lengths final.

    A kernel without KVM_ARM_VCPU_FINALIZE refuses it with EINVAL and lets Z0 be read all the same, which
    there makes the lengths final if anything does. With it Z0 is EPERM until then, and the refusal stands.
    """
    try:
        vcpu.finalize(what)
    except KvmError as refused:
        if refused.errno != errno.EINVAL or not _has_z0(vcpu):
            raise


def _has_z0(vcpu: Vcpu) -> bool:
    try:
        vcpu.get_one_reg(RegId.z(0))
    except KvmError:
        return False
    return True
