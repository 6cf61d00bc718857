"""HVC and SMC of a modelled guest: PSCI by version, service bitmaps, the filter, and what both end in."""

from __future__ import annotations

import struct
from errno import EINTR

import pytest
from tests.guest_vcpus import B_SELF, BASE, HVC0, SMC0, SMC1, get, put, vcpu_with, vm_with
from tests.small_hosts import refused

from armkvm.abi.attributes import SMCCC_FILTER, SmcccAttr, VmGroup
from armkvm.abi.caps import Cap
from armkvm.abi.structs import ExitReason, MpState
from armkvm.abi.vcpu_features import VcpuFeature as F
from armkvm.backends.model import ModelVcpu
from armkvm.errors import PlaceError
from armkvm.state import SystemEvent

MASK64 = (1 << 64) - 1
NOT_SUPPORTED, INVALID, ALREADY_ON, FAILURE = (value & MASK64 for value in (-1, -2, -4, -6))
VERSION, CPU_SUSPEND, CPU_OFF, CPU_ON, AFFINITY_INFO = (0x8400_0000 + n for n in range(5))
SYSTEM_OFF, SYSTEM_RESET, FEATURES, SYSTEM_SUSPEND = 0x8400_0008, 0x8400_0009, 0x8400_000A, 0x8400_000E
RESET2, OFF2, SMC64 = 0x8400_0012, 0x8400_0015, 1 << 30
SMCCC, ARCH_FEATURES, WORKAROUND_1 = 0x8000_0000, 0x8000_0001, 0x8000_8000
TRNG, TRNG_FEATURES, TRNG_RND64 = 0x8400_0050, 0x8400_0051, 0xC400_0053
UID, KVM_FEATURES, PTP, PV_TIME = 0x8600_FF01, 0x8600_0000, 0x8600_0001, 0xC500_0020


def call(vcpu: ModelVcpu, *arguments: int, word: int = HVC0) -> int:
    """X0 after one HVC that the guest goes on after."""
    vcpu_vm_write(vcpu, word)
    for n, value in enumerate((*arguments, 0, 0, 0)[:4]):
        put(vcpu, f"X{n}", value)
    put(vcpu, "PC", BASE)
    with refused(EINTR, "run-limit"):
        vcpu.run(instructions=1)
    assert get(vcpu, "PC") == BASE + 4
    return get(vcpu, "X0")


def vcpu_vm_write(vcpu: ModelVcpu, word: int) -> None:
    vcpu.vcpu.vm.memory.write(BASE, struct.pack("<II", word, B_SELF))


VERSIONS = [(2, 2), (0x10000, 0x10000), (0x10001, 0x10001), (0x10003, 0x10003)]


@pytest.mark.parametrize(("version", "told"), VERSIONS)
def test_the_guest_is_told_the_vms_psci_version(version: int, told: int) -> None:
    vcpu = vcpu_with(HVC0)
    put(vcpu, "KVM_REG_ARM_PSCI_VERSION", version)
    assert call(vcpu, VERSION) == told


@pytest.mark.parametrize(
    ("version", "function", "told"),
    [
        (2, VERSION, None),
        (0x10000, VERSION, 0),
        (0x10000, CPU_ON | SMC64, 0),
        (0x10000, CPU_OFF | SMC64, NOT_SUPPORTED),
        (0x10000, RESET2, NOT_SUPPORTED),
        (0x10001, RESET2 | SMC64, 0),
        (0x10001, OFF2, NOT_SUPPORTED),
        (0x10003, OFF2 | SMC64, 1),
        (0x10003, SYSTEM_SUSPEND, NOT_SUPPORTED),
        (0x10003, SMCCC, 0),
        (0x10003, 0x8400_0005, NOT_SUPPORTED),
    ],
)
def test_features_are_those_of_the_version(version: int, function: int, told: int | None) -> None:
    vcpu = vcpu_with(HVC0)
    put(vcpu, "KVM_REG_ARM_PSCI_VERSION", version)
    assert call(vcpu, FEATURES, function) == (NOT_SUPPORTED if told is None else told)


