"""Floating-point arithmetic, compares, conversions and reductions on vectors.

Inactive lanes must not raise flags, so they are replaced by harmless numbers before the operation.
"""

# ruff: noqa: ANN401, D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Bools, Lanes, Machine
from armkvm.cpu.sve.halving import pairs_of
from armkvm.cpu.sve.lanes import by_element

ONE_POINT_ZERO = (0, 0x3C00, 0x3F80_0000, 0x3FF0_0000_0000_0000)
INFINITY = (0, 0x7C00, 0x7F80_0000, 0x7FF0_0000_0000_0000)
DEFAULT_NAN = (0, 0x7E00, 0x7FC0_0000, 0x7FF8_0000_0000_0000)


def sign_bit(size: int) -> Any:
    return UNSIGNED[size].type(1 << (8 << size) - 1)


def operate(m: Machine, name: str, size: int, *operands: Lanes) -> Lanes:
    """Run a lane operation with the PE's FPCR, accumulating its flags in FPSR."""
    result, m.vectors.fpsr = m.fp.run(name, size, operands, m.vectors.fpcr, m.vectors.fpsr)
    return result


def quiet(size: int, active: Bools, lanes: Lanes) -> Lanes:
    return np.where(active, lanes, UNSIGNED[size].type(ONE_POINT_ZERO[size]))


