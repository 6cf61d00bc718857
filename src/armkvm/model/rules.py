"""The rule book: every reason the model refuses a call for, one row each.

Source: the recordings of real KVM; Linux arch/arm64/kvm/{arm,guest,reset,sys_regs,hypercalls}.c.
"""

from __future__ import annotations

from errno import (
    E2BIG,
    EBUSY,
    EEXIST,
    EFAULT,
    EINTR,
    EINVAL,
    EIO,
    ENODEV,
    ENOENT,
    ENOEXEC,
    ENXIO,
    EPERM,
)

from armkvm.errors import Rule

RULES: dict[str, Rule] = {}


def define(name: str, errno: int, sentence: str, remedy: str) -> Rule:
    """Add a row."""
    if name in RULES:
        raise ValueError(f"two rules are called {name}")
    RULES[name] = Rule(name, errno, sentence, remedy)
    return RULES[name]


_rule = define

# -- life cycle ------------------------------------------------------------------------------
NOT_INITIALISED = _rule(
    "not-initialised",
    ENOEXEC,
    "A vCPU answers nothing but KVM_GET/SET_MP_STATE before KVM_ARM_VCPU_INIT.",
    "Call KVM_ARM_VCPU_INIT first.",
)
NOT_FINALIZED = _rule(
    "not-finalized",
    EPERM,
    "A vCPU with scalable vectors is not usable until its vector lengths are final.",
    "Call KVM_ARM_VCPU_FINALIZE(KVM_ARM_VCPU_SVE), after writing the vector lengths if they are to change.",
)
ALREADY_FINALIZED = _rule(
    "already-finalized",
    EPERM,
    "Finalizing happens once in a vCPU's life and survives a second KVM_ARM_VCPU_INIT.",
    "Leave the call out; for other vector lengths create a new vCPU.",
)
NOT_FINALIZABLE = _rule(
    "not-finalizable",
    EINVAL,
    "KVM_ARM_VCPU_FINALIZE knows one feature, KVM_ARM_VCPU_SVE (or _VEC, its name where there is SME), on a "
    "vCPU that has SVE or SME.",
    "Name that feature and ask for SVE or SME in KVM_ARM_VCPU_INIT, or leave the call out.",
)
VM_DEAD = _rule(
    "vm-dead",
    EIO,
    "A failure inside the kernel has ended this VM.",
    "Close it and create a new one.",
)
IMMEDIATE_EXIT = _rule(
    "immediate-exit",
    EINTR,
    "With immediate_exit set KVM_RUN returns before entering the guest, but after the first-run work.",
    "Clear immediate_exit to run the guest.",
)
BAD_POINTER = _rule(
    "bad-pointer",
    EFAULT,
    "The user address cannot be read or written.",
    "Pass the address of a buffer as large as the register's size.",
)

# -- KVM_CREATE_VM, KVM_CREATE_VCPU, KVM_ENABLE_CAP --------------------------------------------
BAD_MACHINE_TYPE = _rule(
    "bad-machine-type",
    EINVAL,
    "The machine type is an IPA size of 0 (meaning 40) or 32 up to the host's limit, and nothing else.",
    "Use 0, or a size KVM_CAP_ARM_VM_IPA_SIZE allows.",
)
VCPU_EXISTS = _rule("vcpu-exists", EEXIST, "A vCPU with this id exists already.", "Use another id.")
VCPU_ID_TOO_LARGE = _rule(
    "vcpu-id-too-large",
    EINVAL,
    "A vCPU id is below KVM_CAP_MAX_VCPU_ID.",
    "Use a smaller id.",
)
CAP_NOT_ENABLEABLE = _rule(
    "cap-not-enableable",
    EINVAL,
    "KVM_ENABLE_CAP knows only some capabilities, with flags 0 and arguments in range.",
    "Check KVM_CHECK_EXTENSION and the arguments.",
)
CAP_AFTER_VCPU = _rule(
    "cap-after-vcpu",
    EINVAL,
    "This capability can be enabled only while the VM has no vCPU.",
    "Enable it between KVM_CREATE_VM and the first KVM_CREATE_VCPU.",
)

