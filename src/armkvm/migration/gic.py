"""The vGIC's part of a check: whether one host's GICv3 CPU interface can be restored on another.

ICC_CTLR_EL1 carries what unlike GICs differ in: bits of priority and INTID, Aff3, SErrors. It is a
device attribute and no register of a vCPU, so a restore of registers never meets it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from armkvm.abi.attributes import VgicCtrl, VgicGroup, cpu_sysreg
from armkvm.abi.structs import DeviceType
from armkvm.arch import gicfields
from armkvm.arch.fields import accepted_values
from armkvm.arch.sysregs import sysreg
from armkvm.backends.base import Device, Feature, System
from armkvm.catalog import id_of, parse
from armkvm.errors import KvmError
from armkvm.migration.advice import Code
from armkvm.migration.deciding import ranges
from armkvm.migration.findings import Finding

ICC_CTLR = sysreg("ICC_CTLR_EL1")
_MPIDR = parse("MPIDR_EL1")


def compare_gic(source: System, destination: System, features: Sequence[Feature]) -> tuple[Finding, ...]:
    """What the destination says to the source's ICC_CTLR_EL1; nothing where either has no GICv3."""
    asked = gic_held(source, features)
    return () if asked is None else gic_restored(destination, features, asked)


def gic_held(place: System, features: Sequence[Feature]) -> bytes | None:
    """ICC_CTLR_EL1 of a new VM; None where a place has no GICv3."""
    try:
        with _gic(place, features) as (gic, attr):
            return gic.get_attr(VgicGroup.CPU_SYSREGS, attr)
    except KvmError:
        return None


def gic_restored(place: System, features: Sequence[Feature], asked: bytes) -> tuple[Finding, ...]:
    """What a place says to an ICC_CTLR_EL1 from elsewhere; nothing where it has no GICv3."""
    try:
        with _gic(place, features) as (gic, attr):
            return tuple(_tried(gic, attr, asked))
    except KvmError:
        return ()


@contextmanager
def _gic(place: System, features: Sequence[Feature]) -> Iterator[tuple[Device, int]]:
    """A GICv3 that is initialised, and the attribute of its CPU interface's ICC_CTLR_EL1."""
    with place.create_vm() as vm:
        device = vm.create_device(DeviceType.ARM_VGIC_V3)
        assert device is not None  # noqa: S101 - only a test gives none
        with device, vm.create_vcpu(0) as vcpu:
            vcpu.init(features)
            device.set_attr(VgicGroup.CTRL, VgicCtrl.INIT)
            mpidr = int.from_bytes(vcpu.get_one_reg(_MPIDR), "little")
            yield device, cpu_sysreg(ICC_CTLR, mpidr)


def _tried(gic: Device, attr: int, asked: bytes) -> Iterator[Finding]:
    there = gic.get_attr(VgicGroup.CPU_SYSREGS, attr)
    try:
        gic.set_attr(VgicGroup.CPU_SYSREGS, attr, asked)
    except KvmError as refused:
        yield from _findings(refused, *(int.from_bytes(data, "little") for data in (asked, there)))


def _findings(refused: KvmError, asked: int, there: int) -> Iterator[Finding]:
    for part in gicfields.FIELDS[ICC_CTLR]:
        wanted, have = part.extract(asked), part.extract(there)
        if wanted == have:
            continue
        own = refused.detail if part.name in refused.detail else ""
        yield Finding(
            code=Code.GIC,
            vcpu=0,
            operation=refused.operation,
            reg=id_of(ICC_CTLR),
            field=part.name,
            errno=refused.errno,
            asked=part.told(wanted),
            there=part.told(have),
            acceptable=ranges(accepted_values(part, have)),
            rule=refused.rule.name if refused.rule else "",
            why=own or "the guest was told what its interrupt controller can do, and this one does less",
            remedy="Write the lower value to ICC_CTLR_EL1 at the source before the guest first runs; "
            "SEIS and A3V are the host's own before 7.3.",
        )
