"""Our tables against the kernel's: register ids, names, encodings and capability numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.recordings import recordings

from armkvm import catalog
from armkvm.abi.caps import SME_CAPS, Cap
from armkvm.abi.regid import RegId
from armkvm.arch.sysregs import name_of as sysreg_name

pytestmark = pytest.mark.shared

KERNELS = ["6.1", "6.12", "7.3"]
# How the kernel's table writes what Arm's manual writes as DBGBVR0_EL1 and S3_0_C0_C3_3.
FAMILY = re.compile(r"(\w+?)_(EL\d)\((\d+)\)")
GENERIC = re.compile(r"S(\d)_(\d)_(\d+)_(\d+)_(\d)")


def rows(tables: dict[str, Any], kernel: str) -> list[tuple[RegId, str]]:
    """Every register that one kernel's tables hold, with the name they give it."""
    listed = tables["kernel"][kernel]
    named = [(row["id"], row["name"]) for kind in ("core", "sve", "fw", "sysregs") for row in listed[kind]]
    unnamed = [
        (number, "")
        for kind in ("timer_list", "demux")
        if isinstance(listed[kind], list)
        for number in listed[kind]
    ]
    blessed = [
        (row["id"], "") for part in tables["selftest"][kernel]["sublists"].values() for row in part["ids"]
    ]
    return [(RegId(int(number, 16)), name) for number, name in named + unnamed + blessed]


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_register_of_the_kernel_has_a_name_and_is_found_by_it(
    reg_lists: dict[str, Any], kernel: str
) -> None:
    listed = {reg for reg, _ in rows(reg_lists, kernel)}
    assert len(listed) > 350
    for reg in listed:
        assert catalog.parse(catalog.name_of(reg)) == reg
    assert len({catalog.name_of(reg) for reg in listed}) == len(listed)


@pytest.mark.parametrize("kernel", KERNELS)
def test_system_registers_have_the_encoding_the_kernel_gives_them(
    reg_lists: dict[str, Any], kernel: str
) -> None:
    for row in reg_lists["kernel"][kernel]["sysregs"]:
        register = catalog.accessed_register(RegId(int(row["id"], 16)))
        assert register is not None
        assert list(register.parts) == row["enc"], row["name"]
        assert catalog.id_of(register).hex == row["id"], row["name"]


@pytest.mark.parametrize("kernel", KERNELS)
def test_system_registers_are_called_what_the_kernel_calls_them(
    reg_lists: dict[str, Any], kernel: str
) -> None:
    compared = 0
    for row in reg_lists["kernel"][kernel]["sysregs"]:
        register = catalog.accessed_register(RegId(int(row["id"], 16)))
        assert register is not None
        kernels = GENERIC.sub(r"S\1_\2_C\3_C\4_\5", FAMILY.sub(r"\1\3_\2", row["name"]))
        if re.fullmatch(r"\w+", kernels):  # some rows have no name, some an expression
            assert sysreg_name(register).upper() == kernels.upper()
            compared += 1
    assert compared > 140


@pytest.mark.parametrize("recording", recordings("captures/*/*.json"))
def test_every_register_a_real_kernel_listed_has_a_name(recording: Path) -> None:
    configs = json.loads(recording.read_text())["configs"]
    listed = re.findall(r'"(0x6[0-9a-f]{15})"', json.dumps(configs))
    assert len(listed) > 200
    assert not [number for number in listed if not catalog.name_of(RegId(int(number, 16)))]


@pytest.mark.parametrize("recording", recordings("captures/*/*.json"))
def test_every_capability_a_real_kernel_offered_has_a_name(recording: Path) -> None:
    facts = json.loads(recording.read_text())
    sme = facts.get("cap_sme_number_in_this_build")
    assert sme in {None, SME_CAPS["sme-v12"]}
    assert {int(number) for number in facts["caps"]} - {sme} <= set(Cap)


def test_capabilities_have_the_numbers_headers_give_them(shared_data: Path) -> None:
    facts = (shared_data.parent / "facts" / "kvm-semantics.md").read_text()
    stated = dict(re.findall(r"\b(?:KVM_CAP_)?([A-Z][A-Z0-9_]+) (\d{1,3})\b", facts))
    common = set(stated) & set(Cap.__members__)
    assert len(common) > 35
    assert {name: int(stated[name]) for name in common} == {name: int(Cap[name]) for name in common}
