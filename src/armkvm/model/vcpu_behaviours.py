"""How kernels differ in what a vCPU has: features, registers, firmware, PMU.

`profile` says which kernel has which.
"""

from __future__ import annotations

from armkvm.model.behaviour import behaviour

_DIFFERENTIAL = "tests/differential/test_captures.py"

PHYSICAL_TARGET = behaviour(
    "physical-target",
    "KVM_ARM_PREFERRED_TARGET names the physical CPU, and KVM_ARM_VCPU_INIT accepts only that.",
    source="arch/arm64/kvm/guest.c, arm.c",
    since="before 6.1, until 6.4",
    detect="KVM_ARM_VCPU_INIT with target 5 on a Cortex-A57 is EINVAL",
    test=f"{_DIFFERENTIAL} (6.1/cortex-a57: init_target_*)",
)
VM_WIDE_FEATURES = behaviour(
    "vm-wide-features",
    "All vCPUs of a VM have the same features, POWER_OFF not being one; before, each vCPU had its own, "
    "taken bit by bit, and what a refused first KVM_ARM_VCPU_INIT had taken before its fault stayed.",
    source="arch/arm64/kvm/arm.c",
    since="6.7",
    detect="a second vCPU with other features than the first is EINVAL",
    test=f"{_DIFFERENTIAL} (two_vcpus_mixed_sve, reinit_base)",
)
WRITABLE_ID_REGISTERS = behaviour(
    "writable-id-registers",
    "The VM keeps its own feature ID registers, whose fields may be lowered until it first runs, and "
    "KVM_ARM_GET_REG_WRITABLE_MASKS tells which.",
    source="arch/arm64/kvm/sys_regs.c",
    since="6.7",
    detect="KVM_CAP_ARM_SUPPORTED_REG_MASK_RANGES is 1",
    test=f"{_DIFFERENTIAL} (idreg_*)",
    needs=VM_WIDE_FEATURES,
)
WRITABLE_IMP_ID = behaviour(
    "writable-imp-id",
    "With KVM_CAP_ARM_WRITABLE_IMP_ID_REGS, MIDR_EL1, REVIDR_EL1 and AIDR_EL1 belong to the VM.",
    source="arch/arm64/kvm/sys_regs.c",
    since="6.15",
    detect="KVM_CAP_ARM_WRITABLE_IMP_ID_REGS is 1",
    test=f"{_DIFFERENTIAL} (imp_id_regs, midr_no_cap)",
    needs=WRITABLE_ID_REGISTERS,
)
HOST_CACHE_GEOMETRY = behaviour(
    "host-cache-geometry",
    "CLIDR_EL1, CTR_EL0 and the CCSIDR_EL1 ids show the host's caches, as many as it has, unchangeable.",
    source="arch/arm64/kvm/sys_regs.c",
    since="before 6.1, until 6.2",
    detect="KVM_GET_REG_LIST has fewer than 14 demultiplexed ids",
    test=f"{_DIFFERENTIAL} (6.1 register lists)",
)
PHYSICAL_TIMER_IDS = behaviour(
    "physical-timer-ids",
    "The physical timer has ids (KVM_REG_ARM_PTIMER_*), and KVM_ARM_SET_COUNTER_OFFSET exists.",
    source="arch/arm64/kvm/guest.c, arch_timer.c",
    since="6.4",
    detect="KVM_CAP_COUNTER_OFFSET is 1",
    test=f"{_DIFFERENTIAL} (register lists)",
)
SYSREG_TABLE_IS_WHOLE = behaviour(
    "sysreg-table-is-whole",
    "Timers and implementation ID registers stand among the system registers in KVM_GET_REG_LIST, each "
    "where the register it accesses belongs; before, they came ahead of them, and ids of any class that the "
    "kernel does not know named MIDR, REVIDR and AIDR (on 6.1 CLIDR and CTR too) by their encodings.",
    source="arch/arm64/kvm/sys_regs.c, guest.c",
    since="6.18 at the latest",
    detect="order of KVM_GET_REG_LIST",
    test=f"{_DIFFERENTIAL} (register lists), tests/unit/test_unknown_classes.py",
)
TIMER_ISTATUS_COMPUTED = behaviour(
    "timer-istatus-computed",
    "Reading a timer's control register computes ISTATUS; later kernels return what is stored.",
    source="arch/arm64/kvm/arch_timer.c",
    since="before 6.1, until 6.17",
    detect="KVM_REG_ARM_TIMER_CTL of a fresh vCPU reads 4",
    test=f"{_DIFFERENTIAL} (initial values)",
)
UNGATED_TCR2_PIR = behaviour(
    "ungated-tcr2-pir",
    "TCR2_EL1, PIRE0_EL1 and PIR_EL1 exist on every vCPU, whatever ID_AA64MMFR3_EL1 says.",
    source="arch/arm64/kvm/sys_regs.c",
    since="6.8, until 6.12",
    detect="TCR2_EL1 in KVM_GET_REG_LIST while ID_AA64MMFR3_EL1.TCRX is 0",
    test=f"{_DIFFERENTIAL} (6.12 register lists)",
)
VENDOR_HYP_BMAP_2 = behaviour(
    "vendor-hyp-bmap-2",
    "KVM_REG_ARM_VENDOR_HYP_BMAP_2 exists, and is 0 after KVM_ARM_VCPU_INIT.",
    source="arch/arm64/kvm/hypercalls.c",
    since="6.15",
    detect="the id is listed",
    test=f"{_DIFFERENTIAL} (fw_regs)",
)
PSCI_1_3 = behaviour(
    "psci-1.3",
    "PSCI 1.2 and 1.3 are implemented, and 1.3 is the default; before, 1.1 was the newest.",
    source="arch/arm64/kvm/hypercalls.c, include/kvm/arm_psci.h",
    since="6.13",
    detect="KVM_REG_ARM_PSCI_VERSION reads 0x10003",
    test=f"{_DIFFERENTIAL} (fw_regs)",
)
PMMIR = behaviour(
    "pmmir",
    "A vCPU with a PMU has PMMIR_EL1.",
    source="arch/arm64/kvm/sys_regs.c",
    since="7.3",
    detect="PMMIR_EL1 is listed on a PMU vCPU",
    test=f"{_DIFFERENTIAL} (register lists)",
)
EVENTS_BEFORE_INIT = behaviour(
    "events-before-init",
    "KVM_GET_VCPU_EVENTS and KVM_SET_VCPU_EVENTS answer before KVM_ARM_VCPU_INIT.",
    source="arch/arm64/kvm/arm.c",
    since="seen on 6.12.95 and 6.16 only",
    detect="the call on a fresh vCPU succeeds",
    test=f"{_DIFFERENTIAL} (6.12: before_init)",
)
EAGER_SPLIT = behaviour(
    "eager-split",
    "KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE can be enabled, with a supported block size or 0.",
    source="arch/arm64/kvm/arm.c",
    since="6.5",
    detect="KVM_CHECK_EXTENSION of it is not 0 or KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES is not 0",
    test=f"{_DIFFERENTIAL} (enable_cap_vm_228)",
)
PMU_BY_ID_REGISTERS = behaviour(
    "pmu-by-id-registers",
    "What a PMU register can hold follows the VM's ID registers and counter count; before, it was the "
    "host's PMCR_EL0 and fixed masks, and writes were stored as they came.",
    source="arch/arm64/kvm/sys_regs.c, pmu-emul.c",
    since="6.7",
    detect="PMCR_EL0 of a fresh vCPU has no implementer code",
    test=f"{_DIFFERENTIAL} (initial values)",
)
PMU_SETS_AND_CLEARS = behaviour(
    "pmu-sets-and-clears",
    "Userspace writes to the PMU's SET and CLR registers set and clear bits, as a guest's would; later "
    "kernels assign the whole value through either.",
    source="arch/arm64/kvm/sys_regs.c (set_pmreg)",
    since="seen on 6.12 only",
    detect="writing PMCNTENSET_EL0, then the same to PMCNTENCLR_EL0, leaves 0",
    test=f"{_DIFFERENTIAL} (6.12: replay)",
)
KEEPS_EL0_EL1 = behaviour(
    "keeps-el0-el1",
    "ID_AA64PFR0_EL1.EL0 and EL1 (and EL2 with HAS_EL2) cannot be set to 0.",
    source="arch/arm64/kvm/sys_regs.c (set_id_aa64pfr0_el1)",
    since="6.18 at the latest",
    detect="writing ID_AA64PFR0_EL1 with EL0 = 0 is EINVAL",
    test=f"{_DIFFERENTIAL} (idreg_clear_all)",
)
HIDES_NV = behaviour(
    "hides-nv",
    "ID_AA64MMFR2_EL1.NV is not shown; writing the CPU's own value is accepted and drops it.",
    source="arch/arm64/kvm/sys_regs.c (set_id_aa64mmfr2_el1)",
    since="6.18 at the latest",
    detect="ID_AA64MMFR2_EL1.NV reads 0 on a CPU with FEAT_NV2",
    test="tests/differential/test_pairs.py",
)
HIDES_MPAM = behaviour(
    "hides-mpam",
    "ID_AA64PFR0_EL1.MPAM and ID_AA64PFR1_EL1.MPAM_frac are not shown; writing the CPU's own value is "
    "accepted and drops it.",
    source="arch/arm64/kvm/sys_regs.c (set_id_aa64pfr0_el1, set_id_aa64pfr1_el1)",
    since="6.18 at the latest",
    detect="ID_AA64PFR0_EL1.MPAM reads 0 on a CPU with FEAT_MPAM",
    test="tests/unit/test_idrules.py (shown once)",
)
SCTLR_EL2_RES1 = behaviour(
    "sctlr-el2-res1",
    "SCTLR_EL2 resets to its RES1 bits; later kernels reset it to 0.",
    source="arch/arm64/kvm/sys_regs.c",
    since="before 6.18, until 6.19",
    detect="SCTLR_EL2 of a fresh EL2 vCPU reads 0x30c50830",
    test=f"{_DIFFERENTIAL} (6.18/max-nested: initial values)",
)
FOUR_TIMERS = behaviour(
    "four-timers",
    "The vCPU attribute group for timers has the two EL2 timers as well.",
    source="arch/arm64/kvm/arch_timer.c",
    since="6.4",
    detect="KVM_HAS_DEVICE_ATTR(1, 2) on a vCPU succeeds",
    test=f"{_DIFFERENTIAL} (vcpu_attrs)",
)
PMU_NR_COUNTERS = behaviour(
    "pmu-nr-counters",
    "The number of PMU event counters is an attribute (KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS).",
    source="arch/arm64/kvm/pmu-emul.c",
    since="6.16",
    detect="KVM_HAS_DEVICE_ATTR(0, 4) on a PMU vCPU succeeds",
    test=f"{_DIFFERENTIAL} (vcpu_attrs_pmu)",
)
