"""State beside the registers: MP state, pending events, core registers, the OS lock."""

from __future__ import annotations

from armkvm.abi.caps import Cap
from armkvm.abi.regid import RegId
from armkvm.abi.structs import MpState
from armkvm.testing.conformance import scenario
from armkvm.testing.place import Place, equal, read, refuses, write

_ARM = "arch/arm64/kvm/arm.c"
_EVENTS = "arch/arm64/kvm/guest.c (__kvm_arm_vcpu_set_events)"
_PENDING, _HAS_ESR, _PAD, _ESR, _RESERVED = 0, 1, 3, 8, 16


@scenario(f"{_ARM} (kvm_arch_vcpu_ioctl_set_mpstate)")
def mp_states(place: Place) -> None:
    """RUNNABLE, STOPPED and SUSPENDED are stored; any other state is EINVAL and changes nothing."""
    vcpu = place.vcpu()
    for state in (MpState.STOPPED, MpState.SUSPENDED, MpState.RUNNABLE):
        vcpu.set_mp_state(state)
        equal(vcpu.get_mp_state(), state, "the MP state")
    for state in (1, 2, 6, 11, 0xFFFF_FFFF):
        refuses("EINVAL", vcpu.set_mp_state, state)
    equal(vcpu.get_mp_state(), MpState.RUNNABLE, "the MP state after refused calls")


@scenario(_EVENTS)
def event_padding_is_zero(place: Place) -> None:
    """Padding and reserved words of struct kvm_vcpu_events that are not zero are EINVAL."""
    vcpu = place.vcpu()
    for offset in (_PAD, _PAD + 4, _RESERVED, 63):
        events = bytearray(64)
        events[offset] = 1
        refuses("EINVAL", vcpu.set_vcpu_events, bytes(events))
    vcpu.set_vcpu_events(bytes(64))


@scenario(_EVENTS)
def a_pending_serror_is_kept(place: Place) -> None:
    """A pending SError reads back, with its syndrome where the host has RAS; elsewhere a syndrome is
    EINVAL.
    """
    vcpu = place.vcpu()
    events = bytearray(64)
    events[_PENDING] = 1
    vcpu.set_vcpu_events(bytes(events))
    equal(vcpu.get_vcpu_events()[_PENDING], 1, "serror_pending")
    events[_HAS_ESR], events[_ESR] = 1, 0x42
    if not place.has(Cap.ARM_INJECT_SERROR_ESR):
        refuses("EINVAL", vcpu.set_vcpu_events, bytes(events))
        return
    vcpu.set_vcpu_events(bytes(events))
    found = vcpu.get_vcpu_events()
    equal((found[_PENDING], found[_HAS_ESR], found[_ESR]), (1, 1, 0x42), "pending, has_esr and the syndrome")
    events[_ESR + 3] = 2  # beyond ISS, which has 25 bits
    refuses("EINVAL", vcpu.set_vcpu_events, bytes(events))


@scenario("arch/arm64/kvm/guest.c (get_core_reg, set_core_reg)")
def core_registers_hold_what_is_written(place: Place) -> None:
    """X0 to X30, SP, PC, the EL1 ones, V registers, FPSR and FPCR are plain storage."""
    vcpu = place.vcpu()
    ids = [*map(RegId.x, range(31)), *map(RegId.v, range(32))]
    ids += [which for which in vcpu.reg_list() if which.low in (62, 64, 68, 70, 212, 213)]
    core = [which for which in dict.fromkeys(ids) if which.reg_class == RegId.x(0).reg_class]
    for n, which in enumerate(core):
        vcpu.set_one_reg(which, bytes((n + 3 * k) % 256 for k in range(which.size)))
    for n, which in enumerate(core):
        equal(vcpu.get_one_reg(which), bytes((n + 3 * k) % 256 for k in range(which.size)), repr(which))


@scenario("arch/arm64/kvm/sys_regs.c (set_oslsr_el1)")
def the_os_lock_may_change(place: Place) -> None:
    """Of OSLSR_EL1 the lock bit may change; any other bit is EINVAL."""
    vcpu = place.vcpu()
    equal(read(vcpu, "OSLSR_EL1"), 0x8, "OSLSR_EL1 at first")
    write(vcpu, "OSLSR_EL1", 0xA)
    equal(read(vcpu, "OSLSR_EL1"), 0xA, "OSLSR_EL1")
    for value in (0, 0x9, 0x18):
        refuses("EINVAL", write, vcpu, "OSLSR_EL1", value)


@scenario("arch/arm64/kvm/sys_regs.c (sys_reg_descs)")
def plain_system_registers_hold_any_value(place: Place) -> None:
    """Translation, fault and thread registers keep all 64 bits that userspace writes."""
    vcpu = place.vcpu()
    for n, name in enumerate(("TTBR0_EL1", "TTBR1_EL1", "TCR_EL1", "MAIR_EL1", "VBAR_EL1", "TPIDR_EL0")):
        value = 0xA5A5_0000_FFFF_0001 + n
        write(vcpu, name, value)
        equal(read(vcpu, name), value, name)