# -- KVM_ARM_VCPU_INIT -------------------------------------------------------------------------
BAD_TARGET = _rule(
    "bad-target",
    EINVAL,
    "The target is the one KVM_ARM_PREFERRED_TARGET names (or the generic one, where accepted).",
    "Pass what KVM_ARM_PREFERRED_TARGET returned.",
)
UNKNOWN_FEATURE = _rule(
    "unknown-feature",
    ENOENT,
    "This kernel's header has no such vCPU feature bit.",
    "Leave the bit out; KVM_CHECK_EXTENSION tells what there is.",
)
FEATURE_NOT_OFFERED = _rule(
    "feature-not-offered",
    EINVAL,
    "The host cannot give guests this feature.",
    "Leave it out, or use a host that has it.",
)
PTRAUTH_HALF = _rule(
    "ptrauth-half",
    EINVAL,
    "Pointer authentication comes whole: PTRAUTH_ADDRESS and PTRAUTH_GENERIC together.",
    "Ask for both or neither.",
)
PMU_STRICT_ALONE = _rule(
    "pmu-strict-alone",
    EINVAL,
    "PMU_V3_STRICT needs PMU_V3.",
    "Ask for both.",
)
AARCH32_CONFLICT = _rule(
    "aarch32-conflict",
    EINVAL,
    "A 32-bit EL1 excludes MTE and EL2.",
    "Leave EL1_32BIT out.",
)
FEATURES_DIFFER = _rule(
    "features-differ",
    EINVAL,
    "All KVM_ARM_VCPU_INIT calls of a vCPU, and since 6.7 of a whole VM, ask for the same features.",
    "Repeat the features of the first call, or create a new VM.",
)
WIDTH_DIFFERS = _rule(
    "width-differs",
    EINVAL,
    "All vCPUs of a VM have the same EL1 register width.",
    "Give EL1_32BIT to all vCPUs or to none.",
)

# -- register ids ------------------------------------------------------------------------------
FOREIGN_ID = _rule(
    "foreign-id",
    EINVAL,
    "A register id starts with the architecture byte 0x60, and bits 51:32 are zero.",
    "Build the id from KVM_REG_ARM64.",
)
UNKNOWN_CLASS = _rule(
    "unknown-class",
    ENOENT,
    "Bits 27:16 name no class of registers.",
    "Use an id that KVM_GET_REG_LIST returns.",
)
CORE_BEYOND_END = _rule(
    "core-beyond-end",
    ENOENT,
    "A core id is an offset inside struct kvm_regs.",
    "Use an offset below 216 words.",
)
CORE_MISPLACED = _rule(
    "core-misplaced",
    EINVAL,
    "A core id names the start of a register with exactly that register's size.",
    "Use the id that KVM_GET_REG_LIST returns.",
)
V_ON_SVE = _rule(
    "v-on-sve",
    EINVAL,
    "A vCPU whose Z registers exist has no V registers of its own: Vn is the low 128 bits of Zn.",
    "Access KVM_REG_ARM64_SVE_ZREG(n, 0).",
)
BAD_PSTATE_MODE = _rule(
    "bad-pstate-mode",
    EINVAL,
    "PSTATE.M must be an exception level and width this vCPU has.",
    "Use EL0t, EL1t or EL1h; EL2 needs HAS_EL2, AArch32 modes need a host or vCPU that has them.",
)
NO_SUCH_SYSREG = _rule(
    "no-such-sysreg",
    ENOENT,
    "Userspace is given no system register of this encoding.",
    "Use an id that KVM_GET_REG_LIST returns.",
)
SYSREG_HIDDEN = _rule(
    "sysreg-hidden",
    ENOENT,
    "The register exists only on vCPUs with the feature it belongs to, as the VM's ID registers now say.",
    "Enable the feature at KVM_ARM_VCPU_INIT, or leave the ID field that shows it as it is; what KVM keeps "
    "from every guest cannot be had.",
)
NO_SUCH_DEMUX = _rule(
    "no-such-demux",
    ENOENT,
    "A demultiplexed id is a 32-bit CCSIDR_EL1 of a cache level that exists.",
    "Use an id that KVM_GET_REG_LIST returns.",
)
CCSIDR_INVALID = _rule(
    "ccsidr-invalid",
    EINVAL,
    "A CCSIDR_EL1 value has no cache line smaller than the host's smallest.",
    "Write what the source host reports, or a larger line.",
)
CCSIDR_FIXED = _rule(
    "ccsidr-fixed",
    EINVAL,
    "This kernel shows the host's own cache geometry, which cannot be changed.",
    "Write the value that is there, or use a kernel since 6.3.",
)
NO_SUCH_FIRMWARE = _rule(
    "no-such-firmware-register",
    ENOENT,
    "This kernel has no such firmware pseudo-register.",
    "Leave it out when restoring on an older kernel, if its value is the default.",
)
PSCI_VERSION_INVALID = _rule(
    "psci-version-invalid",
    EINVAL,
    "The PSCI version is one this kernel implements, 0.1 exactly when the PSCI_0_2 feature is absent.",
    "Choose a version both kernels implement.",
)
WORKAROUND_ABOVE_HOST = _rule(
    "workaround-above-host",
    EINVAL,
    "A firmware workaround cannot be promised at a level the host does not reach.",
    "Write the host's level or a lower one.",
)
BITMAP_UNSUPPORTED = _rule(
    "bitmap-unsupported",
    EINVAL,
    "A firmware feature bitmap holds only bits this kernel implements.",
    "Clear the unknown bits.",
)
BITMAP_FROZEN = _rule(
    "bitmap-frozen",
    EBUSY,
    "Firmware feature bitmaps are fixed once the VM has run.",
    "Write them before the first KVM_RUN.",
)

