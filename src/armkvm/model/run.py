"""KVM_RUN: the work of a first run, and what comes after.

Source: Linux arch/arm64/kvm/arm.c (kvm_arch_vcpu_run_pid_change, kvm_arch_vcpu_ioctl_run).
"""

from __future__ import annotations

from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.errors import PlaceError
from armkvm.model import rules
from armkvm.model.lifecycle import RUN
from armkvm.model.outcome import Refused
from armkvm.model.sysregs import settle
from armkvm.model.vcpu import Vcpu
from armkvm.state import Exit


def first_run(vcpu: Vcpu) -> Refused | None:
    """What the first KVM_RUN of a vCPU does before looking at immediate_exit.

    ID registers settle before the PMU is found unready, so a refusal here is not without effect.
    """
    # phase
    rule = vcpu.admit(RUN)
    if rule is not None:
        return Refused(rule)
    if vcpu.has_run:
        return None
    # effect
    settle.id_registers(vcpu.vm)
    if F.PMU_V3 in vcpu.features:
        return Refused(rules.PMU_NOT_READY)
    vcpu.has_run = True
    vcpu.vm.has_run = True
    return None


# Registers that no CPU known here implements: they hold nothing once the CPU held them.
_UNIMPLEMENTED = tuple(int(id_of(sysreg(name))) for name in ("AFSR0_EL1", "AFSR1_EL1", "AMAIR_EL1"))


def _load(vcpu: Vcpu) -> None:
    """Put the vCPU on a CPU and take it off again: with VHE its EL1 registers pass through hardware."""
    if vcpu.vm.platform.has_vhe:
        for reg in _UNIMPLEMENTED:
            vcpu.sysregs[reg] = 0


def run(vcpu: Vcpu, immediate_exit: bool) -> Exit | Refused:
    """KVM_RUN."""
    refused = first_run(vcpu)
    if refused is not None:
        return refused
    _load(vcpu)
    if immediate_exit:
        return Refused(rules.IMMEDIATE_EXIT)
    raise PlaceError("the model does not execute guest code yet; run with immediate_exit, or on a real KVM")
