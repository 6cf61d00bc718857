"""Registers that control SVE, SME and FP8, field by field.

Like those of `gicfields` they stand apart from the feature ID registers: nothing compares hosts by them.
"""

from __future__ import annotations

from armkvm.arch.encoding import SysReg
from armkvm.arch.fields import Field, Kind
from armkvm.arch.idfields import field_among, tiled
from armkvm.arch.sysregs import sysreg
from armkvm.arch.tables import vectorfields

FIELDS: dict[SysReg, tuple[Field, ...]] = {
    sysreg(register): tiled(sysreg(register), rows) for register, rows in vectorfields.ROWS
}


def named_bits(register: str) -> int:
    """The bits of a register that Arm names.

    >>> hex(named_bits("SMCR_EL2"))
    '0xc000000f'
    """
    return sum(part.mask for part in FIELDS[sysreg(register)] if part.kind is Kind.NAMED)


def field(register: str, name: str) -> Field:
    """The field of that name in the register of that name; ValueError if there is none.

    >>> field("SMCR_EL1", "FA64").bits
    '31'
    """
    return field_among(FIELDS, register, name)
