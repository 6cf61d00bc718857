"""ioctl request numbers of KVM/arm64, and what each is issued on.

Source: Linux include/uapi/linux/kvm.h and include/uapi/asm-generic/ioctl.h; the numbers are
the same from 6.1 to 7.3 (later kernels only add).
"""

from __future__ import annotations

from enum import Enum, IntEnum

KVMIO = 0xAE
_NONE, _WRITE, _READ = 0, 1, 2


def _io(direction: int, nr: int, size: int) -> int:
    return direction << 30 | size << 16 | KVMIO << 8 | nr


class On(Enum):
    """The descriptor an ioctl is issued on."""

    SYSTEM = "system"
    VM = "vm"
    VCPU = "vcpu"
    DEVICE = "device"


class Ioctl(IntEnum):
    """Request numbers, kernel spelling. KVM_ARM_SET_DEVICE_ADDR shares GET_ONE_REG's number."""

    KVM_GET_API_VERSION = _io(_NONE, 0x00, 0)
    KVM_CREATE_VM = _io(_NONE, 0x01, 0)
    KVM_CHECK_EXTENSION = _io(_NONE, 0x03, 0)
    KVM_GET_VCPU_MMAP_SIZE = _io(_NONE, 0x04, 0)
    KVM_CREATE_VCPU = _io(_NONE, 0x41, 0)
    KVM_SET_USER_MEMORY_REGION = _io(_WRITE, 0x46, 32)
    KVM_SET_USER_MEMORY_REGION2 = _io(_WRITE, 0x49, 160)
    KVM_CREATE_IRQCHIP = _io(_NONE, 0x60, 0)
    KVM_IRQ_LINE = _io(_WRITE, 0x61, 8)
    KVM_RUN = _io(_NONE, 0x80, 0)
    KVM_GET_MP_STATE = _io(_READ, 0x98, 4)
    KVM_SET_MP_STATE = _io(_WRITE, 0x99, 4)
    KVM_SET_SIGNAL_MASK = _io(_WRITE, 0x8B, 4)
    KVM_SET_GUEST_DEBUG = _io(_WRITE, 0x9B, 520)
    KVM_GET_VCPU_EVENTS = _io(_READ, 0x9F, 64)
    KVM_SET_VCPU_EVENTS = _io(_WRITE, 0xA0, 64)
    KVM_ENABLE_CAP = _io(_WRITE, 0xA3, 104)
    KVM_GET_ONE_REG = _io(_WRITE, 0xAB, 16)
    KVM_SET_ONE_REG = _io(_WRITE, 0xAC, 16)
    KVM_ARM_VCPU_INIT = _io(_WRITE, 0xAE, 32)
    KVM_ARM_PREFERRED_TARGET = _io(_READ, 0xAF, 32)
    KVM_GET_REG_LIST = _io(_READ | _WRITE, 0xB0, 8)
    KVM_ARM_MTE_COPY_TAGS = _io(_READ, 0xB4, 48)
    KVM_ARM_SET_COUNTER_OFFSET = _io(_WRITE, 0xB5, 16)
    KVM_ARM_GET_REG_WRITABLE_MASKS = _io(_READ, 0xB6, 64)
    KVM_ARM_VCPU_FINALIZE = _io(_WRITE, 0xC2, 4)
    KVM_CREATE_DEVICE = _io(_READ | _WRITE, 0xE0, 12)
    KVM_SET_DEVICE_ATTR = _io(_WRITE, 0xE1, 24)
    KVM_GET_DEVICE_ATTR = _io(_WRITE, 0xE2, 24)
    KVM_HAS_DEVICE_ATTR = _io(_WRITE, 0xE3, 24)


_SYSTEM = {
    Ioctl.KVM_GET_API_VERSION,
    Ioctl.KVM_CREATE_VM,
    Ioctl.KVM_CHECK_EXTENSION,
    Ioctl.KVM_GET_VCPU_MMAP_SIZE,
}
_VM = {
    Ioctl.KVM_CREATE_VCPU,
    Ioctl.KVM_SET_USER_MEMORY_REGION,
    Ioctl.KVM_SET_USER_MEMORY_REGION2,
    Ioctl.KVM_CREATE_IRQCHIP,
    Ioctl.KVM_IRQ_LINE,
    Ioctl.KVM_ENABLE_CAP,
    Ioctl.KVM_ARM_PREFERRED_TARGET,
    Ioctl.KVM_ARM_MTE_COPY_TAGS,
    Ioctl.KVM_ARM_SET_COUNTER_OFFSET,
    Ioctl.KVM_ARM_GET_REG_WRITABLE_MASKS,
    Ioctl.KVM_CREATE_DEVICE,
}
_DEVICE = {Ioctl.KVM_SET_DEVICE_ATTR, Ioctl.KVM_GET_DEVICE_ATTR, Ioctl.KVM_HAS_DEVICE_ATTR}

ISSUED_ON: dict[Ioctl, On] = {
    **dict.fromkeys(Ioctl, On.VCPU),
    **dict.fromkeys(_SYSTEM, On.SYSTEM),
    **dict.fromkeys(_VM, On.VM),
    **dict.fromkeys(_DEVICE, On.DEVICE),
}
