"""Complex numbers: pairs of a real and an imaginary lane. Rotations are counted in quarter turns."""

# ruff: noqa: ANN401, D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Bools, Lanes, Machine
from armkvm.cpu.sve.dots import accumulate, group_of_quadword, groups
from armkvm.cpu.sve.fp_lanes import operate, quiet, sign_bit
from armkvm.cpu.sve.lanes import exact, saturate, wrap

# Rotation -> which part of the first operand, which of the second goes to (real, imaginary), its signs.
_TURNS: tuple[tuple[int, tuple[int, int], tuple[int, int]], ...] = (
    (0, (0, 1), (1, 1)),
    (1, (1, 0), (-1, 1)),
    (0, (0, 1), (-1, -1)),
    (1, (1, 0), (1, -1)),
)


def add(saturating: bool) -> Callable[..., None]:
    """CADD, SQCADD: add the second operand, turned by a quarter or by three."""

    def execute(m: Machine, size: int, rot: int, Zm: int, Zdn: int) -> None:
        a, b = exact(m.i(Zdn, size)), exact(m.i(Zm, size))
        result = np.empty_like(a)
        sign = -1 if rot else 1
        result[0::2], result[1::2] = a[0::2] - sign * b[1::2], a[1::2] + sign * b[0::2]
        m.set_z(Zdn, size, saturate(result, size, True) if saturating else wrap(result, size))

    return execute


def _products(a: Any, b: Any, rot: int) -> Any:
    """What a complex multiply-add adds, lane by lane."""
    which, parts, signs = _TURNS[rot]
    result = np.empty_like(a)
    for half in (0, 1):
        result[half::2] = a[which::2] * b[parts[half] :: 2] * signs[half]
    return result


def multiply_add(high: bool) -> Callable[..., None]:
    """CMLA; SQRDMLAH-like with `high`."""

    def execute(m: Machine, size: int, Zm: int, rot: int, Zn: int, Zda: int) -> None:
        _multiply_add(m, size, rot, Zda, exact(m.i(Zn, size), 2), exact(m.i(Zm, size), 2), high)

    return execute


def _multiply_add(m: Machine, size: int, rot: int, Zda: int, a: Any, b: Any, high: bool) -> None:
    bits = 8 << size
    addend = exact(m.i(Zda, size), 2)
    if high:
        products = _products(a.astype(object), b.astype(object), rot)
        total = (addend.astype(object) << bits - 1) + products + (1 << bits - 2) >> bits - 1
        m.set_z(Zda, size, saturate(total, size, True))
    else:
        m.set_z(Zda, size, wrap(addend + _products(a, b, rot), size))


def multiply_add_indexed(size: int, high: bool) -> Callable[..., None]:
    """The second operand one pair of each quadword."""

    def execute(m: Machine, index: int, Zm: int, rot: int, Zn: int, Zda: int) -> None:
        pairs = m.i(Zm, size).reshape(-1, 8 >> size, 2)[:, index]
        b = pairs.repeat(8 >> size, axis=0).reshape(-1)
        _multiply_add(m, size, rot, Zda, exact(m.i(Zn, size), 2), exact(b, 2), high)

    return execute


def _dot(m: Machine, size: int, rot: int, Zda: int, a: Lanes, b: Lanes) -> None:
    """The real (or imaginary) part of the products of two pairs; CDOT turns the second operand."""
    real_a, imaginary_a, real_b, imaginary_b = a[:, 0::2], a[:, 1::2], b[:, 0::2], b[:, 1::2]
    if rot in (0, 2):
        sign = 1 if rot else -1
        products = real_a * real_b + sign * imaginary_a * imaginary_b
    else:
        sign = 1 if rot == 1 else -1
        products = real_a * imaginary_b + sign * imaginary_a * real_b
    accumulate(m, size, Zda, products.sum(axis=1))


def cdot(m: Machine, sz: int, Zm: int, rot: int, Zn: int, Zda: int) -> None:
    size = 2 + sz
    _dot(m, size, rot, Zda, groups(m, Zn, size, 4, True), groups(m, Zm, size, 4, True))


def cdot_indexed(size: int) -> Callable[..., None]:
    def execute(m: Machine, index: int, Zm: int, rot: int, Zn: int, Zda: int) -> None:
        right = group_of_quadword(groups(m, Zm, size, 4, True), size, index)
        _dot(m, size, rot, Zda, groups(m, Zn, size, 4, True), right)

    return execute


