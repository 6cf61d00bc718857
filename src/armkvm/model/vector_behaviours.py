"""How kernels differ in scalable vectors: on the road to SVE, and from one revision of the SME series to
the next. None of these is in a release, except what the revisions of SME change for SVE.
"""

from __future__ import annotations

from armkvm.model.behaviour import behaviour

# -- the SME series ------------------------------------------------------------------------------

_SME = "tests/differential/test_sme.py"

SME_GUESTS = behaviour(
    "sme-guests",
    "Guests can have SME: feature, capability, SME_VLS, streaming mode, ZA and ZT0.",
    source="SME series, all revisions",
    since="under review",
    detect="KVM_CAP_ARM_SME is not 0",
    test=f"{_SME}",
)
SME_VLS_ALIAS = behaviour(
    "sme-vls-alias",
    "KVM_REG_ARM64_SME_VLS answers at ...ffff, where the posted code had it, as well as at ...fffe, where "
    "the documentation has it.",
    source="SME series v4, patches 10 and 14",
    since="v2 to v8",
    detect="KVM_GET_ONE_REG of 0x606000000017ffff succeeds",
    test="tests/unit/test_sme_revisions.py",
)
FFR_NEEDS_FA64 = behaviour(
    "ffr-needs-fa64",
    "In streaming mode FFR exists only if the guest's ID_AA64SMFR0_EL1.FA64 is set.",
    source="SME series v10, patch 20",
    since="v10",
    detect="FFR with SVCR.SM=1 and FA64=0 is ENOENT",
    test=f"{_SME}",
)
LISTS_SME_STATE = behaviour(
    "lists-sme-state",
    "KVM_GET_REG_LIST names SME_VLS, and ZA, ZT0, Z, P and FFR as they exist in the current mode; the first "
    "revisions named nothing of SME and Z, P and FFR by SVE alone.",
    source="SME series v11, patches 19 and 21",
    since="v11",
    detect="SME_VLS is listed",
    test=f"{_SME}",
)
ZA_OFF_IS_EINVAL = behaviour(
    "za-off-is-einval",
    "ZA and ZT0 with PSTATE.ZA clear are EINVAL, found after the check for finalization; from v10 they are "
    "EBUSY, found before it.",
    source="SME series v4, patch 21",
    since="v4 to v9",
    detect="KVM_GET_ONE_REG of ZA row 0 with SVCR=0",
    test="tests/unit/test_sme_revisions.py",
)
SVCR_PLAIN = behaviour(
    "svcr-plain",
    "A write of SVCR stores any value and clears nothing; Z, P and FFR are what the same buffer holds when "
    "cut to the other length.",
    source="SME series v4",
    since="v4",
    detect="SVCR = 0xff is accepted",
    test="tests/unit/test_sme_revisions.py",
)
SMPRI_STORED = behaviour(
    "smpri-stored",
    "SMPRI_EL1 is a register to userspace, stored as written; from v7 it has no id that works.",
    source="SME series v4, patch 18",
    since="v4 to v6",
    detect="SMPRI_EL1 is listed",
    test="tests/unit/test_sme_revisions.py",
)
SMPRI_READS_TRAP = behaviour(
    "smpri-reads-trap",
    "A guest's reads of SMPRI_EL1 trap like its writes; from v10 they reach the CPU, where the host keeps it "
    "at zero.",
    source="SME series v4, patches 5 and 18; v10, patch 18",
    since="v4 to v9",
    detect="not from outside: both read zero",
    test="tests/unit/test_trap_registers.py",
)
SMIDR_PER_VCPU = behaviour(
    "smidr-per-vcpu",
    "SMIDR_EL1 belongs to each vCPU, shows Implementer and Revision only and takes any value; from v7 it is "
    "the VM's, like MIDR_EL1.",
    source="SME series v4, patch 17",
    since="v4 to v6",
    detect="two vCPUs can hold different values",
    test="tests/unit/test_sme_revisions.py",
)
ZFR0_WITH_SME = behaviour(
    "zfr0-with-sme",
    "ID_AA64ZFR0_EL1 shows the host's value on vCPUs with SME but not SVE.",
    source="SME series v11, patch 17",
    since="v11",
    detect="ID_AA64ZFR0_EL1 of an SME-only vCPU is not 0",
    test=f"{_SME}",
)
EL2_LENGTHS_MASKED = behaviour(
    "el2-lengths-masked",
    "Once a VM with EL2 has run, ZCR_EL2 and SMCR_EL2 read without their reserved bits; LEN stays.",
    source="SME series v12, patch 15; arch/arm64/kvm/nested.c",
    since="seen on 7.2, 7.3 and sme-v12; not looked for before",
    detect="ZCR_EL2 written with all ones reads 0xf after KVM_RUN",
    test=f"{_SME}",
)
SME_NEEDS_A_LENGTH = behaviour(
    "sme-needs-a-length",
    "SME is offered only if the CPUs agree on at least one streaming vector length. Before, CPUs that differ "
    "in the smallest offered it all the same, with 2048 bits as the largest (the number -1, taken as "
    "unsigned and cut to the architecture's limit).",
    source="SME series v4, patches 4 and 25; v10, patch 26",
    since="v10",
    detect="KVM_CAP_ARM_SME is 0 on a host with SME",
    test="tests/unit/test_unlike_cpus.py",
)
LARGEST_LENGTH_CHECKED = behaviour(
    "largest-length-checked",
    "The largest vector length of a fresh vCPU is one that all CPUs have. Before, it is one quadword less "
    "than the smallest length that only some have, whether or not any CPU can do that: Z, P and ZA are so "
    "large until userspace writes the set of lengths.",
    source="SME series v11, patches 4 and 5; arch/arm64/kernel/fpsimd.c (sve_setup)",
    since="v11 of the SME series, for SVE as well",
    detect="on CPUs with 1,2,8 and 1,2,4,8 a fresh vCPU keeps 32 bytes of Z0, not 48",
    test="tests/unit/test_unlike_cpus.py",
)
SMPRIMAP_IS_ZERO = behaviour(
    "smprimap-is-zero",
    "SMPRIMAP_EL2 takes no value but 0; the first revisions stored any.",
    source="SME series v4 and v7, patch 18",
    since="v7",
    detect="writing 1 to SMPRIMAP_EL2 of a vCPU with EL2 is EINVAL",
    test=f"{_SME}",
)

