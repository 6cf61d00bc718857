"""SVE2: three-operand logic, bit permutes, polynomial products, reversing within elements."""

# ruff: noqa: ANN401, D103, N803 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Lanes, Machine
from armkvm.cpu.sve.lanes import wrap


def ternary(operation: Callable[[Lanes, Lanes, Lanes], Lanes]) -> Callable[..., None]:
    """Of Zdn, Zm and Zk."""

    def execute(m: Machine, Zm: int, Zk: int, Zdn: int) -> None:
        m.set_z(Zdn, 3, operation(m.u(Zdn, 3), m.u(Zm, 3), m.u(Zk, 3)))

    return execute


def _numbers(operation: Callable[[int, int], int], a: Lanes, b: Lanes) -> Any:
    """`operation` of each pair, as exact numbers."""
    results = np.empty(len(a), object)
    results[:] = [operation(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    return results


def _gather_bits(value: int, mask: int) -> int:
    """The bits of `value` that `mask` selects, packed to the right."""
    result = at = 0
    while mask:
        low = mask & -mask
        if value & low:
            result |= 1 << at
        at += 1
        mask ^= low
    return result


def _scatter_bits(value: int, mask: int) -> int:
    """The lowest bits of `value`, spread to where `mask` has ones."""
    result = at = 0
    while mask:
        low = mask & -mask
        if value >> at & 1:
            result |= low
        at += 1
        mask ^= low
    return result


def permute_bits(kind: str) -> Callable[..., None]:
    """BEXT, BDEP, BGRP."""

    def execute(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
        ones = (1 << (8 << size)) - 1

        def group(value: int, mask: int) -> int:
            return _gather_bits(value, mask) | _gather_bits(value, ~mask & ones) << mask.bit_count()

        operation = {"BEXT": _gather_bits, "BDEP": _scatter_bits, "BGRP": group}[kind]
        m.set_z(Zd, size, wrap(_numbers(operation, m.u(Zn, size), m.u(Zm, size)), size))

    return execute


def interleaved_xor(top: int) -> Callable[..., None]:
    """EORBT, EORTB: even elements with odd ones; the rest of Zd stays."""

    def execute(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
        lanes = m.u(Zd, size).copy()
        lanes[top::2] = m.u(Zn, size)[top::2] ^ m.u(Zm, size)[1 - top :: 2]
        m.set_z(Zd, size, lanes)

    return execute


def _carryless(a: int, b: int) -> int:
    """The product of polynomials over the field of two elements."""
    result = 0
    while b:
        low = b & -b
        result ^= a * low
        b ^= low
    return result


def pmul(m: Machine, Zm: int, Zn: int, Zd: int) -> None:
    m.set_z(Zd, 0, wrap(_numbers(_carryless, m.u(Zn, 0), m.u(Zm, 0)), 0))


def pmull(top: int) -> Callable[..., None]:
    """Products of bytes, or of words."""

    def execute(m: Machine, sz: int, Zm: int, Zn: int, Zd: int) -> None:
        size = 3 if sz else 1
        products = _numbers(_carryless, m.u(Zn, size - 1)[top::2], m.u(Zm, size - 1)[top::2])
        m.set_z(Zd, size, wrap(products, size))

    return execute


def pmull_doublewords(top: int) -> Callable[..., None]:
    def execute(m: Machine, Zm: int, Zn: int, Zd: int) -> None:
        products = _numbers(_carryless, m.u(Zn, 3)[top::2], m.u(Zm, 3)[top::2])
        halves = np.empty(m.counts[3], UNSIGNED[3])
        halves[0::2], halves[1::2] = wrap(products, 3), wrap(products >> 64, 3)
        m.set_z(Zd, 3, halves)

    return execute


def reverse_parts(part: int) -> Callable[..., None]:
    """REVB, REVH, REVW: the order of parts of size `part` within each element."""

    def execute(m: Machine, size: int, Pg: int, Zn: int, Zd: int) -> None:
        if size <= part:
            raise Undefined
        parts = m.u(Zn, part).reshape(-1, 1 << size - part)[:, ::-1]
        m.merge_z(Zd, size, m.active(Pg, size), np.ascontiguousarray(parts).reshape(-1).view(UNSIGNED[size]))

    return execute


def rbit(m: Machine, size: int, Pg: int, Zn: int, Zd: int) -> None:
    bits = np.unpackbits(m.u(Zn, 0), bitorder="little").reshape(-1, 8 << size)[:, ::-1]
    lanes = np.packbits(bits.reshape(-1), bitorder="little").view(UNSIGNED[size])
    m.merge_z(Zd, size, m.active(Pg, size), lanes)


_TERNARY: tuple[tuple[str, str, int, Callable[[Lanes, Lanes, Lanes], Lanes]], ...] = (
    ("EOR3", "00", 0, lambda d, m, k: d ^ m ^ k),
    ("BCAX", "01", 0, lambda d, m, k: d ^ (m & ~k)),
    ("BSL", "00", 1, lambda d, m, k: d & k | m & ~k),
    ("BSL1N", "01", 1, lambda d, m, k: ~d & k | m & ~k),
    ("BSL2N", "10", 1, lambda d, m, k: d & k | ~m & ~k),
    ("NBSL", "11", 1, lambda d, m, k: ~(d & k | m & ~k)),
)
_L = "01000101 size:2 0 Zm:5"
ROWS = (
    *(
        Row(name, f"00000100 {bits} 1 Zm:5 00111 {o} Zk:5 Zdn:5", Check.SVE, ternary(operation), "sve2")
        for name, bits, o, operation in _TERNARY
    ),
    *(
        Row(name, f"{_L} 1011 {bits} Zn:5 Zd:5", Check.NON_STREAMING, permute_bits(name), "bitperm")
        for name, bits in (("BEXT", "00"), ("BDEP", "01"), ("BGRP", "10"))
    ),
    Row("EORBT", f"{_L} 100100 Zn:5 Zd:5", Check.SVE, interleaved_xor(0), "sve2"),
    Row("EORTB", f"{_L} 100101 Zn:5 Zd:5", Check.SVE, interleaved_xor(1), "sve2"),
    Row("PMUL", "00000100 00 1 Zm:5 011001 Zn:5 Zd:5", Check.SVE, pmul, "sve2"),
    *(
        Row(
            f"PMULL{'BT'[top]}",
            f"01000101 sz:1 1 0 Zm:5 01101 {top} Zn:5 Zd:5",
            Check.SVE,
            pmull(top),
            "sve2",
        )
        for top in (0, 1)
    ),
    *(
        Row(
            f"PMULL{'BT'[top]} (doublewords)",
            f"01000101 00 0 Zm:5 01101 {top} Zn:5 Zd:5",
            Check.NON_STREAMING,
            pmull_doublewords(top),
            "pmull128",
        )
        for top in (0, 1)
    ),
    *(
        Row(name, f"00000101 size:2 1001 {bits} 100 Pg:3 Zn:5 Zd:5", Check.SVE, reverse_parts(part))
        for name, bits, part in (("REVB", "00", 0), ("REVH", "01", 1), ("REVW", "10", 2))
    ),
    Row("RBIT (predicated)", "00000101 size:2 100111 100 Pg:3 Zn:5 Zd:5", Check.SVE, rbit),
)