def test_without_psci_0_2_there_are_two_calls() -> None:
    vm, (vcpu, other) = vm_with(HVC0, features=(), vcpus=2)
    assert call(vcpu, VERSION) == NOT_SUPPORTED
    assert call(vcpu, 0x95C1_BA60, 1, BASE + 0x40, 5) == 0
    assert (other.get_mp_state(), get(other, "PC"), get(other, "X0")) == (MpState.RUNNABLE, BASE + 0x40, 5)
    assert call(vcpu, 0x95C1_BA60, 1, BASE, 5) == INVALID
    assert vm.vm.vcpus[1].mp_state == MpState.RUNNABLE


def test_vcpus_are_started_asked_about_and_stopped() -> None:
    _, (vcpu, other) = vm_with(HVC0, vcpus=2)
    assert call(vcpu, AFFINITY_INFO, 1, 0) == 1
    assert call(vcpu, AFFINITY_INFO, 1, 1) == 0, "vCPU 0 is in the same cluster, and runs"
    assert call(vcpu, AFFINITY_INFO, 5, 0) == INVALID
    assert call(vcpu, AFFINITY_INFO, 1, 4) == INVALID
    assert call(vcpu, CPU_ON | SMC64, 7, 0, 0) == INVALID
    put(other, "X5", 77)
    assert call(vcpu, CPU_ON | SMC64, 1, BASE + 4, 0x1_0000_0002) == 0
    assert (get(other, "PC"), get(other, "X0"), get(other, "X5")) == (BASE + 4, 0x1_0000_0002, 0)
    assert get(other, "PSTATE") == 0x3C5
    assert call(vcpu, CPU_ON | SMC64, 1, BASE, 0) == ALREADY_ON
    assert call(vcpu, AFFINITY_INFO | SMC64, 1, 0) == 0
    vcpu_vm_write(other, HVC0)
    put(other, "PC", BASE)
    put(other, "X0", CPU_OFF)
    with refused(EINTR, "vcpu-powered-off"):
        other.run()
    assert (other.get_mp_state(), get(other, "PC")) == (MpState.STOPPED, BASE + 4)


def test_suspending_a_vcpu_is_waiting() -> None:
    vcpu = vcpu_with(HVC0)
    put(vcpu, "X0", CPU_SUSPEND)
    with refused(EINTR, "guest-waits"):
        vcpu.run()
    assert (get(vcpu, "X0"), get(vcpu, "PC")) == (0, BASE + 4)


@pytest.mark.parametrize(
    ("arguments", "event"),
    [
        ((SYSTEM_OFF,), SystemEvent(1, (0,))),
        ((SYSTEM_RESET,), SystemEvent(2, (0,))),
        ((RESET2 | SMC64, 0), SystemEvent(2, (1,))),
        ((RESET2, 0x8000_0001), SystemEvent(2, (1,))),
        ((OFF2, 1), SystemEvent(1, (1,))),
    ],
)
def test_the_end_of_the_system_stops_every_vcpu(arguments: tuple[int, ...], event: SystemEvent) -> None:
    _, (vcpu, other) = vm_with(HVC0, vcpus=2)
    other.set_mp_state(MpState.RUNNABLE)
    for n, value in enumerate(arguments):
        put(vcpu, f"X{n}", value)
    assert vcpu.run().system_event == event
    assert (get(vcpu, "X0"), get(vcpu, "PC")) == (FAILURE, BASE + 4)
    assert {one.get_mp_state() for one in (vcpu, other)} == {MpState.STOPPED}


def test_bad_arguments_do_not_end_it() -> None:
    vcpu = vcpu_with(HVC0)
    assert call(vcpu, RESET2, 1) == INVALID
    assert call(vcpu, OFF2, 2) == INVALID
    assert call(vcpu, OFF2, 0, 1) == INVALID


def test_suspending_the_system_is_userspaces_to_allow() -> None:
    vm, (vcpu,) = vm_with(HVC0)
    assert call(vcpu, SYSTEM_SUSPEND, BASE) == NOT_SUPPORTED
    vm.enable_cap(Cap.ARM_SYSTEM_SUSPEND)
    put(vcpu, "PC", BASE)
    put(vcpu, "X0", SYSTEM_SUSPEND)
    assert vcpu.run().system_event == SystemEvent(5)


