"""Whether the engine executes a word at all: found by having a spare one try it.

UNDEFINED comes before any trap, so a PE that traps an instruction without executing it has to know.
"""

# ruff: noqa: ANN401 - the binding's callbacks have no types

from __future__ import annotations

from typing import Any

import numpy as np
import unicorn as uc
from unicorn import arm64_const as arm

from armkvm.cpu.engine import UNDEFINED
from armkvm.cpu.poison import poisonous

_AT, _PAGE, _BUFFER_BYTES = 0x1_0000, 0x1000, 1 << 20
_MOST_REMEMBERED = 1 << 14


class KnownWords:
    """Which FP and AdvSIMD words (none of which branches) an engine knows; it is made when first asked."""

    def __init__(self) -> None:
        self._spare: uc.Uc | None = None
        self._known: dict[int, bool] = {}
        self._took: int | None = None

    def __contains__(self, word: int) -> bool:
        if word not in self._known:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[word] = not poisonous(np.array([word], np.uint32))[0] and self._try(word)
        return self._known[word]

    def _try(self, word: int) -> bool:
        """Execute it, with whatever is in the registers."""
        if self._spare is None:
            self._spare = self._make()
        self._took = None
        self._spare.mem_write(_AT, word.to_bytes(4, "little"))
        self._spare.ctl_flush_tb()
        try:
            self._spare.emu_start(_AT, _AT + 4, count=1)
        except uc.UcError:
            return True  # a load or store that found no memory
        return self._took != UNDEFINED

    def _make(self) -> uc.Uc:
        engine = uc.Uc(uc.UC_ARCH_ARM64, uc.UC_MODE_ARM, arm.UC_CPU_ARM64_MAX)
        engine.ctl_set_tcg_buffer_size(_BUFFER_BYTES)
        engine.mem_map(_AT, _PAGE)
        engine.hook_add(uc.UC_HOOK_INTR, self._note)
        return engine

    def _note(self, running: uc.Uc, number: int, _data: Any) -> None:
        self._took = number
        running.emu_stop()
