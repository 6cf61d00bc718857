"""System registers as a running guest sees them: what `traps` decides, over the vCPU's own record.

What KVM would answer from something the model has none of (the PMU, an interrupt controller, the
clock) raises Unmodelled: nothing is made up.

Source: Linux arch/arm64/kvm/sys_regs.c; Arm Architecture Registers (CNTKCTL_EL1, CNTV_TVAL_EL0, ISR_EL1).
"""

from __future__ import annotations

from collections.abc import Callable

from armkvm.abi.regid import RegId
from armkvm.arch.accesses import access_name, find_access
from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.cpu.exceptions import Unmodelled
from armkvm.cpu.port import Refusal
from armkvm.errors import ModelBug
from armkvm.model import traps
from armkvm.model.sysregs import kept, timers
from armkvm.model.sysregs.catalogue import BY_ID
from armkvm.model.traps import Outcome
from armkvm.model.vcpu import Vcpu

_MASK64 = (1 << 64) - 1

_REFUSALS = {Outcome.UNDEFINED: Refusal.UNDEFINED, Outcome.TRAPPED: Refusal.TRAPPED}


def _reg(name: str) -> SysReg:
    found = find_access(name)
    if found is None:
        raise ModelBug(f"no register is called {name}")
    return found


def _id(name: str) -> int:
    return int(id_of(sysreg(name)))


# -- registers that KVM or the CPU answers for, where there is no more to it than this ----------


def _timer_value(vcpu: Vcpu, kind: str, compare: int) -> int:
    """CNT{V,P}_TVAL_EL0: how far away the comparator is, 32 bits."""
    return vcpu.sysregs[compare] - timers.count(vcpu, kind) & 0xFFFF_FFFF


def _set_timer_value(vcpu: Vcpu, kind: str, compare: int, value: int) -> None:
    signed = (value & 0xFFFF_FFFF ^ 1 << 31) - (1 << 31)
    vcpu.sysregs[compare] = timers.count(vcpu, kind) + signed & _MASK64


_CSSELR, _OSLSR = _id("CSSELR_EL1"), _id("OSLSR_EL1")
_V, _P = _id("CNTV_CVAL_EL0"), _id("CNTP_CVAL_EL0")


def _ccsidr(vcpu: Vcpu) -> int:
    return vcpu.demux.get(int(RegId.ccsidr(min(vcpu.sysregs[_CSSELR] & 0xF, 13))), 0)


def _lock_os(vcpu: Vcpu, value: int) -> None:
    vcpu.sysregs[_OSLSR] = vcpu.sysregs[_OSLSR] & ~2 | (value & 1) << 1


_READ: dict[SysReg, Callable[[Vcpu], int]] = {
    _reg("CNTV_TVAL_EL0"): lambda vcpu: _timer_value(vcpu, timers.VIRTUAL, _V),
    _reg("CNTP_TVAL_EL0"): lambda vcpu: _timer_value(vcpu, timers.PHYSICAL, _P),
    _reg("CNTPCT_EL0"): lambda vcpu: timers.count(vcpu, timers.PHYSICAL),
    _reg("CNTP_CTL_EL0"): lambda vcpu: vcpu.sysregs[_id("CNTP_CTL_EL0")],
    _reg("CNTP_CVAL_EL0"): lambda vcpu: vcpu.sysregs[_P],
    _reg("CCSIDR_EL1"): _ccsidr,
    _reg("ISR_EL1"): lambda vcpu: vcpu.serror[0] << 8,
}
_WRITE: dict[SysReg, Callable[[Vcpu, int], None]] = {
    _reg("CNTV_TVAL_EL0"): lambda vcpu, value: _set_timer_value(vcpu, timers.VIRTUAL, _V, value),
    _reg("CNTP_TVAL_EL0"): lambda vcpu, value: _set_timer_value(vcpu, timers.PHYSICAL, _P, value),
    _reg("CNTP_CTL_EL0"): lambda vcpu, value: vcpu.sysregs.update({_id("CNTP_CTL_EL0"): value & 3}),
    _reg("CNTP_CVAL_EL0"): lambda vcpu, value: vcpu.sysregs.update({_P: value}),
    _reg("OSLAR_EL1"): _lock_os,
}
_OF_MTE = frozenset(
    _reg(f"DC {name}") for name in ("IGSW", "IGDSW", "CGSW", "CGDSW", "CIGSW", "CIGDSW", "IGVAC", "IGDVAC")
)
"""Maintenance of tags that only EL1 may do: part of FEAT_MTE2, which a guest has by KVM_CAP_ARM_MTE."""

_READ_ONLY = frozenset(map(_reg, ("CNTVCT_EL0", "CNTPCT_EL0", "ISR_EL1", "CCSIDR_EL1")))
_WRITE_ONLY = frozenset((_reg("OSLAR_EL1"),))

# What a guest at EL0 needs of CNTKCTL_EL1 to use the timers.
_CNTKCTL = _id("CNTKCTL_EL1")
_EL0_TIMERS: dict[SysReg, int] = {
    _reg("CNTPCT_EL0"): 1 << 0,
    _reg("CNTVCT_EL0"): 1 << 1,
    **{_reg(f"CNTV_{name}_EL0"): 1 << 8 for name in ("CTL", "CVAL", "TVAL")},
    **{_reg(f"CNTP_{name}_EL0"): 1 << 9 for name in ("CTL", "CVAL", "TVAL")},
}

