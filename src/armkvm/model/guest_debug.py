"""KVM_SET_GUEST_DEBUG: a guest stepped by userspace, and breakpoint instructions that userspace takes.

Source: Linux arch/arm64/kvm/guest.c (kvm_arch_vcpu_ioctl_set_guest_debug), debug.c, handle_exit.c
(kvm_handle_guest_debug); Arm ARM, ESR_ELx for software steps and BRK.
"""

from __future__ import annotations

from struct import Struct

from armkvm.abi.structs import ExitReason, GuestDebug
from armkvm.cpu.exceptions import IL_32BIT, ExceptionClass
from armkvm.model import run_rules
from armkvm.model.lifecycle import SET_GUEST_DEBUG
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu
from armkvm.state import Exit

_PAYLOAD = Struct("<IIQ")  # hsr, hsr_high, far
_STEP_VALID, _STEP_STATUS = 1 << 24, 0x22
_CONTROLS = GuestDebug.ENABLE | GuestDebug.SINGLESTEP | GuestDebug.USE_SW_BP | GuestDebug.USE_HW


def set_debug(vcpu: Vcpu, control: int) -> Refused | None:
    """KVM_SET_GUEST_DEBUG; without ENABLE every other control is off."""
    rule = vcpu.refuses.get(SET_GUEST_DEBUG)
    if rule is not None:
        return Refused(rule)
    if control & ~_CONTROLS:
        return Refused(run_rules.DEBUG_CONTROL, f"asked for {control:#x}")
    vcpu.debug = control if control & GuestDebug.ENABLE else 0
    return None


def is_stepped(vcpu: Vcpu) -> bool:
    """Whether every instruction of the guest is to end KVM_RUN."""
    return bool(vcpu.debug & GuestDebug.SINGLESTEP)


def stepped(*, by_kvm: bool = False) -> Exit:
    """The exit after one instruction; `by_kvm` if KVM completed it and the CPU executed none."""
    syndrome = _STEP_STATUS | (0 if by_kvm else _STEP_VALID)
    return _exit(ExceptionClass.SOFTWARE_STEP_LOWER, syndrome)


def breakpoint_hit(immediate: int) -> Exit:
    """The exit at a BRK of the guest."""
    return _exit(ExceptionClass.BRK, immediate)


def _exit(ec: ExceptionClass, iss: int) -> Exit:
    return Exit(ExitReason.DEBUG, payload=_PAYLOAD.pack(ec << 26 | IL_32BIT | iss, 0, 0))
