"""External aborts and SErrors that userspace injects: taking an exception to EL1.

Source: Linux arch/arm64/kvm/inject_fault.c (inject_abt64), hyp/exception.c (enter_exception64), guest.c.
"""

from __future__ import annotations

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.pstate import (
    AARCH32,
    DAIF,
    DIT,
    EL0T,
    EL1H,
    EL1T,
    NZCV,
    PAN,
    SERROR_MASKED,
    SSBS,
    TCO,
)
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of, parse
from armkvm.model.abort_behaviours import (
    ABORT_COMMITTED_AT_ONCE,
    ABORT_SYNDROME_SIGN_EXTENDED,
    SERROR_TAKEN_AT_ONCE,
)
from armkvm.model.vcpu import Vcpu

_PC, _PSTATE = int(parse("PC")), int(parse("PSTATE"))
_ELR, _SPSR = int(parse("ELR_EL1")), int(parse("SPSR_EL1"))
_ESR, _FAR, _VBAR, _SCTLR = (
    int(id_of(sysreg(name))) for name in ("ESR_EL1", "FAR_EL1", "VBAR_EL1", "SCTLR_EL1")
)

_KEPT = NZCV | DIT | PAN
_SPAN, _DSSBS = 1 << 23, 1 << 44

_SYNCHRONOUS, _SERROR = 0, 0x180
_FROM_LOWER_EL, _FROM_EL1, _SERROR_CLASS = 0x24 << 26, 0x25 << 26, 0x2F << 26
_IL, _EXTERNAL_ABORT = 1 << 25, 0x10
_SIGN = 0xFFFF_FFFF << 32


def is_modelled(vcpu: Vcpu) -> bool:
    """An exception to a 32-bit EL1 or to EL2 is not."""
    return not {F.EL1_32BIT, F.HAS_EL2} & vcpu.features


def inject(vcpu: Vcpu) -> None:
    """A synchronous external abort on a data access: the syndrome now, the exception now or at a run."""
    vcpu.abort_pending = True
    if not vcpu.core:
        return  # before KVM_ARM_VCPU_INIT, which resets the syndrome; the exception stays pending
    syndrome = _EXTERNAL_ABORT
    syndrome |= _FROM_LOWER_EL if vcpu.core[_PSTATE] & 0xF == EL0T else _FROM_EL1
    if ABORT_COMMITTED_AT_ONCE in vcpu.vm.profile:
        syndrome |= _IL
    if ABORT_SYNDROME_SIGN_EXTENDED in vcpu.vm.profile:
        syndrome |= _SIGN
    vcpu.sysregs[_ESR], vcpu.sysregs[_FAR] = syndrome, 0
    if ABORT_COMMITTED_AT_ONCE in vcpu.vm.profile:
        commit(vcpu)


def commit(vcpu: Vcpu) -> None:
    """Take the abort that is pending, if one is."""
    if vcpu.abort_pending:
        vcpu.abort_pending = False
        _enter(vcpu, _SYNCHRONOUS)


def inject_serror(vcpu: Vcpu, syndrome: int) -> None:
    """An SError with this ISS: taken where the kernel does that and nothing masks it, else pending."""
    at_once = SERROR_TAKEN_AT_ONCE in vcpu.vm.profile and is_modelled(vcpu)
    if not at_once or vcpu.core[_PSTATE] & SERROR_MASKED:
        vcpu.serror = (1, syndrome)
        return
    vcpu.sysregs[_ESR] = _SERROR_CLASS | _IL | syndrome
    _enter(vcpu, _SERROR)


def _enter(vcpu: Vcpu, kind: int) -> None:
    """Take an exception to EL1; `kind` is its vector's offset among those of one origin."""
    vcpu.mmio = None  # an access that aborts is not completed as well
    old, sctlr = vcpu.core[_PSTATE], vcpu.sysregs[_SCTLR]
    vcpu.core[_ELR], vcpu.core[_SPSR] = vcpu.core[_PC], old
    vcpu.core[_PC] = vcpu.sysregs[_VBAR] + _vectors(old) + kind & (1 << 64) - 1
    new = old & _KEPT | DAIF | EL1H
    new |= TCO if vcpu.vm.has_mte else 0
    new |= 0 if sctlr & _SPAN else PAN
    new |= SSBS if sctlr & _DSSBS else 0
    vcpu.core[_PSTATE] = new


def _vectors(pstate: int) -> int:
    """The offset of the vectors for exceptions from where the vCPU is."""
    mode = pstate & 0x1F
    if mode in (EL1T, EL1H):
        return 0x200 if mode == EL1H else 0
    return 0x600 if mode & AARCH32 else 0x400
