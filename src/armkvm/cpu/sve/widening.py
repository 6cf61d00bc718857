"""SVE2: operations of narrow lanes on wide results; bottom takes the even lanes, top the odd ones."""

# ruff: noqa: ANN401, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import SIGNED, UNSIGNED, Lanes, Machine
from armkvm.cpu.sve.lanes import by_element, exact, saturating, wrap

Operation = Callable[[Lanes, Lanes], Lanes]
"""On lanes already widened, of either sign; the result counts modulo its width."""


def widened(m: Machine, n: int, size: int, top: int, signed_lanes: bool) -> Lanes:
    """Zn's even or odd lanes of half of `size`, extended to it."""
    lanes = (m.i if signed_lanes else m.u)(n, size - 1)[top::2]
    return lanes.astype((SIGNED if signed_lanes else UNSIGNED)[size])


def _indexed(m: Machine, n: int, size: int, index: int, signed_lanes: bool) -> Lanes:
    """The narrow lane `index` of each quadword of Zn, extended to `size`, once for each wide lane."""
    lanes = (m.i if signed_lanes else m.u)(n, size - 1)
    return by_element(lanes, index)[::2].astype((SIGNED if signed_lanes else UNSIGNED)[size])


def long(operation: Operation, signed_lanes: bool, n_top: int, m_top: int) -> Callable[..., None]:
    """Both operands narrow."""

    def execute(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
        if not size:
            raise Undefined
        a, b = widened(m, Zn, size, n_top, signed_lanes), widened(m, Zm, size, m_top, signed_lanes)
        m.set_z(Zd, size, operation(a, b).astype(UNSIGNED[size]))

    return execute


def wide(operation: Operation, signed_lanes: bool, top: int) -> Callable[..., None]:
    """The second operand narrow."""

    def execute(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
        if not size:
            raise Undefined
        a, b = (m.i if signed_lanes else m.u)(Zn, size), widened(m, Zm, size, top, signed_lanes)
        m.set_z(Zd, size, operation(a, b).astype(UNSIGNED[size]))

    return execute


def accumulating(
    operation: Operation, combine: Operation, signed_lanes: bool, n_top: int, m_top: int
) -> Callable[..., None]:
    """Both operands narrow; `combine` takes the unsigned accumulator and the unsigned result."""

    def execute(m: Machine, size: int, Zm: int, Zn: int, Zda: int) -> None:
        if not size:
            raise Undefined
        a, b = widened(m, Zn, size, n_top, signed_lanes), widened(m, Zm, size, m_top, signed_lanes)
        m.set_z(Zda, size, combine(m.u(Zda, size), operation(a, b).astype(UNSIGNED[size])))

    return execute


def by_index(
    size: int, operation: Operation, combine: Operation | None, signed_lanes: bool, top: int
) -> Callable[..., None]:
    """The second operand one narrow lane of each quadword; `combine` as in `accumulating`."""

    def apply(m: Machine, index: int, Zm: int, Zn: int, Zd: int) -> None:
        a, b = widened(m, Zn, size, top, signed_lanes), _indexed(m, Zm, size, index, signed_lanes)
        result = operation(a, b).astype(UNSIGNED[size])
        m.set_z(Zd, size, combine(m.u(Zd, size), result) if combine else result)

    def words(m: Machine, ih: int, Zm: int, il: int, Zn: int, Zd: int) -> None:
        apply(m, ih << 1 | il, Zm, Zn, Zd)

    return words


def _doubling(a: Lanes, b: Lanes) -> Lanes:
    """2ab, saturated: it only overflows where both are the least number."""
    size = a.itemsize.bit_length() - 1
    product = a * b
    least = np.iinfo(a.dtype).min >> a.itemsize * 4
    over = (a == least) & (b == least)
    return np.where(over, SIGNED[size].type(np.iinfo(SIGNED[size]).max), product + product)


def _difference(a: Lanes, b: Lanes) -> Lanes:
    return np.where(a > b, a - b, b - a)


def carry_long(subtract: int, top: int) -> Callable[..., None]:
    """ADCL and SBCL: the carry comes from, and goes to, the odd elements."""

    def execute(m: Machine, sz: int, Zm: int, Zn: int, Zda: int) -> None:
        size = 2 + sz
        bits = 8 << size
        carry = exact(m.u(Zm, size)[1::2] & UNSIGNED[size].type(1)).astype(object)
        first, second = exact(m.u(Zda, size)[0::2]), exact(m.u(Zn, size)[top::2])
        if subtract:
            second = (1 << bits) - 1 - second
        total = first + second + carry
        lanes = np.empty(m.counts[size], UNSIGNED[size])
        lanes[0::2], lanes[1::2] = wrap(total, size), wrap(total >> bits, size)
        m.set_z(Zda, size, lanes)

    return execute


def pairwise_accumulate(signed_lanes: bool) -> Callable[..., None]:
    """SADALP, UADALP."""

    def execute(m: Machine, size: int, Pg: int, Zn: int, Zda: int) -> None:
        if not size:
            raise Undefined
        total = widened(m, Zn, size, 0, signed_lanes) + widened(m, Zn, size, 1, signed_lanes)
        m.merge_z(Zda, size, m.active(Pg, size), m.u(Zda, size) + total.astype(UNSIGNED[size]))

    return execute


_ADDSUB: tuple[tuple[str, str, Operation], ...] = (
    ("ADDL", "000", np.add),
    ("SUBL", "001", np.subtract),
    ("ABDL", "011", _difference),
)
_ADD_SATURATING, _SUBTRACT_SATURATING = saturating(1, False), saturating(-1, False)
# Name, bits 15:11 of the unindexed form, of the indexed one, signed?, product, what becomes of it.
_MULTIPLY_ADD: tuple[tuple[str, str, str, bool, Operation, Any], ...] = (
    ("SMLAL", "01000", "1000", True, np.multiply, np.add),
    ("UMLAL", "01001", "1001", False, np.multiply, np.add),
    ("SMLSL", "01010", "1010", True, np.multiply, np.subtract),
    ("UMLSL", "01011", "1011", False, np.multiply, np.subtract),
    ("SQDMLAL", "01100", "0010", True, _doubling, _ADD_SATURATING),
    ("SQDMLSL", "01101", "0011", True, _doubling, _SUBTRACT_SATURATING),
)
_MULTIPLY: tuple[tuple[str, str, str, bool, Operation], ...] = (
    ("SQDMULL", "01100", "1110", True, _doubling),
    ("SMULL", "01110", "1100", True, np.multiply),
    ("UMULL", "01111", "1101", False, np.multiply),
)
_L, _M = "01000101 size:2 0 Zm:5", "01000100 size:2 0 Zm:5"


def _indexed_rows(name: str, bits: str, *how: Any) -> tuple[Row, ...]:
    """The indexed forms with word and doubleword results, bottom and top."""
    patterns = ((2, "10 1 ih:2 Zm:3"), (3, "11 1 ih:1 Zm:4"))
    return tuple(
        Row(
            f"{name}{'BT'[top]} (indexed, .{'bhsd'[size]})",
            f"01000100 {place} {bits} il:1 {top} Zn:5 Zd:5",
            Check.SVE,
            by_index(size, how[0], how[1], how[2], top),
            "sve2",
        )
        for size, place in patterns
        for top in (0, 1)
    )


ROWS = (
    *(
        Row(
            f"{'SU'[unsigned]}{name}{'BT'[top]}",
            f"{_L} 0 {bits} {unsigned}{top} Zn:5 Zd:5",
            Check.SVE,
            long(operation, not unsigned, top, top),
            "sve2",
        )
        for name, bits, operation in _ADDSUB
        for unsigned in (0, 1)
        for top in (0, 1)
    ),
    Row("SADDLBT", f"{_L} 100000 Zn:5 Zd:5", Check.SVE, long(np.add, True, 0, 1), "sve2"),
    Row("SSUBLBT", f"{_L} 100010 Zn:5 Zd:5", Check.SVE, long(np.subtract, True, 0, 1), "sve2"),
    Row("SSUBLTB", f"{_L} 100011 Zn:5 Zd:5", Check.SVE, long(np.subtract, True, 1, 0), "sve2"),
    *(
        Row(
            f"{'SU'[unsigned]}{name}{'BT'[top]}",
            f"{_L} 010 {subtract}{unsigned}{top} Zn:5 Zd:5",
            Check.SVE,
            wide(operation, not unsigned, top),
            "sve2",
        )
        for name, subtract, operation in (("ADDW", 0, np.add), ("SUBW", 1, np.subtract))
        for unsigned in (0, 1)
        for top in (0, 1)
    ),
    *(
        Row(
            f"{name}{'BT'[top]}",
            f"{_L} {bits} {top} Zn:5 Zd:5",
            Check.SVE,
            long(operation, sign, top, top),
            "sve2",
        )
        for name, bits, _, sign, operation in _MULTIPLY
        for top in (0, 1)
    ),
    *(
        Row(
            f"{'SU'[unsigned]}ABAL{'BT'[top]}",
            f"{_L} 1100 {unsigned}{top} Zn:5 Zda:5",
            Check.SVE,
            accumulating(_difference, np.add, not unsigned, top, top),
            "sve2",
        )
        for unsigned in (0, 1)
        for top in (0, 1)
    ),
    *(
        Row(
            f"{name}{'BT'[top]}",
            f"{_M} {bits} {top} Zn:5 Zda:5",
            Check.SVE,
            accumulating(operation, combine, sign, top, top),
            "sve2",
        )
        for name, bits, _, sign, operation, combine in _MULTIPLY_ADD
        for top in (0, 1)
    ),
    Row(
        "SQDMLALBT",
        f"{_M} 000010 Zn:5 Zda:5",
        Check.SVE,
        accumulating(_doubling, _ADD_SATURATING, True, 0, 1),
        "sve2",
    ),
    Row(
        "SQDMLSLBT",
        f"{_M} 000011 Zn:5 Zda:5",
        Check.SVE,
        accumulating(_doubling, _SUBTRACT_SATURATING, True, 0, 1),
        "sve2",
    ),
    *(
        row
        for name, _, bits, sign, operation, combine in _MULTIPLY_ADD
        for row in _indexed_rows(name, bits, operation, combine, sign)
    ),
    *(
        row
        for name, _, bits, sign, operation in _MULTIPLY
        for row in _indexed_rows(name, bits, operation, None, sign)
    ),
    *(
        Row(
            f"{'AS'[subtract]}{'DB'[subtract]}CL{'BT'[top]}",
            f"01000101 {subtract} sz:1 0 Zm:5 11010 {top} Zn:5 Zda:5",
            Check.SVE,
            carry_long(subtract, top),
            "sve2",
        )
        for subtract in (0, 1)
        for top in (0, 1)
    ),
    *(
        Row(
            f"{'SU'[unsigned]}ADALP",
            f"01000100 size:2 00010 {unsigned} 101 Pg:3 Zn:5 Zda:5",
            Check.SVE,
            pairwise_accumulate(not unsigned),
            "sve2",
        )
        for unsigned in (0, 1)
    ),
)
