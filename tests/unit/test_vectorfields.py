"""Fields of the registers that control SVE, SME and FP8: where Arm puts them, and apart from ID registers."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from armkvm.arch import gicfields, idfields
from armkvm.arch.sysregs import name_of, sysreg
from armkvm.arch.tables import vectorfields
from armkvm.arch.vectorfields import FIELDS, field

if TYPE_CHECKING:
    from armkvm.arch.encoding import SysReg


@pytest.mark.parametrize("reg", FIELDS, ids=name_of)
def test_fields_tile_the_register_exactly_once(reg: SysReg) -> None:
    fields = FIELDS[reg]
    assert (fields[0].msb, fields[-1].lsb) == (63, 0)
    assert all(above.lsb == below.msb + 1 for above, below in itertools.pairwise(fields))
    assert sum(part.mask for part in fields) == (1 << 64) - 1


def test_every_block_is_a_register_of_the_encoding_table_once() -> None:
    names = [name for name, _ in vectorfields.ROWS]
    assert len(names) == len(set(names)) == len(FIELDS)
    assert all(name_of(sysreg(name)) == name for name in names)


def test_no_control_is_taken_for_a_feature_id_register() -> None:
    """Baselines, checks and the model ask of every register in that table what hosts promise by it."""
    assert not FIELDS.keys() & (idfields.FIELDS.keys() | gicfields.FIELDS.keys())
    assert not any(map(idfields.in_feature_id_space, FIELDS))


@pytest.mark.parametrize(
    ("register", "name", "bits"),
    [
        ("SVCR", "SM", "0"),
        ("SVCR", "ZA", "1"),
        ("ZCR_EL1", "LEN", "3:0"),
        ("ZCR_EL2", "LEN", "3:0"),
        ("SMCR_EL1", "LEN", "3:0"),
        ("SMCR_EL1", "EZT0", "30"),
        ("SMCR_EL1", "FA64", "31"),
        ("SMCR_EL2", "FA64", "31"),
        ("SMPRI_EL1", "Priority", "3:0"),
        ("SMPRIMAP_EL2", "P0", "3:0"),
        ("SMPRIMAP_EL2", "P15", "63:60"),
        ("FPMR", "F8S1", "2:0"),
        ("FPMR", "F8S2", "5:3"),
        ("FPMR", "F8D", "8:6"),
        ("FPMR", "OSM", "14"),
        ("FPMR", "OSC", "15"),
        ("FPMR", "LSCALE", "22:16"),
        ("FPMR", "NSCALE", "31:24"),
        ("FPMR", "LSCALE2", "37:32"),
    ],
)
def test_a_field_is_where_arm_puts_it(register: str, name: str, bits: str) -> None:
    assert field(register, name).bits == bits


def test_the_length_is_told_in_quadwords() -> None:
    length = field("ZCR_EL1", "LEN")
    assert [length.meaning(value) for value in (0, 1, 15)] == [
        "up to 1 quadword",
        "up to 2 quadwords",
        "up to 16 quadwords",
    ]


def test_the_scale_of_fp8_results_is_signed() -> None:
    assert field("FPMR", "NSCALE").number(0xFF) == -1
    assert field("FPMR", "LSCALE").number(0x7F) == 127


def test_no_field_of_that_name() -> None:
    with pytest.raises(ValueError, match="SVCR has no field called 'za'"):
        field("SVCR", "za")
