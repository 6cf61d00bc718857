"""Arithmetic on arrays of lanes, with the architecture's rounding and saturation; no registers here.

`exact` makes lanes of numbers that do not overflow: 64-bit integers while they suffice, Python's own
beyond, so that an operation is written once, as on the numbers of the Arm ARM's pseudocode.
"""

# ruff: noqa: ANN401, D103 - lanes are whatever NumPy can broadcast

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from armkvm.cpu.machine import MASK64, SIGNED, UNSIGNED, Lanes

Binary = Callable[[Lanes, Lanes], Lanes]


def size_of(lanes: Lanes) -> int:
    return lanes.itemsize.bit_length() - 1


def exact(lanes: Lanes, growth: int = 1) -> Any:
    """The lanes as numbers with room for `growth` times their width and one bit more."""
    if lanes.itemsize * growth < 8:
        return lanes.astype(np.int64)
    return lanes.astype(object)


def wrap(numbers: Any, size: int) -> Lanes:
    """Numbers modulo the width of an element."""
    if numbers.dtype == object:
        numbers = numbers & MASK64 >> 64 - (8 << size)
    lanes: Lanes = numbers.astype(UNSIGNED[size])
    return lanes


def saturate(numbers: Any, size: int, signed_lanes: bool) -> Lanes:
    """Numbers clamped to what an element can hold."""
    bits = 8 << size
    low, high = (-1 << bits - 1, (1 << bits - 1) - 1) if signed_lanes else (0, (1 << bits) - 1)
    if numbers.dtype != object and bits == 64:
        numbers = numbers.astype(object)
    return wrap(np.minimum(np.maximum(numbers, low), high), size)


def shift_left(numbers: Any, amounts: Any, rounding: bool) -> Any:
    """Numbers << amounts, which may be negative; then the last bit shifted out may round up.

    For `exact` numbers of twice their width: amounts beyond it are as good as the width.
    """
    numbers, amounts = numbers.astype(object), amounts.astype(object)
    left = numbers << np.minimum(np.maximum(amounts, 0), 64)
    right = np.minimum(np.maximum(-amounts, 0), 66)
    half = (1 << right) >> 1 if rounding else 0
    return np.where(amounts < 0, numbers + half >> right, left)


def shift_right(numbers: Any, amount: int, rounding: bool) -> Any:
    """Numbers >> amount, by 1 at least."""
    if numbers.dtype != object and amount >= 62:
        numbers = numbers.astype(object)
    return numbers + (1 << amount - 1 if rounding else 0) >> amount


def mulh_unsigned(a: Lanes, b: Lanes) -> Lanes:
    bits = a.itemsize * 8
    if bits < 64:
        wide = UNSIGNED[bits.bit_length() - 3]
        product: Lanes = (a.astype(wide) * b.astype(wide)) >> wide.type(bits)
        return product
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    a0, a1, b0, b1 = a & low, a >> half, b & low, b >> half
    middle = a1 * b0 + (a0 * b0 >> half)
    cross = a0 * b1 + (middle & low)
    result: Lanes = a1 * b1 + (middle >> half) + (cross >> half)
    return result


def mulh_signed(a: Lanes, b: Lanes) -> Lanes:
    bits = a.itemsize * 8
    if bits < 64:
        wide = SIGNED[bits.bit_length() - 3]
        product: Lanes = (a.astype(wide) * b.astype(wide)) >> wide.type(bits)
        return product
    ua, ub = a.view(np.uint64), b.view(np.uint64)
    zero = np.uint64(0)
    return mulh_unsigned(ua, ub) - np.where(a < 0, ub, zero) - np.where(b < 0, ua, zero)


def divide(a: Lanes, b: Lanes) -> Lanes:
    """Towards zero; by zero gives zero; the most negative by -1 gives itself."""
    out = np.zeros_like(a)
    if a.dtype.kind == "u":
        np.floor_divide(a, b, out=out, where=b != 0)
        return out
    ones = b == -1
    usual = (b != 0) & ~ones
    np.floor_divide(a, b, out=out, where=usual)
    inexact = usual & ((a < 0) != (b < 0)) & (out * b != a)
    out[inexact] += 1
    np.negative(a, out=out, where=ones)
    return out


def shift_by(shift: Callable[[Lanes, Lanes], Lanes], arithmetic: bool) -> Binary:
    """A shift whose amounts are read unsigned; beyond the lane's width it saturates."""

    def apply(a: Lanes, b: Lanes) -> Lanes:
        bits = a.itemsize * 8
        amounts = b.view(UNSIGNED[size_of(b)])
        limit = bits - 1 if arithmetic else bits
        amounts = np.minimum(amounts, amounts.dtype.type(limit)).astype(UNSIGNED[size_of(a)])
        if arithmetic:
            return shift(a, amounts.astype(a.dtype))
        inside = amounts < bits
        return np.where(inside, shift(a, np.where(inside, amounts, amounts.dtype.type(0))), a.dtype.type(0))

    return apply


ASR = shift_by(np.right_shift, True)
LSR = shift_by(np.right_shift, False)
LSL = shift_by(np.left_shift, False)


def absolute_difference(a: Lanes, b: Lanes) -> Lanes:
    return np.where(a > b, a - b, b - a)


def saturating(sign: int, unsigned: bool) -> Binary:
    """A + b or a - b of unsigned lanes, clamped to the lane's range, which may be taken as signed."""

    def apply(a: Lanes, b: Lanes) -> Lanes:
        if not unsigned:
            a, b = (x.view(SIGNED[size_of(x)]) for x in (a, b))
        info = np.iinfo(a.dtype)
        result = a + b if sign > 0 else a - b
        if unsigned:
            over = result < a if sign > 0 else a < b
            return np.where(over, a.dtype.type(info.max if sign > 0 else 0), result)
        over = ((a ^ result) & ((b if sign > 0 else ~b) ^ result)) < 0
        clamped = np.where(over, np.where(a < 0, a.dtype.type(info.min), a.dtype.type(info.max)), result)
        return clamped.view(UNSIGNED[size_of(a)])

    return apply


def by_element(lanes: Lanes, index: int) -> Lanes:
    """Within each quadword, the element at `index`, repeated."""
    per_quadword = 16 // lanes.itemsize
    return lanes.reshape(-1, per_quadword)[:, index].repeat(per_quadword)
