"""Predicates as counters (PN8 to PN15): making them, counting them, turning them into masks.

A counter's low sixteen bits hold, from bit 0: an element size in unary, a number of elements, and in bit
15 whether these are the false ones at the bottom. It governs up to four vectors.
"""

# ruff: noqa: ARG001, D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.arch.pstate import C_FLAG, N_FLAG, Z_FLAG
from armkvm.cpu.decode import Row, signed
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import MASK64, Bools, Machine
from armkvm.cpu.sve.loads import read_span
from armkvm.cpu.sve.stores import write_span

_NEEDS = "sve2p1_or_sme2"


def lanes_of(m: Machine, pn: int, vectors: int, size: int) -> Bools:
    """Which lanes of a size counter PN makes active, in so many consecutive vectors."""
    value = int(m.p_bytes(pn)[:2].view("<u2")[0])
    mask = np.zeros(vectors * m.vl, np.bool_)
    unary = value & 15
    if unary:
        own = (unary & -unary).bit_length() - 1
        used = (2 << (4 * m.vl - 1).bit_length()) - 1  # the bits that a count can need at this length
        count, elements = (value & 0x7FFF & used) >> own + 1, np.arange(mask.size >> own)
        mask[:: 1 << own] = elements >= count if value >> 15 else elements < count
    return mask[:: 1 << size]


def _set_counter(m: Machine, pn: int, size: int, elements: int, count: int, from_top: bool) -> None:
    """PN := the lowest, or highest, `count` of `elements`."""
    m.p_bytes(pn)[:] = 0
    if not count:
        return
    inverted = from_top or count == elements
    number = (elements - count if from_top else 0) if inverted else count
    value = inverted << 15 | number << size + 1 & 0x7FFF | 1 << size
    m.p_bytes(pn)[:2] = (value & 255, value >> 8)


def _test_count(m: Machine, elements: int, count: int, from_top: bool) -> None:
    """Flags as PTEST would set them on `elements` all governed."""
    first, last = (count == elements, count > 0) if from_top else (count > 0, count == elements)
    m.nzcv = (N_FLAG if first else 0) | (0 if count else Z_FLAG) | (0 if last else C_FLAG)


def ptrue(m: Machine, size: int, PNd: int) -> None:
    elements = 4 * m.counts[size]
    _set_counter(m, 8 + PNd, size, elements, elements, False)


def pext(m: Machine, size: int, imm: int, PNn: int, Pd: int) -> None:
    count = m.counts[size]
    m.set_p(Pd, size, lanes_of(m, 8 + PNn, 4, size)[imm * count : (imm + 1) * count])


def pext_pair(m: Machine, size: int, imm: int, PNn: int, Pd: int) -> None:
    count = m.counts[size]
    lanes = lanes_of(m, 8 + PNn, 4, size)
    for i in range(2):
        at = (2 * imm + i) * count
        m.set_p((Pd + i) % 16, size, lanes[at : at + count])


def cntp(m: Machine, size: int, vl: int, PNn: int, Rd: int) -> None:
    m.set_x(Rd, int(lanes_of(m, PNn, 4 if vl else 2, size).sum()))


def _trips(m: Machine, Rm: int, unsigned: int, lt: int, Rn: int, eq: int, elements: int) -> int:
    """How many of `elements` a WHILE makes true: while n + i < m, or n - i > m, perhaps with equality."""
    first, limit = m.get_x(Rn), m.get_x(Rm)
    if not unsigned:
        first, limit = signed(first, 64), signed(limit, 64)
    least, greatest = (0, MASK64) if unsigned else (-1 << 63, (1 << 63) - 1)
    distance, end = (limit - first, greatest) if lt else (first - limit, least)
    if eq and limit == end and distance >= 0:
        return elements  # wrapping, the counter never gets past the last number
    return max(0, min(elements, distance + eq))


def while_counter(
    m: Machine, size: int, Rm: int, vl: int, unsigned: int, lt: int, Rn: int, eq: int, PNd: int
) -> None:
    elements = m.counts[size] * (4 if vl else 2)
    count = _trips(m, Rm, unsigned, lt, Rn, eq if lt else not eq, elements)
    _set_counter(m, 8 + PNd, size, elements, count, not lt)
    _test_count(m, elements, count, not lt)


def while_pair(m: Machine, size: int, Rm: int, unsigned: int, lt: int, Rn: int, Pd: int, eq: int) -> None:
    """Into two predicates."""
    elements = 2 * m.counts[size]
    count = _trips(m, Rm, unsigned, lt, Rn, eq if lt else not eq, elements)
    lanes = np.arange(elements)
    chosen = lanes < count if lt else lanes >= elements - count
    for i in range(2):
        m.set_p(2 * Pd + i, size, chosen[i * m.counts[size] :][: m.counts[size]])
    _test_count(m, elements, count, not lt)


