"""Moving lanes about: REV, EXT, TBL, ZIP, UZP, TRN, unpacking, LASTA, COMPACT, SPLICE."""

# ruff: noqa: D103, N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import MASK64, UNSIGNED, Lanes, Machine


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


def ext_pair(m: Machine, high: int, low: int, Zn: int, Zd: int) -> None:
    """EXT of two consecutive registers."""
    offset = high << 3 | low
    joined = np.concatenate((m.u(Zn, 0), m.u((Zn + 1) % 32, 0)))
    start = offset if offset < m.vl else 0
    m.set_z(Zd, 0, joined[start : start + m.vl])


def tbl_pair(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
    """TBL from two consecutive registers."""
    table, indices = np.concatenate((m.u(Zn, size), m.u((Zn + 1) % 32, size))), m.u(Zm, size)
    inside = indices < len(table)
    m.set_z(Zd, size, np.where(inside, table[np.where(inside, indices, 0)], 0))


def tbx(m: Machine, size: int, Zm: int, Zn: int, Zd: int) -> None:
    """TBL that leaves lanes whose index is too large as they are."""
    table, indices = m.u(Zn, size), m.u(Zm, size)
    inside = indices < len(table)
    m.set_z(Zd, size, np.where(inside, table[np.where(inside, indices, 0)], m.u(Zd, size)))


def _quadword_permute(opc: int) -> Callable[..., None]:
    def execute(m: Machine, Zm: int, second: int, Zn: int, Zd: int) -> None:
        _permute_quadwords(m, Zm, opc, second, Zn, Zd)

    return execute


def _permute_quadwords(m: Machine, Zm: int, opc: int, second: int, Zn: int, Zd: int) -> None:
    """ZIP, UZP, TRN of quadwords; one left over at the end of the vector becomes zero."""
    if m.vl < 32:
        raise Undefined
    a, b = m.u(Zn, 3).reshape(-1, 2), m.u(Zm, 3).reshape(-1, 2)
    pairs = len(a) // 2
    result = np.zeros_like(a)
    if opc == 0:
        part = slice(pairs, 2 * pairs) if second else slice(None, pairs)
        result[0 : 2 * pairs : 2], result[1 : 2 * pairs : 2] = a[part], b[part]
    elif opc == 1:
        joined = np.concatenate((a[: 2 * pairs], b[: 2 * pairs]))
        result[: 2 * pairs] = joined[second::2]
    else:
        result[0 : 2 * pairs : 2] = a[second : 2 * pairs : 2]
        result[1 : 2 * pairs : 2] = b[second : 2 * pairs : 2]
    m.set_z(Zd, 3, result.reshape(-1))


def compact(m: Machine, sz: int, Pg: int, Zn: int, Zd: int) -> None:
    """The active lanes together at the bottom, zeros above."""
    size = 2 + sz
    chosen = m.u(Zn, size)[m.active(Pg, size)]
    m.set_z(Zd, size, np.concatenate((chosen, np.zeros(m.counts[size] - len(chosen), chosen.dtype))))


def _splice(m: Machine, size: int, Pg: int, first: Lanes, second: Lanes, Zd: int) -> None:
    """From the first to the last active lane of `first`, then `second` from its bottom."""
    active = np.flatnonzero(m.active(Pg, size))
    chosen = first[active[0] : active[-1] + 1] if active.size else first[:0]
    m.set_z(Zd, size, np.concatenate((chosen, second[: len(second) - len(chosen)])))


def splice(m: Machine, size: int, Pg: int, Zm: int, Zdn: int) -> None:
    _splice(m, size, Pg, m.u(Zdn, size), m.u(Zm, size), Zdn)


def splice_pair(m: Machine, size: int, Pg: int, Zn: int, Zd: int) -> None:
    _splice(m, size, Pg, m.u(Zn, size), m.u((Zn + 1) % 32, size), Zd)


def _conditional_last(m: Machine, size: int, before: int, Pg: int, Zm: int) -> int | None:
    """What LASTA or LASTB gives, or None without an active lane."""
    return _last(m, size, before, Pg, Zm) if m.active(Pg, size).any() else None


def clast_vector(m: Machine, size: int, before: int, Pg: int, Zm: int, Zdn: int) -> None:
    value = _conditional_last(m, size, before, Pg, Zm)
    if value is not None:
        m.set_z(Zdn, size, value)


def clast_simd(m: Machine, size: int, before: int, Pg: int, Zm: int, Vdn: int) -> None:
    value = _conditional_last(m, size, before, Pg, Zm)
    m.set_v(Vdn, size, int(m.u(Vdn, size)[0]) if value is None else value)


def clast_general(m: Machine, size: int, before: int, Pg: int, Zm: int, Rdn: int) -> None:
    value = _conditional_last(m, size, before, Pg, Zm)
    m.set_x(Rdn, m.get_x(Rdn) & MASK64 >> 64 - (8 << size) if value is None else value)


_M = "00000101"
ROWS = (
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
    Row("EXT (two vectors)", f"{_M} 01 1 high:5 000 low:3 Zn:5 Zd:5", Check.SVE, ext_pair, "sve2"),
    Row("TBL (two vectors)", f"{_M} size:2 1 Zm:5 001010 Zn:5 Zd:5", Check.SVE, tbl_pair, "sve2"),
    Row("TBX", f"{_M} size:2 1 Zm:5 001011 Zn:5 Zd:5", Check.SVE, tbx, "sve2"),
    *(
        Row(
            f"{name} (quadwords)",
            f"{_M} 10 1 Zm:5 000 {bits} second:1 Zn:5 Zd:5",
            Check.NON_STREAMING,
            _quadword_permute(opc),
            "f64mm",
        )
        for name, bits, opc in (("ZIP1, ZIP2", "00", 0), ("UZP1, UZP2", "01", 1), ("TRN1, TRN2", "11", 2))
    ),
    Row("COMPACT", f"{_M} 1 sz:1 100001 100 Pg:3 Zn:5 Zd:5", Check.NON_STREAMING, compact),
    Row("SPLICE", f"{_M} size:2 101100 100 Pg:3 Zm:5 Zdn:5", Check.SVE, splice),
    Row("SPLICE (two vectors)", f"{_M} size:2 101101 100 Pg:3 Zn:5 Zd:5", Check.SVE, splice_pair, "sve2"),
    Row(
        "CLASTA, CLASTB (vectors)", f"{_M} size:2 10100 before:1 100 Pg:3 Zm:5 Zdn:5", Check.SVE, clast_vector
    ),
    Row("CLASTA, CLASTB (SIMD&FP)", f"{_M} size:2 10101 before:1 100 Pg:3 Zm:5 Vdn:5", Check.SVE, clast_simd),
    Row(
        "CLASTA, CLASTB (general)",
        f"{_M} size:2 11000 before:1 101 Pg:3 Zm:5 Rdn:5",
        Check.SVE,
        clast_general,
    ),
)
