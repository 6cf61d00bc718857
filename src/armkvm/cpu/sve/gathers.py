"""Gather loads and scatter stores: each active lane at an address of its own."""

# ruff: noqa: D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import GuestException, OutsideMemory, Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import MASK64, UNSIGNED, Machine
from armkvm.cpu.sve.loads import prefetch, widen

Addresses = list[int]


def _offsets(m: Machine, Zm: int, size: int, extension: int | None) -> list[int]:
    """Zm's lanes as offsets: whole doublewords (None), or their low words zero (0) or sign (1) extended."""
    if extension is None:
        return [int(n) for n in m.u(Zm, size).tolist()]
    words = m.i(Zm, 2) if extension else m.u(Zm, 2)
    return [int(n) for n in words[:: 1 << size - 2].tolist()]


def _scalar_plus_vector(
    m: Machine, Rn: int, Zm: int, size: int, extension: int | None, scale: int
) -> Addresses:
    base = m.get_xsp(Rn)
    return [base + (offset << scale) & MASK64 for offset in _offsets(m, Zm, size, extension)]


def _vector_plus(m: Machine, Zn: int, size: int, offset: int) -> Addresses:
    return [base + offset & MASK64 for base in m.u(Zn, size).tolist()]


def gather(
    m: Machine, addresses: Addresses, msize: int, size: int, unsigned: int, first_fault: int, Pg: int, Zt: int
) -> None:
    """Load the active lanes; with `first_fault`, a failing lane but the first clears FFR from there on."""
    if msize > size or (not unsigned and msize == size):
        raise Undefined
    lanes = np.zeros(m.counts[size], UNSIGNED[msize])
    first = True
    for lane in np.flatnonzero(m.active(Pg, size)).tolist():
        try:
            data = m.memory.load(addresses[lane], 1 << msize)
        except (GuestException, OutsideMemory):
            if first or not first_fault:
                raise
            ffr = m.ffr().copy()
            ffr[lane << size :] = False
            m.set_ffr(ffr)
            break
        lanes[lane] = int.from_bytes(data, "little")
        first = False
    m.set_z(Zt, size, widen(lanes, msize, size, not unsigned))


def scatter(m: Machine, addresses: Addresses, msize: int, size: int, Pg: int, Zt: int) -> None:
    if msize > size:
        raise Undefined
    narrow = m.u(Zt, size).astype(UNSIGNED[msize])
    for lane in np.flatnonzero(m.active(Pg, size)).tolist():
        m.memory.store(addresses[lane], narrow[lane].tobytes())


def load_extended(size: int, msize: int, scale: int) -> Callable[..., None]:
    def execute(m: Machine, xs: int, Zm: int, U: int, ff: int, Pg: int, Rn: int, Zt: int) -> None:
        gather(m, _scalar_plus_vector(m, Rn, Zm, size, xs, scale), msize, size, U, ff, Pg, Zt)

    return execute


def load_doublewords(msize: int, scale: int) -> Callable[..., None]:
    def execute(m: Machine, Zm: int, U: int, ff: int, Pg: int, Rn: int, Zt: int) -> None:
        gather(m, _scalar_plus_vector(m, Rn, Zm, 3, None, scale), msize, 3, U, ff, Pg, Zt)

    return execute


def load_vector_immediate(size: int, msize: int) -> Callable[..., None]:
    def execute(m: Machine, imm: int, U: int, ff: int, Pg: int, Zn: int, Zt: int) -> None:
        gather(m, _vector_plus(m, Zn, size, imm << msize), msize, size, U, ff, Pg, Zt)

    return execute


def load_vector_scalar(size: int, msize: int) -> Callable[..., None]:
    """LDNT1, vector plus scalar."""

    def execute(m: Machine, Rm: int, U: int, Pg: int, Zn: int, Zt: int) -> None:
        gather(m, _vector_plus(m, Zn, size, m.get_x(Rm)), msize, size, U, 0, Pg, Zt)

    return execute


def store_extended(size: int, msize: int, scale: int) -> Callable[..., None]:
    def execute(m: Machine, Zm: int, xs: int, Pg: int, Rn: int, Zt: int) -> None:
        scatter(m, _scalar_plus_vector(m, Rn, Zm, size, xs, scale), msize, size, Pg, Zt)

    return execute


def store_doublewords(msize: int, scale: int) -> Callable[..., None]:
    def execute(m: Machine, Zm: int, Pg: int, Rn: int, Zt: int) -> None:
        scatter(m, _scalar_plus_vector(m, Rn, Zm, 3, None, scale), msize, 3, Pg, Zt)

    return execute


def store_vector_immediate(size: int, msize: int) -> Callable[..., None]:
    def execute(m: Machine, imm: int, Pg: int, Zn: int, Zt: int) -> None:
        scatter(m, _vector_plus(m, Zn, size, imm << msize), msize, size, Pg, Zt)

    return execute


def store_vector_scalar(size: int, msize: int) -> Callable[..., None]:
    """STNT1, vector plus scalar."""

    def execute(m: Machine, Rm: int, Pg: int, Zn: int, Zt: int) -> None:
        scatter(m, _vector_plus(m, Zn, size, m.get_x(Rm)), msize, size, Pg, Zt)

    return execute


def _quadword_addresses(m: Machine, Zn: int, Rm: int) -> Addresses:
    return [base + m.get_x(Rm) & MASK64 for base in m.u(Zn, 3)[::2].tolist()]


