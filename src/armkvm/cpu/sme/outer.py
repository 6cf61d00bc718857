"""Outer products and horizontal or vertical additions into ZA tiles."""

# ruff: noqa: N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.fp import FPCR_DN
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Bools, Lanes, Machine
from armkvm.cpu.sve.bfloat import bf_add, bf_dot, half_dot, pairs

_ALL_FLAGS = 0x9F


def _both(rows: Bools, columns: Bools) -> Bools:
    return rows[:, None] & columns[None, :]


def fmopa(size: int) -> Callable[..., None]:
    """FMOPA, FMOPS of one precision: each element a fused multiply-add with default NaNs.

    The outer products neither read nor set FPSR; it is passed full so that the engine need not
    compute flags.
    """

    def execute(m: Machine, Zm: int, Pm: int, Pn: int, Zn: int, subtract: int, ZAda: int) -> None:
        count = m.counts[size]
        rows, columns = m.active(Pn, size), m.active(Pm, size)
        tile = m.tile(size, ZAda)
        left = m.u(Zn, size).repeat(count)
        right = np.tile(m.u(Zm, size), count)
        name = "fmls" if subtract else "fmla"
        fpcr = m.vectors.fpcr | FPCR_DN
        result, _ = m.fp.run(name, size, (tile.reshape(-1), left, right), fpcr, _ALL_FLAGS)
        np.copyto(tile, result.reshape(count, count), where=_both(rows, columns))

    return execute


def _groups(m: Machine, n: int, p: int, size: int, ways: int, signed_lanes: bool) -> Lanes:
    """Zn's narrow lanes as 64-bit numbers, zero where inactive, so many to a row."""
    from_size = size - ways.bit_length() + 1
    lanes = (m.i if signed_lanes else m.u)(n, from_size)
    chosen = np.where(m.active(p, from_size), lanes, lanes.dtype.type(0))
    return chosen.astype(np.int64).reshape(-1, ways)


def integer_mopa(size: int, ways: int, left_signed: bool, right_signed: bool) -> Callable[..., None]:
    """Sum of two or four products of narrower lanes, added to or subtracted from each element."""

    def execute(m: Machine, Zm: int, Pm: int, Pn: int, Zn: int, subtract: int, ZAda: int) -> None:
        left = _groups(m, Zn, Pn, size, ways, left_signed)
        right = _groups(m, Zm, Pm, size, ways, right_signed)
        products = (left @ right.T).view(np.uint64).astype(UNSIGNED[size])
        tile = m.tile(size, ZAda)
        tile[:] = tile - products if subtract else tile + products

    return execute


def dot_mopa(bfloat: bool) -> Callable[..., None]:
    """FMOPA and BFMOPA of halves into singles: sums of two products."""

    def execute(m: Machine, Zm: int, Pm: int, Pn: int, Zn: int, subtract: int, ZAda: int) -> None:
        zero = np.uint16(0)
        left_active, right_active = m.active(Pn, 1).reshape(-1, 2), m.active(Pm, 1).reshape(-1, 2)
        left = np.where(left_active, pairs(m, Zn), zero)
        right = np.where(right_active, pairs(m, Zm), zero)
        if subtract:
            left = np.where(left_active, left ^ np.uint16(0x8000), zero)
        count = m.counts[2]
        rows, columns = left.repeat(count, axis=0), np.tile(right, (count, 1))
        tile = m.tile(2, ZAda)
        if bfloat:
            result = bf_add(tile.reshape(-1), bf_dot(rows, columns))
        else:
            fpcr = m.vectors.fpcr | FPCR_DN
            products = half_dot(m, rows, columns, fpcr)
            result, _ = m.fp.run("fadd", 2, (tile.reshape(-1), products), fpcr, _ALL_FLAGS)
        some = (left_active[:, None] & right_active[None, :]).any(axis=2)
        np.copyto(tile, result.reshape(count, count), where=some)

    return execute


