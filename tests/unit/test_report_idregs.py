"""ID registers by field: values as rows, for one host and for two."""

from __future__ import annotations

import json

import pytest
from tests.hosts import made_up

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.fields import Kind
from armkvm.arch.idfields import fields_of
from armkvm.model import acceptance
from armkvm.model.host import Platform
from armkvm.model.profile import PROFILES
from armkvm.report.idregs import by_field, ranges, side_by_side
from armkvm.state import Acceptance


def accepted_on(profile: str, **fields: int) -> Acceptance:
    host = made_up(profile, **fields)
    return acceptance.accepts(Platform(host, PROFILES[profile]), {F.PSCI_0_2})


def test_every_register_is_decoded_and_fields_put_it_together_again() -> None:
    """The rows of a register, in place, sum to its value; bits that always read one go without saying."""
    host = accepted_on("7.3")
    rows = by_field(host)
    for reg, value in host.initial.items():
        parts = [row for row in rows if row.field.register == reg.encoding]
        if parts:
            ones = sum(f.mask for f in fields_of(parts[0].field.register) if f.kind is Kind.RES1)
            assert sum(row.value << row.field.lsb for row in parts) == value & ~ones
    assert len({row.field.register for row in rows}) > 30


def test_what_is_writable_and_how_far() -> None:
    """RNDR may go to 0; BRPs stay; EL0 keeps at least AArch64 since 6.18; CTR_EL0.DminLine goes down."""
    rows = {str(row.field): row for row in by_field(accepted_on("7.3"))}
    assert rows["ID_AA64ISAR0_EL1.RNDR"].words() == (
        *("ID_AA64ISAR0_EL1.RNDR", "63:60", "0x1", "FEAT_RNG", "0x0-0x1"),
    )
    assert rows["ID_AA64DFR0_EL1.BRPs"].words()[-1] == "fixed"
    assert rows["ID_AA64PFR0_EL1.EL0"].accepted == (1,)
    assert rows["CTR_EL0.DminLine"].accepted == (0, 1, 2, 3, 4)
    old = {str(row.field): row for row in by_field(accepted_on("6.1"))}
    assert not old["ID_AA64ISAR0_EL1.RNDR"].is_writable


def test_signed_and_exact_fields_show_what_they_accept() -> None:
    rows = {str(row.field): row for row in by_field(accepted_on("7.3"))}
    assert rows["ID_AA64DFR0_EL1.DoubleLock"].words()[-1] == "0x0, 0x8-0xf"
    assert rows["ID_AA64MMFR0_EL1.TGran4_2"].accepted == (0, 1)


def test_two_hosts_side_by_side() -> None:
    """Same, lowerable to a common value, or hopeless."""
    rows = {
        str(row.one.field): row
        for row in side_by_side(accepted_on("7.3"), accepted_on("7.3", ISAR0_TLB=1, DFR0_BRPs=3))
    }
    assert rows["ID_AA64ISAR0_EL1.RNDR"].verdict == "same"
    assert rows["ID_AA64ISAR0_EL1.TLB"].verdict == "lower to 0x1"
    assert rows["ID_AA64DFR0_EL1.BRPs"].verdict == "no common value"
    assert rows["ID_AA64ISAR0_EL1.TLB"].words()[2:4] == ("0x2 (FEAT_TLBIRANGE)", "0x1 (FEAT_TLBIOS)")


def test_a_kernel_that_fixes_a_field_decides() -> None:
    """6.12 cannot lower RAS, so a host that shows more than the other has no common value with it."""
    one, two = accepted_on("6.12", PFR0_RAS=2), accepted_on("7.3", PFR0_RAS=1)
    verdicts = {str(row.one.field): row.verdict for row in side_by_side(one, two)}
    assert verdicts["ID_AA64PFR0_EL1.RAS"] == "no common value"
    three = accepted_on("7.3", PFR0_RAS=2)
    verdicts = {str(row.one.field): row.verdict for row in side_by_side(three, two)}
    assert verdicts["ID_AA64PFR0_EL1.RAS"] == "lower to 0x1"


def test_rows_are_json() -> None:
    pairs = side_by_side(accepted_on("7.3"), accepted_on("6.12"))
    again = json.loads(json.dumps([row.tree() for row in pairs]))
    assert len(again) == len(pairs)
    assert again[0].keys() == {"register", "field", "bits", "one", "two", "common", "verdict"}
    [first, *_] = json.loads(json.dumps([row.tree() for row in by_field(accepted_on("7.3"))]))
    assert first["register"] == str(by_field(accepted_on("7.3"))[0].field).split(".")[0]


@pytest.mark.parametrize(
    ("values", "text"), [((), ""), ((3,), "0x3"), ((0, 1, 2, 15), "0x0-0x2, 0xf"), ((5, 1), "0x1, 0x5")]
)
def test_ranges(values: tuple[int, ...], text: str) -> None:
    assert ranges(values) == text


def test_the_common_value_is_one_both_accept() -> None:
    for row in side_by_side(accepted_on("7.3"), accepted_on("6.12", ISAR0_TLB=0, PFR1_SSBS=0)):
        if row.common is not None:
            assert row.common in row.one.accepted
            assert row.common in row.two.accepted
