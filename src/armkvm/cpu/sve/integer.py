"""Integer arithmetic, logic and shifts on vectors."""

# ruff: noqa: ANN401, D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from armkvm.cpu.decode import Row, signed
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import MASK64, SIGNED, UNSIGNED, Lanes, Machine

Binary = Callable[[Lanes, Lanes], Lanes]


def _mulh_unsigned(a: Lanes, b: Lanes) -> Lanes:
    bits = a.itemsize * 8
    if bits < 64:
        wide = UNSIGNED[bits.bit_length() - 3]
        product: Lanes = (a.astype(wide) * b.astype(wide)) >> wide.type(bits)
        return product
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    a0, a1, b0, b1 = a & low, a >> half, b & low, b >> half
    middle = a1 * b0 + (a0 * b0 >> half)
    cross = a0 * b1 + (middle & low)
    result: Lanes = a1 * b1 + (middle >> half) + (cross >> half)
    return result


def _mulh_signed(a: Lanes, b: Lanes) -> Lanes:
    bits = a.itemsize * 8
    if bits < 64:
        wide = SIGNED[bits.bit_length() - 3]
        product: Lanes = (a.astype(wide) * b.astype(wide)) >> wide.type(bits)
        return product
    ua, ub = a.view(np.uint64), b.view(np.uint64)
    zero = np.uint64(0)
    return _mulh_unsigned(ua, ub) - np.where(a < 0, ub, zero) - np.where(b < 0, ua, zero)


def _divide(a: Lanes, b: Lanes) -> Lanes:
    """Towards zero; by zero gives zero; the most negative by -1 gives itself."""
    out = np.zeros_like(a)
    if a.dtype.kind == "u":
        np.floor_divide(a, b, out=out, where=b != 0)
        return out
    ones = b == -1
    usual = (b != 0) & ~ones
    np.floor_divide(a, b, out=out, where=usual)
    inexact = usual & ((a < 0) != (b < 0)) & (out * b != a)
    out[inexact] += 1
    np.negative(a, out=out, where=ones)
    return out


def _shift_by(shift: Callable[[Lanes, Lanes], Lanes], arithmetic: bool) -> Binary:
    """A shift whose amounts are read unsigned; beyond the lane's width it saturates."""

    def apply(a: Lanes, b: Lanes) -> Lanes:
        bits = a.itemsize * 8
        amounts = b.view(UNSIGNED[a.itemsize.bit_length() - 1])
        limit = bits - 1 if arithmetic else bits
        amounts = np.minimum(amounts, amounts.dtype.type(limit))
        if arithmetic:
            return shift(a, amounts.astype(a.dtype))
        inside = amounts < bits
        return np.where(inside, shift(a, np.where(inside, amounts, amounts.dtype.type(0))), a.dtype.type(0))

    return apply


def _absolute_difference(a: Lanes, b: Lanes) -> Lanes:
    return np.where(a > b, a - b, b - a)


# Bits 20:16 of the predicated binary group -> name, signed lanes?, operation.
_BINARY: dict[str, tuple[str, bool, Binary]] = {
    "00000": ("ADD", False, np.add),
    "00001": ("SUB", False, np.subtract),
    "00011": ("SUBR", False, lambda a, b: b - a),
    "01000": ("SMAX", True, np.maximum),
    "01001": ("UMAX", False, np.maximum),
    "01010": ("SMIN", True, np.minimum),
    "01011": ("UMIN", False, np.minimum),
    "01100": ("SABD", True, _absolute_difference),
    "01101": ("UABD", False, _absolute_difference),
    "10000": ("MUL", False, np.multiply),
    "10010": ("SMULH", True, _mulh_signed),
    "10011": ("UMULH", False, _mulh_unsigned),
    "10100": ("SDIV", True, _divide),
    "10101": ("UDIV", False, _divide),
    "10110": ("SDIVR", True, lambda a, b: _divide(b, a)),
    "10111": ("UDIVR", False, lambda a, b: _divide(b, a)),
    "11000": ("ORR", False, np.bitwise_or),
    "11001": ("EOR", False, np.bitwise_xor),
    "11010": ("AND", False, np.bitwise_and),
    "11011": ("BIC", False, lambda a, b: a & ~b),
}

