"""System registers of a vCPU with EL2, as each of its levels names them, and as its PE finds them.

While its hypervisor runs, EL1's registers of the PE are the guest's for EL2. With HCR_EL2.E2H the
hypervisor's own EL1 names mean EL2's registers as well, and EL12 names mean those of EL1. Its guest is
limited by ZCR_EL2 and SMCR_EL2: any LEN is stored, and the smaller counts when it is used.

Source: Linux arch/arm64/kvm/sys_regs.c (locate_register, access_zcr_el2), Arm ARM (register redirection).
"""

from __future__ import annotations

from armkvm.arch.accesses import access_name, find_access
from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import sysreg
from armkvm.arch.vectorfields import field
from armkvm.catalog import id_of
from armkvm.cpu.exceptions import Unmodelled
from armkvm.cpu.port import CPACR_EL1, SMCR_EL1, ZCR_EL1, Refusal
from armkvm.model.el2 import controls, forwarding, level
from armkvm.model.guest_registers import GuestRegisters
from armkvm.model.sysregs.catalogue import BY_ID
from armkvm.model.vcpu import Vcpu

LEN = field("ZCR_EL2", "LEN").mask
_SCTLR_M = 1
_CRN_CACHE, _CRM_AT = 7, (8, 9)

_PAIRS = (
    "SCTLR TTBR0 TTBR1 TCR AFSR0 AFSR1 ESR FAR MAIR AMAIR VBAR CONTEXTIDR ZCR SMCR SPSR ELR SCTLR2 TCR2 "
    "PIR PIRE0 POR"
)
OF_EL2: dict[SysReg, SysReg] = {
    sysreg("CPACR_EL1"): sysreg("CPTR_EL2"),
    sysreg("CNTKCTL_EL1"): sysreg("CNTHCTL_EL2"),
    **{
        one: other
        for name in _PAIRS.split()
        if (one := find_access(f"{name}_EL1")) is not None
        and (other := find_access(f"{name}_EL2")) is not None
    },
}
"""Registers of EL1 that EL2 has as well."""


def meant(reg: SysReg, *, e2h: bool) -> SysReg | None:
    """The register that a name means at EL2; None if there is none of that name."""
    if reg.op1 == 5:
        of_el1 = SysReg.of(reg.op0, 3 if reg.crn == 14 and reg.crm != 1 else 0, reg.crn, reg.crm, reg.op2)
        return of_el1 if e2h else None
    return OF_EL2.get(reg, reg) if e2h else reg


class El2Registers(GuestRegisters):
    """The port of a vCPU with EL2. `in_hypervisor` is set whenever its PE gets the registers."""

    in_hypervisor = False

    def read(self, reg: SysReg, el: int) -> int | Refusal:
        """The guest's MRS, but for what its hypervisor cannot execute itself."""
        if self.in_hypervisor:
            return super().read(self._meant(reg), el)
        refusal = self._kept_from_its_guest(reg, is_write=False)
        if refusal is not None:
            return refusal
        return super().read(forwarding.VIRTUAL.get(reg, reg), el)

    def write(self, reg: SysReg, value: int, el: int) -> Refusal | None:
        """The guest's MSR likewise."""
        if self.in_hypervisor:
            target = self._meant(reg)
            self.refuse_translation(target, value)
            return super().write(target, value, el)
        refusal = self._kept_from_its_guest(reg, is_write=True)
        if refusal is not None:
            return refusal
        return super().write(reg, value, el)

    def read_named(self, reg: SysReg) -> int | Refusal:
        """A register by what it is, whatever a name means at EL2."""
        return super().read(reg, 1)

    def write_named(self, reg: SysReg, value: int) -> Refusal | None:
        """Likewise."""
        self.refuse_translation(reg, value)
        return super().write(reg, value, 1)

    def execute(self, operation: SysReg, el: int) -> Refusal | None:
        """The guest's TLBI, AT, DC or IC."""
        refusal = None
        if not self.in_hypervisor:
            refusal = self._kept_from_its_guest(operation, is_write=True)
        elif operation.crn == _CRN_CACHE and operation.crm in _CRM_AT:
            raise Unmodelled(f"{access_name(operation)} at EL2")
        return super().execute(operation, el) if refusal is None else refusal

    def _kept_from_its_guest(self, reg: SysReg, *, is_write: bool) -> Refusal | None:
        if reg.op1 in (4, 5):
            return Refusal.UNDEFINED
        return Refusal.FORWARDED if forwarding.traps(self._vcpu, reg, is_write=is_write) else None

    def refuse_translation(self, reg: SysReg, value: int) -> None:
        """EL2's own regime, with one range of addresses, is not modelled; with E2H it is EL1's."""
        if reg == sysreg("SCTLR_EL2") and value & _SCTLR_M and not level.hcr(self._vcpu) & level.E2H:
            raise Unmodelled("the translation regime of EL2 without HCR_EL2.E2H")

    def current(self, reg: SysReg) -> int:
        """What EL1's register of the PE holds: EL2's while the hypervisor runs."""
        vcpu = self._vcpu
        if self.in_hypervisor:
            if reg == CPACR_EL1:
                return controls.cpacr_of(level.controls(vcpu))
            return super().current(OF_EL2.get(reg, reg))
        value = super().current(reg)
        if reg in (ZCR_EL1, SMCR_EL1):
            return value & ~LEN | min(value & LEN, super().current(OF_EL2[reg]) & LEN)
        return value

    def store(self, reg: SysReg, value: int) -> None:
        """Likewise."""
        super().store(OF_EL2.get(reg, reg) if self.in_hypervisor else reg, value)

    def _meant(self, reg: SysReg) -> SysReg:
        """With E2H, EL2's register where the vCPU has it."""
        found = meant(reg, e2h=bool(level.hcr(self._vcpu) & level.E2H)) or reg
        return found if found == reg or _has(self._vcpu, found) else reg


def _has(vcpu: Vcpu, reg: SysReg) -> bool:
    row = BY_ID.get(int(id_of(reg)))
    return row is not None and row.visible(vcpu)


def is_hidden(vcpu: Vcpu, reg: SysReg) -> bool:
    """Whether the vCPU lacks a register that others have."""
    row = BY_ID.get(int(id_of(reg)))
    return row is not None and not row.visible(vcpu)
