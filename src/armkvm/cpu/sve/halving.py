"""SVE2: halving, saturating and pairwise arithmetic under a predicate."""

# ruff: noqa: ANN401, D103, N803 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Lanes, Machine
from armkvm.cpu.sve.lanes import exact, saturate, wrap

Numbers = Callable[[Any, Any], Any]


def binary(
    operation: Numbers, first_signed: bool, second_signed: bool, saturating: bool, reverse: bool
) -> Callable[..., None]:
    """`operation` on exact numbers, the result saturated as the first operand is signed, or wrapped."""

    def execute(m: Machine, size: int, Pg: int, Zm: int, Zdn: int) -> None:
        a = exact((m.i if first_signed else m.u)(Zdn, size))
        b = exact((m.i if second_signed else m.u)(Zm, size))
        if reverse:
            a, b = b, a
        result = operation(a, b)
        lanes = saturate(result, size, first_signed) if saturating else wrap(result, size)
        m.merge_z(Zdn, size, m.active(Pg, size), lanes)

    return execute


def pairs_of(first: Lanes, second: Lanes) -> tuple[Lanes, Lanes]:
    """The operands of a pairwise operation whose results alternate between the two vectors."""
    left, right = np.empty_like(first), np.empty_like(first)
    left[0::2], left[1::2] = first[0::2], second[0::2]
    right[0::2], right[1::2] = first[1::2], second[1::2]
    return left, right


def pairwise(operation: Callable[[Lanes, Lanes], Lanes], signed_lanes: bool) -> Callable[..., None]:
    def execute(m: Machine, size: int, Pg: int, Zm: int, Zdn: int) -> None:
        lanes = m.i if signed_lanes else m.u
        result = operation(*pairs_of(lanes(Zdn, size), lanes(Zm, size)))
        m.merge_z(Zdn, size, m.active(Pg, size), result.astype(UNSIGNED[size]))

    return execute


def unary_saturating(operation: Callable[[Any], Any]) -> Callable[..., None]:
    """SQABS, SQNEG."""

    def execute(m: Machine, size: int, Pg: int, Zn: int, Zd: int) -> None:
        result = saturate(operation(exact(m.i(Zn, size))), size, True)
        m.merge_z(Zd, size, m.active(Pg, size), result)

    return execute


def _reciprocal(bits: int) -> int:
    """The 8-bit estimate of 1/x of the 9 bits of an operand in [0.5, 1)."""
    return ((1 << 19) // (2 * bits + 1) + 1) // 2 & 0x1FF


def _reciprocal_root(bits: int) -> int:
    """The 8-bit estimate of 1/sqrt(x) of the 9 bits of an operand in [0.25, 1)."""
    middle = 2 * bits + 1 if bits < 256 else (bits >> 1 << 1) + 1 << 1
    root = 512
    while middle * (root + 1) * (root + 1) < 1 << 28:
        root += 1
    return (root + 1) // 2 & 0x1FF


def estimate(scaled: Callable[[int], int], least: int) -> Callable[..., None]:
    """URECPE, URSQRTE: numbers below `least` give all ones."""

    def execute(m: Machine, size: int, Pg: int, Zn: int, Zd: int) -> None:
        if size != 2:
            raise Undefined
        numbers = [0xFFFFFFFF if n < least else scaled(n >> 23) << 23 for n in m.u(Zn, 2).tolist()]
        m.merge_z(Zd, 2, m.active(Pg, 2), np.array(numbers, np.uint64).astype(UNSIGNED[2]))

    return execute


def _add(a: Any, b: Any) -> Any:
    return a + b


def _subtract(a: Any, b: Any) -> Any:
    return a - b


# Bits 20:16 -> name, operation, signs of the operands, saturating?, operands reversed?
_BINARY: dict[str, tuple[str, Numbers, bool, bool, bool, bool]] = {
    "10000": ("SHADD", lambda a, b: a + b >> 1, True, True, False, False),
    "10001": ("UHADD", lambda a, b: a + b >> 1, False, False, False, False),
    "10010": ("SHSUB", lambda a, b: a - b >> 1, True, True, False, False),
    "10011": ("UHSUB", lambda a, b: a - b >> 1, False, False, False, False),
    "10100": ("SRHADD", lambda a, b: a + b + 1 >> 1, True, True, False, False),
    "10101": ("URHADD", lambda a, b: a + b + 1 >> 1, False, False, False, False),
    "10110": ("SHSUBR", lambda a, b: a - b >> 1, True, True, False, True),
    "10111": ("UHSUBR", lambda a, b: a - b >> 1, False, False, False, True),
    "11000": ("SQADD", _add, True, True, True, False),
    "11001": ("UQADD", _add, False, False, True, False),
    "11010": ("SQSUB", _subtract, True, True, True, False),
    "11011": ("UQSUB", _subtract, False, False, True, False),
    "11100": ("SUQADD", _add, True, False, True, False),
    "11101": ("USQADD", _add, False, True, True, False),
    "11110": ("SQSUBR", _subtract, True, True, True, True),
    "11111": ("UQSUBR", _subtract, False, False, True, True),
}
_PAIRWISE: dict[str, tuple[str, Callable[[Lanes, Lanes], Lanes], bool]] = {
    "10001": ("ADDP", np.add, False),
    "10100": ("SMAXP", np.maximum, True),
    "10101": ("UMAXP", np.maximum, False),
    "10110": ("SMINP", np.minimum, True),
    "10111": ("UMINP", np.minimum, False),
}
_G = "01000100 size:2 0"
ROWS = (
    *(
        Row(f"{row[0]} (predicated)", f"{_G} {bits} 100 Pg:3 Zm:5 Zdn:5", Check.SVE, binary(*row[1:]), "sve2")
        for bits, row in _BINARY.items()
    ),
    *(
        Row(name, f"{_G} {bits} 101 Pg:3 Zm:5 Zdn:5", Check.SVE, pairwise(operation, sign), "sve2")
        for bits, (name, operation, sign) in _PAIRWISE.items()
    ),
    Row("SQABS", f"{_G} 01000 101 Pg:3 Zn:5 Zd:5", Check.SVE, unary_saturating(abs), "sve2"),
    Row("SQNEG", f"{_G} 01001 101 Pg:3 Zn:5 Zd:5", Check.SVE, unary_saturating(lambda a: -a), "sve2"),
    Row("URECPE", f"{_G} 00000 101 Pg:3 Zn:5 Zd:5", Check.SVE, estimate(_reciprocal, 1 << 31), "sve2"),
    Row("URSQRTE", f"{_G} 00001 101 Pg:3 Zn:5 Zd:5", Check.SVE, estimate(_reciprocal_root, 1 << 30), "sve2"),
)
