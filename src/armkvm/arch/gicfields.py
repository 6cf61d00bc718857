"""Registers of the GIC's CPU interface that describe the hardware, field by field."""

from __future__ import annotations

from armkvm.arch.encoding import SysReg
from armkvm.arch.fields import Field
from armkvm.arch.idfields import field_among, tiled
from armkvm.arch.sysregs import sysreg
from armkvm.arch.tables import gicfields

FIELDS: dict[SysReg, tuple[Field, ...]] = {
    sysreg(register): tiled(sysreg(register), rows) for register, rows in gicfields.ROWS
}


def field(register: str, name: str) -> Field:
    """The field of that name in the register of that name; ValueError if there is none.

    >>> str(field("ICC_CTLR_EL1", "PRIbits"))
    'ICC_CTLR_EL1.PRIbits'
    """
    return field_among(FIELDS, register, name)
