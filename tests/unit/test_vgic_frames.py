"""A GICv3's registers: distributor, redistributors, line levels; and the devices beside it."""

from __future__ import annotations

from errno import (
    EBADF,
    EBUSY,
    EEXIST,
    EINVAL,
    ENODEV,
    ENXIO,
    EPERM,
)

import pytest
from tests.gics import (
    GICD_IIDR,
    GICD_TYPER2,
    REDIST,
    UNDEF,
    address,
    gicd,
    gicr,
    initialise,
    ready,
)
from tests.small_hosts import (
    PLAIN,
    gic_of,
    host,
    number,
    refused,
    u32,
    u64,
    vm_with_vcpus,
)

from armkvm.abi.attributes import VfioAttr, VfioGroup, VgicAddr, VgicCtrl, VgicGroup, region
from armkvm.abi.structs import DeviceType
from armkvm.errors import PlaceError

REGION_A, REGION_B = region(0, REDIST, 1), region(1, REDIST + (128 << 10), 2)


# -- distributor -------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "6.18", "7.3"])
def test_only_the_distributors_identity_is_there_before_initialisation(kernel: str) -> None:
    gic = gic_of(vm_with_vcpus(host(kernel)))
    early = kernel in ("6.18", "7.3")
    for offset in (0x0, 0x4, GICD_IIDR, GICD_TYPER2):
        if early and offset in (GICD_IIDR, GICD_TYPER2):
            assert gicd(gic, offset) == {GICD_IIDR: 0x4B00_343B, GICD_TYPER2: 0}[offset]
        else:
            with refused(EBUSY, "vgic-not-initialised"):
                gicd(gic, offset)


def test_a_revision_chosen_before_initialisation_stays() -> None:
    gic = gic_of(vm_with_vcpus(host()))
    assert gicd(gic, GICD_IIDR, 0x4B00_243B) == 0x4B00_243B
    initialise(gic)
    assert gicd(gic, GICD_IIDR) == 0x4B00_243B
    assert gicr(gic, 0x0) == 0
    gicd(gic, GICD_IIDR, 0x4B00_343B)
    assert gicr(gic, 0x0) == 0b110


@pytest.mark.parametrize("kernel", ["6.12", "6.18", "7.3"])
def test_iidr_takes_revisions_2_and_3_or_by_mistake_nothing(kernel: str) -> None:
    gic = ready(vm_with_vcpus(host(kernel)))
    with refused(EINVAL, "iidr-invalid", "GICD_IIDR: asked for 0x4b00343a, it is 0x4b00343b"):
        gicd(gic, GICD_IIDR, 0x4B00_343A)
    if kernel == "6.18":
        assert gicd(gic, GICD_IIDR, 0x4B00_F43B) == 0x4B00_343B
        assert gicd(gic, GICD_IIDR, 0x4B00_243B) == 0x4B00_343B
    else:
        with refused(EINVAL, "iidr-invalid", "GICD_IIDR.Revision is 1, allowed are 2 and 3"):
            gicd(gic, GICD_IIDR, 0x4B00_143B)
        assert gicd(gic, GICD_IIDR, 0x4B00_243B) == 0x4B00_243B


@pytest.mark.parametrize(("kernel", "errno"), [("6.12", EINVAL), ("7.3", EBUSY)])
def test_typer2_is_zero_and_stays(kernel: str, errno: int) -> None:
    gic = ready(vm_with_vcpus(host(kernel)))
    assert gicd(gic, GICD_TYPER2, 0) == 0
    with refused(errno, "typer2-invalid" if errno == EINVAL else "typer2-fixed"):
        gicd(gic, GICD_TYPER2, 1 << 8)


def test_typer2_asks_for_no_more_than_the_host_has_before_initialisation_either() -> None:
    gic = gic_of(vm_with_vcpus(host()))
    with refused(EINVAL, "typer2-invalid"):
        gicd(gic, GICD_TYPER2, 1 << 8)


def test_ctlr_and_typer_of_the_distributor() -> None:
    vm = vm_with_vcpus(host())
    gic = gic_of(vm)
    gic.set_attr(VgicGroup.NR_IRQS, 0, u32(96))
    initialise(gic)
    assert gicd(gic, 0x0) == 0x50
    assert gicd(gic, 0x0, 0xFFFF_FFFF) == 0x52
    assert gicd(gic, 0x4, 0) == 9 << 19 | 2
    assert vm.create_device(DeviceType.ARM_VGIC_ITS) is not None
    assert gicd(gic, 0x4) == 15 << 19 | 1 << 17 | 2


