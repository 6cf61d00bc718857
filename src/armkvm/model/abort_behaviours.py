"""Behaviours of aborts and SErrors that userspace injects; `profile` says which kernel has which."""

from __future__ import annotations

from armkvm.model.behaviour import behaviour

_TEST = "tests/unit/test_aborts.py"

ABORT_COMMITTED_AT_ONCE = behaviour(
    "abort-committed-at-once",
    "An external abort that KVM_SET_VCPU_EVENTS injects is taken before the call returns, and its syndrome "
    "has IL set; before, the exception waits for the next KVM_RUN.",
    source="arch/arm64/kvm/guest.c (__kvm_arm_vcpu_set_events), inject_fault.c",
    since="6.17; seen on 7.2 and 7.3",
    detect="PC after KVM_SET_VCPU_EVENTS with ext_dabt_pending",
    test=_TEST,
)
ABORT_SYNDROME_SIGN_EXTENDED = behaviour(
    "abort-syndrome-sign-extended",
    "ESR_EL1 of an injected abort has bits 63:32 set: the exception class was shifted as a signed int.",
    source="arch/arm64/kvm/inject_fault.c (inject_abt64)",
    since="seen on 6.1, gone by 6.12",
    detect="ESR_EL1 after KVM_SET_VCPU_EVENTS with ext_dabt_pending",
    test=_TEST,
)
SERROR_TAKEN_AT_ONCE = behaviour(
    "serror-taken-at-once",
    "An SError that KVM_SET_VCPU_EVENTS injects while PSTATE.A is clear is taken before the call returns, "
    "and is then not pending; an abort of the same call comes first, also where the SError is refused. "
    "Before, it always waited, and a bad syndrome refused the call whole.",
    source="arch/arm64/kvm/inject_fault.c (kvm_inject_serror_esr), guest.c (__kvm_arm_vcpu_set_events)",
    since="6.17; seen on 7.2 and 7.3",
    detect="PC after PSTATE = 0 and KVM_SET_VCPU_EVENTS with serror_pending",
    test=_TEST,
    needs=ABORT_COMMITTED_AT_ONCE,
)
SERROR_SURVIVES_INIT = behaviour(
    "serror-survives-init",
    "A pending SError outlives a KVM_ARM_VCPU_INIT of a vCPU that has run, if only as far as an immediate "
    "exit; before, every INIT cleared it.",
    source="arch/arm64/kvm/arm.c (vcpu_reset_hcr)",
    since="seen on 6.12.95 and 7.3, not on 6.1",
    detect="KVM_GET_VCPU_EVENTS after KVM_SET_VCPU_EVENTS, KVM_RUN with immediate_exit and another INIT",
    test=_TEST,
)
