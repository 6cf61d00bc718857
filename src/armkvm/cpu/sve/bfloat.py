"""BFloat16, and dot products of halves: sums of exact products.

Sums are made in double precision, rounded to odd: rounding that again, to a shorter format, gives what
one rounding would have given.
"""

# ruff: noqa: ANN401, D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.fp import FPCR_FZ16
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Lanes, Machine
from armkvm.cpu.sve.fp_lanes import operate, quiet
from armkvm.cpu.sve.lanes import by_element

_DEFAULT_NAN = np.uint32(0x7FC00000)
_OFC, _UFC, _IXC = 1 << 2, 1 << 3, 1 << 4
_LEAST_NORMAL, _TOO_LARGE = 2.0**-126, 2.0**128


def singles(halves: Lanes) -> Lanes:
    """BFloat16 numbers as single-precision ones."""
    return halves.astype(np.uint32) << np.uint32(16)


def sum_to_odd(a: Any, b: Any) -> Any:
    """A + b of doubles, rounded to odd."""
    with np.errstate(all="ignore"):
        total = np.asarray(a + b)
        part = total - a
        error = (a - (total - part)) + (b - part)
        nudged = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    even = total.view(np.uint64) & np.uint64(1) == 0
    return np.where(np.isfinite(total) & (error != 0) & even, nudged, total)


def _doubles(lanes: Lanes) -> Any:
    """Single-precision lanes as doubles, those too small for a normal number as zeros."""
    with np.errstate(invalid="ignore"):
        numbers = lanes.view(np.float32).astype(np.float64)
    return np.where(np.abs(numbers) < _LEAST_NORMAL, np.copysign(0.0, numbers), numbers)


def _limited(numbers: Any) -> Any:
    """Doubles within single precision's range of normal numbers, or zero, or infinite."""
    size = np.abs(numbers)
    numbers = np.where(size < _LEAST_NORMAL, np.copysign(0.0, numbers), numbers)
    return np.where(size >= _TOO_LARGE, np.copysign(np.inf, numbers), numbers)


def _rounded_to_odd(numbers: Any) -> Lanes:
    """Doubles in single precision's range as its encodings."""
    numbers = _limited(numbers)
    bits = np.ascontiguousarray(numbers).view(np.uint64)
    cut = (bits & np.uint64(~0x1FFFFFFF & (1 << 64) - 1)).view(np.float64)
    with np.errstate(all="ignore"):
        short = cut.astype(np.float32).view(np.uint32)
    odd = short | (bits & np.uint64(0x1FFFFFFF) != 0).astype(np.uint32)
    result: Lanes = np.where(np.isnan(numbers), _DEFAULT_NAN, np.where(np.isinf(numbers), short, odd))
    return result


def bf_add(a: Lanes, b: Lanes) -> Lanes:
    """Single-precision lanes added as BFDOT does: to odd, subnormal numbers as zeros, default NaNs."""
    return _rounded_to_odd(sum_to_odd(_doubles(a), _doubles(b)))


def bf_dot(a: Lanes, b: Lanes) -> Lanes:
    """Of BFloat16 lanes, two to a row: the sum of the products of each row."""
    with np.errstate(all="ignore"):
        products = _limited(_doubles(singles(a)) * _doubles(singles(b)))
    return _rounded_to_odd(sum_to_odd(products[:, 0], products[:, 1]))


def half_dot(m: Machine, a: Lanes, b: Lanes, fpcr: int) -> Lanes:
    """Of half-precision lanes, two to a row: the sum of products in single precision, rounded once."""
    if fpcr & FPCR_FZ16:
        a, b = (np.where(n & np.uint16(0x7C00), n, n & np.uint16(0x8000)) for n in (a, b))
    with np.errstate(all="ignore"):
        products = a.view(np.float16).astype(np.float64) * b.view(np.float16).astype(np.float64)
    total = sum_to_odd(products[:, 0], products[:, 1])
    if fpcr >> 22 & 3 == 2:  # rounding down, opposite numbers add up to -0
        opposite = (total == 0) & (np.signbit(products[:, 0]) != np.signbit(products[:, 1]))
        total = np.where(opposite, -0.0, total)
    totals = np.ascontiguousarray(total).view(np.uint64)
    result, _ = m.fp.each("fcvt 3 2", (totals,), fpcr, 0)
    return result.astype(np.uint32)


def pairs(m: Machine, n: int) -> Lanes:
    """Zn's halfwords, two to a row."""
    return m.u(n, 1).reshape(-1, 2)


def _pair_of_quadword(lanes: Lanes, index: int) -> Lanes:
    return lanes.reshape(-1, 4, 2)[:, index].repeat(4, axis=0)


def bfdot(m: Machine, Zm: int, Zn: int, Zda: int) -> None:
    m.set_z(Zda, 2, bf_add(m.u(Zda, 2), bf_dot(pairs(m, Zn), pairs(m, Zm))))


def bfdot_indexed(m: Machine, index: int, Zm: int, Zn: int, Zda: int) -> None:
    right = _pair_of_quadword(pairs(m, Zm), index)
    m.set_z(Zda, 2, bf_add(m.u(Zda, 2), bf_dot(pairs(m, Zn), right)))


