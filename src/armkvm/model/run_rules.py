"""The rule book's part on KVM_RUN, once it enters the guest.

Source: Linux arch/arm64/kvm/{arm,mmio,psci,handle_exit,debug}.c.
"""

from __future__ import annotations

from errno import EINTR, EINVAL, ENOSYS

from armkvm.errors import Rule

BUDGET_USED = Rule(
    "run-limit",
    EINTR,
    "The caller's limit ended the run, as a signal does; the guest stands between two instructions.",
    "Call KVM_RUN again to go on, with a larger limit if the guest needs it.",
)
WAITS = Rule(
    "guest-waits",
    EINTR,
    "The guest waits for an interrupt, and none can come; a real KVM sleeps until a signal arrives.",
    "Give the guest what it waits for, or take it for finished.",
)
POWERED_OFF = Rule(
    "vcpu-powered-off",
    EINTR,
    "A vCPU that is stopped or suspended does not run; a real KVM sleeps in KVM_RUN until it is started or "
    "a signal arrives.",
    "Start it: PSCI CPU_ON from another vCPU, KVM_SET_MP_STATE, or KVM_ARM_VCPU_INIT.",
)
NO_SYNDROME = Rule(
    "no-instruction-syndrome",
    ENOSYS,
    "The guest touched an address without memory by an instruction whose data abort does not say what it "
    "does, so that nobody can complete it.",
    "Enable KVM_CAP_ARM_NISV_TO_USER to be told of it, or give the guest memory there.",
)
DEBUG_CONTROL = Rule(
    "guest-debug-control",
    EINVAL,
    "KVM_SET_GUEST_DEBUG knows the controls ENABLE, SINGLESTEP, USE_SW_BP and USE_HW.",
    "Pass those bits alone.",
)
