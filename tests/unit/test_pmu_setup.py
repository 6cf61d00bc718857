"""Setting a PMU up: order, numbers, filters, the choice of a PMU, and what a run asks for."""

from __future__ import annotations

from errno import EBUSY, EEXIST, EFAULT, EINVAL, ENODEV, ENXIO

import pytest
from tests.gics import DIST, REDIST, address, initialise, ready, run
from tests.small_hosts import (
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

from armkvm.abi.attributes import PMU_EVENT_FILTER, PmuAttr, VgicAddr
from armkvm.abi.structs import VcpuAttr
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.arch.sysregs import sysreg
from armkvm.backends.model import ModelSystem, ModelVcpu
from armkvm.catalog import id_of
from armkvm.model.pmu_setup import HOST_PMU

STRICT = PMU | {F.PMU_V3_STRICT}


def put(vcpu: ModelVcpu, attr: int, value: int) -> None:
    vcpu.set_attr(VcpuAttr.PMU_V3, attr, u32(value))


def finish(vcpu: ModelVcpu) -> None:
    vcpu.set_attr_null(VcpuAttr.PMU_V3, PmuAttr.INIT)


def add_filter(vcpu: ModelVcpu, base: int, events: int, action: int) -> None:
    vcpu.set_attr(VcpuAttr.PMU_V3, PmuAttr.FILTER, PMU_EVENT_FILTER.pack(base, events, action))


def counters(vcpu: ModelVcpu) -> int:
    """PMCR_EL0.N."""
    return number(vcpu.get_one_reg(id_of(sysreg("PMCR_EL0")))) >> 11 & 0x1F


def one(system: ModelSystem, features: frozenset[F] = PMU) -> ModelVcpu:
    """A vCPU of a VM without an interrupt controller."""
    return vcpus(vm_with_vcpus(system, 1, features))[0]


def test_without_the_feature_there_is_no_device() -> None:
    """Found before it is known which attribute; reading says what is missing first."""
    vcpu = one(host(), PLAIN)
    for attr in range(6):
        with refused(ENODEV, "no-pmu"):
            vcpu.set_attr_null(VcpuAttr.PMU_V3, attr)
        with refused(ENXIO, "no-such-attribute"):
            vcpu.has_attr(VcpuAttr.PMU_V3, attr)
    with refused(EINVAL, "irq-without-vgic"):
        vcpu.get_attr(VcpuAttr.PMU_V3, PmuAttr.IRQ)
    gic_of_vm = vm_with_vcpus(host())
    gic_of(gic_of_vm)
    with refused(ENODEV, "no-pmu"):
        vcpus(gic_of_vm)[0].get_attr(VcpuAttr.PMU_V3, PmuAttr.IRQ)


def test_before_init_a_vcpu_has_no_pmu() -> None:
    with refused(ENODEV, "no-pmu"):
        host().create_vm().create_vcpu(0).set_attr(VcpuAttr.PMU_V3, PmuAttr.IRQ, u32(23))


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "7.3"])
def test_a_vms_features_are_those_of_its_vcpus_before_their_init(kernel: str) -> None:
    """Where vCPUs of a VM have the same features, what one asked for others have before they ask."""
    vm = host(kernel).create_vm()
    earlier, first = vm.create_vcpu(1), vm.create_vcpu(0)
    first.init({F.PMU_V3})
    for vcpu in (earlier, vm.create_vcpu(2)):
        if kernel == "6.1":
            with refused(ENXIO, "no-such-attribute"):
                vcpu.has_attr(VcpuAttr.PMU_V3, PmuAttr.IRQ)
        else:
            vcpu.has_attr(VcpuAttr.PMU_V3, PmuAttr.IRQ)


@pytest.mark.parametrize(("kernel", "known"), [("6.1", 4), ("6.12", 4), ("6.18", 5), ("7.3", 5)])
def test_how_many_attributes_there_are(kernel: str, known: int) -> None:
    vcpu = one(host(kernel))
    for attr in range(6):
        if attr < known:
            vcpu.has_attr(VcpuAttr.PMU_V3, attr)
            continue
        with refused(ENXIO, "no-such-attribute"):
            vcpu.has_attr(VcpuAttr.PMU_V3, attr)
        with refused(ENXIO, "no-such-attribute"):
            put(vcpu, attr, 0)


def test_nothing_can_be_set_after_init() -> None:
    vcpu = one(host())
    finish(vcpu)
    for attr in range(6):
        with refused(EBUSY, "pmu-initialised"):
            vcpu.set_attr_null(VcpuAttr.PMU_V3, attr)
    run(vcpu)


# -- the interrupt -----------------------------------------------------------------------------


