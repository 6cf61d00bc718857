"""KVM_RUN: the work of a first run, and what comes after.

Source: Linux arch/arm64/kvm/arm.c (kvm_arch_vcpu_run_pid_change, kvm_arch_vcpu_ioctl_run).
"""

from __future__ import annotations

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.errors import PlaceError
from armkvm.model import aborts, pmu_setup, rules, timer_irqs
from armkvm.model.lifecycle import RUN
from armkvm.model.outcome import Refused
from armkvm.model.profile import HOST_CACHE_GEOMETRY
from armkvm.model.sysregs import settle
from armkvm.model.vcpu import Vcpu
from armkvm.model.vgic import cpuif, device as gicv3, lines
from armkvm.state import Exit

MAINTENANCE_PPI = 25
"""A GICv3's maintenance interrupt, for guests with EL2, unless userspace says otherwise."""


def first_run(vcpu: Vcpu) -> Refused | None:
    """What the first KVM_RUN of a vCPU does before looking at immediate_exit.

    What was done before a refusal stays: addresses are mapped (or the VM is dead), ID registers
    have settled, interrupts are wired.
    """
    # phase
    rule = vcpu.admit(RUN)
    if rule is not None:
        return Refused(rule)
    if vcpu.has_run:
        return None
    # effect
    refused = gicv3.map_resources(vcpu.vm)
    if refused is not None:
        return refused
    settle.id_registers(vcpu.vm)
    refused = _wire_maintenance(vcpu) or timer_irqs.enable(vcpu) or pmu_setup.enable(vcpu)
    if refused is not None:
        return refused
    vcpu.has_run = True
    vcpu.vm.has_run = True
    return None


def _wire_maintenance(vcpu: Vcpu) -> Refused | None:
    """A vCPU with EL2 needs the interrupt that tells its hypervisor about list registers."""
    if F.HAS_EL2 not in vcpu.features:
        return None
    gic = vcpu.vm.gic
    if gic is not None and not gic.maintenance_irq:
        gic.maintenance_irq = MAINTENANCE_PPI
    return lines.wire(vcpu, gic.maintenance_irq if gic else MAINTENANCE_PPI, "the GIC's maintenance")


# What a CPU keeps of EL1 registers it once held: some it does not implement, of some it drops
# reserved bits. Seen alike on every CPU recorded; other designs may keep other reserved bits.
_KEPT = {
    int(id_of(sysreg(name))): mask
    for name, mask in (
        ("AFSR0_EL1", 0),
        ("AFSR1_EL1", 0),
        ("AMAIR_EL1", 0),
        ("SCTLR_EL1", 0xFFFF_F01F_FFFF_FFFF),
        ("VBAR_EL1", 0xFFFF_FFFF_FFFF_FFE0),
    )
}

_CSSELR = int(id_of(sysreg("CSSELR_EL1")))


def _load(vcpu: Vcpu) -> None:
    """Put the vCPU on a CPU and take it off again: with VHE its EL1 registers pass through hardware."""
    if vcpu.vm.platform.has_vhe:
        for reg, kept in _KEPT.items():
            vcpu.sysregs[reg] &= kept
        if HOST_CACHE_GEOMETRY in vcpu.vm.profile:  # later kernels emulate it, with the caches
            vcpu.sysregs[_CSSELR] &= 0xF
    if vcpu.vm.gic is not None:
        cpuif.pass_through_hardware(vcpu)


def run(vcpu: Vcpu, immediate_exit: bool) -> Exit | Refused:
    """KVM_RUN."""
    refused = first_run(vcpu)
    if refused is not None:
        return refused
    _load(vcpu)
    aborts.commit(vcpu)
    if immediate_exit:
        return Refused(rules.IMMEDIATE_EXIT)
    raise PlaceError("the model does not execute guest code yet; run with immediate_exit, or on a real KVM")
