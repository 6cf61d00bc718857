"""Integer arithmetic and logic, lane by lane."""

# ruff: noqa: ANN401, D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from armkvm.cpu.decode import Row, signed
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import SIGNED, UNSIGNED, Lanes, Machine
from armkvm.cpu.sve.lanes import Binary, absolute_difference, divide, mulh_signed, mulh_unsigned, saturating

# Bits 20:16 of the predicated binary group -> name, signed lanes?, operation.
_BINARY: dict[str, tuple[str, bool, Binary]] = {
    "00000": ("ADD", False, np.add),
    "00001": ("SUB", False, np.subtract),
    "00011": ("SUBR", False, lambda a, b: b - a),
    "01000": ("SMAX", True, np.maximum),
    "01001": ("UMAX", False, np.maximum),
    "01010": ("SMIN", True, np.minimum),
    "01011": ("UMIN", False, np.minimum),
    "01100": ("SABD", True, absolute_difference),
    "01101": ("UABD", False, absolute_difference),
    "10000": ("MUL", False, np.multiply),
    "10010": ("SMULH", True, mulh_signed),
    "10011": ("UMULH", False, mulh_unsigned),
    "10100": ("SDIV", True, divide),
    "10101": ("UDIV", False, divide),
    "10110": ("SDIVR", True, lambda a, b: divide(b, a)),
    "10111": ("UDIVR", False, lambda a, b: divide(b, a)),
    "11000": ("ORR", False, np.bitwise_or),
    "11001": ("EOR", False, np.bitwise_xor),
    "11010": ("AND", False, np.bitwise_and),
    "11011": ("BIC", False, lambda a, b: a & ~b),
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


_UNPREDICATED: dict[str, tuple[str, Binary]] = {
    "000": ("ADD", np.add),
    "001": ("SUB", np.subtract),
    "100": ("SQADD", saturating(1, False)),
    "101": ("UQADD", saturating(1, True)),
    "110": ("SQSUB", saturating(-1, False)),
    "111": ("UQSUB", saturating(-1, True)),
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
        Row(f"{name} (predicated)", f"{_I} size:2 0 {bits} 101 Pg:3 Zn:5 Zd:5", Check.SVE, unary(least, op))
        for bits, (name, least, op) in _UNARY.items()
    ),
    Row("MLA", f"{_I} size:2 0 a:5 010 Pg:3 b:5 Zd:5", Check.SVE, multiply_add(1, True)),
    Row("MLS", f"{_I} size:2 0 a:5 011 Pg:3 b:5 Zd:5", Check.SVE, multiply_add(-1, True)),
    Row("MAD", f"{_I} size:2 0 a:5 110 Pg:3 b:5 Zd:5", Check.SVE, multiply_add(1, False)),
    Row("MSB", f"{_I} size:2 0 a:5 111 Pg:3 b:5 Zd:5", Check.SVE, multiply_add(-1, False)),
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
