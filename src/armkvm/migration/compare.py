"""What differs between two snapshots, as values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from armkvm import catalog
from armkvm.abi.regid import RegId
from armkvm.errors import errno_name
from armkvm.migration.findings import in_hex
from armkvm.migration.snapshot import Snapshot, VcpuState
from armkvm.migration.verdict import same


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two snapshots disagree about; "" where one of them has no such thing.

    `volatile` ones change by themselves (a running clock) and say nothing about the guest.
    """

    what: str
    before: str
    after: str
    vcpu: int | None = None
    reg: RegId | None = None
    volatile: bool = False

    def __str__(self) -> str:
        where = "" if self.vcpu is None else f"vCPU {self.vcpu}: "
        note = " (changes by itself)" if self.volatile else ""
        return f"{where}{self.what}: {self.before or 'absent'} -> {self.after or 'absent'}{note}"


def differences(before: Snapshot, after: Snapshot) -> tuple[Difference, ...]:
    """Every difference in state, vCPU by vCPU and in the order of the first snapshot's lists.

    Where the snapshots were taken is not state, nor is the order in which registers were listed.
    """
    return tuple(_snapshots(before, after))


def _snapshots(before: Snapshot, after: Snapshot) -> Iterator[Difference]:
    yield from _texts(None, "machine type", f"{before.vm.machine_type:#x}", f"{after.vm.machine_type:#x}")
    yield from _texts(None, "capabilities", _caps(before), _caps(after))
    old, new = ({vcpu.id: vcpu for vcpu in snapshot.vcpus} for snapshot in (before, after))
    for number in sorted(old.keys() | new.keys()):
        if number in old and number in new:
            yield from _vcpus(old[number], new[number])
        else:
            yield Difference("vCPU", "present" * (number in old), "present" * (number in new), number)


def _caps(snapshot: Snapshot) -> str:
    return ", ".join(" ".join((cap.name, *map(hex, cap.args))) for cap in snapshot.vm.caps) or "none"


def _vcpus(before: VcpuState, after: VcpuState) -> Iterator[Difference]:
    old, new = (", ".join(map(str, vcpu.features)) or "none" for vcpu in (before, after))
    yield from _texts(before.id, "features", old, new)
    yield from _texts(before.id, "MP state", str(before.mp_state), str(after.mp_state))
    yield from _texts(before.id, "events", str(before.events.carried), str(after.events.carried))
    for reg in dict.fromkeys((*before.registers, *before.refused, *after.registers, *after.refused)):
        here, there = before.registers.get(reg), after.registers.get(reg)
        if here != there or before.refused.get(reg) != after.refused.get(reg):
            volatile = here is not None and there is not None and same(reg, here, there)
            name = catalog.name_of(reg) or reg.hex
            yield Difference(name, _held(before, reg), _held(after, reg), before.id, reg, volatile)


def _held(vcpu: VcpuState, reg: RegId) -> str:
    if reg in vcpu.refused:
        return f"refused with {errno_name(vcpu.refused[reg])}"
    return in_hex(vcpu.registers[reg]) if reg in vcpu.registers else ""


def _texts(vcpu: int | None, what: str, before: str, after: str) -> Iterator[Difference]:
    if before != after:
        yield Difference(what, before, after, vcpu)
