"""KVM_{HAS,GET,SET}_DEVICE_ATTR on vCPU and VM descriptors; a device's are its own.

Source: Linux arch/arm64/kvm/guest.c (kvm_arm_vcpu_arch_set_attr), arm.c (kvm_vm_set_attr).
"""

from __future__ import annotations

from armkvm.abi.attributes import VmGroup
from armkvm.abi.structs import VcpuAttr
from armkvm.model import groups, pmu_setup, pvtime, rules, smccc_filter, timer_irqs
from armkvm.model.device_behaviours import VM_ATTRIBUTES
from armkvm.model.groups import Group
from armkvm.model.lifecycle import GET_DEVICE_ATTR, HAS_DEVICE_ATTR, SET_DEVICE_ATTR
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu
from armkvm.model.vm import Vm, living

VCPU_GROUPS: dict[int, Group[Vcpu]] = {
    VcpuAttr.PMU_V3: pmu_setup.GROUP,
    VcpuAttr.TIMER: timer_irqs.GROUP,
    VcpuAttr.PVTIME: pvtime.GROUP,
}
VM_GROUPS: dict[int, Group[Vm]] = {VmGroup.SMCCC: smccc_filter.GROUP}


def has_attr(vcpu: Vcpu, group: int, attr: int) -> Refused | None:
    """KVM_HAS_DEVICE_ATTR on a vCPU, in any phase."""
    return _phase(vcpu, HAS_DEVICE_ATTR) or groups.has(VCPU_GROUPS, vcpu, group, attr)


def get_attr(vcpu: Vcpu, group: int, attr: int) -> bytes | Refused:
    """KVM_GET_DEVICE_ATTR on a vCPU, in any phase."""
    return _phase(vcpu, GET_DEVICE_ATTR) or groups.get(VCPU_GROUPS, vcpu, group, attr)


def put_attr(vcpu: Vcpu, group: int, attr: int, data: bytes | None) -> Refused | None:
    """KVM_SET_DEVICE_ATTR on a vCPU, in any phase."""
    return _phase(vcpu, SET_DEVICE_ATTR) or groups.put(VCPU_GROUPS, vcpu, group, attr, data)


def _phase(vcpu: Vcpu, operation: str) -> Refused | None:
    rule = vcpu.refuses.get(operation)
    return None if rule is None else Refused(rule)


@living
def vm_has_attr(vm: Vm, group: int, attr: int) -> Refused | None:
    """KVM_HAS_DEVICE_ATTR on a VM."""
    if VM_ATTRIBUTES not in vm.profile:
        return Refused(rules.UNKNOWN_IOCTL)
    return groups.has(VM_GROUPS, vm, group, attr)


@living
def vm_get_attr(vm: Vm, group: int, attr: int) -> Refused:
    """KVM_GET_DEVICE_ATTR on a VM, which no kernel has."""
    return Refused(rules.UNKNOWN_IOCTL)


@living
def vm_put_attr(vm: Vm, group: int, attr: int, data: bytes | None) -> Refused | None:
    """KVM_SET_DEVICE_ATTR on a VM."""
    if VM_ATTRIBUTES not in vm.profile:
        return Refused(rules.UNKNOWN_IOCTL)
    return groups.put(VM_GROUPS, vm, group, attr, data)
