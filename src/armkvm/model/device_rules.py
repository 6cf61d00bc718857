"""The rule book's part on devices, attributes and memory.

Source: the recordings of real KVM; Linux arch/arm64/kvm/{vgic/*,vgic-sys-reg-v3,arch_timer,pmu-emul,
pvtime,hypercalls}.c, virt/kvm/kvm_main.c.
"""

from __future__ import annotations

from errno import (
    E2BIG,
    EAGAIN,
    EBADF,
    EBUSY,
    EEXIST,
    EFAULT,
    EINVAL,
    ENODEV,
    ENOENT,
    ENXIO,
    EPERM,
)

from armkvm.errors import Rule

# -- KVM_CREATE_DEVICE and any device ----------------------------------------------------------
NO_SUCH_DEVICE = Rule(
    "no-such-device",
    ENODEV,
    "The host offers no device of this type.",
    "Ask with KVM_CREATE_DEVICE_TEST first.",
)
NO_SUCH_ATTR = Rule(
    "no-such-attribute",
    ENXIO,
    "There is no such attribute group or attribute here.",
    "Ask KVM_HAS_DEVICE_ATTR first.",
)
NOT_READABLE = Rule(
    "attribute-not-readable",
    EPERM,
    "This device's attributes are only written.",
    "Leave the call out.",
)
VGIC_EXISTS = Rule(
    "vgic-exists", EEXIST, "A VM has at most one interrupt controller in the kernel.", "Use the first one."
)
VGIC_AFTER_RUN = Rule(
    "vgic-after-run",
    EBUSY,
    "An interrupt controller can be created only while no vCPU has run.",
    "Create it before the first KVM_RUN.",
)
VFIO_EXISTS = Rule("vfio-exists", EBUSY, "A VM has at most one VFIO device.", "Use the first one.")
VFIO_NO_FILE = Rule(
    "vfio-no-file",
    EBADF,
    "The attribute is an open file of a VFIO group, and the model has no files.",
    "Try it on a real host.",
)

# -- the life of a GICv3 -----------------------------------------------------------------------
VCPU_AFTER_VGIC = Rule(
    "vcpu-after-vgic-init",
    EBUSY,
    "No vCPU can be added once the interrupt controller is initialised.",
    "Create all vCPUs before KVM_DEV_ARM_VGIC_CTRL_INIT.",
)
VGIC_NOT_INITIALISED = Rule(
    "vgic-not-initialised",
    EBUSY,
    "A GICv3's registers exist, and a vCPU can run with it, only after KVM_DEV_ARM_VGIC_CTRL_INIT.",
    "Set KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT first.",
)
VGIC_NO_ADDRESS = Rule(
    "vgic-no-address",
    ENXIO,
    "A vCPU runs with a GICv3 only if the distributor and its own redistributor have addresses; "
    "that it did not ends the VM.",
    "Set KVM_VGIC_V3_ADDR_TYPE_DIST and _REDIST (or regions for every vCPU) before running.",
)
VGIC_FRAMES_OVERLAP = Rule(
    "vgic-frames-overlap",
    EINVAL,
    "The frames of distributor and redistributors lie apart, inside the VM's address space.",
    "Give each redistributor 128 KiB and the distributor 64 KiB.",
)
ADDRESS_TAKEN = Rule(
    "vgic-address-set", EEXIST, "An address is set once.", "Leave it as it is, or create a new VM."
)
ADDRESS_MISALIGNED = Rule(
    "vgic-address-misaligned", EINVAL, "Frames start at multiples of 64 KiB.", "Use an aligned address."
)
ADDRESS_BEYOND_IPA = Rule(
    "vgic-address-beyond-ipa",
    E2BIG,
    "A frame ends inside the VM's intermediate physical address space.",
    "Use a lower address, or a larger machine type in KVM_CREATE_VM.",
)
REGION_MALFORMED = Rule(
    "redistributor-region-malformed",
    EINVAL,
    "A redistributor region has at least one redistributor and no flags.",
    "Pack count << 52 | base | index.",
)
REGION_OUT_OF_ORDER = Rule(
    "redistributor-region-out-of-order",
    EINVAL,
    "Redistributor regions are numbered from 0 in the order they are added, and do not mix with the "
    "single region of KVM_VGIC_V3_ADDR_TYPE_REDIST.",
    "Use the next index, or one kind of region only.",
)
NO_REGION = Rule(
    "no-redistributor-region", ENOENT, "There is no redistributor region of this index.", "Add it first."
)
NR_IRQS_INVALID = Rule(
    "nr-irqs-invalid",
    EINVAL,
    "The number of interrupts is a multiple of 32 from 64 to 992.",
    "Round it up.",
)
NR_IRQS_SET = Rule(
    "nr-irqs-set",
    EBUSY,
    "The number of interrupts is set once, and not after initialisation, which defaults it to 256.",
    "Set it before KVM_DEV_ARM_VGIC_CTRL_INIT.",
)
TABLES_BEFORE_INIT = Rule(
    "pending-tables-before-init",
    ENXIO,
    "There is nothing to save before KVM_DEV_ARM_VGIC_CTRL_INIT.",
    "Initialise the GIC first.",
)
MAINTENANCE_IRQ_FIXED = Rule(
    "maintenance-irq-fixed",
    EBUSY,
    "The maintenance interrupt is fixed once the GIC is initialised.",
    "Set it before KVM_DEV_ARM_VGIC_CTRL_INIT.",
)
NOT_A_PPI = Rule("not-a-ppi", EINVAL, "This interrupt is a PPI, 16 to 31.", "Use a number from 16 to 31.")