_ASR = _shift_by(np.right_shift, True)
_LSR = _shift_by(np.right_shift, False)
_LSL = _shift_by(np.left_shift, False)
_SHIFTS: dict[str, tuple[str, bool, Binary]] = {
    "10000": ("ASR", True, _ASR),
    "10001": ("LSR", False, _LSR),
    "10011": ("LSL", False, _LSL),
    "10100": ("ASRR", True, lambda a, b: _ASR(b, a)),
    "10101": ("LSRR", False, lambda a, b: _LSR(b, a)),
    "10111": ("LSLR", False, lambda a, b: _LSL(b, a)),
}


def predicated(operation: Binary, signed_lanes: bool, least_size: int = 0) -> Callable[..., None]:
    def execute(m: Machine, size: int, Pg: int, Zm: int, Zdn: int) -> None:
        if size < least_size:
            raise Undefined
        lanes = m.i if signed_lanes else m.u
        result = operation(lanes(Zdn, size), lanes(Zm, size))
        m.merge_z(Zdn, size, m.active(Pg, size), result.astype(UNSIGNED[size]))

    return execute


def unpredicated(operation: Binary) -> Callable[..., None]:
    def execute(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
        m.set_z(Zd, size, operation(m.u(Zn, size), m.u(Zm, size)))

    return execute


def logical(operation: Binary) -> Callable[..., None]:
    def execute(m: Machine, Zm: int, Zn: int, Zd: int) -> None:
        m.set_z(Zd, 3, operation(m.u(Zn, 3), m.u(Zm, 3)))

    return execute


def _saturating(sign: int, unsigned: bool) -> Binary:
    """A + b or a - b, clamped to the lane's range."""

    def apply(a: Lanes, b: Lanes) -> Lanes:
        if not unsigned:
            a, b = (x.view(SIGNED[x.itemsize.bit_length() - 1]) for x in (a, b))
        info = np.iinfo(a.dtype)
        result = a + b if sign > 0 else a - b
        if unsigned:
            over = result < a if sign > 0 else a < b
            return np.where(over, a.dtype.type(info.max if sign > 0 else 0), result)
        over = ((a ^ result) & ((b if sign > 0 else ~b) ^ result)) < 0
        clamped = np.where(over, np.where(a < 0, a.dtype.type(info.min), a.dtype.type(info.max)), result)
        return clamped.view(UNSIGNED[a.itemsize.bit_length() - 1])

    return apply


_UNPREDICATED: dict[str, tuple[str, Binary]] = {
    "000": ("ADD", np.add),
    "001": ("SUB", np.subtract),
    "100": ("SQADD", _saturating(1, False)),
    "101": ("UQADD", _saturating(1, True)),
    "110": ("SQSUB", _saturating(-1, False)),
    "111": ("UQSUB", _saturating(-1, True)),
}


def with_immediate(operation: Binary) -> Callable[..., None]:
    """Immediate of 8 bits, optionally shifted left by 8."""

    def execute(m: Machine, size: int, sh: int, imm: int, Zdn: int) -> None:
        if sh and not size:
            raise Undefined
        lanes = m.u(Zdn, size)
        m.set_z(Zdn, size, operation(lanes, np.full_like(lanes, imm << 8 * sh)))

    return execute


def signed_saturating_immediate(sign: int) -> Callable[..., None]:
    """SQADD and SQSUB: signed lanes, but an immediate that counts from 0."""

    def execute(m: Machine, size: int, sh: int, imm: int, Zdn: int) -> None:
        if sh and not size:
            raise Undefined
        lanes, amount, info = m.i(Zdn, size), imm << 8 * sh, np.iinfo(SIGNED[size])
        wrapped = m.u(Zdn, size) + UNSIGNED[size].type(sign * amount & int(np.iinfo(UNSIGNED[size]).max))
        over = lanes > info.max - amount if sign > 0 else lanes < info.min + amount
        limit = info.max if sign > 0 else 1 << 8 * lanes.itemsize - 1
        m.set_z(Zdn, size, np.where(over, UNSIGNED[size].type(limit), wrapped))

    return execute


def with_small_immediate(operation: Binary, signed_lanes: bool) -> Callable[..., None]:
    def execute(m: Machine, size: int, imm: int, Zdn: int) -> None:
        lanes = (m.i if signed_lanes else m.u)(Zdn, size)
        value = signed(imm, 8) if signed_lanes else imm
        m.set_z(Zdn, size, operation(lanes, np.full_like(lanes, value)).astype(UNSIGNED[size]))

    return execute


def mul_immediate(m: Machine, size: int, imm: int, Zdn: int) -> None:
    lanes = m.i(Zdn, size)
    m.set_z(Zdn, size, (lanes * lanes.dtype.type(signed(imm, 8))).view(UNSIGNED[size]))


def multiply_add(sign: int, addend_first: bool) -> Callable[..., None]:
    """MLA, MLS (the destination is the addend) and MAD, MSB (the destination is a factor)."""

    def execute(m: Machine, size: int, a: int, Pg: int, b: int, Zd: int) -> None:
        if addend_first:
            addend, product = m.u(Zd, size), m.u(b, size) * m.u(a, size)
        else:
            addend, product = m.u(b, size), m.u(Zd, size) * m.u(a, size)
        m.merge_z(Zd, size, m.active(Pg, size), addend + product if sign > 0 else addend - product)

    return execute


def _extend(from_size: int, signed_lanes: bool) -> Callable[[Lanes], Lanes]:
    def apply(lanes: Lanes) -> Lanes:
        narrow = lanes.astype((SIGNED if signed_lanes else UNSIGNED)[from_size])
        return narrow.astype(lanes.dtype)

    return apply


def _leading_zeros(lanes: Lanes) -> Lanes:
    bits = np.unpackbits(lanes.astype(lanes.dtype.newbyteorder(">")).view(np.uint8)).reshape(len(lanes), -1)
    return np.where(bits.any(axis=1), bits.argmax(axis=1), bits.shape[1])


def _leading_signs(lanes: Lanes) -> Lanes:
    signed_lanes = lanes.view(SIGNED[lanes.itemsize.bit_length() - 1])
    folded = np.where(signed_lanes < 0, ~lanes, lanes)
    return _leading_zeros(folded) - 1


def _sign_bit(lanes: Lanes) -> Any:
    return lanes.dtype.type(1 << lanes.itemsize * 8 - 1)


# Bits 20:16 (group 21:19 = 010 or 011) -> name, smallest element size, operation on unsigned lanes.
_UNARY: dict[str, tuple[str, int, Callable[[Lanes], Lanes]]] = {
    "10000": ("SXTB", 1, _extend(0, True)),
    "10001": ("UXTB", 1, _extend(0, False)),
    "10010": ("SXTH", 2, _extend(1, True)),
    "10011": ("UXTH", 2, _extend(1, False)),
    "10100": ("SXTW", 3, _extend(2, True)),
    "10101": ("UXTW", 3, _extend(2, False)),
    "10110": ("ABS", 0, lambda a: np.abs(a.view(SIGNED[a.itemsize.bit_length() - 1]))),
    "10111": ("NEG", 0, lambda a: ~a + a.dtype.type(1)),
    "11000": ("CLS", 0, _leading_signs),
    "11001": ("CLZ", 0, _leading_zeros),
    "11010": ("CNT", 0, np.bitwise_count),
    "11011": ("CNOT", 0, lambda a: a == 0),
    "11100": ("FABS", 1, lambda a: a & ~_sign_bit(a)),
    "11101": ("FNEG", 1, lambda a: a ^ _sign_bit(a)),
    "11110": ("NOT", 0, np.invert),
}


def unary(least_size: int, operation: Callable[[Lanes], Lanes]) -> Callable[..., None]:
    def execute(m: Machine, size: int, Pg: int, Zn: int, Zd: int) -> None:
        if size < least_size:
            raise Undefined
        result = operation(m.u(Zn, size)).astype(UNSIGNED[size])
        m.merge_z(Zd, size, m.active(Pg, size), result)

    return execute


def _element_and_amount(tsz: int, imm3: int) -> tuple[int, int]:
    """(element size, tsz:imm3): the highest set bit of tsz gives the element."""
    if not tsz:
        raise Undefined
    return tsz.bit_length() - 1, tsz << 3 | imm3


_IMMEDIATE_SHIFTS = {"00": ("ASR", True, _ASR), "01": ("LSR", False, _LSR), "11": ("LSL", False, _LSL)}


def _shift_lanes(m: Machine, kind: str, n: int, tsz: int, imm3: int) -> tuple[int, Lanes]:
    name, signed_lanes, operation = _IMMEDIATE_SHIFTS[kind]
    size, encoded = _element_and_amount(tsz, imm3)
    amount = encoded - (8 << size) if name == "LSL" else (16 << size) - encoded
    lanes = (m.i if signed_lanes else m.u)(n, size)
    return size, operation(lanes, np.full(len(lanes), amount, lanes.dtype)).astype(UNSIGNED[size])


def shift_unpredicated(kind: str) -> Callable[..., None]:
    def execute(m: Machine, tszh: int, tszl: int, imm3: int, Zn: int, Zd: int) -> None:
        size, lanes = _shift_lanes(m, kind, Zn, tszh << 2 | tszl, imm3)
        m.set_z(Zd, size, lanes)

    return execute


def shift_predicated(kind: str) -> Callable[..., None]:
    def execute(m: Machine, tszh: int, Pg: int, tszl: int, imm3: int, Zdn: int) -> None:
        size, lanes = _shift_lanes(m, kind, Zdn, tszh << 2 | tszl, imm3)
        m.merge_z(Zdn, size, m.active(Pg, size), lanes)

    return execute


def _reduce_add(lanes: Lanes) -> int:
    return int(lanes.sum(dtype=np.uint64 if lanes.dtype.kind == "u" else np.int64))


# Bits 20:16 -> name, signed lanes?, largest size, result is a doubleword?, identity, operation.
_REDUCTIONS: dict[str, tuple[str, bool, int, Callable[[Lanes], int], Callable[[Any], int]]] = {
    "00000": ("SADDV", True, 2, _reduce_add, lambda _: 0),
    "00001": ("UADDV", False, 3, _reduce_add, lambda _: 0),
    "01000": ("SMAXV", True, 3, lambda a: int(a.max()), lambda i: int(i.min)),
    "01001": ("UMAXV", False, 3, lambda a: int(a.max()), lambda _: 0),
    "01010": ("SMINV", True, 3, lambda a: int(a.min()), lambda i: int(i.max)),
    "01011": ("UMINV", False, 3, lambda a: int(a.min()), lambda i: int(i.max)),
    "11000": ("ORV", False, 3, lambda a: int(np.bitwise_or.reduce(a)), lambda _: 0),
    "11001": ("EORV", False, 3, lambda a: int(np.bitwise_xor.reduce(a)), lambda _: 0),
    "11010": ("ANDV", False, 3, lambda a: int(np.bitwise_and.reduce(a)), lambda i: int(i.max)),
}


def reduction(bits: str) -> Callable[..., None]:
    name, signed_lanes, largest, operation, identity = _REDUCTIONS[bits]
    doubleword = name in ("SADDV", "UADDV")

    def execute(m: Machine, size: int, Pg: int, Zn: int, Vd: int) -> None:
        if size > largest:
            raise Undefined
        lanes = (m.i if signed_lanes else m.u)(Zn, size)
        chosen = lanes[m.active(Pg, size)]
        value = operation(chosen) if chosen.size else identity(np.iinfo(lanes.dtype))
        out = 3 if doubleword else size
        m.set_v(Vd, out, value & MASK64 >> 64 - (8 << out))

    return execute


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


def clamp(signed_lanes: bool) -> Callable[..., None]:
    def execute(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
        lanes = m.i if signed_lanes else m.u
        result = np.minimum(np.maximum(lanes(Zn, size), lanes(Zd, size)), lanes(Zm, size))
        m.set_z(Zd, size, result.astype(UNSIGNED[size]))

    return execute


_I = "00000100"
_D = "00100101"


def _least(name: str) -> int:
    return 2 if name[1:4] == "DIV" else 0


ROWS = (
    *(
        Row(
            f"{name} (vectors, unpredicated)",
            f"{_I} size:2 1 Zm:5 000 {bits} Zn:5 Zd:5",
            Check.SVE,
            unpredicated(op),
        )
        for bits, (name, op) in _UNPREDICATED.items()
    ),
    *(
        Row(f"{name} (vectors, unpredicated)", f"{_I} {bits} 1 Zm:5 001100 Zn:5 Zd:5", Check.SVE, logical(op))
        for bits, name, op in (
            ("00", "AND", np.bitwise_and),
            ("01", "ORR", np.bitwise_or),
            ("10", "EOR", np.bitwise_xor),
            ("11", "BIC", lambda a, b: a & ~b),
        )
    ),
    *(
        Row(
            f"{name} (vectors, predicated)",
            f"{_I} size:2 0 {bits} 000 Pg:3 Zm:5 Zdn:5",
            Check.SVE,
            predicated(op, sign, _least(name)),
        )
        for bits, (name, sign, op) in _BINARY.items()
    ),
    *(
        Row(f"{name} (vectors)", f"{_I} size:2 0 {bits} 100 Pg:3 Zm:5 Zdn:5", Check.SVE, predicated(op, sign))
        for bits, (name, sign, op) in _SHIFTS.items()
    ),
    *(
        Row(f"{name} (predicated)", f"{_I} size:2 0 {bits} 101 Pg:3 Zn:5 Zd:5", Check.SVE, unary(least, op))
        for bits, (name, least, op) in _UNARY.items()
    ),
    *(
        Row(r[0], f"{_I} size:2 0 {bits} 001 Pg:3 Zn:5 Vd:5", Check.SVE, reduction(bits))
        for bits, r in _REDUCTIONS.items()
    ),
    *(
        Row(
            f"{_IMMEDIATE_SHIFTS[kind][0]} (immediate, unpredicated)",
            f"{_I} tszh:2 1 tszl:2 imm3:3 1001 {kind} Zn:5 Zd:5",
            Check.SVE,
            shift_unpredicated(kind),
        )
        for kind in _IMMEDIATE_SHIFTS
    ),
    *(
        Row(
            f"{_IMMEDIATE_SHIFTS[kind][0]} (immediate, predicated)",
            f"{_I} tszh:2 0000 {kind} 100 Pg:3 tszl:2 imm3:3 Zdn:5",
            Check.SVE,
            shift_predicated(kind),
        )
        for kind in _IMMEDIATE_SHIFTS
    ),
    Row("MLA", f"{_I} size:2 0 a:5 010 Pg:3 b:5 Zd:5", Check.SVE, multiply_add(1, True)),
    Row("MLS", f"{_I} size:2 0 a:5 011 Pg:3 b:5 Zd:5", Check.SVE, multiply_add(-1, True)),
    Row("MAD", f"{_I} size:2 0 a:5 110 Pg:3 b:5 Zd:5", Check.SVE, multiply_add(1, False)),
    Row("MSB", f"{_I} size:2 0 a:5 111 Pg:3 b:5 Zd:5", Check.SVE, multiply_add(-1, False)),
    Row("MOVPRFX (unpredicated)", f"{_I} 00 1 00000 101111 Zn:5 Zd:5", Check.SVE, movprfx),
    Row(
        "MOVPRFX (predicated)", f"{_I} size:2 01000 merge:1 001 Pg:3 Zn:5 Zd:5", Check.SVE, movprfx_predicated
    ),
    Row("INDEX (immediates)", f"{_I} size:2 1 step:5 010000 base:5 Zd:5", Check.SVE, index_ii),
    Row("INDEX (scalar, immediate)", f"{_I} size:2 1 step:5 010001 Rn:5 Zd:5", Check.SVE, index_ri),
    Row("INDEX (immediate, scalar)", f"{_I} size:2 1 Rm:5 010010 base:5 Zd:5", Check.SVE, index_ir),
    Row("INDEX (scalars)", f"{_I} size:2 1 Rm:5 010011 Rn:5 Zd:5", Check.SVE, index_rr),
    *(
        Row(
            f"{name} (immediate)",
            f"{_D} size:2 100 {bits} 11 sh:1 imm:8 Zdn:5",
            Check.SVE,
            with_immediate(op),
        )
        for bits, name, op in (
            ("000", "ADD", np.add),
            ("001", "SUB", np.subtract),
            ("011", "SUBR", lambda a, b: b - a),
            ("101", "UQADD", _UNPREDICATED["101"][1]),
            ("111", "UQSUB", _UNPREDICATED["111"][1]),
        )
    ),
    *(
        Row(
            f"{name} (immediate)",
            f"{_D} size:2 101 {bits} 110 imm:8 Zdn:5",
            Check.SVE,
            with_small_immediate(op, sign),
        )
        for bits, name, op, sign in (
            ("000", "SMAX", np.maximum, True),
            ("001", "UMAX", np.maximum, False),
            ("010", "SMIN", np.minimum, True),
            ("011", "UMIN", np.minimum, False),
        )
    ),
    *(
        Row(
            f"{name} (immediate)",
            f"{_D} size:2 100 {bits} 11 sh:1 imm:8 Zdn:5",
            Check.SVE,
            signed_saturating_immediate(sign),
        )
        for bits, name, sign in (("100", "SQADD", 1), ("110", "SQSUB", -1))
    ),
    Row("MUL (immediate)", f"{_D} size:2 110 000 110 imm:8 Zdn:5", Check.SVE, mul_immediate),
    Row("SCLAMP", "01000100 size:2 0 Zm:5 110000 Zn:5 Zd:5", Check.SVE, clamp(True), "sme"),
    Row("UCLAMP", "01000100 size:2 0 Zm:5 110001 Zn:5 Zd:5", Check.SVE, clamp(False), "sme"),
)
