"""Vector-length arithmetic: RDVL, ADDVL, CNT, INC, DEC by element and predicate count."""

# ruff: noqa: D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

import numpy as np

from armkvm.cpu.decode import Row, signed
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Machine
from armkvm.cpu.sve.lanes import exact, saturate


def elements_of(machine: Machine, pattern: int, size: int) -> int:
    """How many elements a predicate-constraint pattern names (Arm ARM DecodePredCount)."""
    available = machine.counts[size]
    if pattern == 0:
        return 1 << (available.bit_length() - 1)
    if pattern == 29:
        return available - available % 4
    if pattern == 30:
        return available - available % 3
    if pattern == 31:
        return available
    wanted = pattern if pattern <= 8 else 1 << (pattern - 5) if pattern <= 13 else 0
    return wanted if wanted <= available else 0


def rdvl(m: Machine, imm: int, Rd: int) -> None:
    m.set_x(Rd, signed(imm, 6) * m.vl)


def rdsvl(m: Machine, imm: int, Rd: int) -> None:
    m.set_x(Rd, signed(imm, 6) * m.svl)


def addvl(m: Machine, Rn: int, imm: int, Rd: int) -> None:
    m.set_xsp(Rd, m.get_xsp(Rn) + signed(imm, 6) * m.vl)


