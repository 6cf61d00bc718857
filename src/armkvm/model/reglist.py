"""What KVM_GET_REG_LIST yields: blocks in a fixed order, each knowing its own members.

Source: Linux arch/arm64/kvm/guest.c (kvm_arm_copy_reg_indices).
"""

from __future__ import annotations

from armkvm.model import caches, core_regs, firmware, vectors
from armkvm.model.sysregs import catalogue
from armkvm.model.vcpu import Vcpu


def listed(vcpu: Vcpu) -> list[int]:
    """Every register id of a vCPU, in order."""
    with_v = vectors.has_v_registers(vcpu)
    return [
        *(reg for reg in core_regs.ALL if with_v or reg not in core_regs.V),
        *vectors.listed(vcpu),
        *firmware.listed(vcpu),
        *catalogue.listed(vcpu),
        *caches.listed(vcpu),
    ]
