"""Floating-point multiply-add, products with one element of each quadword, and matrices."""

# ruff: noqa: D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import Lanes, Machine
from armkvm.cpu.sve.fp_lanes import operate, operate_singly, quiet, sign_bit
from armkvm.cpu.sve.lanes import by_element


def fused(name: str, negate_addend: bool, addend_is_destination: bool) -> Callable[..., None]:
    """FMLA and its relatives; `name` is the AdvSIMD form with the product's sign."""

    def execute(m: Machine, size: int, a: int, Pg: int, b: int, Zd: int) -> None:
        active = m.active(Pg, size)
        if addend_is_destination:
            addend, first, second = m.u(Zd, size), m.u(b, size), m.u(a, size)
        else:
            addend, first, second = m.u(a, size), m.u(Zd, size), m.u(b, size)
        if negate_addend:
            addend = addend ^ sign_bit(size)
        operands = (quiet(size, active, x) for x in (addend, first, second))
        m.merge_z(Zd, size, active, operate(m, name, size, *operands))

    return execute


def fused_indexed(name: str, m: Machine, size: int, index: int, Zm: int, Zn: int, Zda: int) -> None:
    m.set_z(
        Zda, size, operate(m, name, size, m.u(Zda, size), m.u(Zn, size), by_element(m.u(Zm, size), index))
    )


def fmla_indexed(name: str, size: int) -> Callable[..., None]:
    if size == 1:

        def halves(m: Machine, i3h: int, i3l: int, Zm: int, Zn: int, Zda: int) -> None:
            fused_indexed(name, m, 1, i3h << 2 | i3l, Zm, Zn, Zda)

        return halves

    def execute(m: Machine, index: int, Zm: int, Zn: int, Zda: int) -> None:
        fused_indexed(name, m, size, index, Zm, Zn, Zda)

    return execute


def fmul_indexed(size: int) -> Callable[..., None]:
    def multiply(m: Machine, index: int, Zm: int, Zn: int, Zd: int) -> None:
        m.set_z(Zd, size, operate(m, "fmul", size, m.u(Zn, size), by_element(m.u(Zm, size), index)))

    if size == 1:

        def halves(m: Machine, i3h: int, i3l: int, Zm: int, Zn: int, Zd: int) -> None:
            multiply(m, i3h << 2 | i3l, Zm, Zn, Zd)

        return halves
    return multiply


def long_fused(name: str, top: int) -> Callable[..., None]:
    """FMLALB, FMLSLT ...: products of halves into singles."""

    def execute(m: Machine, Zm: int, Zn: int, Zda: int) -> None:
        _long_fused(m, name, m.u(Zn, 1)[top::2], m.u(Zm, 1)[top::2], Zda)

    return execute


def long_fused_indexed(name: str, top: int) -> Callable[..., None]:
    def execute(m: Machine, i3h: int, Zm: int, i3l: int, Zn: int, Zda: int) -> None:
        _long_fused(m, name, m.u(Zn, 1)[top::2], by_element(m.u(Zm, 1), i3h << 1 | i3l)[::2], Zda)

    return execute


def _long_fused(m: Machine, name: str, a: Lanes, b: Lanes, Zda: int) -> None:
    m.set_z(Zda, 2, operate_singly(m, name, m.u(Zda, 2), a, b))


def matrix(size: int) -> Callable[..., None]:
    """FMMLA: 2x2 matrices of singles in quadwords, or of doubles in pairs of them; each step rounds."""

    def execute(m: Machine, Zm: int, Zn: int, Zda: int) -> None:
        if m.vl < 16 << size - 2:
            raise Undefined
        used = m.counts[size] // 4 * 4
        left, right = (m.u(n, size)[:used].reshape(-1, 2, 2) for n in (Zn, Zm))
        rows = left.repeat(2, axis=1).reshape(-1, 2)  # row i of the first for each element i, j
        columns = np.tile(right, (1, 2, 1)).reshape(-1, 2)
        products = [operate(m, "fmul", size, rows[:, k], columns[:, k]) for k in (0, 1)]
        total = operate(m, "fadd", size, m.u(Zda, size)[:used], operate(m, "fadd", size, *products))
        # What is left over at the end of the vector becomes zero.
        m.set_z(Zda, size, np.concatenate((total, np.zeros(m.counts[size] - used, total.dtype))))

    return execute


def _indexed_patterns(opcode: str, last: str) -> tuple[tuple[int, str], ...]:
    return (
        (1, f"{_G} 0 i3h:1 1 i3l:2 Zm:3 {opcode} Zn:5 {last}"),
        (2, f"{_G} 10 1 index:2 Zm:3 {opcode} Zn:5 {last}"),
        (3, f"{_G} 11 1 index:1 Zm:4 {opcode} Zn:5 {last}"),
    )


_F, _G = "01100101", "01100100"
ROWS = (
    *(
        Row(name, f"{_F} size:2!0 1 a:5 {bits} Pg:3 b:5 Zd:5", Check.SVE, fused(product, negate, destination))
        for bits, name, product, negate, destination in (
            ("000", "FMLA", "fmla", False, True),
            ("001", "FMLS", "fmls", False, True),
            ("010", "FNMLA", "fmls", True, True),
            ("011", "FNMLS", "fmla", True, True),
            ("100", "FMAD", "fmla", False, False),
            ("101", "FMSB", "fmls", False, False),
            ("110", "FNMAD", "fmls", True, False),
            ("111", "FNMSB", "fmla", True, False),
        )
    ),
    *(
        Row("FMLA (indexed)", p, Check.SVE, fmla_indexed("fmla", s))
        for s, p in _indexed_patterns("000000", "Zda:5")
    ),
    *(
        Row("FMLS (indexed)", p, Check.SVE, fmla_indexed("fmls", s))
        for s, p in _indexed_patterns("000001", "Zda:5")
    ),
    *(Row("FMUL (indexed)", p, Check.SVE, fmul_indexed(s)) for s, p in _indexed_patterns("001000", "Zd:5")),
    *(
        row
        for subtract, name in enumerate(("fmlal", "fmlsl"))
        for top in (0, 1)
        for row in (
            Row(
                f"{name.upper()}{'BT'[top]}",
                f"{_G} 10 1 Zm:5 10 {subtract} 00 {top} Zn:5 Zda:5",
                Check.SVE,
                long_fused(name, top),
                "sve2",
            ),
            Row(
                f"{name.upper()}{'BT'[top]} (indexed)",
                f"{_G} 10 1 i3h:2 Zm:3 01 {subtract} 0 i3l:1 {top} Zn:5 Zda:5",
                Check.SVE,
                long_fused_indexed(name, top),
                "sve2",
            ),
        )
    ),
    Row("FMMLA (single)", f"{_G} 10 1 Zm:5 111001 Zn:5 Zda:5", Check.NON_STREAMING, matrix(2), "f32mm"),
    Row("FMMLA (double)", f"{_G} 11 1 Zm:5 111001 Zn:5 Zda:5", Check.NON_STREAMING, matrix(3), "f64mm"),
)
