"""Fields of PSTATE, where SPSR_ELx has them.

Source: Arm ARM, SPSR_EL1.
"""

from __future__ import annotations

N_FLAG, Z_FLAG, C_FLAG, V_FLAG = 1 << 31, 1 << 30, 1 << 29, 1 << 28
NZCV = N_FLAG | Z_FLAG | C_FLAG | V_FLAG
TCO = 1 << 25
DIT = 1 << 24
PAN = 1 << 22
SS = 1 << 21
IL = 1 << 20
"""The next instruction takes an Illegal Execution state exception, whatever it is."""
SSBS = 1 << 12
DAIF = 0xF << 6
SERROR_MASKED = 1 << 8
"""PSTATE.A."""
MODE = 0x1F
EL0T, EL1T, EL1H, EL2T, EL2H, AARCH32_USER = 0x00, 0x04, 0x05, 0x08, 0x09, 0x10
"""Values of `MODE`: the level and its stack pointer, and what is at EL0 in AArch32."""
AARCH32 = 0x10
"""The bit of `MODE` that every AArch32 mode has."""


def el_of(pstate: int) -> int:
    """The exception level, in AArch64."""
    return pstate >> 2 & 3
