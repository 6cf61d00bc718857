"""The system registers as a PE sees them: an interface that the model implements.

The model owns every system register but those in `ENGINE_REGISTERS`, and decides what the guest may
see; the PE asks. Both agree on what a refused access looks like to the guest.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import sysreg
from armkvm.cpu.exceptions import ExceptionClass, GuestException, Undefined


class Refusal(Enum):
    """How an access to a register that the guest does not have ends."""

    UNDEFINED = "EC 0x00"
    TRAPPED = "EC 0x18, with the access in ISS (FEAT_IDST)"
    FORWARDED = "EC 0x18 at EL2: the guest's own hypervisor traps it"


class SysRegPort(Protocol):
    """System registers, provided by the model.

    `read` and `write` are accesses the guest makes (MRS, MSR), after the PE's own checks of
    CPACR_EL1, and `execute` one of its system instructions (TLBI, AT, DC, IC), which only asks
    whether the guest has it. `current` and `store` are the PE's own: the value in effect, 0 where the
    guest lacks the register. An access that has effects nobody models raises Unmodelled.
    """

    def read(self, reg: SysReg, el: int) -> int | Refusal: ...

    def write(self, reg: SysReg, value: int, el: int) -> Refusal | None: ...

    def execute(self, operation: SysReg, el: int) -> Refusal | None: ...

    def current(self, reg: SysReg) -> int: ...

    def store(self, reg: SysReg, value: int) -> None: ...


CPACR_EL1 = sysreg("CPACR_EL1")
ESR_EL1 = sysreg("ESR_EL1")
FAR_EL1 = sysreg("FAR_EL1")
ID_AA64PFR0_EL1 = sysreg("ID_AA64PFR0_EL1")
FPMR = sysreg("FPMR")
FPCR = sysreg("FPCR")
FPSR = sysreg("FPSR")
PAR_EL1 = sysreg("PAR_EL1")
SCTLR_EL1 = sysreg("SCTLR_EL1")
SMCR_EL1 = sysreg("SMCR_EL1")
SVCR = sysreg("SVCR")
TCR_EL1 = sysreg("TCR_EL1")
TPIDR2_EL0 = sysreg("TPIDR2_EL0")
TTBR0_EL1 = sysreg("TTBR0_EL1")
TTBR1_EL1 = sysreg("TTBR1_EL1")
VBAR_EL1 = sysreg("VBAR_EL1")
ZCR_EL1 = sysreg("ZCR_EL1")
ELR_EL1 = sysreg("ELR_EL1")
SPSR_EL1 = sysreg("SPSR_EL1")
CURRENT_EL = sysreg("CurrentEL")
DCZID_EL0 = sysreg("DCZID_EL0")

ENGINE_REGISTERS = frozenset(
    {
        FPCR,
        FPSR,
        ELR_EL1,
        SPSR_EL1,
        CURRENT_EL,
        *map(sysreg, ("SP_EL0", "SPSel", "PAN", "UAO", "NZCV", "DAIF")),
    }
)
"""Registers the engine itself executes with; `CoreState` and `VectorState` carry their values."""

BANKED_REGISTERS = frozenset({ELR_EL1, SPSR_EL1, CURRENT_EL})
"""Those of them that EL2 has, or shows, of its own."""

FP_REGISTERS = frozenset({FPCR, FPSR})
"""Those of them that CPACR_EL1.FPEN closes."""

POINTER_AUTH_KEYS = tuple(SysReg.of(3, 0, 2, crm, op2) for crm in (1, 2, 3) for op2 in range(4))[:10]
"""APIAKeyLo_EL1 ... APGAKeyHi_EL1."""

MIRRORED = frozenset({SCTLR_EL1, *POINTER_AUTH_KEYS})
"""Registers of the model of which the engine needs a copy."""

TRANSLATION_REGISTERS = frozenset({SCTLR_EL1, TCR_EL1, TTBR0_EL1, TTBR1_EL1})


def sysreg_syndrome(reg: SysReg, rt: int, is_read: bool) -> int:
    """ISS of a trapped MSR, MRS or system instruction."""
    return reg.op0 << 20 | reg.op2 << 17 | reg.op1 << 14 | reg.crn << 10 | rt << 5 | reg.crm << 1 | is_read


def refused(refusal: Refusal, reg: SysReg, rt: int, is_read: bool) -> GuestException:
    """The exception of a refused access."""
    if refusal is not Refusal.UNDEFINED:
        to_el = 2 if refusal is Refusal.FORWARDED else 1
        return GuestException(ExceptionClass.SYSREG, sysreg_syndrome(reg, rt, is_read), to_el=to_el)
    return Undefined()
