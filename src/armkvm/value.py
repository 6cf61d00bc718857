"""Values: frozen, slotted, equal where they are of one class and their parts are equal.

They are declared as dataclasses are, and type checkers take them for such. But a dataclass brings in
`inspect`, with a parser, a tokenizer and a disassembler behind it, and compiles its methods anew whenever the
program starts; a verdict between two hosts takes hardly longer than that. So what verdicts import is made of
these, and dataclasses are for the rest.
"""

from __future__ import annotations

from typing import Any, Self, TypeVar, dataclass_transform

_set = object.__setattr__
V = TypeVar("V", bound="Value")


class _Declared(type):
    """A class whose slots are the names it annotates. Their defaults are kept apart, as slots have none."""

    __slots__: tuple[str, ...]
    __defaults__: dict[str, object]
    __by_place__: int  # how many of the parts can be given without their names

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, object], *, kw_only: bool = False
    ) -> _Declared:
        for base in bases:
            if isinstance(base, _Declared) and base.__slots__:
                raise TypeError(f"{name} adds to the parts of {base.__name__}: a value's are all its own")
        parts: tuple[str, ...] = tuple(namespace.get("__annotations__", ()))  # type: ignore[arg-type]
        defaults = {part: namespace.pop(part) for part in parts if part in namespace}
        by_place = () if kw_only else parts
        made = super().__new__(
            cls, name, bases, {**namespace, "__slots__": parts, "__match_args__": by_place}
        )
        made.__defaults__ = defaults
        made.__by_place__ = len(by_place)
        return made


@dataclass_transform(frozen_default=True)
class Value(metaclass=_Declared):
    """Something made of the parts that its class annotates; its `__post_init__` may refuse them."""

    def __init__(self, *args: object, **named: object) -> None:
        kind = type(self)
        if named or not args or len(args) != kind.__by_place__:
            args = _completed(kind, args, named)
        for part, value in zip(kind.__slots__, args, strict=True):
            _set(self, part, value)
        self.__post_init__()

    def __post_init__(self) -> None:
        pass

    def __setattr__(self, part: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, part: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self is other or _parts(self) == _parts(other)

    def __hash__(self) -> int:
        return hash(tuple(_parts(self).values()))

    def __repr__(self) -> str:
        parts = ", ".join(f"{part}={value!r}" for part, value in _parts(self).items())
        return f"{type(self).__name__}({parts})"

    def __replace__(self, /, **parts: object) -> Self:
        return replace(self, **parts)

    def __reduce__(self) -> tuple[object, ...]:
        return (_made, (type(self), _parts(self)))


def replace(value: V, /, **parts: object) -> V:
    """A value that differs in those parts, checked like any other."""
    made = object.__new__(type(value))
    for part in type(value).__slots__:
        _set(made, part, parts.pop(part) if part in parts else getattr(value, part))
    if parts:
        raise TypeError(f"{type(value).__name__} is not made of {', '.join(parts)}")
    made.__post_init__()
    return made


def _completed(kind: type[V], args: tuple[object, ...], named: dict[str, object]) -> tuple[object, ...]:
    """All parts in the order they are declared; TypeError if one is missing, unknown or given twice."""
    slots = kind.__slots__
    given = dict(zip(slots[: kind.__by_place__], args, strict=False)) | named
    parts = kind.__defaults__ | given
    if len(given) != len(args) + len(named) or parts.keys() != set(slots):
        raise TypeError(f"{kind.__name__} is made of {', '.join(slots)}")
    return tuple(map(parts.__getitem__, slots))


def _made(kind: type[V], parts: dict[str, Any]) -> V:
    return kind(**parts)


def _parts(value: Value) -> dict[str, Any]:
    return {part: getattr(value, part) for part in type(value).__slots__}
