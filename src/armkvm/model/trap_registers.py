"""What EL2's trap registers hold while a guest runs: CPTR_EL2 in both its forms, and the fine-grained pairs.

HCR_EL2 and HCRX_EL2 are in `model.traps`, with what the bits come to for the guest.

Source: Linux arch/arm64/kvm/hyp/vhe/switch.c, nvhe/switch.c (__activate_cptr_traps), arch/arm64/kvm/config.c
and hyp/include/hyp/switch.h (__activate_traps_hfgxtr); SME series v4 (patches 5, 18, 23) and v12.
"""

from __future__ import annotations

from armkvm.arch.fgt import BITS
from armkvm.model.tables import guest as rows
from armkvm.model.trap_behaviours import FINE_GRAINED_UNDEF
from armkvm.model.traps import fine_traps, host_has, settled, undefined_bits
from armkvm.model.vcpu import Vcpu


def cptr(vcpu: Vcpu, *, vhe: bool, owns: bool) -> int:
    """CPTR_EL2 while this guest runs, whose state is in the registers (`owns`) or not."""
    opened = [
        unit for unit, needed in rows.CPTR_UNITS if owns and (needed is None or needed in vcpu.features)
    ]
    if vhe:
        always = sum(1 << bit for bit in rows.CPTR_VHE_ALWAYS.values())
        return always | sum(3 << unit.shift for unit in opened)
    always = rows.CPTR_NVHE_RES1 | sum(1 << bit for bit in rows.CPTR_NVHE_ALWAYS.values())
    return always | sum(unit.trap_bit for unit, _ in rows.CPTR_UNITS if unit not in opened)


def fine_grained(vcpu: Vcpu) -> dict[str, int]:
    """Every fine-grained control register that the CPU has and the kernel sets, by name.

    At first nothing traps, which for bits of negative polarity is 1. What the VM's ID registers leave
    out traps on both sides, and what KVM answers itself on the sides where it wants to.
    """
    if FINE_GRAINED_UNDEF not in vcpu.vm.profile:
        return {}
    vcpu = settled(vcpu)
    undefined = set(undefined_bits(vcpu))
    answered = {side: set(fine_traps(vcpu, side)) for side in ("r", "w", "x")}
    values: dict[str, int] = {}
    for bit in BITS:
        if not host_has(vcpu, "FEAT_FGT2" if bit.group.endswith("2") else "FEAT_FGT"):
            continue
        for side, register in bit.registers.items():
            traps = bit in undefined or bit in answered[side]
            is_set = bit.traps_when if traps else 1 - bit.traps_when
            values[register] = values.get(register, 0) | is_set * bit.mask
    return values
