"""System registers and system instructions: who answers them, and the checks before."""

from __future__ import annotations

from armkvm.arch.accesses import GUEST_ONLY, access_name
from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import sysreg
from armkvm.cpu.address_space import AddressSpace
from armkvm.cpu.enables import Enables
from armkvm.cpu.engine import Engine
from armkvm.cpu.exceptions import ExceptionClass, GuestException, Undefined, Unmodelled
from armkvm.cpu.legality import Situation, check_fp, check_sme_access, check_zcr
from armkvm.cpu.machine import Machine
from armkvm.cpu.port import (
    CPACR_EL1,
    DCZID_EL0,
    ENGINE_REGISTERS,
    FP_REGISTERS,
    FPMR,
    MIRRORED,
    PAR_EL1,
    SCTLR_EL1,
    SMCR_EL1,
    SVCR,
    TPIDR2_EL0,
    TRANSLATION_REGISTERS,
    ZCR_EL1,
    Refusal,
    SysRegPort,
    refused,
    sysreg_syndrome,
)
from armkvm.cpu.translation import AccessKind

_ZVA_BYTES = 64
_SCTLR_UCT, _SCTLR_DZE, _SCTLR_UCI, _SCTLR_ENTP2 = 1 << 15, 1 << 14, 1 << 26, 1 << 60

_CTR_EL0 = sysreg("CTR_EL0")
_LENGTHS_AND_ENABLES = frozenset({CPACR_EL1, ZCR_EL1, SMCR_EL1})

_DC_ZVA = SysReg.of(1, 3, 7, 4, 1)
_CRN_TLBI = (8, 9)  # the second with nXS
_CRN_CACHE = 7
_CRM_AT = (8, 9)
_CRM_WITHOUT_EFFECT = (1, 5, 3, 6, 10, 11, 12, 13, 14)
"""IC: a page that code came from cannot be written without the engine dropping that code. CFP, CPP and
DVP: nothing is predicted. DC: nothing is cached."""


