"""Floating-point lane operations, with Arm's rounding, NaNs and exception flags.

Each operation runs the AdvSIMD instruction of the same name in a small engine of its own: Arm's
floating point (NaN propagation, FPCR modes, cumulative FPSR flags, fused operations, half
precision) is defined there already, and the SVE and SME forms differ only in which lanes they
touch.
"""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
import unicorn as engine
from unicorn import arm64_const as regs

from armkvm.cpu.machine import UNSIGNED, Lanes
from armkvm.cpu.native import RegisterBatch, address_of

# Name -> the instruction on v0 (also accumulator and result), v1, v2 for 8H, 4S and 2D.
OPERATIONS: dict[str, tuple[int, int, int]] = {
    "fadd": (0x4E421420, 0x4E22D420, 0x4E62D420),
    "fsub": (0x4EC21420, 0x4EA2D420, 0x4EE2D420),
    "fmul": (0x6E421C20, 0x6E22DC20, 0x6E62DC20),
    "fdiv": (0x6E423C20, 0x6E22FC20, 0x6E62FC20),
    "fmax": (0x4E423420, 0x4E22F420, 0x4E62F420),
    "fmin": (0x4EC23420, 0x4EA2F420, 0x4EE2F420),
    "fmaxnm": (0x4E420420, 0x4E22C420, 0x4E62C420),
    "fminnm": (0x4EC20420, 0x4EA2C420, 0x4EE2C420),
    "fabd": (0x6EC21420, 0x6EA2D420, 0x6EE2D420),
    "fmulx": (0x4E421C20, 0x4E22DC20, 0x4E62DC20),
    "frecps": (0x4E423C20, 0x4E22FC20, 0x4E62FC20),
    "frsqrts": (0x4EC23C20, 0x4EA2FC20, 0x4EE2FC20),
    "fmla": (0x4E420C20, 0x4E22CC20, 0x4E62CC20),
    "fmls": (0x4EC20C20, 0x4EA2CC20, 0x4EE2CC20),
    "fcmeq": (0x4E422420, 0x4E22E420, 0x4E62E420),
    "fcmge": (0x6E422420, 0x6E22E420, 0x6E62E420),
    "fcmgt": (0x6EC22420, 0x6EA2E420, 0x6EE2E420),
    "facge": (0x6E422C20, 0x6E22EC20, 0x6E62EC20),
    "facgt": (0x6EC22C20, 0x6EA2EC20, 0x6EE2EC20),
    "fsqrt": (0x6EF9F820, 0x6EA1F820, 0x6EE1F820),
    "frintn": (0x4E798820, 0x4E218820, 0x4E618820),
    "frintp": (0x4EF98820, 0x4EA18820, 0x4EE18820),
    "frintm": (0x4E799820, 0x4E219820, 0x4E619820),
    "frintz": (0x4EF99820, 0x4EA19820, 0x4EE19820),
    "frinta": (0x6E798820, 0x6E218820, 0x6E618820),
    "frintx": (0x6E799820, 0x6E219820, 0x6E619820),
    "frinti": (0x6EF99820, 0x6EA19820, 0x6EE19820),
    "frecpe": (0x4EF9D820, 0x4EA1D820, 0x4EE1D820),
    "frsqrte": (0x6EF9D820, 0x6EA1D820, 0x6EE1D820),
    "fcvtzs": (0x4EF9B820, 0x4EA1B820, 0x4EE1B820),
    "fcvtzu": (0x6EF9B820, 0x6EA1B820, 0x6EE1B820),
    "scvtf": (0x4E79D820, 0x4E21D820, 0x4E61D820),
    "ucvtf": (0x6E79D820, 0x6E21D820, 0x6E61D820),
}

