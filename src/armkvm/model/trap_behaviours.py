"""How kernels differ in what a guest's ID registers settle at, and in what they make of its accesses."""

from __future__ import annotations

from armkvm.model.behaviour import behaviour

SETTLES_PERMISSIONS = behaviour(
    "settles-permissions",
    "At a VM's first run ID_AA64MMFR3_EL1.S1PIE becomes 0 unless TCRX and ATS1A are shown, and S1POE unless "
    "those and HPDS are.",
    source="arch/arm64/kvm/sys_regs.c (kvm_finalize_sys_regs)",
    since="7.3 at the latest",
    detect="with TCRX lowered to 0, S1PIE reads 0 after KVM_RUN",
    test="tests/unit/test_settle.py",
)
FINE_GRAINED_UNDEF = behaviour(
    "fine-grained-undef",
    "On hosts with FEAT_FGT, what the VM's ID registers leave out is UNDEFINED to its guest.",
    source="arch/arm64/kvm/sys_regs.c (kvm_calculate_traps), emulate-nested.c",
    since="6.9",
    detect="a guest without S1POE that reads POR_EL1 on a host that has it takes an exception",
    test="tests/unit/test_traps.py",
)
FGU_BY_FEATURE = behaviour(
    "fgu-by-feature",
    "Which accesses become UNDEFINED follows from a table of each trap bit's feature, the second set of "
    "control registers included; before, a handful of features were listed by hand.",
    source="arch/arm64/kvm/config.c (compute_fgu)",
    since="6.16",
    detect="a guest without pointer authentication that reads APIAKeyLo_EL1 traps by HFGRTR_EL2",
    test="tests/unit/test_traps.py",
    needs=FINE_GRAINED_UNDEF,
)
RAS_BY_FIELD = behaviour(
    "ras-by-field",
    "Error record registers are UNDEFINED to a guest whose ID_AA64PFR0_EL1.RAS is 0; before, they read as "
    "zero on every host that has them.",
    source="arch/arm64/kvm/sys_regs.c (access_ras)",
    since="6.17",
    detect="a guest with RAS 0 that reads ERRIDR_EL1 takes an exception",
    test="tests/unit/test_traps.py",
)
IDST_EXCEPTIONS = behaviour(
    "idst-exceptions",
    "A guest with FEAT_IDST that reads an ID register KVM does not give it takes a trapped system register "
    "access (class 0x18) at EL1 instead of an UNDEFINED exception.",
    source="arch/arm64/kvm/emulate-nested.c (triage_sysreg_trap), sys_regs.c",
    since="7.3 at the latest, and with revision 12 of the SME series",
    detect="SMIDR_EL1 read by a guest without SME: exception class 0x18",
    test="tests/unit/test_traps.py",
)
