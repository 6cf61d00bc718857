"""A GICv3's life, and its attributes by group.

Source: Linux arch/arm64/kvm/vgic/vgic-init.c, vgic-kvm-device.c.
"""

from __future__ import annotations

from armkvm.abi import attributes as abi
from armkvm.abi.attributes import VgicCtrl, VgicGroup
from armkvm.model import device_rules
from armkvm.model.device_behaviours import DIST_ID_BEFORE_INIT, GIC_FIELD_AT_CREATION, MAINTENANCE_IRQ
from armkvm.model.groups import Group, number
from armkvm.model.outcome import Refused
from armkvm.model.sysregs import settle
from armkvm.model.vcpu import Vcpu
from armkvm.model.vgic import addresses, cpuif, frames
from armkvm.model.vgic.record import DEFAULT_IRQS, PRIVATE, SGIS, Irq, VcpuGic, Vgic, part
from armkvm.model.vm import Vm

_LEAST_IRQS, _MOST_IRQS = 64, 992


# -- life --------------------------------------------------------------------------------------


def create(vm: Vm) -> Refused | None:
    """KVM_CREATE_DEVICE of a GICv3."""
    if vm.gic is not None:
        return Refused(device_rules.VGIC_EXISTS)
    ran = [vcpu.id for vcpu in vm.vcpus.values() if vcpu.has_run]
    if ran:
        return Refused(device_rules.VGIC_AFTER_RUN, f"vCPU {ran[0]} has")
    vm.gic = Vgic(vm.has_its)
    for vcpu in vm.vcpus.values():
        vcpu.gic = VcpuGic(vm.platform.gic)
    if GIC_FIELD_AT_CREATION in vm.profile:
        settle.show_gic(vm)
    return None


def adopt(vcpu: Vcpu) -> Refused | None:
    """A vCPU created after the GIC gets its part of it, if it can."""
    vcpu.gic = VcpuGic(vcpu.vm.platform.gic)
    return addresses.place(vcpu)


def initialise(vm: Vm) -> Refused | None:
    """KVM_DEV_ARM_VGIC_CTRL_INIT; harmless when repeated."""
    gic = vm.in_kernel_gic
    if gic.initialised:
        return None
    gic.nr_spis = gic.nr_spis or DEFAULT_IRQS - PRIVATE
    gic.spis = [Irq() for _ in range(gic.nr_spis)]
    for vcpu in vm.vcpus.values():
        part(vcpu).initialise(vm.platform.gic)
    gic.initialised = True
    return None


def map_resources(vm: Vm) -> Refused | None:
    """What a VM's first KVM_RUN does with its GIC; a failure ends the VM."""
    gic = vm.gic
    if gic is None or gic.ready:
        return None
    refused = addresses.check_complete(vm)
    if refused is None and not gic.initialised:
        refused = Refused(device_rules.VGIC_NOT_INITIALISED)
    if refused is None:
        gic.ready = True
    else:
        vm.die()
    return refused


# -- control and sizes -------------------------------------------------------------------------


def _has_control(vm: Vm, attr: int) -> Refused | None:
    if attr in (VgicCtrl.INIT, VgicCtrl.SAVE_PENDING_TABLES):
        return None
    return Refused(device_rules.NO_SUCH_ATTR, f"control {attr}")


def _put_control(vm: Vm, attr: int, data: bytes | None) -> Refused | None:
    """Commands, which look at no pointer."""
    if attr == VgicCtrl.INIT:
        return initialise(vm)
    unknown = _has_control(vm, attr)
    if unknown is None and not vm.in_kernel_gic.initialised:
        return Refused(device_rules.TABLES_BEFORE_INIT)
    return unknown


def _any(vm: Vm, attr: int) -> Refused | None:
    return None


def _get_nr_irqs(vm: Vm, attr: int) -> bytes:
    return vm.in_kernel_gic.nr_irqs.to_bytes(4, "little")


def _put_nr_irqs(vm: Vm, attr: int, data: bytes | None) -> Refused | None:
    asked = number(data, 4)
    if isinstance(asked, Refused):
        return asked
    if not _LEAST_IRQS <= asked <= _MOST_IRQS or asked % 32:
        return Refused(device_rules.NR_IRQS_INVALID, f"asked for {asked}")
    gic = vm.in_kernel_gic
    if gic.nr_spis:
        return Refused(device_rules.NR_IRQS_SET, f"asked for {asked}, it is {gic.nr_irqs}")
    gic.nr_spis = asked - PRIVATE
    return None


def _has_maintenance_irq(vm: Vm, attr: int) -> Refused | None:
    if MAINTENANCE_IRQ in vm.profile:
        return None
    return Refused(device_rules.NO_SUCH_ATTR, f"group {VgicGroup.MAINT_IRQ}")


def _get_maintenance_irq(vm: Vm, attr: int) -> bytes | Refused:
    return _has_maintenance_irq(vm, attr) or vm.in_kernel_gic.maintenance_irq.to_bytes(4, "little")


def _put_maintenance_irq(vm: Vm, attr: int, data: bytes | None) -> Refused | None:
    unknown = _has_maintenance_irq(vm, attr)
    if unknown is not None:
        return unknown
    asked = number(data, 4)
    if isinstance(asked, Refused):
        return asked
    if vm.in_kernel_gic.initialised:
        return Refused(device_rules.MAINTENANCE_IRQ_FIXED, f"asked for {asked}")
    if not SGIS <= asked < PRIVATE:
        return Refused(device_rules.NOT_A_PPI, f"asked for {asked}")
    vm.in_kernel_gic.maintenance_irq = asked
    return None


