"""Reductions of integer vectors to a scalar."""

# ruff: noqa: D103, N803 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import MASK64, Lanes, Machine


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


_I = "00000100"
ROWS = (
    *(
        Row(r[0], f"{_I} size:2 0 {bits} 001 Pg:3 Zn:5 Vd:5", Check.SVE, reduction(bits))
        for bits, r in _REDUCTIONS.items()
    ),
)
