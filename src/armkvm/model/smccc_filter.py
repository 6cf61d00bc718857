"""Which SMCCC calls of a guest KVM handles, denies or hands to userspace, KVM_ARM_VM_SMCCC_FILTER.

Source: Linux arch/arm64/kvm/hypercalls.c (kvm_smccc_set_filter).
"""

from __future__ import annotations

from armkvm.abi.attributes import SMCCC_FILTER, SMCCC_FILTER_ACTIONS, SmcccAttr
from armkvm.model import device_rules, rules
from armkvm.model.groups import Group, sized
from armkvm.model.outcome import Refused
from armkvm.model.vm import Vm

Range = tuple[int, int, int]
"""First function, last function, action."""

ARCHITECTURE: tuple[Range, ...] = ((0x8000_0000, 0x8000_FFFF, 0), (0xC000_0000, 0xC000_FFFF, 0))
"""The calls that stay KVM's, whatever userspace filters."""

_LAST_FUNCTION = 0xFFFF_FFFF


def _has(vm: Vm, attr: int) -> Refused | None:
    return None if attr == SmcccAttr.FILTER else Refused(device_rules.NO_SUCH_ATTR, f"SMCCC attribute {attr}")


def _put(vm: Vm, attr: int, data: bytes | None) -> Refused | None:
    unknown = _has(vm, attr)
    if unknown is not None:
        return unknown
    if data is None:
        return Refused(rules.BAD_POINTER)
    first, functions, action, pad = SMCCC_FILTER.unpack(sized(data, SMCCC_FILTER.size))
    last = first + functions - 1
    if any(pad) or not functions or last > _LAST_FUNCTION or action >= len(SMCCC_FILTER_ACTIONS):
        return Refused(
            device_rules.SMCCC_FILTER_INVALID, f"{functions} functions from {first:#x}, action {action}"
        )
    if vm.has_run:
        return Refused(device_rules.SMCCC_FILTER_AFTER_RUN)
    for start, end, _ in (*ARCHITECTURE, *vm.smccc_filter):
        if first <= end and start <= last:
            return Refused(
                device_rules.SMCCC_FILTER_OVERLAPS, f"{first:#x} to {last:#x} meets {start:#x} to {end:#x}"
            )
    vm.smccc_filter.append((first, last, action))
    return None


GROUP: Group[Vm] = Group(_has, None, _put)


def action_of(vm: Vm, function: int) -> str:
    """What happens to a guest's call: an entry of ``SMCCC_FILTER_ACTIONS``."""
    for first, last, action in vm.smccc_filter:
        if first <= function <= last:
            return SMCCC_FILTER_ACTIONS[action]
    return SMCCC_FILTER_ACTIONS[0]
