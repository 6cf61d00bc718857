"""A PE that executes a guest's A64 code at EL1 and EL0.

The base instruction set runs in the engine; here is what happens around it: when the engine starts and
stops, the exceptions that the guest takes, and the instructions that are watched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from armkvm.arch.pstate import IL, SERROR_MASKED, el_of
from armkvm.cpu import engine as native
from armkvm.cpu.address_space import AddressSpace, abort, external_abort
from armkvm.cpu.emulation import Emulation
from armkvm.cpu.enables import Enables
from armkvm.cpu.engine import Engine
from armkvm.cpu.engine_accesses import EngineAccesses
from armkvm.cpu.engine_registers import PC
from armkvm.cpu.exception_entry import SERROR, SYNCHRONOUS, entered, vector
from armkvm.cpu.exception_return import is_plain, returned
from armkvm.cpu.exceptions import ExceptionClass, GuestException, OutsideMemory, Unmodelled
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.fp_gate import FpGate
from armkvm.cpu.guest_memory import GuestMemory
from armkvm.cpu.legality import Hypervisor, Situation
from armkvm.cpu.machine import Machine
from armkvm.cpu.port import ESR_EL1, FAR_EL1, ID_AA64PFR0_EL1, SCTLR_EL1, VBAR_EL1, SysRegPort
from armkvm.cpu.state import CoreState, VectorState
from armkvm.cpu.stop import Ending, Reason, Stop, unimplemented
from armkvm.cpu.system_access import SystemAccess
from armkvm.cpu.tally import Tally
from armkvm.cpu.translation import AccessKind, FaultStatus, Mapping
from armkvm.cpu.watched_words import ERET, is_hypervisors, is_return, is_system

_WFI = 0xD503207F
_EL1_TO_EL2 = 0xC
_SCTLR_SPAN = 1 << 23


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
        self._port = port
        self._engine = Engine(memory, self.vectors, self, has_el2=has_el2)
        self._registers = registers = self._engine.registers
        self._space = AddressSpace(memory, port, registers.pstate, self._engine.stored)
        machine = Machine(features, self.vectors, self._space, registers.values)
        self._tally = Tally(self._engine.counter)
        self._gate = FpGate(self._engine, machine)
        self._enables = Enables(registers, machine, self._gate, port)
        self._accesses = EngineAccesses(registers, self._space)
        self._system = SystemAccess(self._enables, machine, self._engine, port, self._space)
        self._emulation = Emulation(registers, machine, self._space, self._enables, self._tally)
        self._stop: Stop | None = None
        self._stop_requested = False

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
        if self.core.pstate & SERROR_MASKED:
            return False
        self._load()
        self._port.store(ESR_EL1, GuestException(ExceptionClass.SERROR, syndrome).esr)
        self._enter(self.core.pc, SERROR)
        self._store()
        return True

    def forget_translations(self) -> None:
        """TLB maintenance done for the guest."""
        self._engine.flush_translations()

    def situation(self) -> Situation:
        """What decides legality right now."""
        return self._enables.situation()

    @property
    def hypervisor(self) -> Hypervisor | None:
        return self._enables.hypervisor

    @hypervisor.setter
    def hypervisor(self, controls: Hypervisor | None) -> None:
        self._enables.hypervisor = controls

    # Loading and storing

    def _load(self) -> None:
        registers = self._registers
        self._enables.reread_lengths()
        registers.push_fpcr()
        registers.push_fpsr()
        registers.push_vectors()
        self._system.mirror_all()
        registers.load_core(self.core)
        if self._space.update_regime():
            self._engine.flush_translations()
        self._engine.recheck_code()
        self._enables.reconsider()

    def _store(self) -> None:
        self._registers.store_core(self.core)

    # The run loop

    def _run(self, time_left: Callable[[], int] | None) -> Stop:
        pc = self.core.pc
        self._stop = None
        while self._stop is None:
            self._accesses.begin()
            left = 0 if time_left is None else time_left()
            if time_left is not None and left <= 0:
                self._halt(Stop(Reason.BUDGET, pc))
            elif self._stop_requested:
                self._halt(Stop(Reason.STOPPED, pc))
            elif self._is_illegal(pc):
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
        if self._stop is not None or self._tally.is_used_up or self._is_illegal(pc):
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

    def _is_illegal(self, pc: int) -> bool:
        """Whether no instruction can begin at `pc`, whatever it is; the engine would begin it."""
        return bool(pc & 3 or self._registers.pstate() & IL)

    def _cannot_begin(self, pc: int) -> GuestException:
        """Why: PC, or else fetching, or else PSTATE.IL."""
        if pc & 3:
            return GuestException(ExceptionClass.PC_ALIGNMENT, far=pc)
        try:
            ipa = self._space.translate(pc, AccessKind.FETCH).ipa
        except GuestException as fault:
            return fault
        if self.memory.find(ipa, 4) is None:
            return external_abort(pc, AccessKind.FETCH, self._registers.el())
        return GuestException(ExceptionClass.ILLEGAL_STATE)

    def _failed(self, pc: int) -> None:
        """An access of the engine found no memory, or no translation."""
        if self._engine.begun_in_vain:
            self._tally.settle()
        self._gate.restore(pc)
        if self._engine.conflict is not None:
            self._code_is_data(pc)
        elif not self._tally.is_used_up:  # else the block was the budget's last; what it went to can wait
            self._tally.count()
            self._end(self._accesses.failed(pc), pc)

    def _code_is_data(self, pc: int) -> None:
        """A page is to be fetched from that was written to, or the other way round."""
        storing = self._engine.conflict is AccessKind.WRITE
        self._engine.flush_translations()
        if storing:
            self._accesses.begin()
            if not self._engine.step_store(pc):
                self._failed(self._registers.pull_one(PC))

    def _halt(self, stop: Stop) -> None:
        self._stop = stop
        self._engine.stop()

    # Exceptions

    def _end(self, ending: Ending, pc: int) -> None:
        """The instruction at `pc` stops the PE, or the guest takes an exception that returns there."""
        if isinstance(ending, Stop):
            self._halt(ending)
        else:
            self._deliver(ending, pc)

    def _deliver(self, exception: GuestException, elr: int) -> None:
        if exception.to_el == 2:
            self._registers.jump(elr)
            self._halt(Stop(Reason.TO_EL2, elr, exception=exception))
            return
        self._port.store(ESR_EL1, exception.esr)
        if exception.far is not None:
            self._port.store(FAR_EL1, exception.far)
        self._enter(elr, SYNCHRONOUS)

    def _enter(self, elr: int, kind: int) -> None:
        pstate = self._registers.pstate()
        sets_pan = self.features.pan and not self._port.current(SCTLR_EL1) & _SCTLR_SPAN
        spsr = pstate ^ _EL1_TO_EL2 if self.in_hypervisor and el_of(pstate) else pstate
        address = vector(self._port.current(VBAR_EL1), pstate, kind)
        self._registers.enter_el1(address, entered(pstate, sets_pan=sets_pan), elr, spsr)

    def _return(self, word: int) -> None:
        """ERET: the engine's, unless something is wrong with where it goes."""
        registers, spsr = self._registers, self._registers.spsr()
        if not registers.el() or is_plain(spsr, registers.elr()):
            return
        if word != ERET:
            raise Unmodelled(f"an unusual exception return that checks pointers (SPSR_EL1 is {spsr:#x})")
        core, pfr0 = CoreState(), self._port.read(ID_AA64PFR0_EL1, 1)
        has_aarch32 = not isinstance(pfr0, int) or pfr0 & 0xF != 1
        pstate = returned(spsr, registers.pstate(), has_aarch32=has_aarch32)
        registers.store_core(core)
        core.pc, core.pstate = core.elr_el1, pstate
        registers.load_core(core)
        registers.jump(core.pc)
        self._tally.take_over()
        self._engine.stop()

    # What the engine asks

    def on_exception(self, number: int) -> None:
        self._tally.settle()
        if number == native.UNDEFINED:
            self._emulate()
        else:
            self._tally.count()
            pc = self._registers.pull_one(PC)
            self._end(self._raised(number, pc), pc)
        if self._tally.pauses(self._stop_requested):
            self._engine.stop()

    def _emulate(self) -> None:
        ending = self._emulation.run()
        if ending is not None:
            self._end(ending, self._registers.values[PC])

    def _raised(self, number: int, pc: int) -> Ending:
        """What an instruction comes to for which the engine has an exception; for SVC `pc` is after it."""
        if number == native.SUPERVISOR_CALL:
            return GuestException(ExceptionClass.SVC, _immediate(self._space.fetch(pc - 4) or 0))
        word = self._space.fetch(pc) or 0
        if number == native.BREAKPOINT:
            if self.takes_breakpoints:
                return Stop(Reason.BRK, pc, immediate=_immediate(word))
            return GuestException(ExceptionClass.BRK, _immediate(word))
        if number == native.DATA_ABORT:
            # The engine raises this for misaligned exclusive and atomic accesses alone.
            base = self._registers.pull_one(word >> 5 & 31)
            kind = AccessKind.READ if word >> 22 & 1 else AccessKind.WRITE
            return abort(base, kind, self._registers.el(), FaultStatus.ALIGNMENT.value)
        return unimplemented(word, pc)

    def on_watched(self, va: int) -> None:
        """Before a system instruction, or while the gate is on a base FP instruction."""
        word = self._space.fetch(va)
        if word is None:
            return
        try:
            self._watch(word, va)
        except GuestException as refusal:
            self._tally.take_over()
            self._deliver(refusal, va)
        except OutsideMemory as outside:
            self._tally.take_over()
            self._halt(Stop(Reason.NO_SYNDROME, va, access=outside.access, word=word))
        except Unmodelled as gap:
            self._tally.settle()
            self._halt(Stop(Reason.UNMODELLED, va, word=word, detail=str(gap)))
        if self._tally.pauses(self._stop_requested):
            self._engine.stop()

    def _watch(self, word: int, va: int) -> None:
        if self.in_hypervisor and self._registers.el() and is_hypervisors(word):
            self._tally.take_over()
            self._registers.jump(va)
            self._halt(Stop(Reason.HYPERVISOR, va, word=word))
        elif is_return(word):
            self._return(word)
        elif is_system(word):
            if self._system.execute(word):
                self._tally.take_over()
                self._registers.jump(va + 4)
        elif self._engine.code.fp_watched:
            self._gate.watch(word, va, self._enables.situation())

    def on_translate(self, va: int, kind: AccessKind) -> Mapping | None:
        return self._accesses.translate(va, kind)

    def on_outside(self, va: int, size: int, kind: AccessKind) -> None:
        self._accesses.miss(va, size, kind)


def _immediate(word: int) -> int:
    return word >> 5 & 0xFFFF