# -- registers of a GICv3 ----------------------------------------------------------------------
NO_VCPU_OF_AFFINITY = Rule(
    "no-vcpu-of-affinity",
    EINVAL,
    "Bits 63:32 of the attribute are the affinity of a vCPU, as its MPIDR_EL1 says now.",
    "Use the MPIDR_EL1 of the vCPU.",
)
NO_SUCH_CPUIF_REGISTER = Rule(
    "no-such-cpuif-register",
    ENOENT,
    "The CPU interface gives userspace ICC_* registers that hold state, and ICH_* with EL2.",
    "Ask KVM_HAS_DEVICE_ATTR first.",
)
CPUIF_WIDER = Rule(
    "cpuif-wider",
    EINVAL,
    "Priority and INTID bits can be lowered from what the host has, never raised again; what was lowered "
    "before the refusal stays lowered.",
    "Restore a VM from a host with no more bits than this one.",
)
CPUIF_DIFFERS = Rule(
    "cpuif-differs",
    EINVAL,
    "SEIS and A3V show the host's GIC and cannot be chosen.",
    "Migrate between hosts that agree on them; no value of the VM's can bridge this.",
)
CPUIF_NOT_BELOW = Rule(
    "cpuif-not-below",
    EINVAL,
    "With the range for non-ID registers, SEIS may promise more SErrors than the host has and A3V less.",
    "Write a value that the host can keep.",
)
APR_BEYOND = Rule(
    "apr-beyond-priorities",
    EINVAL,
    "There are as many active-priority registers as priority bits call for: one, two from 6, four from 7.",
    "Leave the register out.",
)
SRE_CLEAR = Rule(
    "sre-clear", EINVAL, "A GICv3 is used through system registers, so ICC_SRE_EL1.SRE is 1.", "Set bit 0."
)
EL2_CPUIF_FIXED = Rule(
    "el2-cpuif-fixed",
    EINVAL,
    "ICC_SRE_EL2 and ICH_VTR_EL2 are what KVM emulates for a guest with EL2, and accept nothing else.",
    "Write the value that is there.",
)
IIDR_INVALID = Rule(
    "iidr-invalid",
    EINVAL,
    "Of GICD_IIDR only Revision may change, to 2 or 3.",
    "Write what a kernel since 4.19 reports.",
)
TYPER2_INVALID = Rule(
    "typer2-invalid",
    EINVAL,
    "GICD_TYPER2 shows what the host's GIC can do, here nothing.",
    "Write the value that is there.",
)
TYPER2_FIXED = Rule(
    "typer2-fixed",
    EBUSY,
    "GICD_TYPER2 is fixed once the GIC is initialised.",
    "Write it before KVM_DEV_ARM_VGIC_CTRL_INIT.",
)
LEVEL_INFO_INVALID = Rule(
    "level-info-invalid",
    EINVAL,
    "Line levels (information 0) are accessed for 32 interrupts at a time.",
    "Use a multiple of 32 as first interrupt.",
)