def test_an_smc_is_a_call_since_6_4_and_only_with_a_zero_immediate() -> None:
    vcpu = vcpu_with(HVC0)
    assert call(vcpu, VERSION, word=SMC0) == 0x10003
    assert call(vcpu, VERSION, word=SMC1) == MASK64
    old = vcpu_with(HVC0, host="max?kernel=6.1")
    assert call(old, VERSION, word=SMC0) == MASK64
    assert call(old, VERSION) == 0x10001


def test_services_follow_their_bitmaps() -> None:
    vcpu = vcpu_with(HVC0)
    assert call(vcpu, SMCCC) == 0x10001
    assert call(vcpu, TRNG) == 0x10000
    assert call(vcpu, TRNG_FEATURES, TRNG_RND64) == 0
    assert call(vcpu, TRNG_FEATURES, 5) == NOT_SUPPORTED
    assert call(vcpu, UID) == 0xB66F_B428
    assert [get(vcpu, f"X{n}") for n in (1, 2, 3)] == [0xE911_C52E, 0x564B_CAA9, 0x743A_004D]
    assert call(vcpu, KVM_FEATURES) == 3
    assert call(vcpu, ARCH_FEATURES, PV_TIME) == 0
    assert call(vcpu, PV_TIME, PV_TIME) == NOT_SUPPORTED, "no place for it was given"
    bare = vcpu_with(HVC0)
    for name in ("STD", "STD_HYP", "VENDOR_HYP"):
        put(bare, f"KVM_REG_ARM_{name}_BMAP", 0)
    for function in (TRNG, UID, KVM_FEATURES, PTP, PV_TIME):
        assert call(bare, function, PV_TIME) == NOT_SUPPORTED
    assert call(bare, ARCH_FEATURES, PV_TIME) == NOT_SUPPORTED
    assert call(bare, 0x9900_0000) == NOT_SUPPORTED


def test_a_workaround_is_done_before_kvm_looks_at_it() -> None:
    vcpu = vcpu_with(HVC0)
    put(vcpu, "X3", 9)
    assert call(vcpu, WORKAROUND_1, 1, 2, 3) == 0
    assert [get(vcpu, f"X{n}") for n in (1, 2, 3)] == [0, 2, 3], "as a real 7.3 leaves them"
    level = get(vcpu, "KVM_REG_ARM_SMCCC_ARCH_WORKAROUND_1")
    assert call(vcpu, ARCH_FEATURES, WORKAROUND_1) == {0: NOT_SUPPORTED, 1: 0, 2: 1}[level]


@pytest.mark.parametrize("function", [PTP, TRNG_RND64])
def test_clock_and_entropy_are_nobodys_to_make_up(function: int) -> None:
    vcpu = vcpu_with(HVC0)
    put(vcpu, "X0", function)
    with pytest.raises(PlaceError, match="host's"):
        vcpu.run()


def test_the_filter_denies_and_forwards() -> None:
    vm, (vcpu,) = vm_with(HVC0)
    for first, action in ((0x8400_0000, 1), (0x8600_0000, 2)):
        rule = SMCCC_FILTER.pack(first, 0x100, action, bytes(15))
        vm.set_attr(VmGroup.SMCCC, SmcccAttr.FILTER, rule)
    assert call(vcpu, VERSION) == NOT_SUPPORTED
    vcpu_vm_write(vcpu, SMC0)
    put(vcpu, "PC", BASE)
    put(vcpu, "X0", KVM_FEATURES)
    left = vcpu.run()
    assert left.reason == ExitReason.HYPERCALL
    assert struct.unpack("<9Q", left.payload) == (KVM_FEATURES, *[0] * 7, 1)
    assert (get(vcpu, "PC"), get(vcpu, "X0")) == (BASE + 4, KVM_FEATURES)
    assert F.PSCI_0_2 in vcpu.vcpu.features
