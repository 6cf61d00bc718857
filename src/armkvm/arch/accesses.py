"""Everything a guest can name in MRS, MSR and SYS: registers with a KVM id, those without, instructions."""

from __future__ import annotations

from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import BY_NAME, NAMES, name_of
from armkvm.arch.tables.guestonly import INSTRUCTIONS, REGISTERS

GUEST_ONLY: dict[SysReg, str] = {SysReg.of(*row[:5]): row[5] for row in (*REGISTERS, *INSTRUCTIONS)}
"""Registers and SYS instructions that have no KVM id, by encoding."""

_BY_NAME: dict[str, SysReg] = {name.upper(): reg for reg, name in GUEST_ONLY.items()} | BY_NAME


def is_instruction(reg: SysReg) -> bool:
    """Whether an encoding is a SYS instruction (TLBI, DC, AT, ...), not a register."""
    return reg.op0 == 1


def access_name(reg: SysReg) -> str:
    """What assembly calls a register or a SYS instruction: ``TCR2_EL1``, ``TLBI VAE1OS``."""
    name = NAMES.get(reg) or GUEST_ONLY.get(reg) or name_of(reg)
    return name.replace("_", " ", 1) if is_instruction(reg) else name


def find_access(name: str) -> SysReg | None:
    """The register or SYS instruction of that name (any case, space or underscore), if it is known.

    >>> find_access("tlbi vae1os")
    SysReg.of(1, 0, 8, 1, 1)
    """
    return _BY_NAME.get(name.strip().replace(" ", "_").upper())