ITS_MISALIGNED = Rule(
    "its-register-misaligned",
    EINVAL,
    "An ITS register is asked for by the offset it starts at.",
    "Use the register's own offset.",
)

# -- timers ------------------------------------------------------------------------------------
IRQ_WITHOUT_VGIC = Rule(
    "irq-without-vgic",
    EINVAL,
    "An interrupt number means something only with an interrupt controller in the kernel.",
    "Create the GIC first.",
)
TIMER_IRQ_FIXED = Rule(
    "timer-irq-fixed", EBUSY, "The timers' interrupts are fixed by the first run.", "Set them before."
)
TIMER_IRQS_CLASH = Rule(
    "timer-irqs-clash",
    EINVAL,
    "Each of a vCPU's timers has a PPI of its own, which no other device uses and all vCPUs agree on.",
    "Give each timer another PPI before the first run.",
)

# -- PMU ---------------------------------------------------------------------------------------
NO_PMU = Rule(
    "no-pmu", ENODEV, "The vCPU was initialised without PMU_V3.", "Ask for it in KVM_ARM_VCPU_INIT."
)
PMU_DONE = Rule(
    "pmu-initialised",
    EBUSY,
    "KVM_ARM_VCPU_PMU_V3_INIT comes once and last; nothing of the PMU can be set after it.",
    "Set IRQ, FILTER, SET_PMU and SET_NR_COUNTERS before INIT.",
)
PMU_IRQ_INVALID = Rule(
    "pmu-irq-invalid",
    EINVAL,
    "The PMU's interrupt is a PPI, the same for all vCPUs, or an SPI, another for each.",
    "Use a number from 16 to 1019 that fits what other vCPUs have.",
)
PMU_IRQ_SET = Rule("pmu-irq-set", EBUSY, "The PMU's interrupt is set once.", "Leave it as it is.")
PMU_IRQ_UNSET = Rule(
    "pmu-irq-unset",
    ENXIO,
    "With an interrupt controller in the kernel the PMU has an interrupt before anything else.",
    "Set KVM_ARM_VCPU_PMU_V3_IRQ first.",
)
PMU_BEFORE_VGIC = Rule(
    "pmu-before-vgic-init",
    ENODEV,
    "With an interrupt controller in the kernel, the PMU is initialised after it.",
    "Initialise the GIC first.",
)
PMU_NOT_CHOSEN = Rule(
    "pmu-not-chosen",
    ENXIO,
    "With PMU_V3_STRICT there is no default: userspace chooses the PMU.",
    "Set KVM_ARM_VCPU_PMU_V3_SET_PMU first.",
)
NO_SUCH_PMU = Rule(
    "no-such-pmu",
    ENXIO,
    "A PMU is chosen by the number that /sys/bus/event_source/devices/*/type shows.",
    "Read the number on the host.",
)
PMU_FIXED = Rule(
    "pmu-fixed",
    EBUSY,
    "The PMU cannot change once the VM has run, or from the one that an event filter was made for.",
    "Choose it first.",
)
PMU_FILTER_INVALID = Rule(
    "pmu-filter-invalid",
    EINVAL,
    "An event filter allows (0) or denies (1) events that the host's PMU version has.",
    "Keep base_event + nevents within 1024, or 65536 from PMUv3 for Armv8.1.",
)
PMU_FILTER_AFTER_RUN = Rule(
    "pmu-filter-after-run", EBUSY, "Event filters are fixed once the VM has run.", "Set them before."
)
PMU_COUNTERS_INVALID = Rule(
    "pmu-counters-invalid",
    EINVAL,
    "A VM has at most as many event counters as the chosen PMU.",
    "Use a smaller number, after choosing a PMU.",
)
PMU_NOT_READY = Rule(
    "pmu-not-ready",
    EINVAL,
    "A vCPU with a PMU runs only after the PMU's attributes are set and it is initialised.",
    "Use the KVM_ARM_VCPU_PMU_V3_CTRL attributes: IRQ (with an in-kernel vGIC), then INIT.",
)
IRQ_OWNED = Rule(
    "irq-owned", EEXIST, "An interrupt line belongs to one device.", "Give each device another interrupt."
)
IRQ_UNWIRED = Rule(
    "irq-unwired",
    EINVAL,
    "A device's interrupt is a PPI, or an SPI that the GIC has.",
    "Raise KVM_DEV_ARM_VGIC_GRP_NR_IRQS, or use a lower number.",
)
NESTED_WITHOUT_VGIC = Rule(
    "nested-without-vgic",
    EAGAIN,
    "A vCPU with EL2 needs an initialised GICv3, which its maintenance interrupt is wired to; without one "
    "KVM_RUN asks to be called again, in vain.",
    "Create and initialise a GICv3.",
)

