"""Floating-point arithmetic, lane by lane."""

# ruff: noqa: D103, N803 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Machine
from armkvm.cpu.sve.fp_lanes import operate, operate_singly, quiet
from armkvm.cpu.sve.halving import pairs_of


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


def unary(name: str) -> Callable[..., None]:
    def execute(m: Machine, size: int, Pg: int, Zn: int, Zd: int) -> None:
        active = m.active(Pg, size)
        m.merge_z(Zd, size, active, operate(m, name, size, quiet(size, active, m.u(Zn, size))))

    return execute


def estimate(name: str) -> Callable[..., None]:
    def execute(m: Machine, size: int, Zn: int, Zd: int) -> None:
        m.set_z(Zd, size, operate(m, name, size, m.u(Zn, size)))

    return execute


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
    m.merge_z(Zd, size, active, operate_singly(m, f"frecpx {size}", quiet(size, active, m.u(Zn, size))))


_F, _G = "01100101", "01100100"
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
        Row(
            name.upper() + "P",
            f"{_G} size:2!0 010 {bits} 100 Pg:3 Zm:5 Zdn:5",
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
    Row("FCLAMP", f"{_G} size:2!0 1 Zm:5 001001 Zn:5 Zd:5", Check.SVE, fclamp, "sve2p1_or_sme2"),
    Row("FRECPX", f"{_F} size:2!0 001100 101 Pg:3 Zn:5 Zd:5", Check.SVE, frecpx),
)
