"""What ERET at EL1 comes to where the engine would not do it, or would go on as if nothing were wrong.

Source: Arm ARM, Illegal return events and SetPSTATEFromSPSR.
"""

from __future__ import annotations

from armkvm.arch.pstate import AARCH32_USER, DAIF, EL0T, EL1H, EL1T, IL, MODE, NZCV, SS
from armkvm.cpu.exceptions import Unmodelled

_MODES = (EL0T, EL1T, EL1H)
_NZCV_DAIF = NZCV | DAIF


def is_plain(spsr: int, elr: int) -> bool:
    """Whether the engine does all there is to a return to `elr` with SPSR_EL1 `spsr`."""
    return spsr & MODE in _MODES and not (spsr & IL or elr & 3)


def returned(spsr: int, pstate: int, *, has_aarch32: bool) -> int:
    """PSTATE after ERET from `pstate` at EL1; Unmodelled for AArch32 code where EL0 `has_aarch32`."""
    mode = spsr & MODE
    if mode == AARCH32_USER and has_aarch32:
        raise Unmodelled(f"AArch32 code at EL0, to which the guest returns (SPSR_EL1 is {spsr:#x})")
    if mode in _MODES:
        return spsr & 0xFFFF_FFFF & ~SS
    return spsr & _NZCV_DAIF | pstate & ~_NZCV_DAIF | IL
