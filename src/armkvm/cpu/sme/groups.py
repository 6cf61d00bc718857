"""SME2: operations on groups of two or four vectors, aligned to their number."""

# ruff: noqa: D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Lanes, Machine
from armkvm.cpu.sve.bfloat import narrowed
from armkvm.cpu.sve.counters import lanes_of
from armkvm.cpu.sve.fp_lanes import operate, operate_singly
from armkvm.cpu.sve.lanes import exact, saturate, shift_left, wrap
from armkvm.cpu.sve.multiply import doubling_high

Operation = Callable[[Machine, int, int, int], Lanes]
"""New lanes from a machine, an element size and the numbers of two vectors."""


def _numbers(operation: Callable[[Lanes, Lanes], Lanes], signed_lanes: bool) -> Operation:
    def apply(m: Machine, size: int, a: int, b: int) -> Lanes:
        lanes = m.i if signed_lanes else m.u
        return operation(lanes(a, size), lanes(b, size)).astype(UNSIGNED[size])

    return apply


def _floating(name: str) -> Operation:
    def apply(m: Machine, size: int, a: int, b: int) -> Lanes:
        return operate(m, name, size, m.u(a, size), m.u(b, size))

    return apply


def _rounding_shift(signed_lanes: bool) -> Operation:
    def apply(m: Machine, size: int, a: int, b: int) -> Lanes:
        numbers = exact((m.i if signed_lanes else m.u)(a, size), 2)
        return wrap(shift_left(numbers, m.i(b, size), True), size)

    return apply


def _sqdmulh(m: Machine, size: int, a: int, b: int) -> Lanes:
    return saturate(doubling_high(m.i(a, size), m.i(b, size), False), size, True)


def binary(operation: Operation, count: int, single: bool) -> Callable[..., None]:
    def execute(m: Machine, size: int, Zm: int, Zdn: int) -> None:
        results = [
            operation(m, size, count * Zdn + i, Zm if single else count * Zm + i) for i in range(count)
        ]
        for i, lanes in enumerate(results):
            m.set_z(count * Zdn + i, size, lanes)

    return execute


