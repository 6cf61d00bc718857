"""Where a guest finds how much time was stolen from it, KVM_ARM_VCPU_PVTIME_CTRL.

Source: Linux arch/arm64/kvm/pvtime.c.
"""

from __future__ import annotations

from armkvm.abi.attributes import ADDR_UNDEF, PvtimeAttr
from armkvm.abi.caps import Cap
from armkvm.model import device_rules
from armkvm.model.groups import Group, number
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu

_ALIGNMENT = 64


def _has(vcpu: Vcpu, attr: int) -> Refused | None:
    if attr == PvtimeAttr.IPA and vcpu.vm.platform.facts.caps.get(Cap.STEAL_TIME):
        return None
    return Refused(device_rules.NO_SUCH_ATTR, f"stolen-time attribute {attr}")


def _get(vcpu: Vcpu, attr: int) -> bytes | Refused:
    return _has(vcpu, attr) or vcpu.stolen_time.to_bytes(8, "little")


def _put(vcpu: Vcpu, attr: int, data: bytes | None) -> Refused | None:
    unknown = _has(vcpu, attr)
    if unknown is not None:
        return unknown
    asked = number(data, 8)
    if isinstance(asked, Refused):
        return asked
    if asked % _ALIGNMENT:
        return Refused(device_rules.PVTIME_MISALIGNED, f"asked for {asked:#x}")
    if vcpu.stolen_time != ADDR_UNDEF:
        return Refused(device_rules.PVTIME_SET, f"asked for {asked:#x}, it is {vcpu.stolen_time:#x}")
    slot = vcpu.vm.memory.slot_at(asked)
    if slot is None or slot.is_readonly:
        return Refused(device_rules.PVTIME_NO_MEMORY, f"asked for {asked:#x}")
    vcpu.stolen_time = asked
    return None


GROUP: Group[Vcpu] = Group(_has, _get, _put)
