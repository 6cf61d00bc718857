"""Moving data in and out of ZA: ZERO, LDR, STR, MOVA, LD1 and ST1 of slices."""

# ruff: noqa: D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import MASK64, UNSIGNED, Bools, Lanes, Machine
from armkvm.cpu.sve.loads import read_span
from armkvm.cpu.sve.stores import write_span


def zero(m: Machine, mask: int) -> None:
    for tile in range(8):
        if mask >> tile & 1:
            m.tile(3, tile)[:] = 0


def _row_of(m: Machine, Rv: int, offset: int) -> int:
    return ((m.x[12 + Rv] & 0xFFFFFFFF) + offset) % m.svl


def ldr_za(m: Machine, Rv: int, Rn: int, offset: int) -> None:
    row = _row_of(m, Rv, offset)
    data = m.memory.load(m.get_xsp(Rn) + offset * m.svl & MASK64, m.svl)
    m.za_row(row)[:] = np.frombuffer(data, np.uint8)


def str_za(m: Machine, Rv: int, Rn: int, offset: int) -> None:
    row = _row_of(m, Rv, offset)
    m.memory.store(m.get_xsp(Rn) + offset * m.svl & MASK64, m.za_row(row).tobytes())


def _slice(m: Machine, size: int, vertical: int, Rs: int, tile_and_offset: int) -> Lanes:
    """The slice of a tile that W12+Rs plus the offset selects, as a view that may be written.

    For quadwords (size 4) an array of bytes, one row of 16 per element.
    """
    bits = 4 - size
    number, offset = tile_and_offset >> bits, tile_and_offset & (1 << bits) - 1
    count = m.svl >> size
    index = ((m.x[12 + Rs] & 0xFFFFFFFF) + offset) % count
    tile = m.tile(size, number)
    if size == 4:
        elements = tile.reshape(count, count, 16) if tile.flags.c_contiguous else _quadwords(tile, count)
        return elements[:, index] if vertical else elements[index]
    return tile[:, index] if vertical else tile[index]


def _quadwords(tile: Lanes, count: int) -> Lanes:
    row, column = tile.strides
    return np.lib.stride_tricks.as_strided(tile, (count, count, 16), (row, 16 * column, column))


def _active(m: Machine, Pg: int, size: int) -> Bools:
    """Active elements of a size up to quadword."""
    lanes = m.active(Pg, 0)
    return lanes[:: 1 << size]


def mova_from_tile(m: Machine, size: int, q: int, v: int, Rs: int, Pg: int, za: int, Zd: int) -> None:
    if q and size != 3:
        raise Undefined
    esize = 4 if q else size
    source = _slice(m, esize, v, Rs, za)
    if q:
        m.merge_z(Zd, 0, _active(m, Pg, 4).repeat(16), source.reshape(-1).copy())
    else:
        m.merge_z(Zd, size, _active(m, Pg, size), source.copy())


def mova_to_tile(m: Machine, size: int, q: int, v: int, Rs: int, Pg: int, Zn: int, za: int) -> None:
    if q and size != 3:
        raise Undefined
    esize = 4 if q else size
    target = _slice(m, esize, v, Rs, za)
    active = _active(m, Pg, esize)
    if q:
        np.copyto(target, m.u(Zn, 0).reshape(-1, 16), where=active[:, None])
    else:
        np.copyto(target, m.u(Zn, size), where=active)


def _address(m: Machine, Rn: int, Rm: int, esize: int) -> int:
    return m.get_xsp(Rn) + (m.get_x(Rm) << esize)


def _ld1(m: Machine, esize: int, Rm: int, v: int, Rs: int, Pg: int, Rn: int, za: int) -> None:
    active = _active(m, Pg, esize)
    target = _slice(m, esize, v, Rs, za)
    base = _address(m, Rn, Rm, esize)
    if esize == 4:
        lanes = read_span(m, base, active, 3, 2)
        target[:] = lanes.view(np.uint8).reshape(-1, 16)
    else:
        target[:] = read_span(m, base, active, esize)


def _st1(m: Machine, esize: int, Rm: int, v: int, Rs: int, Pg: int, Rn: int, za: int) -> None:
    active = _active(m, Pg, esize)
    source = _slice(m, esize, v, Rs, za)
    base = _address(m, Rn, Rm, esize)
    if esize == 4:
        write_span(m, base, active, 3, source.copy().reshape(-1).view(UNSIGNED[3]), 2)
    else:
        write_span(m, base, active, esize, source)


def ld1(m: Machine, size: int, Rm: int, v: int, Rs: int, Pg: int, Rn: int, za: int) -> None:
    _ld1(m, size, Rm, v, Rs, Pg, Rn, za)


def st1(m: Machine, size: int, Rm: int, v: int, Rs: int, Pg: int, Rn: int, za: int) -> None:
    _st1(m, size, Rm, v, Rs, Pg, Rn, za)


def ld1q(m: Machine, Rm: int, v: int, Rs: int, Pg: int, Rn: int, za: int) -> None:
    _ld1(m, 4, Rm, v, Rs, Pg, Rn, za)


def st1q(m: Machine, Rm: int, v: int, Rs: int, Pg: int, Rn: int, za: int) -> None:
    _st1(m, 4, Rm, v, Rs, Pg, Rn, za)


