"""Which behaviours a kernel has, found by trying.

A release's number says little: stable releases and distributions bring changes to older series. Each
row tries what the behaviour's `detect` says. What a row cannot tell on a host (it lacks a PMU, a GIC,
EL2) or what can only be seen by running a guest is left as the profile of the release has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EBUSY

from armkvm.abi.attributes import VgicGroup
from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegClass
from armkvm.abi.structs import VCPU_EVENTS, DeviceType, VcpuAttr
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.idfields import field
from armkvm.arch.sysregs import sysreg
from armkvm.backends.base import Device, System, Vcpu, Vm
from armkvm.catalog import id_of, parse
from armkvm.errors import KvmError
from armkvm.model import abort_behaviours as aborts, device_behaviours as devices, vcpu_behaviours as vcpus
from armkvm.probe.scratch import gic_of, initialise, read, vcpu_of, write

_PC, _PSTATE = parse("PC"), parse("PSTATE")
_PFR0 = id_of(sysreg("ID_AA64PFR0_EL1"))
_GIC, _EL0 = field("ID_AA64PFR0_EL1", "GIC"), field("ID_AA64PFR0_EL1", "EL0")
_TCRX = field("ID_AA64MMFR3_EL1", "TCRX")
_CYCLES = 1 << 31
_ALL_CACHES = 14
_GICD_IIDR, _REVISION = 0x8, 0xF << 12
_OTHER_PPI = 20
_RES1 = 0x30C5_0830


@dataclass(frozen=True, slots=True)
class Subject:
    """The place, and what is known of it already."""

    system: System
    features: frozenset[F]
    devices: frozenset[int]

    @contextmanager
    def gic(self) -> Iterator[tuple[Vm, Vcpu, Device]]:
        """A VM with a vCPU and a GICv3 that is not initialised. `Untold` without one."""
        if DeviceType.ARM_VGIC_V3 not in self.devices:
            raise Untold
        with vcpu_of(self.system) as (vm, vcpu), gic_of(vm) as gic:
            yield vm, vcpu, gic

    @contextmanager
    def with_feature(self, feature: F) -> Iterator[Vcpu]:
        """A vCPU that has a feature. `Untold` on a host that has not."""
        if feature not in self.features:
            raise Untold
        with vcpu_of(self.system, (feature,)) as (_, vcpu):
            yield vcpu


class Untold(Exception):
    """This host cannot tell."""


Trial = Callable[[Subject], bool]


def behaviours(subject: Subject) -> dict[str, bool]:
    """What was seen, by the behaviour's name: whether the kernel has it."""
    seen = {}
    for name, trial in _TRIALS.items():
        with suppress(Untold, KvmError):
            seen[name] = trial(subject)
    return seen


def _succeeds(call: Callable[..., object], *arguments: object) -> bool:
    try:
        call(*arguments)
    except KvmError:
        return False
    return True


# -- life cycle and features -----------------------------------------------------------------------


def _events_before_init(subject: Subject) -> bool:
    with subject.system.create_vm() as vm, vm.create_vcpu(0) as vcpu:
        return _succeeds(vcpu.get_vcpu_events)


def _vm_wide_features(subject: Subject) -> bool:
    with vcpu_of(subject.system) as (vm, _), vm.create_vcpu(1) as other:
        return not _succeeds(other.init, ())


def _has_cap(cap: Cap) -> Trial:
    return lambda subject: subject.system.check_extension(cap) > 0


def _writable_masks(subject: Subject) -> bool:
    with subject.system.create_vm() as vm:
        return _succeeds(vm.writable_masks)


# -- registers -------------------------------------------------------------------------------------


def _lists(name: str, *features: F) -> Trial:
    reg = parse(name)

    def trial(subject: Subject) -> bool:
        if not subject.features.issuperset(features):
            raise Untold
        with vcpu_of(subject.system, features) as (_, vcpu):
            return reg in vcpu.reg_list()

    return trial


def _host_caches(subject: Subject) -> bool:
    with vcpu_of(subject.system) as (_, vcpu):
        return sum(reg.reg_class == RegClass.DEMUX for reg in vcpu.reg_list()) < _ALL_CACHES


def _timers_among_sysregs(subject: Subject) -> bool:
    with vcpu_of(subject.system) as (_, vcpu):
        regs = vcpu.reg_list()
        return regs.index(parse("KVM_REG_ARM_TIMER_CTL")) > regs.index(parse("SCTLR_EL1"))


