"""Filling vectors: DUP, CPY, INDEX, SEL, INSR, MOVPRFX and logic with immediates."""

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


def movprfx(m: Machine, Zn: int, Zd: int) -> None:
    m.set_z(Zd, 3, m.u(Zn, 3).copy())


def movprfx_predicated(m: Machine, size: int, merge: int, Pg: int, Zn: int, Zd: int) -> None:
    mask = m.active(Pg, size)
    if merge:
        m.merge_z(Zd, size, mask, m.u(Zn, size).copy())
    else:
        m.set_z(Zd, size, np.where(mask, m.u(Zn, size), 0))


def _series(m: Machine, Zd: int, size: int, base: int, step: int) -> None:
    lanes = np.arange(m.counts[size], dtype=np.uint64)
    values = np.uint64(base & MASK64) + lanes * np.uint64(step & MASK64)
    m.set_z(Zd, size, values.astype(UNSIGNED[size]))


def index_ii(m: Machine, size: int, step: int, base: int, Zd: int) -> None:
    _series(m, Zd, size, signed(base, 5), signed(step, 5))


def index_ri(m: Machine, size: int, step: int, Rn: int, Zd: int) -> None:
    _series(m, Zd, size, m.get_x(Rn), signed(step, 5))


def index_ir(m: Machine, size: int, Rm: int, base: int, Zd: int) -> None:
    _series(m, Zd, size, signed(base, 5), m.get_x(Rm))


def index_rr(m: Machine, size: int, Rm: int, Rn: int, Zd: int) -> None:
    _series(m, Zd, size, m.get_x(Rn), m.get_x(Rm))


_M = "00000101"
_I = "00000100"
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
    Row("MOVPRFX (unpredicated)", f"{_I} 00 1 00000 101111 Zn:5 Zd:5", Check.SVE, movprfx),
    Row(
        "MOVPRFX (predicated)", f"{_I} size:2 01000 merge:1 001 Pg:3 Zn:5 Zd:5", Check.SVE, movprfx_predicated
    ),
    Row("INDEX (immediates)", f"{_I} size:2 1 step:5 010000 base:5 Zd:5", Check.SVE, index_ii),
    Row("INDEX (scalar, immediate)", f"{_I} size:2 1 step:5 010001 Rn:5 Zd:5", Check.SVE, index_ri),
    Row("INDEX (immediate, scalar)", f"{_I} size:2 1 Rm:5 010010 base:5 Zd:5", Check.SVE, index_ir),
    Row("INDEX (scalars)", f"{_I} size:2 1 Rm:5 010011 Rn:5 Zd:5", Check.SVE, index_rr),
)
