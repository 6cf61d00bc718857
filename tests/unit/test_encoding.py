"""System-register encodings refuse what does not fit and unpack to what was packed."""

from __future__ import annotations

import pytest

from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import BY_NAME, NAMES, name_of, sysreg
from armkvm.arch.tables.sysregs import FAMILIES, ROWS


def test_fields_are_packed_op0_first() -> None:
    assert SysReg.of(3, 0, 0, 4, 0) == 0xC020
    assert SysReg.of(3, 7, 15, 15, 7) == 0xFFFF


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ((4, 0, 0, 0, 0), "op0"),
        ((0, 8, 0, 0, 0), "op1"),
        ((0, 0, 16, 0, 0), "CRn"),
        ((0, 0, 0, 16, 0), "CRm"),
        ((0, 0, 0, 0, 8), "op2"),
        ((0, 0, 0, -1, 0), "CRm"),
    ],
)
def test_a_field_that_does_not_fit_is_named(parts: tuple[int, int, int, int, int], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        SysReg.of(*parts)


@pytest.mark.parametrize("packed", [-1, 1 << 16])
def test_an_encoding_has_16_bits(packed: int) -> None:
    with pytest.raises(ValueError, match="16 bits"):
        SysReg(packed)


def test_an_encoding_prints_as_it_is_built() -> None:
    assert repr(SysReg(0xC020)) == "SysReg.of(3, 0, 0, 4, 0)"


def test_every_row_has_an_encoding_and_a_name_of_its_own() -> None:
    members = sum(len(encodings) for _, encodings in FAMILIES)
    assert len(NAMES) == len(BY_NAME) == len(ROWS) + members


def test_rows_are_in_the_order_of_their_encodings() -> None:
    assert [row[:5] for row in ROWS] == sorted(row[:5] for row in ROWS)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("DBGBVR0_EL1", (2, 0, 0, 0, 4)),
        ("DBGBCR7_EL1", (2, 0, 0, 7, 5)),
        ("DBGWVR15_EL1", (2, 0, 0, 15, 6)),
        ("DBGWCR1_EL1", (2, 0, 0, 1, 7)),
        ("PMEVCNTR0_EL0", (3, 3, 14, 8, 0)),
        ("PMEVCNTR30_EL0", (3, 3, 14, 11, 6)),
        ("PMEVTYPER9_EL0", (3, 3, 14, 13, 1)),
    ],
)
def test_numbered_families_count_where_the_architecture_says(
    name: str, parts: tuple[int, int, int, int, int]
) -> None:
    assert sysreg(name).parts == parts


def test_names_are_found_in_any_case_and_kept_as_arm_spells_them() -> None:
    assert name_of(sysreg("spsel")) == "SPSel"


def test_a_register_without_a_name_has_a_generic_one() -> None:
    unnamed = SysReg.of(3, 0, 0, 3, 3)
    assert name_of(unnamed) == "S3_0_C0_C3_3"
    assert sysreg("s3_0_c0_c3_3") == unnamed


@pytest.mark.parametrize(
    "text", ["", "NO_SUCH_EL1", "S3_0_C0_C3", "S4_0_C0_C0_0", "S3_0_C0_C16_0", "Sx_0_C0_C0_0"]
)
def test_what_names_no_register_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"called|is 2 bits|is 4 bits"):
        sysreg(text)
