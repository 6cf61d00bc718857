"""Stores of vectors and predicates."""

# ruff: noqa: D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.cpu.decode import Row, signed
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import MASK64, UNSIGNED, Bools, Lanes, Machine
from armkvm.cpu.sve.loads import runs


def write_span(m: Machine, base: int, active: Bools, msize: int, lanes: Lanes, stride: int = 1) -> None:
    """Store the elements of active lanes at base + lane * stride."""
    narrow = lanes.astype(UNSIGNED[msize])
    for start, stop in runs(active):
        first, last = start * stride, stop * stride
        m.memory.store(base + (first << msize) & MASK64, narrow[first:last].tobytes())


def st1_imm(msz: int, size: int) -> Callable[..., None]:
    def execute(m: Machine, imm: int, Pg: int, Rn: int, Zt: int) -> None:
        base = m.get_xsp(Rn) + (signed(imm, 4) * m.counts[size] << msz)
        write_span(m, base, m.active(Pg, size), msz, m.u(Zt, size))

    return execute


def st1_reg(msz: int, size: int) -> Callable[..., None]:
    def execute(m: Machine, Rm: int, Pg: int, Rn: int, Zt: int) -> None:
        if Rm == 31:
            raise Undefined
        write_span(m, m.get_xsp(Rn) + (m.get_x(Rm) << msz), m.active(Pg, size), msz, m.u(Zt, size))

    return execute


def _structures(m: Machine, size: int, count: int, base: int, Pg: int, Zt: int) -> None:
    lanes = np.empty(count * m.counts[size], UNSIGNED[size])
    for i in range(count):
        lanes[i::count] = m.u((Zt + i) % 32, size)
    write_span(m, base, m.active(Pg, size), size, lanes, count)


def stn_imm(m: Machine, size: int, num: int, imm: int, Pg: int, Rn: int, Zt: int) -> None:
    count = num + 1
    _structures(m, size, count, m.get_xsp(Rn) + signed(imm, 4) * count * m.vl, Pg, Zt)


def stn_reg(m: Machine, size: int, num: int, Rm: int, Pg: int, Rn: int, Zt: int) -> None:
    if Rm == 31:
        raise Undefined
    _structures(m, size, num + 1, m.get_xsp(Rn) + (m.get_x(Rm) << size), Pg, Zt)


def str_z(m: Machine, imm9h: int, imm9l: int, Rn: int, Zt: int) -> None:
    offset = signed(imm9h << 3 | imm9l, 9) * m.vl
    m.memory.store(m.get_xsp(Rn) + offset & MASK64, m.u(Zt, 0).tobytes())


def str_p(m: Machine, imm9h: int, imm9l: int, Rn: int, Pt: int) -> None:
    offset = signed(imm9h << 3 | imm9l, 9) * (m.vl >> 3)
    m.memory.store(m.get_xsp(Rn) + offset & MASK64, m.p_bytes(Pt).tobytes())


ROWS = (
    *(
        Row(
            f"ST1{'BHWD'[msz]} (scalar plus {form}, .{'BHSD'[size]})",
            f"1110010 {msz:02b} {size:02b} {tail}",
            Check.SVE,
            make(msz, size),
        )
        for msz in range(4)
        for size in range(msz, 4)
        for form, tail, make in (
            ("immediate", "0 imm:4 111 Pg:3 Rn:5 Zt:5", st1_imm),
            ("scalar", "Rm:5 010 Pg:3 Rn:5 Zt:5", st1_reg),
        )
    ),
    Row(
        "STNT1, ST2 ... ST4 (scalar plus immediate)",
        "1110010 size:2 num:2 1 imm:4 111 Pg:3 Rn:5 Zt:5",
        Check.SVE,
        stn_imm,
    ),
    Row(
        "STNT1, ST2 ... ST4 (scalar plus scalar)",
        "1110010 size:2 num:2 Rm:5 011 Pg:3 Rn:5 Zt:5",
        Check.SVE,
        stn_reg,
    ),
    Row("STR (vector)", "1110010110 imm9h:6 010 imm9l:3 Rn:5 Zt:5", Check.SVE, str_z),
    Row("STR (predicate)", "1110010110 imm9h:6 000 imm9l:3 Rn:5 0 Pt:4", Check.SVE, str_p),
)
