"""A PE that executes a guest's A64 code at EL1 and EL0.

The base instruction set runs in the engine; SVE and SME instructions, system registers,
translation and exceptions are here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from armkvm.cpu import engine as native, sme, sve
from armkvm.cpu.address_space import AddressSpace, abort, external_abort
from armkvm.cpu.allocation import is_allocated
from armkvm.cpu.decode import Decoder
from armkvm.cpu.engine import Engine
from armkvm.cpu.engine_registers import PC, PSTATE
from armkvm.cpu.exception_return import IL, is_plain, returned
from armkvm.cpu.exceptions import (
    Access,
    ExceptionClass,
    GuestException,
    OutsideMemory,
    Undefined,
    UnimplementedInstruction,
    Unmodelled,
)
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.fp_gate import FpGate
from armkvm.cpu.guest_memory import GuestMemory
from armkvm.cpu.legality import CHECKS, Hypervisor, Situation
from armkvm.cpu.machine import Machine
from armkvm.cpu.mmio import transfer_of
from armkvm.cpu.port import (
    CPACR_EL1,
    ESR_EL1,
    FAR_EL1,
    ID_AA64PFR0_EL1,
    SCTLR_EL1,
    SMCR_EL1,
    VBAR_EL1,
    ZCR_EL1,
    SysRegPort,
)
from armkvm.cpu.state import CoreState, VectorState
from armkvm.cpu.stop import Reason, Stop
from armkvm.cpu.system_access import SystemAccess
from armkvm.cpu.tally import Tally
from armkvm.cpu.translation import AccessKind, FaultStatus, Mapping
from armkvm.cpu.watched_words import ERET, is_hypervisors, is_return, is_system

DECODER = Decoder(sve.ROWS + sme.ROWS)

_WFI = 0xD503207F
_HVC_SMC_MASK, _HVC, _SMC = 0xFFE0001F, 0xD4000002, 0xD4000003
_NZCV = 0xF << 28
_PAN, _DAIF, _EL1H = 1 << 22, 0x3C0, 5
_EL1_TO_EL2 = 0xC
_SCTLR_SPAN = 1 << 23
_MAX_EMULATED_IN_A_ROW = 64  # then the engine gets control back, and with it any stop request


class PE:
    """One processing element.

    `core` and `vectors` are its registers whenever it is not running. `memory` is shared with the
    VM, which may change it between runs. `port` provides the system registers. With
    `takes_breakpoints` BRK stops the PE and is no exception of the guest. Not thread safe, except for
    `stop`.

    A guest `has_el2` runs as it does on a CPU whose EL2 is taken: with `in_hypervisor` EL1 stands for the
    guest's EL2, and instructions that would show it stop the PE; else `hypervisor` has the guest's own
    controls of EL2, and what they refuse stops the PE with the exception.
    """

    def __init__(
        self,
        features: PeFeatures,
        memory: GuestMemory,
        port: SysRegPort,
        *,
        core: CoreState | None = None,
        vectors: VectorState | None = None,
        has_el2: bool = False,
    ) -> None:
        self.features = features
        self.memory = memory
        self.core = core or CoreState()
        self.vectors = vectors or VectorState()
        self.takes_breakpoints = False
        self.in_hypervisor = False
        self.hypervisor: Hypervisor | None = None
        self._port = port
        self._engine = Engine(memory, self.vectors, self, has_el2=has_el2)
        self._registers = self._engine.registers
        self._space = AddressSpace(memory, port, self._pstate, self._stored)
        self._machine = Machine(features, self.vectors, self._space, self._registers.values)
        self._system = SystemAccess(self, self._machine, self._engine, port, self._space)
        self._stop: Stop | None = None
        self._stop_requested = False
        self._fault: GuestException | None = None
        self._outside: tuple[int, int, AccessKind] | None = None
        self._tally = Tally(self._engine.counter)
        self._gate = FpGate(self._engine, self._machine)

    # For the hypervisor

    def run(self, *, instructions: int | None = None, time_left: Callable[[], int] | None = None) -> Stop:
        """Execute until something needs the caller, or a budget ends.

        With `instructions`, exactly that many are executed unless something stops the PE before;
        one that takes an exception, and one that stops for MMIO, HVC, SMC or WFI, counts.
        `time_left` says how many microseconds it may still take, unless instructions are counted: then
        the engine stops often enough. Without a budget the guest runs until `stop` is called or it stops
        by itself.
        """
        self._tally.reset(instructions)
        if self._tally.is_used_up:
            return Stop(Reason.BUDGET, self.core.pc, 0)
        self._load()
        try:
            return self._run(time_left)
        finally:
            self._store()

    def stop(self) -> None:
        """Make a running (or the next) `run` return soon; may be called from another thread."""
        self._stop_requested = True
        if not self._tally.is_limited:  # else the engine is soon back by itself, with an exact count
            self._engine.stop()

    def take_exception(self, exception: GuestException) -> None:
        """Make the stopped PE take a synchronous exception to EL1 at `core.pc`."""
        self._load()
        self._deliver(exception, self.core.pc)
        self._store()

    def take_serror(self, syndrome: int) -> bool:
        """Make the stopped PE take an SError with that ISS to EL1; False if PSTATE masks it."""
        if self.core.pstate & 1 << 8:
            return False
        self._load()
        self._port.store(ESR_EL1, GuestException(ExceptionClass.SERROR, syndrome).esr)
        self._enter(self.core.pc, 0x180)
        self._store()
        return True

    # Loading and storing

    def _load(self) -> None:
        machine, port, registers = self._machine, self._port, self._registers
        machine.zcr, machine.smcr = port.current(ZCR_EL1), port.current(SMCR_EL1)
        machine.update_lengths()
        registers.push_fpcr()
        registers.push_fpsr()
        registers.push_vectors()
        self._system.mirror_all()
        registers.load_core(self.core)
        if self._space.update_regime():
            self._engine.flush_translations()
        self._engine.recheck_code()
        self._reconsider()

    def _store(self) -> None:
        self._registers.store_core(self.core)

    # The run loop

    def _run(self, time_left: Callable[[], int] | None) -> Stop:
        pc = self.core.pc
        self._stop = None
        while self._stop is None:
            self._fault = self._outside = None
            left = 0 if time_left is None else time_left()
            if time_left is not None and left <= 0:
                self._halt(Stop(Reason.BUDGET, pc))
            elif self._stop_requested:
                self._halt(Stop(Reason.STOPPED, pc))
            elif pc & 3 or self._pstate() & IL:
                self._tally.count()
                self._deliver(self._cannot_begin(pc), pc)
            elif self._engine.start(pc, 0 if self._tally.is_limited else left, self._tally.next_slice()):
                self._returned(self._registers.pull_one(PC))
            else:
                self._failed(self._registers.pull_one(PC))
            pc = self._registers.pull_one(PC)
            # mypy does not see that what ran above, or its hooks, may have set `_stop`.
            if self._stop is None and self._tally.is_used_up:  # type: ignore[redundant-expr]
                self._stop = Stop(Reason.BUDGET, pc)
        stop = self._stop
        self._stop_requested = self._stop_requested and stop.reason is not Reason.STOPPED
        return replace(stop, executed=self._tally.executed if self._tally.is_limited else None)

    def _returned(self, pc: int) -> None:
        """The engine stopped without an access failing."""
        if self._stop is not None:
            return
        if self._tally.is_used_up:
            return
        if pc & 3 or self._pstate() & IL:
            return
        if self._engine.code.is_poison(pc):
            self._emulate()
        elif self._stop_requested:
            self._stop = Stop(Reason.STOPPED, pc)
        elif self._engine.deferred or self._engine.counter.exhausted or self._tally.is_paused:
            pass  # stopped to drop code, or to see whether it is time; go on
        elif self._space.fetch(pc - 4) == _WFI:
            self._stop = Stop(Reason.WFI, pc)
        else:
            self._stop = Stop(Reason.BUDGET, pc)

    def _cannot_begin(self, pc: int) -> GuestException:
        """Why no instruction can be executed here: PC, or else fetching, or else PSTATE.IL."""
        if pc & 3:
            return GuestException(ExceptionClass.PC_ALIGNMENT, far=pc)
        try:
            ipa = self._space.translate(pc, AccessKind.FETCH).ipa
        except GuestException as fault:
            return fault
        if self.memory.find(ipa, 4) is None:
            return external_abort(pc, AccessKind.FETCH, self._el())
        return GuestException(ExceptionClass.ILLEGAL_STATE)

    def _failed(self, pc: int) -> None:
        """An access of the engine found no memory, or no translation."""
        if self._engine.begun_in_vain:
            self._tally.settle()
        self._gate.restore(pc)
        if self._engine.conflict is not None:
            self._code_is_data(pc)
            return
        if self._tally.is_used_up:
            return  # the block was the budget's last; what it went to can wait
        self._tally.count()
        if self._fault is not None:
            if self._outside is not None:
                self._fault.far = self._outside[0]
            self._deliver(self._fault, pc)
            return
        if self._outside is None:
            self._unimplemented(self._space.fetch(pc) or 0, pc)
            return
        va, size, kind = self._outside
        if kind is AccessKind.FETCH:
            self._deliver(external_abort(pc, kind, self._el()), pc)
            return
        try:
            ipa = self._space.translate(va, kind).ipa
        except GuestException as fault:
            self._deliver(fault, pc)
            return
        self._access_outside(Access(va, ipa, size, kind is AccessKind.WRITE), pc)

    def _code_is_data(self, pc: int) -> None:
        """A page is to be fetched from that was written to, or the other way round."""
        storing = self._engine.conflict is AccessKind.WRITE
        self._engine.flush_translations()
        if storing:
            self._outside = None
            if not self._engine.step_store(pc):
                self._failed(self._registers.pull_one(PC))

    def _access_outside(self, access: Access, pc: int) -> None:
        word = self._space.fetch(pc) or 0
        transfer = transfer_of(word)
        if transfer is None:
            self._halt(Stop(Reason.NO_SYNDROME, pc, access=access, word=word))
            return
        data = b""
        if transfer.is_write:
            value = 0 if transfer.register == 31 else self._registers.pull_one(transfer.register)
            data = (value & (1 << 8 * transfer.size) - 1).to_bytes(transfer.size, "little")
        whole = Access(access.va, access.ipa, transfer.size, transfer.is_write)
        self._halt(Stop(Reason.MMIO, pc, access=whole, transfer=transfer, data=data, word=word))

    def _halt(self, stop: Stop) -> None:
        self._stop = stop
        self._engine.stop()

    # Exceptions

    def _pstate(self) -> int:
        return self._registers.pull_one(PSTATE)

    def _el(self) -> int:
        return self._pstate() >> 2 & 3

    def _deliver(self, exception: GuestException, elr: int) -> None:
        if exception.to_el == 2:
            self._registers.jump(elr)
            self._halt(Stop(Reason.TO_EL2, elr, exception=exception))
            return
        self._port.store(ESR_EL1, exception.esr)
        if exception.far is not None:
            self._port.store(FAR_EL1, exception.far)
        self._enter(elr, 0)

    def _enter(self, elr: int, offset: int) -> None:
        old = self._pstate()
        base = 0x400 if old & 0xF == 0 else 0x200 if old & 1 else 0
        pstate = old & (_NZCV | _PAN) | _DAIF | _EL1H
        if not self._port.current(SCTLR_EL1) & _SCTLR_SPAN:
            pstate |= _PAN if self._has_pan else 0
        vector = (self._port.current(VBAR_EL1) & -0x800) + base + offset
        saved = old ^ _EL1_TO_EL2 if self.in_hypervisor and old & 0xC else old
        self._registers.enter_el1(vector & (1 << 64) - 1, pstate, elr, saved)

    @property
    def _has_pan(self) -> bool:
        return self.features.pan

    def on_exception(self, number: int) -> None:
        self._take_over(number)
        if self._tally.pauses(self._stop_requested):
            self._engine.stop()

    def _take_over(self, number: int) -> None:
        pc = self._registers.pull_one(PC)
        self._tally.settle()
        if number == native.UNDEFINED:
            self._emulate()
            return
        if number == native.SUPERVISOR_CALL:
            word = self._space.fetch(pc - 4) or 0
            self._tally.count()
            self._deliver(GuestException(ExceptionClass.SVC, word >> 5 & 0xFFFF), pc)
            return
        self._tally.count()
        word = self._space.fetch(pc) or 0
        if number == native.BREAKPOINT:
            self._breakpoint(word >> 5 & 0xFFFF, pc)
        elif number == native.DATA_ABORT:
            # The engine raises this for misaligned exclusive and atomic accesses alone.
            base = self._registers.pull_one(word >> 5 & 31)
            kind = AccessKind.READ if word >> 22 & 1 else AccessKind.WRITE
            self._deliver(abort(base, kind, self._el(), FaultStatus.ALIGNMENT.value), pc)
        else:
            self._unimplemented(word, pc)

    def _breakpoint(self, immediate: int, pc: int) -> None:
        if self.takes_breakpoints:
            self._halt(Stop(Reason.BRK, pc, immediate=immediate))
        else:
            self._deliver(GuestException(ExceptionClass.BRK, immediate), pc)

    def _unimplemented(self, word: int, pc: int) -> None:
        detail = str(UnimplementedInstruction(word, pc))
        self._halt(Stop(Reason.UNIMPLEMENTED, pc, word=word, detail=detail))

    # Emulated instructions

    def situation(self) -> Situation:
        """What decides legality right now."""
        machine = self._machine
        return Situation(
            self.features, self._el(), self.vectors.svcr, self._cpacr, machine.smcr, self.hypervisor
        )

    def _emulate(self) -> None:
        """Execute the instruction the engine does not know, and those after it as long as they are ours."""
        registers, machine = self._registers, self._machine
        registers.pull()
        regs = registers.values
        machine.nzcv = regs[PSTATE] & _NZCV
        pc, started = regs[PC], regs[PSTATE]
        failure: Callable[[], None] | None = None
        for _ in range(_MAX_EMULATED_IN_A_ROW):
            word = self._space.fetch(pc)
            if word is None:
                break
            try:
                if not self._execute(word, pc):
                    break
            except GuestException as exception:
                self._tally.count()
                failure = _bind(self._deliver, exception, pc)
                break
            except OutsideMemory as outside:
                self._tally.count()
                failure = _bind(self._halt, Stop(Reason.NO_SYNDROME, pc, access=outside.access, word=word))
                break
            except UnimplementedInstruction:
                failure = _bind(self._unimplemented, word, pc)
                break
            if self._stop is not None:
                pc = self._stop.pc
                break
            self._tally.count()
            pc += 4
            if self._tally.is_used_up:
                break
        regs[PSTATE] = started & ~_NZCV | machine.nzcv
        registers.push(machine.take_changed_x() | 1 << PSTATE)
        registers.push_fpsr()
        if machine.z_written:
            machine.z_written = False
            registers.push_vectors()
            self._reconsider(z_written=True)
        registers.jump(pc)
        if failure is not None:
            failure()
        elif self._tally.is_used_up and self._stop is None:
            self._halt(Stop(Reason.BUDGET, pc))

    def _execute(self, word: int, pc: int) -> bool:
        """Execute one word; False if it is the engine's after all."""
        decoded = DECODER.decode(word)
        if decoded is not None:
            row = decoded.row
            if row.needs and not getattr(self.features, row.needs):
                raise Undefined
            CHECKS[row.check](self.situation())
            decoded.execute(self._machine)
            return True
        return self._execute_other(word, pc)

    def _execute_other(self, word: int, pc: int) -> bool:
        if pc != self._registers.values[PC]:
            return False  # not what the engine stopped at: it may well know this one
        if word & _HVC_SMC_MASK in (_HVC, _SMC):
            if not self._el():
                raise Undefined
            reason = Reason.HVC if word & _HVC_SMC_MASK == _HVC else Reason.SMC
            self._tally.count()
            self._halt(Stop(reason, pc + 4, immediate=word >> 5 & 0xFFFF))
            return True
        if is_allocated(word, self.features):
            raise UnimplementedInstruction(word, pc)
        raise Undefined

    # What the engine asks

    def on_watched(self, va: int) -> None:
        """Before a system instruction, or while the gate is on a base FP instruction."""
        word = self._space.fetch(va)
        if word is None:
            return
        try:
            if self.in_hypervisor and self._el() and is_hypervisors(word):
                self._tally.settle()
                self._tally.count()
                self._registers.jump(va)
                self._halt(Stop(Reason.HYPERVISOR, va, word=word))
            elif is_return(word):
                self._return(word)
            elif is_system(word):
                if self._system.execute(word):
                    self._tally.settle()
                    self._tally.count()
                    self._registers.jump(va + 4)
            elif self._engine.code.fp_watched:
                self._gate.watch(word, va, self.situation())
        except GuestException as refusal:
            self._tally.settle()
            self._tally.count()
            self._deliver(refusal, va)
        except OutsideMemory as outside:
            self._tally.settle()
            self._tally.count()
            self._halt(Stop(Reason.NO_SYNDROME, va, access=outside.access, word=word))
        except Unmodelled as gap:
            self._tally.settle()
            self._halt(Stop(Reason.UNMODELLED, va, word=word, detail=str(gap)))
        if self._tally.pauses(self._stop_requested):
            self._engine.stop()

    def _return(self, word: int) -> None:
        """ERET: the engine's, unless something is wrong with where it goes."""
        registers, spsr = self._registers, self._registers.spsr
        if not self._el() or is_plain(spsr, registers.elr):
            return
        if word != ERET:
            raise Unmodelled(f"an unusual exception return that checks pointers (SPSR_EL1 is {spsr:#x})")
        core, pfr0 = CoreState(), self._port.read(ID_AA64PFR0_EL1, 1)
        has_aarch32 = not isinstance(pfr0, int) or pfr0 & 0xF != 1
        pstate = returned(spsr, self._pstate(), has_aarch32=has_aarch32)
        registers.store_core(core)
        core.pc, core.pstate = core.elr_el1, pstate
        registers.load_core(core)
        registers.jump(core.pc)
        self._tally.settle()
        self._tally.count()
        self._engine.stop()

    def on_translate(self, va: int, kind: AccessKind) -> Mapping | None:
        try:
            return self._space.translate(va, kind)
        except GuestException as fault:
            self._fault = fault
            return None

    def on_outside(self, va: int, size: int, kind: AccessKind) -> None:
        self._outside = (va, size, kind)

    def _stored(self, ipa: int, size: int) -> None:
        if self._engine.code.includes(ipa, size):
            self._engine.flush_translations()

    def forget_translations(self) -> None:
        """TLB maintenance done for the guest."""
        self._engine.flush_translations()

    def enables_changed(self) -> None:
        """A write to CPACR_EL1, ZCR_EL1, SMCR_EL1 or SVCR."""
        machine = self._machine
        # The engine's V registers are the current ones: keep them while Z is cut to its new length.
        if not machine.z_written:
            self._registers.pull()
        machine.zcr, machine.smcr = self._port.current(ZCR_EL1), self._port.current(SMCR_EL1)
        machine.update_lengths()
        if machine.z_written:
            machine.z_written = False
            self._registers.push_fpsr()
            self._registers.push_vectors()
        self._reconsider()

    def _reconsider(self, *, z_written: bool = False) -> None:
        self._cpacr = self._port.current(CPACR_EL1)
        self._gate.update(self.situation(), z_written=z_written)


def _bind(function: Callable[..., None], *arguments: object) -> Callable[[], None]:
    return lambda: function(*arguments)