def bit_mopa(m: Machine, Zm: int, Pm: int, Pn: int, Zn: int, subtract: int, ZAda: int) -> None:
    """BMOPA: how many bits of two words agree."""
    agreeing = np.bitwise_count(~(m.u(Zn, 2)[:, None] ^ m.u(Zm, 2)[None, :])).astype(np.uint32)
    tile = m.tile(2, ZAda)
    total = tile - agreeing if subtract else tile + agreeing
    np.copyto(tile, total, where=_both(m.active(Pn, 2), m.active(Pm, 2)))


def add_across(size: int) -> Callable[..., None]:
    """ADDHA, ADDVA: add Zn to every active row, or down every active column."""

    def execute(m: Machine, vertical: int, Pm: int, Pn: int, Zn: int, ZAda: int) -> None:
        tile, lanes = m.tile(size, ZAda), m.u(Zn, size)
        added = tile + (lanes[:, None] if vertical else lanes[None, :])
        np.copyto(tile, added, where=_both(m.active(Pn, size), m.active(Pm, size)))

    return execute


_OPERANDS = "Zm:5 Pm:3 Pn:3 Zn:5 subtract:1"
_WORD, _DOUBLEWORD = f"{_OPERANDS} 00 ZAda:2", f"{_OPERANDS} 0 ZAda:3"
_KINDS = (
    ("SMOPA, SMOPS", 0, 0, True, True),
    ("SUMOPA, SUMOPS", 0, 1, True, False),
    ("USMOPA, USMOPS", 1, 0, False, True),
    ("UMOPA, UMOPS", 1, 1, False, False),
)
ROWS = (
    Row("FMOPA, FMOPS (single)", f"10000000 100 {_WORD}", Check.STREAMING_ZA, fmopa(2)),
    Row("FMOPA, FMOPS (double)", f"10000000 110 {_DOUBLEWORD}", Check.STREAMING_ZA, fmopa(3), "f64f64"),
    *(
        Row(
            f"{name} (4-way, 8 bits)",
            f"1010000 {u0} 10 {u1} {_WORD}",
            Check.STREAMING_ZA,
            integer_mopa(2, 4, left, right),
        )
        for name, u0, u1, left, right in _KINDS
    ),
    *(
        Row(
            f"{name} (4-way, 16 bits)",
            f"1010000 {u0} 11 {u1} {_DOUBLEWORD}",
            Check.STREAMING_ZA,
            integer_mopa(3, 4, left, right),
            "i16i64",
        )
        for name, u0, u1, left, right in _KINDS
    ),
    *(
        Row(
            f"{name} (2-way)",
            f"1010000 {u} 100 {_OPERANDS} 10 ZAda:2",
            Check.STREAMING_ZA,
            integer_mopa(2, 2, not u, not u),
            "sme2",
        )
        for u, name in enumerate(("SMOPA, SMOPS", "UMOPA, UMOPS"))
    ),
    Row("FMOPA, FMOPS (2-way)", f"10000001 101 {_WORD}", Check.STREAMING_ZA, dot_mopa(False)),
    Row("BFMOPA, BFMOPS (2-way)", f"10000001 100 {_WORD}", Check.STREAMING_ZA, dot_mopa(True)),
    Row("BMOPA, BMOPS", f"10000000 100 {_OPERANDS} 10 ZAda:2", Check.STREAMING_ZA, bit_mopa, "sme2"),
    Row(
        "ADDHA, ADDVA (words)",
        "11000000 10 01000 vertical:1 Pm:3 Pn:3 Zn:5 000 ZAda:2",
        Check.STREAMING_ZA,
        add_across(2),
    ),
    Row(
        "ADDHA, ADDVA (doublewords)",
        "11000000 11 01000 vertical:1 Pm:3 Pn:3 Zn:5 00 ZAda:3",
        Check.STREAMING_ZA,
        add_across(3),
        "i16i64",
    ),
)
