"""Structures passed by pointer: one codec each, sizes as the kernel's.

Source: Linux include/uapi/linux/kvm.h and arch/arm64/include/uapi/asm/kvm.h (6.1 to 7.3).
"""

from __future__ import annotations

from functools import cache
from struct import Struct

from armkvm.abi.regid import RegId
from armkvm.arch.encoding import SysReg

ONE_REG = Struct("<QQ")  # id, addr
VCPU_INIT = Struct("<I7I")  # target, features[7]
REG_LIST_HEAD = Struct("<Q")  # n, then n ids
MP_STATE = Struct("<I")
MEMORY_REGION = Struct("<IIQQQ")  # slot, flags, guest_phys_addr, memory_size, userspace_addr
ENABLE_CAP = Struct("<II4Q64x")  # cap, flags, args[4]
DEVICE_ATTR = Struct("<IIQQ")  # flags, group, attr, addr
CREATE_DEVICE = Struct("<III")  # type, fd, flags
REG_MASK_RANGE = Struct("<QI13I")  # addr, range, reserved[13]
COUNTER_OFFSET = Struct("<QQ")  # offset, reserved
GUEST_DEBUG_HEAD = Struct("<I4x")  # control, then u64 bcr[16], bvr[16], wcr[16], wvr[16]
VCPU_EVENTS = Struct("<BBB5xQ12I")  # serror_pending, serror_has_esr, ext_dabt_pending, serror_esr, reserved

CREATE_DEVICE_TEST = 1
FEATURE_ID_MASKS = 192
"""Slots of the Feature-ID range: op1 in {0, 1, 3}, CRm 0..7, op2 0..7."""


def mask_index(op1: int, crm: int, op2: int) -> int:
    """The slot of KVM_ARM_GET_REG_WRITABLE_MASKS for register (3, op1, 0, crm, op2)."""
    return (2 if op1 == 3 else op1) << 6 | crm << 3 | op2


def mask_register(index: int) -> tuple[int, int, int, int, int]:
    """The encoding of a slot; the inverse of `mask_index`."""
    return (3, (0, 1, 3)[index >> 6], 0, index >> 3 & 7, index & 7)


@cache
def feature_ids() -> frozenset[RegId]:
    """The registers of the Feature-ID range."""
    return frozenset(RegId.sysreg(SysReg.of(*mask_register(index))) for index in range(FEATURE_ID_MASKS))


def is_feature_id(reg: RegId) -> bool:
    """Whether a register lies in the Feature-ID range."""
    return reg in feature_ids()


class MpState:
    """Values of struct kvm_mp_state that arm64 knows."""

    RUNNABLE = 0
    STOPPED = 5
    SUSPENDED = 10


class DeviceType:
    """KVM_DEV_TYPE_* that concern arm64."""

    VFIO = 4
    ARM_VGIC_V2 = 5
    ARM_VGIC_V3 = 7
    ARM_VGIC_ITS = 8
    ARM_PV_TIME = 10
    ARM_VGIC_V5 = 16


DEVICE_NAMES = {
    DeviceType.VFIO: "KVM_DEV_TYPE_VFIO",
    DeviceType.ARM_VGIC_V2: "KVM_DEV_TYPE_ARM_VGIC_V2",
    DeviceType.ARM_VGIC_V3: "KVM_DEV_TYPE_ARM_VGIC_V3",
    DeviceType.ARM_VGIC_ITS: "KVM_DEV_TYPE_ARM_VGIC_ITS",
    DeviceType.ARM_PV_TIME: "KVM_DEV_TYPE_ARM_PV_TIME",
    DeviceType.ARM_VGIC_V5: "KVM_DEV_TYPE_ARM_VGIC_V5",
}


class VcpuAttr:
    """Attribute groups of a vCPU descriptor, KVM_ARM_VCPU_<name>_CTRL."""

    PMU_V3 = 0
    TIMER = 1
    PVTIME = 2


class GuestDebug:
    """Controls of struct kvm_guest_debug."""

    ENABLE = 1 << 0
    SINGLESTEP = 1 << 1
    USE_SW_BP = 1 << 16
    USE_HW = 1 << 17


class ExitReason:
    """KVM_EXIT_* that arm64 produces."""

    UNKNOWN = 0
    HYPERCALL = 3
    DEBUG = 4
    MMIO = 6
    FAIL_ENTRY = 9
    INTR = 10
    INTERNAL_ERROR = 17
    SYSTEM_EVENT = 24
    ARM_NISV = 28
    MEMORY_FAULT = 39
    ARM_SEA = 41
    ARM_LDST64B = 42