class SystemAccess:
    """MRS, MSR, SYS and SYSL of the guest. Methods raise GuestException; True means done."""

    def __init__(
        self,
        enables: Enables,
        machine: Machine,
        engine: Engine,
        port: SysRegPort,
        space: AddressSpace,
    ) -> None:
        self._enables = enables
        self._machine = machine
        self._engine = engine
        self._registers = engine.registers
        self._port = port
        self._space = space
        self._mirror: dict[SysReg, int] = {}

    def mirror_all(self) -> None:
        """Give the engine its copies of the model's registers."""
        for reg in MIRRORED:
            self._mirror_one(reg)

    def _mirror_one(self, reg: SysReg) -> None:
        value = self._port.current(reg)
        if reg == SCTLR_EL1:
            value &= ~_SCTLR_OURS
        if self._mirror.get(reg) != value:
            self._mirror[reg] = value
            self._registers.write_sysreg(reg, value)

    def execute(self, word: int) -> bool:
        """Execute an MRS, MSR (register), SYS or SYSL. False: the engine is to do it."""
        reg, rt, is_read = SysReg(word >> 5 & 0xFFFF), word & 31, bool(word >> 21 & 1)
        if not reg.op0:
            return False  # MSR (immediate), hints, barriers
        value = 0 if is_read or rt == 31 else self._registers.pull_one(rt)
        if reg.op0 == 1:
            return self._system(reg, rt, value, is_read)
        return self._register(reg, rt, value, is_read)

    def _register(self, reg: SysReg, rt: int, value: int, is_read: bool) -> bool:
        s = self._enables.situation()
        self._check(s, reg)
        if reg in ENGINE_REGISTERS:
            if s.el == 0 and reg.op1 != 3:
                raise Undefined
            return False
        if reg == SVCR:
            if is_read:
                self._machine.set_x(rt, self._machine.vectors.svcr)
                self._registers.push(self._machine.take_changed_x())
            else:
                self._machine.set_svcr(value & 3)
                self._enables.changed()
            return True
        if is_read:
            self._read(s, reg, rt)
        else:
            self._write(s, reg, rt, value)
        return True

    def _check(self, s: Situation, reg: SysReg) -> None:
        """The traps that CPACR_EL1 and SCTLR_EL1 control; a feature the guest lacks is the port's."""
        if reg == SVCR or (reg == SMCR_EL1 and (s.features.sme or s.features.sme_trapped)):
            check_sme_access(s)
        elif reg == ZCR_EL1 and (s.features.sve or s.features.sve_trapped):
            check_zcr(s)
        elif reg in FP_REGISTERS or (reg == FPMR and s.features.fpmr):
            check_fp(s)

    def _read(self, s: Situation, reg: SysReg, rt: int) -> None:
        if reg == FPMR and self._machine.features.fpmr:
            answer: int | Refusal = self._machine.vectors.fpmr
        elif reg == DCZID_EL0:
            answer = 4  # log2 of the words in a DC ZVA block
        else:
            self._check_el0(s, reg, rt, True)
            answer = self._port.read(reg, s.el)
        if isinstance(answer, Refusal):
            raise refused(answer, reg, rt, True)
        self._machine.set_x(rt, answer)
        self._registers.push(self._machine.take_changed_x())

    def _write(self, s: Situation, reg: SysReg, rt: int, value: int) -> None:
        if reg == FPMR and self._machine.features.fpmr:
            self._machine.vectors.fpmr = value
            return
        self._check_el0(s, reg, rt, False)
        refusal = self._port.write(reg, value, s.el)
        if refusal is not None:
            raise refused(refusal, reg, rt, False)
        if reg in MIRRORED:
            self._mirror_one(reg)
        if reg in _LENGTHS_AND_ENABLES:
            self._enables.changed()
        if reg in TRANSLATION_REGISTERS and self._space.update_regime():
            self._engine.flush_translations()

    def _check_el0(self, s: Situation, reg: SysReg, rt: int, is_read: bool) -> None:
        if s.el:
            return
        if reg.op1 != 3:
            raise Undefined
        sctlr = self._port.current(SCTLR_EL1)
        if (reg == TPIDR2_EL0 and not sctlr & _SCTLR_ENTP2 and s.features.sme) or (
            reg == _CTR_EL0 and not sctlr & _SCTLR_UCT
        ):
            raise GuestException(ExceptionClass.SYSREG, sysreg_syndrome(reg, rt, is_read))

    def _system(self, op: SysReg, rt: int, value: int, is_read: bool) -> bool:
        """One SYS or SYSL: cache, TLB and address-translation maintenance.

        Never the engine's, which knows few of them, and would stand still before the others. Those that
        return a value are all of FEAT_GCS, which KVM gives to no guest.
        """
        if is_read or op not in GUEST_ONLY:
            raise Undefined
        s = self._enables.situation()
        if s.el == 0:
            self._check_el0_maintenance(op, rt, is_read)
        refusal = self._port.execute(op, s.el)
        if refusal is not None:
            raise refused(refusal, op, rt, is_read)
        if op == _DC_ZVA:
            self._space.store(value & -_ZVA_BYTES, bytes(_ZVA_BYTES))
        elif op.crn in _CRN_TLBI:
            self._engine.flush_translations()
        elif op.crn == _CRN_CACHE and op.crm in _CRM_AT and op.op2 < 4:
            self._translate_address(op, value)
        elif op.crn != _CRN_CACHE or op.crm not in _CRM_WITHOUT_EFFECT:
            raise Unmodelled(f"the effect of {access_name(op)}")
        return True

    def _check_el0_maintenance(self, op: SysReg, rt: int, is_read: bool) -> None:
        if op.op1 != 3:
            raise Undefined
        needed = _SCTLR_DZE if op == _DC_ZVA else _SCTLR_UCI
        if not self._port.current(SCTLR_EL1) & needed:
            raise GuestException(ExceptionClass.SYSREG, sysreg_syndrome(op, rt, is_read))

    def _translate_address(self, op: SysReg, va: int) -> None:
        """AT S1E1R, S1E1W, S1E0R, S1E0W: the result, or the fault, in PAR_EL1."""
        kind = AccessKind.WRITE if op.op2 & 1 else AccessKind.READ
        try:
            mapping = self._space.translate(va, kind, el=0 if op.op2 & 2 else 1)
        except GuestException as fault:
            self._port.store(PAR_EL1, 1 | (fault.iss & 0x3F) << 1 | 1 << 11)
            return
        self._port.store(PAR_EL1, mapping.ipa & ((1 << 48) - (1 << 12)) | 1 << 11)


_SCTLR_OURS = 1 << 0 | 1 << 2 | 1 << 12 | 1 << 19 | 1 << 24 | 1 << 25
"""SCTLR_EL1 bits the engine must not act on: MMU, caches, WXN, big-endian data."""
