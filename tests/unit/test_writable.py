"""What each kernel lets userspace write: against its own answers, and against its own tables."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from armkvm.abi.regid import RegId
from armkvm.arch.encoding import SysReg
from armkvm.arch.fields import Direction, Kind
from armkvm.arch.idfields import FIELDS, field_of, fields_of
from armkvm.arch.sysregs import name_of, sysreg
from armkvm.model.tables.writable import (
    HOST_EXACT,
    LINEAGE,
    ROWS,
    effective_mask,
    is_aarch32,
    reported_mask,
    reported_masks,
    writable_fields,
)

PFR0 = sysreg("ID_AA64PFR0_EL1")
each_kernel = pytest.mark.parametrize("kernel", LINEAGE)

# Registers whose writes KVM checks as a whole, not field by field.
WHOLE = {"MIDR_EL1", "REVIDR_EL1", "AIDR_EL1", "SMIDR_EL1", "CLIDR_EL1"}


def recordings(shared_data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(kernel, recording) of every host recorded."""
    for path in sorted((shared_data / "captures").glob("*/*.json")):
        yield path.parent.name, json.loads(path.read_text())


def test_reported_masks_are_what_every_kernel_answered(shared_data: Path) -> None:
    """Every recorded KVM_ARM_GET_REG_WRITABLE_MASKS, register by register; none has one we lack."""
    asked = 0
    for kernel, recording in recordings(shared_data):
        answer = recording["writable_masks"]
        if answer["errno"] is not None:
            assert reported_masks(kernel, aarch32_el0=True) == {}
            continue
        masks = {RegId(int(reg, 16)).encoding: int(mask, 16) for reg, mask in answer["masks"].items()}
        aarch32_el0 = any(reg is not None and is_aarch32(reg) for reg in masks)
        assert masks == reported_masks(kernel, aarch32_el0=aarch32_el0)
        asked += 1
    assert asked >= 50


def test_masks_fields_and_stuck_bits_are_the_kernels_own(shared_data: Path) -> None:
    """Reported and effective masks of 6.12 and 7.3 as computed from their sources, bit for bit."""
    rows = json.loads((shared_data / "id_regs.json").read_text())
    for kernel in ("6.12", "7.3"):
        for row in rows[kernel]:
            reg = SysReg.of(*row["enc"])
            assert reported_mask(kernel, reg) == int(row["writable_mask"], 16), (kernel, row["reg"])
            assert effective_mask(kernel, reg) == int(row["effective_mask"], 16), (kernel, row["reg"])
            if row["reg"] not in WHOLE:
                held = [f for f in row["fields"] if f["rule"] and f["in_mask"] and not f["partial"]]
                assert [f.lsb for f in writable_fields(kernel, reg)] == [f["shift"] for f in held]


def test_only_three_fields_are_lowered_against_the_hosts_rule(shared_data: Path) -> None:
    """Where KVM's rule for a field is not the host's, it is LOWER instead of EXACT."""
    rows = json.loads((shared_data / "id_regs.json").read_text())
    for kernel in ("6.12", "7.3"):
        overridden = {
            field_of(SysReg.of(*row["enc"]), field["field"]): field["safe"]
            for row in rows[kernel]
            for field in row["fields"]
            if field["rule"] and field["rule"] != field["kvm_rule"]
        }
        assert overridden == HOST_EXACT
    assert {field.direction for field in HOST_EXACT} == {Direction.LOWER}


@each_kernel
def test_effective_bits_are_reported_and_named(kernel: str) -> None:
    """Nothing changes that is not reported (6.1 reports nothing), and only whole fields change."""
    for reg in FIELDS:
        effective = effective_mask(kernel, reg)
        if kernel != "6.1":
            assert effective & ~reported_mask(kernel, reg) == 0
        assert sum(field.mask for field in writable_fields(kernel, reg)) == effective
        assert all(field.kind is Kind.NAMED for field in writable_fields(kernel, reg))


def test_6_1_lets_only_two_fields_be_lowered_and_reports_none() -> None:
    assert reported_masks("6.1", aarch32_el0=True) == {}
    writable = {reg: writable_fields("6.1", reg) for reg in FIELDS}
    assert {reg: fields for reg, fields in writable.items() if fields} == {
        PFR0: (field_of(PFR0, "CSV3"), field_of(PFR0, "CSV2"))
    }


def test_the_sme_series_changes_three_masks() -> None:
    """SME shows in every VM's masks, used or not; nothing else differs from 7.2."""
    before, after = (reported_masks(kernel, aarch32_el0=True) for kernel in ("7.2", "sme-v12"))
    changed = {name_of(reg): mask ^ before.get(reg, 0) for reg, mask in after.items()}
    assert {name: bits for name, bits in changed.items() if bits} == {
        "ID_AA64PFR1_EL1": 0xF << 24,
        "ID_AA64SMFR0_EL1": 0xBFF1_FFFF_7381_0001,
        "SMIDR_EL1": 0x0FFF_FFFF_FFFF_6FFF,
    }
    assert before.keys() <= after.keys()


def test_every_feature_of_streaming_mode_can_be_hidden() -> None:
    smfr0 = sysreg("ID_AA64SMFR0_EL1")
    named = tuple(field for field in fields_of(smfr0) if field.kind is Kind.NAMED)
    assert writable_fields("sme-v12", smfr0) == named
    assert {(field.direction, field.safe) for field in named} == {(Direction.EXACT, 0)}


@each_kernel
def test_without_32_bit_el0_the_aarch32_registers_are_not_reported(kernel: str) -> None:
    with_32, without = (reported_masks(kernel, aarch32_el0=el0) for el0 in (True, False))
    assert {reg for reg in with_32 if reg not in without} == {reg for reg in with_32 if is_aarch32(reg)}
    assert all(with_32[reg] == mask for reg, mask in without.items())


def test_rows_are_in_order_and_change_something() -> None:
    """An entry names a kernel once, in order of release, and differs from the one before it."""
    names = [name for name, _ in ROWS]
    assert len(names) == len(set(names))
    order = list(LINEAGE)
    for name, entries in ROWS:
        releases = [order.index(since) for since, _, _ in entries]
        assert releases == sorted(set(releases)), name
        assert all(a[1:] != b[1:] for a, b in itertools.pairwise(entries)), name
        for _, mask, unknown in entries:
            stuck = [field_of(sysreg(name), field) for field in unknown.split()]
            assert all(field.mask & ~mask == 0 for field in stuck), name


def test_an_unknown_kernel_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'5\.10'; known are 6\.1, 6\.12"):
        effective_mask("5.10", PFR0)


def test_a_register_without_a_row_is_fixed() -> None:
    assert writable_fields("7.3", sysreg("SCTLR_EL1")) == ()
    assert reported_mask("7.3", sysreg("ID_AA64DFR1_EL1")) == 0
