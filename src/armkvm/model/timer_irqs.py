"""Which PPI each of a vCPU's timers raises, KVM_ARM_VCPU_TIMER_CTRL, and what the first run makes of it.

Source: Linux arch/arm64/kvm/arch_timer.c (kvm_arm_timer_set_attr, kvm_timer_enable).
"""

from __future__ import annotations

from armkvm.abi.attributes import TimerAttr
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.model import device_rules
from armkvm.model.device_behaviours import TIMER_IRQS_OF_VM
from armkvm.model.groups import Group, number
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import FOUR_TIMERS
from armkvm.model.vgic import lines

_NAMES = {
    TimerAttr.VTIMER: "virtual",
    TimerAttr.PTIMER: "physical",
    TimerAttr.HVTIMER: "EL2 virtual",
    TimerAttr.HPTIMER: "EL2 physical",
}


def _irqs(vcpu: Vcpu) -> list[int]:
    """The PPIs by timer, which a write changes in place."""
    return vcpu.vm.timer_irqs if TIMER_IRQS_OF_VM in vcpu.vm.profile else vcpu.timer_irqs


def _are_fixed(vcpu: Vcpu) -> bool:
    return vcpu.vm.timer_irqs_fixed if TIMER_IRQS_OF_VM in vcpu.vm.profile else vcpu.timers_enabled


def _has(vcpu: Vcpu, attr: int) -> Refused | None:
    if 0 <= attr < (4 if FOUR_TIMERS in vcpu.vm.profile else 2):
        return None
    return Refused(device_rules.NO_SUCH_ATTR, f"timer {attr}")


def _get(vcpu: Vcpu, attr: int) -> bytes | Refused:
    return _has(vcpu, attr) or _irqs(vcpu)[attr].to_bytes(4, "little")


def _put(vcpu: Vcpu, attr: int, data: bytes | None) -> Refused | None:
    """The value is looked at before it is known which timer it is for."""
    if vcpu.vm.gic is None:
        return Refused(device_rules.IRQ_WITHOUT_VGIC)
    asked = number(data, 4)
    if isinstance(asked, Refused):
        return asked
    if not lines.is_ppi(asked):
        return Refused(device_rules.NOT_A_PPI, f"asked for {asked}, allowed are 16 to 31")
    if _are_fixed(vcpu):
        return Refused(device_rules.TIMER_IRQ_FIXED, f"asked for {asked}")
    unknown = _has(vcpu, attr)
    if unknown is not None:
        return unknown
    irqs = _irqs(vcpu)
    irqs[attr] = asked
    if TIMER_IRQS_OF_VM not in vcpu.vm.profile:
        for other in vcpu.vm.vcpus.values():
            other.timer_irqs[:] = irqs
    return None


GROUP: Group[Vcpu] = Group(_has, _get, _put)


def enable(vcpu: Vcpu) -> Refused | None:
    """Wire a vCPU's timers, once, at its first run. Timers wired before a clash stay wired."""
    if vcpu.timers_enabled:
        return None
    if vcpu.vm.gic is not None:
        refused = _wire(vcpu)
        if refused is not None:
            return refused
        vcpu.vm.timer_irqs_fixed = True
    vcpu.timers_enabled = True
    return None


def _wire(vcpu: Vcpu) -> Refused | None:
    irqs = _irqs(vcpu)
    timers = list(_NAMES) if F.HAS_EL2 in vcpu.features else [TimerAttr.VTIMER, TimerAttr.PTIMER]
    for timer in timers:
        refused = lines.wire(vcpu, irqs[timer], f"the {_NAMES[timer]} timer")
        if refused is not None:
            why = f"the {_NAMES[timer]} timer: {refused.detail}"
            return Refused(device_rules.TIMER_IRQS_CLASH, why)
    if TIMER_IRQS_OF_VM not in vcpu.vm.profile:
        for other in vcpu.vm.vcpus.values():
            if other.timer_irqs[:2] != irqs[:2]:
                return Refused(device_rules.TIMER_IRQS_CLASH, f"vCPU {other.id} has {other.timer_irqs[:2]}")
    return None
