"""Guest memory: slots of zeroed, lazily allocated pages of this process."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from errno import ENOMEM

from armkvm.abi.ioctls import Ioctl
from armkvm.abi.structs import MEMORY_REGION
from armkvm.backends.devkvm.descriptor import NULL, Descriptor, Scratch, packed
from armkvm.errors import KvmError

_MAP_NORESERVE = 0x4000  # Linux, every architecture; Python names it from 3.13 on
_LAZY = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE


class MemorySlots:
    """The slots of one VM: (guest address, size, memory) by slot number."""

    def __init__(self) -> None:
        self._slots: dict[int, tuple[int, int, Scratch]] = {}

    def set(self, vm: Descriptor, slot: int, guest_address: int, size: int, flags: int) -> None:
        """KVM_SET_USER_MEMORY_REGION; what the slot held before is unmapped if the kernel agrees."""
        memory = self._memory(size)
        try:
            address = memory.address if memory else NULL
            region = packed(MEMORY_REGION, slot, flags, guest_address, size, address)
            vm.structure(Ioctl.KVM_SET_USER_MEMORY_REGION, region)
        except BaseException:
            if memory:
                memory.close()
            raise
        old = self._slots.pop(slot, None)
        if old:
            old[2].close()
        if memory:
            self._slots[slot] = (guest_address, size, memory)

    @staticmethod
    def _memory(size: int) -> Scratch | None:
        """Backing for a slot; None for size 0, and for a size no address space holds (EINVAL then)."""
        if size <= 0 or size >> 63:
            return None
        try:
            return Scratch(size, _LAZY)
        except (OSError, OverflowError):
            raise KvmError(
                ENOMEM, Ioctl.KVM_SET_USER_MEMORY_REGION.name, detail=f"no room here for {size:#x} bytes"
            ) from None

    def read(self, guest_address: int, size: int) -> bytes:
        return b"".join(memory[start:end] for memory, start, end in self._spans(guest_address, size))

    def write(self, guest_address: int, data: bytes) -> None:
        done = 0
        for memory, start, end in list(self._spans(guest_address, len(data))):
            memory[start:end] = data[done : done + end - start]
            done += end - start

    def _spans(self, guest_address: int, size: int) -> Iterator[tuple[mmap.mmap, int, int]]:
        """The pieces of slots that a range of guest addresses lies in, in order."""
        if guest_address < 0 or size < 0:
            raise ValueError("a guest address and a size are not negative")
        end = guest_address + size
        while True:
            base, length, memory = self._slot_of(guest_address, size == 0)
            stop = min(end, base + length)
            yield memory.memory, guest_address - base, stop - base
            guest_address = stop
            if guest_address >= end:
                return

    def _slot_of(self, guest_address: int, or_its_end: bool) -> tuple[int, int, Scratch]:
        for slot in self._slots.values():
            base, length, _ = slot
            if base <= guest_address < base + length + or_its_end:
                return slot
        raise ValueError(f"guest address {guest_address:#x} is in no memory slot")

    def close(self) -> None:
        for _, _, memory in self._slots.values():
            memory.close()
        self._slots.clear()
