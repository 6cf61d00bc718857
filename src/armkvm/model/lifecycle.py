"""A vCPU's life: which operation each phase admits, and with which rule it refuses the rest.

The model, the documentation and the conformance suite all read `REFUSES`.

Source: Linux arch/arm64/kvm/arm.c (kvm_arch_vcpu_ioctl, kvm_arch_vcpu_run_pid_change).
"""

from __future__ import annotations

from collections.abc import Mapping

from armkvm.errors import Rule
from armkvm.model import rules
from armkvm.state import Phase

INIT = "KVM_ARM_VCPU_INIT"
FINALIZE = "KVM_ARM_VCPU_FINALIZE"
GET_ONE_REG = "KVM_GET_ONE_REG"
SET_ONE_REG = "KVM_SET_ONE_REG"
GET_REG_LIST = "KVM_GET_REG_LIST"
RUN = "KVM_RUN"
GET_MP_STATE = "KVM_GET_MP_STATE"
SET_MP_STATE = "KVM_SET_MP_STATE"
GET_VCPU_EVENTS = "KVM_GET_VCPU_EVENTS"
SET_VCPU_EVENTS = "KVM_SET_VCPU_EVENTS"
HAS_DEVICE_ATTR = "KVM_HAS_DEVICE_ATTR"
GET_DEVICE_ATTR = "KVM_GET_DEVICE_ATTR"
SET_DEVICE_ATTR = "KVM_SET_DEVICE_ATTR"

OPERATIONS = (
    INIT,
    FINALIZE,
    GET_ONE_REG,
    SET_ONE_REG,
    GET_REG_LIST,
    RUN,
    GET_MP_STATE,
    SET_MP_STATE,
    GET_VCPU_EVENTS,
    SET_VCPU_EVENTS,
    HAS_DEVICE_ATTR,
    GET_DEVICE_ATTR,
    SET_DEVICE_ATTR,
)

# operation -> the rule that refuses it in (CREATED, CONFIGURED, READY); None admits it.
# Whether Z, P, FFR or a vector-length set can be accessed depends on the register as well and is
# decided with it (`model.vectors`).
REFUSES: dict[str, tuple[Rule | None, Rule | None, Rule | None]] = {
    INIT: (None, None, None),
    FINALIZE: (rules.NOT_INITIALISED, None, None),
    GET_ONE_REG: (rules.NOT_INITIALISED, None, None),
    SET_ONE_REG: (rules.NOT_INITIALISED, None, None),
    GET_REG_LIST: (rules.NOT_INITIALISED, rules.NOT_FINALIZED, None),
    RUN: (rules.NOT_INITIALISED, rules.NOT_FINALIZED, None),
    GET_MP_STATE: (None, None, None),
    SET_MP_STATE: (None, None, None),
    GET_VCPU_EVENTS: (rules.NOT_INITIALISED, None, None),
    SET_VCPU_EVENTS: (rules.NOT_INITIALISED, None, None),
    HAS_DEVICE_ATTR: (None, None, None),
    GET_DEVICE_ATTR: (None, None, None),
    SET_DEVICE_ATTR: (None, None, None),
}

REFUSED_IN: dict[Phase, Mapping[str, Rule]] = {
    phase: {op: rule for op, row in REFUSES.items() if (rule := row[n]) is not None}
    for n, phase in enumerate((Phase.CREATED, Phase.CONFIGURED, Phase.READY))
}
"""By phase: the operations it refuses, with the rule."""

REFUSED_WHEN_DEAD: Mapping[str, Rule] = dict.fromkeys(OPERATIONS, rules.VM_DEAD)
"""What a vCPU of a VM that a failure in the kernel has ended refuses: everything."""
