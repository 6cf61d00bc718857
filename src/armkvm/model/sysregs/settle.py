"""How ID registers settle when a VM first runs: fields that depend on others, or on devices.

Source: Linux arch/arm64/kvm/sys_regs.c (kvm_finalize_sys_regs), vgic/vgic-init.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from armkvm.abi.regid import RegId
from armkvm.arch.fields import Field
from armkvm.arch.idfields import field
from armkvm.catalog import id_of
from armkvm.model.device_behaviours import GIC_FIELD_AT_FIRST_RUN
from armkvm.model.trap_behaviours import SETTLES_PERMISSIONS
from armkvm.model.vcpu_behaviours import WRITABLE_ID_REGISTERS
from armkvm.model.vm import Vm

if TYPE_CHECKING:
    from armkvm.arch.features import IdValues

GIC = field("ID_AA64PFR0_EL1", "GIC")
GCIE = field("ID_AA64PFR2_EL1", "GCIE")
GIC_AARCH32 = field("ID_PFR1_EL1", "GIC")
GIC_FIELDS = (GIC, GCIE, GIC_AARCH32)

# A permission scheme is worth nothing to a guest without what it is configured and tested with.
PREREQUISITES: tuple[tuple[Field, tuple[str, ...]], ...] = (
    (field("ID_AA64MMFR3_EL1", "S1PIE"), ("FEAT_TCR2", "FEAT_ATS1A")),
    (field("ID_AA64MMFR3_EL1", "S1POE"), ("FEAT_TCR2", "FEAT_ATS1A", "FEAT_HPDS")),
)


def id_registers(vm: Vm) -> None:
    """What the first run does to a VM's ID registers."""
    for part, value in list(changes(vm)):
        put(vm, part, value)
    vm.has_settled = True


def changes(vm: Vm) -> Iterator[tuple[Field, int]]:
    """Fields that a first run sets, with their values. Doing it again changes nothing more."""
    if WRITABLE_ID_REGISTERS not in vm.profile:
        return
    if vm.gic is None:  # fields that show an interrupt controller follow the one in the kernel
        for part in GIC_FIELDS:
            yield part, 0
    elif GIC_FIELD_AT_FIRST_RUN in vm.profile:
        yield from gic_fields(vm)
    if SETTLES_PERMISSIONS in vm.profile:
        for part in unsupported(lambda reg: vm.id_regs.get(int(RegId.sysreg(reg)), 0)):
            yield part, 0


def unsupported(ids: IdValues) -> list[Field]:
    """Permission schemes whose prerequisites these ID registers do not show."""
    from armkvm.arch.features import feature

    return [part for part, needed in PREREQUISITES if not all(feature(name).holds(ids) for name in needed)]


def show_gic(vm: Vm) -> None:
    """Write the fields for a GICv3, once the VM has ID registers."""
    if vm.id_regs:
        for part, value in gic_fields(vm):
            put(vm, part, value)


def gic_fields(vm: Vm) -> Iterator[tuple[Field, int]]:
    """How a GICv3 shows; in AArch32's view only if guests have it."""
    yield GIC, 1
    yield GCIE, 0
    if vm.platform.has_aarch32_el0:
        yield GIC_AARCH32, 1


def put(vm: Vm, part: Field, value: int) -> None:
    """Rewrite one field of a VM's ID register."""
    reg = int(id_of(part.register))
    vm.id_regs[reg] = part.insert(vm.id_regs[reg], value)
