"""A VM's own attribute: which hypercalls are KVM's, denied, or userspace's."""

from __future__ import annotations

from errno import EBUSY, EEXIST, EFAULT, EINVAL, ENXIO

import pytest
from tests.gics import run
from tests.small_hosts import host, refused, vcpus, vm_with_vcpus

from armkvm.abi.attributes import SMCCC_FILTER, SmcccAttr, VmGroup
from armkvm.backends.model import ModelVm
from armkvm.model.smccc_filter import action_of

VENDOR = 0x8600_0000


def put(vm: ModelVm, first: int, functions: int, action: int = 1, pad: bytes = bytes(15)) -> None:
    vm.set_attr(VmGroup.SMCCC, SmcccAttr.FILTER, SMCCC_FILTER.pack(first, functions, action, pad))


def test_a_filter_says_what_happens_to_a_call() -> None:
    vm = host().create_vm()
    put(vm, VENDOR, 0x100, 1)
    put(vm, VENDOR + 0x100, 1, 2)
    calls = (VENDOR - 1, VENDOR, VENDOR + 0xFF, VENDOR + 0x100, VENDOR + 0x101)
    assert [action_of(vm.vm, call) for call in calls] == ["HANDLE", "DENY", "DENY", "FWD_TO_USER", "HANDLE"]


@pytest.mark.parametrize(
    ("first", "functions"),
    [(VENDOR, 1), (VENDOR + 0xFF, 2), (VENDOR - 1, 2), (0x8000_0000, 1), (0x8000_FFFF, 2), (0xC000_0000, 1)],
)
def test_ranges_do_not_overlap_nor_reach_the_architectures_calls(first: int, functions: int) -> None:
    vm = host().create_vm()
    put(vm, VENDOR, 0x100)
    with refused(EEXIST, "smccc-filter-overlaps", f"{first:#x} to"):
        put(vm, first, functions)


@pytest.mark.parametrize(
    ("first", "functions", "action", "pad"),
    [
        (VENDOR, 0, 1, bytes(15)),
        (0xFFFF_FFFF, 2, 1, bytes(15)),
        (VENDOR, 1, 3, bytes(15)),
        (VENDOR, 1, 1, bytes(14) + b"\1"),
    ],
)
def test_a_malformed_filter_is_refused(first: int, functions: int, action: int, pad: bytes) -> None:
    with refused(EINVAL, "smccc-filter-invalid"):
        put(host().create_vm(), first, functions, action, pad)


def test_the_last_function_can_be_filtered() -> None:
    vm = host().create_vm()
    put(vm, 0xFFFF_FFFF, 1)
    assert action_of(vm.vm, 0xFFFF_FFFF) == "DENY"


def test_the_order_of_checks() -> None:
    """Which attribute, pointer, structure, run, overlap."""
    vm = vm_with_vcpus(host())
    with refused(ENXIO, "no-such-attribute", "SMCCC attribute 1"):
        vm.set_attr_null(VmGroup.SMCCC, 1)
    with refused(EFAULT, "bad-pointer"):
        vm.set_attr_null(VmGroup.SMCCC, SmcccAttr.FILTER)
    run(vcpus(vm)[0])
    with refused(EINVAL, "smccc-filter-invalid"):
        put(vm, VENDOR, 0)
    with refused(EBUSY, "smccc-filter-after-run"):
        put(vm, 0x8000_0000, 1)


def test_groups_of_a_vm() -> None:
    vm = host().create_vm()
    vm.has_attr(VmGroup.SMCCC, SmcccAttr.FILTER)
    for group, attr in ((0, 1), (1, 0)):
        with refused(ENXIO, "no-such-attribute"):
            vm.has_attr(group, attr)


def test_no_kernel_reads_a_vms_attributes_and_6_1_has_none() -> None:
    with refused(EINVAL, "unknown-ioctl"):
        host().create_vm().get_attr(VmGroup.SMCCC, SmcccAttr.FILTER)
    old = host("6.1").create_vm()
    for call in (old.has_attr, old.get_attr, old.set_attr_null):
        with refused(EINVAL, "unknown-ioctl"):
            call(VmGroup.SMCCC, SmcccAttr.FILTER)
