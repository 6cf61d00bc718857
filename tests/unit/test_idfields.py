"""The field tables prove themselves, and say of every field what the kernel's tables say."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from armkvm.arch.encoding import SysReg
from armkvm.arch.fields import EXACT, LOWER, Direction, Field, Kind
from armkvm.arch.idfields import (
    FIELDS,
    decode,
    describe,
    differences,
    field_of,
    fields_of,
    named_fields,
    tiled,
)
from armkvm.arch.sysregs import name_of, sysreg
from armkvm.arch.tables import idfields, idfields_aarch32, idfields_cpu

ROWS = (*idfields.ROWS, *idfields_aarch32.ROWS, *idfields_cpu.ROWS)
SPACE = [SysReg.of(3, 0, 0, crm, op2) for crm in range(1, 8) for op2 in range(8)]
PFR0 = sysreg("ID_AA64PFR0_EL1")

# Where the field tables are finer than the kernel's: CLIDR's seven tag types are one field there.
FINER = {("CLIDR_EL1", "Ttypen")}
# The kernel's name for bits that Arm calls RES0.
UNNAMED = {"(RES0)", "(RAZ)", "(RES1)"}


@pytest.mark.parametrize("reg", [*FIELDS, *SPACE], ids=name_of)
def test_fields_tile_the_register_exactly_once(reg: SysReg) -> None:
    """From bit 63 down, without overlap or gap."""
    fields = fields_of(reg)
    assert fields[0].msb == 63
    assert fields[-1].lsb == 0
    assert all(above.lsb == below.msb + 1 for above, below in itertools.pairwise(fields))
    assert sum(field.mask for field in fields) == 2**64 - 1


@pytest.mark.parametrize("reg", FIELDS, ids=name_of)
def test_names_are_unique_within_a_register(reg: SysReg) -> None:
    names = [field.name.upper() for field in named_fields(reg)]
    assert len(names) == len(set(names))
    assert all(field_of(reg, name.lower()).name.upper() == name for name in names)


def test_every_block_is_a_register_of_the_encoding_table_once() -> None:
    names = [name for name, _ in ROWS]
    assert len(names) == len(set(names)) == len(FIELDS)
    assert all(name_of(sysreg(name)) == name for name in names)


def test_every_named_register_of_the_feature_id_space_has_a_block() -> None:
    """What has no block has no name either: an unallocated encoding, all RES0."""
    without = [reg for reg in SPACE if reg not in FIELDS]
    assert [name_of(reg) for reg in without] == [reg.generic_name for reg in without]
    assert all([field.kind for field in fields_of(reg)] == [Kind.RES0] for reg in without)


def test_overlapping_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        tiled(PFR0, (("A", 7, 4, LOWER, {}), ("B", 4, 0, LOWER, {})))


@pytest.mark.parametrize("reg", [*FIELDS, *SPACE], ids=name_of)
def test_decode_and_describe_lose_nothing(reg: SysReg) -> None:
    """Put together again, the fields are the value, reserved bits included."""
    for value in (0, 2**64 - 1, 0x0123_4567_89AB_CDEF):
        again = sum(row.value << row.field.lsb for row in describe(reg, value))
        resting = sum(f.mask for f in fields_of(reg) if f.kind is Kind.RES1 and f.mask & value == f.mask)
        assert again | resting == value
        assert decode(reg, value) == {f.name: f.extract(value) for f in named_fields(reg)}


def test_describe_names_values_and_shows_reserved_bits_only_when_they_are_wrong() -> None:
    rows = {row.field.name: row for row in describe(PFR0, 0x0000_0001_0000_0012)}
    assert rows["SVE"].meaning == "FEAT_SVE"
    assert rows["EL0"].meaning == "AArch64 and AArch32"
    assert rows["EL3"].meaning == "not implemented"
    mpidr = sysreg("MPIDR_EL1")
    assert [row.field.name for row in describe(mpidr, 1 << 31) if row.field.kind is not Kind.NAMED] == []
    wrong = [row.field for row in describe(mpidr, 1 << 63) if row.field.kind is not Kind.NAMED]
    assert [(field.name, field.bits) for field in wrong] == [("RES0", "63:40"), ("RES1", "31")]


def test_a_value_without_a_name_has_no_meaning() -> None:
    assert describe(PFR0, 0xF << 32)[7].meaning == ""


def test_differences_are_fields() -> None:
    found = differences(PFR0, 0x0000_0001_0000_0012, 0x0000_0000_0000_0011)
    assert [(str(field), a, b) for field, a, b in found] == [
        ("ID_AA64PFR0_EL1.SVE", 1, 0),
        ("ID_AA64PFR0_EL1.EL0", 2, 1),
    ]
    assert differences(PFR0, 5, 5) == ()


def test_unknown_names_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="ID_AA64PFR0_EL1 has no field called 'SV'"):
        field_of(PFR0, "SV")
    with pytest.raises(ValueError, match="SCTLR_EL1 is not a feature ID register"):
        fields_of(sysreg("SCTLR_EL1"))


def kernel_fields(shared_data: Path) -> list[tuple[str, SysReg, dict[str, Any]]]:
    """Every field of the kernels' own tables that has a name."""
    rows = json.loads((shared_data / "id_regs.json").read_text())
    return [
        (kernel, SysReg.of(*row["enc"]), field)
        for kernel, registers in rows.items()
        for row in registers
        for field in row["fields"]
        if field["field"] not in UNNAMED and (row["reg"], field["field"]) not in FINER
    ]