# -- scalable vectors --------------------------------------------------------------------------
VECTOR_ID_MALFORMED = _rule(
    "vector-id-malformed",
    EINVAL,
    "Ids of the SVE class name Zn (2048 bits), Pn and FFR (256 bits) or the vector-length set (512 bits).",
    "Use the id that KVM_GET_REG_LIST returns.",
)
NO_SVE = _rule(
    "no-sve",
    ENOENT,
    "The vCPU was initialised without SVE.",
    "Ask for the SVE feature in KVM_ARM_VCPU_INIT.",
)
SLICE_BEYOND_LENGTH = _rule(
    "slice-beyond-length",
    ENOENT,
    "A slice exists only as far as the vCPU's vector length reaches; slice 0 holds all of 2048 bits.",
    "Use slice 0.",
)
VECTOR_NOT_FINALIZED = _rule(
    "vector-not-finalized",
    EPERM,
    "Z, P, FFR, ZA and ZT0 exist only after the vector lengths are final.",
    "Call KVM_ARM_VCPU_FINALIZE(KVM_ARM_VCPU_SVE) first; with SME it is also called KVM_ARM_VCPU_VEC.",
)
VLS_FINAL = _rule(
    "vls-final",
    EPERM,
    "The set of vector lengths is immutable after KVM_ARM_VCPU_FINALIZE.",
    "Write it between KVM_ARM_VCPU_INIT and KVM_ARM_VCPU_FINALIZE.",
)
VLS_FINAL_BY_USE = _rule(
    "vls-final-by-use",
    EPERM,
    "The set of vector lengths is immutable after an access to Z, P or FFR, KVM_GET_REG_LIST or KVM_RUN.",
    "Write it right after KVM_ARM_VCPU_INIT, ahead of these.",
)
NO_FINALIZE = _rule(
    "no-finalize",
    EINVAL,
    "This kernel has no KVM_ARM_VCPU_FINALIZE: vector lengths become final without it.",
    "Leave the call out, and choose the lengths right after KVM_ARM_VCPU_INIT.",
)
NO_LENGTHS_CALL = _rule(
    "no-lengths-call",
    EINVAL,
    "This kernel has no KVM_ARM_VCPU_GET_SVE_VLS and no KVM_ARM_VCPU_SET_SVE_VLS.",
    "Read and write KVM_REG_ARM64_SVE_VLS.",
)
NO_LENGTHS_REGISTER = _rule(
    "no-lengths-register",
    EINVAL,
    "This kernel has no register for the set of SVE vector lengths.",
    "Use KVM_ARM_VCPU_GET_SVE_VLS and KVM_ARM_VCPU_SET_SVE_VLS.",
)
VLS_NOT_PREFIX = _rule(
    "vls-not-prefix",
    EINVAL,
    "A set of vector lengths must hold exactly the host's lengths up to its own largest one.",
    "Use a prefix of the host's set; between hosts, their longest common prefix.",
)
VLS_AFTER_RUN = _rule(
    "vls-after-run",
    EPERM,
    "The set of vector lengths is immutable once the vCPU has run.",
    "Call KVM_ARM_VCPU_SET_SVE_VLS before the first KVM_RUN.",
)
NO_SVE_FOR_CALL = _rule(
    "no-sve-for-call",
    EINVAL,
    "KVM_ARM_VCPU_GET_SVE_VLS and KVM_ARM_VCPU_SET_SVE_VLS are for vCPUs with SVE.",
    "Ask for the SVE feature in KVM_ARM_VCPU_INIT.",
)
VECTOR_ID_UNKNOWN = _rule(
    "vector-id-unknown",
    ENOENT,
    "Ids of the SVE class name Zn (2048 bits), Pn and FFR (256 bits) or the vector-length set (512 bits).",
    "Use the id that KVM_GET_REG_LIST returns.",
)
NO_LENGTH_TO_READ = _rule(
    "no-length-to-read",
    EINVAL,
    "The host's CPUs have no streaming vector length in common, and this kernel offers SME all the same.",
    "Leave SME out on this host.",
)
NO_LENGTH_TO_FINALIZE = _rule(
    "no-length-to-finalize",
    EIO,
    "The host's CPUs have no streaming vector length in common, and this kernel offers SME all the same.",
    "Leave SME out on this host.",
)
NOT_STREAMING = _rule(
    "not-streaming",
    ENOENT,
    "A vCPU with SME but not SVE has Z and P only in streaming mode.",
    "Write SVCR with SM=1 first, or use the V registers.",
)
FFR_STREAMING = _rule(
    "ffr-in-streaming-mode",
    ENOENT,
    "In streaming mode FFR exists only for a guest with FEAT_SME_FA64.",
    "Leave FFR out while SM=1; it holds nothing then.",
)
NO_SME = _rule(
    "no-sme",
    ENOENT,
    "The vCPU was initialised without SME.",
    "Ask for the SME feature in KVM_ARM_VCPU_INIT.",
)
MATRIX_ID_MALFORMED = _rule(
    "matrix-id-malformed",
    EINVAL,
    "Ids of the SME class name a row of ZA (2048 bits), ZT0 (512 bits) or the set of lengths (512 bits).",
    "Make the id of that size; where KVM_GET_REG_LIST names these registers, it does while SVCR.ZA is 1.",
)
ZA_ROW_BEYOND_END = _rule(
    "za-row-beyond-end",
    EINVAL,
    "ZA has as many rows as the vCPU's longest streaming vector has bytes.",
    "Use a smaller row number, or allow longer vectors before finalizing.",
)
NO_SME2 = _rule(
    "no-sme2",
    ENOENT,
    "ZT0 belongs to SME2, which ID_AA64PFR1_EL1.SME does not show this guest.",
    "Leave ZT0 out, or leave ID_AA64PFR1_EL1.SME at 2.",
)
ZA_OFF = _rule(
    "za-off",
    EBUSY,
    "ZA and ZT0 hold something only while PSTATE.ZA is set.",
    "Write SVCR with ZA=1 first; a restore sets SVCR before ZA and ZT0.",
)
ZA_OFF_EINVAL = _rule(
    "za-off-v4",
    EINVAL,
    "ZA and ZT0 hold something only while PSTATE.ZA is set.",
    "Write SVCR with ZA=1 first; a restore sets SVCR before ZA and ZT0.",
)
SVCR_RESERVED = _rule(
    "svcr-reserved", EINVAL, "Of SVCR only SM (bit 0) and ZA (bit 1) may be set.", "Write 0 to 3."
)
SMPRIMAP_ZERO = _rule(
    "smprimap-zero",
    EINVAL,
    "Streaming priorities are not virtualised, so SMPRIMAP_EL2 is 0.",
    "Write 0.",
)