def unpredicated(name: str) -> Callable[..., None]:
    def execute(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
        m.set_z(Zd, size, operate(m, name, size, m.u(Zn, size), m.u(Zm, size)))

    return execute


def predicated(name: str, reversed_operands: bool = False) -> Callable[..., None]:
    def execute(m: Machine, size: int, Pg: int, Zm: int, Zdn: int) -> None:
        active = m.active(Pg, size)
        a, b = quiet(size, active, m.u(Zdn, size)), quiet(size, active, m.u(Zm, size))
        if reversed_operands:
            a, b = b, a
        m.merge_z(Zdn, size, active, operate(m, name, size, a, b))

    return execute


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


def compare(name: str, invert: bool = False) -> Callable[..., None]:
    def execute(m: Machine, size: int, Zm: int, Pg: int, Zn: int, Pd: int) -> None:
        active = m.active(Pg, size)
        result = operate(
            m, name, size, quiet(size, active, m.u(Zn, size)), quiet(size, active, m.u(Zm, size))
        )
        m.set_p(Pd, size, ((result != 0) ^ invert) & active)

    return execute


def unordered(m: Machine, size: int, Zm: int, Pg: int, Zn: int, Pd: int) -> None:
    active = m.active(Pg, size)
    a, b = quiet(size, active, m.u(Zn, size)), quiet(size, active, m.u(Zm, size))
    operate(m, "fcmeq", size, a, b)  # for its flags, which are the same
    magnitude = ~sign_bit(size)
    limit = UNSIGNED[size].type(INFINITY[size])
    m.set_p(Pd, size, (((a & magnitude) > limit) | ((b & magnitude) > limit)) & active)


def compare_zero(name: str, swap: bool, invert: bool = False) -> Callable[..., None]:
    def execute(m: Machine, size: int, Pg: int, Zn: int, Pd: int) -> None:
        active = m.active(Pg, size)
        lanes = quiet(size, active, m.u(Zn, size))
        zero = np.zeros_like(lanes)
        result = operate(m, name, size, *((zero, lanes) if swap else (lanes, zero)))
        m.set_p(Pd, size, ((result != 0) ^ invert) & active)

    return execute


def unary(name: str) -> Callable[..., None]:
    def execute(m: Machine, size: int, Pg: int, Zn: int, Zd: int) -> None:
        active = m.active(Pg, size)
        m.merge_z(Zd, size, active, operate(m, name, size, quiet(size, active, m.u(Zn, size))))

    return execute


def estimate(name: str) -> Callable[..., None]:
    def execute(m: Machine, size: int, Zn: int, Zd: int) -> None:
        m.set_z(Zd, size, operate(m, name, size, m.u(Zn, size)))

    return execute


def reduction(name: str, identity: tuple[int, ...], negative: bool = False) -> Callable[..., None]:
    """Pairwise, over the vector padded with the identity to a power of two."""

    def execute(m: Machine, size: int, Pg: int, Zn: int, Vd: int) -> None:
        neutral = UNSIGNED[size].type(identity[size])
        if negative:
            neutral |= sign_bit(size)
        lanes = np.full(1 << (m.counts[size] - 1).bit_length(), neutral, UNSIGNED[size])
        lanes[: m.counts[size]] = np.where(m.active(Pg, size), m.u(Zn, size), neutral)
        while len(lanes) > 1:
            lanes = operate(m, name, size, lanes[0::2], lanes[1::2])
        m.set_v(Vd, size, int(lanes[0]))

    return execute


def ordered_sum(m: Machine, size: int, Pg: int, Zm: int, Vdn: int) -> None:
    """FADDA: from the lowest active lane up, each sum rounded."""
    start, lanes = int(m.u(Vdn, size)[0]), m.u(Zm, size)[m.active(Pg, size)]
    total, m.vectors.fpsr = m.fp.add_in_order(size, start, lanes, m.vectors.fpcr, m.vectors.fpsr)
    m.set_v(Vdn, size, total)


def pairwise(name: str) -> Callable[..., None]:
    def execute(m: Machine, size: int, Pg: int, Zm: int, Zdn: int) -> None:
        active = m.active(Pg, size)
        left, right = pairs_of(m.u(Zdn, size), m.u(Zm, size))
        m.merge_z(
            Zdn, size, active, operate(m, name, size, quiet(size, active, left), quiet(size, active, right))
        )

    return execute


def with_immediate(name: str, choices: tuple[float, float], reverse: bool = False) -> Callable[..., None]:
    """The second operand one of two numbers."""

    def execute(m: Machine, size: int, Pg: int, i1: int, Zdn: int) -> None:
        active = m.active(Pg, size)
        number = np.array(choices[i1], (np.float16, np.float32, np.float64)[size - 1]).view(UNSIGNED[size])
        a = quiet(size, active, m.u(Zdn, size))
        b = np.full_like(a, number)
        m.merge_z(Zdn, size, active, operate(m, name, size, *((b, a) if reverse else (a, b))))

    return execute


def fclamp(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
    """The lesser of Zm and the greater of Zn and Zd, NaNs losing."""
    raised = operate(m, "fmaxnm", size, m.u(Zn, size), m.u(Zd, size))
    m.set_z(Zd, size, operate(m, "fminnm", size, raised, m.u(Zm, size)))


def frecpx(m: Machine, size: int, Pg: int, Zn: int, Zd: int) -> None:
    active = m.active(Pg, size)
    lanes = quiet(size, active, m.u(Zn, size))
    result, m.vectors.fpsr = m.fp.each(f"frecpx {size}", (lanes,), m.vectors.fpcr, m.vectors.fpsr)
    m.merge_z(Zd, size, active, result)


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
    operands = (m.u(Zda, 2), a, b)
    result, m.vectors.fpsr = m.fp.each(name, operands, m.vectors.fpcr, m.vectors.fpsr)
    m.set_z(Zda, 2, result)


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


_F = "01100101"


def _indexed_patterns(opcode: str, last: str) -> tuple[tuple[int, str], ...]:
    return (
        (1, f"01100100 0 i3h:1 1 i3l:2 Zm:3 {opcode} Zn:5 {last}"),
        (2, f"01100100 10 1 index:2 Zm:3 {opcode} Zn:5 {last}"),
        (3, f"01100100 11 1 index:1 Zm:4 {opcode} Zn:5 {last}"),
    )


ROWS = (
    *(
        Row(
            f"{name.upper()} (vectors, unpredicated)",
            f"{_F} size:2!0 0 Zm:5 000 {bits} Zn:5 Zd:5",
            Check.SVE,
            unpredicated(name),
        )
        for bits, name in (
            ("000", "fadd"),
            ("001", "fsub"),
            ("010", "fmul"),
            ("110", "frecps"),
            ("111", "frsqrts"),
        )
    ),
    *(
        Row(
            f"{name} (vectors, predicated)",
            f"{_F} size:2!0 00 {bits} 100 Pg:3 Zm:5 Zdn:5",
            Check.SVE,
            execute,
        )
        for bits, name, execute in (
            ("0000", "FADD", predicated("fadd")),
            ("0001", "FSUB", predicated("fsub")),
            ("0010", "FMUL", predicated("fmul")),
            ("0011", "FSUBR", predicated("fsub", True)),
            ("0100", "FMAXNM", predicated("fmaxnm")),
            ("0101", "FMINNM", predicated("fminnm")),
            ("0110", "FMAX", predicated("fmax")),
            ("0111", "FMIN", predicated("fmin")),
            ("1000", "FABD", predicated("fabd")),
            ("1010", "FMULX", predicated("fmulx")),
            ("1100", "FDIVR", predicated("fdiv", True)),
            ("1101", "FDIV", predicated("fdiv")),
        )
    ),
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
        Row(f"{name} (vectors)", f"{_F} size:2!0 0 Zm:5 {o} Pg:3 Zn:5 {o2} Pd:4", Check.SVE, execute)
        for name, o, o2, execute in (
            ("FCMGE", "010", 0, compare("fcmge")),
            ("FCMGT", "010", 1, compare("fcmgt")),
            ("FCMEQ", "011", 0, compare("fcmeq")),
            ("FCMNE", "011", 1, compare("fcmeq", True)),
            ("FCMUO", "110", 0, unordered),
            ("FACGE", "110", 1, compare("facge")),
            ("FACGT", "111", 1, compare("facgt")),
        )
    ),
    *(
        Row(f"{name} (zero)", f"{_F} size:2!0 0100 {bits} 001 Pg:3 Zn:5 {ne} Pd:4", Check.SVE, execute)
        for name, bits, ne, execute in (
            ("FCMGE", "00", 0, compare_zero("fcmge", False)),
            ("FCMGT", "00", 1, compare_zero("fcmgt", False)),
            ("FCMLT", "01", 0, compare_zero("fcmgt", True)),
            ("FCMLE", "01", 1, compare_zero("fcmge", True)),
            ("FCMEQ", "10", 0, compare_zero("fcmeq", False)),
            ("FCMNE", "11", 0, compare_zero("fcmeq", False, True)),
        )
    ),
    *(
        Row(name.upper(), f"{_F} size:2!0 {bits} 101 Pg:3 Zn:5 Zd:5", Check.SVE, unary(name))
        for bits, name in (
            ("000000", "frintn"),
            ("000001", "frintp"),
            ("000010", "frintm"),
            ("000011", "frintz"),
            ("000100", "frinta"),
            ("000110", "frintx"),
            ("000111", "frinti"),
            ("001101", "fsqrt"),
        )
    ),
    Row("FRECPE", f"{_F} size:2!0 001110 001100 Zn:5 Zd:5", Check.SVE, estimate("frecpe")),
    Row("FRSQRTE", f"{_F} size:2!0 001111 001100 Zn:5 Zd:5", Check.SVE, estimate("frsqrte")),
    *(
        Row(name, f"{_F} size:2!0 000 {bits} 001 Pg:3 Zn:5 Vd:5", Check.SVE, execute)
        for bits, name, execute in (
            ("000", "FADDV", reduction("fadd", (0, 0, 0, 0))),
            ("100", "FMAXNMV", reduction("fmaxnm", DEFAULT_NAN)),
            ("101", "FMINNMV", reduction("fminnm", DEFAULT_NAN)),
            ("110", "FMAXV", reduction("fmax", INFINITY, True)),
            ("111", "FMINV", reduction("fmin", INFINITY)),
        )
    ),
    Row("FADDA", f"{_F} size:2!0 011000 001 Pg:3 Zm:5 Vdn:5", Check.NON_STREAMING, ordered_sum),
    *(
        Row(
            name.upper() + "P",
            f"01100100 size:2!0 010 {bits} 100 Pg:3 Zm:5 Zdn:5",
            Check.SVE,
            pairwise(name),
            "sve2",
        )
        for name, bits in (
            ("fadd", "000"),
            ("fmaxnm", "100"),
            ("fminnm", "101"),
            ("fmax", "110"),
            ("fmin", "111"),
        )
    ),
    *(
        Row(
            f"{name} (immediate)",
            f"{_F} size:2!0 011 {bits} 100 Pg:3 0000 i1:1 Zdn:5",
            Check.SVE,
            with_immediate(operation, choices, name == "FSUBR"),
        )
        for name, bits, operation, choices in (
            ("FADD", "000", "fadd", (0.5, 1.0)),
            ("FSUB", "001", "fsub", (0.5, 1.0)),
            ("FMUL", "010", "fmul", (0.5, 2.0)),
            ("FSUBR", "011", "fsub", (0.5, 1.0)),
            ("FMAXNM", "100", "fmaxnm", (0.0, 1.0)),
            ("FMINNM", "101", "fminnm", (0.0, 1.0)),
            ("FMAX", "110", "fmax", (0.0, 1.0)),
            ("FMIN", "111", "fmin", (0.0, 1.0)),
        )
    ),
    Row("FCLAMP", "01100100 size:2!0 1 Zm:5 001001 Zn:5 Zd:5", Check.SVE, fclamp, "sve2p1_or_sme2"),
    Row("FRECPX", f"{_F} size:2!0 001100 101 Pg:3 Zn:5 Zd:5", Check.SVE, frecpx),
    *(
        row
        for subtract, name in enumerate(("fmlal", "fmlsl"))
        for top in (0, 1)
        for row in (
            Row(
                f"{name.upper()}{'BT'[top]}",
                f"01100100 10 1 Zm:5 10 {subtract} 00 {top} Zn:5 Zda:5",
                Check.SVE,
                long_fused(name, top),
                "sve2",
            ),
            Row(
                f"{name.upper()}{'BT'[top]} (indexed)",
                f"01100100 10 1 i3h:2 Zm:3 01 {subtract} 0 i3l:1 {top} Zn:5 Zda:5",
                Check.SVE,
                long_fused_indexed(name, top),
                "sve2",
            ),
        )
    ),
    Row("FMMLA (single)", "01100100 10 1 Zm:5 111001 Zn:5 Zda:5", Check.NON_STREAMING, matrix(2), "f32mm"),
    Row("FMMLA (double)", "01100100 11 1 Zm:5 111001 Zn:5 Zda:5", Check.NON_STREAMING, matrix(3), "f64mm"),
)