# Bits of registers whose effects on the guest nobody models: what setting one would ask for.
_WITHOUT_EFFECT: dict[SysReg, tuple[int, str]] = {
    sysreg("SCTLR_EL1"): (1 << 25 | 1 << 24, "big-endian data"),
    sysreg("MDSCR_EL1"): (1 << 15 | 1 << 0, "the guest's own breakpoints and single steps"),
    sysreg("TCR2_EL1"): (_MASK64, "TCR2_EL1's extensions of translation"),
    sysreg("SCTLR2_EL1"): (_MASK64, "SCTLR2_EL1's controls"),
}


class GuestRegisters:
    """One vCPU's system registers, as `cpu.port.SysRegPort` has it. For a VM that has run."""

    def __init__(self, vcpu: Vcpu) -> None:
        self._vcpu = vcpu
        self._masks = kept.KEPT | kept.of_vectors(vcpu)
        self._outcomes: dict[tuple[SysReg, bool], Outcome] = {}
        self._ids: dict[SysReg, int] = {}

    def read(self, reg: SysReg, el: int) -> int | Refusal:
        """The guest's MRS."""
        outcome = self._outcome(reg, False)
        if outcome in _REFUSALS:
            return _REFUSALS[outcome]
        if self._is_kept_from_el0(reg, el):
            return Refusal.TRAPPED
        if reg in _WRITE_ONLY:
            return Refusal.UNDEFINED
        if reg in _READ:
            return _READ[reg](self._vcpu)
        if outcome is Outcome.REGISTER:
            return self._own(reg)
        if outcome is Outcome.VALUE:
            return traps.ids_of(self._vcpu)(reg)
        if outcome is Outcome.RAZ_WI:
            return 0
        raise Unmodelled(f"a guest's read of {access_name(reg)}")

    def write(self, reg: SysReg, value: int, el: int) -> Refusal | None:
        """The guest's MSR."""
        outcome = self._outcome(reg, True)
        if outcome in _REFUSALS:
            return _REFUSALS[outcome]
        if self._is_kept_from_el0(reg, el):
            return Refusal.TRAPPED
        if reg in _READ_ONLY or (reg == _TPIDRRO and not el):
            return Refusal.UNDEFINED
        bits, effect = _WITHOUT_EFFECT.get(reg, (0, ""))
        if value & bits:
            raise Unmodelled(f"{effect} (a guest's write of {value:#x} to {access_name(reg)})")
        if reg in _WRITE:
            _WRITE[reg](self._vcpu, value)
        elif outcome is Outcome.REGISTER:
            self._write_own(reg, value)
        elif outcome not in (Outcome.RAZ_WI, Outcome.IGNORED):
            raise Unmodelled(f"a guest's write of {value:#x} to {access_name(reg)}")
        return None

    def execute(self, operation: SysReg, el: int) -> Refusal | None:
        """The guest's TLBI, AT, DC or IC."""
        if operation in _OF_MTE and not self._vcpu.vm.has_mte:
            return Refusal.UNDEFINED
        return _REFUSALS.get(self._outcome(operation, True))

    def current(self, reg: SysReg) -> int:
        """The value in effect, 0 where the vCPU lacks the register."""
        number = self._id_of(reg)
        return self._vcpu.sysregs.get(number, 0) & self._masks.get(number, _MASK64)

    def store(self, reg: SysReg, value: int) -> None:
        """What the PE itself writes: syndromes, fault addresses, translation results."""
        self._vcpu.sysregs[self._id_of(reg)] = value

    def settle(self) -> None:
        """Leave in the record what the CPU keeps of what it was given."""
        for number, mask in self._masks.items():
            if number in self._vcpu.sysregs:
                self._vcpu.sysregs[number] &= mask

    def _outcome(self, reg: SysReg, is_write: bool) -> Outcome:
        """Fixed once a VM has run."""
        key = (reg, is_write)
        if key not in self._outcomes:
            self._outcomes[key] = traps.guest_access(self._vcpu, reg, is_write).outcome
        return self._outcomes[key]

    def _is_kept_from_el0(self, reg: SysReg, el: int) -> bool:
        return not el and reg in _EL0_TIMERS and not self._vcpu.sysregs[_CNTKCTL] & _EL0_TIMERS[reg]

    def _own(self, reg: SysReg) -> int:
        row = BY_ID[self._id_of(reg)]
        return row.read(self._vcpu, row) & self._masks.get(row.id, _MASK64)

    def _write_own(self, reg: SysReg, value: int) -> None:
        row = BY_ID[self._id_of(reg)]
        refused = row.write(self._vcpu, row, value & self._masks.get(row.id, _MASK64))
        if refused is not None:
            raise Unmodelled(f"a guest's write of {value:#x} to {access_name(reg)} ({refused.rule.name})")

    def _id_of(self, reg: SysReg) -> int:
        number = self._ids.get(reg)
        if number is None:
            number = self._ids[reg] = int(id_of(reg))
        return number


_TPIDRRO = sysreg("TPIDRRO_EL0")