# register -> (what SPIs read at first, what reads back after all ones, and then after writing 0)
PER_SPI = {
    0x080: (0xFFFF_FFFF, 0xFFFF_FFFF, 0),  # IGROUPR
    0x100: (0, 0xFFFF_FFFF, 0xFFFF_FFFF),  # ISENABLER: writing 0 clears nothing
    0x180: (0, 0, 0),  # ICENABLER: writing 1 clears
    0x200: (0, 0xFFFF_FFFF, 0),  # ISPENDR: userspace assigns
    0x280: (0, 0, 0),  # ICPENDR
    0x300: (0, 0xFFFF_FFFF, 0xFFFF_FFFF),  # ISACTIVER
    0x380: (0, 0, 0),  # ICACTIVER
    0x400: (0, 0xF8F8_F8F8, 0),  # IPRIORITYR
    0x800: (0, 0, 0),  # ITARGETSR
    0xC00: (0xAAAA_AAAA, 0xAAAA_AAAA, 0),  # ICFGR
    0xD00: (0, 0, 0),  # IGRPMODR
}
WIDTHS = {0x400: 8, 0x800: 8, 0xC00: 2}


@pytest.mark.parametrize("offset", PER_SPI, ids=hex)
def test_registers_of_spis_answer_as_described(offset: int) -> None:
    gic = ready(vm_with_vcpus(host()))
    width = WIDTHS.get(offset, 1)
    first_spi = offset + width * 32 // 8
    at_first, after_ones, after_zero = PER_SPI[offset]
    assert gicd(gic, first_spi) == at_first
    assert gicd(gic, first_spi, 0xFFFF_FFFF) == after_ones
    assert gicd(gic, first_spi, 0) == after_zero
    assert gicd(gic, offset, 0xFFFF_FFFF) == 0, "private interrupts are the redistributor's"
    last = offset + width * 256 // 8
    with refused(ENXIO, "no-such-attribute"):
        gic.has_attr(VgicGroup.DIST_REGS, last)
    assert gicd(gic, last, 0xFFFF_FFFF) == 0, "interrupts that the GIC does not have"


def test_set_and_clear_registers_are_two_views_of_one_set() -> None:
    gic = ready(vm_with_vcpus(host()))
    for set_register, clear_register in ((0x104, 0x184), (0x304, 0x384)):
        assert gicd(gic, set_register, 0b1111) == 0b1111
        assert gicd(gic, clear_register, 0b0101) == 0b1010
        assert gicd(gic, set_register) == 0b1010


def test_routes_are_affinities_without_aff3() -> None:
    gic = ready(vm_with_vcpus(host()))
    route = 0x6000 + 8 * 40
    assert gicd(gic, route, 0xFF01_0203) == 0x01_0203
    assert gicd(gic, route + 4, 0xFFFF_FFFF) == 0
    assert gicd(gic, 0x6000, 0x1) == 0


@pytest.mark.parametrize(
    ("offset", "value"), [(0x10, 0xFFFF_FFFF), (0xFFE8, 0x3B), (0xFFD0, 0), (0x14, 0), (0x2, 0), (0x10000, 0)]
)
def test_words_that_hold_nothing(offset: int, value: int) -> None:
    gic = ready(vm_with_vcpus(host()))
    assert gicd(gic, offset, 0x1234) == value


def test_the_distributor_needs_a_vcpu_to_be_seen_through() -> None:
    gic = gic_of(host().create_vm())
    initialise(gic)
    with refused(EINVAL, "no-vcpu-of-affinity", "the VM has no vCPU"):
        gicd(gic, 0x0)
    with refused(EINVAL, "no-vcpu-of-affinity"):
        gic.has_attr(VgicGroup.DIST_REGS, 0)


# -- redistributor -----------------------------------------------------------------------------


def test_private_interrupts_as_kvm_starts_them() -> None:
    gic = ready(vm_with_vcpus(host()))
    sgi = 0x1_0000
    assert gicr(gic, sgi + 0x080) == 0xFFFF_FFFF  # all in group 1
    assert gicr(gic, sgi + 0x100) == 0x0000_FFFF  # SGIs enabled
    assert gicr(gic, sgi + 0xC00) == 0xAAAA_AAAA  # SGIs edge
    assert gicr(gic, sgi + 0xC04) == 0  # PPIs level
    assert gicr(gic, sgi + 0xC04, 0xFFFF_FFFF) == 0  # and fixed
    assert gicr(gic, sgi + 0x400, 0xA0A1_A2A7) == 0xA0A0_A0A0
    assert gicr(gic, sgi + 0xE00, 0xFFFF_FFFF) == 0


