"""The rule book's part on VMs and vCPUs: their making, their life, and calls that concern no register.

Source: the recordings of real KVM; Linux arch/arm64/kvm/{arm,guest,reset}.c.
"""

from __future__ import annotations

from errno import E2BIG, EEXIST, EFAULT, EINTR, EINVAL, EIO, ENOENT, ENOEXEC, EPERM

from armkvm.errors import Rule

# -- life cycle --------------------------------------------------------------------------------
NOT_INITIALISED = Rule(
    "not-initialised",
    ENOEXEC,
    "A vCPU answers nothing but KVM_GET/SET_MP_STATE before KVM_ARM_VCPU_INIT.",
    "Call KVM_ARM_VCPU_INIT first.",
)
NOT_FINALIZED = Rule(
    "not-finalized",
    EPERM,
    "A vCPU with scalable vectors is not usable until its vector lengths are final.",
    "Call KVM_ARM_VCPU_FINALIZE(KVM_ARM_VCPU_SVE), after writing the vector lengths if they are to change.",
)
ALREADY_FINALIZED = Rule(
    "already-finalized",
    EPERM,
    "Finalizing happens once in a vCPU's life and survives a second KVM_ARM_VCPU_INIT.",
    "Leave the call out; for other vector lengths create a new vCPU.",
)
NOT_FINALIZABLE = Rule(
    "not-finalizable",
    EINVAL,
    "KVM_ARM_VCPU_FINALIZE knows one feature, KVM_ARM_VCPU_SVE (or _VEC, its name where there is SME), on a "
    "vCPU that has SVE or SME.",
    "Name that feature and ask for SVE or SME in KVM_ARM_VCPU_INIT, or leave the call out.",
)
VM_DEAD = Rule(
    "vm-dead",
    EIO,
    "A failure inside the kernel has ended this VM.",
    "Close it and create a new one.",
)
IMMEDIATE_EXIT = Rule(
    "immediate-exit",
    EINTR,
    "With immediate_exit set KVM_RUN returns before entering the guest, but after the first-run work.",
    "Clear immediate_exit to run the guest.",
)
BAD_POINTER = Rule(
    "bad-pointer",
    EFAULT,
    "The user address cannot be read or written.",
    "Pass the address of a buffer as large as the register's size.",
)

# -- KVM_CREATE_VM, KVM_CREATE_VCPU, KVM_ENABLE_CAP --------------------------------------------
BAD_MACHINE_TYPE = Rule(
    "bad-machine-type",
    EINVAL,
    "The machine type is an IPA size of 0 (meaning 40) or 32 up to the host's limit, and nothing else.",
    "Use 0, or a size KVM_CAP_ARM_VM_IPA_SIZE allows.",
)
VCPU_EXISTS = Rule("vcpu-exists", EEXIST, "A vCPU with this id exists already.", "Use another id.")
VCPU_ID_TOO_LARGE = Rule(
    "vcpu-id-too-large",
    EINVAL,
    "A vCPU id is below KVM_CAP_MAX_VCPU_ID.",
    "Use a smaller id.",
)
CAP_NOT_ENABLEABLE = Rule(
    "cap-not-enableable",
    EINVAL,
    "KVM_ENABLE_CAP knows only some capabilities, with flags 0 and arguments in range.",
    "Check KVM_CHECK_EXTENSION and the arguments.",
)
CAP_AFTER_VCPU = Rule(
    "cap-after-vcpu",
    EINVAL,
    "This capability can be enabled only while the VM has no vCPU.",
    "Enable it between KVM_CREATE_VM and the first KVM_CREATE_VCPU.",
)

# -- KVM_ARM_VCPU_INIT -------------------------------------------------------------------------
BAD_TARGET = Rule(
    "bad-target",
    EINVAL,
    "The target is the one KVM_ARM_PREFERRED_TARGET names (or the generic one, where accepted).",
    "Pass what KVM_ARM_PREFERRED_TARGET returned.",
)
UNKNOWN_FEATURE = Rule(
    "unknown-feature",
    ENOENT,
    "This kernel's header has no such vCPU feature bit.",
    "Leave the bit out; KVM_CHECK_EXTENSION tells what there is.",
)
FEATURE_NOT_OFFERED = Rule(
    "feature-not-offered",
    EINVAL,
    "The host cannot give guests this feature.",
    "Leave it out, or use a host that has it.",
)
PTRAUTH_HALF = Rule(
    "ptrauth-half",
    EINVAL,
    "Pointer authentication comes whole: PTRAUTH_ADDRESS and PTRAUTH_GENERIC together.",
    "Ask for both or neither.",
)
PMU_STRICT_ALONE = Rule(
    "pmu-strict-alone",
    EINVAL,
    "PMU_V3_STRICT needs PMU_V3.",
    "Ask for both.",
)
AARCH32_CONFLICT = Rule(
    "aarch32-conflict",
    EINVAL,
    "A 32-bit EL1 excludes MTE and EL2.",
    "Leave EL1_32BIT out.",
)
FEATURES_DIFFER = Rule(
    "features-differ",
    EINVAL,
    "All KVM_ARM_VCPU_INIT calls of a vCPU, and since 6.7 of a whole VM, ask for the same features.",
    "Repeat the features of the first call, or create a new VM.",
)
WIDTH_DIFFERS = Rule(
    "width-differs",
    EINVAL,
    "All vCPUs of a VM have the same EL1 register width.",
    "Give EL1_32BIT to all vCPUs or to none.",
)

# -- GET_REG_LIST, MP state, events ------------------------------------------------------------
LIST_TOO_SMALL = Rule(
    "list-too-small",
    E2BIG,
    "The count offered to KVM_GET_REG_LIST is smaller than the number of registers, which is written back.",
    "Call again with that count.",
)
BAD_MP_STATE = Rule(
    "bad-mp-state",
    EINVAL,
    "The MP state is RUNNABLE (0), STOPPED (5) or SUSPENDED (10).",
    "Use one of these.",
)
EVENTS_RESERVED = Rule(
    "events-reserved",
    EINVAL,
    "Padding and reserved words of struct kvm_vcpu_events are zero.",
    "Zero the structure before filling it.",
)
EVENTS_NO_ESR = Rule(
    "events-no-esr",
    EINVAL,
    "An SError syndrome needs a host with RAS and fits ISS (25 bits).",
    "Check KVM_CAP_ARM_INJECT_SERROR_ESR.",
)

# -- other calls -------------------------------------------------------------------------------
COUNTER_RESERVED = Rule(
    "counter-offset-reserved",
    EINVAL,
    "The reserved word of struct kvm_arm_counter_offset is zero.",
    "Pass zero.",
)
MASK_RANGE_UNKNOWN = Rule(
    "mask-range-unknown",
    EINVAL,
    "KVM_ARM_GET_REG_WRITABLE_MASKS knows range 0 with all reserved words zero.",
    "Pass range 0 and zeroes.",
)
UNKNOWN_IOCTL = Rule(
    "unknown-ioctl",
    EINVAL,
    "This kernel has no such call.",
    "Leave the call out on this kernel.",
)
