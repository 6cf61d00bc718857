"""Setting a vCPU's PMU up, KVM_ARM_VCPU_PMU_V3_CTRL, and what the first run asks of it.

Source: Linux arch/arm64/kvm/pmu-emul.c (kvm_arm_pmu_v3_set_attr, kvm_arm_pmu_v3_enable).
"""

from __future__ import annotations

from collections.abc import Callable

from armkvm.abi.attributes import PMU_EVENT_ALLOW, PMU_EVENT_DENY, PMU_EVENT_FILTER, PmuAttr
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import field
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.model import device_rules, rules
from armkvm.model.groups import Group, number, sized
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import PMU_NR_COUNTERS
from armkvm.model.vgic import lines

HOST_PMU = 8
"""The number of the one PMU a modelled host has. On a real host it is whatever sysfs says; a recording
does not tell, and nothing but KVM_ARM_VCPU_PMU_V3_SET_PMU looks at it."""

_PMUVER = field("ID_AA64DFR0_EL1", "PMUVer")
_MDCR_EL2 = int(id_of(sysreg("MDCR_EL2")))
_HPMN = 0x1F


def _has(vcpu: Vcpu, attr: int) -> Refused | None:
    known = 5 if PMU_NR_COUNTERS in vcpu.vm.profile else 4
    if F.PMU_V3 in vcpu.features and 0 <= attr < known:
        return None
    return Refused(device_rules.NO_SUCH_ATTR, f"PMU attribute {attr}")


def _get(vcpu: Vcpu, attr: int) -> bytes | Refused:
    """Only the interrupt can be read."""
    if attr != PmuAttr.IRQ:
        return Refused(device_rules.NO_SUCH_ATTR, f"PMU attribute {attr} is not read")
    if vcpu.vm.gic is None:
        return Refused(device_rules.IRQ_WITHOUT_VGIC)
    if F.PMU_V3 not in vcpu.features:
        return Refused(device_rules.NO_PMU)
    if not vcpu.pmu_irq:
        return Refused(device_rules.PMU_IRQ_UNSET)
    return vcpu.pmu_irq.to_bytes(4, "little")


def _put(vcpu: Vcpu, attr: int, data: bytes | None) -> Refused | None:
    if F.PMU_V3 not in vcpu.features:
        return Refused(device_rules.NO_PMU)
    if vcpu.pmu_ready:
        return Refused(device_rules.PMU_DONE)
    handler = _SET.get(attr)
    if handler is None or _has(vcpu, attr) is not None:
        return Refused(device_rules.NO_SUCH_ATTR, f"PMU attribute {attr}")
    return handler(vcpu, data)


GROUP: Group[Vcpu] = Group(_has, _get, _put)


def _put_irq(vcpu: Vcpu, data: bytes | None) -> Refused | None:
    if vcpu.vm.gic is None:
        return Refused(device_rules.IRQ_WITHOUT_VGIC)
    asked = number(data, 4)
    if isinstance(asked, Refused):
        return asked
    if not (lines.is_ppi(asked) or lines.is_spi(asked)):
        return Refused(device_rules.PMU_IRQ_INVALID, f"asked for {asked}")
    for other in vcpu.vm.vcpus.values():
        if other.pmu_irq and (other.pmu_irq == asked) != lines.is_ppi(asked):
            return Refused(
                device_rules.PMU_IRQ_INVALID, f"asked for {asked}, vCPU {other.id} has {other.pmu_irq}"
            )
    if vcpu.pmu_irq:
        return Refused(device_rules.PMU_IRQ_SET, f"asked for {asked}, it is {vcpu.pmu_irq}")
    vcpu.pmu_irq = asked
    return None


def _init(vcpu: Vcpu, data: bytes | None) -> Refused | None:
    """The command that ends the setup; it looks at no pointer."""
    gic = vcpu.vm.gic
    if F.PMU_V3_STRICT in vcpu.features and not vcpu.vm.pmu_chosen:
        return Refused(device_rules.PMU_NOT_CHOSEN)
    if gic is not None:
        if not gic.initialised:
            return Refused(device_rules.PMU_BEFORE_VGIC)
        if not vcpu.pmu_irq:
            return Refused(device_rules.PMU_IRQ_UNSET)
        refused = lines.wire(vcpu, vcpu.pmu_irq, f"the PMU of vCPU {vcpu.id}")
        if refused is not None:
            return refused
    vcpu.pmu_ready = True
    return None