def bfmmla(m: Machine, Zm: int, Zn: int, Zda: int) -> None:
    """In each quadword, a 2x4 matrix times the transpose of another, added to one of singles."""
    left, right = (m.u(n, 1).reshape(-1, 2, 2, 2) for n in (Zn, Zm))  # quadword, row, pair, number
    total = m.u(Zda, 2)
    for pair in (0, 1):
        rows = left[:, :, pair].repeat(2, axis=1).reshape(-1, 2)
        columns = np.tile(right[:, :, pair], (1, 2, 1)).reshape(-1, 2)
        total = bf_add(total, bf_dot(rows, columns))
    m.set_z(Zda, 2, total)


def long_fused(name: str, top: int) -> Callable[..., None]:
    """BFMLALB ...: products into singles."""

    def execute(m: Machine, Zm: int, Zn: int, Zda: int) -> None:
        a, b = singles(m.u(Zn, 1)[top::2]), singles(m.u(Zm, 1)[top::2])
        m.set_z(Zda, 2, operate(m, name, 2, m.u(Zda, 2), a, b))

    return execute


def long_fused_indexed(name: str, top: int) -> Callable[..., None]:
    def execute(m: Machine, ih: int, Zm: int, il: int, Zn: int, Zda: int) -> None:
        a, b = m.u(Zn, 1)[top::2], by_element(m.u(Zm, 1), ih << 1 | il)[::2]
        m.set_z(Zda, 2, operate(m, name, 2, m.u(Zda, 2), singles(a), singles(b)))

    return execute


def narrowed(m: Machine, lanes: Lanes) -> Lanes:
    """Single-precision lanes as BFloat16, rounded as FPCR says, with flags."""
    one = np.full_like(lanes, 0x3F800000)
    lanes = operate(m, "fmul", 2, lanes, one)  # for its treatment of NaNs and subnormal numbers
    exponent = lanes >> np.uint32(23) & np.uint32(255)
    rest, kept = lanes & np.uint32(0xFFFF), lanes >> np.uint32(16)
    negative, mode = lanes >> np.uint32(31) == 1, m.vectors.fpcr >> 22 & 3
    if mode == 0:
        up = (rest > 0x8000) | (rest == 0x8000) & (kept & np.uint32(1) == 1)
    else:
        up = (rest != 0) & (~negative if mode == 1 else negative if mode == 2 else False)
    finite = exponent != 255
    rounded = np.where(finite & up, kept + np.uint32(1), kept)
    inexact = finite & (rest != 0)
    overflow = finite & (rounded & np.uint32(0x7F80) == 0x7F80)
    m.vectors.fpsr |= (_IXC if inexact.any() else 0) | (_OFC | _IXC if overflow.any() else 0)
    m.vectors.fpsr |= _UFC if (inexact & (exponent == 0)).any() else 0
    return rounded.astype(UNSIGNED[1])


def bfcvt(m: Machine, Pg: int, Zn: int, Zd: int) -> None:
    active = m.active(Pg, 2)
    m.merge_z(Zd, 2, active, narrowed(m, quiet(2, active, m.u(Zn, 2))).astype(UNSIGNED[2]))


def bfcvtnt(m: Machine, Pg: int, Zn: int, Zd: int) -> None:
    active = m.active(Pg, 2)
    lanes = m.u(Zd, 1).copy()
    lanes[1::2] = np.where(active, narrowed(m, quiet(2, active, m.u(Zn, 2))), lanes[1::2])
    m.set_z(Zd, 1, lanes)


_F = "01100100"
ROWS = (
    Row("BFDOT", f"{_F} 011 Zm:5 100000 Zn:5 Zda:5", Check.SVE, bfdot, "bf16"),
    Row("BFDOT (indexed)", f"{_F} 011 index:2 Zm:3 010000 Zn:5 Zda:5", Check.SVE, bfdot_indexed, "bf16"),
    Row("BFMMLA", f"{_F} 011 Zm:5 111001 Zn:5 Zda:5", Check.NON_STREAMING, bfmmla, "bf16"),
    *(
        row
        for subtract, name, needs in ((0, "fmla", "bf16"), (1, "fmls", "sve2p1_or_sme2"))
        for top in (0, 1)
        for row in (
            Row(
                f"BFML{'AS'[subtract]}L{'BT'[top]}",
                f"{_F} 111 Zm:5 10 {subtract} 00 {top} Zn:5 Zda:5",
                Check.SVE,
                long_fused(name, top),
                needs,
            ),
            Row(
                f"BFML{'AS'[subtract]}L{'BT'[top]} (indexed)",
                f"{_F} 111 ih:2 Zm:3 01 {subtract} 0 il:1 {top} Zn:5 Zda:5",
                Check.SVE,
                long_fused_indexed(name, top),
                needs,
            ),
        )
    ),
    Row("BFCVT", "01100101 10001010 101 Pg:3 Zn:5 Zd:5", Check.SVE, bfcvt, "bf16"),
    Row("BFCVTNT", "01100100 10001010 101 Pg:3 Zn:5 Zd:5", Check.SVE, bfcvtnt, "bf16"),
)