# Name -> instructions on the lowest element of v0 (accumulator and result), v1 and v2.
SEQUENCES: dict[str, tuple[int, ...]] = {
    "fcvt 1 2": (0x1EE24020,),
    "fcvt 1 3": (0x1EE2C020,),
    "fcvt 2 1": (0x1E23C020,),
    "fcvt 2 3": (0x1E22C020,),
    "fcvt 3 1": (0x1E63C020,),
    "fcvt 3 2": (0x1E624020,),
    "fcvtxn": (0x7E616820,),
    "frecpx 1": (0x5EF9F820,),
    "frecpx 2": (0x5EA1F820,),
    "frecpx 3": (0x5EE1F820,),
    "fcvtzs 1 3": (0x9EF80025, 0x9E6700A0),
    "fcvtzs 2 3": (0x9E380025, 0x9E6700A0),
    "fcvtzs 1 2": (0x1EF80025, 0x1E2700A0),
    "fcvtzs 3 2": (0x1E780025, 0x1E2700A0),
    "fcvtzu 1 3": (0x9EF90025, 0x9E6700A0),
    "fcvtzu 2 3": (0x9E390025, 0x9E6700A0),
    "fcvtzu 1 2": (0x1EF90025, 0x1E2700A0),
    "fcvtzu 3 2": (0x1E790025, 0x1E2700A0),
    "scvtf 2 1": (0x1E260025, 0x1EE200A0),
    "scvtf 3 1": (0x9E660025, 0x9EE200A0),
    "scvtf 3 2": (0x9E660025, 0x9E2200A0),
    "scvtf 2 3": (0x1E260025, 0x1E6200A0),
    "ucvtf 2 1": (0x1E260025, 0x1EE300A0),
    "ucvtf 3 1": (0x9E660025, 0x9EE300A0),
    "ucvtf 3 2": (0x9E660025, 0x9E2300A0),
    "ucvtf 2 3": (0x1E260025, 0x1E6300A0),
    "fmlal": (0x4E22EC20,),
    "fmlsl": (0x4EA2EC20,),
}
"""The numbers are the element sizes converted from and to."""

# Element size -> fadd of v0 and v1 into v0.
CHAIN = {1: 0x1EE12800, 2: 0x1E212800, 3: 0x1E612800}

# ldr q0..q2 from [x0..x2] post-increment; the operation; str q0,[x3],#16; subs x4,x4,#1; b.ne back.
_LOAD = (0x3CC10400, 0x3CC10421, 0x3CC10442)
_STORE, _COUNT_DOWN, _B_NE = 0x3C810460, 0xF1000484, 0x54000001
_STUB_BYTES = 48

_CODE = 0x10000
_DATA = 0x100000
_PAGE = 4096
_EXIT = _CODE + 2 * _PAGE - 4
OPERAND_BYTES = 256 * 256
"""The longest operand: every element of a ZA tile."""

FPCR_DN, FPCR_FZ, FPCR_FZ16, FPCR_AHP = 1 << 25, 1 << 24, 1 << 19, 1 << 26
_FPCR_USED = 0x07F80000  # DN, FZ, RMode, Stride, FZ16 and AHP live here; traps are not implemented


def _branch_back(words: int) -> int:
    """b.ne to `words` before itself."""
    return _B_NE | (-words & 0x7FFFF) << 5


