"""What a guest's hypervisor cannot execute itself at EL1: ERET, and all that would show it where it is.

Source: Linux arch/arm64/kvm/sys_regs.c, emulate-nested.c, handle_exit.c (kvm_handle_eret).
"""

from __future__ import annotations

from armkvm.arch.accesses import access_name
from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import parse
from armkvm.cpu.exceptions import GuestException, Undefined, Unmodelled
from armkvm.cpu.legality import Situation, check_sme_access, check_zcr
from armkvm.cpu.port import SMCR_EL1, ZCR_EL1, Refusal, refused
from armkvm.model import core_regs
from armkvm.model.el2 import forwarding, level
from armkvm.model.el2.registers import El2Registers, meant
from armkvm.model.vcpu import Vcpu

_ERET = 0xD69F03E0
_IS_READ = 1 << 21
_CURRENT_EL = SysReg.of(3, 0, 4, 2, 2)
_CRN_TLBI = 8
_ZCRS = frozenset((ZCR_EL1, sysreg("ZCR_EL2")))
_SMCRS = frozenset((SMCR_EL1, sysreg("SMCR_EL2")))

# ELR, SPSR and SP of EL1 have ids of core registers.
_CORE: dict[SysReg, int] = {
    SysReg.of(3, 0, 4, 0, 0): int(parse("SPSR_EL1")),
    SysReg.of(3, 0, 4, 0, 1): int(parse("ELR_EL1")),
    SysReg.of(3, 4, 4, 1, 0): int(parse("SP_EL1")),
}


def execute(vcpu: Vcpu, registers: El2Registers, situation: Situation, word: int) -> bool:
    """Execute such an instruction on the record of a vCPU at EL2; whether translations are stale after.

    What it takes instead goes to EL2, with PC on the instruction.
    """
    pc = vcpu.core[core_regs.PC]
    try:
        if word == _ERET:
            level.eret(vcpu)
            if not level.in_hypervisor(vcpu):
                forwarding.admit(vcpu)
            return False
        if word & 0xFFFFF3E0 == _ERET:
            raise Unmodelled("an exception return that checks pointers (ERETAA, ERETAB)")
        stale = _access(vcpu, registers, situation, word)
    except GuestException as exception:
        level.take(vcpu, exception, pc)
        return False
    vcpu.core[core_regs.PC] = pc + 4
    return stale


def _access(vcpu: Vcpu, registers: El2Registers, situation: Situation, word: int) -> bool:
    named, rt, is_read = SysReg(word >> 5 & 0xFFFF), word & 31, bool(word & _IS_READ)
    if named.op0 == 1:
        return _operation(named)
    reg = meant(named, e2h=bool(level.hcr(vcpu) & level.E2H))
    if reg is None:
        raise Undefined
    if reg in _ZCRS and (situation.features.sve or situation.features.sve_trapped):
        check_zcr(situation)
    elif reg in _SMCRS and (situation.features.sme or situation.features.sme_trapped):
        check_sme_access(situation)
    if is_read:
        answer = _read(vcpu, registers, reg)
        if isinstance(answer, Refusal):
            raise refused(answer, named, rt, True)
        if rt != 31:
            vcpu.core[core_regs.X[rt]] = answer
        return False
    value = 0 if rt == 31 else vcpu.core[core_regs.X[rt]]
    refusal = _write(vcpu, registers, reg, value)
    if refusal is not None:
        raise refused(refusal, named, rt, False)
    return True


def _operation(operation: SysReg) -> bool:
    """SYS of EL2: TLB maintenance concerns what the PE keeps; the rest is not modelled."""
    if operation.crn != _CRN_TLBI:
        raise Unmodelled(access_name(operation))
    return True


def _read(vcpu: Vcpu, registers: El2Registers, reg: SysReg) -> int | Refusal:
    if reg == _CURRENT_EL:
        return level.mode(vcpu) << 2
    if reg in _CORE:
        return vcpu.core[_CORE[reg]]
    if int(reg) == int(sysreg("HCR_EL2")):
        return level.hcr(vcpu)
    return registers.read_named(reg)


def _write(vcpu: Vcpu, registers: El2Registers, reg: SysReg, value: int) -> Refusal | None:
    if reg == _CURRENT_EL:
        return Refusal.UNDEFINED
    if reg in _CORE:
        vcpu.core[_CORE[reg]] = value
        return None
    return registers.write_named(reg, value)