# -- other system registers --------------------------------------------------------------------
ID_ABOVE_LIMIT = _rule(
    "id-above-limit",
    EINVAL,
    "A feature ID field may only be lowered from what this host and VM can do, and only where writable.",
    "Write a value within the limits.",
)
ID_FROZEN = _rule(
    "id-frozen",
    EBUSY,
    "Feature ID registers are fixed once the VM has run.",
    "Write them before the first KVM_RUN.",
)
ID_INVARIANT = _rule(
    "id-invariant",
    EINVAL,
    "This register shows the host's own value and accepts nothing else.",
    "Write the value that is there.",
)
IMP_ID_NOT_ENABLED = _rule(
    "imp-id-not-enabled",
    EINVAL,
    "MIDR_EL1, REVIDR_EL1, AIDR_EL1 and SMIDR_EL1 are the host's unless KVM_CAP_ARM_WRITABLE_IMP_ID_REGS is "
    "enabled.",
    "Enable the capability before the first vCPU is created.",
)
OSLSR_FIXED = _rule(
    "oslsr-fixed",
    EINVAL,
    "Of OSLSR_EL1 only OSLK may change.",
    "Write 0x8 or 0xa.",
)
CLIDR_INVALID = _rule(
    "clidr-invalid",
    EINVAL,
    "CLIDR_EL1 has no reserved bits and may not spare cleaning that the host's CTR_EL0.IDC calls for.",
    "Write a cache hierarchy whose LoC and LoUIS/LoUU are not zero.",
)
PMMIR_INVALID = _rule(
    "pmmir-invalid",
    EINVAL,
    "PMMIR_EL1 holds only SLOTS, which is zero or what the VM's PMU has.",
    "Write 0 or the value that is there.",
)
PMMIR_FROZEN = _rule(
    "pmmir-frozen", EBUSY, "PMMIR_EL1 is fixed once the VM has run.", "Write it before the first KVM_RUN."
)
COUNTER_RESERVED = _rule(
    "counter-offset-reserved",
    EINVAL,
    "The reserved word of struct kvm_arm_counter_offset is zero.",
    "Pass zero.",
)
MASK_RANGE_UNKNOWN = _rule(
    "mask-range-unknown",
    EINVAL,
    "KVM_ARM_GET_REG_WRITABLE_MASKS knows range 0 with all reserved words zero.",
    "Pass range 0 and zeroes.",
)
UNKNOWN_IOCTL = _rule(
    "unknown-ioctl",
    EINVAL,
    "This kernel has no such call.",
    "Leave the call out on this kernel.",
)

