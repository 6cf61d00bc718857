"""How ID registers settle when a VM first runs: fields that depend on others, or on devices.

Source: Linux arch/arm64/kvm/sys_regs.c (kvm_finalize_sys_regs).
"""

from __future__ import annotations

from armkvm.arch.fields import Field
from armkvm.arch.idfields import field
from armkvm.catalog import id_of
from armkvm.model.profile import WRITABLE_ID_REGISTERS
from armkvm.model.vm import Vm

GIC_FIELDS = (
    field("ID_AA64PFR0_EL1", "GIC"),
    field("ID_AA64PFR2_EL1", "GCIE"),
    field("ID_PFR1_EL1", "GIC"),
)


def id_registers(vm: Vm) -> None:
    """Without an in-kernel interrupt controller, no field shows one."""
    vm.has_settled = True
    if WRITABLE_ID_REGISTERS not in vm.profile:
        return
    for part in GIC_FIELDS:
        put(vm, part, 0)


def put(vm: Vm, part: Field, value: int) -> None:
    """Rewrite one field of a VM's ID register."""
    reg = int(id_of(part.register))
    vm.id_regs[reg] = part.insert(vm.id_regs[reg], value)
