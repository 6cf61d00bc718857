"""The engine's registers, and how a PE's are put there and taken from there."""

from __future__ import annotations

import ctypes

import unicorn as uc
from unicorn import arm64_const as arm

from armkvm.arch.encoding import SysReg
from armkvm.arch.pstate import EL1H, el_of
from armkvm.cpu.native import RegisterBatch, address_of
from armkvm.cpu.port import CPACR_EL1, SPSR_EL1
from armkvm.cpu.state import Z_BYTES, CoreState, VectorState

SP, PC, PSTATE, FPCR, FPSR = 31, 32, 33, 34, 35
"""Indices into `EngineRegisters.values`, after X0..X30."""

_ENGINE_NUMBERS = (
    *(arm.UC_ARM64_REG_X0 + n for n in range(29)),
    arm.UC_ARM64_REG_X29,
    arm.UC_ARM64_REG_X30,
    arm.UC_ARM64_REG_SP,
    arm.UC_ARM64_REG_PC,
    arm.UC_ARM64_REG_PSTATE,
    arm.UC_ARM64_REG_FPCR,
    arm.UC_ARM64_REG_FPSR,
)
_CORE = (1 << PC + 1) - 1  # X0 to X30, SP and PC


class EngineRegisters:
    """One engine's registers. `values` holds X0..X30, SP, PC, PSTATE, FPCR, FPSR after `pull`.

    The V registers are moved to and from the vector state, whose Z registers they are the lowest parts of.
    """

    def __init__(self, engine: uc.Uc, vectors: VectorState) -> None:
        self._uc = engine
        self._vector_state = vectors
        self.values = (ctypes.c_uint64 * len(_ENGINE_NUMBERS))()
        at = address_of(self.values)
        places = [at + 8 * i for i in range(len(_ENGINE_NUMBERS))]
        z = address_of(vectors.z)
        quadwords = [arm.UC_ARM64_REG_Q0 + n for n in range(32)]
        rows = [z + Z_BYTES * n for n in range(32)]
        self._everything = RegisterBatch(engine, [*_ENGINE_NUMBERS, *quadwords], [*places, *rows])
        self._vectors = RegisterBatch(engine, quadwords, rows)
        self._one = [
            RegisterBatch(engine, [n], [place]) for n, place in zip(_ENGINE_NUMBERS, places, strict=True)
        ]

    def pull(self) -> None:
        """Registers into `values`; V, FPCR and FPSR into the vector state."""
        self._everything.read()
        self._vector_state.fpcr = self.values[FPCR] & 0xFFFFFFFF
        self._vector_state.fpsr = self.values[FPSR] & 0xFFFFFFFF

    def push(self, changed: int) -> None:
        """Those of `values` whose bit is set in `changed`, X registers first, PC last."""
        while changed:
            low = changed & -changed
            self._one[low.bit_length() - 1].write()
            changed ^= low

    def pull_one(self, index: int) -> int:
        self._one[index].read()
        return self.values[index]

    def push_vectors(self) -> None:
        """V from the vector state."""
        self._vectors.write()

    def push_fpcr(self) -> None:
        """FPCR from the vector state."""
        self.values[FPCR] = self._vector_state.fpcr
        self._one[FPCR].write()

    def push_fpsr(self) -> None:
        """FPSR from the vector state."""
        self.values[FPSR] = self._vector_state.fpsr
        self._one[FPSR].write()

    def pstate(self) -> int:
        return self.pull_one(PSTATE)

    def el(self) -> int:
        return el_of(self.pull_one(PSTATE))

    def elr(self) -> int:
        """ELR_EL1."""
        return self._read(arm.UC_ARM64_REG_ELR_EL1)

    def spsr(self) -> int:
        """SPSR_EL1."""
        return int(self._uc.reg_read(arm.UC_ARM64_REG_CP_REG, _place(SPSR_EL1)))

    def write_sysreg(self, reg: SysReg, value: int) -> None:
        self._uc.reg_write(arm.UC_ARM64_REG_CP_REG, (*_place(reg), value))

    def jump(self, pc: int) -> None:
        """Continue at `pc`; from a hook, this ends the current block."""
        self.values[PC] = pc
        self._write(arm.UC_ARM64_REG_PC, pc)

    def load_core(self, core: CoreState) -> None:
        """Make the engine's registers those of `core`."""
        for n, value in enumerate(core.x):
            self.values[n] = value
        self._write(arm.UC_ARM64_REG_PSTATE, core.pstate)
        self._write(arm.UC_ARM64_REG_SP_EL0, core.sp_el0)
        self._write(arm.UC_ARM64_REG_SP_EL1, core.sp_el1)
        self.values[SP] = core.sp_el1 if _uses_sp_el1(core.pstate) else core.sp_el0
        self.values[PC], self.values[PSTATE] = core.pc, core.pstate
        self._write(arm.UC_ARM64_REG_ELR_EL1, core.elr_el1)
        self.write_sysreg(SPSR_EL1, core.spsr_el1)
        self.push(_CORE)
        self._settle_pstate()

    def store_core(self, core: CoreState) -> None:
        """Write the engine's registers to `core`; V, FPCR and FPSR to the vector state."""
        self.pull()
        core.x[:] = self.values[:31]
        core.pc, core.pstate = self.values[PC], self.values[PSTATE] & 0xFFFFFFFF
        core.sp_el0 = self._read(arm.UC_ARM64_REG_SP_EL0)
        core.sp_el1 = self._read(arm.UC_ARM64_REG_SP_EL1)
        if _uses_sp_el1(core.pstate):
            core.sp_el1 = self.values[SP]
        else:
            core.sp_el0 = self.values[SP]
        core.elr_el1, core.spsr_el1 = self.elr(), self.spsr()

    def enter_el1(self, vector: int, pstate: int, elr: int, spsr: int) -> None:
        """Continue at `vector` in EL1h with `pstate`, ELR_EL1 and SPSR_EL1 being these."""
        if _uses_sp_el1(self.pstate()):
            self._write(arm.UC_ARM64_REG_PSTATE, pstate)
        else:
            self._write(arm.UC_ARM64_REG_SP_EL0, self.pull_one(SP))
            self._write(arm.UC_ARM64_REG_PSTATE, pstate)
            self._write(arm.UC_ARM64_REG_SP, self._read(arm.UC_ARM64_REG_SP_EL1))
        self.values[PSTATE] = pstate
        self._write(arm.UC_ARM64_REG_ELR_EL1, elr)
        self.write_sysreg(SPSR_EL1, spsr & 0xFFFFFFFF)
        self._settle_pstate()
        self.jump(vector)

    def _settle_pstate(self) -> None:
        """Make a changed PSTATE take effect: writing a system register rederives the engine's mode."""
        self.write_sysreg(CPACR_EL1, 0)

    def _read(self, name: int) -> int:
        return int(self._uc.reg_read(name))

    def _write(self, name: int, value: int) -> None:
        self._uc.reg_write(name, value)


def _uses_sp_el1(pstate: int) -> bool:
    return pstate & EL1H == EL1H


def _place(reg: SysReg) -> tuple[int, int, int, int, int]:
    """How the engine's interface names a system register."""
    return (reg.crn, reg.crm, reg.op0, reg.op1, reg.op2)
