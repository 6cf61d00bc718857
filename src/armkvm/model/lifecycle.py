"""A vCPU's life: which operation each phase admits, and with which rule it refuses the rest.

The model, the documentation and the conformance suite all read `LIFE_CYCLES`. Kernels with scalable
vectors share one, `EXPLICIT`; two that were proposed on the way there have their own.

Source: Linux arch/arm64/kvm/arm.c (kvm_arch_vcpu_ioctl, kvm_arch_vcpu_run_pid_change), guest.c.
"""

from __future__ import annotations

from collections.abc import Mapping

from armkvm.errors import Rule
from armkvm.model import rules, vector_rules
from armkvm.model.profile import KernelProfile
from armkvm.model.vector_behaviours import IMPLICIT_FINALIZATION, SVE_VLS_CALLS
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
SET_GUEST_DEBUG = "KVM_SET_GUEST_DEBUG"
HAS_DEVICE_ATTR = "KVM_HAS_DEVICE_ATTR"
GET_DEVICE_ATTR = "KVM_GET_DEVICE_ATTR"
SET_DEVICE_ATTR = "KVM_SET_DEVICE_ATTR"

ACCESS_VECTORS = "KVM_{GET,SET}_ONE_REG of Z, P or FFR"
SET_LENGTHS = "KVM_SET_ONE_REG of a set of vector lengths"
GET_LENGTHS_CALL = "KVM_ARM_VCPU_GET_SVE_VLS"
SET_LENGTHS_CALL = "KVM_ARM_VCPU_SET_SVE_VLS"

PHASES = (Phase.CREATED, Phase.CONFIGURED, Phase.READY)
Row = tuple[Rule | None, Rule | None, Rule | None]

_NO_FINALIZE: Row = (vector_rules.NO_FINALIZE,) * 3
_NO_CALL: Row = (vector_rules.NO_LENGTHS_CALL,) * 3

# operation -> the rule that refuses it in each of PHASES; None admits it. A vCPU without scalable
# vectors is never CONFIGURED. What can be refused for other reasons too is decided with those.
REFUSES: dict[str, Row] = {
    INIT: (None, None, None),
    FINALIZE: (rules.NOT_INITIALISED, None, None),
    GET_ONE_REG: (rules.NOT_INITIALISED, None, None),
    SET_ONE_REG: (rules.NOT_INITIALISED, None, None),
    ACCESS_VECTORS: (rules.NOT_INITIALISED, vector_rules.VECTOR_NOT_FINALIZED, None),
    SET_LENGTHS: (rules.NOT_INITIALISED, None, vector_rules.VLS_FINAL),
    GET_REG_LIST: (rules.NOT_INITIALISED, rules.NOT_FINALIZED, None),
    RUN: (rules.NOT_INITIALISED, rules.NOT_FINALIZED, None),
    GET_MP_STATE: (None, None, None),
    SET_MP_STATE: (None, None, None),
    GET_VCPU_EVENTS: (rules.NOT_INITIALISED, None, None),
    SET_VCPU_EVENTS: (rules.NOT_INITIALISED, None, None),
    SET_GUEST_DEBUG: (None, None, None),
    HAS_DEVICE_ATTR: (None, None, None),
    GET_DEVICE_ATTR: (None, None, None),
    SET_DEVICE_ATTR: (None, None, None),
    GET_LENGTHS_CALL: _NO_CALL,
    SET_LENGTHS_CALL: _NO_CALL,
}


class LifeCycle:
    """How the vCPUs of a kernel come to be usable.

    `finalizing` operations make a CONFIGURED vCPU READY when they are admitted; without `configures`
    a vCPU with scalable vectors is READY right after KVM_ARM_VCPU_INIT. `refused_in` has by phase the
    operations that it refuses, with the rule.
    """

    __slots__ = ("configures", "finalizing", "name", "refused_in", "refuses")

    def __init__(
        self,
        name: str,
        refuses: Mapping[str, Row],
        finalizing: frozenset[str] = frozenset(),
        configures: bool = True,
    ) -> None:
        self.name = name
        self.refuses = refuses
        self.finalizing = finalizing
        self.configures = configures
        self.refused_in: dict[Phase, dict[str, Rule]] = {
            phase: {op: rule for op, row in refuses.items() if (rule := row[n]) is not None}
            for n, phase in enumerate(PHASES)
        }


EXPLICIT = LifeCycle("explicit finalization", REFUSES)
IMPLICIT = LifeCycle(
    "implicit finalization",
    REFUSES
    | {
        FINALIZE: _NO_FINALIZE,
        ACCESS_VECTORS: (rules.NOT_INITIALISED, None, None),
        SET_LENGTHS: (rules.NOT_INITIALISED, None, vector_rules.VLS_FINAL_BY_USE),
        GET_REG_LIST: (rules.NOT_INITIALISED, None, None),
        RUN: (rules.NOT_INITIALISED, None, None),
    },
    finalizing=frozenset((ACCESS_VECTORS, GET_REG_LIST, RUN)),
)
BY_CALLS = LifeCycle(
    "lengths by calls of their own",
    REFUSES
    | {
        FINALIZE: _NO_FINALIZE,
        GET_LENGTHS_CALL: (rules.NOT_INITIALISED, None, None),
        SET_LENGTHS_CALL: (rules.NOT_INITIALISED, None, None),
    },
    configures=False,
)
LIFE_CYCLES = (EXPLICIT, IMPLICIT, BY_CALLS)


def life_cycle(profile: KernelProfile) -> LifeCycle:
    """The life cycle of a kernel's vCPUs."""
    if IMPLICIT_FINALIZATION in profile:
        return IMPLICIT
    return BY_CALLS if SVE_VLS_CALLS in profile else EXPLICIT


REFUSED_WHEN_DEAD: Mapping[str, Rule] = dict.fromkeys(REFUSES, rules.VM_DEAD)
"""What a vCPU of a VM that a failure in the kernel has ended refuses: everything."""
