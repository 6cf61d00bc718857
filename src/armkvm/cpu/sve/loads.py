"""Loads of vectors and predicates. All active lanes are read before anything is written."""

# ruff: noqa: D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

import numpy as np

from armkvm.cpu.decode import Row, signed
from armkvm.cpu.exceptions import GuestException, OutsideMemory, Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import MASK64, SIGNED, UNSIGNED, Bools, Lanes, Machine

# dtype -> (memory element size, lane size, signed); Arm ARM, LD1B ... encodings.
DTYPES: tuple[tuple[int, int, bool], ...] = (
    *((0, lane, False) for lane in range(4)),
    (2, 3, True),
    *((1, lane, False) for lane in range(1, 4)),
    (1, 3, True),
    (1, 2, True),
    (2, 2, False),
    (2, 3, False),
    *((0, lane, True) for lane in (3, 2, 1)),
    (3, 3, False),
)


def read_span(m: Machine, base: int, active: Bools, msize: int, stride: int = 1) -> Lanes:
    """Memory elements at base + lane * stride, zero where inactive.

    Contiguous active runs are read at once; inactive elements are never touched, so that they
    cannot fault.
    """
    lanes = np.zeros(len(active) * stride, UNSIGNED[msize])
    for start, stop in runs(active):
        first, last = start * stride, stop * stride
        data = m.memory.load(base + (first << msize) & MASK64, last - first << msize)
        lanes[first:last] = np.frombuffer(data, UNSIGNED[msize])
    return lanes


def runs(active: Bools) -> list[tuple[int, int]]:
    """[start, stop) of each run of active lanes."""
    if active.all():
        return [(0, len(active))]
    edges = np.flatnonzero(np.diff(active, prepend=False, append=False))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def widen(lanes: Lanes, msize: int, size: int, sign: bool) -> Lanes:
    if not sign:
        return lanes.astype(UNSIGNED[size])
    return lanes.view(SIGNED[msize]).astype(SIGNED[size]).view(UNSIGNED[size])


def _contiguous(m: Machine, dtype: int, base: int, Pg: int, Zt: int) -> None:
    msize, size, sign = DTYPES[dtype]
    m.set_z(Zt, size, widen(read_span(m, base, m.active(Pg, size), msize), msize, size, sign))


def ld1_imm(m: Machine, dtype: int, imm: int, Pg: int, Rn: int, Zt: int) -> None:
    msize, size, _ = DTYPES[dtype]
    _contiguous(m, dtype, m.get_xsp(Rn) + (signed(imm, 4) * m.counts[size] << msize), Pg, Zt)


def ld1_reg(m: Machine, dtype: int, Rm: int, Pg: int, Rn: int, Zt: int) -> None:
    if Rm == 31:
        raise Undefined
    _contiguous(m, dtype, m.get_xsp(Rn) + (m.get_x(Rm) << DTYPES[dtype][0]), Pg, Zt)


def _first_fault(m: Machine, dtype: int, base: int, Pg: int, Zt: int, take: bool) -> None:
    """Lane by lane; at the first failing lane the load ends, and FFR is cleared from there on.

    A failure of the first active lane is taken (LDFF1) or suppressed as well (LDNF1). What lanes
    hold whose FFR bit is already false is up to the implementation; they are loaded.
    """
    msize, size, sign = DTYPES[dtype]
    lanes = np.zeros(m.counts[size], UNSIGNED[msize])
    for lane in np.flatnonzero(m.active(Pg, size)).tolist():
        try:
            data = m.memory.load(base + (lane << msize) & MASK64, 1 << msize)
        except (GuestException, OutsideMemory):
            if take:
                raise
            ffr = m.ffr().copy()
            ffr[lane << size :] = False
            m.set_ffr(ffr)
            break
        lanes[lane] = int.from_bytes(data, "little")
        take = False
    m.set_z(Zt, size, widen(lanes, msize, size, sign))


def ldff1(m: Machine, dtype: int, Rm: int, Pg: int, Rn: int, Zt: int) -> None:
    _first_fault(m, dtype, m.get_xsp(Rn) + (m.get_x(Rm) << DTYPES[dtype][0]), Pg, Zt, True)


def ldnf1(m: Machine, dtype: int, imm: int, Pg: int, Rn: int, Zt: int) -> None:
    msize, size, _ = DTYPES[dtype]
    _first_fault(m, dtype, m.get_xsp(Rn) + (signed(imm, 4) * m.counts[size] << msize), Pg, Zt, False)


def ld1r(m: Machine, dtypeh: int, imm: int, dtypel: int, Pg: int, Rn: int, Zt: int) -> None:
    msize, size, sign = DTYPES[dtypeh << 2 | dtypel]
    active = m.active(Pg, size)
    element = np.zeros(1, UNSIGNED[msize])
    if active.any():
        data = m.memory.load(m.get_xsp(Rn) + (imm << msize) & MASK64, 1 << msize)
        element[0] = int.from_bytes(data, "little")
    value = widen(element, msize, size, sign)[0]
    m.set_z(Zt, size, np.where(active, value, UNSIGNED[size].type(0)))


