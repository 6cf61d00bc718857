"""Fields of a register, and how two values of one field compare.

Arm gives every ID field an order: for most a lower number promises less, for a few a higher one does,
and some have values that are not comparable at all. `accepts` and `meet` are that order, once: KVM's
check of a value that userspace writes, and the common baseline of a fleet, are the same question.

Source: Arm ARM, "Principles of the ID scheme for fields in ID registers"; the directions follow
Linux's feature tables (arch/arm64/kernel/cpufeature.c, arm64_ftr_safe_value).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeAlias

from armkvm.arch.encoding import SysReg
from armkvm.arch.sysregs import name_of
from armkvm.value import Value


class Direction(Enum):
    """Which values of a field promise no more than a given limit does."""

    LOWER = "lower or equal"
    HIGHER = "higher or equal"
    HIGHER_OR_ZERO = "higher or equal, zero counting as highest"
    EXACT = "the same value, or the field's safe value if it has one"


class Kind(Enum):
    """What a row of bits is."""

    NAMED = "field"
    RES0 = "RES0"
    RES1 = "RES1"


class Rule(Value):
    """The order of a field's values: direction, sign, and the safe value of an EXACT field."""

    direction: Direction
    signed: bool = False
    safe: int | None = None


LOWER = Rule(Direction.LOWER)
SIGNED_LOWER = Rule(Direction.LOWER, signed=True)
HIGHER = Rule(Direction.HIGHER)
HIGHER_OR_ZERO = Rule(Direction.HIGHER_OR_ZERO)
EXACT = Rule(Direction.EXACT)


def exact(safe: int) -> Rule:
    """Not comparable, except that everyone accepts `safe`."""
    return Rule(Direction.EXACT, safe=safe)


# How tables write fields: (name, msb, lsb, rule, {value: meaning}), by register, from bit 63 down.
# Bits without a row are RES0; bits that read as one are a row named RES1.
Row: TypeAlias = tuple[str, int, int, Rule, Mapping[int, str]]
Table: TypeAlias = tuple[tuple[str, tuple[Row, ...]], ...]


class Field(Value):
    """Bits msb..lsb of a register. Values are the raw bits, unsigned, whatever `signed` says."""

    register: SysReg
    name: str
    msb: int
    lsb: int
    direction: Direction
    signed: bool = False
    safe: int | None = None
    kind: Kind = Kind.NAMED
    meanings: Mapping[int, str] = {}

    def __post_init__(self) -> None:
        if not 0 <= self.lsb <= self.msb <= 63:
            raise ValueError(f"{self}: bits {self.msb}:{self.lsb} are not within 63:0")
        for value in (*self.meanings, *(() if self.safe is None else (self.safe,))):
            self.checked(value)

    @property
    def _order(self) -> tuple[object, ...]:
        """What tells fields apart: all but what Arm calls their values."""
        rule = (self.direction, self.signed, self.safe)
        return (self.register, self.name, self.msb, self.lsb, *rule, self.kind)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Field) and self._order == other._order)

    def __repr__(self) -> str:
        return f"<Field {self} {self.bits}>"

    def __hash__(self) -> int:
        """By place alone: no two fields of a register begin at one bit, and fleets hash by the million."""
        return hash((self.register, self.lsb))

    def __str__(self) -> str:
        return f"{name_of(self.register)}.{self.name}"

    @property
    def width(self) -> int:
        return self.msb - self.lsb + 1

    @property
    def mask(self) -> int:
        """The field's bits in place."""
        return ((1 << self.width) - 1) << self.lsb

    @property
    def bits(self) -> str:
        """``63:60``, or ``63`` for a single bit."""
        return str(self.msb) if self.msb == self.lsb else f"{self.msb}:{self.lsb}"

    def checked(self, value: int) -> int:
        """`value` if it fits the field, else ValueError."""
        if not 0 <= value < 1 << self.width:
            raise ValueError(f"{self} has {self.width} bits; {value:#x} does not fit")
        return value

    def extract(self, register_value: int) -> int:
        """The field's raw bits in a register value."""
        return register_value >> self.lsb & (1 << self.width) - 1

    def insert(self, register_value: int, value: int) -> int:
        """The register value with this field replaced."""
        return register_value & ~self.mask | self.checked(value) << self.lsb

    def number(self, value: int) -> int:
        """The number that raw bits stand for: two's complement if the field is signed."""
        self.checked(value)
        return value - (1 << self.width) if self.signed and value >> self.width - 1 else value

    def meaning(self, value: int) -> str:
        """Arm's name for a value, "" if the table has none."""
        return self.meanings.get(value, "")

    def told(self, value: int) -> str:
        """A value for people, with Arm's name for it: ``0x1 (FEAT_CSV2)``."""
        meaning = self.meaning(value)
        return f"{value:#x} ({meaning})" if meaning else f"{value:#x}"

    def rank(self, value: int) -> int:
        """How much a value promises; defined for every direction but EXACT."""
        return _rank(self, value)


def accepts(field: Field, limit: int, value: int) -> bool:
    """Whether `value` promises no more than `limit` does, by the field's order.

    This is the kernel's arm64_check_features for one field: a value equal to the limit always passes.
    """
    field.checked(limit)
    field.checked(value)
    if field.direction is Direction.EXACT:
        return value in (limit, field.safe)
    return _rank(field, value) <= _rank(field, limit)


def meet(field: Field, a: int, b: int) -> int | None:
    """The greatest value that both `a` and `b` accept as their limit; None if there is none."""
    field.checked(a)
    field.checked(b)
    if a == b:
        return a
    if field.direction is Direction.EXACT:
        return field.safe
    return min(a, b, key=lambda value: _rank(field, value))


def accepted_values(field: Field, limit: int) -> tuple[int, ...]:
    """Every value that `limit` accepts, ascending (for messages: "allowed are ...")."""
    if field.direction is Direction.EXACT:
        return tuple(sorted({limit} if field.safe is None else {limit, field.safe}))
    if field.direction is Direction.LOWER and not field.signed:
        return tuple(range(field.checked(limit) + 1))
    return tuple(value for value in range(1 << field.width) if accepts(field, limit, value))


def accepted_bits(field: Field, limit: int) -> int:
    """The same as a set of bits (bit v for value v)."""
    if field.direction is Direction.LOWER and not field.signed:
        return (2 << limit) - 1
    return sum(1 << value for value in accepted_values(field, limit))


def _rank(field: Field, value: int) -> int:
    """How much a value promises; defined for every direction but EXACT."""
    match field.direction:
        case Direction.LOWER:
            return field.number(value)
        case Direction.HIGHER:
            return -field.number(value)
        case Direction.HIGHER_OR_ZERO:
            return -field.number(value) if value else -(1 << field.width)
        case Direction.EXACT:
            raise ValueError(f"{field}: values of an exact field have no order")
