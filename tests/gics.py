"""GICs for tests: in the states a test starts from, and their registers as numbers."""

from __future__ import annotations

from errno import EINTR

from tests.small_hosts import gic_of, number, refused, u32, u64

from armkvm.abi.attributes import VgicAddr, VgicCtrl, VgicGroup
from armkvm.backends.model import ModelDevice, ModelVcpu, ModelVm

DIST, REDIST = 0x0800_0000, 0x080A_0000
GICD_IIDR, GICD_TYPER2 = 0x8, 0xC
UNDEF = (1 << 64) - 1


def address(gic: ModelDevice, kind: int, value: int) -> None:
    gic.set_attr(VgicGroup.ADDR, kind, u64(value))


def initialise(gic: ModelDevice) -> None:
    gic.set_attr(VgicGroup.CTRL, VgicCtrl.INIT)


def ready(vm: ModelVm) -> ModelDevice:
    """A GICv3 with addresses, initialised."""
    gic = gic_of(vm)
    address(gic, VgicAddr.DIST, DIST)
    address(gic, VgicAddr.REDIST, REDIST)
    initialise(gic)
    return gic


def gicd(gic: ModelDevice, offset: int, value: int | None = None) -> int:
    """Write a distributor word if a value is given, and read it."""
    return _word(gic, VgicGroup.DIST_REGS, offset, value)


def gicr(gic: ModelDevice, offset: int, value: int | None = None, vcpu: int = 0) -> int:
    """The same of a redistributor."""
    return _word(gic, VgicGroup.REDIST_REGS, vcpu << 32 | offset, value)


def _word(gic: ModelDevice, group: int, attr: int, value: int | None) -> int:
    if value is not None:
        gic.set_attr(group, attr, u32(value))
    return number(gic.get_attr(group, attr, 4))


def run(vcpu: ModelVcpu) -> None:
    """A run that gets as far as immediate_exit."""
    with refused(EINTR, "immediate-exit"):
        vcpu.run(immediate_exit=True)
