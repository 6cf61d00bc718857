"""The engine's accesses to memory: how they are translated, and what one that fails comes to."""

from __future__ import annotations

from armkvm.cpu.address_space import AddressSpace, external_abort
from armkvm.cpu.engine_registers import EngineRegisters
from armkvm.cpu.exceptions import Access, GuestException
from armkvm.cpu.mmio import transfer_of
from armkvm.cpu.stop import Ending, Reason, Stop, unimplemented
from armkvm.cpu.translation import AccessKind, Mapping


class EngineAccesses:
    """Keeps what the engine told of the access it failed with."""

    def __init__(self, registers: EngineRegisters, space: AddressSpace) -> None:
        self._registers = registers
        self._space = space
        self._fault: GuestException | None = None
        self._outside: tuple[int, int, AccessKind] | None = None

    def begin(self) -> None:
        """The engine is about to start."""
        self._fault = self._outside = None

    def translate(self, va: int, kind: AccessKind) -> Mapping | None:
        """Where the page of `va` is, or None for a fault."""
        try:
            return self._space.translate(va, kind)
        except GuestException as fault:
            self._fault = fault
            return None

    def miss(self, va: int, size: int, kind: AccessKind) -> None:
        """The engine found no memory there, or was told of none."""
        self._outside = (va, size, kind)

    def failed(self, pc: int) -> Ending:
        """What the instruction at `pc`, whose access failed, comes to."""
        if self._fault is not None:
            if self._outside is not None:
                self._fault.far = self._outside[0]
            return self._fault
        if self._outside is None:
            return unimplemented(self._space.fetch(pc) or 0, pc)
        va, size, kind = self._outside
        if kind is AccessKind.FETCH:
            return external_abort(pc, kind, self._registers.el())
        try:
            ipa = self._space.translate(va, kind).ipa
        except GuestException as fault:
            return fault
        return self._outside_memory(Access(va, ipa, size, kind is AccessKind.WRITE), pc)

    def _outside_memory(self, access: Access, pc: int) -> Stop:
        word = self._space.fetch(pc) or 0
        transfer = transfer_of(word)
        if transfer is None:
            return Stop(Reason.NO_SYNDROME, pc, access=access, word=word)
        data = b""
        if transfer.is_write:
            value = 0 if transfer.register == 31 else self._registers.pull_one(transfer.register)
            data = (value & (1 << 8 * transfer.size) - 1).to_bytes(transfer.size, "little")
        whole = Access(access.va, access.ipa, transfer.size, transfer.is_write)
        return Stop(Reason.MMIO, pc, access=whole, transfer=transfer, data=data, word=word)
