"""Records alike but for their numbers, as most kinds of host in a fleet are: one read, the rest filled in.

What stands between the numbers of a record is its pattern. One that comes a second time is read with
places for numbers; from then on a record of it is those facts with its own numbers in their places.
Whatever a pattern does not read, such as a record with a number that is too large, is read as any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, zip_longest
from operator import gt
from typing import TypeVar

from armkvm.documents import parse_json
from armkvm.errors import InputError
from armkvm.hosts import hostfile, library
from armkvm.state import HostFacts
from armkvm.value import replace

MOST_PATTERNS, LONGEST = 4096, 1 << 16  # bytes of a record; host files have some 10,000
_NUMBER = re.compile(rb'"0x([0-9a-f]{1,40})"(?=\s*[,}\]])')  # a value, for a colon follows keys

Between = tuple[bytes, ...]
"""The texts before, between and after the numbers of a record."""

_Key = TypeVar("_Key")


class Patterns:
    """The patterns of the records seen so far."""

    def __init__(self) -> None:
        self._known: dict[Between, _Pattern | None] = {}
        self._once: set[Between] = set()

    def read(self, unnamed: bytes, name: str, plainly: Callable[[], HostFacts]) -> HostFacts:
        """The host called `name` in a record without its name; `plainly` reads what no pattern does."""
        if len(unnamed) > LONGEST:
            return plainly()
        between, numbers = _split(unnamed)
        pattern = self._known.get(between)
        facts = pattern and pattern.fill(name, numbers)
        if facts:
            return facts
        facts = plainly()
        if between in self._once:
            self._once.remove(between)
            self._known[between] = _learn(between, numbers, facts)
        elif between not in self._known and len(self._known) + len(self._once) < MOST_PATTERNS:
            self._once.add(between)
        return facts


class _Pattern:
    """Facts with places for numbers, the first number's being 0, and how many digits fit each."""

    def __init__(self, facts: HostFacts) -> None:
        self._facts = facts
        self._digits = [digits for _, digits in sorted(_places(facts))]

    @property
    def numbers(self) -> int:
        return len(self._digits)

    def fill(self, name: str, numbers: list[bytes]) -> HostFacts | None:
        """The facts with these numbers; None if they cannot be so."""
        if any(map(gt, map(len, numbers), self._digits)):
            return None
        values = [int(number, 16) for number in numbers]

        def filled(places: Mapping[_Key, int]) -> dict[_Key, int]:
            return dict(zip(places, map(values.__getitem__, places.values()), strict=True))

        blank = self._facts
        masks = blank.writable_masks
        facts = replace(
            blank,
            name=name,
            values={variant: filled(places) for variant, places in blank.values.items()},
            vgic=filled(blank.vgic),
            hidden=filled(blank.hidden),
            writable_masks=None if masks is None else filled(masks),
        )
        return None if any(hostfile.contradictions(facts)) else facts


def _split(record: bytes) -> tuple[Between, list[bytes]]:
    parts = _NUMBER.split(record)
    return tuple(parts[::2]), parts[1::2]


def _learn(between: Between, numbers: list[bytes], facts: HostFacts) -> _Pattern | None:
    """The pattern of a record, if it reads the facts that are known to be in it."""
    if any(before.endswith(b"\\") for before in between):  # a quote within a text, not before a number
        return None
    places = (b'"%#x"' % place for place in range(len(numbers)))
    text = b"".join(chain.from_iterable(zip_longest(between, places, fillvalue=b"")))
    try:
        tree, faults = parse_json(b'{"name": "host", ' + text.removeprefix(b"{"), "", library.LIMITS)
        pattern = None if faults else _Pattern(hostfile.decode(tree, "", as_told=True))
    except InputError:
        return None
    if pattern is None or pattern.numbers != len(numbers) or pattern.fill(facts.name, numbers) != facts:
        return None
    return pattern


def _places(facts: HostFacts) -> Iterator[tuple[int, int]]:
    """The place and the digits of every number, each once."""
    registers = (*facts.values.values(), facts.hidden, facts.writable_masks or {})
    yield from {place: 2 * reg.size for own in registers for reg, place in own.items()}.items()
    yield from ((place, 40) for place in facts.vgic.values())