def test_each_vcpu_has_private_interrupts_of_its_own() -> None:
    gic = ready(vm_with_vcpus(host(), 2))
    assert gicr(gic, 0x1_0200, 1 << 27) == 1 << 27
    assert gicr(gic, 0x1_0200, vcpu=1) == 0
    with refused(EINVAL, "no-vcpu-of-affinity"):
        gicr(gic, 0x1_0200, vcpu=2)


def test_typer_says_affinity_number_and_who_is_last() -> None:
    vm = host().create_vm()
    for number_ in (0, 3, 7):
        vm.create_vcpu(number_).init(PLAIN)
    gic = gic_of(vm)
    address(gic, VgicAddr.REDIST_REGION, region(0, REDIST, 2))
    address(gic, VgicAddr.REDIST_REGION, region(1, REDIST + (1 << 20), 4))
    initialise(gic)
    assert [(gicr(gic, 0x8, vcpu=n), gicr(gic, 0xC, vcpu=n)) for n in (0, 3, 7)] == [
        (0x000, 0),
        (0x310, 3),  # the last of a full region that no other adjoins
        (0x710, 7),  # the last that is used
    ]


def test_a_full_region_is_not_the_end_if_the_next_adjoins_it() -> None:
    gic = gic_of(vm_with_vcpus(host(), 2))
    address(gic, VgicAddr.REDIST_REGION, REGION_A)
    address(gic, VgicAddr.REDIST_REGION, REGION_B)
    initialise(gic)
    assert [gicr(gic, 0x8, vcpu=n) >> 4 & 1 for n in (0, 1)] == [0, 1]


def test_tables_keep_an_address_and_memory_attributes_that_kvm_honours() -> None:
    vm = vm_with_vcpus(host())
    assert vm.create_device(DeviceType.ARM_VGIC_ITS) is not None
    gic = ready(vm)
    assert (gicr(gic, 0x70), gicr(gic, 0x74)) == (0x580, 0)
    assert (gicr(gic, 0x78), gicr(gic, 0x7C)) == (0x580, 0)
    # outer shareable becomes inner, not cacheable becomes read-allocate; reserved bits go
    assert gicr(gic, 0x70, 0x1234_5000 | 2 << 10 | 1 << 7 | 0x7F) == 0x1234_5000 & ~(3 << 10) | 0x580 | 0x1F
    assert gicr(gic, 0x7C, 1 << 30 | 5 << 24 | 0x8) == 0x8
    assert gicr(gic, 0x0, 1) & 1 == 1
    gicr(gic, 0x78, 0xFFFF_0000)
    assert gicr(gic, 0x78) == 0x580, "fixed while LPIs are enabled"
    assert gicr(gic, 0x0, 0) & 1 == 0


def test_lpis_cannot_be_enabled_without_an_its() -> None:
    gic = ready(vm_with_vcpus(host()))
    assert gicr(gic, 0x0, 1) == 0b110


def test_line_levels_are_kept_for_interrupts_that_are_level_triggered() -> None:
    gic = ready(vm_with_vcpus(host()))
    levels = VgicGroup.LEVEL_INFO
    gic.set_attr(levels, 0, u32(0xFFFF_FFFF))
    assert number(gic.get_attr(levels, 0, 4)) == 0xFFFF_0000
    gic.set_attr(levels, 32, u32(0b11))
    assert number(gic.get_attr(levels, 32, 4)) == 0
    gicd(gic, 0xC08, 0b1000)  # interrupt 32 level, 33 edge
    assert number(gic.get_attr(levels, 32, 4)) == 0b01
    for attr in (1, 1 << 10):
        with refused(EINVAL, "level-info-invalid"):
            gic.get_attr(levels, attr, 4)
        with refused(EINVAL, "level-info-invalid"):
            gic.set_attr(levels, attr, u32(0))
    with refused(ENXIO, "no-such-attribute"):
        gic.has_attr(levels, 1 << 10)


