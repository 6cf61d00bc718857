"""A GICv3's life: creation, addresses, sizes, what a run asks of it, and how a VM dies."""

from __future__ import annotations

from collections.abc import Callable
from errno import (
    E2BIG,
    EAGAIN,
    EBUSY,
    EEXIST,
    EFAULT,
    EINVAL,
    EIO,
    ENODEV,
    ENOENT,
    ENXIO,
)

import pytest
from tests.gics import (
    DIST,
    REDIST,
    UNDEF,
    address,
    gicr,
    initialise,
    ready,
    run,
)
from tests.small_hosts import (
    DEVICES,
    EL2,
    PLAIN,
    PMU,
    VALUES,
    gic_of,
    host,
    number,
    refused,
    u32,
    u64,
    vcpus,
    vm_with_vcpus,
)

from armkvm.abi.attributes import VgicAddr, VgicCtrl, VgicGroup, cpu_sysreg, region
from armkvm.abi.caps import Cap
from armkvm.abi.structs import DeviceType
from armkvm.arch.sysregs import sysreg
from armkvm.backends.model import ModelVm
from armkvm.catalog import id_of
from armkvm.errors import PlaceError

# -- creation ----------------------------------------------------------------------------------


def test_a_test_creates_nothing() -> None:
    vm = host().create_vm()
    assert vm.create_device(DeviceType.ARM_VGIC_V3, test=True) is None
    gic_of(vm)
    assert vm.create_device(DeviceType.ARM_VGIC_V3, test=True) is None


@pytest.mark.parametrize("kind", [DeviceType.ARM_VGIC_V2, DeviceType.ARM_PV_TIME, 99])
def test_types_that_the_host_does_not_offer_are_unknown(kind: int) -> None:
    with refused(ENODEV, "no-such-device"):
        host().create_vm().create_device(kind)


def test_a_type_that_is_offered_but_not_modelled_says_so() -> None:
    vm = host(devices=(*DEVICES, DeviceType.ARM_VGIC_V2)).create_vm()
    assert vm.create_device(DeviceType.ARM_VGIC_V2, test=True) is None
    with pytest.raises(PlaceError, match="does not emulate KVM_DEV_TYPE_ARM_VGIC_V2"):
        vm.create_device(DeviceType.ARM_VGIC_V2)


def test_there_is_one_controller_and_it_comes_before_the_first_run() -> None:
    vm = vm_with_vcpus(host())
    gic_of(vm)
    with refused(EEXIST, "vgic-exists"):
        gic_of(vm)
    other = vm_with_vcpus(host())
    run(vcpus(other)[0])
    with refused(EBUSY, "vgic-after-run", "vCPU 0 has"):
        gic_of(other)


def test_a_failed_first_run_is_no_run() -> None:
    """A vCPU whose PMU was not ready has not run, so a controller can still come."""
    vm = vm_with_vcpus(host(), 1, PMU)
    with refused(EINVAL, "pmu-not-ready"):
        vcpus(vm)[0].run(immediate_exit=True)
    gic_of(vm)


# -- ID registers ------------------------------------------------------------------------------

GIC_FIELDS = {"ID_AA64PFR0_EL1": 24, "ID_PFR1_EL1": 28}


def shown(vm: ModelVm) -> dict[str, int]:
    """What the ID registers say of a GIC."""
    values = {name: vcpus(vm)[0].get_one_reg(id_of(sysreg(name))) for name in GIC_FIELDS}
    return {name: number(value) >> GIC_FIELDS[name] & 0xF for name, value in values.items()}


def hide(vm: ModelVm) -> None:
    """Clear the AArch64 field, as a VMM without a GICv3 does."""
    vcpus(vm)[0].set_one_reg(id_of(sysreg("ID_AA64PFR0_EL1")), u64(VALUES["ID_AA64PFR0_EL1"] & ~(0xF << 24)))


@pytest.mark.parametrize(
    ("kernel", "at_creation", "at_first_run"),
    [("6.12", 0, 0), ("6.18", 1, 0), ("7.0", 1, 0), ("7.2", 1, 1), ("7.3", 1, 1)],
)
def test_kernels_differ_in_when_they_show_the_gic(kernel: str, at_creation: int, at_first_run: int) -> None:
    vm = vm_with_vcpus(host(kernel))
    hide(vm)
    gic = gic_of(vm)
    assert shown(vm) == {"ID_AA64PFR0_EL1": at_creation, "ID_PFR1_EL1": 1}
    hide(vm)
    address(gic, VgicAddr.DIST, DIST)
    address(gic, VgicAddr.REDIST, REDIST)
    initialise(gic)
    run(vcpus(vm)[0])
    assert shown(vm) == {"ID_AA64PFR0_EL1": at_first_run, "ID_PFR1_EL1": 1}


