"""What a probe tries things on: vCPUs and GICs made for the purpose, and closed again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from armkvm.abi.attributes import VgicAddr, VgicCtrl, VgicGroup
from armkvm.abi.regid import RegId
from armkvm.abi.structs import DeviceType
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.base import Device, System, Vcpu, Vm

_DISTRIBUTOR, _REDISTRIBUTORS = 0x0800_0000, 0x080A_0000  # as far as addresses go; nothing is there


@contextmanager
def vcpu_of(system: System, features: Iterable[F] = ()) -> Iterator[tuple[Vm, Vcpu]]:
    """A vCPU of its own VM, not finalized; PSCI 0.2 is always among its features."""
    with system.create_vm() as vm, vm.create_vcpu(0) as vcpu:
        vcpu.init({*features, F.PSCI_0_2})
        yield vm, vcpu


@contextmanager
def gic_of(vm: Vm) -> Iterator[Device]:
    """A GICv3 of a VM, not initialised."""
    gic = vm.create_device(DeviceType.ARM_VGIC_V3)
    assert gic is not None  # noqa: S101 - None answers a test only
    with gic:
        yield gic


def initialise(gic: Device) -> None:
    """Give a GICv3 addresses, and initialise it."""
    for kind, address in ((VgicAddr.DIST, _DISTRIBUTOR), (VgicAddr.REDIST, _REDISTRIBUTORS)):
        gic.set_attr(VgicGroup.ADDR, kind, address.to_bytes(8, "little"))
    gic.set_attr(VgicGroup.CTRL, VgicCtrl.INIT)


def read(vcpu: Vcpu, reg: RegId) -> int:
    """A register's value as a number."""
    return int.from_bytes(vcpu.get_one_reg(reg), "little")


def write(vcpu: Vcpu, reg: RegId, value: int) -> None:
    """Set a register from a number."""
    vcpu.set_one_reg(reg, value.to_bytes(reg.size, "little"))
