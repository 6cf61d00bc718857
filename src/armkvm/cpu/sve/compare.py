"""Integer compares into predicates."""

# ruff: noqa: ANN401, D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from armkvm.cpu.decode import Row, signed
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import Lanes, Machine


def _finish(m: Machine, size: int, Pg: int, Pd: int, result: Any) -> None:
    mask = m.active(Pg, size)
    result = result & mask
    m.set_p(Pd, size, result)
    m.test(mask, result)


def vectors(compare: Callable[[Lanes, Lanes], Any], unsigned: bool = False) -> Callable[..., None]:
    def execute(m: Machine, size: int, Zm: int, Pg: int, Zn: int, Pd: int) -> None:
        lanes = m.u if unsigned else m.i
        _finish(m, size, Pg, Pd, compare(lanes(Zn, size), lanes(Zm, size)))

    return execute


def wide(compare: Callable[[Lanes, Lanes], Any], unsigned: bool = False) -> Callable[..., None]:
    """Against the doubleword of Zm that the lane lies in."""

    def execute(m: Machine, size: int, Zm: int, Pg: int, Zn: int, Pd: int) -> None:
        if size == 3:
            raise Undefined
        lanes = m.u if unsigned else m.i
        doublewords = lanes(Zm, 3).repeat(8 >> size)
        _finish(m, size, Pg, Pd, compare(lanes(Zn, size).astype(doublewords.dtype), doublewords))

    return execute


def immediate(compare: Callable[[Lanes, Any], Any]) -> Callable[..., None]:
    def execute(m: Machine, size: int, imm: int, Pg: int, Zn: int, Pd: int) -> None:
        _finish(m, size, Pg, Pd, compare(m.i(Zn, size), signed(imm, 5)))

    return execute


def immediate_unsigned(compare: Callable[[Lanes, Any], Any]) -> Callable[..., None]:
    def execute(m: Machine, size: int, imm: int, Pg: int, Zn: int, Pd: int) -> None:
        _finish(m, size, Pg, Pd, compare(m.u(Zn, size), imm))

    return execute


_V = "00100100 size:2 0 Zm:5"
_TAIL = "Pg:3 Zn:5"
ROWS = (
    Row("CMPHS (vectors)", f"{_V} 000 {_TAIL} 0 Pd:4", Check.SVE, vectors(operator.ge, True)),
    Row("CMPHI (vectors)", f"{_V} 000 {_TAIL} 1 Pd:4", Check.SVE, vectors(operator.gt, True)),
    Row("CMPEQ (wide elements)", f"{_V} 001 {_TAIL} 0 Pd:4", Check.SVE, wide(operator.eq)),
    Row("CMPNE (wide elements)", f"{_V} 001 {_TAIL} 1 Pd:4", Check.SVE, wide(operator.ne)),
    Row("CMPGE (wide elements)", f"{_V} 010 {_TAIL} 0 Pd:4", Check.SVE, wide(operator.ge)),
    Row("CMPGT (wide elements)", f"{_V} 010 {_TAIL} 1 Pd:4", Check.SVE, wide(operator.gt)),
    Row("CMPLT (wide elements)", f"{_V} 011 {_TAIL} 0 Pd:4", Check.SVE, wide(operator.lt)),
    Row("CMPLE (wide elements)", f"{_V} 011 {_TAIL} 1 Pd:4", Check.SVE, wide(operator.le)),
    Row("CMPGE (vectors)", f"{_V} 100 {_TAIL} 0 Pd:4", Check.SVE, vectors(operator.ge)),
    Row("CMPGT (vectors)", f"{_V} 100 {_TAIL} 1 Pd:4", Check.SVE, vectors(operator.gt)),
    Row("CMPEQ (vectors)", f"{_V} 101 {_TAIL} 0 Pd:4", Check.SVE, vectors(operator.eq)),
    Row("CMPNE (vectors)", f"{_V} 101 {_TAIL} 1 Pd:4", Check.SVE, vectors(operator.ne)),
    Row("CMPHS (wide elements)", f"{_V} 110 {_TAIL} 0 Pd:4", Check.SVE, wide(operator.ge, True)),
    Row("CMPHI (wide elements)", f"{_V} 110 {_TAIL} 1 Pd:4", Check.SVE, wide(operator.gt, True)),
    Row("CMPLO (wide elements)", f"{_V} 111 {_TAIL} 0 Pd:4", Check.SVE, wide(operator.lt, True)),
    Row("CMPLS (wide elements)", f"{_V} 111 {_TAIL} 1 Pd:4", Check.SVE, wide(operator.le, True)),
    *(
        Row(
            f"{name} (immediate)",
            f"00100101 size:2 0 imm:5 {o} 0 {c} {_TAIL} {ne} Pd:4",
            Check.SVE,
            immediate(compare),
        )
        for name, o, c, ne, compare in (
            ("CMPGE", 0, 0, 0, operator.ge),
            ("CMPGT", 0, 0, 1, operator.gt),
            ("CMPLT", 0, 1, 0, operator.lt),
            ("CMPLE", 0, 1, 1, operator.le),
            ("CMPEQ", 1, 0, 0, operator.eq),
            ("CMPNE", 1, 0, 1, operator.ne),
        )
    ),
    *(
        Row(
            f"{name} (immediate)",
            f"00100100 size:2 1 imm:7 {lt} {_TAIL} {ne} Pd:4",
            Check.SVE,
            immediate_unsigned(compare),
        )
        for name, lt, ne, compare in (
            ("CMPHS", 0, 0, operator.ge),
            ("CMPHI", 0, 1, operator.gt),
            ("CMPLO", 1, 0, operator.lt),
            ("CMPLS", 1, 1, operator.le),
        )
    ),
)
