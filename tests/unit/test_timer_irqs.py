"""The timers' interrupts: who may set them, to what, until when, and how a clash is found."""

from __future__ import annotations

from errno import EBUSY, EFAULT, EINVAL, ENXIO

import pytest
from tests.gics import DIST, REDIST, address, initialise, ready, run
from tests.small_hosts import EL2, PLAIN, PMU, gic_of, host, number, refused, u32, vcpus, vm_with_vcpus

from armkvm.abi.attributes import TimerAttr, VgicAddr
from armkvm.abi.structs import VcpuAttr
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.backends.model import ModelVcpu

KERNELS = ("6.1", "6.12", "7.3")
DEFAULTS = {TimerAttr.VTIMER: 27, TimerAttr.PTIMER: 30, TimerAttr.HVTIMER: 28, TimerAttr.HPTIMER: 26}


def get(vcpu: ModelVcpu, timer: int) -> int:
    return number(vcpu.get_attr(VcpuAttr.TIMER, timer, 4))


def put(vcpu: ModelVcpu, timer: int, irq: int) -> None:
    vcpu.set_attr(VcpuAttr.TIMER, timer, u32(irq))


@pytest.mark.parametrize("kernel", KERNELS)
def test_defaults_are_read_in_any_phase(kernel: str) -> None:
    vcpu = host(kernel).create_vm().create_vcpu(0)
    for timer, irq in DEFAULTS.items():
        if kernel == "6.1" and timer > TimerAttr.PTIMER:
            for call in (vcpu.has_attr, vcpu.get_attr):
                with refused(ENXIO, "no-such-attribute", f"timer {timer}"):
                    call(VcpuAttr.TIMER, timer)
        else:
            vcpu.has_attr(VcpuAttr.TIMER, timer)
            assert get(vcpu, timer) == irq


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_order_of_checks(kernel: str) -> None:
    """Controller, pointer, number, still open, which timer."""
    vm = vm_with_vcpus(host(kernel))
    vcpu = vcpus(vm)[0]
    with refused(EINVAL, "irq-without-vgic"):
        vcpu.set_attr_null(VcpuAttr.TIMER, 9)
    ready(vm)
    with refused(EFAULT, "bad-pointer"):
        vcpu.set_attr_null(VcpuAttr.TIMER, 9)
    with refused(EINVAL, "not-a-ppi", "asked for 32"):
        put(vcpu, 9, 32)
    with refused(ENXIO, "no-such-attribute", "timer 9"):
        put(vcpu, 9, 27)
    run(vcpu)
    with refused(EBUSY, "timer-irq-fixed"):
        put(vcpu, 9, 27)


@pytest.mark.parametrize("irq", [0, 15, 32, 1019, 0xFFFF_FFFF])
def test_only_ppis_will_do(irq: int) -> None:
    vm = vm_with_vcpus(host())
    gic_of(vm)
    with refused(EINVAL, "not-a-ppi", "allowed are 16 to 31"):
        put(vcpus(vm)[0], TimerAttr.VTIMER, irq)
    assert get(vcpus(vm)[0], TimerAttr.VTIMER) == 27


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_write_reaches_all_vcpus_and_since_6_4_those_to_come(kernel: str) -> None:
    vm = vm_with_vcpus(host(kernel), 2)
    gic_of(vm)
    put(vcpus(vm)[1], TimerAttr.PTIMER, 20)
    assert [get(vcpu, TimerAttr.PTIMER) for vcpu in vcpus(vm)] == [20, 20]
    late = vm.create_vcpu(2)
    assert get(late, TimerAttr.PTIMER) == (30 if kernel == "6.1" else 20)


def test_vcpus_that_disagree_do_not_run() -> None:
    """Only before 6.4 can they: one that came after a write still has the default."""
    vm = vm_with_vcpus(host("6.1"))
    gic = gic_of(vm)
    put(vcpus(vm)[0], TimerAttr.PTIMER, 20)
    vm.create_vcpu(1).init(PLAIN)
    address(gic, VgicAddr.DIST, DIST)
    address(gic, VgicAddr.REDIST, REDIST)
    initialise(gic)
    with refused(EINVAL, "timer-irqs-clash", "vCPU 1 has [27, 30]"):
        vcpus(vm)[0].run(immediate_exit=True)


@pytest.mark.parametrize("kernel", KERNELS)
def test_two_timers_on_one_interrupt_are_found_by_the_first_run_only(kernel: str) -> None:
    vm = vm_with_vcpus(host(kernel))
    ready(vm)
    vcpu = vcpus(vm)[0]
    put(vcpu, TimerAttr.VTIMER, 30)
    for _ in range(2):
        with refused(EINVAL, "timer-irqs-clash", "interrupt 30 belongs to the virtual timer"):
            vcpu.run(immediate_exit=True)
    put(vcpu, TimerAttr.VTIMER, 27)  # the clash fixed nothing, so it can be mended...
    with refused(EINVAL, "timer-irqs-clash"):  # ...but interrupt 30 stays wired to the virtual timer
        vcpu.run(immediate_exit=True)
    put(vcpu, TimerAttr.PTIMER, 29)
    run(vcpu)


@pytest.mark.parametrize("features", [PLAIN, EL2])
def test_el2s_timers_count_where_there_is_an_el2(features: frozenset[VcpuFeature]) -> None:
    vm = vm_with_vcpus(host(), 1, features)
    ready(vm)
    vcpu = vcpus(vm)[0]
    put(vcpu, TimerAttr.HPTIMER, 27)
    if features == EL2:
        with refused(EINVAL, "timer-irqs-clash", "the EL2 physical timer"):
            vcpu.run(immediate_exit=True)
    else:
        run(vcpu)


def test_a_run_without_a_controller_fixes_nothing() -> None:
    """The interrupts are fixed when they are wired, which needs a controller."""
    vm = vm_with_vcpus(host(), 1, PMU)
    vcpu = vcpus(vm)[0]
    with refused(EINVAL, "pmu-not-ready"):
        vcpu.run(immediate_exit=True)
    gic_of(vm)
    put(vcpu, TimerAttr.VTIMER, 20)
    assert get(vcpu, TimerAttr.VTIMER) == 20


def test_before_6_4_a_vcpus_own_first_run_fixes_them() -> None:
    vm = vm_with_vcpus(host("6.1"), 2)
    ready(vm)
    first, second = vcpus(vm)
    run(first)
    with refused(EBUSY, "timer-irq-fixed"):
        put(first, TimerAttr.VTIMER, 20)
    put(second, TimerAttr.VTIMER, 20)
    assert get(first, TimerAttr.VTIMER) == 20
