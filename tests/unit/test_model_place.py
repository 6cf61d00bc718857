"""The model is a place like any other: it speaks the whole protocol."""

from __future__ import annotations

from errno import EINVAL

from tests.small_hosts import gic_of, host, number, refused, vcpus, vm_with_vcpus

from armkvm.abi.structs import DeviceType
from armkvm.arch.sysregs import sysreg
from armkvm.backends.base import Device, System, Vcpu, Vm
from armkvm.backends.model import ModelDevice, ModelSystem, ModelVcpu, ModelVm
from armkvm.catalog import id_of


def test_the_types_are_the_protocols() -> None:
    """mypy checks each assignment; the last is checked when it runs as well."""
    vm: Vm = vm_with_vcpus(host())
    vcpu: Vcpu = vm.create_vcpu(7)
    device: Device | None = vm.create_device(DeviceType.ARM_VGIC_V3)
    system: System = host()
    assert isinstance(system, System)
    made = (type(vm), type(vcpu), type(device), type(system))
    assert made == (ModelVm, ModelVcpu, ModelDevice, ModelSystem)


def test_handles_close_more_than_once() -> None:
    vm = vm_with_vcpus(host())
    with gic_of(vm) as gic:
        gic.close()
    assert gic.closed


def test_one_counter_offset_serves_both_counters_and_ends_writes_to_them() -> None:
    vm = vm_with_vcpus(host())
    vcpu = vcpus(vm)[0]
    virtual, physical = (id_of(sysreg(name)) for name in ("CNTVCT_EL0", "CNTPCT_EL0"))
    vcpu.set_one_reg(virtual, (5_000_000).to_bytes(8, "little"))
    assert number(vcpu.get_one_reg(virtual)) >= 5_000_000
    vm.set_counter_offset(1000)
    before = number(vcpu.get_one_reg(physical))
    vcpu.set_one_reg(virtual, bytes(8))
    assert 0 < number(vcpu.get_one_reg(virtual)) - before < 1000
    with refused(EINVAL, "counter-offset-reserved"):
        vm.set_counter_offset(0, reserved=1)
    with refused(EINVAL, "unknown-ioctl"):
        host("6.1").create_vm().set_counter_offset(0)
