"""SVE2: products of vectors and of indexed elements, the doubling ones that keep the upper half."""

# ruff: noqa: ANN401, D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Lanes, Machine
from armkvm.cpu.sve.lanes import by_element, mulh_signed, mulh_unsigned, saturate

Product = Callable[[Lanes, Lanes, Lanes], Any]
"""Of accumulator, first and second operand, as signed lanes."""


def mul(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
    m.set_z(Zd, size, m.u(Zn, size) * m.u(Zm, size))


def smulh(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
    m.set_z(Zd, size, mulh_signed(m.i(Zn, size), m.i(Zm, size)).astype(UNSIGNED[size]))


def umulh(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
    m.set_z(Zd, size, mulh_unsigned(m.u(Zn, size), m.u(Zm, size)))


def doubling_high(a: Lanes, b: Lanes, rounding: bool, addend: Any = 0, sign: int = 1) -> Any:
    """The upper half of 2ab (or -2ab), plus `addend` in that half's units, before saturation."""
    bits = a.itemsize * 8
    total = sign * a.astype(object) * b.astype(object) + (addend << bits - 1)
    return total + (1 << bits - 2 if rounding else 0) >> bits - 1


def vectors(product: Product) -> Callable[..., None]:
    def execute(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
        m.set_z(Zd, size, product(m.i(Zd, size), m.i(Zn, size), m.i(Zm, size)))

    return execute


def indexed(size: int, product: Product) -> Callable[..., None]:
    """The second operand one element of each quadword."""

    def apply(m: Machine, index: int, Zm: int, Zn: int, Zd: int) -> None:
        m.set_z(Zd, size, product(m.i(Zd, size), m.i(Zn, size), by_element(m.i(Zm, size), index)))

    def halves(m: Machine, i3h: int, i3l: int, Zm: int, Zn: int, Zd: int) -> None:
        apply(m, i3h << 2 | i3l, Zm, Zn, Zd)

    return halves if size == 1 else apply


def _size(lanes: Lanes) -> int:
    return lanes.itemsize.bit_length() - 1


def _mla(addend: Lanes, a: Lanes, b: Lanes) -> Any:
    return addend + a * b


def _mls(addend: Lanes, a: Lanes, b: Lanes) -> Any:
    return addend - a * b


def _sqdmulh(_: Lanes, a: Lanes, b: Lanes) -> Lanes:
    return saturate(doubling_high(a, b, False), _size(a), True)


def _sqrdmulh(_: Lanes, a: Lanes, b: Lanes) -> Lanes:
    return saturate(doubling_high(a, b, True), _size(a), True)


def _sqrdmlah(addend: Lanes, a: Lanes, b: Lanes) -> Lanes:
    return saturate(doubling_high(a, b, True, addend.astype(object)), _size(a), True)


def _sqrdmlsh(addend: Lanes, a: Lanes, b: Lanes) -> Lanes:
    return saturate(doubling_high(a, b, True, addend.astype(object), -1), _size(b), True)


_INDEXED: tuple[tuple[str, str, Product], ...] = (
    ("MLA", "000010", _mla),
    ("MLS", "000011", _mls),
    ("SQRDMLAH", "000100", _sqrdmlah),
    ("SQRDMLSH", "000101", _sqrdmlsh),
    ("SQDMULH", "111100", _sqdmulh),
    ("SQRDMULH", "111101", _sqrdmulh),
    ("MUL", "111110", lambda _, a, b: np.multiply(a, b)),
)
_PLACES = ((1, "0 i3h:1 1 i3l:2 Zm:3"), (2, "10 1 index:2 Zm:3"), (3, "11 1 index:1 Zm:4"))
_U = "00000100 size:2 1 Zm:5"
ROWS = (
    Row("MUL (vectors, unpredicated)", f"{_U} 011000 Zn:5 Zd:5", Check.SVE, mul, "sve2"),
    Row("SMULH (unpredicated)", f"{_U} 011010 Zn:5 Zd:5", Check.SVE, smulh, "sve2"),
    Row("UMULH (unpredicated)", f"{_U} 011011 Zn:5 Zd:5", Check.SVE, umulh, "sve2"),
    Row("SQDMULH (vectors)", f"{_U} 011100 Zn:5 Zd:5", Check.SVE, vectors(_sqdmulh), "sve2"),
    Row("SQRDMULH (vectors)", f"{_U} 011101 Zn:5 Zd:5", Check.SVE, vectors(_sqrdmulh), "sve2"),
    Row(
        "SQRDMLAH (vectors)",
        "01000100 size:2 0 Zm:5 011100 Zn:5 Zd:5",
        Check.SVE,
        vectors(_sqrdmlah),
        "sve2",
    ),
    Row(
        "SQRDMLSH (vectors)",
        "01000100 size:2 0 Zm:5 011101 Zn:5 Zd:5",
        Check.SVE,
        vectors(_sqrdmlsh),
        "sve2",
    ),
    *(
        Row(
            f"{name} (indexed, .{'bhsd'[size]})",
            f"01000100 {place} {bits} Zn:5 Zd:5",
            Check.SVE,
            indexed(size, product),
            "sve2",
        )
        for name, bits, product in _INDEXED
        for size, place in _PLACES
    ),
)
