"""Predicate generation, logic, scans, and the first-fault register."""

# ruff: noqa: D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

import numpy as np

from armkvm.arch.pstate import C_FLAG, N_FLAG, V_FLAG
from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import MASK64, Bools, Machine
from armkvm.cpu.sve.counts import elements_of


def ptrue(m: Machine, size: int, s: int, pattern: int, Pd: int) -> None:
    lanes = np.arange(m.counts[size]) < elements_of(m, pattern, size)
    m.set_p(Pd, size, lanes)
    if s:
        m.test(lanes, lanes)


def pfalse(m: Machine, Pd: int) -> None:
    m.p_bytes(Pd)[:] = 0


def rdffr(m: Machine, Pd: int) -> None:
    m.set_p(Pd, 0, m.ffr())


def rdffr_predicated(m: Machine, s: int, Pg: int, Pd: int) -> None:
    mask = m.active(Pg, 0)
    result = m.ffr() & mask
    m.set_p(Pd, 0, result)
    if s:
        m.test(mask, result)


def wrffr(m: Machine, Pn: int) -> None:
    m.set_ffr(m.active(Pn, 0))


def setffr(m: Machine) -> None:
    m.set_ffr(True)


def ptest(m: Machine, Pg: int, Pn: int) -> None:
    m.test(m.active(Pg, 0), m.active(Pn, 0))


def pfirst(m: Machine, Pg: int, Pdn: int) -> None:
    mask = m.active(Pg, 0)
    result = m.active(Pdn, 0).copy()
    first = np.flatnonzero(mask)[:1]
    result[first] = True
    m.set_p(Pdn, 0, result)
    m.test(mask, result)


def pnext(m: Machine, size: int, Pg: int, Pdn: int) -> None:
    mask = m.active(Pg, size)
    before = np.flatnonzero(m.active(Pdn, size))
    start = int(before[-1]) + 1 if before.size else 0
    result = np.zeros(m.counts[size], np.bool_)
    following = np.flatnonzero(mask[start:])[:1] + start
    result[following] = True
    m.set_p(Pdn, size, result)
    m.test(mask, result)


# (op, o2, o3) -> the operation on (n, m); the mask is applied after, except by SEL.
_LOGIC = {
    (0, 0, 0): lambda n, m: n & m,
    (0, 0, 1): lambda n, m: n & ~m,
    (0, 1, 0): lambda n, m: n ^ m,
    (1, 0, 0): lambda n, m: n | m,
    (1, 0, 1): lambda n, m: n | ~m,
    (1, 1, 0): lambda n, m: ~(n | m),
    (1, 1, 1): lambda n, m: ~(n & m),
}


def logic(m: Machine, op: int, s: int, Pm: int, Pg: int, o2: int, Pn: int, o3: int, Pd: int) -> None:
    mask, a, b = m.active(Pg, 0), m.active(Pn, 0), m.active(Pm, 0)
    operation = _LOGIC.get((op, o2, o3))
    if operation is None:  # SEL, which has no flag-setting form
        if s:
            raise Undefined
        m.set_p(Pd, 0, np.where(mask, a, b))
        return
    result = operation(a, b) & mask
    m.set_p(Pd, 0, result)
    if s:
        m.test(mask, result)


def _until_break(mask: Bools, breaks: Bools, inclusive: bool) -> Bools:
    """Lanes before (and with `inclusive` up to) the first active lane that breaks."""
    hits = np.flatnonzero(mask & breaks)
    stop = len(mask) if not hits.size else int(hits[0]) + inclusive
    result: Bools = mask & (np.arange(len(mask)) < stop)
    return result


def brk(m: Machine, before: int, s: int, Pg: int, Pn: int, merge: int, Pd: int) -> None:
    if merge and s:
        raise Undefined
    mask = m.active(Pg, 0)
    result = _until_break(mask, m.active(Pn, 0), not before)
    if merge:
        result = np.where(mask, result, m.active(Pd, 0))
    m.set_p(Pd, 0, result)
    if s:
        m.test(mask, result)


def brkp(m: Machine, s: int, Pm: int, Pg: int, Pn: int, before: int, Pd: int) -> None:
    mask, a = m.active(Pg, 0), m.active(Pn, 0)
    active = np.flatnonzero(mask)
    last = bool(active.size and a[active[-1]])
    result = _until_break(mask, m.active(Pm, 0), not before) if last else np.zeros(m.vl, np.bool_)
    m.set_p(Pd, 0, result)
    if s:
        m.test(mask, result)


