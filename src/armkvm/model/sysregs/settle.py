"""How ID registers settle when a VM first runs: fields that depend on others, or on devices.

Source: Linux arch/arm64/kvm/sys_regs.c (kvm_finalize_sys_regs), vgic/vgic-init.c.
"""

from __future__ import annotations

from armkvm.arch.fields import Field
from armkvm.arch.idfields import field
from armkvm.catalog import id_of
from armkvm.model.device_behaviours import GIC_FIELD_AT_FIRST_RUN
from armkvm.model.profile import WRITABLE_ID_REGISTERS
from armkvm.model.vm import Vm

GIC = field("ID_AA64PFR0_EL1", "GIC")
GCIE = field("ID_AA64PFR2_EL1", "GCIE")
GIC_AARCH32 = field("ID_PFR1_EL1", "GIC")
GIC_FIELDS = (GIC, GCIE, GIC_AARCH32)


def id_registers(vm: Vm) -> None:
    """Fields that show the interrupt controller follow the one in the kernel, or show none."""
    vm.has_settled = True
    if WRITABLE_ID_REGISTERS not in vm.profile:
        return
    if vm.gic is None:
        for part in GIC_FIELDS:
            put(vm, part, 0)
    elif GIC_FIELD_AT_FIRST_RUN in vm.profile:
        show_gic(vm)


def show_gic(vm: Vm) -> None:
    """Write the fields for a GICv3, once the VM has ID registers; AArch32's only if guests have it."""
    if not vm.id_regs:
        return
    put(vm, GIC, 1)
    put(vm, GCIE, 0)
    if vm.platform.has_aarch32_el0:
        put(vm, GIC_AARCH32, 1)


def put(vm: Vm, part: Field, value: int) -> None:
    """Rewrite one field of a VM's ID register."""
    reg = int(id_of(part.register))
    vm.id_regs[reg] = part.insert(vm.id_regs[reg], value)
