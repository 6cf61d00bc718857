"""The rule book's part on registers and their ids, but for scalable vectors.

Source: the recordings of real KVM; Linux arch/arm64/kvm/{guest,sys_regs,hypercalls}.c.
"""

from __future__ import annotations

from errno import EBUSY, EINVAL, ENOENT

from armkvm.errors import Rule

# -- ids and core registers --------------------------------------------------------------------
FOREIGN_ID = Rule(
    "foreign-id",
    EINVAL,
    "A register id starts with the architecture byte 0x60, and bits 51:32 are zero.",
    "Build the id from KVM_REG_ARM64.",
)
UNKNOWN_CLASS = Rule(
    "unknown-class",
    ENOENT,
    "Bits 27:16 name no class of registers.",
    "Use an id that KVM_GET_REG_LIST returns.",
)
CORE_BEYOND_END = Rule(
    "core-beyond-end",
    ENOENT,
    "A core id is an offset inside struct kvm_regs.",
    "Use an offset below 216 words.",
)
CORE_MISPLACED = Rule(
    "core-misplaced",
    EINVAL,
    "A core id names the start of a register with exactly that register's size.",
    "Use the id that KVM_GET_REG_LIST returns.",
)
V_ON_SVE = Rule(
    "v-on-sve",
    EINVAL,
    "A vCPU whose Z registers exist has no V registers of its own: Vn is the low 128 bits of Zn.",
    "Access KVM_REG_ARM64_SVE_ZREG(n, 0).",
)
BAD_PSTATE_MODE = Rule(
    "bad-pstate-mode",
    EINVAL,
    "PSTATE.M must be an exception level and width this vCPU has.",
    "Use EL0t, EL1t or EL1h; EL2 needs HAS_EL2, AArch32 modes need a host or vCPU that has them.",
)
NO_SUCH_SYSREG = Rule(
    "no-such-sysreg",
    ENOENT,
    "Userspace is given no system register of this encoding.",
    "Use an id that KVM_GET_REG_LIST returns.",
)
SYSREG_HIDDEN = Rule(
    "sysreg-hidden",
    ENOENT,
    "The register exists only on vCPUs with the feature it belongs to, as the VM's ID registers now say.",
    "Enable the feature at KVM_ARM_VCPU_INIT, or leave the ID field that shows it as it is; what KVM keeps "
    "from every guest cannot be had.",
)

# -- caches ------------------------------------------------------------------------------------
NO_SUCH_DEMUX = Rule(
    "no-such-demux",
    ENOENT,
    "A demultiplexed id is a 32-bit CCSIDR_EL1 of a cache level that exists.",
    "Use an id that KVM_GET_REG_LIST returns.",
)
CCSIDR_INVALID = Rule(
    "ccsidr-invalid",
    EINVAL,
    "A CCSIDR_EL1 value has no cache line smaller than the host's smallest.",
    "Write what the source host reports, or a larger line.",
)
CCSIDR_FIXED = Rule(
    "ccsidr-fixed",
    EINVAL,
    "This kernel shows the host's own cache geometry, which cannot be changed.",
    "Write the value that is there, or use a kernel since 6.3.",
)
CLIDR_INVALID = Rule(
    "clidr-invalid",
    EINVAL,
    "CLIDR_EL1 has no reserved bits and may not spare cleaning that the host's CTR_EL0.IDC calls for.",
    "Write a cache hierarchy whose LoC and LoUIS/LoUU are not zero.",
)

# -- firmware pseudo-registers -----------------------------------------------------------------
NO_SUCH_FIRMWARE = Rule(
    "no-such-firmware-register",
    ENOENT,
    "This kernel has no such firmware pseudo-register.",
    "Leave it out when restoring on an older kernel, if its value is the default.",
)
PSCI_VERSION_INVALID = Rule(
    "psci-version-invalid",
    EINVAL,
    "The PSCI version is one this kernel implements, 0.1 exactly when the PSCI_0_2 feature is absent.",
    "Choose a version both kernels implement.",
)
WORKAROUND_ABOVE_HOST = Rule(
    "workaround-above-host",
    EINVAL,
    "A firmware workaround cannot be promised at a level the host does not reach.",
    "Write the host's level or a lower one.",
)
BITMAP_UNSUPPORTED = Rule(
    "bitmap-unsupported",
    EINVAL,
    "A firmware feature bitmap holds only bits this kernel implements.",
    "Clear the unknown bits.",
)
BITMAP_FROZEN = Rule(
    "bitmap-frozen",
    EBUSY,
    "Firmware feature bitmaps are fixed once the VM has run.",
    "Write them before the first KVM_RUN.",
)

# -- feature ID registers ----------------------------------------------------------------------
ID_ABOVE_LIMIT = Rule(
    "id-above-limit",
    EINVAL,
    "A feature ID field may only be lowered from what this host and VM can do, and only where writable.",
    "Write a value within the limits.",
)
ID_FROZEN = Rule(
    "id-frozen",
    EBUSY,
    "Feature ID registers are fixed once the VM has run.",
    "Write them before the first KVM_RUN.",
)
ID_INVARIANT = Rule(
    "id-invariant",
    EINVAL,
    "This register shows the host's own value and accepts nothing else.",
    "Write the value that is there.",
)
IMP_ID_NOT_ENABLED = Rule(
    "imp-id-not-enabled",
    EINVAL,
    "MIDR_EL1, REVIDR_EL1, AIDR_EL1 and SMIDR_EL1 are the host's unless KVM_CAP_ARM_WRITABLE_IMP_ID_REGS is "
    "enabled.",
    "Enable the capability before the first vCPU is created.",
)

# -- other system registers --------------------------------------------------------------------
OSLSR_FIXED = Rule(
    "oslsr-fixed",
    EINVAL,
    "Of OSLSR_EL1 only OSLK may change.",
    "Write 0x8 or 0xa.",
)
PMMIR_INVALID = Rule(
    "pmmir-invalid",
    EINVAL,
    "PMMIR_EL1 holds only SLOTS, which is zero or what the VM's PMU has.",
    "Write 0 or the value that is there.",
)
PMMIR_FROZEN = Rule(
    "pmmir-frozen", EBUSY, "PMMIR_EL1 is fixed once the VM has run.", "Write it before the first KVM_RUN."
)