def test_the_interrupt_is_set_once_and_read_back() -> None:
    vm = vm_with_vcpus(host(), 1, PMU)
    gic_of(vm)
    vcpu = vcpus(vm)[0]
    with refused(ENXIO, "pmu-irq-unset"):
        vcpu.get_attr(VcpuAttr.PMU_V3, PmuAttr.IRQ)
    with refused(EFAULT, "bad-pointer"):
        vcpu.set_attr_null(VcpuAttr.PMU_V3, PmuAttr.IRQ)
    for bad in (0, 15, 1020, 8192):
        with refused(EINVAL, "pmu-irq-invalid", f"asked for {bad}"):
            put(vcpu, PmuAttr.IRQ, bad)
    put(vcpu, PmuAttr.IRQ, 23)
    assert number(vcpu.get_attr(VcpuAttr.PMU_V3, PmuAttr.IRQ, 4)) == 23
    with refused(EBUSY, "pmu-irq-set", "it is 23"):
        put(vcpu, PmuAttr.IRQ, 23)
    with refused(EINVAL, "pmu-irq-invalid", "vCPU 0 has 23"):
        put(vcpu, PmuAttr.IRQ, 24)


@pytest.mark.parametrize(
    ("first", "second", "fits"), [(23, 23, True), (23, 24, False), (40, 41, True), (40, 40, False)]
)
def test_a_ppi_is_shared_and_an_spi_is_not(first: int, second: int, fits: bool) -> None:
    vm = vm_with_vcpus(host(), 2, PMU)
    gic_of(vm)
    a, b = vcpus(vm)
    put(a, PmuAttr.IRQ, first)
    if fits:
        put(b, PmuAttr.IRQ, second)
    else:
        with refused(EINVAL, "pmu-irq-invalid", f"vCPU 0 has {first}"):
            put(b, PmuAttr.IRQ, second)


def test_init_with_a_controller_asks_for_it_and_for_the_interrupt() -> None:
    vm = vm_with_vcpus(host(), 1, PMU)
    gic = gic_of(vm)
    vcpu = vcpus(vm)[0]
    with refused(ENODEV, "pmu-before-vgic-init"):
        finish(vcpu)
    initialise(gic)
    with refused(ENXIO, "pmu-irq-unset"):
        finish(vcpu)
    put(vcpu, PmuAttr.IRQ, 23)
    finish(vcpu)


def test_an_spi_beyond_the_controller_cannot_be_wired() -> None:
    vm = vm_with_vcpus(host(), 1, PMU)
    gic = gic_of(vm)
    put(vcpus(vm)[0], PmuAttr.IRQ, 300)
    initialise(gic)
    with refused(EINVAL, "irq-unwired", "interrupt 300"):
        finish(vcpus(vm)[0])


def test_the_pmu_and_a_timer_cannot_share_a_line() -> None:
    """Whoever comes first has it: the PMU at INIT, timers at the first run."""
    vm = vm_with_vcpus(host(), 1, PMU)
    ready(vm)
    vcpu = vcpus(vm)[0]
    put(vcpu, PmuAttr.IRQ, 27)
    finish(vcpu)
    with refused(EINVAL, "timer-irqs-clash", "interrupt 27 belongs to the PMU of vCPU 0"):
        vcpu.run(immediate_exit=True)


def test_a_timer_that_was_wired_first_keeps_its_line() -> None:
    vm = vm_with_vcpus(host(), 1, PMU)
    ready(vm)
    vcpu = vcpus(vm)[0]
    with refused(EINVAL, "pmu-not-ready"):
        vcpu.run(immediate_exit=True)
    put(vcpu, PmuAttr.IRQ, 27)
    with refused(EEXIST, "irq-owned", "interrupt 27 belongs to the virtual timer"):
        finish(vcpu)


# -- running -----------------------------------------------------------------------------------


def test_a_controller_that_comes_after_init_leaves_the_pmu_without_a_line() -> None:
    vm = vm_with_vcpus(host(), 1, PMU)
    finish(vcpus(vm)[0])
    ready(vm)
    with refused(EINVAL, "pmu-not-ready", "no interrupt 0 for it"):
        vcpus(vm)[0].run(immediate_exit=True)


def test_a_pmu_runs_once_it_is_ready_with_and_without_a_controller() -> None:
    alone = one(host())
    with refused(EINVAL, "pmu-not-ready", "KVM_ARM_VCPU_PMU_V3_INIT is missing"):
        alone.run(immediate_exit=True)
    finish(alone)
    run(alone)
    vm = vm_with_vcpus(host(), 1, PMU)
    ready(vm)
    put(vcpus(vm)[0], PmuAttr.IRQ, 200)
    finish(vcpus(vm)[0])
    run(vcpus(vm)[0])


