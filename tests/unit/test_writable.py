"""What each kernel lets userspace write: against its own answers, and against its own tables."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from armkvm.abi.regid import RegId
from armkvm.arch.encoding import SysReg
from armkvm.arch.fields import Direction, Kind, accepts
from armkvm.arch.idfields import FIELDS, field_of, fields_of
from armkvm.arch.sysregs import name_of, sysreg
from armkvm.model.tables.writable import (
    AARCH32,
    HOST_EXACT,
    LINEAGE,
    ROWS,
    effective_mask,
    reported_mask,
    reported_masks,
    writable_fields,
)

PFR0 = sysreg("ID_AA64PFR0_EL1")
each_kernel = pytest.mark.parametrize("kernel", LINEAGE)

# Registers whose writes KVM checks as a whole, not field by field.
WHOLE = {"MIDR_EL1", "REVIDR_EL1", "AIDR_EL1", "SMIDR_EL1", "CLIDR_EL1"}


def recordings(shared_data: Path) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """(kernel, path, recording) of every host recorded and of every file of random call sequences."""
    for path in sorted(shared_data.glob("captures/*/*.json")) + sorted(shared_data.glob("random/*.json")):
        named = path.name if path.parent.name == "random" else path.parent.name + "-"
        [kernel] = [kernel for kernel in LINEAGE if named.startswith(kernel + "-")]
        yield kernel, path, json.loads(path.read_text())


def recorded_value(recording: dict[str, Any], reg: SysReg) -> int:
    """What the host gave a vCPU with every feature."""
    return little_endian(recording["configs"]["all"]["values"][f"{RegId.sysreg(reg):#x}"])


def little_endian(value: str) -> int:
    return int.from_bytes(bytes.fromhex(value), "little")


def has_32_bit_el0(recording: dict[str, Any]) -> bool:
    return field_of(PFR0, "EL0").extract(recorded_value(recording, PFR0)) == 2


def test_reported_masks_are_what_every_kernel_answered(shared_data: Path) -> None:
    """Every recorded KVM_ARM_GET_REG_WRITABLE_MASKS, register by register; none has one we lack."""
    asked = 0
    for kernel, path, recording in recordings(shared_data):
        answer = recording["writable_masks"]
        if answer["errno"] is not None:
            assert reported_masks(kernel, aarch32_el0=True) == {}
            continue
        masks = {RegId(int(reg, 16)).encoding: int(mask, 16) for reg, mask in answer["masks"].items()}
        assert masks == reported_masks(kernel, aarch32_el0=has_32_bit_el0(recording)), path
        asked += 1
    assert asked >= 55


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


def writes_before_first_run(recording: dict[str, Any]) -> Iterator[tuple[SysReg, int, str | None]]:
    """Every recorded write of a whole register to a vCPU that has not run: register, value, errno."""
    for probe in recording["probes"]:
        for step in probe["steps"]:
            if step["ioctl"] == "KVM_RUN":
                break
            if step["ioctl"] != "KVM_SET_ONE_REG" or step["errno"] == "ENOEXEC" or "addr" in step:
                continue
            reg = RegId(int(step["id"], 16)).encoding
            if reg is not None and len(step["value"]) == 16:
                yield reg, little_endian(step["value"]), step["errno"]


def test_every_recorded_write_is_judged_as_the_kernel_judged_it(shared_data: Path) -> None:
    """Mask and field order together give the real kernels' verdicts, accepted and refused alike.

    For the registers KVM checks by nothing else and whose limit is the same for every VM; all kernels
    that compare by field, captures and random call sequences.
    """
    plain = AARCH32 - {sysreg("ID_DFR0_EL1")} | {
        sysreg(f"ID_AA64{name}_EL1") for name in ("ISAR0", "ISAR3", "MMFR1", "MMFR3", "FPFR0", "AFR0")
    }
    verdicts: Counter[tuple[str, bool]] = Counter()
    for kernel, path, recording in recordings(shared_data):
        if kernel == "6.1" or "nested" in path.stem:
            continue  # 6.1 compares whole registers; a vCPU with EL2 has other limits
        for reg, value, errno in writes_before_first_run(recording):
            if reg not in plain or (reg in AARCH32 and not has_32_bit_el0(recording)):
                continue
            limit = recorded_value(recording, reg)
            writable = writable_fields(kernel, reg)
            accepted = all(
                accepts(field, field.extract(limit), field.extract(value))
                if field in writable
                else field.extract(limit) == field.extract(value)
                for field in fields_of(reg)
            )
            assert accepted == (errno is None), (path, name_of(reg), hex(limit), hex(value))
            verdicts[kernel, accepted] += 1
    accepting, refusing = (
        {kernel for kernel, way in verdicts if way is verdict} for verdict in (True, False)
    )
    # 6.1 compares whole registers; no kernel of revision 4 was recorded
    assert accepting == refusing == LINEAGE.keys() - {"6.1", "sme-v4"}
    assert verdicts.total() > 800


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
    assert with_32.keys() - without.keys() == with_32.keys() & AARCH32
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
