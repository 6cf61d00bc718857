"""The feature ID registers, field by field.

`FIELDS` holds each register's fields from bit 63 down, gaps included as RES0 rows, so that they tile
the register exactly once. An unallocated encoding of the feature ID space is one RES0 row.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from armkvm.arch.encoding import SysReg
from armkvm.arch.fields import Direction, Field, Kind, Row
from armkvm.arch.sysregs import name_of, sysreg
from armkvm.arch.tables import idfields, idfields_aarch32, idfields_cpu
from armkvm.value import Value


def tiled(reg: SysReg, rows: tuple[Row, ...]) -> tuple[Field, ...]:
    """The rows of one register with the gaps between them filled; ValueError if two overlap."""
    tiles: list[Field] = []
    free = 63  # the highest bit not yet taken
    for name, msb, lsb, rule, meanings in rows:
        if msb > free:
            raise ValueError(f"{name_of(reg)}.{name}: bits {msb}:{lsb} overlap the field before")
        if msb < free:
            tiles.append(_reserved(reg, Kind.RES0, free, msb + 1))
        if name == Kind.RES1.value:
            tiles.append(_reserved(reg, Kind.RES1, msb, lsb))
        else:
            tiles.append(
                Field(reg, name, msb, lsb, rule.direction, rule.signed, rule.safe, Kind.NAMED, meanings)
            )
        free = lsb - 1
    if free >= 0:
        tiles.append(_reserved(reg, Kind.RES0, free, 0))
    return tuple(tiles)


def _reserved(reg: SysReg, kind: Kind, msb: int, lsb: int) -> Field:
    return Field(reg, kind.value, msb, lsb, Direction.EXACT, kind=kind)


FIELDS: dict[SysReg, tuple[Field, ...]] = {
    sysreg(register): tiled(sysreg(register), rows)
    for register, rows in (*idfields.ROWS, *idfields_aarch32.ROWS, *idfields_cpu.ROWS)
}


def in_feature_id_space(reg: SysReg) -> bool:
    """Whether KVM keeps a value of this encoding for every VM: (3, 0, 0, 1..7, 0..7)."""
    return (reg.op0, reg.op1, reg.crn) == (3, 0, 0) and 1 <= reg.crm <= 7


def fields_of(reg: SysReg) -> tuple[Field, ...]:
    """The fields from bit 63 down, reserved bits included; ValueError if `reg` is no ID register."""
    if reg in FIELDS:
        return FIELDS[reg]
    if in_feature_id_space(reg):
        return (_reserved(reg, Kind.RES0, 63, 0),)
    raise ValueError(f"{name_of(reg)} is not a feature ID register")


@cache
def narrow_fields(reg: SysReg) -> tuple[Field, ...]:
    """The fields of at most six bits, whose values can be told one by one."""
    return tuple(field for field in fields_of(reg) if field.width <= 6)


def field_among(fields: Mapping[SysReg, tuple[Field, ...]], register: str, name: str) -> Field:
    """The field of that name in the register of that name; ValueError if there is none among these."""
    for part in fields.get(sysreg(register), ()):
        if part.name == name:
            return part
    raise ValueError(f"{register} has no field called {name!r}")


def named_fields(reg: SysReg) -> tuple[Field, ...]:
    """The fields of `reg` that Arm names, from bit 63 down."""
    return tuple(field for field in fields_of(reg) if field.kind is Kind.NAMED)


def field_of(reg: SysReg, name: str) -> Field:
    """The field of that name, in any case; ValueError if `reg` has none.

    >>> str(field_of(sysreg("ID_AA64PFR0_EL1"), "sve"))
    'ID_AA64PFR0_EL1.SVE'
    """
    found = _by_name(reg).get(name.upper())
    if found is None:
        raise ValueError(f"{name_of(reg)} has no field called {name!r}")
    return found


@cache
def _by_name(reg: SysReg) -> dict[str, Field]:
    return {field.name.upper(): field for field in named_fields(reg)}


def field(register: str, name: str) -> Field:
    """The field of that name in the register of that name."""
    return field_of(sysreg(register), name)


def decode(reg: SysReg, value: int) -> dict[str, int]:
    """Field name -> raw bits, named fields only, from bit 63 down."""
    return {field.name: field.extract(value) for field in named_fields(reg)}


class FieldValue(Value):
    """One field of one register value, for display."""

    field: Field
    value: int

    @property
    def meaning(self) -> str:
        return self.field.meaning(self.value)


def describe(reg: SysReg, value: int) -> tuple[FieldValue, ...]:
    """Every named field, and reserved bits where they are not what they should be."""
    return described(fields_of(reg), value)


def described(fields: tuple[Field, ...], value: int) -> tuple[FieldValue, ...]:
    """The same for any register that `fields` tile, be it a feature ID register or not."""
    rows = (FieldValue(field, field.extract(value)) for field in fields)
    return tuple(row for row in rows if row.field.kind is Kind.NAMED or row.value != _resting(row.field))


def _resting(field: Field) -> int:
    """What reserved bits hold."""
    return (1 << field.width) - 1 if field.kind is Kind.RES1 else 0


def differences(reg: SysReg, a: int, b: int) -> tuple[tuple[Field, int, int], ...]:
    """The fields, reserved ones included, in which two values of `reg` differ: (field, in a, in b)."""
    pairs = ((field, field.extract(a), field.extract(b)) for field in fields_of(reg))
    return tuple(row for row in pairs if row[1] != row[2])
