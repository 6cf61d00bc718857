"""A rehearsed restore answers, call by call, what real KVM answered to the same restore."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.model_hosts import model
from tests.recordings import SHARED_DATA, recordings

from armkvm.abi.regid import RegClass, RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.migration.capture import capture_vcpu
from armkvm.migration.plan import finalizing
from armkvm.migration.rehearsal import SVCR, Order, rehearse
from armkvm.state import RegisterSet
from armkvm.value import replace

if TYPE_CHECKING:
    from pathlib import Path

    from armkvm.migration.snapshot import VcpuState

RECORDED = ("init", "vls", "sme_vls", "finalize", "refused", "missing_here", "extra_here", "differs")
SM, ZA = 1, 2


def capture_name(label: str) -> str:
    """``7.3-max`` and ``sme-v12-max`` as captures are filed."""
    kernel, cpu = ("sme-v12", label[8:]) if label.startswith("sme-v12-") else label.split("-", 1)
    return f"{kernel}/{cpu}"


def is_recorded(label: str) -> bool:
    return (SHARED_DATA / "captures" / f"{capture_name(label)}.json").exists()


def fresh_state(label: str, features: list[str]) -> VcpuState:
    """A vCPU of that host as it is after INIT and FINALIZE."""
    wanted = tuple(map(VcpuFeature, features))
    with model(capture_name(label)).create_vm() as vm, vm.create_vcpu(0) as vcpu:
        vcpu.init(wanted)
        if VcpuFeature.SVE in wanted or VcpuFeature.SME in wanted:
            vcpu.finalize(VcpuFeature.SVE)
        return capture_vcpu(vcpu, wanted)


def in_mode(state: VcpuState, svcr: int) -> VcpuState:
    """The state the recorder wrote for a mode: a few vectors and ZA rows with its patterns."""
    assert state.sme_lengths is not None
    size = 16 * state.sme_lengths.max
    registers = dict(state.registers)
    registers[SVCR] = svcr.to_bytes(8, "little")
    if svcr & SM:
        for reg in [r for r in registers if r.reg_class == RegClass.SVE or r.size == 16]:
            if reg != RegId.sve_vls():
                del registers[reg]
        for n in (0, 31):
            registers[RegId.z(n)] = bytes((n + k) & 255 for k in range(size)).ljust(256, b"\0")
        for n in (0, 15):
            registers[RegId.p(n)] = bytes((7 * n + k) & 255 for k in range(size // 8)).ljust(32, b"\0")
    if svcr & ZA:
        for n in (0, size - 1):
            registers[RegId.za(n)] = bytes((n * 3 + k) & 255 for k in range(size)).ljust(256, b"\0")
    return replace(state, registers=RegisterSet(registers.items()))


@pytest.mark.parametrize("path", recordings("pairs/*.json"))
def test_rehearsal_equals_the_recorded_restore(path: Path) -> None:
    """INIT, vector lengths, FINALIZE, every refusal with its errno, missing, extra and changed registers."""
    recording: dict[str, Any] = json.loads(path.read_text())
    if not is_recorded(recording["destination"]):
        pytest.skip(f"the destination {recording['destination']} was not recorded")
    place = model(capture_name(recording["destination"]))
    compared = 0
    for pair in recording["pairs"]:
        if not is_recorded(pair["source"]):
            continue
        state, svcr = fresh_state(pair["source"], pair["features"]), pair.get("svcr", 0)
        if svcr:
            state = in_mode(state, svcr)
        assert finalizing(state.registers) or "finalize" not in pair
        result = rehearse(place, state, order=Order.IDS_FIRST)
        here, about = result.as_record(), (pair["source"], pair["config"], svcr)
        wanted = RECORDED if not svcr else RECORDED[:5]
        assert {key: here.get(key) for key in wanted} == {key: pair.get(key) for key in wanted}, about
        if svcr and pair["init"] is None:
            assert result.listed == pair["list_count"], about
            assert sorted(map(str, here["differs"])) == sorted(pair["differs"]), about  # type: ignore[call-overload]
        compared += 1
    assert compared > 10
