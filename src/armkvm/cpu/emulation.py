"""Instructions that the engine does not know: those of the tables, HVC and SMC, and those that are none."""

from __future__ import annotations

from armkvm.arch.pstate import NZCV
from armkvm.cpu import sme, sve
from armkvm.cpu.address_space import AddressSpace
from armkvm.cpu.allocation import is_allocated
from armkvm.cpu.decode import Decoded, Decoder
from armkvm.cpu.enables import Enables
from armkvm.cpu.engine_registers import PC, PSTATE, EngineRegisters
from armkvm.cpu.exceptions import GuestException, OutsideMemory, Undefined
from armkvm.cpu.legality import CHECKS
from armkvm.cpu.machine import Machine
from armkvm.cpu.stop import Ending, Reason, Stop, unimplemented
from armkvm.cpu.tally import Tally

DECODER = Decoder(sve.ROWS + sme.ROWS)

_MOST_IN_A_ROW = 64  # then the engine gets control back, and with it any stop request
_CALL_MASK, _HVC, _SMC = 0xFFE0001F, 0xD4000002, 0xD4000003


class Emulation:
    """Executes such instructions on the engine's registers and the machine, while the engine is stopped."""

    def __init__(
        self,
        registers: EngineRegisters,
        machine: Machine,
        space: AddressSpace,
        enables: Enables,
        tally: Tally,
    ) -> None:
        self._registers = registers
        self._machine = machine
        self._space = space
        self._enables = enables
        self._tally = tally

    def run(self) -> Ending | None:
        """Execute the instruction at PC, and those after it as long as they are of the tables.

        PC then stands where the guest goes on, or where an exception returns to. None: go on from there.
        """
        registers, machine = self._registers, self._machine
        registers.pull()
        values = registers.values
        machine.nzcv = values[PSTATE] & NZCV
        pc = first = values[PC]
        ending: Ending | None = None
        for _ in range(_MOST_IN_A_ROW):
            word = self._space.fetch(pc)
            decoded = None if word is None else DECODER.decode(word)
            if word is None or (decoded is None and pc != first):
                break  # the engine may well know what it did not stop at
            ending = self._other(word, pc) if decoded is None else self._execute(decoded, word, pc)
            if isinstance(ending, Stop):
                pc = ending.pc
                if ending.reason is Reason.UNIMPLEMENTED:
                    break
            self._tally.count()
            if ending is not None:
                break
            pc += 4
            if self._tally.is_used_up:
                break
        if ending is None and self._tally.is_used_up:
            ending = Stop(Reason.BUDGET, pc)
        values[PSTATE] = values[PSTATE] & ~NZCV | machine.nzcv
        registers.push(machine.take_changed_x() | 1 << PSTATE)
        registers.push_fpsr()
        if machine.z_written:
            machine.z_written = False
            registers.push_vectors()
            self._enables.reconsider(z_written=True)
        registers.jump(pc)
        return ending

    def _execute(self, decoded: Decoded, word: int, pc: int) -> Ending | None:
        row = decoded.row
        if row.needs and not getattr(self._machine.features, row.needs):
            return Undefined()
        try:
            CHECKS[row.check](self._enables.situation())
            decoded.execute(self._machine)
        except GuestException as exception:
            return exception
        except OutsideMemory as outside:
            return Stop(Reason.NO_SYNDROME, pc, access=outside.access, word=word)
        return None

    def _other(self, word: int, pc: int) -> Ending:
        """What no row has: a call, or an instruction that is missing here or does not exist."""
        call = word & _CALL_MASK
        if call in (_HVC, _SMC):
            if not self._registers.el():
                return Undefined()
            return Stop(Reason.HVC if call == _HVC else Reason.SMC, pc + 4, immediate=word >> 5 & 0xFFFF)
        return unimplemented(word, pc) if is_allocated(word, self._machine.features) else Undefined()
