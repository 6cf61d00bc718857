"""Conversions between floating-point sizes, and between floating point and integers."""

# ruff: noqa: N803 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.fp import FPCR_AHP, FPCR_FZ, FPCR_FZ16
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import SIGNED, UNSIGNED, Bools, Lanes, Machine
from armkvm.cpu.sve.fp_lanes import ONE_POINT_ZERO, operate, quiet, sign_bit

FPSR_IOC, FPSR_IDC = 1 << 0, 1 << 7


def same_size(name: str, size: int) -> Callable[..., None]:
    """Between an integer and a floating-point number of one size."""

    def execute(m: Machine, Pg: int, Zn: int, Zd: int) -> None:
        active = m.active(Pg, size)
        harmless = quiet(size, active, m.u(Zn, size))
        m.merge_z(Zd, size, active, operate(m, name, size, harmless))

    return execute


def _converted(m: Machine, name: str, from_size: int, lanes: Lanes, active: Bools) -> Lanes:
    """Each of the (narrow) lanes converted, as numbers; harmless ones stand in for those not active."""
    one = 1 if "cvtf" in name else ONE_POINT_ZERO[from_size]
    numbers = np.where(active, lanes.astype(np.uint64), np.uint64(one))
    result, m.vectors.fpsr = m.fp.each(name, (numbers,), m.vectors.fpcr & ~FPCR_AHP, m.vectors.fpsr)
    return result


def between(name: str, from_size: int, to_size: int) -> Callable[..., None]:
    """In lanes of the larger size; a smaller result is extended, an integer by its sign."""
    lane = max(from_size, to_size)
    sequence = f"{name} {from_size} {to_size}"

    def execute(m: Machine, Pg: int, Zn: int, Zd: int) -> None:
        active = m.active(Pg, lane)
        narrow = m.u(Zn, lane).astype(UNSIGNED[from_size])
        result = _converted(m, sequence, from_size, narrow, active).astype(UNSIGNED[to_size])
        if name == "fcvtzs":
            result = result.view(SIGNED[to_size]).astype(SIGNED[lane]).view(UNSIGNED[lane])
        m.merge_z(Zd, lane, active, result.astype(UNSIGNED[lane]))

    return execute


def fcvtx(m: Machine, Pg: int, Zn: int, Zd: int) -> None:
    """Doubles to singles, rounded to odd."""
    active = m.active(Pg, 3)
    m.merge_z(Zd, 3, active, _converted(m, "fcvtxn", 3, m.u(Zn, 3), active))


def to_odd_lanes(sequence: str, from_size: int) -> Callable[..., None]:
    """FCVTNT, FCVTXNT: the narrow result in the upper half of the lane."""

    def execute(m: Machine, Pg: int, Zn: int, Zd: int) -> None:
        active = m.active(Pg, from_size)
        narrow = _converted(m, sequence, from_size, m.u(Zn, from_size), active)
        lanes = m.u(Zd, from_size - 1).copy()
        lanes[1::2] = np.where(active, narrow.astype(lanes.dtype), lanes[1::2])
        m.set_z(Zd, from_size - 1, lanes)

    return execute


def from_odd_lanes(sequence: str, from_size: int) -> Callable[..., None]:
    """FCVTLT: the upper half of each lane, widened."""

    def execute(m: Machine, Pg: int, Zn: int, Zd: int) -> None:
        size = from_size + 1
        active = m.active(Pg, size)
        m.merge_z(Zd, size, active, _converted(m, sequence, from_size, m.u(Zn, from_size)[1::2], active))

    return execute


