"""KVM_CREATE_DEVICE: which devices a VM can have, and what each answers.

Source: Linux virt/kvm/kvm_main.c (kvm_ioctl_create_device, kvm_device_ioctl), vfio.c.
"""

from __future__ import annotations

from typing import Any

from armkvm.abi.attributes import VfioAttr, VfioGroup
from armkvm.abi.structs import DEVICE_NAMES, DeviceType
from armkvm.errors import PlaceError
from armkvm.model import device_rules, groups, rules
from armkvm.model.groups import Group, Groups, number
from armkvm.model.outcome import Refused
from armkvm.model.vgic import device as gicv3, its
from armkvm.model.vm import Vm, living


class Device:
    """A device that exists. `of` is what its attributes belong to."""

    __slots__ = ("_groups", "kind", "of", "vm")

    def __init__(self, vm: Vm, kind: int, table: Groups[Any], of: object) -> None:
        self.vm = vm
        self.kind = kind
        self.of = of
        self._groups = table

    @property
    def name(self) -> str:
        return DEVICE_NAMES[self.kind]

    def has_attr(self, group: int, attr: int) -> Refused | None:
        """KVM_HAS_DEVICE_ATTR."""
        return _dead(self.vm) or groups.has(self._groups, self.of, group, attr)

    def get_attr(self, group: int, attr: int) -> bytes | Refused:
        """KVM_GET_DEVICE_ATTR."""
        if self.kind == DeviceType.VFIO and not self.vm.dead:
            return Refused(device_rules.NOT_READABLE, self.name)
        return _dead(self.vm) or groups.get(self._groups, self.of, group, attr)

    def put_attr(self, group: int, attr: int, data: bytes | None) -> Refused | None:
        """KVM_SET_DEVICE_ATTR."""
        return _dead(self.vm) or groups.put(self._groups, self.of, group, attr, data)

    def close(self) -> None:
        """Give the descriptor up; only VFIO's takes the device with it."""
        if self.kind == DeviceType.VFIO:
            self.vm.has_vfio = False


def _dead(vm: Vm) -> Refused | None:
    return Refused(rules.VM_DEAD) if vm.dead else None


@living
def create(vm: Vm, kind: int, test: bool) -> Device | Refused | None:
    """KVM_CREATE_DEVICE; with `test` it only says whether the type is offered."""
    # identity
    if kind not in vm.platform.facts.device_types:
        return Refused(device_rules.NO_SUCH_DEVICE, DEVICE_NAMES.get(kind, f"type {kind}"))
    if test:
        return None
    # effect
    match kind:
        case DeviceType.ARM_VGIC_V3:
            return gicv3.create(vm) or Device(vm, kind, gicv3.GROUPS, vm)
        case DeviceType.ARM_VGIC_ITS:
            return Device(vm, kind, its.GROUPS, its.create(vm))
        case DeviceType.VFIO:
            return _create_vfio(vm) or Device(vm, kind, _VFIO, vm)
    raise PlaceError(f"the model does not emulate {DEVICE_NAMES.get(kind, f'device type {kind}')}")


# -- VFIO --------------------------------------------------------------------------------------


def _create_vfio(vm: Vm) -> Refused | None:
    if vm.has_vfio:
        return Refused(device_rules.VFIO_EXISTS)
    vm.has_vfio = True
    return None


def _has_file(vm: Vm, attr: int) -> Refused | None:
    if attr in (VfioAttr.ADD, VfioAttr.DEL):
        return None
    return Refused(device_rules.NO_SUCH_ATTR, f"attribute {attr}")


def _put_file(vm: Vm, attr: int, data: bytes | None) -> Refused | None:
    unknown = _has_file(vm, attr)
    if unknown is not None:
        return unknown
    descriptor = number(data, 4)
    if isinstance(descriptor, Refused):
        return descriptor
    return Refused(device_rules.VFIO_NO_FILE, f"descriptor {descriptor}")


_VFIO: dict[int, Group[Vm]] = {VfioGroup.FILE: Group(_has_file, None, _put_file)}
