"""Where the values of many registers lie when they follow one another in one block.

The sizes come from the ids, so the block needs no lengths of its own. Done once for a list of
registers and kept, because capture and restore use the same list again and again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from armkvm.abi.regid import RegId


class RegisterLayout:
    """The layout of the values of `regs`, in their order."""

    __slots__ = ("_sizes", "_spans", "regs", "starts", "total")

    def __init__(self, regs: list[int]) -> None:
        self.regs = regs
        self._sizes = [1 << (reg >> 52 & 15) for reg in regs]
        ends = list(accumulate(self._sizes))
        self.total = ends[-1] if ends else 0
        self.starts = [0, *ends[:-1]] if ends else []
        self._spans = list(zip(self.starts, ends, strict=True))

    @classmethod
    def of(cls, regs: Iterable[int], last: RegisterLayout | None) -> RegisterLayout:
        """The layout of `regs`: `last` if it is the same list."""
        regs = list(regs)
        return last if last is not None and last.regs == regs else cls(regs)

    def split(self, block: bytes) -> list[bytes]:
        """The values that a block holds; it has `total` bytes."""
        return [block[start:end] for start, end in self._spans]

    def join(self, values: Sequence[bytes]) -> bytes:
        """The block of `values`; ValueError if one is not as long as its register's id says."""
        if list(map(len, values)) != self._sizes:
            for reg, size, value in zip(self.regs, self._sizes, values, strict=True):
                if len(value) != size:
                    raise ValueError(f"{RegId(reg)!r} holds {size} bytes, not {len(value)}")
        return b"".join(values)


def transposed(pairs: Iterable[tuple[int, bytes]]) -> tuple[Sequence[int], Sequence[bytes]]:
    """Registers and values of (register, value) pairs, in order."""
    columns = tuple(zip(*pairs, strict=True))
    return (columns[0], columns[1]) if columns else ((), ())