def brkn(m: Machine, s: int, Pg: int, Pn: int, Pdm: int) -> None:
    active = np.flatnonzero(m.active(Pg, 0))
    last = bool(active.size and m.active(Pn, 0)[active[-1]])
    result = m.active(Pdm, 0) if last else np.zeros(m.vl, np.bool_)
    m.set_p(Pdm, 0, result)
    if s:
        m.test(np.ones(m.vl, np.bool_), result)


def _operand(m: Machine, n: int, sf: int, unsigned: int) -> int:
    value, width = m.get_x(n), 64 if sf else 32
    value &= (1 << width) - 1
    return value if unsigned or not value >> (width - 1) else value - (1 << width)


def while_up(m: Machine, size: int, Rm: int, sf: int, unsigned: int, Rn: int, eq: int, Pd: int) -> None:
    """WHILELT, WHILELE, WHILELO, WHILELS: true from the lowest lane while n + lane < (<=) m."""
    first, limit, count = _operand(m, Rn, sf, unsigned), _operand(m, Rm, sf, unsigned), m.counts[size]
    trips = max(0, min(count, limit - first + eq))
    width = 64 if sf else 32
    largest = (1 << width) - 1 if unsigned else (1 << (width - 1)) - 1
    if eq and limit == largest and limit >= first:
        # Counting up wraps before it can exceed the largest number: the comparison never fails.
        trips = count
    lanes = np.arange(count) < trips
    m.set_p(Pd, size, lanes)
    m.test(np.ones(count, np.bool_), lanes)


def while_down(m: Machine, size: int, Rm: int, sf: int, unsigned: int, Rn: int, eq_not: int, Pd: int) -> None:
    """WHILEGE, WHILEGT, WHILEHS, WHILEHI: true from the highest lane while n - lane > (>=) m."""
    first, limit, count = _operand(m, Rn, sf, unsigned), _operand(m, Rm, sf, unsigned), m.counts[size]
    eq = not eq_not
    trips = max(0, min(count, first - limit + eq))
    width = 64 if sf else 32
    smallest = 0 if unsigned else -(1 << (width - 1))
    if eq and limit == smallest and limit <= first:
        trips = count
    lanes = np.arange(count) >= count - trips
    m.set_p(Pd, size, lanes)
    m.test(np.ones(count, np.bool_), lanes)


def while_conflict(m: Machine, size: int, Rm: int, Rn: int, read_after_write: int, Pd: int) -> None:
    """WHILEWR, WHILERW: lanes whose accesses at two addresses do not get in each other's way."""
    count, first, second = m.counts[size], m.get_x(Rn), m.get_x(Rm)
    distance = abs(second - first) if read_after_write else max(0, second - first)
    apart = distance >> size
    lanes = np.arange(count) < (apart or count)
    m.set_p(Pd, size, lanes)
    m.test(np.ones(count, np.bool_), lanes)


def cterm(m: Machine, sz: int, Rm: int, Rn: int, ne: int) -> None:
    mask = MASK64 if sz else 0xFFFFFFFF
    equal = not (m.get_x(Rn) ^ m.get_x(Rm)) & mask
    if equal != bool(ne):
        m.nzcv = m.nzcv & ~(N_FLAG | V_FLAG) | N_FLAG
    else:
        m.nzcv = m.nzcv & ~(N_FLAG | V_FLAG) | (0 if m.nzcv & C_FLAG else V_FLAG)


def punpk(m: Machine, high: int, Pn: int, Pd: int) -> None:
    lanes = m.active(Pn, 0)
    half = len(lanes) // 2
    m.set_p(Pd, 1, lanes[half:] if high else lanes[:half])


def _bits_of_lanes(m: Machine, n: int, size: int) -> Bools:
    """Pn's bits, one row per lane: predicate permutes move all bits of a lane."""
    return m.active(n, 0).reshape(m.counts[size], 1 << size)


def permute_p(m: Machine, size: int, Pm: int, opc: int, second: int, Pn: int, Pd: int) -> None:
    a, b = _bits_of_lanes(m, Pn, size), _bits_of_lanes(m, Pm, size)
    half = len(a) // 2
    result = np.empty_like(a)
    if opc == 0:  # ZIP1, ZIP2
        part = slice(half, None) if second else slice(None, half)
        if half:
            result[0::2], result[1::2] = a[part], b[part]
    elif opc == 1:  # UZP1, UZP2
        joined = np.concatenate((a, b))
        result[:] = joined[second::2]
    elif opc == 2:  # TRN1, TRN2
        result[0::2], result[1::2] = a[second::2], b[second::2]
    else:
        raise Undefined
    m.set_p(Pd, 0, result.reshape(-1))


def rev_p(m: Machine, size: int, Pn: int, Pd: int) -> None:
    m.set_p(Pd, 0, _bits_of_lanes(m, Pn, size)[::-1].reshape(-1))


