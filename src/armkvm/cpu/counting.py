"""How many instructions the engine has begun, read where the engine itself counts them.

With a limit, the engine calls a function of its own before every instruction, which adds one to a
number that no call of its interface returns. A hook in Python would tell, but costs about a hundred
times as much. So the place of the number is found once per process, by running loops of known
length, and then simply read.
"""

from __future__ import annotations

import ctypes
from functools import cache

import unicorn as uc
from unicorn import arm64_const as arm

_SEARCHED_BYTES = 4096  # of an engine's record, which is about four times as long
_BASE, _PAGE = 0x1_0000, 0x1000
_NOP, _B_SELF = 0xD503201F, 0x14000000
_TRIALS = (1_009, 20_011, 777)


@cache
def counter_offset() -> int | None:
    """Where in an engine's record its instruction counter lies, or None if that is not evident."""
    engine = uc.Uc(uc.UC_ARCH_ARM64, uc.UC_MODE_ARM, arm.UC_CPU_ARM64_MAX)
    engine.mem_map(_BASE, _PAGE)
    engine.mem_write(_BASE, _B_SELF.to_bytes(4, "little") + 8 * _NOP.to_bytes(4, "little"))
    record = (ctypes.c_uint64 * (_SEARCHED_BYTES // 8)).from_address(handle_of(engine))
    possible = set(range(len(record)))
    for limit in _TRIALS:
        engine.emu_start(_BASE, 0, count=limit)
        # The function is called once more than the limit, and stops the engine then.
        possible = {i for i in possible if record[i] == limit + 1}
    engine.emu_start(_BASE + 4, _BASE + 4 * 6, count=100)  # five, then the end is reached
    possible = {i for i in possible if record[i] == 5}
    return 8 * possible.pop() if len(possible) == 1 else None


def handle_of(engine: uc.Uc) -> int:
    """The address of an engine's record."""
    address = engine._uch.value  # noqa: SLF001 - the binding keeps it to itself
    if address is None:
        raise ValueError("this engine is closed")
    return int(address)


class InstructionCounter:
    """Instructions begun by one engine, over any number of starts.

    `begun` includes the instruction that a hook is called for. An instruction that the limit kept
    from executing is not included.
    """

    def __init__(self, engine: uc.Uc) -> None:
        self._record = handle_of(engine)
        self._number: ctypes.c_uint64 | None = None
        self._past = self._limit = 0

    def reset(self) -> None:
        self._past = self._limit = 0

    def starting(self, limit: int) -> None:
        """The engine is about to start; with a limit of 0 it does not count."""
        self._past, self._limit = self.begun, limit
        if limit and self._number is None:
            offset = counter_offset()
            if offset is None:
                raise RuntimeError(f"cannot tell how Unicorn {uc.__version__} counts instructions")
            self._number = ctypes.c_uint64.from_address(self._record + offset)
        if self._number is not None:
            self._number.value = 0

    @property
    def begun(self) -> int:
        if not self._limit or self._number is None:
            return self._past
        return self._past + min(self._number.value, self._limit)

    @property
    def exhausted(self) -> bool:
        """Whether the last start ended because of its limit."""
        return bool(self._limit) and self._number is not None and self._number.value > self._limit
