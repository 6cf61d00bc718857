"""Dot products and small matrix products of integers."""

# ruff: noqa: D103, N803 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Lanes, Machine


def groups(m: Machine, n: int, size: int, ways: int, signed_lanes: bool) -> Lanes:
    """Zn's lanes of `size` / `ways`, as 64-bit numbers, `ways` to a row."""
    narrow = size - ways.bit_length() + 1
    return (m.i if signed_lanes else m.u)(n, narrow).astype(np.int64).reshape(-1, ways)


def group_of_quadword(lanes: Lanes, size: int, index: int) -> Lanes:
    """Of each quadword the group `index`, once for each element of `size`."""
    per_quadword = 16 >> size
    chosen: Lanes = lanes.reshape(-1, per_quadword, lanes.shape[1])[:, index].repeat(per_quadword, axis=0)
    return chosen


def accumulate(m: Machine, size: int, Zda: int, products: Lanes) -> None:
    """Add to each element of Zda, modulo its width."""
    m.set_z(Zda, size, m.u(Zda, size) + products.view(np.uint64).astype(UNSIGNED[size]))


def dot(size: int, ways: int, n_signed: bool, m_signed: bool) -> Callable[..., None]:
    def execute(m: Machine, Zm: int, Zn: int, Zda: int) -> None:
        left, right = groups(m, Zn, size, ways, n_signed), groups(m, Zm, size, ways, m_signed)
        accumulate(m, size, Zda, (left * right).sum(axis=1))

    return execute


def dot_indexed(size: int, ways: int, n_signed: bool, m_signed: bool) -> Callable[..., None]:
    def execute(m: Machine, index: int, Zm: int, Zn: int, Zda: int) -> None:
        left, right = groups(m, Zn, size, ways, n_signed), groups(m, Zm, size, ways, m_signed)
        accumulate(m, size, Zda, (left * group_of_quadword(right, size, index)).sum(axis=1))

    return execute


def matrix(n_signed: bool, m_signed: bool) -> Callable[..., None]:
    """In each quadword, a 2x8 matrix of bytes times the transpose of another, added to one of words."""

    def execute(m: Machine, Zm: int, Zn: int, Zda: int) -> None:
        left = groups(m, Zn, 2, 4, n_signed).reshape(-1, 2, 8)
        right = groups(m, Zm, 2, 4, m_signed).reshape(-1, 2, 8)
        accumulate(m, 2, Zda, np.ascontiguousarray(left @ right.transpose(0, 2, 1)).reshape(-1))

    return execute


_M = "01000100"
_WORDS, _DOUBLEWORDS = "10 1 index:2 Zm:3", "11 1 index:1 Zm:4"
ROWS = (
    *(
        Row(
            f"{'SU'[unsigned]}DOT (4-way, .{'bhsd'[size]})",
            f"{_M} 1{size & 1} 0 Zm:5 00000 {unsigned} Zn:5 Zda:5",
            Check.SVE,
            dot(size, 4, not unsigned, not unsigned),
        )
        for size in (2, 3)
        for unsigned in (0, 1)
    ),
    *(
        Row(
            f"{'SU'[unsigned]}DOT (4-way, indexed, .{'bhsd'[size]})",
            f"{_M} {place} 00000 {unsigned} Zn:5 Zda:5",
            Check.SVE,
            dot_indexed(size, 4, not unsigned, not unsigned),
        )
        for size, place in ((2, _WORDS), (3, _DOUBLEWORDS))
        for unsigned in (0, 1)
    ),
    *(
        row
        for unsigned in (0, 1)
        for row in (
            Row(
                f"{'SU'[unsigned]}DOT (2-way)",
                f"{_M} 00 0 Zm:5 11001 {unsigned} Zn:5 Zda:5",
                Check.SVE,
                dot(2, 2, not unsigned, not unsigned),
                "sve2p1_or_sme2",
            ),
            Row(
                f"{'SU'[unsigned]}DOT (2-way, indexed)",
                f"{_M} 10 0 index:2 Zm:3 11001 {unsigned} Zn:5 Zda:5",
                Check.SVE,
                dot_indexed(2, 2, not unsigned, not unsigned),
                "sve2p1_or_sme2",
            ),
        )
    ),
    Row("USDOT", f"{_M} 10 0 Zm:5 011110 Zn:5 Zda:5", Check.SVE, dot(2, 4, False, True), "i8mm"),
    Row(
        "USDOT (indexed)",
        f"{_M} {_WORDS} 000110 Zn:5 Zda:5",
        Check.SVE,
        dot_indexed(2, 4, False, True),
        "i8mm",
    ),
    Row(
        "SUDOT (indexed)",
        f"{_M} {_WORDS} 000111 Zn:5 Zda:5",
        Check.SVE,
        dot_indexed(2, 4, True, False),
        "i8mm",
    ),
    *(
        Row(
            name,
            f"01000101 {bits} 0 Zm:5 100110 Zn:5 Zda:5",
            Check.NON_STREAMING,
            matrix(n_signed, m_signed),
            "i8mm",
        )
        for name, bits, n_signed, m_signed in (
            ("SMMLA", "00", True, True),
            ("USMMLA", "10", False, True),
            ("UMMLA", "11", False, False),
        )
    ),
)
