"""How kernels differ in what they make of a guest's calls; `profile` says which kernel has which."""

from __future__ import annotations

from armkvm.model.behaviour import behaviour

MMIO_SIGN_LOST = behaviour(
    "mmio-sign-lost",
    "A guest's load from a device that is to extend the sign fills with zeroes; its size is right.",
    source="arch/arm64/kvm/mmio.c (kvm_handle_mmio_return)",
    since="seen on 6.1 and 6.12, gone by 7.2",
    detect="X0 after LDRSB X0 from an address without memory, completed with 0xfe",
    test="tests/unit/test_run.py",
)
SMC_IS_A_CALL = behaviour(
    "smc-is-a-call",
    "A guest's SMC #0 is answered like HVC; before, every SMC returned -1.",
    source="arch/arm64/kvm/handle_exit.c (handle_smc)",
    since="6.4",
    detect="what SMC #0 with X0 = PSCI_VERSION leaves in X0",
    test="tests/unit/test_hypercalls.py",
)