def test_a_failed_run_has_settled_what_comes_before_the_pmu() -> None:
    """As recorded: the ID registers show no GIC any more, and the VM has still not run."""
    vcpu = one(host())
    pfr0 = id_of(sysreg("ID_AA64PFR0_EL1"))
    with refused(EINVAL, "pmu-not-ready"):
        vcpu.run(immediate_exit=True)
    assert number(vcpu.get_one_reg(pfr0)) >> 24 & 0xF == 0
    vcpu.set_one_reg(pfr0, u64(VALUES["ID_AA64PFR0_EL1"]))


# -- filters -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("pmuver", "events"), [(1, 1 << 10), (4, 1 << 16), (6, 1 << 16)])
def test_filters_reach_as_far_as_the_hosts_events(pmuver: int, events: int) -> None:
    vcpu = one(host(values=VALUES | {"ID_AA64DFR0_EL1": 0x6 | pmuver << 8}))
    add_filter(vcpu, events - 2, 2, 0)
    add_filter(vcpu, 0, 0, 1)
    for base, count, action in ((events - 1, 2, 0), (0, 1, 2)):
        with refused(EINVAL, "pmu-filter-invalid", f"the host has {events} events"):
            add_filter(vcpu, base, count, action)
    with refused(EFAULT, "bad-pointer"):
        vcpu.set_attr_null(VcpuAttr.PMU_V3, PmuAttr.FILTER)


def test_filters_are_fixed_once_the_vm_has_run() -> None:
    vm = vm_with_vcpus(host(), 2, PMU)
    first, second = vcpus(vm)
    finish(first)
    run(first)
    with refused(EBUSY, "pmu-filter-after-run"):
        add_filter(second, 0, 1, 0)
    with refused(EBUSY, "pmu-fixed"):
        put(second, PmuAttr.SET_PMU, HOST_PMU)


# -- which PMU, how many counters --------------------------------------------------------------


def test_a_host_has_one_pmu() -> None:
    vcpu = one(host())
    add_filter(vcpu, 0, 1, 0)
    with refused(ENXIO, "no-such-pmu", "asked for 7"):
        put(vcpu, PmuAttr.SET_PMU, 7)
    with refused(EFAULT, "bad-pointer"):
        vcpu.set_attr_null(VcpuAttr.PMU_V3, PmuAttr.SET_PMU)
    put(vcpu, PmuAttr.SET_PMU, HOST_PMU)


def test_counters_can_be_fewer_and_a_choice_gives_all_again() -> None:
    vcpu = one(host())
    assert counters(vcpu) == 6
    with refused(EINVAL, "pmu-counters-invalid", "asked for 7, the PMU has 6"):
        put(vcpu, PmuAttr.SET_NR_COUNTERS, 7)
    put(vcpu, PmuAttr.SET_NR_COUNTERS, 2)
    assert counters(vcpu) == 2
    put(vcpu, PmuAttr.SET_PMU, HOST_PMU)
    assert counters(vcpu) == 6


def test_at_el2_the_partition_of_counters_follows() -> None:
    vm = vm_with_vcpus(host(), 2, PMU | {F.HAS_EL2})
    first, second = vcpus(vm)
    put(first, PmuAttr.SET_NR_COUNTERS, 3)
    mdcr = id_of(sysreg("MDCR_EL2"))
    assert [number(vcpu.get_one_reg(mdcr)) & 0x1F for vcpu in (first, second)] == [3, 3]


def test_strict_leaves_the_choice_to_userspace() -> None:
    """No PMU, no counters, no INIT until one is chosen."""
    vcpu = one(host(), STRICT)
    assert counters(vcpu) == 0
    with refused(ENXIO, "pmu-not-chosen"):
        finish(vcpu)
    with refused(EINVAL, "pmu-counters-invalid", "no PMU is chosen"):
        put(vcpu, PmuAttr.SET_NR_COUNTERS, 0)
    put(vcpu, PmuAttr.SET_PMU, HOST_PMU)
    assert counters(vcpu) == 6
    put(vcpu, PmuAttr.SET_NR_COUNTERS, 4)
    vcpu.init(STRICT)
    assert counters(vcpu) == 4
    finish(vcpu)
    run(vcpu)


def test_strict_and_a_filter_before_the_choice_exclude_each_other() -> None:
    vcpu = one(host(), STRICT)
    add_filter(vcpu, 0, 1, 0)
    with refused(EBUSY, "pmu-fixed"):
        put(vcpu, PmuAttr.SET_PMU, HOST_PMU)


def test_it_is_the_vcpus_descriptor_that_has_these_attributes() -> None:
    vm = vm_with_vcpus(host(), 1, PMU)
    gic = gic_of(vm)
    address(gic, VgicAddr.DIST, DIST)
    address(gic, VgicAddr.REDIST, REDIST)
    with refused(ENXIO, "no-such-attribute"):
        vcpus(vm)[0].set_attr(3, 0, u32(0))
