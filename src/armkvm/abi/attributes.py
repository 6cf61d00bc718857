"""Attribute groups and numbers of KVM_{HAS,GET,SET}_DEVICE_ATTR, and how attributes are packed.

Source: Linux arch/arm64/include/uapi/asm/kvm.h and include/uapi/linux/kvm.h (6.1 to 7.3).
"""

from __future__ import annotations

from struct import Struct

from armkvm.arch.encoding import SysReg


class VmGroup:
    """Groups on a VM descriptor, KVM_ARM_VM_<name>_CTRL."""

    SMCCC = 0


class SmcccAttr:
    """KVM_ARM_VM_SMCCC_<name>."""

    FILTER = 0


SMCCC_FILTER = Struct("<IIB15s")  # base, nr_functions, action, pad
SMCCC_FILTER_ACTIONS = ("HANDLE", "DENY", "FWD_TO_USER")


class TimerAttr:
    """KVM_ARM_VCPU_TIMER_IRQ_<name>: the PPI of each timer."""

    VTIMER = 0
    PTIMER = 1
    HVTIMER = 2
    HPTIMER = 3


class PmuAttr:
    """KVM_ARM_VCPU_PMU_V3_<name>."""

    IRQ = 0
    INIT = 1
    FILTER = 2
    SET_PMU = 3
    SET_NR_COUNTERS = 4


PMU_EVENT_FILTER = Struct("<HHB3x")  # base_event, nevents, action
PMU_EVENT_ALLOW, PMU_EVENT_DENY = 0, 1


class PvtimeAttr:
    """KVM_ARM_VCPU_PVTIME_<name>."""

    IPA = 0


class VgicGroup:
    """Groups of an in-kernel interrupt controller, KVM_DEV_ARM_VGIC_GRP_<name>."""

    ADDR = 0
    DIST_REGS = 1
    CPU_REGS = 2
    NR_IRQS = 3
    CTRL = 4
    REDIST_REGS = 5
    CPU_SYSREGS = 6
    LEVEL_INFO = 7
    ITS_REGS = 8
    MAINT_IRQ = 9


class VgicAddr:
    """What has an address, KVM_VGIC_V3_ADDR_TYPE_<name> and KVM_VGIC_ITS_ADDR_TYPE."""

    DIST = 2
    REDIST = 3
    ITS = 4
    REDIST_REGION = 5


class VgicCtrl:
    """KVM_DEV_ARM_VGIC_CTRL_INIT and its neighbours."""

    INIT = 0
    ITS_SAVE_TABLES = 1
    ITS_RESTORE_TABLES = 2
    SAVE_PENDING_TABLES = 3
    ITS_RESET = 4


class VfioGroup:
    """KVM_DEV_VFIO_<name>."""

    FILE = 1


class VfioAttr:
    """KVM_DEV_VFIO_FILE_<name>."""

    ADD = 1
    DEL = 2


ADDR_UNDEF = (1 << 64) - 1
"""What an address reads as before it was set."""

# KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION packs a region into one word: count, base, flags, index.
REGION_BASE = (1 << 52) - (1 << 16)
REGION_FLAGS = 0xF << 12
_REGION_COUNT_SHIFT, _REGION_INDEX = 52, 0xFFF


def region(index: int, base: int, count: int) -> int:
    """The word that describes a redistributor region."""
    return count << _REGION_COUNT_SHIFT | base & REGION_BASE | index & _REGION_INDEX


def region_count(word: int) -> int:
    """How many redistributors a region has."""
    return word >> _REGION_COUNT_SHIFT


def region_index(word: int) -> int:
    """A region's number; the kernel keeps eight bits of it."""
    return word & _REGION_INDEX & 0xFF


def affinity(attr: int) -> int:
    """The vCPU an attribute is about: Aff3.Aff2.Aff1.Aff0 of bits 63:32, laid out as in MPIDR_EL1."""
    packed = attr >> 32
    return (packed >> 24) << 32 | packed & 0xFF_FFFF


def cpu_sysreg(reg: SysReg, mpidr: int = 0) -> int:
    """The attribute of a CPU interface register of the vCPU with this MPIDR_EL1."""
    return (mpidr >> 32 & 0xFF) << 56 | (mpidr & 0xFF_FFFF) << 32 | int(reg)


def cpu_sysreg_encoding(attr: int) -> SysReg:
    """The register of a CPU_SYSREGS attribute; bits 31:16 mean nothing."""
    return SysReg(attr & 0xFFFF)


def offset(attr: int) -> int:
    """The offset in the distributor's or redistributor's frames."""
    return attr & 0xFFFF_FFFF


def level_info(attr: int) -> tuple[int, int]:
    """(kind of information, first interrupt) of a LEVEL_INFO attribute; kind 0 is the line level."""
    return attr >> 10 & 0x3F_FFFF, attr & 0x3FF
