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

ONE_POINT_ZERO = (0, 0x3C00, 0x3F80_0000, 0x3FF0_0000_0000_0000)
INFINITY = (0, 0x7C00, 0x7F80_0000, 0x7FF0_0000_0000_0000)
DEFAULT_NAN = (0, 0x7E00, 0x7FC0_0000, 0x7FF8_0000_0000_0000)


def sign_bit(size: int) -> Any:
    return UNSIGNED[size].type(1 << (8 << size) - 1)


def operate(m: Machine, name: str, size: int, *operands: Lanes) -> Lanes:
    """Run a lane operation with the PE's FPCR, accumulating its flags in FPSR."""
    if not size:
        raise Undefined
    result, m.vectors.fpsr = m.fp.run(name, size, operands, m.vectors.fpcr, m.vectors.fpsr)
    return result


def _quiet(size: int, active: Bools, lanes: Lanes) -> Lanes:
    return np.where(active, lanes, UNSIGNED[size].type(ONE_POINT_ZERO[size]))


def unpredicated(name: str) -> Callable[..., None]:
    def execute(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
        m.set_z(Zd, size, operate(m, name, size, m.u(Zn, size), m.u(Zm, size)))

    return execute


def predicated(name: str, reversed_operands: bool = False) -> Callable[..., None]:
    def execute(m: Machine, size: int, Pg: int, Zm: int, Zdn: int) -> None:
        active = m.active(Pg, size)
        a, b = _quiet(size, active, m.u(Zdn, size)), _quiet(size, active, m.u(Zm, size))
        if reversed_operands:
            a, b = b, a
        m.merge_z(Zdn, size, active, operate(m, name, size, a, b))

    return execute


def fused(name: str, negate_addend: bool, addend_is_destination: bool) -> Callable[..., None]:
    """FMLA and its relatives; `name` is the AdvSIMD form with the product's sign."""

    def execute(m: Machine, size: int, a: int, Pg: int, b: int, Zd: int) -> None:
        if not size:
            raise Undefined
        active = m.active(Pg, size)
        if addend_is_destination:
            addend, first, second = m.u(Zd, size), m.u(b, size), m.u(a, size)
        else:
            addend, first, second = m.u(a, size), m.u(Zd, size), m.u(b, size)
        if negate_addend:
            addend = addend ^ sign_bit(size)
        quiet = [_quiet(size, active, x) for x in (addend, first, second)]
        m.merge_z(Zd, size, active, operate(m, name, size, *quiet))

    return execute


def _by_element(m: Machine, size: int, Zm: int, index: int) -> Lanes:
    """Within each quadword, the element at `index`, repeated."""
    quadwords = m.u(Zm, size).reshape(-1, 16 >> size)
    return quadwords[:, index].repeat(16 >> size)


def fused_indexed(name: str, m: Machine, size: int, index: int, Zm: int, Zn: int, Zda: int) -> None:
    m.set_z(Zda, size, operate(m, name, size, m.u(Zda, size), m.u(Zn, size), _by_element(m, size, Zm, index)))


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
        m.set_z(Zd, size, operate(m, "fmul", size, m.u(Zn, size), _by_element(m, size, Zm, index)))

    if size == 1:

        def halves(m: Machine, i3h: int, i3l: int, Zm: int, Zn: int, Zd: int) -> None:
            multiply(m, i3h << 2 | i3l, Zm, Zn, Zd)

        return halves
    return multiply


def compare(name: str, invert: bool = False) -> Callable[..., None]:
    def execute(m: Machine, size: int, Zm: int, Pg: int, Zn: int, Pd: int) -> None:
        active = m.active(Pg, size)
        result = operate(
            m, name, size, _quiet(size, active, m.u(Zn, size)), _quiet(size, active, m.u(Zm, size))
        )
        m.set_p(Pd, size, ((result != 0) ^ invert) & active)

    return execute


def unordered(m: Machine, size: int, Zm: int, Pg: int, Zn: int, Pd: int) -> None:
    active = m.active(Pg, size)
    a, b = _quiet(size, active, m.u(Zn, size)), _quiet(size, active, m.u(Zm, size))
    operate(m, "fcmeq", size, a, b)  # for its flags, which are the same
    magnitude = ~sign_bit(size)
    limit = UNSIGNED[size].type(INFINITY[size])
    m.set_p(Pd, size, (((a & magnitude) > limit) | ((b & magnitude) > limit)) & active)


def compare_zero(name: str, swap: bool, invert: bool = False) -> Callable[..., None]:
    def execute(m: Machine, size: int, Pg: int, Zn: int, Pd: int) -> None:
        active = m.active(Pg, size)
        lanes = _quiet(size, active, m.u(Zn, size))
        zero = np.zeros_like(lanes)
        result = operate(m, name, size, *((zero, lanes) if swap else (lanes, zero)))
        m.set_p(Pd, size, ((result != 0) ^ invert) & active)

    return execute


def unary(name: str) -> Callable[..., None]:
    def execute(m: Machine, size: int, Pg: int, Zn: int, Zd: int) -> None:
        if not size:
            raise Undefined
        active = m.active(Pg, size)
        m.merge_z(Zd, size, active, operate(m, name, size, _quiet(size, active, m.u(Zn, size))))

    return execute


def estimate(name: str) -> Callable[..., None]:
    def execute(m: Machine, size: int, Zn: int, Zd: int) -> None:
        m.set_z(Zd, size, operate(m, name, size, m.u(Zn, size)))

    return execute


def convert(name: str, size: int) -> Callable[..., None]:
    """Conversions between an integer and a floating-point number of one size."""

    def execute(m: Machine, Pg: int, Zn: int, Zd: int) -> None:
        active = m.active(Pg, size)
        lanes = np.where(active, m.u(Zn, size), UNSIGNED[size].type(0))
        m.merge_z(Zd, size, active, operate(m, name, size, lanes))

    return execute


def reduction(name: str, identity: tuple[int, ...], negative: bool = False) -> Callable[..., None]:
    """Pairwise, over the vector padded with the identity to a power of two."""

    def execute(m: Machine, size: int, Pg: int, Zn: int, Vd: int) -> None:
        if not size:
            raise Undefined
        neutral = UNSIGNED[size].type(identity[size])
        if negative:
            neutral |= sign_bit(size)
        lanes = np.full(1 << (m.counts[size] - 1).bit_length(), neutral, UNSIGNED[size])
        lanes[: m.counts[size]] = np.where(m.active(Pg, size), m.u(Zn, size), neutral)
        while len(lanes) > 1:
            lanes = operate(m, name, size, lanes[0::2], lanes[1::2])
        m.set_v(Vd, size, int(lanes[0]))

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
            f"{_F} size:2 0 Zm:5 000 {bits} Zn:5 Zd:5",
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
        Row(f"{name} (vectors, predicated)", f"{_F} size:2 00 {bits} 100 Pg:3 Zm:5 Zdn:5", Check.SVE, execute)
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
        Row(name, f"{_F} size:2 1 a:5 {bits} Pg:3 b:5 Zd:5", Check.SVE, fused(product, negate, destination))
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
        Row(f"{name} (vectors)", f"{_F} size:2 0 Zm:5 {o} Pg:3 Zn:5 {o2} Pd:4", Check.SVE, execute)
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
        Row(f"{name} (zero)", f"{_F} size:2 0100 {bits} 001 Pg:3 Zn:5 {ne} Pd:4", Check.SVE, execute)
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
        Row(name.upper(), f"{_F} size:2 {bits} 101 Pg:3 Zn:5 Zd:5", Check.SVE, unary(name))
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
    Row("FRECPE", f"{_F} size:2 001110 001100 Zn:5 Zd:5", Check.SVE, estimate("frecpe")),
    Row("FRSQRTE", f"{_F} size:2 001111 001100 Zn:5 Zd:5", Check.SVE, estimate("frsqrte")),
    *(
        Row(
            f"{name.upper()} ({8 << size} bits)",
            f"{_F} {bits} 101 Pg:3 Zn:5 Zd:5",
            Check.SVE,
            convert(name, size),
        )
        for size, bits, name in (
            (1, "01 010 01 0", "scvtf"),
            (1, "01 010 01 1", "ucvtf"),
            (2, "10 010 10 0", "scvtf"),
            (2, "10 010 10 1", "ucvtf"),
            (3, "11 010 11 0", "scvtf"),
            (3, "11 010 11 1", "ucvtf"),
            (1, "01 011 01 0", "fcvtzs"),
            (1, "01 011 01 1", "fcvtzu"),
            (2, "10 011 10 0", "fcvtzs"),
            (2, "10 011 10 1", "fcvtzu"),
            (3, "11 011 11 0", "fcvtzs"),
            (3, "11 011 11 1", "fcvtzu"),
        )
    ),
    *(
        Row(name, f"{_F} size:2 000 {bits} 001 Pg:3 Zn:5 Vd:5", Check.SVE, execute)
        for bits, name, execute in (
            ("000", "FADDV", reduction("fadd", (0, 0, 0, 0))),
            ("100", "FMAXNMV", reduction("fmaxnm", DEFAULT_NAN)),
            ("101", "FMINNMV", reduction("fminnm", DEFAULT_NAN)),
            ("110", "FMAXV", reduction("fmax", INFINITY, True)),
            ("111", "FMINV", reduction("fmin", INFINITY)),
        )
    ),
)
