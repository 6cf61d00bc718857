"""How kernels differ in what they make of a guest's calls; `profile` says which kernel has which."""

from __future__ import annotations

from armkvm.model.behaviour import behaviour

SMC_IS_A_CALL = behaviour(
    "smc-is-a-call",
    "A guest's SMC #0 is answered like HVC; before, every SMC returned -1.",
    source="arch/arm64/kvm/handle_exit.c (handle_smc)",
    since="6.4",
    detect="what SMC #0 with X0 = PSCI_VERSION leaves in X0",
    test="tests/unit/test_hypercalls.py",
)
