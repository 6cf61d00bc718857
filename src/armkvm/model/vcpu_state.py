"""A vCPU's state that is no register: whether it runs, and pending events.

Source: Linux arch/arm64/kvm/arm.c, guest.c (__kvm_arm_vcpu_get_events, __kvm_arm_vcpu_set_events).
"""

from __future__ import annotations

from armkvm.abi.structs import VCPU_EVENTS, MpState
from armkvm.arch.idfields import field
from armkvm.catalog import id_of
from armkvm.errors import Rule
from armkvm.model import aborts, rules
from armkvm.model.abort_behaviours import SERROR_TAKEN_AT_ONCE
from armkvm.model.lifecycle import GET_MP_STATE, GET_VCPU_EVENTS, SET_MP_STATE, SET_VCPU_EVENTS
from armkvm.model.outcome import Refused
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import EVENTS_BEFORE_INIT

_RAS = field("ID_AA64PFR0_EL1", "RAS")
_ISS = (1 << 25) - 1
_NO_SYNDROME = 1 << 24  # ISS.IDS: the rest of it means nothing that is architected


def get_mp_state(vcpu: Vcpu) -> int | Refused:
    """KVM_GET_MP_STATE, in any phase."""
    rule = vcpu.refuses.get(GET_MP_STATE)
    return vcpu.mp_state if rule is None else Refused(rule)


def set_mp_state(vcpu: Vcpu, state: int) -> Refused | None:
    """KVM_SET_MP_STATE, in any phase."""
    rule = vcpu.refuses.get(SET_MP_STATE)
    if rule is not None:
        return Refused(rule)
    if state not in (MpState.RUNNABLE, MpState.STOPPED, MpState.SUSPENDED):
        return Refused(rules.BAD_MP_STATE, f"asked for {state}")
    vcpu.mp_state = state
    return None


def _host_has_ras(vcpu: Vcpu) -> bool:
    platform = vcpu.vm.platform
    return bool(_RAS.extract(platform.value(id_of(_RAS.register))))


def _refusing(vcpu: Vcpu, operation: str) -> Rule | None:
    """The rule of the vCPU's phase, if it has one."""
    rule = vcpu.refuses.get(operation)
    if rule is rules.NOT_INITIALISED and EVENTS_BEFORE_INIT in vcpu.vm.profile:
        return None
    return rule


def get_events(vcpu: Vcpu) -> bytes | Refused:
    """KVM_GET_VCPU_EVENTS: has_esr always says what the host can do."""
    rule = _refusing(vcpu, GET_VCPU_EVENTS)
    if rule is not None:
        return Refused(rule)
    pending, esr = vcpu.serror
    return VCPU_EVENTS.pack(
        pending, _host_has_ras(vcpu), 0, esr if pending and _host_has_ras(vcpu) else 0, *[0] * 12
    )


def set_events(vcpu: Vcpu, events: bytes) -> Refused | None:
    """KVM_SET_VCPU_EVENTS: an external abort is injected, see `aborts`, and never reported back."""
    rule = _refusing(vcpu, SET_VCPU_EVENTS)
    if rule is not None:
        return Refused(rule)
    pending, has_esr, abort, esr, *reserved = VCPU_EVENTS.unpack(events)
    if any(reserved) or any(events[3:8]):
        return Refused(rules.EVENTS_RESERVED)
    aborts_first = SERROR_TAKEN_AT_ONCE in vcpu.vm.profile
    if abort and aborts_first:
        _abort(vcpu)
    if pending:
        if has_esr and not (_host_has_ras(vcpu) and esr & ~_ISS == 0):
            return Refused(rules.EVENTS_NO_ESR, f"syndrome {esr:#x}")
        aborts.inject_serror(vcpu, esr if has_esr else _NO_SYNDROME)
    if abort and not aborts_first:
        _abort(vcpu)
    return None


def _abort(vcpu: Vcpu) -> None:
    if aborts.is_modelled(vcpu):
        aborts.inject(vcpu)