@pytest.mark.parametrize("kernel", ["6.18", "7.3"])
def test_aarch32_shows_no_gic_where_guests_have_no_aarch32(kernel: str) -> None:
    vm = vm_with_vcpus(host(kernel, values=VALUES | {"ID_AA64PFR0_EL1": 0x0100_0011, "ID_PFR1_EL1": 0}))
    ready(vm)
    run(vcpus(vm)[0])
    assert shown(vm) == {"ID_AA64PFR0_EL1": 1, "ID_PFR1_EL1": 0}


# -- addresses ---------------------------------------------------------------------------------


def test_addresses_read_as_all_ones_until_they_are_set() -> None:
    gic = gic_of(vm_with_vcpus(host()))
    for kind, value in ((VgicAddr.DIST, DIST), (VgicAddr.REDIST, REDIST)):
        assert number(gic.get_attr(VgicGroup.ADDR, kind)) == UNDEF
        address(gic, kind, value)
        assert number(gic.get_attr(VgicGroup.ADDR, kind)) == value


@pytest.mark.parametrize("kind", [VgicAddr.DIST, VgicAddr.REDIST])
@pytest.mark.parametrize(
    ("value", "errno", "rule"),
    [
        (DIST | 1, EINVAL, "vgic-address-misaligned"),
        (DIST | 0x1000, EINVAL, "vgic-address-misaligned"),
        (UNDEF & ~0xFFFF, EINVAL, "vgic-frames-overlap"),  # wraps
        (1 << 40, E2BIG, "vgic-address-beyond-ipa"),
        (1 << 60, E2BIG, "vgic-address-beyond-ipa"),
    ],
)
def test_an_address_is_aligned_and_inside_the_vm(kind: int, value: int, errno: int, rule: str) -> None:
    gic = gic_of(vm_with_vcpus(host()))
    with refused(errno, rule):
        address(gic, kind, value)
    address(gic, kind, DIST)
    with refused(EEXIST, "vgic-address-set", f"asked for {REDIST:#x}, it is {DIST:#x}"):
        address(gic, kind, REDIST)


def test_the_last_frames_of_the_address_space_can_be_used() -> None:
    gic = gic_of(vm_with_vcpus(host()))
    with refused(E2BIG, "vgic-address-beyond-ipa"):
        address(gic, VgicAddr.REDIST, (1 << 40) - (64 << 10))
    address(gic, VgicAddr.DIST, (1 << 40) - (64 << 10))
    address(gic, VgicAddr.REDIST, (1 << 40) - (192 << 10))


@pytest.mark.parametrize("kind", [0, 1, VgicAddr.ITS, 6])
def test_a_gicv3_has_no_other_addresses(kind: int) -> None:
    gic = gic_of(vm_with_vcpus(host()))
    for call in (gic.has_attr, gic.get_attr):
        with refused(ENXIO, "no-such-attribute"):
            call(VgicGroup.ADDR, kind)
    with refused(EFAULT, "bad-pointer"):
        gic.set_attr_null(VgicGroup.ADDR, kind)
    with refused(ENXIO, "no-such-attribute"):
        address(gic, kind, DIST)


def test_redistributors_keep_clear_of_a_distributor_that_is_there() -> None:
    gic = gic_of(vm_with_vcpus(host(), 2))
    address(gic, VgicAddr.DIST, DIST)
    for overlapping in (DIST, DIST - (128 << 10)):
        with refused(EINVAL, "vgic-frames-overlap", "meets the distributor"):
            address(gic, VgicAddr.REDIST, overlapping)
    address(gic, VgicAddr.REDIST, DIST - (256 << 10))


REGION_A, REGION_B = region(0, REDIST, 1), region(1, REDIST + (128 << 10), 2)


