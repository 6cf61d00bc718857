"""Records alike but for their numbers, as most kinds of host in a fleet are: one read, the rest told apart.

A record is cut where numbers begin. One that begins as another did is learned: which cut holds the
number of which register. From then on a record that begins so is those facts, with other numbers where
its cuts differ. Whatever a pattern does not read, such as a number that is too large, is read as any
other record.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from operator import ne
from typing import Any, NamedTuple

from armkvm.documents import parse_json
from armkvm.errors import InputError
from armkvm.hosts import hostfile, library
from armkvm.state import HostFacts

MOST_PATTERNS, LONGEST = 4096, 1 << 16  # bytes of a record; host files have some 10,000
_BEGIN = b'"0x'
_NUMBER = re.compile(rb'([0-9a-f]{1,40})(?="\s*[,}\]])')  # a value, for a colon follows keys
_Start = tuple[bytes, int]
"""What a record begins with, and how many cuts it has."""


class Patterns:
    """The patterns of the records seen so far."""

    def __init__(self) -> None:
        self._known: dict[_Start, _Pattern | None] = {}
        self._once: set[_Start] = set()

    def read(self, unnamed: bytes, name: str, plainly: Callable[[], HostFacts]) -> HostFacts:
        """The host called `name` in a record without its name; `plainly` reads what no pattern does."""
        if len(unnamed) > LONGEST:
            return plainly()
        cuts = unnamed.split(_BEGIN)
        start = cuts[0], len(cuts)
        pattern = self._known.get(start)
        facts = pattern and pattern.read(name, cuts)
        if facts:
            return facts
        facts = plainly()
        if start in self._once:
            self._once.remove(start)
            self._known[start] = _learn(cuts, facts)
        elif start not in self._known and len(self._known) + len(self._once) < MOST_PATTERNS:
            self._once.add(start)
        return facts


class _Place(NamedTuple):
    """A cut with a number: the text after it, and the facts that are this number."""

    after: bytes
    digits: int
    facts: tuple[tuple[str, Any], ...]


class _Pattern:
    """A record that is known, and where its numbers are."""

    def __init__(self, cuts: list[bytes], facts: HostFacts, places: Mapping[int, _Place]) -> None:
        self._cuts = cuts
        self._facts = facts
        self._places = places

    def read(self, name: str, cuts: list[bytes]) -> HostFacts | None:
        """The facts of a record with as many cuts; None if it differs in more than its numbers."""
        changes: dict[str, dict[Any, int]] = defaultdict(dict)
        for index in [index for index, differs in enumerate(map(ne, cuts, self._cuts)) if differs]:
            place = self._places.get(index)
            number = _NUMBER.match(cuts[index])
            if not place or not number or number.end() > place.digits:
                return None
            if cuts[index][number.end() :] != place.after:
                return None
            value = int(number[1], 16)
            for mapping, key in place.facts:
                changes[mapping][key] = value
        known, telling = self._facts, not hostfile.TELLING.isdisjoint(changes["plain"])
        masks = known.writable_masks
        facts = replace(
            known,
            name=name,
            values={variant: {**own, **changes[variant]} for variant, own in known.values.items()},
            vgic={**known.vgic, **changes["vgic"]},
            hidden={**known.hidden, **changes["hidden"]},
            writable_masks=None if masks is None else {**masks, **changes["writable_masks"]},
        )
        return None if telling and any(hostfile.contradictions(facts)) else facts


def _learn(cuts: list[bytes], facts: HostFacts) -> _Pattern | None:
    """The pattern of a record, if it reads the facts that are known to be in it."""
    if any(before.endswith(b"\\") for before in cuts[:-1]):  # a quote within a text, not before a number
        return None
    ends = {index: number.end() for index, cut in enumerate(cuts) if index and (number := _NUMBER.match(cut))}
    text = _BEGIN.join(
        b"%x" % index + cut[ends[index] :] if index in ends else cut for index, cut in enumerate(cuts)
    )
    try:
        tree, faults = parse_json(b'{"name": "host", ' + text.removeprefix(b"{"), "", library.LIMITS)
        numbered = hostfile.decode(tree, "", as_told=True)
    except InputError:
        return None
    places: dict[int, _Place] = {}
    for index, digits, mapping, key in _numbers(numbered):
        known = places.get(index) or _Place(cuts[index][ends[index] :], digits, ())
        places[index] = _Place(known.after, min(known.digits, digits), (*known.facts, (mapping, key)))
    if faults or places.keys() != ends.keys():
        return None
    return _Pattern(cuts, facts, places)


def _numbers(facts: HostFacts) -> Iterator[tuple[int, int, str, Any]]:
    """Every number among the facts, with the digits it can have, and whose it is."""
    registers = {**facts.values, "hidden": facts.hidden, "writable_masks": facts.writable_masks or {}}
    for mapping, values in registers.items():
        yield from ((number, 2 * reg.size, mapping, reg) for reg, number in values.items())
    yield from ((number, 40, "vgic", name) for name, number in facts.vgic.items())
