"""One virtual machine over real ioctls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import unpack_from
from typing import TYPE_CHECKING

from armkvm.abi.caps import Cap
from armkvm.abi.ioctls import Ioctl
from armkvm.abi.regid import RegId
from armkvm.abi.structs import (
    COUNTER_OFFSET,
    CREATE_DEVICE,
    CREATE_DEVICE_TEST,
    ENABLE_CAP,
    FEATURE_ID_MASKS,
    REG_MASK_RANGE,
    VCPU_INIT,
    mask_register,
)
from armkvm.arch.encoding import SysReg
from armkvm.backends.devkvm.descriptor import AttributeDescriptor, Descriptor, DevKvmDevice, Scratch, packed
from armkvm.backends.devkvm.memory import MemorySlots
from armkvm.backends.devkvm.vcpu import DevKvmVcpu

if TYPE_CHECKING:
    from armkvm.backends.devkvm.system import DevKvmSystem

_RESERVED_WORDS = 13


class DevKvmVm(AttributeDescriptor):
    """One virtual machine; closing it closes its vCPUs and devices and unmaps its memory."""

    def __init__(self, fd: int, system: DevKvmSystem) -> None:
        super().__init__(fd)
        self._system = system
        self._children: list[Descriptor] = []
        self._memory = MemorySlots()

    def check_extension(self, cap: Cap | int) -> int:
        return self.number(Ioctl.KVM_CHECK_EXTENSION, cap)

    def create_vcpu(self, vcpu_id: int) -> DevKvmVcpu:
        fd = self.number(Ioctl.KVM_CREATE_VCPU, vcpu_id)
        vcpu = DevKvmVcpu(
            fd,
            vcpu_id,
            preferred_target=lambda: self.preferred_target()[0],
            feature_bit=self._system.feature_bit,
            run_page_size=self._system.run_page_size,
            run_limit=self._system.run_limit,
        )
        self._children.append(vcpu)
        return vcpu

    def preferred_target(self) -> tuple[int, Sequence[int]]:
        answer = self.structure(Ioctl.KVM_ARM_PREFERRED_TARGET, bytes(VCPU_INIT.size))
        target, *features = VCPU_INIT.unpack(answer)
        return target, tuple(features)

    def enable_cap(self, cap: Cap | int, *args: int, flags: int = 0) -> None:
        if len(args) > 4:
            raise ValueError(f"KVM_ENABLE_CAP takes at most 4 arguments, not {len(args)}")
        words = (*args, *(0,) * (4 - len(args)))
        self.structure(Ioctl.KVM_ENABLE_CAP, packed(ENABLE_CAP, cap, flags, *words))

    def create_device(self, kind: int, test: bool = False) -> DevKvmDevice | None:
        request = packed(CREATE_DEVICE, kind, 0, CREATE_DEVICE_TEST if test else 0)
        _, fd, _ = CREATE_DEVICE.unpack(self.structure(Ioctl.KVM_CREATE_DEVICE, request))
        if test:
            return None
        device = DevKvmDevice(fd)
        self._children.append(device)
        return device

    def writable_masks(self, range_: int = 0, reserved: Sequence[int] = ()) -> Mapping[RegId, int]:
        if len(reserved) > _RESERVED_WORDS:
            raise ValueError(
                f"struct reg_mask_range has {_RESERVED_WORDS} reserved words, not {len(reserved)}"
            )
        words = (*reserved, *(0,) * (_RESERVED_WORDS - len(reserved)))
        scratch = Scratch(8 * FEATURE_ID_MASKS)
        try:
            self.structure(
                Ioctl.KVM_ARM_GET_REG_WRITABLE_MASKS, packed(REG_MASK_RANGE, scratch.address, range_, *words)
            )
            masks = unpack_from(f"<{FEATURE_ID_MASKS}Q", scratch.memory)
        finally:
            scratch.close()
        return {
            RegId.sysreg(SysReg.of(*mask_register(index))): mask for index, mask in enumerate(masks) if mask
        }

    def set_counter_offset(self, offset: int, reserved: int = 0) -> None:
        self.structure(Ioctl.KVM_ARM_SET_COUNTER_OFFSET, packed(COUNTER_OFFSET, offset, reserved))

    def set_memory(self, slot: int, guest_address: int, size: int, flags: int = 0) -> None:
        self._memory.set(self, slot, guest_address, size, flags)

    def read_memory(self, guest_address: int, size: int) -> bytes:
        return self._memory.read(guest_address, size)

    def write_memory(self, guest_address: int, data: bytes) -> None:
        self._memory.write(guest_address, data)

    def close(self) -> None:
        for child in reversed(self._children):
            child.close()
        self._children.clear()
        super().close()
        self._memory.close()