def _put_filter(vcpu: Vcpu, data: bytes | None) -> Refused | None:
    """Which events are counted is nothing that userspace can see; that there is a filter is."""
    if data is None:
        return Refused(rules.BAD_POINTER)
    base, events, action = PMU_EVENT_FILTER.unpack(sized(data, PMU_EVENT_FILTER.size))
    known = 1 << 10 if _PMUVER.extract(vcpu.vm.platform.value(id_of(_PMUVER.register))) == 1 else 1 << 16
    if base + events > known or action not in (PMU_EVENT_ALLOW, PMU_EVENT_DENY):
        return Refused(
            device_rules.PMU_FILTER_INVALID,
            f"events {base:#x} and {events} from there, action {action}; the host has {known} events",
        )
    if vcpu.vm.has_run:
        return Refused(device_rules.PMU_FILTER_AFTER_RUN)
    vcpu.vm.pmu_filtered = True
    return None


def _choose(vcpu: Vcpu, data: bytes | None) -> Refused | None:
    """The host's only PMU, which is the default one too; a filter made before a choice prevents it."""
    asked = number(data, 4)
    if isinstance(asked, Refused):
        return asked
    if asked != HOST_PMU:
        return Refused(device_rules.NO_SUCH_PMU, f"asked for {asked}, the modelled host's is {HOST_PMU}")
    without_default = F.PMU_V3_STRICT in vcpu.features and not vcpu.vm.pmu_chosen
    if vcpu.vm.has_run or (vcpu.vm.pmu_filtered and without_default):
        return Refused(device_rules.PMU_FIXED)
    vcpu.vm.pmu_chosen = True
    _set_counters(vcpu, vcpu.vm.platform.pmu_counters)
    return None


def _put_counters(vcpu: Vcpu, data: bytes | None) -> Refused | None:
    asked = number(data, 4)
    if isinstance(asked, Refused):
        return asked
    most = vcpu.vm.platform.pmu_counters
    if F.PMU_V3_STRICT in vcpu.features and not vcpu.vm.pmu_chosen:
        return Refused(device_rules.PMU_COUNTERS_INVALID, "no PMU is chosen")
    if asked > most:
        return Refused(device_rules.PMU_COUNTERS_INVALID, f"asked for {asked}, the PMU has {most}")
    _set_counters(vcpu, asked)
    return None


def _set_counters(vcpu: Vcpu, counters: int) -> None:
    """For the whole VM; at EL2, MDCR_EL2.HPMN of every vCPU follows."""
    vcpu.vm.pmu_counters = counters
    if F.HAS_EL2 in vcpu.features:
        for other in vcpu.vm.vcpus.values():
            if _MDCR_EL2 in other.sysregs:
                other.sysregs[_MDCR_EL2] = other.sysregs[_MDCR_EL2] & ~_HPMN | counters


_SET: dict[int, Callable[[Vcpu, bytes | None], Refused | None]] = {
    PmuAttr.IRQ: _put_irq,
    PmuAttr.INIT: _init,
    PmuAttr.FILTER: _put_filter,
    PmuAttr.SET_PMU: _choose,
    PmuAttr.SET_NR_COUNTERS: _put_counters,
}


def enable(vcpu: Vcpu) -> Refused | None:
    """Whether a vCPU's PMU is ready for its first run."""
    if F.PMU_V3 not in vcpu.features:
        return None
    if not vcpu.pmu_ready:
        return Refused(device_rules.PMU_NOT_READY, "KVM_ARM_VCPU_PMU_V3_INIT is missing")
    if vcpu.vm.gic is None:
        if vcpu.pmu_irq:
            return Refused(
                device_rules.PMU_NOT_READY, f"interrupt {vcpu.pmu_irq} without an interrupt controller"
            )
    elif not lines.is_usable(vcpu, vcpu.pmu_irq):
        return Refused(
            device_rules.PMU_NOT_READY, f"the interrupt controller has no interrupt {vcpu.pmu_irq} for it"
        )
    return None