def fcadd(m: Machine, size: int, rot: int, Pg: int, Zm: int, Zdn: int) -> None:
    if not size:
        raise Undefined
    active, b = m.active(Pg, size), m.u(Zm, size)
    turned = np.empty_like(b)
    turned[0::2], turned[1::2] = b[1::2], b[0::2]
    turned[rot::2] ^= sign_bit(size)
    operands = (quiet(size, active, x) for x in (m.u(Zdn, size), turned))
    m.merge_z(Zdn, size, active, operate(m, "fadd", size, *operands))


def _fcmla(m: Machine, size: int, rot: int, active: Bools, Zda: int, a: Lanes, b: Lanes) -> None:
    which, parts, signs = _TURNS[rot]
    first, second = np.empty_like(a), np.empty_like(b)
    for half in (0, 1):
        first[half::2] = a[which::2]
        second[half::2] = b[parts[half] :: 2] ^ (
            sign_bit(size) if signs[half] < 0 else UNSIGNED[size].type(0)
        )
    operands = (quiet(size, active, x) for x in (m.u(Zda, size), first, second))
    m.merge_z(Zda, size, active, operate(m, "fmla", size, *operands))


def fcmla(m: Machine, size: int, Zm: int, rot: int, Pg: int, Zn: int, Zda: int) -> None:
    if not size:
        raise Undefined
    _fcmla(m, size, rot, m.active(Pg, size), Zda, m.u(Zn, size), m.u(Zm, size))


def fcmla_indexed(size: int) -> Callable[..., None]:
    def execute(m: Machine, index: int, Zm: int, rot: int, Zn: int, Zda: int) -> None:
        pairs = m.u(Zm, size).reshape(-1, 8 >> size, 2)[:, index]
        everything = np.ones(m.counts[size], np.bool_)
        b = pairs.repeat(8 >> size, axis=0).reshape(-1)
        _fcmla(m, size, rot, everything, Zda, m.u(Zn, size), b)

    return execute


_M = "01000100"
_INDEXED = ((1, "10 1 index:2 Zm:3"), (2, "11 1 index:1 Zm:4"))
ROWS = (
    Row("CADD", "01000101 size:2 000000 11011 rot:1 Zm:5 Zdn:5", Check.SVE, add(False), "sve2"),
    Row("SQCADD", "01000101 size:2 000001 11011 rot:1 Zm:5 Zdn:5", Check.SVE, add(True), "sve2"),
    *(
        Row(name, f"{_M} size:2 0 Zm:5 {bits} rot:2 Zn:5 Zda:5", Check.SVE, multiply_add(high), "sve2")
        for name, bits, high in (("CMLA", "0010", False), ("SQRDCMLAH", "0011", True))
    ),
    *(
        Row(
            f"{name} (indexed, .{'bhsd'[size]})",
            f"{_M} {place} {bits} rot:2 Zn:5 Zda:5",
            Check.SVE,
            multiply_add_indexed(size, high),
            "sve2",
        )
        for name, bits, high in (("CMLA", "0110", False), ("SQRDCMLAH", "0111", True))
        for size, place in _INDEXED
    ),
    Row("CDOT", f"{_M} 1 sz:1 0 Zm:5 0001 rot:2 Zn:5 Zda:5", Check.SVE, cdot, "sve2"),
    *(
        Row(
            f"CDOT (indexed, .{'bhsd'[size]})",
            f"{_M} {place} 0100 rot:2 Zn:5 Zda:5",
            Check.SVE,
            cdot_indexed(size),
            "sve2",
        )
        for size, place in ((2, "10 1 index:2 Zm:3"), (3, "11 1 index:1 Zm:4"))
    ),
    Row("FCADD", "01100100 size:2 00000 rot:1 100 Pg:3 Zm:5 Zdn:5", Check.SVE, fcadd),
    Row("FCMLA", "01100100 size:2 0 Zm:5 0 rot:2 Pg:3 Zn:5 Zda:5", Check.SVE, fcmla),
    *(
        Row(
            f"FCMLA (indexed, .{'bhsd'[size]})",
            f"01100100 {place} 0001 rot:2 Zn:5 Zda:5",
            Check.SVE,
            fcmla_indexed(size),
        )
        for size, place in _INDEXED
    ),
)