def _replicate_quadword(m: Machine, size: int, base: int, Pg: int, Zt: int) -> None:
    lanes = read_span(m, base, m.active(Pg, size)[: 16 >> size], size)
    m.set_z(Zt, size, np.tile(lanes, m.vl // 16))


def ld1rq_imm(m: Machine, size: int, imm: int, Pg: int, Rn: int, Zt: int) -> None:
    _replicate_quadword(m, size, m.get_xsp(Rn) + signed(imm, 4) * 16, Pg, Zt)


def ld1rq_reg(m: Machine, size: int, Rm: int, Pg: int, Rn: int, Zt: int) -> None:
    if Rm == 31:
        raise Undefined
    _replicate_quadword(m, size, m.get_xsp(Rn) + (m.get_x(Rm) << size), Pg, Zt)


def _structures(m: Machine, size: int, count: int, base: int, Pg: int, Zt: int) -> None:
    """LD2, LD3, LD4: de-interleave `count` vectors."""
    lanes = read_span(m, base, m.active(Pg, size), size, count)
    for i in range(count):
        m.set_z((Zt + i) % 32, size, lanes[i::count])


def ldn_imm(m: Machine, size: int, num: int, imm: int, Pg: int, Rn: int, Zt: int) -> None:
    count = num + 1
    if count == 1:  # LDNT1
        _structures(m, size, 1, m.get_xsp(Rn) + signed(imm, 4) * m.vl, Pg, Zt)
        return
    _structures(m, size, count, m.get_xsp(Rn) + signed(imm, 4) * count * m.vl, Pg, Zt)


def ldn_reg(m: Machine, size: int, num: int, Rm: int, Pg: int, Rn: int, Zt: int) -> None:
    if Rm == 31:
        raise Undefined
    _structures(m, size, num + 1, m.get_xsp(Rn) + (m.get_x(Rm) << size), Pg, Zt)


def ldr_z(m: Machine, imm9h: int, imm9l: int, Rn: int, Zt: int) -> None:
    offset = signed(imm9h << 3 | imm9l, 9) * m.vl
    m.set_z(Zt, 0, np.frombuffer(m.memory.load(m.get_xsp(Rn) + offset & MASK64, m.vl), np.uint8))


def ldr_p(m: Machine, imm9h: int, imm9l: int, Rn: int, Pt: int) -> None:
    size = m.vl >> 3
    offset = signed(imm9h << 3 | imm9l, 9) * size
    m.p_bytes(Pt)[:] = np.frombuffer(m.memory.load(m.get_xsp(Rn) + offset & MASK64, size), np.uint8)


def prefetch(m: Machine, *operands: int) -> None:
    """A hint: it reads nothing that a guest could see."""


_PREFETCH = "Pg:3 Rn:5 0 prfop:4"


ROWS = (
    Row(
        "LD1B ... LD1D (scalar plus immediate)",
        "1010010 dtype:4 0 imm:4 101 Pg:3 Rn:5 Zt:5",
        Check.SVE,
        ld1_imm,
    ),
    Row("LD1B ... LD1D (scalar plus scalar)", "1010010 dtype:4 Rm:5 010 Pg:3 Rn:5 Zt:5", Check.SVE, ld1_reg),
    Row(
        "LDFF1B ... LDFF1D (scalar plus scalar)",
        "1010010 dtype:4 Rm:5 011 Pg:3 Rn:5 Zt:5",
        Check.NON_STREAMING,
        ldff1,
    ),
    Row("LDNF1B ... LDNF1D", "1010010 dtype:4 1 imm:4 101 Pg:3 Rn:5 Zt:5", Check.NON_STREAMING, ldnf1),
    Row("LD1RB ... LD1RD", "1000010 dtypeh:2 1 imm:6 1 dtypel:2 Pg:3 Rn:5 Zt:5", Check.SVE, ld1r),
    Row(
        "LD1RQB ... LD1RQD (scalar plus immediate)",
        "1010010 size:2 00 0 imm:4 001 Pg:3 Rn:5 Zt:5",
        Check.SVE,
        ld1rq_imm,
    ),
    Row(
        "LD1RQB ... LD1RQD (scalar plus scalar)",
        "1010010 size:2 00 Rm:5 000 Pg:3 Rn:5 Zt:5",
        Check.SVE,
        ld1rq_reg,
    ),
    Row(
        "LDNT1, LD2 ... LD4 (scalar plus immediate)",
        "1010010 size:2 num:2 0 imm:4 111 Pg:3 Rn:5 Zt:5",
        Check.SVE,
        ldn_imm,
    ),
    Row(
        "LDNT1, LD2 ... LD4 (scalar plus scalar)",
        "1010010 size:2 num:2 Rm:5 110 Pg:3 Rn:5 Zt:5",
        Check.SVE,
        ldn_reg,
    ),
    Row("LDR (vector)", "1000010110 imm9h:6 010 imm9l:3 Rn:5 Zt:5", Check.SVE, ldr_z),
    Row("LDR (predicate)", "1000010110 imm9h:6 000 imm9l:3 Rn:5 0 Pt:4", Check.SVE, ldr_p),
    Row(
        "PRFB ... PRFD (scalar plus immediate)", f"1000010 111 imm:6 0 msz:2 {_PREFETCH}", Check.SVE, prefetch
    ),
    Row("PRFB ... PRFD (scalar plus scalar)", f"1000010 msz:2 00 Rm:5 110 {_PREFETCH}", Check.SVE, prefetch),
)