def addpl(m: Machine, Rn: int, imm: int, Rd: int) -> None:
    m.set_xsp(Rd, m.get_xsp(Rn) + signed(imm, 6) * (m.vl // 8))


def addsvl(m: Machine, Rn: int, imm: int, Rd: int) -> None:
    m.set_xsp(Rd, m.get_xsp(Rn) + signed(imm, 6) * m.svl)


def addspl(m: Machine, Rn: int, imm: int, Rd: int) -> None:
    m.set_xsp(Rd, m.get_xsp(Rn) + signed(imm, 6) * (m.svl // 8))


def cnt(m: Machine, size: int, mul: int, pattern: int, Rd: int) -> None:
    m.set_x(Rd, elements_of(m, pattern, size) * (mul + 1))


def incdec_scalar(m: Machine, size: int, mul: int, dec: int, pattern: int, Rdn: int) -> None:
    step = elements_of(m, pattern, size) * (mul + 1)
    m.set_x(Rdn, m.get_x(Rdn) + (-step if dec else step))


def incdec_vector(m: Machine, size: int, mul: int, dec: int, pattern: int, Zdn: int) -> None:
    if size == 0:
        raise Undefined
    step = elements_of(m, pattern, size) * (mul + 1)
    wide = m.u(Zdn, size)
    m.set_z(Zdn, size, wide - wide.dtype.type(step) if dec else wide + wide.dtype.type(step))


def cntp(m: Machine, size: int, Pg: int, Pn: int, Rd: int) -> None:
    m.set_x(Rd, int((m.active(Pg, size) & m.active(Pn, size)).sum()))


def incdec_p_scalar(m: Machine, size: int, dec: int, Pm: int, Rdn: int) -> None:
    step = int(m.active(Pm, size).sum())
    m.set_x(Rdn, m.get_x(Rdn) + (-step if dec else step))


def incdec_p_vector(m: Machine, size: int, dec: int, Pm: int, Zdn: int) -> None:
    if size == 0:
        raise Undefined
    lanes = m.u(Zdn, size)
    step = lanes.dtype.type(int(m.active(Pm, size).sum()))
    m.set_z(Zdn, size, lanes - step if dec else lanes + step)


def _saturated(value: int, bits: int, unsigned: int) -> int:
    low, high = (0, (1 << bits) - 1) if unsigned else (-1 << bits - 1, (1 << bits - 1) - 1)
    return min(max(value, low), high)


def _step_scalar(m: Machine, Rdn: int, step: int, bits: int, unsigned: int, dec: int) -> None:
    """Xdn, or Wdn, moved by `step` and saturated; a signed Wdn is extended to Xdn."""
    value = m.get_x(Rdn) & (1 << bits) - 1
    if not unsigned:
        value = signed(value, bits)
    m.set_x(Rdn, _saturated(value - step if dec else value + step, bits, unsigned))


def _step_vector(m: Machine, size: int, Zdn: int, step: int, unsigned: int, dec: int) -> None:
    if not size:
        raise Undefined
    numbers = exact((m.u if unsigned else m.i)(Zdn, size))
    m.set_z(Zdn, size, saturate(numbers - step if dec else numbers + step, size, not unsigned))


def sat_scalar(
    m: Machine, size: int, sf: int, mul: int, dec: int, unsigned: int, pattern: int, Rdn: int
) -> None:
    _step_scalar(m, Rdn, elements_of(m, pattern, size) * (mul + 1), 64 if sf else 32, unsigned, dec)


def sat_vector(m: Machine, size: int, mul: int, dec: int, unsigned: int, pattern: int, Zdn: int) -> None:
    _step_vector(m, size, Zdn, elements_of(m, pattern, size) * (mul + 1), unsigned, dec)


def sat_p_scalar(m: Machine, size: int, dec: int, unsigned: int, sf: int, Pm: int, Rdn: int) -> None:
    _step_scalar(m, Rdn, int(m.active(Pm, size).sum()), 64 if sf else 32, unsigned, dec)


def sat_p_vector(m: Machine, size: int, dec: int, unsigned: int, Pm: int, Zdn: int) -> None:
    _step_vector(m, size, Zdn, int(m.active(Pm, size).sum()), unsigned, dec)


def adr_packed(m: Machine, sz: int, Zm: int, msz: int, Zn: int, Zd: int) -> None:
    size = 2 + sz
    m.set_z(Zd, size, m.u(Zn, size) + (m.u(Zm, size) << UNSIGNED[size].type(msz)))


def adr_extended(m: Machine, unsigned: int, Zm: int, msz: int, Zn: int, Zd: int) -> None:
    words = (m.u if unsigned else m.i)(Zm, 2)[::2].astype(np.int64).view(np.uint64)
    m.set_z(Zd, 3, m.u(Zn, 3) + (words << np.uint64(msz)))


ROWS = (
    Row("RDVL", "00000100 10 1 11111 01010 imm:6 Rd:5", Check.SVE, rdvl),
    Row("ADDVL", "00000100 00 1 Rn:5 01010 imm:6 Rd:5", Check.SVE, addvl),
    Row("ADDPL", "00000100 01 1 Rn:5 01010 imm:6 Rd:5", Check.SVE, addpl),
    Row("RDSVL", "00000100 10 1 11111 01011 imm:6 Rd:5", Check.SME, rdsvl),
    Row("ADDSVL", "00000100 00 1 Rn:5 01011 imm:6 Rd:5", Check.SME, addsvl),
    Row("ADDSPL", "00000100 01 1 Rn:5 01011 imm:6 Rd:5", Check.SME, addspl),
    Row("CNTB, CNTH, CNTW, CNTD", "00000100 size:2 10 mul:4 111000 pattern:5 Rd:5", Check.SVE, cnt),
    Row(
        "INCB, DECB, INCH ... (scalar)",
        "00000100 size:2 11 mul:4 11100 dec:1 pattern:5 Rdn:5",
        Check.SVE,
        incdec_scalar,
    ),
    Row(
        "INCH, DECH, INCW ... (vector)",
        "00000100 size:2 11 mul:4 11000 dec:1 pattern:5 Zdn:5",
        Check.SVE,
        incdec_vector,
    ),
    Row("CNTP", "00100101 size:2 100 000 10 Pg:4 0 Pn:4 Rd:5", Check.SVE, cntp),
    Row("INCP, DECP (scalar)", "00100101 size:2 10110 dec:1 10001 00 Pm:4 Rdn:5", Check.SVE, incdec_p_scalar),
    Row("INCP, DECP (vector)", "00100101 size:2 10110 dec:1 10000 00 Pm:4 Zdn:5", Check.SVE, incdec_p_vector),
    Row(
        "SQINCB, UQINCB, SQDECB ... (scalar)",
        "00000100 size:2 1 sf:1 mul:4 1111 dec:1 unsigned:1 pattern:5 Rdn:5",
        Check.SVE,
        sat_scalar,
    ),
    Row(
        "SQINCH, UQINCH, SQDECH ... (vector)",
        "00000100 size:2 10 mul:4 1100 dec:1 unsigned:1 pattern:5 Zdn:5",
        Check.SVE,
        sat_vector,
    ),
    Row(
        "SQINCP, UQINCP, SQDECP, UQDECP (scalar)",
        "00100101 size:2 1010 dec:1 unsigned:1 10001 sf:1 0 Pm:4 Rdn:5",
        Check.SVE,
        sat_p_scalar,
    ),
    Row(
        "SQINCP, UQINCP, SQDECP, UQDECP (vector)",
        "00100101 size:2 1010 dec:1 unsigned:1 10000 00 Pm:4 Zdn:5",
        Check.SVE,
        sat_p_vector,
    ),
    Row(
        "ADR (packed offsets)", "00000100 1 sz:1 1 Zm:5 1010 msz:2 Zn:5 Zd:5", Check.NON_STREAMING, adr_packed
    ),
    Row(
        "ADR (unpacked 32-bit offsets)",
        "00000100 0 unsigned:1 1 Zm:5 1010 msz:2 Zn:5 Zd:5",
        Check.NON_STREAMING,
        adr_extended,
    ),
)
