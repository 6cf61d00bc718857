"""Base FP and AdvSIMD instructions: the engine executes them, but not all of what they do, nor always."""

from __future__ import annotations

from armkvm.cpu.advsimd import vector_use
from armkvm.cpu.allocation import is_allocated
from armkvm.cpu.engine import Engine
from armkvm.cpu.exceptions import GuestException, Undefined
from armkvm.cpu.known import KnownWords
from armkvm.cpu.legality import CPACR_FPEN, FP, Situation, check_advsimd
from armkvm.cpu.machine import Machine


class FpGate:
    """Watches these instructions while any may be refused, or may have to zero part of a Z.

    The engine knows no Z: an instruction that writes a V leaves to the gate that the rest of the Z
    becomes zero.
    """

    def __init__(self, engine: Engine, machine: Machine) -> None:
        self._engine = engine
        self._machine = machine
        self._known = KnownWords()
        self._uppers_live = False
        self._zeroed: tuple[int, dict[int, bytes]] | None = None

    def update(self, now: Situation, *, z_written: bool = False) -> None:
        """What decides may have changed: enables, lengths, or Z, which may then be anything."""
        machine, el2 = self._machine, now.el2
        self._uppers_live = machine.vl > 16 and (z_written or bool(machine.uppers.any()))
        refusable = el2 is not None and (el2.traps(FP, 0) or el2.traps(FP, 1))
        refusable |= now.cpacr >> CPACR_FPEN & 3 != 3 or (now.streaming and not now.full_a64)
        self._engine.watch_fp(refusable or self._uppers_live)

    def watch(self, word: int, va: int, now: Situation) -> None:
        """Refuse an instruction, or zero the part of its Z registers that it zeroes."""
        use = vector_use(word)
        if use is None:
            return
        try:
            check_advsimd(now, use.streaming)
        except GuestException:
            if word in self._known or is_allocated(word, now.features):
                raise
            raise Undefined from None
        if use.written and self._uppers_live:
            uppers = self._machine.uppers
            self._zeroed = (va, {n: uppers[n].tobytes() for n in use.written})
            for n in use.written:
                uppers[n] = 0

    def restore(self, pc: int) -> None:
        """The load at `pc` did not happen after all: its Z registers keep their upper parts."""
        if self._zeroed is not None and self._zeroed[0] == pc:
            for n, upper in self._zeroed[1].items():
                self._machine.uppers[n] = memoryview(upper)
        self._zeroed = None
