"""What an untrusted document may look like: small checks that report every fault with its path.

A shape is a function of (value, path, faults). Shapes say what was expected in words a person can
act on; they never raise, and look at no more than their bounds allow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache, lru_cache

from armkvm.documents import short, step
from armkvm.errors import Fault

Shape = Callable[[object, str, list[Fault]], None]

MOST_FAULTS = 200
_PLAIN = frozenset((str, int))
_MOST_REMEMBERED = 1 << 16


def check(tree: object, shape: Shape, path: str = "$") -> list[Fault]:
    """Every fault of a document, up to a number that a person can read."""
    faults: list[Fault] = []
    shape(tree, path, faults)
    return limited(faults)


def limited(faults: list[Fault]) -> list[Fault]:
    """At most `MOST_FAULTS` of them, saying so if there were more."""
    if len(faults) <= MOST_FAULTS:
        return faults
    rest = Fault("$", f"and {len(faults) - MOST_FAULTS:,} more faults")
    return [*faults[:MOST_FAULTS], rest]


def wrong(value: object, path: str, faults: list[Fault], expected: str) -> None:
    """Note that `expected` was expected and `value` came."""
    faults.append(Fault(path, f"expected {expected}, got {short(value)}"))


def text(pattern: str, expected: str) -> Shape:
    """A string that matches a pattern as a whole."""

    def shape(value: object, path: str, faults: list[Fault]) -> None:
        if not isinstance(value, str) or not _pattern(pattern).fullmatch(value):
            wrong(value, path, faults, expected)

    return shape


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """Compiled when a document first needs it, as most need few of those there are."""
    return re.compile(text, re.ASCII)


def label(most: int = 400) -> Shape:
    """A printable text for people."""

    def shape(value: object, path: str, faults: list[Fault]) -> None:
        if not isinstance(value, str) or len(value) > most or not value.isprintable():
            wrong(value, path, faults, f"at most {most} printable characters")

    return shape


def number(low: int, high: int) -> Shape:
    """An integer within bounds; true and false are none."""

    def shape(value: object, path: str, faults: list[Fault]) -> None:
        if type(value) is not int or not low <= value <= high:
            wrong(value, path, faults, f"a whole number {low}..{high}")

    return shape


def boolean(value: object, path: str, faults: list[Fault]) -> None:
    """True or false."""
    if type(value) is not bool:
        wrong(value, path, faults, "true or false")


def one_of(words: Collection[str], expected: str = "") -> Shape:
    """One of some words."""
    says = expected or "one of " + ", ".join(words)

    def shape(value: object, path: str, faults: list[Fault]) -> None:
        if not isinstance(value, str) or value not in words:
            wrong(value, path, faults, says)

    return shape


def nullable(inner: Shape) -> Shape:
    """Null, or what `inner` says."""

    def shape(value: object, path: str, faults: list[Fault]) -> None:
        if value is not None:
            inner(value, path, faults)

    return shape


def either(first: type, shapes: tuple[Shape, Shape]) -> Shape:
    """One shape for values of a type, another for the rest."""

    def shape(value: object, path: str, faults: list[Fault]) -> None:
        shapes[0 if type(value) is first else 1](value, path, faults)

    return shape


def array(inner: Shape, least: int, most: int) -> Shape:
    """An array of alike members."""

    def shape(value: object, path: str, faults: list[Fault]) -> None:
        if not isinstance(value, list) or not least <= len(value) <= most:
            wrong(value, path, faults, f"an array of {least} to {most} members")
            return
        for index, member in enumerate(value):
            inner(member, step(path, index), faults)

    return shape


_known_step = lru_cache(maxsize=1024)(step)


def members(
    required: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None, *, others: bool = False
) -> Shape:
    """An object with these members; `others` are let be, or faults."""
    known = {**required, **(optional or {})}

    def shape(value: object, path: str, faults: list[Fault]) -> None:
        if not isinstance(value, dict):
            wrong(value, path, faults, f"an object with {_listing(required)}")
            return
        missing = [name for name in required if name not in value]
        faults.extend(Fault(path, f"expected a member {name}, got none") for name in missing)
        for name, member in value.items():
            inner = known.get(name)
            if inner is not None:
                inner(member, _known_step(path, name), faults)
            elif not others:
                faults.append(Fault(step(path, name), f"expected no members but {_listing(known)}"))

    return shape


def mapping(key: Shape, inner: Callable[[str], Shape], most: int) -> Shape:
    """An object whose members are alike: each key fits `key`, each value the shape its key asks for.

    What fitted once fits again: a fleet's hosts have most members in common.
    """
    fitting: set[tuple[str, object]] = set()

    def shape(value: object, path: str, faults: list[Fault]) -> None:
        if not isinstance(value, dict) or len(value) > most:
            wrong(value, path, faults, f"an object of at most {most} members")
            return
        before_all = len(faults)
        is_plain = _PLAIN.issuperset(map(type, value.values()))  # true is no 1, and a list has no hash
        new = [item for item in value.items() if item not in fitting] if is_plain else [*value.items()]
        for name, member in new:
            before = len(faults)
            key(name, step(path, name), faults)
            if len(faults) == before:
                inner(name)(member, step(path, name), faults)
        if is_plain and len(faults) == before_all and len(fitting) < _MOST_REMEMBERED:
            fitting.update(new)

    return shape


def _listing(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing in it"