# -- registers ---------------------------------------------------------------------------------


def _named(vm: Vm, attr: int) -> Vcpu | Refused:
    """The vCPU whose affinity an attribute gives, as its MPIDR_EL1 has it now."""
    wanted = abi.affinity(attr)
    for vcpu in vm.vcpus.values():
        if vcpu.affinity == wanted:
            return vcpu
    return Refused(device_rules.NO_VCPU_OF_AFFINITY, f"affinity {wanted:#x}")


def _first(vm: Vm, attr: int) -> Vcpu | Refused:
    """The distributor is seen through the first vCPU."""
    for vcpu in vm.vcpus.values():
        return vcpu
    return Refused(device_rules.NO_VCPU_OF_AFFINITY, "the VM has no vCPU")


def _uninitialised(vm: Vm) -> Refused | None:
    return None if vm.in_kernel_gic.initialised else Refused(device_rules.VGIC_NOT_INITIALISED)


def _has_cpuif(vm: Vm, attr: int) -> Refused | None:
    vcpu = _named(vm, attr)
    if isinstance(vcpu, Refused):
        return vcpu
    row = cpuif.find(vcpu, attr)
    return Refused(device_rules.NO_SUCH_ATTR, row.detail) if isinstance(row, Refused) else None


def _get_cpuif(vm: Vm, attr: int) -> bytes | Refused:
    vcpu = _named(vm, attr)
    if isinstance(vcpu, Refused):
        return vcpu
    return _uninitialised(vm) or cpuif.get(vcpu, attr)


def _put_cpuif(vm: Vm, attr: int, data: bytes | None) -> Refused | None:
    vcpu = _named(vm, attr)
    if isinstance(vcpu, Refused):
        return vcpu
    return _uninitialised(vm) or cpuif.put(vcpu, attr, data)


def _registers(of_distributor: bool) -> Group[Vm]:
    """The words of one kind of frame."""
    which = frames.DISTRIBUTOR if of_distributor else frames.REDISTRIBUTOR
    choose = _first if of_distributor else _named
    early = (frames.GICD_IIDR, frames.GICD_TYPER2) if of_distributor else ()

    def not_yet(vm: Vm, offset: int) -> Refused | None:
        if offset in early and DIST_ID_BEFORE_INIT in vm.profile:
            return None
        return _uninitialised(vm)

    def has(vm: Vm, attr: int) -> Refused | None:
        vcpu, offset = choose(vm, attr), abi.offset(attr)
        if isinstance(vcpu, Refused):
            return vcpu
        if frames.find(which, vcpu, offset) is None:
            return Refused(device_rules.NO_SUCH_ATTR, f"offset {offset:#x}")
        return None

    def get(vm: Vm, attr: int) -> bytes | Refused:
        vcpu, offset = choose(vm, attr), abi.offset(attr)
        if isinstance(vcpu, Refused):
            return vcpu
        return not_yet(vm, offset) or frames.read(which, vcpu, offset).to_bytes(4, "little")

    def put(vm: Vm, attr: int, data: bytes | None) -> Refused | None:
        vcpu, offset = choose(vm, attr), abi.offset(attr)
        if isinstance(vcpu, Refused):
            return vcpu
        value = number(data, 4)
        if isinstance(value, Refused):
            return value
        return not_yet(vm, offset) or frames.write(which, vcpu, offset, value)

    return Group(has, get, put)


def _has_levels(vm: Vm, attr: int) -> Refused | None:
    kind, _ = abi.level_info(attr)
    return Refused(device_rules.NO_SUCH_ATTR, f"information {kind}") if kind else None


def _check_levels(vm: Vm, attr: int) -> Refused | None:
    kind, first = abi.level_info(attr)
    if kind or first % 32:
        return Refused(device_rules.LEVEL_INFO_INVALID, f"information {kind}, from interrupt {first}")
    return None


def _get_levels(vm: Vm, attr: int) -> bytes | Refused:
    vcpu = _named(vm, attr)
    if isinstance(vcpu, Refused):
        return vcpu
    refused = _uninitialised(vm) or _check_levels(vm, attr)
    return refused or frames.read_levels(vcpu, abi.level_info(attr)[1]).to_bytes(4, "little")


def _put_levels(vm: Vm, attr: int, data: bytes | None) -> Refused | None:
    vcpu = _named(vm, attr)
    if isinstance(vcpu, Refused):
        return vcpu
    value = number(data, 4)
    if isinstance(value, Refused):
        return value
    refused = _uninitialised(vm) or _check_levels(vm, attr)
    if refused is None:
        frames.write_levels(vcpu, abi.level_info(attr)[1], value)
    return refused


GROUPS: dict[int, Group[Vm]] = {
    VgicGroup.ADDR: Group(addresses.has, addresses.get, addresses.put),
    VgicGroup.DIST_REGS: _registers(of_distributor=True),
    VgicGroup.NR_IRQS: Group(_any, _get_nr_irqs, _put_nr_irqs),
    VgicGroup.CTRL: Group(_has_control, None, _put_control),
    VgicGroup.REDIST_REGS: _registers(of_distributor=False),
    VgicGroup.CPU_SYSREGS: Group(_has_cpuif, _get_cpuif, _put_cpuif),
    VgicGroup.LEVEL_INFO: Group(_has_levels, _get_levels, _put_levels),
    VgicGroup.MAINT_IRQ: Group(_has_maintenance_irq, _get_maintenance_irq, _put_maintenance_irq),
}
