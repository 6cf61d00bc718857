"""KVM_RUN: the work of a first run, and what comes after.

Source: Linux arch/arm64/kvm/arm.c (kvm_arch_vcpu_run_pid_change, kvm_arch_vcpu_ioctl_run).
"""

from __future__ import annotations

from armkvm.model import rules
from armkvm.model.lifecycle import RUN
from armkvm.model.outcome import Refused
from armkvm.model.sysregs import settle
from armkvm.model.vcpu import Vcpu
from armkvm.abi.vcpu_features import VcpuFeature as F


def first_run(vcpu: Vcpu) -> Refused | None:
    """What the first KVM_RUN of a vCPU does before looking at immediate_exit.

    ID registers settle before the PMU is found unready, so a refusal here is not without effect.
    """
    # phase
    rule = vcpu.refuses.get(RUN)
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


def run(vcpu: Vcpu, immediate_exit: bool) -> Refused | None:
    """KVM_RUN; None means the guest is to be entered."""
    refused = first_run(vcpu)
    if refused is not None:
        return refused
    if immediate_exit:
        return Refused(rules.IMMEDIATE_EXIT)
    return None
