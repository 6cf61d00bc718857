"""Floating-point compares into predicates."""

# ruff: noqa: D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Machine
from armkvm.cpu.sve.fp_lanes import INFINITY, operate, quiet, sign_bit


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


_F = "01100101"
ROWS = (
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
)