def ld1q(m: Machine, Rm: int, Pg: int, Zn: int, Zt: int) -> None:
    """Quadwords, each at the address in the even doubleword of Zn plus Rm."""
    active = m.active(Pg, 0)[::16]
    data = [
        m.memory.load(address, 16) if on else bytes(16)
        for address, on in zip(_quadword_addresses(m, Zn, Rm), active.tolist(), strict=True)
    ]
    m.set_z(Zt, 0, np.frombuffer(b"".join(data), np.uint8))


def st1q(m: Machine, Rm: int, Pg: int, Zn: int, Zt: int) -> None:
    quadwords, active = m.u(Zt, 0).reshape(-1, 16), m.active(Pg, 0)[::16]
    for n, address in enumerate(_quadword_addresses(m, Zn, Rm)):
        if active[n]:
            m.memory.store(address, quadwords[n].tobytes())


_NS = Check.NON_STREAMING
_TOP = {2: "1000010", 3: "1100010"}
_FORMS = tuple(
    (size, msize, f"{'BHWD'[msize]} .{'SD'[size - 2]}") for size in (2, 3) for msize in range(size + 1)
)
"""Lane size, memory element size, and both as a mnemonic has them."""


def _scales(msize: int) -> tuple[tuple[int, str], ...]:
    """The scaled forms there are: (scale, how the row's name says it)."""
    return ((0, ""), (msize, ", scaled")) if msize else ((0, ""),)


ROWS = (
    *(
        Row(
            f"LD1{form}, LDFF1{form} (scalar plus vector of words{text})",
            f"{_TOP[size]} {msize:02b} xs:1 {scale > 0:b} Zm:5 0 U:1 ff:1 Pg:3 Rn:5 Zt:5",
            _NS,
            load_extended(size, msize, scale),
        )
        for size, msize, form in _FORMS
        for scale, text in _scales(msize)
    ),
    *(
        Row(
            f"LD1{form}, LDFF1{form} (scalar plus vector of doublewords{text})",
            f"1100010 {msize:02b} 1{scale > 0:b} Zm:5 1 U:1 ff:1 Pg:3 Rn:5 Zt:5",
            _NS,
            load_doublewords(msize, scale),
        )
        for size, msize, form in _FORMS
        if size == 3
        for scale, text in _scales(msize)
    ),
    *(
        Row(
            f"LD1{form}, LDFF1{form} (vector plus immediate)",
            f"{_TOP[size]} {msize:02b} 01 imm:5 1 U:1 ff:1 Pg:3 Zn:5 Zt:5",
            _NS,
            load_vector_immediate(size, msize),
        )
        for size, msize, form in _FORMS
    ),
    *(
        Row(
            f"LDNT1{form} (vector plus scalar)",
            f"{_TOP[size]} {msize:02b} 00 Rm:5 1 {'0 U:1' if size == 2 else 'U:1 0'} Pg:3 Zn:5 Zt:5",
            _NS,
            load_vector_scalar(size, msize),
            "sve2",
        )
        for size, msize, form in _FORMS
    ),
    *(
        Row(
            f"ST1{form} (scalar plus vector of words{text})",
            f"1110010 {msize:02b} {size == 2:b}{scale > 0:b} Zm:5 1 xs:1 0 Pg:3 Rn:5 Zt:5",
            _NS,
            store_extended(size, msize, scale),
        )
        for size, msize, form in _FORMS
        for scale, text in _scales(msize)
    ),
    *(
        Row(
            f"ST1{form} (scalar plus vector of doublewords{text})",
            f"1110010 {msize:02b} 0{scale > 0:b} Zm:5 101 Pg:3 Rn:5 Zt:5",
            _NS,
            store_doublewords(msize, scale),
        )
        for size, msize, form in _FORMS
        if size == 3
        for scale, text in _scales(msize)
    ),
    *(
        Row(
            f"ST1{form} (vector plus immediate)",
            f"1110010 {msize:02b} 1{size == 2:b} imm:5 101 Pg:3 Zn:5 Zt:5",
            _NS,
            store_vector_immediate(size, msize),
        )
        for size, msize, form in _FORMS
    ),
    *(
        Row(
            f"STNT1{form} (vector plus scalar)",
            f"1110010 {msize:02b} {size == 2:b}0 Rm:5 001 Pg:3 Zn:5 Zt:5",
            _NS,
            store_vector_scalar(size, msize),
            "sve2",
        )
        for size, msize, form in _FORMS
    ),
    Row("LD1Q (vector plus scalar)", "11000100 000 Rm:5 101 Pg:3 Zn:5 Zt:5", _NS, ld1q, "sve2p1"),
    Row("ST1Q (vector plus scalar)", "11100100 001 Rm:5 001 Pg:3 Zn:5 Zt:5", _NS, st1q, "sve2p1"),
    *(
        Row(f"PRFB ... PRFD (scalar plus vector, {name})", f"{pattern} Pg:3 Rn:5 0 prfop:4", _NS, prefetch)
        for name, pattern in (
            ("32-bit offsets, words", "1000010 00 xs:1 1 Zm:5 0 msz:2"),
            ("32-bit offsets, doublewords", "1100010 00 xs:1 1 Zm:5 0 msz:2"),
            ("64-bit offsets", "1100010 00 11 Zm:5 1 msz:2"),
        )
    ),
    *(
        Row(
            f"PRFB ... PRFD (vector plus immediate, {'words' if size == 2 else 'doublewords'})",
            f"{top} msz:2 00 imm:5 111 Pg:3 Zn:5 0 prfop:4",
            _NS,
            prefetch,
        )
        for size, top in _TOP.items()
    ),
)