def flogb(m: Machine, size: int, Pg: int, Zn: int, Zd: int) -> None:
    """The exponent as an integer; the least one for zero and NaN, the greatest for infinity."""
    exponent_bits, fraction_bits = ((5, 10), (8, 23), (11, 52))[size - 1]
    bias, bits = (1 << exponent_bits - 1) - 1, 8 << size
    active, lanes = m.active(Pg, size), m.u(Zn, size)
    results, flags = [], 0
    flush = m.vectors.fpcr & (FPCR_FZ16 if size == 1 else FPCR_FZ)
    for on, number in zip(active.tolist(), (lanes & ~sign_bit(size)).tolist(), strict=True):
        exponent, fraction = number >> fraction_bits, number & (1 << fraction_bits) - 1
        result = -1 << bits - 1
        if exponent == (1 << exponent_bits) - 1:
            result = result if fraction else (1 << bits - 1) - 1
            flags |= FPSR_IOC if on and fraction else 0
        elif exponent:
            result = exponent - bias
        elif fraction and not flush:
            result = 1 - bias - fraction_bits + fraction.bit_length() - 1
        else:
            flags |= FPSR_IOC if on else 0
            flags |= FPSR_IDC if on and fraction and size > 1 else 0
        results.append(result & (1 << bits) - 1)
    m.vectors.fpsr |= flags
    m.merge_z(Zd, size, active, np.array(results, np.uint64).astype(UNSIGNED[size]))


_F, _G = "01100101", "01100100"
_TAIL = "101 Pg:3 Zn:5 Zd:5"
# Pattern of what follows the top byte -> operation, size from, size to.
_BETWEEN: tuple[tuple[str, str, int, int], ...] = (
    ("10 0010 00", "fcvt", 2, 1),
    ("10 0010 01", "fcvt", 1, 2),
    ("11 0010 00", "fcvt", 3, 1),
    ("11 0010 01", "fcvt", 1, 3),
    ("11 0010 10", "fcvt", 3, 2),
    ("11 0010 11", "fcvt", 2, 3),
    *(
        (f"{bits}{unsigned}", f"{'su'[unsigned]}cvtf", source, target)
        for unsigned in (0, 1)
        for bits, source, target in (
            ("01 010 10 ", 2, 1),
            ("01 010 11 ", 3, 1),
            ("11 010 10 ", 3, 2),
            ("11 010 00 ", 2, 3),
        )
    ),
    *(
        (f"{bits}{unsigned}", f"fcvtz{'su'[unsigned]}", source, target)
        for unsigned in (0, 1)
        for bits, source, target in (
            ("01 011 10 ", 1, 2),
            ("01 011 11 ", 1, 3),
            ("11 011 00 ", 3, 2),
            ("11 011 10 ", 2, 3),
        )
    ),
)
_LETTERS = "BHSD"
ROWS = (
    *(
        Row(
            f"{name.upper()} ({8 << size} bits)",
            f"{_F} {size:02b} {kind} {size:02b} {unsigned} {_TAIL}",
            Check.SVE,
            same_size(name, size),
        )
        for kind, names in (("010", ("scvtf", "ucvtf")), ("011", ("fcvtzs", "fcvtzu")))
        for unsigned, name in enumerate(names)
        for size in (1, 2, 3)
    ),
    *(
        Row(
            f"{name.upper()} ({_LETTERS[source]} to {_LETTERS[target]})",
            f"{_F} {bits} {_TAIL}",
            Check.SVE,
            between(name, source, target),
        )
        for bits, name, source, target in _BETWEEN
    ),
    Row("FCVTX", f"{_F} 00 0010 10 {_TAIL}", Check.SVE, fcvtx, "sve2"),
    Row("FCVTXNT", f"{_G} 00 0010 10 {_TAIL}", Check.SVE, to_odd_lanes("fcvtxn", 3), "sve2"),
    Row("FCVTNT (S to H)", f"{_G} 10 0010 00 {_TAIL}", Check.SVE, to_odd_lanes("fcvt 2 1", 2), "sve2"),
    Row("FCVTNT (D to S)", f"{_G} 11 0010 10 {_TAIL}", Check.SVE, to_odd_lanes("fcvt 3 2", 3), "sve2"),
    Row("FCVTLT (H to S)", f"{_G} 10 0010 01 {_TAIL}", Check.SVE, from_odd_lanes("fcvt 1 2", 1), "sve2"),
    Row("FCVTLT (S to D)", f"{_G} 11 0010 11 {_TAIL}", Check.SVE, from_odd_lanes("fcvt 2 3", 2), "sve2"),
    Row("FLOGB", f"{_F} 00 011 size:2!0 0 {_TAIL}", Check.SVE, flogb, "sve2"),
)
