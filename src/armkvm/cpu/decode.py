"""Instruction encodings as data: one row per encoding, and the decoder that all rows share.

A row writes its 32 bits from bit 31 down, constants as ``0``/``1`` and fields as ``name:width``::

    Row("ADD (vectors, unpredicated)", "00000100 size:2 1 Zm:5 000000 Zn:5 Zd:5", Check.SVE, add)

The row's `execute` takes the machine and the fields in the order written. ``size:2!0`` is a field that
has any value but 0: with that one the word is not the row's. An encoding that the architecture leaves
unallocated inside a row's pattern is refused by `execute` with `Undefined`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from armkvm.cpu.legality import Check

if TYPE_CHECKING:
    from armkvm.cpu.machine import Machine

_TOKEN = re.compile(r"([01]+)|([A-Za-z_]\w*):(\d+)(?:!(\d+))?")


@dataclass(frozen=True, slots=True)
class Field:
    """A named bit range of an encoding, and the value it has not."""

    name: str
    low: int
    width: int
    excluded: int = -1

    def of(self, word: int) -> int:
        return word >> self.low & (1 << self.width) - 1


def parse_pattern(pattern: str) -> tuple[int, int, tuple[Field, ...]]:
    """(mask, value, fields) of a pattern; ValueError unless it describes exactly 32 bits."""
    mask = value = 0
    fields: list[Field] = []
    at = 32
    for token in pattern.split():
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise ValueError(f"{token!r} in {pattern!r} is neither bits nor name:width")
        bits, name, width_text, excluded = match.groups()
        width = len(bits) if bits else int(width_text)
        at -= width
        if bits:
            mask |= ((1 << width) - 1) << at
            value |= int(bits, 2) << at
        else:
            fields.append(Field(name, at, width, int(excluded or -1)))
    if at:
        raise ValueError(f"{pattern!r} describes {32 - at} bits, not 32")
    return mask, value, tuple(fields)


@dataclass(frozen=True, slots=True)
class Row:
    """One encoding: Arm's mnemonic, its bits, when it is legal, and what it does.

    `needs` names the feature (a field of `PeFeatures`) beyond the one `check` implies.
    """

    mnemonic: str
    pattern: str
    check: Check
    execute: Callable[..., None]
    needs: str = ""
    mask: int = field(init=False)
    value: int = field(init=False)
    fields: tuple[Field, ...] = field(init=False)

    _exclusions: tuple[Field, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, part in zip(("mask", "value", "fields"), parse_pattern(self.pattern), strict=True):
            object.__setattr__(self, name, part)
        object.__setattr__(self, "_exclusions", tuple(f for f in self.fields if f.excluded >= 0))

    def claims(self, word: int) -> bool:
        """Whether the word is this encoding."""
        if word & self.mask != self.value:
            return False
        return not self._exclusions or all(f.of(word) != f.excluded for f in self._exclusions)


@dataclass(frozen=True, slots=True)
class Decoded:
    """An instruction word with the row it belongs to and its field values."""

    row: Row
    operands: tuple[int, ...]

    def execute(self, machine: Machine) -> None:
        self.row.execute(machine, *self.operands)


class Decoder:
    """Finds the row of an instruction word. Rows must not overlap; `overlaps` tells."""

    _CACHE_WORDS = 4096

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)
        self._by_top: dict[int, list[Row]] = {}
        for row in self.rows:
            for top in range(256):
                if not (top << 24 ^ row.value) & row.mask & 0xFF000000:
                    self._by_top.setdefault(top, []).append(row)
        self._cache: dict[int, Decoded | None] = {}

    def decode(self, word: int) -> Decoded | None:
        """The instruction, or None if no row has this encoding."""
        try:
            return self._cache[word]
        except KeyError:
            pass
        found: Decoded | None = None
        for row in self._by_top.get(word >> 24, ()):
            if row.claims(word):
                found = Decoded(row, tuple(f.of(word) for f in row.fields))
                break
        if len(self._cache) >= self._CACHE_WORDS:  # a hostile guest has 2**32 words to offer
            self._cache.clear()
        self._cache[word] = found
        return found

    def overlaps(self) -> list[tuple[Row, Row]]:
        """Pairs of rows that claim a common word: none, unless a table is wrong."""
        pairs: list[tuple[Row, Row]] = []
        for i, a in enumerate(self.rows):
            agree = (b for b in self.rows[i + 1 :] if not (a.value ^ b.value) & a.mask & b.mask)
            pairs.extend((a, b) for b in agree if _meet(a, b))
        return pairs


def _meet(a: Row, b: Row) -> bool:
    """Whether rows whose fixed bits agree still do with the values that their fields may have."""
    fixed, free = a.value | b.value, ~(a.mask | b.mask) & 0xFFFFFFFF
    for f in (f for row in (a, b) for f in row.fields if f.excluded >= 0):
        loose = free >> f.low & (1 << f.width) - 1
        if not loose and f.of(fixed) == f.excluded:
            return False
    return True


def signed(value: int, width: int) -> int:
    """`value` read as a two's complement number of `width` bits."""
    return value - (1 << width) if value >> (width - 1) & 1 else value
