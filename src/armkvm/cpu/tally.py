"""How many instructions a run has executed, and how many it still may."""

from __future__ import annotations

from armkvm.cpu.counting import InstructionCounter

_SLICE, _SMALL_BUDGET = 1 << 18, 1 << 10  # instructions
_VISITS = 256


class Tally:
    """The instructions of one run, exactly, if the run `is_limited`.

    The engine counts those that it begins. One that is decided outside the engine is first taken off
    with `settle`, and then added with `count` if it was executed after all.
    """

    def __init__(self, counter: InstructionCounter) -> None:
        self.is_limited = self.is_paused = False
        self._counter = counter
        self._limit = self._correction = self._slack = self._visits = 0

    def reset(self, limit: int | None) -> None:
        """Begin a run of at most so many instructions; None: without counting."""
        self.is_limited = limit is not None
        self._limit, self._correction = limit or 0, 0
        self._counter.reset()

    @property
    def executed(self) -> int:
        return self._counter.begun + self._correction

    @property
    def is_used_up(self) -> bool:
        return self.is_limited and self.executed >= self._limit

    def settle(self) -> None:
        """Take the instruction that the engine has begun off: what it comes to is decided elsewhere."""
        self._correction -= 1
        self._visits += 1

    def count(self) -> None:
        """Add an instruction."""
        self._correction += 1

    def take_over(self) -> None:
        """The instruction that the engine has begun was executed elsewhere."""
        self.settle()
        self.count()

    def next_slice(self) -> int:
        """How many instructions the engine may begin before it returns; 0: as many as it likes.

        What is emulated in the meantime counts as well, so that half the budget is kept back while
        it is large.
        """
        if not self.is_limited:
            return 0
        left = self._limit - self.executed
        share = min(left if left < _SMALL_BUDGET else left // 2, _SLICE)
        self._slack, self._visits, self.is_paused = left - share + self._correction, 0, False
        return share

    def pauses(self, stop_requested: bool) -> bool:
        """Whether the engine is to return, as it could exceed the budget or should see whether to stop."""
        is_due = self.is_limited and (
            self._correction > self._slack or self._visits > _VISITS or stop_requested
        )
        self.is_paused |= is_due
        return is_due
