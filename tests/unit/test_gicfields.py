"""Fields of the GIC's CPU interface: they tile their registers and mean what Arm says."""

from __future__ import annotations

import pytest

from armkvm.arch.fields import accepts
from armkvm.arch.gicfields import FIELDS, field
from armkvm.arch.sysregs import name_of


@pytest.mark.parametrize("reg", FIELDS, ids=name_of)
def test_fields_tile_the_register_exactly_once(reg: int) -> None:
    masks = [part.mask for part in FIELDS[reg]]  # type: ignore[index]
    assert sum(masks) == (1 << 64) - 1
    assert sum(mask.bit_count() for mask in masks) == 64


@pytest.mark.parametrize(
    ("register", "name", "bits"),
    [
        ("ICC_CTLR_EL1", "CBPR", "0"),
        ("ICC_CTLR_EL1", "EOImode", "1"),
        ("ICC_CTLR_EL1", "PMHE", "6"),
        ("ICC_CTLR_EL1", "PRIbits", "10:8"),
        ("ICC_CTLR_EL1", "IDbits", "13:11"),
        ("ICC_CTLR_EL1", "SEIS", "14"),
        ("ICC_CTLR_EL1", "A3V", "15"),
        ("ICC_CTLR_EL1", "RSS", "18"),
        ("ICC_CTLR_EL1", "ExtRange", "19"),
        ("ICH_VTR_EL2", "ListRegs", "4:0"),
        ("ICH_VTR_EL2", "SEIS", "22"),
        ("ICH_VTR_EL2", "IDbits", "25:23"),
        ("ICH_VTR_EL2", "PREbits", "28:26"),
        ("ICH_VTR_EL2", "PRIbits", "31:29"),
    ],
)
def test_a_field_is_where_arm_puts_it(register: str, name: str, bits: str) -> None:
    assert field(register, name).bits == bits


@pytest.mark.parametrize(
    ("name", "host", "guest", "keeps_the_promise"),
    [
        ("SEIS", 0, 1, True),  # SErrors that never come hurt nobody
        ("SEIS", 1, 0, False),  # SErrors that were promised not to come do
        ("A3V", 1, 0, True),
        ("A3V", 0, 1, False),
        ("PRIbits", 6, 4, True),
        ("PRIbits", 4, 6, False),
        ("IDbits", 1, 0, True),
        ("IDbits", 0, 1, False),
    ],
)
def test_what_a_guest_can_be_told_on_a_host(
    name: str, host: int, guest: int, keeps_the_promise: bool
) -> None:
    assert accepts(field("ICC_CTLR_EL1", name), host, guest) is keeps_the_promise


def test_no_field_of_that_name() -> None:
    with pytest.raises(ValueError, match="ICC_CTLR_EL1 has no field called 'seis'"):
        field("ICC_CTLR_EL1", "seis")