# -- GET_REG_LIST, MP state, events, attributes -------------------------------------------------
LIST_TOO_SMALL = _rule(
    "list-too-small",
    E2BIG,
    "The count offered to KVM_GET_REG_LIST is smaller than the number of registers, which is written back.",
    "Call again with that count.",
)
BAD_MP_STATE = _rule(
    "bad-mp-state",
    EINVAL,
    "The MP state is RUNNABLE (0), STOPPED (5) or SUSPENDED (10).",
    "Use one of these.",
)
EVENTS_RESERVED = _rule(
    "events-reserved",
    EINVAL,
    "Padding and reserved words of struct kvm_vcpu_events are zero.",
    "Zero the structure before filling it.",
)
EVENTS_NO_ESR = _rule(
    "events-no-esr",
    EINVAL,
    "An SError syndrome needs a host with RAS and fits ISS (25 bits).",
    "Check KVM_CAP_ARM_INJECT_SERROR_ESR.",
)
NO_SUCH_ATTR = _rule(
    "no-such-attribute",
    ENXIO,
    "There is no such attribute group or attribute here.",
    "Ask KVM_HAS_DEVICE_ATTR first.",
)
NO_SUCH_DEVICE = _rule(
    "no-such-device",
    ENODEV,
    "The host offers no device of this type.",
    "Ask with KVM_CREATE_DEVICE_TEST first.",
)
PMU_NOT_READY = _rule(
    "pmu-not-ready",
    EINVAL,
    "A vCPU with a PMU runs only after the PMU's attributes are set and it is initialised.",
    "Use the KVM_ARM_VCPU_PMU_V3_CTRL attributes: IRQ (with an in-kernel vGIC), then INIT.",
)