def test_regions_come_in_order_and_can_be_read_back() -> None:
    gic = gic_of(vm_with_vcpus(host(), 2))
    with refused(ENOENT, "no-redistributor-region"):
        gic.get_attr(VgicGroup.ADDR, VgicAddr.REDIST_REGION)
    with refused(EINVAL, "redistributor-region-out-of-order", "the first index is 1"):
        address(gic, VgicAddr.REDIST_REGION, REGION_B)
    address(gic, VgicAddr.REDIST_REGION, REGION_A)
    assert number(gic.get_attr(VgicGroup.ADDR, VgicAddr.REDIST_REGION)) == REGION_A
    with refused(EINVAL, "redistributor-region-out-of-order", "index 2 after 0"):
        address(gic, VgicAddr.REDIST_REGION, region(2, REDIST + (128 << 10), 1))
    with refused(EINVAL, "vgic-frames-overlap", "meets another region"):
        address(gic, VgicAddr.REDIST_REGION, region(1, REDIST, 1))
    with refused(EINVAL, "redistributor-region-out-of-order"):
        address(gic, VgicAddr.REDIST, REDIST + (512 << 10))
    address(gic, VgicAddr.REDIST_REGION, REGION_B)


@pytest.mark.parametrize("word", [region(0, REDIST, 0), region(0, REDIST, 1) | 1 << 12])
def test_a_region_has_redistributors_and_no_flags(word: int) -> None:
    gic = gic_of(vm_with_vcpus(host()))
    with refused(EINVAL, "redistributor-region-malformed"):
        address(gic, VgicAddr.REDIST_REGION, word)


def test_the_second_kind_of_region_after_the_first_is_refused_by_index() -> None:
    """A single region is number 0; the next region would be number 1."""
    gic = gic_of(vm_with_vcpus(host()))
    address(gic, VgicAddr.REDIST, REDIST)
    with refused(EINVAL, "redistributor-region-out-of-order"):
        address(gic, VgicAddr.REDIST_REGION, region(0, REDIST + (1 << 20), 1))


# -- sizes and control -------------------------------------------------------------------------


def test_the_number_of_interrupts_defaults_at_initialisation() -> None:
    gic = gic_of(vm_with_vcpus(host()))
    assert number(gic.get_attr(VgicGroup.NR_IRQS, 0, 4)) == 32
    initialise(gic)
    assert number(gic.get_attr(VgicGroup.NR_IRQS, 0, 4)) == 256
    with refused(EBUSY, "nr-irqs-set", "asked for 64, it is 256"):
        gic.set_attr(VgicGroup.NR_IRQS, 0, u32(64))


@pytest.mark.parametrize(
    ("asked", "taken"), [(0, 0), (32, 0), (63, 0), (64, 1), (96, 1), (992, 1), (1023, 0), (1024, 0)]
)
def test_the_number_of_interrupts_is_a_multiple_of_32_from_64_to_992(asked: int, taken: int) -> None:
    gic = gic_of(vm_with_vcpus(host()))
    if taken:
        gic.set_attr(VgicGroup.NR_IRQS, 0, u32(asked))
        assert number(gic.get_attr(VgicGroup.NR_IRQS, 0, 4)) == asked
    else:
        with refused(EINVAL, "nr-irqs-invalid", f"asked for {asked}"):
            gic.set_attr(VgicGroup.NR_IRQS, 0, u32(asked))


def test_a_bad_pointer_is_found_before_a_bad_number_and_the_state() -> None:
    gic = gic_of(vm_with_vcpus(host()))
    initialise(gic)
    with refused(EFAULT, "bad-pointer"):
        gic.set_attr_null(VgicGroup.NR_IRQS, 0)
    with refused(EFAULT, "bad-pointer"):
        gic.get_attr_null(VgicGroup.NR_IRQS, 0)


def test_commands_need_no_pointer_and_initialising_twice_is_harmless() -> None:
    gic = gic_of(vm_with_vcpus(host()))
    with refused(ENXIO, "pending-tables-before-init"):
        gic.set_attr(VgicGroup.CTRL, VgicCtrl.SAVE_PENDING_TABLES)
    gic.set_attr_null(VgicGroup.CTRL, VgicCtrl.INIT)
    initialise(gic)
    gic.set_attr(VgicGroup.CTRL, VgicCtrl.SAVE_PENDING_TABLES)
    with refused(ENXIO, "no-such-attribute"):
        gic.set_attr(VgicGroup.CTRL, 1)
    with refused(ENXIO, "no-such-attribute"):
        gic.get_attr(VgicGroup.CTRL, VgicCtrl.INIT)