def psel(m: Machine, i1: int, tszh: int, tszl: int, Rv: int, Pn: int, Pm: int, Pd: int) -> None:
    """Pd := Pn if the lane of Pm that W12+Rv plus the index selects is true, else all false."""
    tsz = tszh << 3 | tszl
    if not tsz:
        raise Undefined
    size = (tsz & -tsz).bit_length() - 1
    lane = ((m.x[12 + Rv] & 0xFFFFFFFF) + ((i1 << 4 | tsz) >> size + 1)) % m.counts[size]
    m.p_bytes(Pd)[:] = m.p_bytes(Pn).copy() if m.active(Pm, size)[lane] else 0


_P = "00100101"
ROWS = (
    Row("PTRUE, PTRUES", f"{_P} size:2 01100 s:1 111000 pattern:5 0 Pd:4", Check.SVE, ptrue),
    Row("PFALSE", f"{_P} 00 011000 111001 00000 0 Pd:4", Check.SVE, pfalse),
    Row("RDFFR (unpredicated)", f"{_P} 00 011001 111100 000000 Pd:4", Check.NON_STREAMING, rdffr),
    Row(
        "RDFFR, RDFFRS (predicated)",
        f"{_P} 0 s:1 011000 1111000 Pg:4 0 Pd:4",
        Check.NON_STREAMING,
        rdffr_predicated,
    ),
    Row("WRFFR", f"{_P} 00 101000 1001000 Pn:4 00000", Check.NON_STREAMING, wrffr),
    Row("SETFFR", f"{_P} 00 101100 100100 0000000000", Check.NON_STREAMING, setffr),
    Row("PTEST", f"{_P} 01 010000 11 Pg:4 0 Pn:4 00000", Check.SVE, ptest),
    Row("PFIRST", f"{_P} 01 011000 1100000 Pg:4 0 Pdn:4", Check.SVE, pfirst),
    Row("PNEXT", f"{_P} size:2 011001 1100010 Pg:4 0 Pdn:4", Check.SVE, pnext),
    Row(
        "AND, BIC, EOR, SEL, ORR, ORN, NOR, NAND (predicates)",
        f"{_P} op:1 s:1 00 Pm:4 01 Pg:4 o2:1 Pn:4 o3:1 Pd:4",
        Check.SVE,
        logic,
    ),
    Row("BRKA, BRKB", f"{_P} before:1 s:1 010000 01 Pg:4 0 Pn:4 merge:1 Pd:4", Check.SVE, brk),
    Row("BRKPA, BRKPB", f"{_P} 0 s:1 00 Pm:4 11 Pg:4 0 Pn:4 before:1 Pd:4", Check.SVE, brkp),
    Row("BRKN", f"{_P} 0 s:1 011000 01 Pg:4 0 Pn:4 0 Pdm:4", Check.SVE, brkn),
    Row(
        "WHILELT, WHILELE, WHILELO, WHILELS",
        f"{_P} size:2 1 Rm:5 000 sf:1 unsigned:1 1 Rn:5 eq:1 Pd:4",
        Check.SVE,
        while_up,
    ),
    Row(
        "WHILEGE, WHILEGT, WHILEHS, WHILEHI",
        f"{_P} size:2 1 Rm:5 000 sf:1 unsigned:1 0 Rn:5 eq_not:1 Pd:4",
        Check.SVE,
        while_down,
        "sve2",
    ),
    Row(
        "WHILEWR, WHILERW",
        f"{_P} size:2 1 Rm:5 001100 Rn:5 read_after_write:1 Pd:4",
        Check.SVE,
        while_conflict,
        "sve2",
    ),
    Row("CTERMEQ, CTERMNE", f"{_P} 1 sz:1 1 Rm:5 001000 Rn:5 ne:1 0000", Check.SVE, cterm),
    Row("PSEL", f"{_P} i1:1 tszh:1 1 tszl:3 Rv:2 01 Pn:4 0 Pm:4 0 Pd:4", Check.SVE, psel, "sme"),
    Row("PUNPKLO, PUNPKHI", "00000101 0011000 high:1 0100000 Pn:4 0 Pd:4", Check.SVE, punpk),
    Row(
        "ZIP1, ZIP2, UZP1, UZP2, TRN1, TRN2 (predicates)",
        "00000101 size:2 10 Pm:4 010 opc:2 second:1 0 Pn:4 0 Pd:4",
        Check.SVE,
        permute_p,
    ),
    Row("REV (predicate)", "00000101 size:2 110100 0100000 Pn:4 0 Pd:4", Check.SVE, rev_p),
)
