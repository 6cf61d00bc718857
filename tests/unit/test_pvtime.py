"""The stolen-time structure: aligned, set once, in memory the VM can write."""

from __future__ import annotations

from errno import EEXIST, EFAULT, EINVAL, ENXIO

import pytest
from tests.small_hosts import host, number, refused, u64

from armkvm.abi.attributes import PvtimeAttr
from armkvm.abi.caps import Cap
from armkvm.abi.structs import VcpuAttr
from armkvm.backends.model import ModelVcpu
from armkvm.model.memory import READONLY

RAM, ROM = 0x4000_0000, 0x6000_0000


def vcpu_with_memory() -> ModelVcpu:
    vm = host().create_vm()
    vm.set_memory(0, RAM, 0x1_0000)
    vm.set_memory(1, ROM, 0x1_0000, READONLY)
    return vm.create_vcpu(0)


def put(vcpu: ModelVcpu, address: int) -> None:
    vcpu.set_attr(VcpuAttr.PVTIME, PvtimeAttr.IPA, u64(address))


def test_an_address_is_set_once_and_read_back() -> None:
    vcpu = vcpu_with_memory()
    assert number(vcpu.get_attr(VcpuAttr.PVTIME, PvtimeAttr.IPA)) == (1 << 64) - 1
    put(vcpu, RAM + 64)
    assert number(vcpu.get_attr(VcpuAttr.PVTIME, PvtimeAttr.IPA)) == RAM + 64
    with refused(EEXIST, "pvtime-set", f"it is {RAM + 64:#x}"):
        put(vcpu, RAM + 128)


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        (RAM + 32, "pvtime-misaligned"),
        (RAM + 0x1_0000, "pvtime-no-memory"),
        (0, "pvtime-no-memory"),
        (ROM, "pvtime-no-memory"),
    ],
)
def test_it_lies_in_writable_memory(address: int, rule: str) -> None:
    vcpu = vcpu_with_memory()
    with refused(EINVAL, rule, f"asked for {address:#x}"):
        put(vcpu, address)


def test_the_order_of_checks() -> None:
    """Which attribute, pointer, alignment, already set, memory."""
    vcpu = vcpu_with_memory()
    with refused(ENXIO, "no-such-attribute"):
        vcpu.set_attr_null(VcpuAttr.PVTIME, 1)
    with refused(EFAULT, "bad-pointer"):
        vcpu.set_attr_null(VcpuAttr.PVTIME, PvtimeAttr.IPA)
    put(vcpu, RAM)
    with refused(EINVAL, "pvtime-misaligned"):
        put(vcpu, 1)
    with refused(EEXIST, "pvtime-set"):
        put(vcpu, 0)


def test_without_the_capability_there_is_no_attribute() -> None:
    vcpu = host(caps={Cap.STEAL_TIME: 0}).create_vm().create_vcpu(0)
    for call in (vcpu.has_attr, vcpu.get_attr, vcpu.set_attr_null):
        with refused(ENXIO, "no-such-attribute"):
            call(VcpuAttr.PVTIME, PvtimeAttr.IPA)