def test_the_maintenance_interrupt_is_a_ppi_until_initialisation() -> None:
    gic = gic_of(vm_with_vcpus(host()))
    assert number(gic.get_attr(VgicGroup.MAINT_IRQ, 0, 4)) == 0
    for bad in (15, 32):
        with refused(EINVAL, "not-a-ppi"):
            gic.set_attr(VgicGroup.MAINT_IRQ, 0, u32(bad))
    gic.set_attr(VgicGroup.MAINT_IRQ, 0, u32(16))
    assert number(gic.get_attr(VgicGroup.MAINT_IRQ, 0, 4)) == 16
    initialise(gic)
    with refused(EBUSY, "maintenance-irq-fixed"):
        gic.set_attr(VgicGroup.MAINT_IRQ, 0, u32(15))


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_older_kernels_have_no_such_attribute(kernel: str) -> None:
    gic = gic_of(vm_with_vcpus(host(kernel)))
    for call in (gic.has_attr, gic.get_attr, gic.set_attr_null):
        with refused(ENXIO, "no-such-attribute"):
            call(VgicGroup.MAINT_IRQ, 0)


# -- vCPUs -------------------------------------------------------------------------------------


def test_no_vcpu_comes_after_initialisation_not_even_a_second_one_of_the_same_number() -> None:
    vm = vm_with_vcpus(host())
    ready(vm)
    for vcpu_id in (0, 1):
        with refused(EBUSY, "vcpu-after-vgic-init"):
            vm.create_vcpu(vcpu_id)
    with refused(EINVAL, "vcpu-id-too-large"):
        vm.create_vcpu(512)


def test_a_vcpu_that_comes_later_moves_into_the_next_redistributor() -> None:
    vm = vm_with_vcpus(host())
    gic = gic_of(vm)
    address(gic, VgicAddr.REDIST, REDIST)
    address(gic, VgicAddr.DIST, REDIST + (256 << 10))
    vm.create_vcpu(1).init(PLAIN)
    initialise(gic)
    assert [gicr(gic, 0x8, vcpu=n) for n in (0, 1)] == [0x000, 0x110]  # Processor_Number, Last
    for vcpu in vcpus(vm):
        run(vcpu)


def test_a_vcpu_that_comes_where_frames_already_overlap_is_refused() -> None:
    vm = vm_with_vcpus(host())
    gic = gic_of(vm)
    address(gic, VgicAddr.REDIST, REDIST)
    address(gic, VgicAddr.DIST, REDIST)
    with refused(EINVAL, "vgic-frames-overlap", "the distributor at"):
        vm.create_vcpu(1)
    assert len(vcpus(vm)) == 1


# -- running -----------------------------------------------------------------------------------

# what was set up -> (addresses in order, initialised, errno, rule)
Life = tuple[tuple[tuple[int, int], ...], bool, int, str]
LIVES: dict[str, Life] = {
    "nothing": ((), False, ENXIO, "vgic-no-address"),
    "initialised only": ((), True, ENXIO, "vgic-no-address"),
    "distributor only": (((VgicAddr.DIST, DIST),), True, ENXIO, "vgic-no-address"),
    "redistributors only": (((VgicAddr.REDIST, REDIST),), True, ENXIO, "vgic-no-address"),
    "too few redistributors": (
        ((VgicAddr.DIST, DIST), (VgicAddr.REDIST_REGION, REGION_A)), True, ENXIO, "vgic-no-address",
    ),
    "overlapping": (
        ((VgicAddr.REDIST, DIST), (VgicAddr.DIST, DIST + (64 << 10))), False, EINVAL, "vgic-frames-overlap",
    ),
    "not initialised": (
        ((VgicAddr.DIST, DIST), (VgicAddr.REDIST, REDIST)), False, EBUSY, "vgic-not-initialised",
    ),
}  # fmt: skip


@pytest.mark.parametrize("life", LIVES)
def test_running_unready_ends_the_vm(life: str) -> None:
    """Addresses first, then overlaps, then initialisation; whichever it is, the VM is dead."""
    addresses, initialised, errno, rule = LIVES[life]
    vm = vm_with_vcpus(host(), 2)
    gic = gic_of(vm)
    for kind, value in addresses:
        address(gic, kind, value)
    if initialised:
        initialise(gic)
    with refused(errno, rule):
        vcpus(vm)[1].run(immediate_exit=True)
    with refused(EIO, "vm-dead", "VM dead"):
        vcpus(vm)[0].run(immediate_exit=True)


