"""The registers of struct kvm_regs: where each starts, in 32-bit words, and how wide it is.

Source: Linux arch/arm64/include/uapi/asm/kvm.h (struct kvm_regs, 864 bytes).
"""

from __future__ import annotations

from armkvm.abi.regid import (
    CORE_ELR_EL1,
    CORE_FPCR,
    CORE_FPSR,
    CORE_PC,
    CORE_PSTATE,
    CORE_SP,
    CORE_SP_EL1,
    CORE_SPSR0,
    CORE_V0,
    CORE_X0,
)

SPSR_BANKS = ("SPSR_EL1", "SPSR_ABT", "SPSR_UND", "SPSR_IRQ", "SPSR_FIQ")

# name -> (first word, size in bytes), in ascending order of word, which is GET_REG_LIST's order.
REGISTERS: dict[str, tuple[int, int]] = {
    **{f"X{n}": (CORE_X0 + 2 * n, 8) for n in range(31)},
    "SP": (CORE_SP, 8),
    "PC": (CORE_PC, 8),
    "PSTATE": (CORE_PSTATE, 8),
    "SP_EL1": (CORE_SP_EL1, 8),
    "ELR_EL1": (CORE_ELR_EL1, 8),
    **{name: (CORE_SPSR0 + 2 * n, 8) for n, name in enumerate(SPSR_BANKS)},
    **{f"V{n}": (CORE_V0 + 4 * n, 16) for n in range(32)},
    "FPSR": (CORE_FPSR, 4),
    "FPCR": (CORE_FPCR, 4),
}

SIZE_AT: dict[int, int] = dict(REGISTERS.values())
"""Size in bytes of the register that starts at a word; words inside a register are absent."""


def is_v(word: int) -> bool:
    """Whether a word belongs to one of V0..V31, which an SVE vCPU does not have."""
    return CORE_V0 <= word < CORE_V0 + 4 * 32