# -- stolen time -------------------------------------------------------------------------------
PVTIME_MISALIGNED = Rule(
    "pvtime-misaligned", EINVAL, "The stolen-time structure is aligned to 64 bytes.", "Align it."
)
PVTIME_SET = Rule("pvtime-set", EEXIST, "Its address is set once per vCPU.", "Leave it as it is.")
PVTIME_NO_MEMORY = Rule(
    "pvtime-no-memory", EINVAL, "It lies in memory that the VM can write.", "Add the memory slot first."
)

# -- attributes of a VM ------------------------------------------------------------------------
SMCCC_FILTER_INVALID = Rule(
    "smccc-filter-invalid",
    EINVAL,
    "A filter covers at least one function, does not wrap, has an action from 0 to 2 and zero padding.",
    "Zero the structure before filling it.",
)
SMCCC_FILTER_AFTER_RUN = Rule(
    "smccc-filter-after-run", EBUSY, "The SMCCC filter is fixed once the VM has run.", "Set it before."
)
SMCCC_FILTER_OVERLAPS = Rule(
    "smccc-filter-overlaps",
    EEXIST,
    "Filtered ranges do not overlap, and the architecture's calls (0x80000000 and 0xc0000000, 64 Ki each) "
    "are KVM's own.",
    "Split the range.",
)

# -- memory ------------------------------------------------------------------------------------
MEMORY_FLAGS = Rule(
    "memory-flags-unknown",
    EINVAL,
    "A memory slot's flags are LOG_DIRTY_PAGES (1) and READONLY (2).",
    "Clear the others.",
)
MEMORY_MISALIGNED = Rule(
    "memory-misaligned", EINVAL, "A memory slot is whole pages at a page's address.", "Align it."
)
MEMORY_SLOT_NUMBER = Rule(
    "memory-slot-number",
    EINVAL,
    "Slots are numbered from 0 to below KVM_CAP_NR_MEMSLOTS, in address space 0.",
    "Use a smaller number.",
)
MEMORY_TOO_LARGE = Rule(
    "memory-too-large", EINVAL, "A slot has fewer than 2^31 pages and does not wrap.", "Split it."
)
NO_SUCH_SLOT = Rule("no-such-slot", EINVAL, "Only a slot that exists can be deleted.", "Leave it out.")
MEMORY_SLOT_TAKEN = Rule(
    "memory-slot-taken",
    EINVAL,
    "A slot cannot be given other memory, another size or READONLY.",
    "Delete it first.",
)
MEMORY_OVERLAP = Rule("memory-overlap", EEXIST, "Slots do not overlap.", "Use another address.")
MEMORY_BEYOND_IPA = Rule(
    "memory-beyond-ipa",
    EFAULT,
    "A slot ends inside the VM's intermediate physical address space.",
    "Use a lower address, or a larger machine type in KVM_CREATE_VM.",
)
