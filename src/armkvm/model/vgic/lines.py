"""Interrupt lines: which numbers are what, and the devices wired to them.

Source: Linux arch/arm64/kvm/vgic/vgic.c (kvm_vgic_set_owner).
"""

from __future__ import annotations

from armkvm.model import device_rules
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu
from armkvm.model.vgic.record import PRIVATE, SGIS

_LAST_SPI = 1019


def is_ppi(intid: int) -> bool:
    """A private interrupt of a vCPU that devices can use."""
    return SGIS <= intid < PRIVATE


def is_spi(intid: int) -> bool:
    """A shared interrupt, whether or not the GIC has that many."""
    return PRIVATE <= intid <= _LAST_SPI


def is_usable(vcpu: Vcpu, intid: int) -> bool:
    """Whether a device of this vCPU can be wired to an interrupt."""
    return is_ppi(intid) or (is_spi(intid) and intid < vcpu.vm.in_kernel_gic.nr_irqs)


def wire(vcpu: Vcpu, intid: int, owner: object) -> Refused | None:
    """Give an interrupt to a device, unless another has it."""
    if vcpu.vm.gic is None or not vcpu.vm.gic.initialised:
        return Refused(device_rules.NESTED_WITHOUT_VGIC)
    if not is_usable(vcpu, intid):
        return Refused(device_rules.IRQ_UNWIRED, f"interrupt {intid}")
    irq = vcpu.vm.gic.irq(vcpu, intid)
    if irq.owner not in (None, owner):
        return Refused(device_rules.IRQ_OWNED, f"interrupt {intid} belongs to {irq.owner}")
    irq.owner = owner
    return None
