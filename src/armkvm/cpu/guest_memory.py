"""Memory slots: the VM's memory by intermediate physical address."""

from __future__ import annotations

from dataclasses import dataclass

PAGE = 4096
IPA_LIMIT = 1 << 47


@dataclass(frozen=True, slots=True)
class Slot:
    """`memory` seen by the guest at `base`; both are whole pages."""

    base: int
    memory: memoryview
    readonly: bool = False

    def __post_init__(self) -> None:
        if self.base % PAGE or len(self.memory) % PAGE or not len(self.memory):
            raise ValueError(f"a memory slot is whole {PAGE}-byte pages")
        if self.memory.readonly or not self.memory.contiguous or self.memory.itemsize != 1:
            raise ValueError("a memory slot needs contiguous writable bytes")

    @property
    def end(self) -> int:
        return self.base + len(self.memory)


class GuestMemory:
    """The slots of a VM. `generation` changes with every change of the slots."""

    def __init__(self) -> None:
        self.slots: tuple[Slot, ...] = ()
        self.generation = 0

    def add(self, base: int, memory: bytearray | memoryview, *, readonly: bool = False) -> Slot:
        """Make `memory` visible at `base`; ValueError if it overlaps another slot."""
        slot = Slot(base, memoryview(memory).cast("B"), readonly)
        if slot.end > IPA_LIMIT:
            raise ValueError(f"the slot at {base:#x} ends beyond {IPA_LIMIT:#x}")
        for other in self.slots:
            if slot.base < other.end and other.base < slot.end:
                raise ValueError(f"the slot at {base:#x} overlaps the one at {other.base:#x}")
        self.slots = (*self.slots, slot)
        self.generation += 1
        return slot

    def remove(self, slot: Slot) -> None:
        self.slots = tuple(s for s in self.slots if s is not slot)
        self.generation += 1

    def find(self, ipa: int, size: int = 1) -> Slot | None:
        """The slot that holds all of [ipa, ipa + size)."""
        for slot in self.slots:
            if slot.base <= ipa and ipa + size <= slot.end:
                return slot
        return None

    def read(self, ipa: int, size: int) -> bytes | None:
        """Bytes at ipa, or None unless one slot holds them all."""
        slot = self.find(ipa, size)
        if slot is None:
            return None
        return bytes(slot.memory[ipa - slot.base : ipa - slot.base + size])
