"""What a guest's hypervisor takes from its own guest: fine-grained traps, CPACR_EL1, calls, waiting.

Traps of the vector units are in `cpu.legality`, as the architecture has them. A control of the
hypervisor's that is not modelled is refused when its guest is entered.

Source: Linux arch/arm64/kvm/emulate-nested.c (triage_sysreg_trap, forward_traps); Arm ARM
(HCR_EL2, HFGRTR_EL2).
"""

from __future__ import annotations

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.encoding import SysReg
from armkvm.arch.fgt import bit_of
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.cpu.exceptions import ExceptionClass, GuestException, Unmodelled
from armkvm.cpu.port import CPACR_EL1
from armkvm.model.el2 import level
from armkvm.model.sysregs.catalogue import BY_ID
from armkvm.model.vcpu import Vcpu

TSC, TWI, HCD = 1 << 19, 1 << 13, 1 << 29
_CPTR_TCPAC = 1 << 31
_NO_CONDITION = 0x1E00000  # CV is 1, COND 0b1110

# Bits of HCR_EL2 that are modelled, or change nothing without stage 2 and as long as nothing is pending.
_MODELLED: dict[str, int] = {
    "API": 41, "APK": 40, "E2H": 34, "RW": 31, "HCD": 29, "TGE": 27, "TSC": 19, "TWI": 13, "BSU1": 11,
    "BSU0": 10, "FB": 9, "AMO": 5, "IMO": 4, "FMO": 3, "PTW": 2, "SWIO": 1,
}  # fmt: skip
_KNOWN = sum(1 << bit for bit in _MODELLED.values())
_API_APK = 3 << 40
_MDCR, _MDCR_HPMN = int(id_of(sysreg("MDCR_EL2"))), 0x1F

VIRTUAL: dict[SysReg, SysReg] = {
    sysreg("MPIDR_EL1"): sysreg("VMPIDR_EL2"),
    sysreg("MIDR_EL1"): sysreg("VPIDR_EL2"),
}
"""What a guest's guest reads there instead."""


def admit(vcpu: Vcpu) -> None:
    """Refuse to enter a guest's guest under a control that is not modelled."""
    unknown = level.hcr(vcpu) & ~_KNOWN
    if unknown & 1:
        raise Unmodelled("translation at stage 2 by a guest's hypervisor (HCR_EL2.VM)")
    if unknown:
        raise Unmodelled(f"a guest's guest under bits {unknown:#x} of its hypervisor's HCR_EL2")
    if F.PTRAUTH_ADDRESS in vcpu.features and level.hcr(vcpu) & _API_APK != _API_APK:
        raise Unmodelled("a guest's guest without pointer authentication (HCR_EL2.API and APK)")
    if vcpu.sysregs[_MDCR] & ~_MDCR_HPMN:
        raise Unmodelled(f"a guest's guest under an MDCR_EL2 of {vcpu.sysregs[_MDCR]:#x}")
    if vcpu.serror[0]:
        raise Unmodelled("an SError that is pending for a guest's guest")


def traps(vcpu: Vcpu, reg: SysReg, *, is_write: bool) -> bool:
    """Whether the hypervisor traps an access of its guest's to a register, or a SYS instruction."""
    if reg == CPACR_EL1:
        return bool(vcpu.sysregs[level.CPTR] & _CPTR_TCPAC)
    bit = bit_of(reg)
    register = None if bit is None else bit.registers.get("x" if bit.sides == "x" else "rw"[is_write])
    if bit is None or register is None:
        return False
    row = BY_ID.get(int(id_of(sysreg(register))))
    if row is None or not row.visible(vcpu):
        return False
    return bool(vcpu.sysregs[row.id] & bit.mask) == bool(bit.traps_when)


def call(vcpu: Vcpu, immediate: int, *, is_smc: bool) -> GuestException | None:
    """The exception that HVC or SMC comes to; None where KVM itself is called.

    HVC is a guest's hypervisor's, from EL2 as well; SMC only where it traps it from its guest.
    """
    control = level.hcr(vcpu)
    if is_smc:
        is_trapped = control & TSC and not level.in_hypervisor(vcpu)
        return GuestException(ExceptionClass.SMC, immediate, to_el=2) if is_trapped else None
    if control & HCD:
        return GuestException(ExceptionClass.UNKNOWN, to_el=2 if level.in_hypervisor(vcpu) else 1)
    return GuestException(ExceptionClass.HVC, immediate, to_el=2)


def wait(vcpu: Vcpu) -> GuestException | None:
    """The exception that WFI comes to, or None."""
    if level.in_hypervisor(vcpu) or not level.hcr(vcpu) & TWI:
        return None
    return GuestException(ExceptionClass.WFX, _NO_CONDITION, to_el=2)