def _initially(name: str, is_so: Callable[[int], bool], feature: F = F.PSCI_0_2) -> Trial:
    """Whether a fresh vCPU's register has a value of some kind."""
    reg = parse(name)

    def trial(subject: Subject) -> bool:
        with subject.with_feature(feature) as vcpu:
            return is_so(read(vcpu, reg))

    return trial


def _ungated_tcr2(subject: Subject) -> bool:
    with vcpu_of(subject.system) as (_, vcpu):
        if _TCRX.extract(read(vcpu, id_of(_TCRX.register))):
            raise Untold
        return parse("TCR2_EL1") in vcpu.reg_list()


def _keeps_el0(subject: Subject) -> bool:
    with vcpu_of(subject.system) as (vm, vcpu):
        if vm.writable_masks().get(_PFR0, 0) & _EL0.mask != _EL0.mask:
            raise Untold
        return not _succeeds(write, vcpu, _PFR0, _EL0.insert(read(vcpu, _PFR0), 0))


def _pmu_clears(subject: Subject) -> bool:
    with subject.with_feature(F.PMU_V3) as vcpu:
        write(vcpu, parse("PMCNTENSET_EL0"), _CYCLES)
        write(vcpu, parse("PMCNTENCLR_EL0"), _CYCLES)
        return not read(vcpu, parse("PMCNTENSET_EL0")) & _CYCLES


# -- attributes ------------------------------------------------------------------------------------


def _has_attr(group: int, attr: int, feature: F = F.PSCI_0_2) -> Trial:
    def trial(subject: Subject) -> bool:
        with subject.with_feature(feature) as vcpu:
            return _succeeds(vcpu.has_attr, group, attr)

    return trial


def _vm_attributes(subject: Subject) -> bool:
    with subject.system.create_vm() as vm:
        return _succeeds(vm.has_attr, 0, 0)


def _timer_irqs_of_vm(subject: Subject) -> bool:
    with subject.gic() as (vm, vcpu, _):
        vcpu.set_attr(VcpuAttr.TIMER, 0, _OTHER_PPI.to_bytes(4, "little"))
        with vm.create_vcpu(1) as later:
            later.init({F.PSCI_0_2})
            return int.from_bytes(later.get_attr(VcpuAttr.TIMER, 0, 4), "little") == _OTHER_PPI


def _maintenance_irq(subject: Subject) -> bool:
    with subject.gic() as (_, _, gic):
        return _succeeds(gic.has_attr, VgicGroup.MAINT_IRQ, 0)


def _early_distributor_id(subject: Subject) -> bool:
    with subject.gic() as (_, _, gic):
        try:
            gic.get_attr(VgicGroup.DIST_REGS, _GICD_IIDR, 4)
        except KvmError as refused:
            return refused.errno != EBUSY
        return True


def _iidr_revision_ignored(subject: Subject) -> bool:
    with subject.gic() as (_, _, gic):
        initialise(gic)
        before = int.from_bytes(gic.get_attr(VgicGroup.DIST_REGS, _GICD_IIDR, 4), "little")
        older = before - (1 << 12)
        if not before & _REVISION or not _succeeds(
            gic.set_attr, VgicGroup.DIST_REGS, _GICD_IIDR, older.to_bytes(4, "little")
        ):
            return False
        return int.from_bytes(gic.get_attr(VgicGroup.DIST_REGS, _GICD_IIDR, 4), "little") == before


def _gic_field_at_creation(subject: Subject) -> bool:
    if DeviceType.ARM_VGIC_V3 not in subject.devices:
        raise Untold
    with vcpu_of(subject.system) as (vm, vcpu):
        write(vcpu, _PFR0, _GIC.insert(read(vcpu, _PFR0), 0))
        with gic_of(vm):
            return bool(_GIC.extract(read(vcpu, _PFR0)))


def _gic_field_at_first_run(subject: Subject) -> bool:
    with subject.gic() as (_, vcpu, gic):
        write(vcpu, _PFR0, _GIC.insert(read(vcpu, _PFR0), 0))
        initialise(gic)
        _enter(vcpu)
        return bool(_GIC.extract(read(vcpu, _PFR0)))


# -- events ----------------------------------------------------------------------------------------


