"""Where a vCPU with EL2 is, and its ways between levels: ERET, and exceptions to EL2.

Everything here works on the record of a vCPU that does not run. PSTATE there is the guest's own, with EL2.

Source: Linux arch/arm64/include/asm/kvm_emulate.h (is_hyp_ctxt), arch/arm64/kvm/emulate-nested.c
(kvm_emulate_nested_eret, kvm_inject_nested); Arm ARM (AArch64.TakeException, ERET).
"""

from __future__ import annotations

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.pstate import AARCH32, DAIF, EL2H, IL, NZCV, PAN
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of, parse
from armkvm.cpu.exceptions import GuestException, Unmodelled
from armkvm.cpu.legality import Hypervisor
from armkvm.model import core_regs
from armkvm.model.vcpu import Vcpu

E2H, TGE = 1 << 34, 1 << 27
_SCTLR_SPAN = 1 << 23


def _id(name: str) -> int:
    return int(id_of(sysreg(name)))


HCR, CPTR, SMCR, VBAR, SCTLR = (_id(f"{name}_EL2") for name in ("HCR", "CPTR", "SMCR", "VBAR", "SCTLR"))
ESR, FAR, ELR, SPSR, SP = (_id(f"{name}_EL2") for name in ("ESR", "FAR", "ELR", "SPSR", "SP"))
EL1_BANK = tuple(int(parse(name)) for name in ("SP_EL1", "ELR_EL1", "SPSR_EL1"))
"""Stack pointer, return address and saved PSTATE of EL1, as core registers."""
EL2_BANK = (SP, ELR, SPSR)
"""Those of EL2, as system registers."""


def hcr(vcpu: Vcpu) -> int:
    """HCR_EL2 in effect: E2H is fixed when the vCPU is made."""
    value = vcpu.sysregs[HCR] & ~E2H
    return value if F.HAS_EL2_E2H0 in vcpu.features else value | E2H


def mode(vcpu: Vcpu) -> int:
    """PSTATE.M's exception level."""
    return vcpu.core[core_regs.PSTATE] >> 2 & 3


def in_hypervisor(vcpu: Vcpu) -> bool:
    """At EL2, or at EL0 of a hypervisor that is its programs' operating system."""
    control = hcr(vcpu)
    return mode(vcpu) == 2 or (mode(vcpu) == 0 and control & E2H != 0 and control & TGE != 0)


def controls(vcpu: Vcpu) -> Hypervisor:
    """What EL2 controls of the vector units."""
    control = hcr(vcpu)
    return Hypervisor(bool(control & E2H), bool(control & TGE), vcpu.sysregs[CPTR], vcpu.sysregs[SMCR])


def take(vcpu: Vcpu, exception: GuestException, elr: int) -> None:
    """An exception to EL2, from wherever the vCPU is."""
    vcpu.sysregs[ESR] = exception.esr
    if exception.far is not None:
        vcpu.sysregs[FAR] = exception.far
    old = vcpu.core[core_regs.PSTATE]
    base = 0x400 if mode(vcpu) < 2 else 0x200 if old & 1 else 0
    vcpu.sysregs[ELR], vcpu.sysregs[SPSR] = elr, old
    pstate = old & (NZCV | PAN) | DAIF | EL2H
    if hcr(vcpu) & E2H and hcr(vcpu) & TGE and not vcpu.sysregs[SCTLR] & _SCTLR_SPAN:
        pstate |= PAN
    vcpu.core[core_regs.PSTATE] = pstate
    vcpu.core[core_regs.PC] = (vcpu.sysregs[VBAR] & -0x800) + base & (1 << 64) - 1


def eret(vcpu: Vcpu) -> None:
    """ERET at EL2."""
    spsr, elr = vcpu.sysregs[SPSR], vcpu.sysregs[ELR]
    level, has_host = spsr >> 2 & 3, hcr(vcpu) & TGE != 0
    if spsr & (AARCH32 | IL | 2) or level == 3 or (level == 0 and spsr & 1) or (level == 1 and has_host):
        raise Unmodelled(f"an illegal exception return (SPSR_EL2 is {spsr:#x})")
    if level == 0 and has_host and not hcr(vcpu) & E2H:
        raise Unmodelled("programs of a hypervisor without HCR_EL2.E2H (HCR_EL2.TGE)")
    vcpu.core[core_regs.PSTATE], vcpu.core[core_regs.PC] = spsr, elr