def _load(m: Machine, base: int, size: int, PNg: int, registers: tuple[int, ...]) -> None:
    active = lanes_of(m, 8 + PNg, len(registers), size)
    lanes = read_span(m, base, active, size)
    for i, n in enumerate(registers):
        m.set_z(n, size, lanes[i * m.counts[size] :][: m.counts[size]])


def _store(m: Machine, base: int, size: int, PNg: int, registers: tuple[int, ...]) -> None:
    active = lanes_of(m, 8 + PNg, len(registers), size)
    write_span(m, base, active, size, np.concatenate([m.u(n, size) for n in registers]))


Transfer = Callable[[Machine, int, int, int, tuple[int, ...]], None]


def consecutive(count: int, transfer: Transfer, immediate: bool) -> Callable[..., None]:
    """LD1, ST1 of registers that follow one another, the first a multiple of their number."""

    def by_register(m: Machine, Rm: int, msz: int, PNg: int, Rn: int, Zt: int, nt: int) -> None:
        base = m.get_xsp(Rn) + (m.get_x(Rm) << msz)
        transfer(m, base, msz, PNg, tuple(range(count * Zt, count * Zt + count)))

    def by_immediate(m: Machine, imm: int, msz: int, PNg: int, Rn: int, Zt: int, nt: int) -> None:
        base = m.get_xsp(Rn) + signed(imm, 4) * count * m.vl
        transfer(m, base, msz, PNg, tuple(range(count * Zt, count * Zt + count)))

    return by_immediate if immediate else by_register


def strided(count: int, transfer: Transfer, immediate: bool) -> Callable[..., None]:
    """LD1, ST1 of registers 8 or 4 apart."""

    def registers(T: int, Zt: int) -> tuple[int, ...]:
        return tuple(16 * T + Zt + 16 // count * i for i in range(count))

    def by_register(m: Machine, Rm: int, msz: int, PNg: int, Rn: int, T: int, nt: int, Zt: int) -> None:
        transfer(m, m.get_xsp(Rn) + (m.get_x(Rm) << msz), msz, PNg, registers(T, Zt))

    def by_immediate(m: Machine, imm: int, msz: int, PNg: int, Rn: int, T: int, nt: int, Zt: int) -> None:
        transfer(m, m.get_xsp(Rn) + signed(imm, 4) * count * m.vl, msz, PNg, registers(T, Zt))

    return by_immediate if immediate else by_register


_P = "00100101 size:2"
_FORMS = tuple(
    (name, store, transfer, count, form, place)
    for name, store, transfer in (("LD1, LDNT1", 0, _load), ("ST1, STNT1", 1, _store))
    for count in (2, 4)
    for form, place in (
        ("scalar plus scalar", "0 {store} Rm:5"),
        ("scalar plus immediate", "1 {store} 0 imm:4"),
    )
)
ROWS = (
    Row("PTRUE (as counter)", f"{_P} 100000 0111100000010 PNd:3", Check.SVE, ptrue, _NEEDS),
    Row("PEXT (predicate)", f"{_P} 100000 011100 imm:2 PNn:3 1 Pd:4", Check.SVE, pext, _NEEDS),
    Row("PEXT (pair)", f"{_P} 100000 0111010 imm:1 PNn:3 1 Pd:4", Check.SVE, pext_pair, _NEEDS),
    Row("CNTP (as counter)", f"{_P} 100000 10000 vl:1 1 PNn:4 Rd:5", Check.SVE, cntp, _NEEDS),
    Row(
        "WHILEGE ... WHILELT (as counter)",
        f"{_P} 1 Rm:5 01 vl:1 0 unsigned:1 lt:1 Rn:5 1 eq:1 PNd:3",
        Check.SVE,
        while_counter,
        _NEEDS,
    ),
    Row(
        "WHILEGE ... WHILELT (pair)",
        f"{_P} 1 Rm:5 0101 unsigned:1 lt:1 Rn:5 1 Pd:3 eq:1",
        Check.SVE,
        while_pair,
        _NEEDS,
    ),
    *(
        Row(
            f"{name} ({count} consecutive registers, {form})",
            f"10100000 0 {place.format(store=store)} {count == 4:b} msz:2 PNg:3 Rn:5 {regs} nt:1",
            Check.SVE,
            consecutive(count, transfer, "immediate" in form),
            _NEEDS,
        )
        for name, store, transfer, count, form, place in _FORMS
        for regs in ("Zt:4" if count == 2 else "Zt:3 0",)
    ),
    *(
        Row(
            f"{name} ({count} strided registers, {form})",
            f"10100001 0 {place.format(store=store)} {count == 4:b} msz:2 PNg:3 Rn:5 T:1 nt:1 {regs}",
            Check.STREAMING,
            strided(count, transfer, "immediate" in form),
            "sme2",
        )
        for name, store, transfer, count, form, place in _FORMS
        for regs in ("Zt:3" if count == 2 else "0 Zt:2",)
    ),
)