def clamp(signed_lanes: bool, count: int) -> Callable[..., None]:
    def execute(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
        lanes = m.i if signed_lanes else m.u
        low, high = lanes(Zn, size).copy(), lanes(Zm, size).copy()
        for n in range(count * Zd, count * Zd + count):
            result = np.minimum(np.maximum(low, lanes(n, size)), high)
            m.set_z(n, size, result.astype(UNSIGNED[size]))

    return execute


def fclamp(count: int) -> Callable[..., None]:
    def execute(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
        low, high = m.u(Zn, size).copy(), m.u(Zm, size).copy()
        for n in range(count * Zd, count * Zd + count):
            raised = operate(m, "fmaxnm", size, low, m.u(n, size))
            m.set_z(n, size, operate(m, "fminnm", size, raised, high))

    return execute


def sel(count: int) -> Callable[..., None]:
    def execute(m: Machine, size: int, Zm: int, PNg: int, Zn: int, Zd: int) -> None:
        active = lanes_of(m, 8 + PNg, count, size).reshape(count, -1)
        results = [
            np.where(active[i], m.u(count * Zn + i, size), m.u(count * Zm + i, size)) for i in range(count)
        ]
        for i, lanes in enumerate(results):
            m.set_z(count * Zd + i, size, lanes)

    return execute


def _interleaved(m: Machine, size: int, unzip: int, sources: list[int], Zd: int) -> None:
    """ZIP takes one lane of each source in turn; UZP deals lanes out in turn."""
    count, width = len(sources), 16 if size == 4 else 1 << size
    lanes = np.stack([m.u(n, 0).reshape(-1, width) for n in sources])
    joined = lanes.reshape(-1, width) if unzip else lanes.transpose(1, 0, 2).reshape(-1, width)
    for i in range(count):
        part = joined[i::count] if unzip else joined[i * lanes.shape[1] : (i + 1) * lanes.shape[1]]
        m.set_z(count * Zd + i, 0, np.ascontiguousarray(part).reshape(-1))


def zip_two(m: Machine, size: int, Zm: int, Zn: int, Zd: int, unzip: int) -> None:
    _interleaved(m, size, unzip, [Zn, Zm], Zd)


def zip_two_quadwords(m: Machine, Zm: int, Zn: int, Zd: int, unzip: int) -> None:
    if m.vl < 32:
        raise Undefined
    _interleaved(m, 4, unzip, [Zn, Zm], Zd)


def unpack(count: int) -> Callable[..., None]:
    """Each source widened into two vectors."""

    def execute(m: Machine, size: int, Zn: int, Zd: int, unsigned: int) -> None:
        narrow = m.u if unsigned else m.i
        sources = [narrow((count // 2) * Zn + i, size - 1).copy() for i in range(count // 2)]
        wide = np.concatenate(sources).astype(UNSIGNED[size])
        for i in range(count):
            m.set_z(count * Zd + i, size, wide[i * m.counts[size] :][: m.counts[size]])

    return execute


def unary(name: str, count: int) -> Callable[..., None]:
    """Of singles."""

    def execute(m: Machine, Zn: int, Zd: int) -> None:
        results = [operate(m, name, 2, m.u(count * Zn + i, 2)) for i in range(count)]
        for i, lanes in enumerate(results):
            m.set_z(count * Zd + i, 2, lanes)

    return execute


def _to_halves(m: Machine, lanes: Lanes) -> Lanes:
    return operate_singly(m, "fcvt 2 1", lanes).astype(np.uint16)


def convert_pair(convert: Callable[[Machine, Lanes], Lanes], interleave: bool) -> Callable[..., None]:
    """Two vectors of singles into one of halves: one after the other, or lane by lane in turn."""

    def execute(m: Machine, Zn: int, Zd: int) -> None:
        parts = [convert(m, m.u(2 * Zn + i, 2)) for i in range(2)]
        joined = np.stack(parts, axis=1).reshape(-1) if interleave else np.concatenate(parts)
        m.set_z(Zd, 1, joined)

    return execute


def narrow_pair(signed_lanes: bool, signed_result: bool, shifting: bool) -> Callable[..., None]:
    """SQCVT, SQRSHR and relatives: two vectors of words, one after the other, into one of halfwords."""

    def narrow(m: Machine, amount: int, Zn: int, Zd: int) -> None:
        parts = []
        for i in range(2):
            numbers: Any = exact((m.i if signed_lanes else m.u)(2 * Zn + i, 2))
            if amount:
                numbers = numbers + (1 << amount - 1) >> amount
            parts.append(saturate(numbers, 1, signed_result))
        m.set_z(Zd, 1, np.concatenate(parts))

    def shifted(m: Machine, imm4: int, Zn: int, Zd: int) -> None:
        narrow(m, 16 - imm4, Zn, Zd)

    def converted(m: Machine, Zn: int, Zd: int) -> None:
        narrow(m, 0, Zn, Zd)

    return shifted if shifting else converted


# Name, bits 10:5, bit 0, operation, the field that gives the element size.
_BINARY: tuple[tuple[str, str, int, Operation, str], ...] = (
    ("SMAX", "000000", 0, _numbers(np.maximum, True), "size:2"),
    ("UMAX", "000000", 1, _numbers(np.maximum, False), "size:2"),
    ("SMIN", "000001", 0, _numbers(np.minimum, True), "size:2"),
    ("UMIN", "000001", 1, _numbers(np.minimum, False), "size:2"),
    ("FMAX", "001000", 0, _floating("fmax"), "size:2!0"),
    ("FMIN", "001000", 1, _floating("fmin"), "size:2!0"),
    ("FMAXNM", "001001", 0, _floating("fmaxnm"), "size:2!0"),
    ("FMINNM", "001001", 1, _floating("fminnm"), "size:2!0"),
    ("SRSHL", "010001", 0, _rounding_shift(True), "size:2"),
    ("URSHL", "010001", 1, _rounding_shift(False), "size:2"),
    ("SQDMULH", "100000", 0, _sqdmulh, "size:2"),
)
_FORMS = (  # vectors, with a single one?, what stands between the size and the operation, what follows it
    (2, True, "10 Zm:4 10100", "Zdn:4"),
    (4, True, "10 Zm:4 10101", "Zdn:3 0"),
    (2, False, "1 Zm:4 0 10110", "Zdn:4"),
    (4, False, "1 Zm:3 00 10111", "Zdn:3 0"),
)
_TOP = "11000001"
_PLACE = {2: ("Zn:4 0", "Zd:4"), 4: ("Zn:3 00", "Zd:3 0")}
ROWS = (
    *(
        Row(
            f"{name} ({count} vectors, {'by one' if single else 'by as many'})",
            f"{_TOP} {size} {middle} {op} {last} {o}",
            Check.STREAMING,
            binary(operation, count, single),
            "sme2",
        )
        for name, op, o, operation, size in _BINARY
        for count, single, middle, last in _FORMS
    ),
    *(
        Row(
            f"ADD ({count} vectors, by one)",
            f"{_TOP} size:2 {middle} 011000 {last} 0",
            Check.STREAMING,
            binary(_numbers(np.add, False), count, True),
            "sme2",
        )
        for count, single, middle, last in _FORMS
        if single
    ),
    *(
        Row(
            f"{'SU'[unsigned]}CLAMP ({count} vectors)",
            f"{_TOP} size:2 1 Zm:5 1100{count == 4:b}1 Zn:5 {_PLACE[count][1]} {unsigned}",
            Check.STREAMING,
            clamp(not unsigned, count),
            "sme2",
        )
        for count in (2, 4)
        for unsigned in (0, 1)
    ),
    *(
        Row(
            f"FCLAMP ({count} vectors)",
            f"{_TOP} size:2!0 1 Zm:5 1100{count == 4:b}0 Zn:5 {_PLACE[count][1]} 0",
            Check.STREAMING,
            fclamp(count),
            "sme2",
        )
        for count in (2, 4)
    ),
    Row(
        "SEL (2 vectors)", f"{_TOP} size:2 1 Zm:4 0 100 PNg:3 Zn:4 0 Zd:4 0", Check.STREAMING, sel(2), "sme2"
    ),
    Row(
        "SEL (4 vectors)",
        f"{_TOP} size:2 1 Zm:3 01 100 PNg:3 Zn:3 00 Zd:3 00",
        Check.STREAMING,
        sel(4),
        "sme2",
    ),
    Row(
        "ZIP, UZP (2 vectors)",
        f"{_TOP} size:2 1 Zm:5 110100 Zn:5 Zd:4 unzip:1",
        Check.STREAMING,
        zip_two,
        "sme2",
    ),
    Row(
        "ZIP, UZP (2 vectors of quadwords)",
        f"{_TOP} 00 1 Zm:5 110101 Zn:5 Zd:4 unzip:1",
        Check.STREAMING,
        zip_two_quadwords,
        "sme2",
    ),
    Row(
        "SUNPK, UUNPK (2 vectors)",
        f"{_TOP} size:2!0 1 00101 111000 Zn:5 Zd:4 unsigned:1",
        Check.STREAMING,
        unpack(2),
        "sme2",
    ),
    Row(
        "SUNPK, UUNPK (4 vectors)",
        f"{_TOP} size:2!0 1 10101 111000 Zn:4 0 Zd:3 0 unsigned:1",
        Check.STREAMING,
        unpack(4),
        "sme2",
    ),
    *(
        Row(
            f"{name.upper()} ({count} vectors)",
            f"{_TOP} {top}{count == 4:b}{bits} 111000 {zn} {zd}",
            Check.STREAMING,
            unary(name, count),
            "sme2",
        )
        for name, top, bits, unsigned in (
            ("frintn", "101", "1000", 0),
            ("frintp", "101", "1001", 0),
            ("frintm", "101", "1010", 0),
            ("frinta", "101", "1100", 0),
            ("fcvtzs", "001", "0001", 0),
            ("fcvtzu", "001", "0001", 1),
            ("scvtf", "001", "0010", 0),
            ("ucvtf", "001", "0010", 1),
        )
        for count, zn, zd in ((2, f"Zn:4 {unsigned}", "Zd:4 0"), (4, f"Zn:3 0{unsigned}", "Zd:3 00"))
    ),
    *(
        Row(
            name,
            f"{_TOP} {bits} 111000 Zn:4 {n} Zd:5",
            Check.STREAMING,
            convert_pair(convert, bool(n)),
            "sme2",
        )
        for name, bits, n, convert in (
            ("FCVT (2 vectors)", "00100000", 0, _to_halves),
            ("FCVTN (2 vectors)", "00100000", 1, _to_halves),
            ("BFCVT (2 vectors)", "01100000", 0, narrowed),
            ("BFCVTN (2 vectors)", "01100000", 1, narrowed),
        )
    ),
    *(
        row
        for name, wide, narrow, convert, shift in (
            ("SQ{}", True, True, ("00100011", 0), ("1110", 0)),
            ("UQ{}", False, False, ("00100011", 1), ("1110", 1)),
            ("SQ{}U", True, False, ("01100011", 0), ("1111", 0)),
        )
        for row in (
            Row(
                f"{name.format('CVT')} (2 vectors)",
                f"{_TOP} {convert[0]} 111000 Zn:4 {convert[1]} Zd:5",
                Check.STREAMING,
                narrow_pair(wide, narrow, False),
                "sme2",
            ),
            Row(
                f"{name.format('RSHR')} (2 vectors)",
                f"{_TOP} {shift[0]} imm4:4 110101 Zn:4 {shift[1]} Zd:5",
                Check.STREAMING,
                narrow_pair(wide, narrow, True),
                "sme2",
            ),
        )
    ),
)
