"""What ERET at EL1 comes to where the engine would not do it, or would go on as if nothing were wrong.

Source: Arm ARM, Illegal return events and SetPSTATEFromSPSR.
"""

from __future__ import annotations

from armkvm.cpu.exceptions import Unmodelled

IL = 1 << 20
"""PSTATE.IL: the next instruction takes an Illegal Execution state exception, whatever it is."""

_EL0T, _EL1T, _EL1H, _USER = 0x00, 0x04, 0x05, 0x10
_MODE, _SS = 0x1F, 1 << 21
_NZCV_DAIF = 0xF << 28 | 0xF << 6


def is_plain(spsr: int, elr: int) -> bool:
    """Whether the engine does all there is to a return to `elr` with SPSR_EL1 `spsr`."""
    return spsr & _MODE in (_EL0T, _EL1T, _EL1H) and not (spsr & IL or elr & 3)


def returned(spsr: int, pstate: int, *, has_aarch32: bool) -> int:
    """PSTATE after ERET from `pstate` at EL1; Unmodelled for AArch32 code where EL0 `has_aarch32`."""
    mode = spsr & _MODE
    if mode == _USER and has_aarch32:
        raise Unmodelled(f"AArch32 code at EL0, to which the guest returns (SPSR_EL1 is {spsr:#x})")
    if mode in (_EL0T, _EL1T, _EL1H):
        return spsr & 0xFFFF_FFFF & ~_SS
    return spsr & _NZCV_DAIF | pstate & ~_NZCV_DAIF | IL