def at(reg: SysReg, kernel_field: dict[str, Any]) -> Field:
    """The field at the kernel's bits; fails if the table cuts them differently."""
    lsb, msb = kernel_field["shift"], kernel_field["shift"] + kernel_field["width"] - 1
    [found] = [f for f in fields_of(reg) if (f.msb, f.lsb) == (msb, lsb)]
    return found


def test_fields_are_where_the_kernels_have_them(shared_data: Path) -> None:
    """Names (the kernel's capitals aside) and bits, for 6.1, 6.12 and 7.3; 6.1 leaves some nameless."""
    rows = kernel_fields(shared_data)
    assert len(rows) > 900
    for _, reg, kernel_field in rows:
        field = at(reg, kernel_field)
        assert field.kind is Kind.NAMED
        assert (kernel_field["field"] or field.name).upper() == field.name.upper()


def test_no_field_of_the_feature_id_space_is_unknown_to_every_kernel(shared_data: Path) -> None:
    seen = {at(reg, kernel_field) for _, reg, kernel_field in kernel_fields(shared_data)}
    assert {f for reg in FIELDS if reg in SPACE for f in named_fields(reg)} <= seen


def test_directions_signs_and_safe_values_are_the_kernels(shared_data: Path) -> None:
    """For every field that the tables of 6.12 and 7.3 hold. (6.1 let nothing be compared but CSV2, CSV3.)"""
    names = {
        "LOWER_SAFE": Direction.LOWER,
        "HIGHER_SAFE": Direction.HIGHER,
        "HIGHER_OR_ZERO_SAFE": Direction.HIGHER_OR_ZERO,
        "EXACT": Direction.EXACT,
    }
    held = [row for row in kernel_fields(shared_data) if row[0] != "6.1" and row[2]["rule"]]
    assert len(held) > 400
    for _, reg, kernel_field in held:
        field = at(reg, kernel_field)
        assert (field.direction, field.signed) == (names[kernel_field["kvm_rule"]], kernel_field["signed"])
        if field.direction is Direction.EXACT:
            assert field.safe == kernel_field["safe"]


def test_identity_has_no_order() -> None:
    """No two values of what names a CPU can stand for each other."""
    for name in ("MIDR_EL1", "REVIDR_EL1", "AIDR_EL1", "MPIDR_EL1", "SMIDR_EL1"):
        assert all((f.direction, f.safe) == (EXACT.direction, None) for f in fields_of(sysreg(name)))