def test_a_dead_vm_refuses_everything() -> None:
    vm = vm_with_vcpus(host())
    gic, vcpu = gic_of(vm), vcpus(vm)[0]
    vm.write_memory(0, b"")  # reaching for nothing needs no memory
    vm.set_memory(0, 0x4000_0000, 4096)
    with refused(ENXIO, "vgic-no-address"):
        vcpu.run(immediate_exit=True)
    calls: list[Callable[[], object]] = [
        lambda: vm.check_extension(Cap.ARM_SVE),
        lambda: vm.create_vcpu(1),
        lambda: vm.create_device(DeviceType.ARM_VGIC_V3, test=True),
        vm.preferred_target,
        lambda: vm.enable_cap(Cap.ARM_NISV_TO_USER),
        vm.writable_masks,
        lambda: vm.set_counter_offset(0),
        lambda: vm.set_memory(1, 0x5000_0000, 4096),
        lambda: vm.has_attr(0, 0),
        lambda: vm.get_attr(0, 0),
        lambda: vm.set_attr(0, 0, bytes(24)),
        lambda: gic.has_attr(VgicGroup.ADDR, VgicAddr.DIST),
        lambda: gic.get_attr(VgicGroup.ADDR, VgicAddr.DIST),
        lambda: initialise(gic),
        lambda: vcpu.init(PLAIN),
        lambda: vcpu.finalize(4),
        lambda: vcpu.get_one_reg(id_of(sysreg("MPIDR_EL1"))),
        lambda: vcpu.set_one_reg(id_of(sysreg("MPIDR_EL1")), bytes(8)),
        vcpu.reg_list,
        lambda: vcpu.run(immediate_exit=True),
        vcpu.get_mp_state,
        lambda: vcpu.set_mp_state(0),
        vcpu.get_vcpu_events,
        lambda: vcpu.set_vcpu_events(bytes(64)),
        lambda: vcpu.has_attr(1, 0),
        lambda: vcpu.get_attr(1, 0),
        lambda: vcpu.set_attr(1, 0, u32(27)),
    ]
    for call in calls:
        with refused(EIO, "vm-dead"):
            call()
    assert vm.read_memory(0x4000_0000, 4) == bytes(4)  # the VMM's own mapping lives on


def test_a_dead_vm_of_a_kernel_that_answers_early_refuses_events_too() -> None:
    """6.12 answers KVM_GET_VCPU_EVENTS before KVM_ARM_VCPU_INIT, but not for a dead VM."""
    vm = vm_with_vcpus(host("6.12"))
    vm.create_vcpu(1)
    assert len(vcpus(vm)[1].get_vcpu_events()) == 64
    gic_of(vm)
    with refused(ENXIO, "vgic-no-address"):
        vcpus(vm)[0].run(immediate_exit=True)
    with refused(EIO, "vm-dead"):
        vcpus(vm)[1].get_vcpu_events()


@pytest.mark.parametrize("with_device", [False, True])
def test_el2_runs_with_an_initialised_gic_only(with_device: bool) -> None:
    vm = vm_with_vcpus(host(), 1, EL2)
    if with_device:
        gic = ready(vm)
        run(vcpus(vm)[0])
        assert number(gic.get_attr(VgicGroup.MAINT_IRQ, 0, 4)) == 25
    else:
        for _ in range(2):
            with refused(EAGAIN, "nested-without-vgic"):
                vcpus(vm)[0].run(immediate_exit=True)


def test_the_maintenance_interrupt_cannot_be_a_timers() -> None:
    vm = vm_with_vcpus(host(), 1, EL2)
    gic = gic_of(vm)
    gic.set_attr(VgicGroup.MAINT_IRQ, 0, u32(27))
    address(gic, VgicAddr.DIST, DIST)
    address(gic, VgicAddr.REDIST, REDIST)
    initialise(gic)
    with refused(EINVAL, "timer-irqs-clash", "interrupt 27 belongs to the GIC's maintenance"):
        vcpus(vm)[0].run(immediate_exit=True)


def test_messages_name_what_was_asked_and_what_is_allowed() -> None:
    gic = ready(vm_with_vcpus(host()))
    with refused(
        EINVAL,
        "cpuif-wider",
        "KVM_SET_DEVICE_ATTR: EINVAL",
        "ICC_CTLR_EL1.PRIbits is 0x7, allowed are 0x0, 0x1, 0x2, 0x3, 0x4",
        "Restore a VM from a host with no more bits than this one.",
    ):
        gic.set_attr(VgicGroup.CPU_SYSREGS, cpu_sysreg(sysreg("ICC_CTLR_EL1")), u64(0x8F00))