def _events(serror: int = 0, abort: int = 0) -> bytes:
    return VCPU_EVENTS.pack(serror, 0, abort, 0, *[0] * 12)


def _enter(vcpu: Vcpu) -> None:
    """KVM_RUN as far as everything but the guest: what a first run settles is settled."""
    with suppress(KvmError):
        vcpu.run(immediate_exit=True)


def _abort_at_once(subject: Subject) -> bool:
    with vcpu_of(subject.system) as (_, vcpu):
        vcpu.set_vcpu_events(_events(abort=1))
        return bool(read(vcpu, _PC))


def _sign_extended(subject: Subject) -> bool:
    with vcpu_of(subject.system) as (_, vcpu):
        vcpu.set_vcpu_events(_events(abort=1))
        return bool(read(vcpu, parse("ESR_EL1")) >> 32)


def _serror_at_once(subject: Subject) -> bool:
    with vcpu_of(subject.system) as (_, vcpu):
        write(vcpu, _PSTATE, 0)
        vcpu.set_vcpu_events(_events(serror=1))
        return bool(read(vcpu, _PC))


def _serror_survives(subject: Subject) -> bool:
    with vcpu_of(subject.system) as (_, vcpu):
        vcpu.set_vcpu_events(_events(serror=1))
        _enter(vcpu)
        vcpu.init({F.PSCI_0_2})
        return bool(vcpu.get_vcpu_events()[0])


_TRIALS: dict[str, Trial] = {
    vcpus.EVENTS_BEFORE_INIT: _events_before_init,
    vcpus.VM_WIDE_FEATURES: _vm_wide_features,
    vcpus.WRITABLE_ID_REGISTERS: _writable_masks,
    vcpus.WRITABLE_IMP_ID: _has_cap(Cap.ARM_WRITABLE_IMP_ID_REGS),
    vcpus.HOST_CACHE_GEOMETRY: _host_caches,
    vcpus.PHYSICAL_TIMER_IDS: _lists("KVM_REG_ARM_PTIMER_CTL"),
    vcpus.SYSREG_TABLE_IS_WHOLE: _timers_among_sysregs,
    vcpus.TIMER_ISTATUS_COMPUTED: _initially("KVM_REG_ARM_TIMER_CTL", bool),
    vcpus.UNGATED_TCR2_PIR: _ungated_tcr2,
    vcpus.VENDOR_HYP_BMAP_2: _lists("KVM_REG_ARM_VENDOR_HYP_BMAP_2"),
    vcpus.PSCI_1_3: _initially("KVM_REG_ARM_PSCI_VERSION", lambda version: version >= 0x1_0003),
    vcpus.PMMIR: _lists("PMMIR_EL1", F.PMU_V3),
    vcpus.PMU_BY_ID_REGISTERS: _initially("PMCR_EL0", lambda value: not value >> 24, F.PMU_V3),
    vcpus.PMU_SETS_AND_CLEARS: _pmu_clears,
    vcpus.KEEPS_EL0_EL1: _keeps_el0,
    vcpus.SCTLR_EL2_RES1: _initially("SCTLR_EL2", lambda value: value == _RES1, F.HAS_EL2),
    vcpus.FOUR_TIMERS: _has_attr(VcpuAttr.TIMER, 2),
    vcpus.PMU_NR_COUNTERS: _has_attr(VcpuAttr.PMU_V3, 4, F.PMU_V3),
    devices.VM_ATTRIBUTES: _vm_attributes,
    devices.TIMER_IRQS_OF_VM: _timer_irqs_of_vm,
    devices.MAINTENANCE_IRQ: _maintenance_irq,
    devices.DIST_ID_BEFORE_INIT: _early_distributor_id,
    devices.IIDR_REVISION_IGNORED: _iidr_revision_ignored,
    devices.GIC_FIELD_AT_CREATION: _gic_field_at_creation,
    devices.GIC_FIELD_AT_FIRST_RUN: _gic_field_at_first_run,
    aborts.ABORT_COMMITTED_AT_ONCE: _abort_at_once,
    aborts.ABORT_SYNDROME_SIGN_EXTENDED: _sign_extended,
    aborts.SERROR_TAKEN_AT_ONCE: _serror_at_once,
    aborts.SERROR_SURVIVES_INIT: _serror_survives,
}