class FpUnit:
    """Runs lane operations."""

    def __init__(self) -> None:
        self._uc = engine.Uc(engine.UC_ARCH_ARM64, engine.UC_MODE_ARM, regs.UC_CPU_ARM64_MAX)
        self._uc.ctl_exits_enabled(True)
        self._uc.ctl_set_exits([_EXIT])
        self._uc.mem_map(_CODE, 2 * _PAGE, engine.UC_PROT_READ | engine.UC_PROT_EXEC)
        self._data = mmap.mmap(-1, 4 * OPERAND_BYTES)
        self._buffers = [
            np.frombuffer(self._data, np.uint8, OPERAND_BYTES, i * OPERAND_BYTES) for i in range(4)
        ]
        base = np.frombuffer(self._data, np.uint8).ctypes.data
        self._uc.mem_map_ptr(_DATA, 4 * OPERAND_BYTES, engine.UC_PROT_READ | engine.UC_PROT_WRITE, base)
        self._stubs: dict[tuple[int, ...], int] = {}
        self._state = (ctypes.c_uint64 * 7)(*(_DATA + i * OPERAND_BYTES for i in range(4)))
        names = (
            *(regs.UC_ARM64_REG_X0 + i for i in range(5)),
            regs.UC_ARM64_REG_FPCR,
            regs.UC_ARM64_REG_FPSR,
        )
        at = address_of(self._state)
        self._registers = RegisterBatch(self._uc, names, [at + 8 * i for i in range(7)])
        self._fpsr = RegisterBatch(self._uc, names[6:], [at + 48])

    def run(self, name: str, size: int, operands: tuple[Any, ...], fpcr: int, fpsr: int) -> tuple[Lanes, int]:
        """(result lanes, FPSR after) of operation `name` on operands, accumulator first.

        Operands are unsigned lane arrays of one length; the result is a copy of the same kind.
        FPSR's flags accumulate; the engine is several times faster once IXC is set.
        """
        lanes = len(operands[0])
        dtype = UNSIGNED[size]
        first = 0 if len(operands) == 3 else 1
        for buffer, operand in zip(self._buffers[first:], operands, strict=False):
            buffer.view(dtype)[:lanes] = operand
        quadwords = (lanes * dtype.itemsize + 15) >> 4
        if (lanes * dtype.itemsize) & 15:
            self._clear_tails(lanes * dtype.itemsize, quadwords * 16)
        after = self._start(self._loop((OPERATIONS[name][size - 1],)), quadwords, fpcr, fpsr)
        return self._buffers[3].view(dtype)[:lanes].copy(), after

    def each(self, name: str, operands: tuple[Any, ...], fpcr: int, fpsr: int) -> tuple[Lanes, int]:
        """Like `run`, of one of SEQUENCES: operands and results are numbers of up to 64 bits."""
        count = len(operands[0])
        first = 0 if len(operands) == 3 else 1
        for buffer, operand in zip(self._buffers[first:], operands, strict=False):
            places = buffer.view(np.uint64)[: 2 * count].reshape(-1, 2)
            places[:, 0], places[:, 1] = operand, 0
        after = self._start(self._loop(SEQUENCES[name]), count, fpcr, fpsr)
        return self._buffers[3].view(np.uint64)[: 2 * count : 2].copy(), after

    def add_in_order(self, size: int, start: int, lanes: Lanes, fpcr: int, fpsr: int) -> tuple[int, int]:
        """(start + lane 0 + lane 1 ..., FPSR after), each sum rounded."""
        if not len(lanes):
            return start, fpsr
        for buffer, operand in ((self._buffers[0], start), (self._buffers[1], lanes)):
            places = buffer.view(np.uint64)[: 2 * len(lanes)].reshape(-1, 2)
            places[:, 0], places[:, 1] = operand, 0
        after = self._start(self._chain(CHAIN[size]), len(lanes), fpcr, fpsr)
        return int(self._buffers[3].view(UNSIGNED[size])[0]), after

    def _loop(self, words: tuple[int, ...]) -> int:
        """The address of a loop that loads operands, does `words` and stores the result."""
        body = (*_LOAD, *words, _STORE, _COUNT_DOWN)
        return self._stub((*body, _branch_back(len(body))))

    def _chain(self, word: int) -> int:
        """The address of a loop that keeps its accumulator in v0."""
        return self._stub((_LOAD[0], _LOAD[1], word, _COUNT_DOWN, _branch_back(3), _STORE))

    def _stub(self, words: tuple[int, ...]) -> int:
        """Where `words` stand, followed by a jump to the exit."""
        address = self._stubs.get(words)
        if address is None:
            address = _CODE + len(self._stubs) * _STUB_BYTES
            leave = 0x14000000 | (_EXIT - address - 4 * len(words) >> 2) & 0x3FFFFFF
            self._uc.mem_write(address, b"".join(w.to_bytes(4, "little") for w in (*words, leave)))
            self._stubs[words] = address
        return address

    def _start(self, stub: int, trips: int, fpcr: int, fpsr: int) -> int:
        """Run a stub; FPSR after."""
        state = self._state
        state[4], state[5], state[6] = trips, fpcr & _FPCR_USED, fpsr
        self._registers.write()
        self._uc.emu_start(stub, 0)
        self._fpsr.read()
        return state[6]

    def _clear_tails(self, start: int, stop: int) -> None:
        """Zero operands pad the last quadword, so that its spare lanes raise no flag."""
        for buffer in self._buffers[:3]:
            buffer[start:stop] = 0
