"""Floating-point lanes: numbers as their encodings, and operations on them with the PE's modes and flags.

Inactive lanes must not raise flags, so they are replaced by harmless numbers before an operation.
"""

# ruff: noqa: ANN401 - a bit of an element is a NumPy scalar of its size

from __future__ import annotations

from typing import Any

import numpy as np

from armkvm.cpu.machine import UNSIGNED, Bools, Lanes, Machine

ONE_POINT_ZERO = (0, 0x3C00, 0x3F80_0000, 0x3FF0_0000_0000_0000)
INFINITY = (0, 0x7C00, 0x7F80_0000, 0x7FF0_0000_0000_0000)
DEFAULT_NAN = (0, 0x7E00, 0x7FC0_0000, 0x7FF8_0000_0000_0000)
"""By size of the element; there are none of bytes."""


def sign_bit(size: int) -> Any:
    """The most significant bit of an element."""
    return UNSIGNED[size].type(1 << (8 << size) - 1)


def operate(m: Machine, name: str, size: int, *operands: Lanes) -> Lanes:
    """Run a lane operation with the PE's FPCR, accumulating its flags in FPSR."""
    result, m.vectors.fpsr = m.fp.run(name, size, operands, m.vectors.fpcr, m.vectors.fpsr)
    return result


def operate_singly(m: Machine, name: str, *operands: Lanes) -> Lanes:
    """Like `operate`, one of `fp.SEQUENCES` on numbers of up to 64 bits, which are what it returns."""
    result, m.vectors.fpsr = m.fp.each(name, operands, m.vectors.fpcr, m.vectors.fpsr)
    return result


def quiet(size: int, active: Bools, lanes: Lanes) -> Lanes:
    """The lanes, 1.0 standing in for those not active."""
    return np.where(active, lanes, UNSIGNED[size].type(ONE_POINT_ZERO[size]))
