"""What KVM_GET_REG_LIST yields: blocks in a fixed order, each knowing its own members.

Source: Linux arch/arm64/kvm/guest.c (kvm_arm_copy_reg_indices).
"""

from __future__ import annotations

from armkvm.model import caches, core_regs, firmware, matrix, rules, vectors
from armkvm.model.lifecycle import GET_REG_LIST
from armkvm.model.outcome import Refused
from armkvm.model.sysregs import catalogue
from armkvm.model.vcpu import Vcpu


def listed(vcpu: Vcpu) -> list[int]:
    """Every register id of a vCPU, in order."""
    with_v = vectors.has_v_registers(vcpu)
    return [
        *(reg for reg in core_regs.ALL if with_v or reg not in core_regs.V),
        *vectors.listed(vcpu),
        *matrix.listed(vcpu),
        *firmware.listed(vcpu),
        *catalogue.listed(vcpu),
        *caches.listed(vcpu),
    ]


def get_reg_list(vcpu: Vcpu, n: int | None = None) -> list[int] | Refused:
    """KVM_GET_REG_LIST with room for `n` ids, or for all of them."""
    rule = vcpu.admit(GET_REG_LIST)
    if rule is not None:
        return Refused(rule, count=n)
    ids = listed(vcpu)
    if n is not None and n < len(ids):
        return Refused(rules.LIST_TOO_SMALL, f"{n} offered, {len(ids)} needed", count=len(ids))
    return ids
