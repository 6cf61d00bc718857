"""Records alike but for their numbers, as most kinds of host in a fleet are: one read, the rest told apart.

A record is cut where numbers begin, and learned: which cut holds the number of which register. From then
on a record that begins as it does is the same facts, with other numbers where its cuts differ. Whatever a
pattern does not read, such as a number that is too large, is read as any other record.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import compress
from operator import ne
from typing import Any, NamedTuple

from armkvm.abi.regid import RegId
from armkvm.documents import parse_json
from armkvm.errors import InputError
from armkvm.hosts import hostfile, library
from armkvm.state import HostFacts
from armkvm.value import replace

MOST_PATTERNS, LONGEST = 1024, 1 << 16  # bytes of a record; host files have some 10,000
MOST_ALIKE = 8  # patterns that begin alike
_WITH_NUMBERS = ("hidden", "vgic", "writable_masks")
"""The facts that hold numbers, but for register values."""
_BEGIN = b'"0x'
_NUMBER = re.compile(rb'([0-9a-f]{1,40})(?="\s*[,}\]])')  # a value, for a colon follows keys

_Start = tuple[bytes, int]
"""What a record begins with, and how many cuts it has."""


class Patterns:
    """The patterns of the records seen so far."""

    def __init__(self) -> None:
        self._known: dict[_Start, list[_Pattern]] = {}
        self._count = 0

    def read(self, unnamed: bytes, at: int, name: str) -> tuple[HostFacts, Hashable] | None:
        """The host called `name` in a record without its name's text, which was `at`, and its fingerprint.

        None if no pattern reads it. The record has no other name and no escapes.
        """
        if len(unnamed) > LONGEST:
            return None
        cuts = unnamed.split(_BEGIN)
        start = cuts[0], len(cuts)
        known = self._known.get(start, [])
        for pattern in known:
            facts = pattern.read(name, cuts)
            if facts:
                return facts, pattern.fingerprint(facts)
        if self._count >= MOST_PATTERNS or len(known) >= MOST_ALIKE:
            return None
        learned = _learn(cuts, at)
        facts = learned.read(name, cuts) if learned else None
        if not learned or not facts:
            return None
        self._known[start] = [*known, learned]
        self._count += 1
        return facts, learned.fingerprint(facts)


class _Place(NamedTuple):
    """A cut with a number: the text after it, and the facts that are this number."""

    after: bytes
    digits: int
    facts: tuple[tuple[str, Any], ...]

    @property
    def is_telling(self) -> bool:
        """Whether facts with another number here may contradict each other."""
        return any(mapping == "plain" and key in hostfile.TELLING for mapping, key in self.facts)


class _Pattern:
    """A record that is known, and where its numbers are."""

    def __init__(self, cuts: list[bytes], facts: HostFacts, places: Mapping[int, _Place]) -> None:
        self._cuts = cuts
        self._facts = facts
        self._outline = hostfile.Outline(facts)
        self._places = places

    def read(self, name: str, cuts: list[bytes]) -> HostFacts | None:
        """The facts of a record with as many cuts; None if it differs in more than its numbers."""
        numbers: list[tuple[_Place, int]] = []
        for index in compress(range(len(cuts)), map(ne, cuts, self._cuts)):
            place = self._places.get(index)
            number = _NUMBER.match(cuts[index])
            if not place or not number or number.end() > place.digits:
                return None
            if cuts[index][number.end() :] != place.after:
                return None
            numbers.append((place, int(number[1], 16)))
        facts = _changed(self._facts, name, numbers)
        is_telling = any(place.is_telling for place, _ in numbers)
        return None if is_telling and any(hostfile.contradictions(facts)) else facts

    def fingerprint(self, facts: HostFacts) -> Hashable:
        """The fingerprint of facts that were read so."""
        is_alike = all(getattr(facts, other) is getattr(self._facts, other) for other in _WITH_NUMBERS)
        return self._outline.fingerprint(facts) if is_alike else hostfile.fingerprint(facts)


def _changed(facts: HostFacts, name: str, numbers: Iterable[tuple[_Place, int]]) -> HostFacts:
    """The facts with other numbers in some places."""
    changes: dict[str, dict[Any, int]] = defaultdict(dict)
    for place, number in numbers:
        for mapping, key in place.facts:
            changes[mapping][key] = number
    values = {variant: {**own, **changes.pop(variant, {})} for variant, own in facts.values.items()}
    others = {other: {**getattr(facts, other), **changed} for other, changed in changes.items()}
    return replace(facts, name=name, values=values, **others)


def _learn(cuts: list[bytes], at: int) -> _Pattern | None:
    """The pattern of a record whose name was `at`; None if its facts are at fault, or the name is late."""
    if at > len(cuts[0]):
        return None
    found = {index: number for index, cut in enumerate(cuts) if index and (number := _NUMBER.match(cut))}
    text = _BEGIN.join(
        b"%x" % index + cut[found[index].end() :] if index in found else cut for index, cut in enumerate(cuts)
    )
    try:
        tree, faults = parse_json(text[:at] + b"host" + text[at:], "", library.LIMITS)
        facts = hostfile.decode(tree, "", as_told=True)
    except InputError:
        return None
    places: dict[int, _Place] = {}
    for index, digits, mapping, key in _numbers(facts):
        known = places.get(index) or _Place(cuts[index][found[index].end() :], digits, ())
        places[index] = _Place(known.after, min(known.digits, digits), (*known.facts, (mapping, key)))
    if faults or places.keys() != found.keys():
        return None
    if any(found[index].end() > place.digits for index, place in places.items()):
        return None
    facts = _changed(facts, "host", ((place, int(found[index][1], 16)) for index, place in places.items()))
    return None if any(hostfile.contradictions(facts)) else _Pattern(cuts, facts, places)


def _numbers(facts: HostFacts) -> Iterator[tuple[int, int, str, Any]]:
    """Every number among the facts, with the digits it can have, and whose it is."""
    others = {other: getattr(facts, other) or {} for other in _WITH_NUMBERS}
    for mapping, numbers in (*facts.values.items(), *others.items()):
        for key, number in numbers.items():
            yield number, 2 * key.size if isinstance(key, RegId) else 40, mapping, key
