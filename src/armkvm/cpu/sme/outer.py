"""Outer products and horizontal or vertical additions into ZA tiles."""

# ruff: noqa: N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.fp import FPCR_DN
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Bools, Lanes, Machine

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


def _groups(m: Machine, n: int, p: int, from_size: int, signed_lanes: bool) -> Lanes:
    """Zn's narrow lanes as 64-bit numbers, zero where inactive, four to a row."""
    lanes = (m.i if signed_lanes else m.u)(n, from_size)
    chosen = np.where(m.active(p, from_size), lanes, lanes.dtype.type(0))
    return chosen.astype(np.int64).reshape(-1, 4)


def integer_mopa(size: int, left_signed: bool, right_signed: bool) -> Callable[..., None]:
    """Sum of four products of quarter-width lanes, added to or subtracted from each element."""

    def execute(m: Machine, Zm: int, Pm: int, Pn: int, Zn: int, subtract: int, ZAda: int) -> None:
        left = _groups(m, Zn, Pn, size - 2, left_signed)
        right = _groups(m, Zm, Pm, size - 2, right_signed)
        products = (left @ right.T).view(np.uint64).astype(UNSIGNED[size])
        tile = m.tile(size, ZAda)
        tile[:] = tile - products if subtract else tile + products

    return execute


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
            integer_mopa(2, left, right),
        )
        for name, u0, u1, left, right in _KINDS
    ),
    *(
        Row(
            f"{name} (4-way, 16 bits)",
            f"1010000 {u0} 11 {u1} {_DOUBLEWORD}",
            Check.STREAMING_ZA,
            integer_mopa(3, left, right),
            "i16i64",
        )
        for name, u0, u1, left, right in _KINDS
    ),
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
