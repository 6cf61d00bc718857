"""PSCI: what KVM answers to a guest that starts, stops and asks about vCPUs, or ends the VM.

Source: Linux arch/arm64/kvm/psci.c; Arm DEN 0022 (PSCI).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from armkvm.abi.caps import Cap
from armkvm.abi.structs import ExitReason, MpState
from armkvm.model import core_regs, firmware, run_rules
from armkvm.model.outcome import Refused
from armkvm.model.reset import reset
from armkvm.model.vcpu import Vcpu
from armkvm.state import Exit, SystemEvent

Arguments = list[int]
"""X0 to X30 of the caller, changed in place."""
Answer = Exit | Refused | None
"""What a call makes of KVM_RUN: it returns to userspace, sleeps (EINTR), or the guest goes on."""

_AFFINITY = 0xFF_00FF_FFFF
_AFFINITY_BITS = 8
_MASK32, _MASK64 = 0xFFFF_FFFF, (1 << 64) - 1
_SMC64 = 1 << 30


class Function(IntEnum):
    """Function numbers, without the bit that says the arguments have 64 bits."""

    VERSION = 0x8400_0000
    CPU_SUSPEND = 0x8400_0001
    CPU_OFF = 0x8400_0002
    CPU_ON = 0x8400_0003
    AFFINITY_INFO = 0x8400_0004
    MIGRATE_INFO_TYPE = 0x8400_0006
    SYSTEM_OFF = 0x8400_0008
    SYSTEM_RESET = 0x8400_0009
    FEATURES = 0x8400_000A
    SYSTEM_SUSPEND = 0x8400_000E
    SYSTEM_RESET2 = 0x8400_0012
    SYSTEM_OFF2 = 0x8400_0015


HAVE_SMC64 = frozenset(
    (
        *(Function.CPU_SUSPEND, Function.CPU_ON, Function.AFFINITY_INFO),
        *(Function.SYSTEM_SUSPEND, Function.SYSTEM_RESET2, Function.SYSTEM_OFF2),
    )
)
SMCCC_VERSION = 0x8000_0000
_CPU_OFF_0_1, _CPU_ON_0_1 = 0x95C1_BA5F, 0x95C1_BA60
PSCI_0_1_FUNCTIONS = range(0x95C1_BA5E, 0x95C1_BA62)


class Return(IntEnum):
    """What a call returns in X0."""

    SUCCESS = 0
    NOT_SUPPORTED = -1
    INVALID_PARAMS = -2
    ALREADY_ON = -4
    INTERNAL_FAILURE = -6


class EventType(IntEnum):
    """KVM_SYSTEM_EVENT_*."""

    SHUTDOWN = 1
    RESET = 2
    SUSPEND = 5


_ON, _OFF = 0, 1
_NO_MIGRATION_NEEDED = 2
_HIBERNATE_OFF = 1
_VENDOR_RESETS = 0x8000_0000
_RESET2_FLAG = _OFF2_FLAG = 1


def call(vcpu: Vcpu, x: Arguments) -> Answer:
    """One PSCI call of the vCPU's PSCI version, whose function is in X0."""
    version = firmware.psci_version(vcpu)
    if version == firmware.PSCI_0_1:
        return _call_0_1(vcpu, x)
    function = x[0] & _MASK32
    base = function & ~_SMC64
    minor = version & 0xFFFF if version >> 16 else -1
    known = _function(base, minor)
    if known is None or (function & _SMC64 and known not in HAVE_SMC64):
        return _returning(x, Return.NOT_SUPPORTED)
    if not function & _SMC64:
        x[1:4] = [value & _MASK32 for value in x[1:4]]
    return _CALLS[known](vcpu, x)


def _function(number: int, minor: int) -> Function | None:
    """The function of that number, if PSCI 1.`minor` (or 0.2, with -1) has it."""
    if number not in Function.__members__.values():
        return None
    return Function(number) if minor >= _SINCE.get(Function(number), -1) else None


_SINCE = {
    Function.FEATURES: 0,
    Function.SYSTEM_SUSPEND: 0,
    Function.SYSTEM_RESET2: 1,
    Function.SYSTEM_OFF2: 3,
}
"""The minor version of PSCI 1 that brought a function; the others are of 0.2."""


def _returning(x: Arguments, value: int) -> Answer:
    """Put a call's result into X0, and zero into X1 to X3; the guest goes on."""
    x[:4] = [value & _MASK64, 0, 0, 0]
    return None


def _call_0_1(vcpu: Vcpu, x: Arguments) -> Answer:
    function = x[0] & _MASK32
    if function == _CPU_OFF_0_1:
        return _cpu_off(vcpu, x)
    if function == _CPU_ON_0_1:
        return _cpu_on(vcpu, x)
    return _returning(x, Return.NOT_SUPPORTED)


def _version(vcpu: Vcpu, x: Arguments) -> Answer:
    return _returning(x, firmware.psci_version(vcpu))


def _cpu_suspend(vcpu: Vcpu, x: Arguments) -> Answer:
    """The same as WFI, whatever power state is asked for."""
    _returning(x, Return.SUCCESS)
    return Refused(run_rules.WAITS, "PSCI CPU_SUSPEND")


