"""A VM's memory: slots by guest address, each with bytes of its own.

Source: Linux virt/kvm/kvm_main.c (__kvm_set_memory_region), arch/arm64/kvm/mmu.c.
"""

from __future__ import annotations

from armkvm.errors import PlaceError
from armkvm.model import device_rules
from armkvm.model.outcome import Refused

LOG_DIRTY_PAGES, READONLY = 1, 2
PAGE = 4096
"""Of a host kernel with 4 KiB pages; the facts of a host do not say which it has."""

LIMIT = 4 << 30
"""How much memory one modelled VM can have."""

_MOST_PAGES = (1 << 31) - 1


class Slot:
    """`size` bytes that the guest sees at `base`. They cost nothing until they are asked for."""

    __slots__ = ("_memory", "base", "flags", "number", "size")

    def __init__(self, number: int, base: int, size: int, flags: int) -> None:
        self.number = number
        self.base = base
        self.size = size
        self.flags = flags
        self._memory: bytearray | None = None

    @property
    def end(self) -> int:
        return self.base + self.size

    @property
    def is_readonly(self) -> bool:
        """Read-only to the guest; its owner writes it all the same."""
        return bool(self.flags & READONLY)

    @property
    def memory(self) -> bytearray:
        """The bytes themselves, in one piece."""
        if self._memory is None:
            self._memory = bytearray(self.size)
        return self._memory

    def read(self, start: int, end: int) -> bytes:
        """A part of the bytes."""
        return bytes(end - start) if self._memory is None else bytes(self._memory[start:end])


class Memory:
    """The slots of a VM by number. `generation` changes with every change of them."""

    def __init__(self, slots: int, ipa_bits: int) -> None:
        self.slots: dict[int, Slot] = {}
        self.generation = 0
        self._most_slots = slots
        self._ipa_bits = ipa_bits

    def set_slot(self, number: int, base: int, size: int, flags: int) -> Refused | None:
        """KVM_SET_USER_MEMORY_REGION with `size` fresh zeroed bytes; size 0 deletes the slot.

        Memory is always fresh, so a slot that exists is never merely moved or given other flags.
        """
        refused = self._check(number, base, size, flags)
        if refused is not None:
            return refused
        if not size:
            del self.slots[number]
        else:
            self._check_limit(size)
            self.slots[number] = Slot(number, base, size, flags)
        self.generation += 1
        return None

    def _check(self, number: int, base: int, size: int, flags: int) -> Refused | None:
        if flags & ~(LOG_DIRTY_PAGES | READONLY):
            return Refused(device_rules.MEMORY_FLAGS, f"flags {flags:#x}")
        if size % PAGE or base % PAGE:
            return Refused(device_rules.MEMORY_MISALIGNED, f"{size:#x} bytes at {base:#x}")
        if not 0 <= number < self._most_slots:
            return Refused(device_rules.MEMORY_SLOT_NUMBER, f"slot {number}, the limit is {self._most_slots}")
        if base + size >> 64 or size // PAGE > _MOST_PAGES:
            return Refused(device_rules.MEMORY_TOO_LARGE, f"{size:#x} bytes at {base:#x}")
        old = self.slots.get(number)
        if not size:
            return Refused(device_rules.NO_SUCH_SLOT, f"slot {number}") if old is None else None
        if old is not None:
            return Refused(device_rules.MEMORY_SLOT_TAKEN, f"slot {number} is at {old.base:#x}")
        for other in self.slots.values():
            if base < other.end and other.base < base + size:
                return Refused(device_rules.MEMORY_OVERLAP, f"{base:#x} meets slot {other.number}")
        if base + size > 1 << self._ipa_bits:
            return Refused(
                device_rules.MEMORY_BEYOND_IPA,
                f"{base + size:#x}, the VM has {self._ipa_bits} bits of address",
            )
        return None

    def _check_limit(self, size: int) -> None:
        if sum(slot.size for slot in self.slots.values()) + size > LIMIT:
            raise PlaceError(
                f"a modelled VM has at most {LIMIT >> 30} GiB of memory; use a real KVM for more"
            )

    def slot_at(self, address: int) -> Slot | None:
        """The slot that holds an address."""
        return next((slot for slot in self.slots.values() if slot.base <= address < slot.end), None)

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes, across slots that adjoin; ValueError outside them."""
        return b"".join(slot.read(start, end) for slot, start, end in self._pieces(address, size))

    def write(self, address: int, data: bytes) -> None:
        """Write, also where the guest only reads; ValueError outside the slots, and nothing is written."""
        done = 0
        for slot, start, end in self._pieces(address, len(data)):
            slot.memory[start:end] = data[done : done + end - start]
            done += end - start

    def _pieces(self, address: int, size: int) -> list[tuple[Slot, int, int]]:
        """(slot, first byte, end) of the slots that hold a range."""
        if size < 0:
            raise ValueError(f"{size} bytes")
        pieces: list[tuple[Slot, int, int]] = []
        while size:
            slot = self.slot_at(address)
            if slot is None:
                raise ValueError(f"there is no memory at {address:#x}")
            start = address - slot.base
            taken = min(size, slot.size - start)
            pieces.append((slot, start, start + taken))
            address, size = address + taken, size - taken
        return pieces
