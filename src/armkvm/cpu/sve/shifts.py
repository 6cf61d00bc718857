"""Shifts of integer vectors: by vector, by doubleword, by immediate; rounding, saturating, inserting."""

# ruff: noqa: ANN401, D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import SIGNED, UNSIGNED, Lanes, Machine
from armkvm.cpu.sve.integer import predicated
from armkvm.cpu.sve.lanes import ASR, LSL, LSR, Binary, exact, saturate, shift_left, shift_right, wrap

# Bits 20:16 of the predicated shifts by vector -> name, signed lanes?, operation.
_BY_VECTOR: dict[str, tuple[str, bool, Binary]] = {
    "10000": ("ASR", True, ASR),
    "10001": ("LSR", False, LSR),
    "10011": ("LSL", False, LSL),
    "10100": ("ASRR", True, lambda a, b: ASR(b, a)),
    "10101": ("LSRR", False, lambda a, b: LSR(b, a)),
    "10111": ("LSLR", False, lambda a, b: LSL(b, a)),
}
_PLAIN = {"00": ("ASR", True, ASR), "01": ("LSR", False, LSR), "11": ("LSL", False, LSL)}


def by_doublewords(operation: Binary, signed_lanes: bool, merging: bool) -> Callable[..., None]:
    """Each lane by the doubleword of Zm that it lies in."""

    def lanes_of(m: Machine, size: int, Zm: int, n: int) -> Lanes:
        if size == 3:
            raise Undefined
        amounts = m.u(Zm, 3).repeat(8 >> size)
        return operation((m.i if signed_lanes else m.u)(n, size), amounts).astype(UNSIGNED[size])

    def merged(m: Machine, size: int, Pg: int, Zm: int, Zdn: int) -> None:
        m.merge_z(Zdn, size, m.active(Pg, size), lanes_of(m, size, Zm, Zdn))

    def whole(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
        m.set_z(Zd, size, lanes_of(m, size, Zm, Zn))

    return merged if merging else whole


def variable(signed_lanes: bool, rounding: bool, saturating: bool, reverse: bool) -> Callable[..., None]:
    """SRSHL and its relatives: left by a signed amount, right where that is negative."""

    def execute(m: Machine, size: int, Pg: int, Zm: int, Zdn: int) -> None:
        value, amount = (Zm, Zdn) if reverse else (Zdn, Zm)
        numbers = exact((m.i if signed_lanes else m.u)(value, size), 2)
        shifted = shift_left(numbers, m.i(amount, size), rounding)
        result = saturate(shifted, size, signed_lanes) if saturating else wrap(shifted, size)
        m.merge_z(Zdn, size, m.active(Pg, size), result)

    return execute


def element_and_amount(tsz: int, imm3: int) -> tuple[int, int]:
    """(element size, tsz:imm3): the highest set bit of tsz gives the element."""
    if not tsz:
        raise Undefined
    return tsz.bit_length() - 1, tsz << 3 | imm3


def right_amount(tsz: int, imm3: int) -> tuple[int, int]:
    """(element size, amount) of a shift right."""
    size, encoded = element_and_amount(tsz, imm3)
    return size, (16 << size) - encoded


def left_amount(tsz: int, imm3: int) -> tuple[int, int]:
    """(element size, amount) of a shift left."""
    size, encoded = element_and_amount(tsz, imm3)
    return size, encoded - (8 << size)


def _shift_lanes(m: Machine, kind: str, n: int, tsz: int, imm3: int) -> tuple[int, Lanes]:
    name, signed_lanes, operation = _PLAIN[kind]
    size, amount = (left_amount if name == "LSL" else right_amount)(tsz, imm3)
    lanes = (m.i if signed_lanes else m.u)(n, size)
    return size, operation(lanes, np.full(len(lanes), amount, lanes.dtype)).astype(UNSIGNED[size])


def shift_unpredicated(kind: str) -> Callable[..., None]:
    def execute(m: Machine, tszh: int, tszl: int, imm3: int, Zn: int, Zd: int) -> None:
        size, lanes = _shift_lanes(m, kind, Zn, tszh << 2 | tszl, imm3)
        m.set_z(Zd, size, lanes)

    return execute


def shift_predicated(kind: str) -> Callable[..., None]:
    def execute(m: Machine, tszh: int, Pg: int, tszl: int, imm3: int, Zdn: int) -> None:
        size, lanes = _shift_lanes(m, kind, Zdn, tszh << 2 | tszl, imm3)
        m.merge_z(Zdn, size, m.active(Pg, size), lanes)

    return execute


def right_merging(signed_lanes: bool, operation: Callable[[Any, int], Any]) -> Callable[..., None]:
    """ASRD, SRSHR, URSHR: `operation` on numbers and an amount of 1 to the width."""

    def execute(m: Machine, tszh: int, Pg: int, tszl: int, imm3: int, Zdn: int) -> None:
        size, amount = right_amount(tszh << 2 | tszl, imm3)
        numbers = exact((m.i if signed_lanes else m.u)(Zdn, size))
        m.merge_z(Zdn, size, m.active(Pg, size), wrap(operation(numbers, amount), size))

    return execute


def left_saturating(signed_lanes: bool, signed_result: bool) -> Callable[..., None]:
    """SQSHL, UQSHL, SQSHLU by immediate."""

    def execute(m: Machine, tszh: int, Pg: int, tszl: int, imm3: int, Zdn: int) -> None:
        size, amount = left_amount(tszh << 2 | tszl, imm3)
        numbers = exact((m.i if signed_lanes else m.u)(Zdn, size), 2).astype(object)
        m.merge_z(Zdn, size, m.active(Pg, size), saturate(numbers << amount, size, signed_result))

    return execute


def accumulate(signed_lanes: bool, rounding: bool) -> Callable[..., None]:
    """SSRA, USRA, SRSRA, URSRA: shift right and add."""

    def execute(m: Machine, tszh: int, tszl: int, imm3: int, Zn: int, Zda: int) -> None:
        size, amount = right_amount(tszh << 2 | tszl, imm3)
        shifted = shift_right(exact((m.i if signed_lanes else m.u)(Zn, size)), amount, rounding)
        m.set_z(Zda, size, m.u(Zda, size) + wrap(shifted, size))

    return execute


def sri(m: Machine, tszh: int, tszl: int, imm3: int, Zn: int, Zd: int) -> None:
    size, amount = right_amount(tszh << 2 | tszl, imm3)
    ones = (1 << (8 << size)) - 1
    _insert(m, size, Zd, wrap(exact(m.u(Zn, size)) >> amount, size), ones >> amount)


def sli(m: Machine, tszh: int, tszl: int, imm3: int, Zn: int, Zd: int) -> None:
    size, amount = left_amount(tszh << 2 | tszl, imm3)
    ones = (1 << (8 << size)) - 1
    _insert(m, size, Zd, m.u(Zn, size) << UNSIGNED[size].type(amount), ones << amount & ones)


def _insert(m: Machine, size: int, Zd: int, lanes: Lanes, mask: int) -> None:
    """Replace the bits of `mask` in each lane."""
    bits = UNSIGNED[size].type(mask)
    m.set_z(Zd, size, m.u(Zd, size) & ~bits | lanes & bits)


def xar(m: Machine, tszh: int, tszl: int, imm3: int, Zm: int, Zdn: int) -> None:
    """Exclusive OR, rotated right."""
    size, amount = right_amount(tszh << 2 | tszl, imm3)
    lanes, bits = m.u(Zdn, size) ^ m.u(Zm, size), 8 << size
    if amount < bits:
        lanes = lanes >> UNSIGNED[size].type(amount) | lanes << UNSIGNED[size].type(bits - amount)
    m.set_z(Zdn, size, lanes)


def _divide_by_power(numbers: Any, amount: int) -> Any:
    """Shift right, towards zero."""
    return numbers + (numbers < 0).astype(object) * ((1 << amount) - 1) >> amount


def long_left(signed_lanes: bool, top: int) -> Callable[..., None]:
    """SSHLL and USHLL: widen every other lane, and shift it left."""

    def execute(m: Machine, tszh: int, tszl: int, imm3: int, Zn: int, Zd: int) -> None:
        size, amount = left_amount(tszh << 2 | tszl, imm3)
        if size == 3:
            raise Undefined
        lanes = (m.i if signed_lanes else m.u)(Zn, size)[top::2]
        wide = lanes.astype((SIGNED if signed_lanes else UNSIGNED)[size + 1]).view(UNSIGNED[size + 1])
        m.set_z(Zd, size + 1, wide << UNSIGNED[size + 1].type(amount))

    return execute


_I = "00000100"
_SVE2 = "01000101"
_PREDICATED = "100 Pg:3 tszl:2 imm3:3 Zdn:5"
_SHIFT = "tszh:2 0 tszl:2 imm3:3"
ROWS = (
    *(
        Row(f"{name} (vectors)", f"{_I} size:2 0 {bits} 100 Pg:3 Zm:5 Zdn:5", Check.SVE, predicated(op, sign))
        for bits, (name, sign, op) in _BY_VECTOR.items()
    ),
    *(
        Row(
            f"{name} (wide elements, predicated)",
            f"{_I} size:2 0110 {kind} 100 Pg:3 Zm:5 Zdn:5",
            Check.SVE,
            by_doublewords(op, sign, True),
        )
        for kind, (name, sign, op) in _PLAIN.items()
    ),
    *(
        Row(
            f"{name} (wide elements, unpredicated)",
            f"{_I} size:2 1 Zm:5 1000 {kind} Zn:5 Zd:5",
            Check.SVE,
            by_doublewords(op, sign, False),
        )
        for kind, (name, sign, op) in _PLAIN.items()
    ),
    *(
        Row(
            f"{_PLAIN[kind][0]} (immediate, unpredicated)",
            f"{_I} tszh:2 1 tszl:2 imm3:3 1001 {kind} Zn:5 Zd:5",
            Check.SVE,
            shift_unpredicated(kind),
        )
        for kind in _PLAIN
    ),
    *(
        Row(
            f"{_PLAIN[kind][0]} (immediate, predicated)",
            f"{_I} tszh:2 0000 {kind} {_PREDICATED}",
            Check.SVE,
            shift_predicated(kind),
        )
        for kind in _PLAIN
    ),
    Row("ASRD", f"{_I} tszh:2 000100 {_PREDICATED}", Check.SVE, right_merging(True, _divide_by_power)),
    *(
        Row(name, f"{_I} tszh:2 {bits} {_PREDICATED}", Check.SVE, execute, "sve2")
        for name, bits, execute in (
            ("SQSHL (immediate)", "000110", left_saturating(True, True)),
            ("UQSHL (immediate)", "000111", left_saturating(False, False)),
            ("SRSHR", "001100", right_merging(True, lambda a, n: shift_right(a, n, True))),
            ("URSHR", "001101", right_merging(False, lambda a, n: shift_right(a, n, True))),
            ("SQSHLU", "001111", left_saturating(True, False)),
        )
    ),
    *(
        Row(
            f"{'SU'[unsigned]}{'Q' if sat else ''}{'R' if rnd else ''}SHL{'R' if rev else ''} (vectors)",
            f"01000100 size:2 00 {sat}{rev}{rnd}{unsigned} 100 Pg:3 Zm:5 Zdn:5",
            Check.SVE,
            variable(not unsigned, bool(rnd), bool(sat), bool(rev)),
            "sve2",
        )
        for rev in (0, 1)
        for sat in (0, 1)
        for rnd in (0, 1)
        for unsigned in (0, 1)
        if sat or rnd
    ),
    *(
        Row(
            f"{'SU'[unsigned]}{'R' if rnd else ''}SRA",
            f"{_SVE2} {_SHIFT} 1110 {rnd}{unsigned} Zn:5 Zda:5",
            Check.SVE,
            accumulate(not unsigned, bool(rnd)),
            "sve2",
        )
        for rnd in (0, 1)
        for unsigned in (0, 1)
    ),
    Row("SRI", f"{_SVE2} {_SHIFT} 111100 Zn:5 Zd:5", Check.SVE, sri, "sve2"),
    Row("SLI", f"{_SVE2} {_SHIFT} 111101 Zn:5 Zd:5", Check.SVE, sli, "sve2"),
    Row("XAR", f"{_I} tszh:2 1 tszl:2 imm3:3 001101 Zm:5 Zdn:5", Check.SVE, xar, "sve2"),
    *(
        Row(
            f"{'SU'[unsigned]}SHLL{'BT'[top]}",
            f"{_SVE2} 0 tszh:1 0 tszl:2 imm3:3 1010 {unsigned}{top} Zn:5 Zd:5",
            Check.SVE,
            long_left(not unsigned, top),
            "sve2",
        )
        for unsigned in (0, 1)
        for top in (0, 1)
    ),
)