def test_registers_of_a_saved_gic_restore_into_another() -> None:
    """What a VMM does: every word that has a register, from one GIC to a fresh one."""
    vms = [vm_with_vcpus(host()) for _ in range(2)]
    assert all(vm.create_device(DeviceType.ARM_VGIC_ITS) for vm in vms)
    source, target = map(ready, vms)
    for offset, value in ((0x104, 0xF0F0), (0x204, 0x3), (0x424, 0x8090_A0B0), (0xC08, 0), (0x6100, 0x1)):
        gicd(source, offset, value)
    gicr(source, 0x1_0200, 0x0800_0000)
    clear = {*range(0x180, 0x200), *range(0x280, 0x300), *range(0x380, 0x400)}
    for group, size in ((VgicGroup.DIST_REGS, 0x8000), (VgicGroup.REDIST_REGS, 0x1_1000)):
        for offset in range(0, size, 4):
            if offset & 0xFFFF not in clear:
                target.set_attr(group, offset, source.get_attr(group, offset, 4))
        for offset in range(0, size, 4):
            assert target.get_attr(group, offset, 4) == source.get_attr(group, offset, 4), hex(offset)


# -- ITS and VFIO ------------------------------------------------------------------------------


def test_an_its_has_an_address_and_commands() -> None:
    vm = vm_with_vcpus(host())
    its = vm.create_device(DeviceType.ARM_VGIC_ITS)
    assert its is not None
    assert number(its.get_attr(VgicGroup.ADDR, VgicAddr.ITS)) == UNDEF
    with refused(EINVAL, "vgic-address-misaligned"):
        its.set_attr(VgicGroup.ADDR, VgicAddr.ITS, u64(0x1000))
    its.set_attr(VgicGroup.ADDR, VgicAddr.ITS, u64(0x0808_0000))
    with refused(EEXIST, "vgic-address-set"):
        its.set_attr(VgicGroup.ADDR, VgicAddr.ITS, u64(0x0809_0000))
    with refused(ENODEV, "no-such-device"):
        its.set_attr_null(VgicGroup.ADDR, VgicAddr.DIST)
    for command in (VgicCtrl.INIT, VgicCtrl.ITS_RESET):
        its.set_attr(VgicGroup.CTRL, command)
    with refused(ENXIO, "no-such-attribute"):
        its.set_attr(VgicGroup.CTRL, VgicCtrl.SAVE_PENDING_TABLES)


def test_the_its_has_registers_but_the_model_does_not_keep_them() -> None:
    its = host().create_vm().create_device(DeviceType.ARM_VGIC_ITS)
    assert its is not None
    for offset in (0x0, 0x4, 0x8, 0x80, 0x90, 0x138, 0xFFE8):
        its.has_attr(VgicGroup.ITS_REGS, offset)
    for offset, errno in ((0x2, EINVAL), (0x84, EINVAL), (0x10, ENXIO), (0x140, ENXIO)):
        with refused(errno, "its-register-misaligned" if errno == EINVAL else "no-such-attribute"):
            its.has_attr(VgicGroup.ITS_REGS, offset)
    with pytest.raises(PlaceError, match="no ITS registers"):
        its.get_attr(VgicGroup.ITS_REGS, 0x0)
    with pytest.raises(PlaceError, match="no ITS registers"):
        its.set_attr(VgicGroup.ITS_REGS, 0x0, u64(0))
    with pytest.raises(PlaceError, match="no ITS registers"):
        its.set_attr(VgicGroup.CTRL, VgicCtrl.ITS_SAVE_TABLES)


def test_vfio_is_one_at_a_time_and_write_only() -> None:
    vm = host().create_vm()
    vfio = vm.create_device(DeviceType.VFIO)
    assert vfio is not None
    with refused(EBUSY, "vfio-exists"):
        vm.create_device(DeviceType.VFIO)
    vfio.has_attr(VfioGroup.FILE, VfioAttr.ADD)
    with refused(ENXIO, "no-such-attribute"):
        vfio.has_attr(VfioGroup.FILE, 3)
    with refused(EPERM, "attribute-not-readable"):
        vfio.get_attr(VfioGroup.FILE, VfioAttr.ADD)
    with refused(EBADF, "vfio-no-file", "descriptor 5"):
        vfio.set_attr(VfioGroup.FILE, VfioAttr.DEL, u32(5))
    vfio.close()
    vfio.close()
    assert vm.create_device(DeviceType.VFIO) is not None
