"""Guests with EL2: what their hypervisor's own controls come to on a CPU where it runs at EL1.

Source: Linux arch/arm64/include/asm/kvm_nested.h (translate_cptr_el2_to_cpacr_el1), kvm/emulate-nested.c,
kvm/hyp/vhe/switch.c (__activate_cptr_traps_vhe); SME series v12, patch 24.
"""

from __future__ import annotations

from armkvm.cpu.legality import FP, SME, SVE, Hypervisor
from armkvm.model.vector_traps import VectorGuest

UNITS = {"FP": FP, "SVE": SVE, "SME": SME}


def cpacr_of(el2: Hypervisor) -> int:
    """CPTR_EL2 of a guest as CPACR_EL1 has it: what is put there while its hypervisor runs."""
    if el2.e2h:
        return el2.cptr
    return sum(3 << unit.shift for unit in UNITS.values() if not el2.cptr & unit.trap_bit)


def el1_control(guest: VectorGuest, in_hyp: bool, cpacr: int) -> int:
    """What CPACR_EL1 of the CPU holds while the guest runs."""
    return cpacr if guest.el2 is None or not in_hyp else cpacr_of(guest.el2)


def left_open(units: frozenset[str], guest: VectorGuest) -> frozenset[str]:
    """Of what KVM would open to a guest's guest, what its hypervisor does not trap."""
    if guest.el2 is None:
        return units
    return frozenset(name for name in units if not guest.el2.traps(UNITS[name], guest.el))