def _cpu_off(vcpu: Vcpu, x: Arguments) -> Answer:
    vcpu.mp_state = MpState.STOPPED
    _returning(x, Return.SUCCESS)
    return Refused(run_rules.POWERED_OFF, "the guest called PSCI CPU_OFF")


def _cpu_on(vcpu: Vcpu, x: Arguments) -> Answer:
    """Reset a stopped vCPU and have it start at X2 with X3 in its X0."""
    target = _vcpu_at(vcpu, x[1])
    if target is None:
        return _returning(x, Return.INVALID_PARAMS)
    if target.mp_state != MpState.STOPPED:
        on_0_1 = firmware.psci_version(vcpu) == firmware.PSCI_0_1
        return _returning(x, Return.INVALID_PARAMS if on_0_1 else Return.ALREADY_ON)
    reset(target)
    target.core[core_regs.PC], target.core[core_regs.X[0]] = x[2], x[3]
    target.mp_state = MpState.RUNNABLE
    return _returning(x, Return.SUCCESS)


def _vcpu_at(vcpu: Vcpu, affinity: int) -> Vcpu | None:
    if affinity & ~_AFFINITY:
        return None
    return next((one for one in vcpu.vm.vcpus.values() if one.affinity == affinity), None)


def _affinity_info(vcpu: Vcpu, x: Arguments) -> Answer:
    affinity, level = x[1], x[2]
    if affinity & ~_AFFINITY or level > 3:
        return _returning(x, Return.INVALID_PARAMS)
    mask = _AFFINITY & -(1 << level * _AFFINITY_BITS)
    meant = [one for one in vcpu.vm.vcpus.values() if one.affinity & mask == affinity & mask]
    if not meant:
        return _returning(x, Return.INVALID_PARAMS)
    return _returning(x, _ON if any(one.mp_state != MpState.STOPPED for one in meant) else _OFF)


def _migrate_info_type(vcpu: Vcpu, x: Arguments) -> Answer:
    return _returning(x, _NO_MIGRATION_NEEDED)


def _features(vcpu: Vcpu, x: Arguments) -> Answer:
    number, minor = x[1] & _MASK32, firmware.psci_version(vcpu) & 0xFFFF
    function = _function(number & ~_SMC64, minor)
    if number == SMCCC_VERSION:
        return _returning(x, 0)
    if function is None or (number & _SMC64 and function not in HAVE_SMC64):
        return _returning(x, Return.NOT_SUPPORTED)
    if function is Function.SYSTEM_SUSPEND and Cap.ARM_SYSTEM_SUSPEND not in vcpu.vm.caps:
        return _returning(x, Return.NOT_SUPPORTED)
    return _returning(x, _HIBERNATE_OFF if function is Function.SYSTEM_OFF2 else 0)


def _system_off(vcpu: Vcpu, x: Arguments) -> Answer:
    return _end_system(vcpu, x, EventType.SHUTDOWN, 0)


def _system_reset(vcpu: Vcpu, x: Arguments) -> Answer:
    return _end_system(vcpu, x, EventType.RESET, 0)


def _system_reset2(vcpu: Vcpu, x: Arguments) -> Answer:
    """A warm reset (0), or one that a vendor defines."""
    if 0 < x[1] & _MASK32 < _VENDOR_RESETS:
        return _returning(x, Return.INVALID_PARAMS)
    return _end_system(vcpu, x, EventType.RESET, _RESET2_FLAG)


def _system_off2(vcpu: Vcpu, x: Arguments) -> Answer:
    if x[1] not in (0, _HIBERNATE_OFF) or x[2]:
        return _returning(x, Return.INVALID_PARAMS)
    return _end_system(vcpu, x, EventType.SHUTDOWN, _OFF2_FLAG)


def _end_system(vcpu: Vcpu, x: Arguments, event: EventType, flags: int) -> Exit:
    """Every vCPU stops until it is initialised again; should one go on, its call has failed."""
    for one in vcpu.vm.vcpus.values():
        one.mp_state = MpState.STOPPED
    _returning(x, Return.INTERNAL_FAILURE)
    return Exit(ExitReason.SYSTEM_EVENT, system_event=SystemEvent(event, (flags,)))


def _system_suspend(vcpu: Vcpu, x: Arguments) -> Answer:
    """Userspace decides; it is told only if it asked to be."""
    if Cap.ARM_SYSTEM_SUSPEND not in vcpu.vm.caps:
        return _returning(x, Return.NOT_SUPPORTED)
    return Exit(ExitReason.SYSTEM_EVENT, system_event=SystemEvent(EventType.SUSPEND))


_CALLS: dict[Function, Callable[[Vcpu, Arguments], Answer]] = {
    Function.VERSION: _version,
    Function.CPU_SUSPEND: _cpu_suspend,
    Function.CPU_OFF: _cpu_off,
    Function.CPU_ON: _cpu_on,
    Function.AFFINITY_INFO: _affinity_info,
    Function.MIGRATE_INFO_TYPE: _migrate_info_type,
    Function.SYSTEM_OFF: _system_off,
    Function.SYSTEM_RESET: _system_reset,
    Function.FEATURES: _features,
    Function.SYSTEM_SUSPEND: _system_suspend,
    Function.SYSTEM_RESET2: _system_reset2,
    Function.SYSTEM_OFF2: _system_off2,
}
