"""Moving lanes about: DUP, CPY, SEL, INSR, REV, EXT, TBL, ZIP, UZP, TRN, unpacking, LASTA."""

# ruff: noqa: D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.cpu.decode import Row, signed
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import MASK64, UNSIGNED, Lanes, Machine


def _narrow(value: int, size: int) -> int:
    return value & MASK64 >> 64 - (8 << size)


def dup_scalar(m: Machine, size: int, Rn: int, Zd: int) -> None:
    m.set_z(Zd, size, _narrow(m.get_xsp(Rn), size))


def dup_indexed(m: Machine, imm2: int, tsz: int, Zn: int, Zd: int) -> None:
    if not tsz:
        raise Undefined
    size = (tsz & -tsz).bit_length() - 1
    index = (imm2 << 5 | tsz) >> size + 1
    if size == 4:
        pair = m.u(Zn, 3)
        chosen = pair[2 * index : 2 * index + 2] if 2 * index < len(pair) else np.zeros(2, np.uint64)
        m.set_z(Zd, 3, np.tile(chosen, len(pair) // 2))
        return
    lanes = m.u(Zn, size)
    m.set_z(Zd, size, int(lanes[index]) if index < len(lanes) else 0)


def dup_immediate(m: Machine, size: int, sh: int, imm: int, Zd: int) -> None:
    if sh and not size:
        raise Undefined
    m.set_z(Zd, size, _narrow(signed(imm, 8) << 8 * sh, size))


def fp_immediate(imm: int, size: int) -> int:
    """The 8-bit floating-point immediate as an element (Arm ARM VFPExpandImm)."""
    exponent_bits, fraction_bits = ((0, 0), (5, 10), (8, 23), (11, 52))[size]
    sign, top, low = imm >> 7, imm >> 6 & 1, imm & 0x3F
    exponent = (0 if top else 1) << exponent_bits - 1
    if top:
        exponent |= (1 << exponent_bits - 3) - 1 << 2
    exponent |= low >> 4
    return sign << exponent_bits + fraction_bits | exponent << fraction_bits | (low & 15) << fraction_bits - 4


def fdup(m: Machine, size: int, imm: int, Zd: int) -> None:
    if not size:
        raise Undefined
    m.set_z(Zd, size, fp_immediate(imm, size))


def dupm(m: Machine, imm13: int, Zd: int) -> None:
    m.set_z(Zd, 3, bitmask_immediate(imm13))


def bitmask_immediate(imm13: int) -> int:
    """A 64-bit logical immediate from N:immr:imms (Arm ARM DecodeBitMasks)."""
    n, immr, imms = imm13 >> 12, imm13 >> 6 & 63, imm13 & 63
    length = (n << 6 | ~imms & 63).bit_length() - 1
    if length < 1:
        raise Undefined
    levels = (1 << length) - 1
    ones, rotate, width = (imms & levels) + 1, immr & levels, 1 << length
    if ones == width:
        raise Undefined
    pattern = (1 << ones) - 1
    pattern = (pattern >> rotate | pattern << width - rotate) & (1 << width) - 1
    return int(sum(pattern << at for at in range(0, 64, width)))


def logical_immediate(operation: Callable[[Lanes, Lanes], Lanes]) -> Callable[..., None]:
    def execute(m: Machine, imm13: int, Zdn: int) -> None:
        m.set_z(Zdn, 3, operation(m.u(Zdn, 3), np.full(m.counts[3], bitmask_immediate(imm13), np.uint64)))

    return execute


def cpy_immediate(m: Machine, size: int, Pg: int, merge: int, sh: int, imm: int, Zd: int) -> None:
    if sh and not size:
        raise Undefined
    value = UNSIGNED[size].type(_narrow(signed(imm, 8) << 8 * sh, size))
    mask = m.active(Pg, size)
    m.set_z(Zd, size, np.where(mask, value, m.u(Zd, size) if merge else UNSIGNED[size].type(0)))


def fcpy(m: Machine, size: int, Pg: int, imm: int, Zd: int) -> None:
    if not size:
        raise Undefined
    value = UNSIGNED[size].type(fp_immediate(imm, size))
    m.set_z(Zd, size, np.where(m.active(Pg, size), value, m.u(Zd, size)))


def cpy_scalar(m: Machine, size: int, Pg: int, Rn: int, Zd: int) -> None:
    value = UNSIGNED[size].type(_narrow(m.get_xsp(Rn), size))
    m.set_z(Zd, size, np.where(m.active(Pg, size), value, m.u(Zd, size)))


def cpy_simd(m: Machine, size: int, Pg: int, Vn: int, Zd: int) -> None:
    m.set_z(Zd, size, np.where(m.active(Pg, size), m.u(Vn, size)[0], m.u(Zd, size)))


def sel(m: Machine, size: int, Zm: int, Pg: int, Zn: int, Zd: int) -> None:
    m.set_z(Zd, size, np.where(m.active(Pg, size), m.u(Zn, size), m.u(Zm, size)))


def _insert(m: Machine, size: int, Zdn: int, value: int) -> None:
    lanes = np.roll(m.u(Zdn, size), 1)
    lanes[0] = value
    m.set_z(Zdn, size, lanes)


def insr_scalar(m: Machine, size: int, Rm: int, Zdn: int) -> None:
    _insert(m, size, Zdn, _narrow(m.get_x(Rm), size))


def insr_simd(m: Machine, size: int, Vm: int, Zdn: int) -> None:
    _insert(m, size, Zdn, int(m.u(Vm, size)[0]))


def rev(m: Machine, size: int, Zn: int, Zd: int) -> None:
    m.set_z(Zd, size, m.u(Zn, size)[::-1].copy())


def ext(m: Machine, high: int, low: int, Zm: int, Zdn: int) -> None:
    offset = high << 3 | low
    joined = np.concatenate((m.u(Zdn, 0), m.u(Zm, 0)))
    start = offset if offset < m.vl else 0
    m.set_z(Zdn, 0, joined[start : start + m.vl])


def tbl(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
    table, indices = m.u(Zn, size), m.u(Zm, size)
    inside = indices < len(table)
    m.set_z(Zd, size, np.where(inside, table[np.where(inside, indices, 0)], 0))


def zip_uzp_trn(m: Machine, size: int, Zm: int, opc: int, second: int, Zn: int, Zd: int) -> None:
    a, b = m.u(Zn, size), m.u(Zm, size)
    result = np.zeros_like(a)
    half = len(a) // 2
    if opc == 0:
        part = slice(half, 2 * half) if second else slice(None, half)
        result[0::2], result[1::2] = a[part], b[part]
    elif opc == 1:
        result[:] = np.concatenate((a, b))[second::2]
    elif opc == 2:
        result[0::2], result[1::2] = a[second::2], b[second::2]
    else:
        raise Undefined
    m.set_z(Zd, size, result)


def unpack(m: Machine, size: int, unsigned: int, high: int, Zn: int, Zd: int) -> None:
    if not size:
        raise Undefined
    lanes = (m.u if unsigned else m.i)(Zn, size - 1)
    half = len(lanes) // 2
    chosen = lanes[half:] if high else lanes[:half]
    wide = chosen.astype(np.int64).astype(np.uint64) if not unsigned else chosen
    m.set_z(Zd, size, wide.astype(UNSIGNED[size]))


def _last(m: Machine, size: int, before: int, Pg: int, Zn: int) -> int:
    """LASTB: the last active lane (or the last lane); LASTA: the one after it, wrapping."""
    active = np.flatnonzero(m.active(Pg, size))
    lanes = m.u(Zn, size)
    last = int(active[-1]) if active.size else len(lanes) - 1
    if not before:
        last = (last + 1) % len(lanes) if active.size else 0
    return int(lanes[last])


def last_general(m: Machine, size: int, before: int, Pg: int, Zn: int, Rd: int) -> None:
    m.set_x(Rd, _last(m, size, before, Pg, Zn))


def last_simd(m: Machine, size: int, before: int, Pg: int, Zn: int, Vd: int) -> None:
    m.set_v(Vd, size, _last(m, size, before, Pg, Zn))


def revd(m: Machine, Pg: int, Zn: int, Zd: int) -> None:
    """Swap the doublewords of each active quadword."""
    pairs = m.u(Zn, 3).reshape(-1, 2)[:, ::-1]
    active = m.active(Pg, 0)[::16].repeat(2)
    m.merge_z(Zd, 3, active, pairs.reshape(-1).copy())


_M = "00000101"
ROWS = (
    Row("DUP (scalar)", f"{_M} size:2 100000 001110 Rn:5 Zd:5", Check.SVE, dup_scalar),
    Row("DUP (indexed)", f"{_M} imm2:2 1 tsz:5 001000 Zn:5 Zd:5", Check.SVE, dup_indexed),
    Row("DUP (immediate)", "00100101 size:2 111000 11 sh:1 imm:8 Zd:5", Check.SVE, dup_immediate),
    Row("FDUP", "00100101 size:2 111001 110 imm:8 Zd:5", Check.SVE, fdup),
    Row("DUPM", f"{_M} 11 0000 imm13:13 Zd:5", Check.SVE, dupm),
    Row("ORR (immediate)", f"{_M} 00 0000 imm13:13 Zdn:5", Check.SVE, logical_immediate(np.bitwise_or)),
    Row("EOR (immediate)", f"{_M} 01 0000 imm13:13 Zdn:5", Check.SVE, logical_immediate(np.bitwise_xor)),
    Row("AND (immediate)", f"{_M} 10 0000 imm13:13 Zdn:5", Check.SVE, logical_immediate(np.bitwise_and)),
    Row("CPY (immediate)", f"{_M} size:2 01 Pg:4 0 merge:1 sh:1 imm:8 Zd:5", Check.SVE, cpy_immediate),
    Row("FCPY", f"{_M} size:2 01 Pg:4 110 imm:8 Zd:5", Check.SVE, fcpy),
    Row("CPY (scalar)", f"{_M} size:2 101000 101 Pg:3 Rn:5 Zd:5", Check.SVE, cpy_scalar),
    Row("CPY (SIMD&FP scalar)", f"{_M} size:2 100000 100 Pg:3 Vn:5 Zd:5", Check.SVE, cpy_simd),
    Row("SEL (vectors)", f"{_M} size:2 1 Zm:5 11 Pg:4 Zn:5 Zd:5", Check.SVE, sel),
    Row("INSR (scalar)", f"{_M} size:2 100100 001110 Rm:5 Zdn:5", Check.SVE, insr_scalar),
    Row("INSR (SIMD&FP scalar)", f"{_M} size:2 110100 001110 Vm:5 Zdn:5", Check.SVE, insr_simd),
    Row("REV (vector)", f"{_M} size:2 111000 001110 Zn:5 Zd:5", Check.SVE, rev),
    Row("EXT", f"{_M} 00 1 high:5 000 low:3 Zm:5 Zdn:5", Check.SVE, ext),
    Row("TBL", f"{_M} size:2 1 Zm:5 001100 Zn:5 Zd:5", Check.SVE, tbl),
    Row(
        "ZIP1, ZIP2, UZP1, UZP2, TRN1, TRN2 (vectors)",
        f"{_M} size:2 1 Zm:5 011 opc:2 second:1 Zn:5 Zd:5",
        Check.SVE,
        zip_uzp_trn,
    ),
    Row(
        "SUNPKLO, SUNPKHI, UUNPKLO, UUNPKHI",
        f"{_M} size:2 1100 unsigned:1 high:1 001110 Zn:5 Zd:5",
        Check.SVE,
        unpack,
    ),
    Row("LASTA, LASTB (general)", f"{_M} size:2 10000 before:1 101 Pg:3 Zn:5 Rd:5", Check.SVE, last_general),
    Row("LASTA, LASTB (SIMD&FP)", f"{_M} size:2 10001 before:1 100 Pg:3 Zn:5 Vd:5", Check.SVE, last_simd),
    Row("REVD", f"{_M} 00 101110 100 Pg:3 Zn:5 Zd:5", Check.SVE, revd, "sme"),
)