# -- the road to SVE -----------------------------------------------------------------------------

_ROAD = "tests/unit/test_sve_roads.py"
_V5_MAIL = "<20190301145503.GI3567@e103592.cambridge.arm.com>"

SVE_VLS_CALLS = behaviour(
    "sve-vls-calls",
    "The set of vector lengths is no register: KVM_ARM_VCPU_SET_SVE_VLS writes it until the vCPU first runs, "
    "KVM_ARM_VCPU_GET_SVE_VLS reads it, and nothing has to be finalized. A write empties Z, P and FFR, for "
    "their size changes.",
    source="proposed on 13 December 2017 (kvmarm list, SVE RFC); never merged. What a write does to Z, P and "
    "FFR, and each errno, are assumed",
    since="proposed for 4.16",
    detect="KVM_REG_ARM64_SVE_VLS is not listed on an SVE vCPU",
    test=_ROAD,
)
IMPLICIT_FINALIZATION = behaviour(
    "implicit-finalization",
    "There is no KVM_ARM_VCPU_FINALIZE: the vector lengths become final with the first access to Z, P or FFR "
    "(late registers), KVM_GET_REG_LIST or KVM_RUN, even where that call is then refused. All other "
    "registers are relaxed, and leave the lengths open.",
    source=f"SVE series v5, patches 21 to 23, as discussed in {_V5_MAIL}",
    since="v5 of the SVE series only",
    detect="KVM_GET_REG_LIST right after KVM_ARM_VCPU_INIT with SVE succeeds",
    test=_ROAD,
)
VECTOR_IDS_ENOENT = behaviour(
    "vector-ids-enoent",
    "An id of SVE's class that names no register is ENOENT; later it is EINVAL, even on a vCPU without SVE.",
    source=f"SVE series v5, patch 22, as quoted in {_V5_MAIL}: one test, and so one errno, for a vCPU "
    "without SVE and for an id that is none",
    since="v5 of the SVE series and before",
    detect="KVM_GET_ONE_REG of Z0 with a size of 64 bytes is ENOENT",
    test=_ROAD,
)
