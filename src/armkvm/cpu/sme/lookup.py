"""ZT0: LDR, STR, ZERO, MOVT, and the table lookups LUTI2 and LUTI4."""

# ruff: noqa: D103, N803 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import MASK64, UNSIGNED, Machine
from armkvm.cpu.state import ZT0_BYTES


def ldr_zt0(m: Machine, Rn: int) -> None:
    m.zt0[:] = np.frombuffer(m.memory.load(m.get_xsp(Rn) & MASK64, ZT0_BYTES), np.uint8)


def str_zt0(m: Machine, Rn: int) -> None:
    m.memory.store(m.get_xsp(Rn) & MASK64, m.zt0.tobytes())


def zero_zt0(m: Machine) -> None:
    m.zt0[:] = 0


def movt_to_scalar(m: Machine, offset: int, Rt: int) -> None:
    m.set_x(Rt, int(m.zt0.view(UNSIGNED[3])[offset]))


def movt_from_scalar(m: Machine, offset: int, Rt: int) -> None:
    m.zt0.view(UNSIGNED[3])[offset] = m.get_x(Rt)


def luti(index_bits: int, vectors: int) -> Callable[..., None]:
    """Look `vectors` vectors up in ZT0's 32-bit entries by indices of `index_bits` in segment of Zn."""

    def execute(m: Machine, segment: int, size: int, Zn: int, Zd: int) -> None:
        if size == 3 or (index_bits == 4 and vectors == 4 and size == 0):
            raise Undefined
        elements = m.counts[size]
        segments = (8 << size) // (index_bits * vectors)
        bits = np.unpackbits(m.u(Zn, 0), bitorder="little")
        fields = bits.reshape(-1, index_bits) @ (1 << np.arange(index_bits))
        table = m.zt0.view(np.uint32)[: 1 << index_bits].astype(UNSIGNED[size])
        start = elements * vectors * (segment % segments)
        for i in range(vectors):
            at = start + i * elements
            m.set_z(Zd * vectors + i, size, table[fields[at : at + elements]])

    return execute


_Z = "11000000"
ROWS = (
    Row("LDR (table)", "11100001 00011111 100000 Rn:5 00000", Check.ZT0, ldr_zt0),
    Row("STR (table)", "11100001 00111111 100000 Rn:5 00000", Check.ZT0, str_zt0),
    Row("ZERO (table)", f"{_Z} 01001000 00000000 00000001", Check.ZT0, zero_zt0),
    Row("MOVT (table to scalar)", f"{_Z} 01001100 0 offset:3 00 11111 Rt:5", Check.ZT0, movt_to_scalar),
    Row("MOVT (scalar to table)", f"{_Z} 01001110 0 offset:3 00 11111 Rt:5", Check.ZT0, movt_from_scalar),
    Row("LUTI2 (single)", f"{_Z} 110011 segment:4 size:2 00 Zn:5 Zd:5", Check.ZT0, luti(2, 1)),
    Row("LUTI2 (two registers)", f"{_Z} 100011 segment:3 1 size:2 00 Zn:5 Zd:4 0", Check.ZT0, luti(2, 2)),
    Row("LUTI2 (four registers)", f"{_Z} 100011 segment:2 10 size:2 00 Zn:5 Zd:3 00", Check.ZT0, luti(2, 4)),
    Row("LUTI4 (single)", f"{_Z} 1100101 segment:3 size:2 00 Zn:5 Zd:5", Check.ZT0, luti(4, 1)),
    Row("LUTI4 (two registers)", f"{_Z} 1000101 segment:2 1 size:2 00 Zn:5 Zd:4 0", Check.ZT0, luti(4, 2)),
    Row("LUTI4 (four registers)", f"{_Z} 1000101 segment:1 10 size:2 00 Zn:5 Zd:3 00", Check.ZT0, luti(4, 4)),
)
