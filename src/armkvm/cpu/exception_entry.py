"""Where an exception that EL1 takes goes, and what PSTATE becomes.

Source: Arm ARM, AArch64.TakeException.
"""

from __future__ import annotations

from armkvm.arch.pstate import DAIF, EL1H, NZCV, PAN
from armkvm.cpu.machine import MASK64

SYNCHRONOUS, SERROR = 0x000, 0x180
"""Offsets of the vectors from that of the level and stack the exception comes from."""

_CURRENT_SP_EL0, _CURRENT, _LOWER = 0x000, 0x200, 0x400


def vector(vbar: int, pstate: int, kind: int) -> int:
    """The address that an exception from `pstate` enters EL1 at; `kind` is its vector's offset."""
    origin = _LOWER if pstate & 0xF == 0 else _CURRENT if pstate & 1 else _CURRENT_SP_EL0
    return (vbar & -0x800) + origin + kind & MASK64


def entered(pstate: int, *, sets_pan: bool) -> int:
    """PSTATE after an exception from `pstate`."""
    return pstate & (NZCV | PAN) | DAIF | EL1H | (PAN if sets_pan else 0)