def _slices(m: Machine, count: int, size: int, v: int, Rs: int, tile_and_offset: int) -> list[Lanes]:
    """Consecutive slices of a tile; the first one's number is a multiple of `count`."""
    bits = max(0, 4 - size - count // 2)
    number, offset = tile_and_offset >> bits, (tile_and_offset & (1 << bits) - 1) * count
    slices = m.svl >> size
    if slices < count:
        raise Undefined
    index = m.x[12 + Rs] & 0xFFFFFFFF
    first = index - index % count + offset
    tile = m.tile(size, number)
    return [tile[:, (first + i) % slices] if v else tile[(first + i) % slices] for i in range(count)]


def mova_slices_to_vectors(count: int, size: int) -> Callable[..., None]:
    def execute(m: Machine, v: int, Rs: int, za: int, Zd: int) -> None:
        for i, lanes in enumerate(_slices(m, count, size, v, Rs, za)):
            m.set_z(count * Zd + i, size, lanes)

    return execute


def mova_vectors_to_slices(count: int, size: int) -> Callable[..., None]:
    def execute(m: Machine, v: int, Rs: int, Zn: int, za: int) -> None:
        for i, lanes in enumerate(_slices(m, count, size, v, Rs, za)):
            lanes[:] = m.u(count * Zn + i, size)

    return execute


def _array_vectors(m: Machine, count: int, Rv: int, offset: int) -> list[Lanes]:
    """ZA vectors a half or a quarter of the array apart."""
    stride = m.svl // count
    first = ((m.x[8 + Rv] & 0xFFFFFFFF) + offset) % stride
    return [m.za_row(first + i * stride) for i in range(count)]


def mova_array_to_vectors(count: int) -> Callable[..., None]:
    def execute(m: Machine, Rv: int, offset: int, Zd: int) -> None:
        for i, row in enumerate(_array_vectors(m, count, Rv, offset)):
            m.set_z(count * Zd + i, 0, row)

    return execute


def mova_vectors_to_array(count: int) -> Callable[..., None]:
    def execute(m: Machine, Rv: int, Zn: int, offset: int) -> None:
        for i, row in enumerate(_array_vectors(m, count, Rv, offset)):
            row[:] = m.u(count * Zn + i, 0)

    return execute


def _slice_bits(count: int, size: int) -> str:
    """How a tile and the first of `count` slices are written in three bits, "" where there are none."""
    width = size + max(0, 4 - size - count // 2)
    return "0" * (3 - width) + f" za:{width}"


_SLICE = "Rm:5 v:1 Rs:2 Pg:3 Rn:5 0 za:4"
ROWS = (
    Row("ZERO (tiles)", "11000000 00001000 00000000 mask:8", Check.ZA, zero),
    Row("LDR (ZA array vector)", "11100001 00000000 0 Rv:2 000 Rn:5 0 offset:4", Check.ZA, ldr_za),
    Row("STR (ZA array vector)", "11100001 00100000 0 Rv:2 000 Rn:5 0 offset:4", Check.ZA, str_za),
    Row(
        "MOVA (tile to vector)",
        "11000000 size:2 00001 q:1 v:1 Rs:2 Pg:3 0 za:4 Zd:5",
        Check.STREAMING_ZA,
        mova_from_tile,
    ),
    Row(
        "MOVA (vector to tile)",
        "11000000 size:2 00000 q:1 v:1 Rs:2 Pg:3 Zn:5 0 za:4",
        Check.STREAMING_ZA,
        mova_to_tile,
    ),
    Row("LD1B ... LD1D (tile slice)", f"11100000 size:2 0 {_SLICE}", Check.STREAMING_ZA, ld1),
    Row("ST1B ... ST1D (tile slice)", f"11100000 size:2 1 {_SLICE}", Check.STREAMING_ZA, st1),
    Row("LD1Q (tile slice)", f"11100001 11 0 {_SLICE}", Check.STREAMING_ZA, ld1q),
    Row("ST1Q (tile slice)", f"11100001 11 1 {_SLICE}", Check.STREAMING_ZA, st1q),
    *(
        Row(
            f"MOVA ({count} slices to vectors, .{'BHSD'[size]})",
            f"11000000 {size:02b} 000110 v:1 Rs:2 00{count == 4:b} 00 {_slice_bits(count, size)} {place} 0",
            Check.STREAMING_ZA,
            mova_slices_to_vectors(count, size),
            "sme2",
        )
        for count, place in ((2, "Zd:4"), (4, "Zd:3 0"))
        for size in range(4)
    ),
    *(
        Row(
            f"MOVA (vectors to {count} slices, .{'BHSD'[size]})",
            f"11000000 {size:02b} 000100 v:1 Rs:2 00{count == 4:b} {place} 000 {_slice_bits(count, size)}",
            Check.STREAMING_ZA,
            mova_vectors_to_slices(count, size),
            "sme2",
        )
        for count, place in ((2, "Zn:4"), (4, "Zn:3 0"))
        for size in range(4)
    ),
    *(
        row
        for count, zd, zn in ((2, "Zd:4 0", "Zn:4 0"), (4, "Zd:3 00", "Zn:3 00"))
        for row in (
            Row(
                f"MOVA ({count} array vectors to vectors)",
                f"11000000 00 000110 0 Rv:2 01{count == 4:b} 00 offset:3 {zd}",
                Check.STREAMING_ZA,
                mova_array_to_vectors(count),
                "sme2",
            ),
            Row(
                f"MOVA (vectors to {count} array vectors)",
                f"11000000 00 000100 0 Rv:2 01{count == 4:b} {zn} 00 offset:3",
                Check.STREAMING_ZA,
                mova_vectors_to_array(count),
                "sme2",
            ),
        )
    ),
)
