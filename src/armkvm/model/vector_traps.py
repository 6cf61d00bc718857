"""What KVM makes of a guest's vector instruction or register access that trapped to EL2.

A trap means one of three things: the guest has no such thing (UNDEFINED), the guest's own hypervisor
traps it (forwarded, with its class and code), or the registers hold someone else's state (`None`: they
are loaded and the instruction is tried again).

Source: Linux arch/arm64/kvm/hyp/include/hyp/switch.h (kvm_hyp_handle_fpsimd), handle_exit.c,
emulate-nested.c; SME series v4, patches 22 and 23, and v5 for the mask of SMTC.
"""

from __future__ import annotations

from typing import NamedTuple

from armkvm.cpu.exceptions import ExceptionClass, FpTrap, GuestException, SmeTrap, Smtc, Undefined
from armkvm.cpu.legality import FP, SMCR_EZT0, SME, SVE, Hypervisor, Unit

SMTC_MASK = 7
"""ESR_ELx.ISS bits 2:0 hold SMTC; those above are reserved and may be set."""

UNITS: dict[int, Unit] = {
    ExceptionClass.FP_ACCESS: FP,
    ExceptionClass.SVE_ACCESS: SVE,
    ExceptionClass.SME_ACCESS: SME,
}


class VectorGuest(NamedTuple):
    """What decides: what the guest has, the level it believes to be at, its own EL2's controls."""

    has_sve: bool
    has_sme: bool
    has_sme2: bool
    el: int = 1
    el2: Hypervisor | None = None

    @property
    def target(self) -> int:
        """The guest's level that takes an UNDEFINED exception."""
        return 2 if self.el == 2 or (self.el2 is not None and self.el2.tge) else 1


def smtc_of(iss: int) -> int:
    """Why an SME access was refused."""
    return iss & SMTC_MASK


def answer(trap: GuestException, guest: VectorGuest) -> GuestException | None:
    """The exception the guest takes, at the level it believes in; None where it is to try again.

    A trapped register access (class 0x18) that comes here is of a register that the guest has not.
    """
    unit = UNITS.get(trap.ec)
    if unit is None or (unit is SVE and not guest.has_sve) or (unit is SME and not guest.has_sme):
        return Undefined(guest.target)
    if unit is SME and smtc_of(trap.iss) == Smtc.ZT0_DISABLED:
        return _zt0(guest)
    if guest.el2 is not None and guest.el2.traps(unit, guest.el):
        return FpTrap(2) if unit is FP else unit.trap(2)
    return None


def _zt0(guest: VectorGuest) -> GuestException | None:
    """EL2 keeps ZT0 from a guest without SME2, and from a guest whose hypervisor keeps it."""
    if not guest.has_sme2:
        return Undefined(guest.target)
    if guest.el2 is not None and not guest.el2.smcr & SMCR_EZT0:
        return SmeTrap(Smtc.ZT0_DISABLED, 2)
    return None
