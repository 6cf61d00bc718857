"""SVE2: narrow results of wide lanes; bottom writes the even lanes and zeroes the odd, top the odd alone."""

# ruff: noqa: ANN401, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Lanes, Machine
from armkvm.cpu.sve.lanes import exact, saturate, shift_right, wrap
from armkvm.cpu.sve.shifts import right_amount


def set_half(m: Machine, n: int, size: int, top: int, narrow: Lanes) -> None:
    """Zn's odd (top) or even lanes of `size` := narrow; the even ones also clear their neighbours."""
    lanes = m.u(n, size).copy() if top else np.zeros(m.counts[size], UNSIGNED[size])
    lanes[top::2] = narrow
    m.set_z(n, size, lanes)


def high(sign: int, rounding: bool, top: int) -> Callable[..., None]:
    """ADDHN, SUBHN: the upper half of a sum or difference."""

    def execute(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
        if not size:
            raise Undefined
        a, b = m.u(Zn, size), m.u(Zm, size)
        total = a + b if sign > 0 else a - b
        half = 4 << size
        if rounding:
            total = total + UNSIGNED[size].type(1 << half - 1)
        set_half(m, Zd, size - 1, top, (total >> UNSIGNED[size].type(half)).astype(UNSIGNED[size - 1]))

    return execute


def extract(signed_lanes: bool, signed_result: bool, top: int) -> Callable[..., None]:
    """SQXTN, UQXTN, SQXTUN: saturate to half the width."""

    def execute(m: Machine, tszh: int, tszl: int, Zn: int, Zd: int) -> None:
        tsz = tszh << 2 | tszl
        if tsz not in (1, 2, 4):
            raise Undefined
        size = tsz.bit_length() - 1
        numbers = exact((m.i if signed_lanes else m.u)(Zn, size + 1))
        set_half(m, Zd, size, top, saturate(numbers, size, signed_result))

    return execute


def shift(
    signed_lanes: bool, rounding: bool, finish: Callable[[Any, int], Lanes], top: int
) -> Callable[..., None]:
    """SHRN and its relatives: shift right by 1 to the narrow width."""

    def execute(m: Machine, tszh: int, tszl: int, imm3: int, Zn: int, Zd: int) -> None:
        size, amount = right_amount(tszh << 2 | tszl, imm3)
        if size == 3:
            raise Undefined
        numbers = exact((m.i if signed_lanes else m.u)(Zn, size + 1))
        set_half(m, Zd, size, top, finish(shift_right(numbers, amount, rounding), size))

    return execute


def _to_signed(numbers: Any, size: int) -> Lanes:
    return saturate(numbers, size, True)


def _to_unsigned(numbers: Any, size: int) -> Lanes:
    return saturate(numbers, size, False)


def shift_pair(
    signed_lanes: bool, finish: Callable[[Any, int], Lanes], shifting: bool
) -> Callable[..., None]:
    """SQRSHRN, SQCVTN and their relatives: two vectors of words into the alternate halfwords of one."""

    def narrow(m: Machine, amount: int, Zn: int, Zd: int) -> None:
        lanes = np.empty(m.counts[1], UNSIGNED[1])
        for i in range(2):
            numbers = exact((m.i if signed_lanes else m.u)(2 * Zn + i, 2))
            lanes[i::2] = finish(shift_right(numbers, amount, True) if amount else numbers, 1)
        m.set_z(Zd, 1, lanes)

    def shifted(m: Machine, imm4: int, Zn: int, Zd: int) -> None:
        narrow(m, 16 - imm4, Zn, Zd)

    def converted(m: Machine, Zn: int, Zd: int) -> None:
        narrow(m, 0, Zn, Zd)

    return shifted if shifting else converted


_SHIFTS: tuple[tuple[str, str, bool, bool, Callable[[Any, int], Lanes]], ...] = (
    ("SQSHRUN", "0000", True, False, _to_unsigned),
    ("SQRSHRUN", "0001", True, True, _to_unsigned),
    ("SHRN", "0010", False, False, wrap),
    ("RSHRN", "0011", False, True, wrap),
    ("SQSHRN", "0100", True, False, _to_signed),
    ("SQRSHRN", "0101", True, True, _to_signed),
    ("UQSHRN", "0110", False, False, _to_unsigned),
    ("UQRSHRN", "0111", False, True, _to_unsigned),
)
_PAIRS: tuple[tuple[str, str, bool, Callable[[Any, int], Lanes]], ...] = (
    ("SQ", "00", True, _to_signed),
    ("UQ", "01", False, _to_unsigned),
    ("SQU", "10", True, _to_unsigned),
)
ROWS = (
    *(
        Row(
            f"{'R' if rounding else ''}{name}HN{'BT'[top]}",
            f"01000101 size:2 1 Zm:5 011 {subtract}{rounding}{top} Zn:5 Zd:5",
            Check.SVE,
            high(-1 if subtract else 1, bool(rounding), top),
            "sve2",
        )
        for subtract, name in ((0, "ADD"), (1, "SUB"))
        for rounding in (0, 1)
        for top in (0, 1)
    ),
    *(
        Row(
            f"{name}{'BT'[top]}",
            f"01000101 0 tszh:1 1 tszl:2 000 010 {bits}{top} Zn:5 Zd:5",
            Check.SVE,
            extract(sign, result, top),
            "sve2",
        )
        for name, bits, sign, result in (
            ("SQXTN", "00", True, True),
            ("UQXTN", "01", False, False),
            ("SQXTUN", "10", True, False),
        )
        for top in (0, 1)
    ),
    *(
        Row(
            f"{name}{'BT'[top]}",
            f"01000101 0 tszh:1 1 tszl:2 imm3:3 0 {bits} {top} Zn:5 Zd:5",
            Check.SVE,
            shift(sign, rounding, finish, top),
            "sve2",
        )
        for name, bits, sign, rounding, finish in _SHIFTS
        for top in (0, 1)
    ),
    *(
        Row(
            f"{name[:2]}RSHR{name[2:]}N (two vectors)",
            f"01000101 10 1 1 imm4:4 {bits} Zn:4 0 Zd:5",
            Check.SVE,
            shift_pair(sign, finish, True),
            "sve2p1_or_sme2",
        )
        for (name, _, sign, finish), bits in zip(_PAIRS, ("001010", "001110", "000010"), strict=True)
    ),
    *(
        Row(
            f"{name[:2]}CVT{name[2:]}N (two vectors)",
            f"01000101 00 1 10001 010 {bits} 0 Zn:4 0 Zd:5",
            Check.SVE,
            shift_pair(sign, finish, False),
            "sve2p1_or_sme2",
        )
        for name, bits, sign, finish in _PAIRS
    ),
)
