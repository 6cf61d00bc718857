"""What a reset leaves behind, at KVM_ARM_VCPU_INIT.

Source: Linux arch/arm64/kvm/reset.c (kvm_reset_vcpu), sys_regs.c (kvm_reset_sys_regs).
"""

from __future__ import annotations

from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.model import caches, core_regs, matrix, vectors
from armkvm.model.abort_behaviours import SERROR_SURVIVES_INIT
from armkvm.model.sysregs.catalogue import RESET_BY, RESET_VALUES
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import VM_WIDE_FEATURES

# Worked out once in a vCPU's life where the VM owns its identity; userspace's values survive.
_IDENTITY = {int(id_of(sysreg(name))) for name in ("MPIDR_EL1", "CLIDR_EL1")}


def reset(vcpu: Vcpu) -> None:
    """Give every register its reset value, except what belongs to the VM or is set only once."""
    first = not vcpu.sysregs
    keep = set() if first or VM_WIDE_FEATURES not in vcpu.vm.profile else _IDENTITY
    if not vcpu.has_run or SERROR_SURVIVES_INIT not in vcpu.vm.profile:
        vcpu.serror = (0, 0)
    core_regs.reset(vcpu)
    vcpu.ich.clear()
    vectors.reset(vcpu)
    matrix.reset(vcpu)
    vcpu.sysregs.update(RESET_VALUES)
    for row, value in RESET_BY:
        if row.id not in keep:
            vcpu.sysregs[row.id] = value(vcpu, row)
    if first:
        caches.reset(vcpu)
