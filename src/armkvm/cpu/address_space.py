"""Guest memory by virtual address: translation, permissions, faults, accesses of emulated instructions."""

from __future__ import annotations

from collections.abc import Callable

from armkvm.arch.pstate import PAN, el_of
from armkvm.cpu.exceptions import Access, ExceptionClass, GuestException, OutsideMemory
from armkvm.cpu.guest_memory import PAGE, GuestMemory, Slot
from armkvm.cpu.port import SCTLR_EL1, TCR_EL1, TTBR0_EL1, TTBR1_EL1, SysRegPort
from armkvm.cpu.translation import AccessKind, FaultStatus, Mapping, Regime, TranslationFault, translate

_WNR = 1 << 6


class AddressSpace:
    """What the current exception level can reach. `pstate` gives PSTATE as it is now."""

    def __init__(
        self,
        memory: GuestMemory,
        port: SysRegPort,
        pstate: Callable[[], int],
        on_store: Callable[[int, int], None],
    ) -> None:
        self._memory = memory
        self._port = port
        self._pstate = pstate
        self._on_store = on_store
        self._regime = Regime()

    def update_regime(self) -> bool:
        """Reread the translation registers; whether any changed."""
        current = self._port.current
        regime = Regime(current(SCTLR_EL1), current(TCR_EL1), current(TTBR0_EL1), current(TTBR1_EL1))
        changed = regime != self._regime
        self._regime = regime
        return changed

    def translate(self, va: int, kind: AccessKind, el: int | None = None) -> Mapping:
        """The mapping of `va`; GuestException with the abort otherwise."""
        pstate = self._pstate()
        current_el = el_of(pstate)
        try:
            return translate(
                self._regime,
                va,
                current_el if el is None else el,
                bool(pstate & PAN),
                kind,
                self._descriptor,
            )
        except TranslationFault as fault:
            raise abort(va, kind, current_el, fault.code) from None

    def _descriptor(self, ipa: int) -> int | None:
        data = self._memory.read(ipa, 8)
        return None if data is None else int.from_bytes(data, "little")

    def load(self, va: int, size: int) -> bytes:
        """Bytes at va; GuestException for a fault, OutsideMemory where no slot is."""
        parts = []
        for at, count in _pages(va, size):
            slot, offset = self._slot(at, count, AccessKind.READ)
            parts.append(bytes(slot.memory[offset : offset + count]))
        return b"".join(parts)

    def store(self, va: int, data: bytes) -> None:
        """Write bytes at va, all or nothing."""
        places = [(self._slot(at, count, AccessKind.WRITE), at, count) for at, count in _pages(va, len(data))]
        done = 0
        for (slot, offset), _at, count in places:
            slot.memory[offset : offset + count] = data[done : done + count]
            self._on_store(slot.base + offset, count)
            done += count

    def fetch(self, va: int) -> int | None:
        """The instruction word at va, None if it cannot be fetched."""
        try:
            mapping = self.translate(va, AccessKind.FETCH)
        except GuestException:
            return None
        data = self._memory.read(mapping.ipa, 4)
        return None if data is None else int.from_bytes(data, "little")

    def _slot(self, va: int, size: int, kind: AccessKind) -> tuple[Slot, int]:
        ipa = self.translate(va, kind).ipa
        slot = self._memory.find(ipa, size)
        if slot is None or (kind is AccessKind.WRITE and slot.readonly):
            raise OutsideMemory(Access(va, ipa, size, kind is AccessKind.WRITE))
        return slot, ipa - slot.base


def _pages(va: int, size: int) -> list[tuple[int, int]]:
    """(address, bytes) of an access, cut at page boundaries and at the top of the address space."""
    pieces = []
    while size:
        count = min(size, PAGE - va % PAGE)
        pieces.append((va, count))
        va, size = va + count & (1 << 64) - 1, size - count
    return pieces


def abort(va: int, kind: AccessKind, el: int, code: int) -> GuestException:
    """The instruction or data abort of an access made at `el`, with status `code`."""
    if kind is AccessKind.FETCH:
        same, lower = ExceptionClass.INSTRUCTION_ABORT_SAME, ExceptionClass.INSTRUCTION_ABORT_LOWER
    else:
        same, lower = ExceptionClass.DATA_ABORT_SAME, ExceptionClass.DATA_ABORT_LOWER
    iss = code | (_WNR if kind is AccessKind.WRITE else 0)
    return GuestException(same if el else lower, iss, far=va)


def external_abort(va: int, kind: AccessKind, el: int) -> GuestException:
    """What KVM injects where a guest fetches from, or cannot be helped to access, nothing."""
    return abort(va, kind, el, FaultStatus.EXTERNAL.value)
