"""Instruction words that the engine must not execute unseen: the PE answers them, or looks at them first.

For one word a function takes the word, for a page of them an array; `poison` has those that the engine
must not even translate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from armkvm.arch.encoding import SysReg
from armkvm.cpu.port import BANKED_REGISTERS, ENGINE_REGISTERS, FP_REGISTERS

Words = NDArray[np.uint32]
Flags = NDArray[np.bool_]

ERET = 0xD69F03E0
_RETURN_MASK = 0xFFFFF3E0  # ERETAA and ERETAB as well
_SYSTEM_MASK, _SYSTEM = 0xFFC00000, 0xD5000000
_MOVE_MASK, _MOVE = np.uint32(0xFFD00000), 0xD5100000  # MRS and MSR (register)
_SYS_MASK, _SYS = np.uint32(0xFFD80000), 0xD5080000  # SYS and SYSL

_BANKED_ENCODINGS = np.array(sorted(BANKED_REGISTERS), np.uint32)
_ENGINE_ENCODINGS = np.array(sorted(ENGINE_REGISTERS), np.uint32)
_FP_ENCODINGS = np.array(sorted(FP_REGISTERS), np.uint32)


def is_return(word: int) -> bool:
    """ERET, ERETAA, ERETAB."""
    return word & _RETURN_MASK == ERET


def is_system(word: int) -> bool:
    """MRS, MSR, SYS, SYSL, and what else is encoded among them: hints, barriers."""
    return word & _SYSTEM_MASK == _SYSTEM


def is_hypervisors(word: int) -> bool:
    """ERET; registers and operations of EL2 (op1 4) and EL12 (op1 5), and what EL2 has of its own."""
    if is_return(word):
        return True
    reg = SysReg(word >> 5 & 0xFFFF)
    return is_system(word) and bool(reg.op0) and (reg.op1 in (4, 5) or reg in BANKED_REGISTERS)


def watched(words: Words, *, fp: bool, banked: bool) -> Flags:
    """Which words the PE is to be asked about before they are executed.

    Always system instructions, but for registers that the engine itself executes with; with `fp` FP and
    AdvSIMD instructions, FPCR and FPSR as well; with `banked` those of the engine's registers that a
    hypervisor that runs at EL1 takes for its own.
    """
    flags: Flags = words & _SYS_MASK == _SYS
    flags |= words & np.uint32(_RETURN_MASK) == ERET
    moves: Flags = words & _MOVE_MASK == _MOVE
    flags |= moves & ~_names(words, _ENGINE_ENCODINGS)
    if banked:
        flags |= moves & _names(words, _BANKED_ENCODINGS)
    if fp:
        flags |= words >> np.uint32(26) & np.uint32(3) == 3
        flags |= moves & _names(words, _FP_ENCODINGS)
    return flags


def _names(words: Words, encodings: Words) -> Flags:
    """Which of such words name one of these registers."""
    return np.isin(words >> np.uint32(5) & np.uint32(0xFFFF), encodings)
