"""SME2: groups of vectors added, multiplied and summed into vectors of the ZA array.

A group of two or four ZA vectors lies a half or a quarter of the array apart. A long form adds to two or
four neighbouring ZA vectors instead of one, each taking every second or fourth element.
"""

# ruff: noqa: ANN401, PLR0917 - lanes are whatever NumPy can broadcast; rows are tables of many columns

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from armkvm.cpu.decode import Row, parse_pattern
from armkvm.cpu.fp import FPCR_DN
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import SIGNED, UNSIGNED, Lanes, Machine
from armkvm.cpu.sve.bfloat import bf_add, bf_dot, half_dot, singles

Combine = Callable[[Machine, Lanes, Lanes, Lanes], Lanes]
"""New lanes of ZA from old ones and the lanes (or groups of lanes, one to a row) of the operands."""

_ALL_FLAGS = 0x9F  # ZA's arithmetic has none; passing them set keeps the engine from computing any


def _fused(name: str, size: int) -> Combine:
    def combine(m: Machine, za: Lanes, a: Lanes, b: Lanes) -> Lanes:
        result, _ = m.fp.run(name, size, (za, a[:, 0], b[:, 0]), m.vectors.fpcr | FPCR_DN, _ALL_FLAGS)
        return result

    return combine


def _plain(name: str, size: int) -> Combine:
    def combine(m: Machine, za: Lanes, a: Lanes, unused: Lanes) -> Lanes:  # noqa: ARG001
        result, _ = m.fp.run(name, size, (za, a[:, 0]), m.vectors.fpcr | FPCR_DN, _ALL_FLAGS)
        return result

    return combine


def _half_fused(name: str) -> Combine:
    def combine(m: Machine, za: Lanes, a: Lanes, b: Lanes) -> Lanes:
        result, _ = m.fp.each(name, (za, a[:, 0], b[:, 0]), m.vectors.fpcr | FPCR_DN, _ALL_FLAGS)
        return result.astype(np.uint32)

    return combine


def _bfloat_fused(name: str) -> Combine:
    fused = _fused(name, 2)

    def combine(m: Machine, za: Lanes, a: Lanes, b: Lanes) -> Lanes:
        return fused(m, za, singles(a), singles(b))

    return combine


def _half_dot(m: Machine, za: Lanes, a: Lanes, b: Lanes) -> Lanes:
    fpcr = m.vectors.fpcr | FPCR_DN
    return m.fp.run("fadd", 2, (za, half_dot(m, a, b, fpcr)), fpcr, _ALL_FLAGS)[0]


def _bfloat_dot(_: Machine, za: Lanes, a: Lanes, b: Lanes) -> Lanes:
    return bf_add(za, bf_dot(a, b))


def _integer(sign: int, a_signed: bool, b_signed: bool) -> Combine:
    """Add, or subtract, the sum of the products of each row."""

    def numbers(lanes: Lanes, is_signed: bool) -> Any:
        return (lanes.view(SIGNED[lanes.itemsize.bit_length() - 1]) if is_signed else lanes).astype(np.int64)

    def combine(_: Machine, za: Lanes, a: Lanes, b: Lanes) -> Lanes:
        products = (numbers(a, a_signed) * numbers(b, b_signed)).sum(axis=1)
        total: Lanes = products.view(np.uint64).astype(za.dtype)
        result: Lanes = za + total if sign > 0 else za - total
        return result

    return combine


def _add(_: Machine, __: Lanes, a: Lanes, b: Lanes) -> Lanes:
    """What ZA held does not matter."""
    return (a + b)[:, 0]


def _subtract(_: Machine, __: Lanes, a: Lanes, b: Lanes) -> Lanes:
    return (a - b)[:, 0]


def _accumulate(sign: int) -> Combine:
    def combine(_: Machine, za: Lanes, a: Lanes, __: Lanes) -> Lanes:
        return za + a[:, 0] if sign > 0 else za - a[:, 0]

    return combine


class Kind:
    """What is combined: ZA elements of `size` with groups of `ways` operand elements of `narrow`.

    `spread` of ZA's vectors take turns, as the long forms have it.
    """

    __slots__ = ("combine", "narrow", "size", "spread", "ways")

    def __init__(self, combine: Combine, size: int, narrow: int, ways: int = 1) -> None:
        self.combine, self.size, self.narrow, self.ways = combine, size, narrow, ways
        self.spread = (1 << size - narrow) // ways


def _lanes(m: Machine, kind: Kind, n: int, turn: int) -> Lanes:
    """Zn's elements for one of the ZA vectors that take turns, one row for each of ZA's elements."""
    lanes = m.u(n, kind.narrow).reshape(-1, kind.spread, kind.ways)
    return lanes[:, turn]


def _element(m: Machine, kind: Kind, n: int, index: int) -> Lanes:
    """Of each quadword of Zn, the group of elements at `index`, once for each of ZA's elements."""
    per_quadword = 16 >> kind.narrow
    groups = m.u(n, kind.narrow).reshape(-1, per_quadword // kind.ways, kind.ways)
    return groups[:, index].repeat(16 >> kind.size, axis=0)


def _apply(m: Machine, kind: Kind, count: int, field: Mapping[str, int]) -> None:
    """Read operands and fields as the names of the fields say, combine, write back."""
    stride = m.svl // count
    first = ((m.x[8 + field["Rv"]] & 0xFFFFFFFF) + field["off"] * kind.spread) % stride
    first -= first % kind.spread
    indexed = "index" in field or "ih" in field
    index = field["ih"] << field["il_width"] | field["il"] if "ih" in field else field.get("index", 0)
    scale = 1 if "single" in field else count
    for group in range(count):
        n = (field["Zn"] * scale + group) % 32
        if "Zm" not in field:
            other = None
        elif indexed or scale == 1:
            other = field["Zm"]
        else:
            other = field["Zm"] * count + group
        for turn in range(kind.spread):
            row = m.za_row(first + group * stride + turn).view(UNSIGNED[kind.size])
            a = _lanes(m, kind, n, turn)
            b = (
                a
                if other is None
                else _element(m, kind, other, index)
                if indexed
                else _lanes(m, kind, other, turn)
            )
            row[:] = kind.combine(m, row.copy(), np.ascontiguousarray(a), np.ascontiguousarray(b))


def _row(name: str, pattern: str, kind: Kind, count: int, needs: str, single: bool = False) -> Row:
    fields = parse_pattern(pattern)[2]
    names = [f.name for f in fields]
    widths = {f.name: f.width for f in fields}
    fixed = {"il_width": widths.get("il", 0)} | ({"single": 1} if single else {})

    def execute(m: Machine, *operands: int) -> None:
        _apply(m, kind, count, fixed | dict(zip(names, operands, strict=True)))

    return Row(name, pattern, Check.STREAMING_ZA, execute, needs)


_TOP = "11000001"


def _grouped(name: str, kind: Kind, single: str, multi: str, op: str, low: str, needs: str) -> list[Row]:
    """The forms on groups: with one vector, and with another group.

    `single` and `multi` are bits 23:21 of each form ("" where there is none), `op` bits 12:10 and `low`
    what lies below Zn.
    """
    rows = []
    for count in (2, 4):
        if single:
            pattern = f"{_TOP} {single} {count == 4:b} Zm:4 0 Rv:2 {op} Zn:5 {low}"
            rows.append(_row(f"{name} ({count} and single)", pattern, kind, count, needs, True))
        if multi:
            zm, zn = ("Zm:4 0", "Zn:4 0") if count == 2 else ("Zm:3 01", "Zn:3 00")
            pattern = f"{_TOP} {multi} {zm} 0 Rv:2 {op} {zn} {low}"
            rows.append(_row(f"{name} ({count} and {count})", pattern, kind, count, needs))
    return rows


def _indexed(name: str, kind: Kind, top: str, op: str, low2: str, low4: str, needs: str) -> list[Row]:
    """The forms on groups with one element; `op` and what is below Zn for two and four vectors."""
    return [
        _row(
            f"{name} ({count}, indexed)",
            f"{_TOP} {top} Zm:4 {count == 4:b} Rv:2 {op} {'Zn:4' if count == 2 else 'Zn:3'} {low}",
            kind,
            count,
            needs,
        )
        for count, low in ((2, low2), (4, low4))
        if low
    ]


def _one(name: str, kind: Kind, pattern: str, needs: str) -> Row:
    """A long form on one vector."""
    return _row(f"{name} (1)", f"{_TOP} {pattern}", kind, 1, needs, True)


def _arithmetic() -> list[Row]:
    rows = []
    for size, needs in ((2, "sme2"), (3, "i16i64")):
        s = f"{size & 1}"
        for name, combine, o in (("ADD", _add, "0"), ("SUB", _subtract, "1")):
            kind = Kind(combine, size, size)
            rows += _grouped(
                f"{name} (.{'SD'[s == '1']})", kind, f"0{s}1", f"1{s}1", "110", f"1{o} off:3", needs
            )
            added = Kind(_accumulate(-1 if o == "1" else 1), size, size)
            rows += _accumulating(f"{name} (.{'SD'[s == '1']})", added, f"1{s}1", f"1{o} off:3", needs)
    for size, needs in ((2, "sme2"), (3, "f64f64")):
        s = f"{size & 1}"
        for name, o in (("FMLA", "0"), ("FMLS", "1")):
            kind = Kind(_fused(name.lower(), size), size, size)
            text = f"{name} (.{'SD'[size - 2]})"
            rows += _grouped(text, kind, f"0{s}1", f"1{s}1", "110", f"0{o} off:3", needs)
            op = "0 index:2" if size == 2 else "00 index:1"
            rows += _indexed(text, kind, f"{s}101", op, f"0{o}0 off:3", f"00{o}0 off:3", needs)
        for name, o in (("FADD", "0"), ("FSUB", "1")):
            kind = Kind(_plain(name.lower(), size), size, size)
            rows += _accumulating(f"{name} (.{'SD'[size - 2]})", kind, f"1{s}1", f"0{o} off:3", needs)
    return rows


def _accumulating(name: str, kind: Kind, top: str, low: str, needs: str) -> list[Row]:
    """A group added to ZA as it is."""
    return [
        _row(
            f"{name} ({count})",
            f"{_TOP} {top} 0000{count == 4:b} 0 Rv:2 111 {'Zn:4 0' if count == 2 else 'Zn:3 00'} {low}",
            kind,
            count,
            needs,
        )
        for count in (2, 4)
    ]


def _dots() -> list[Row]:
    rows = []
    four_way = (
        ("SDOT", "00", True, True, "100"),
        ("UDOT", "10", False, False, "110"),
        ("USDOT", "01", False, True, "101"),
        ("SUDOT", "11", True, False, "111"),
    )
    for name, low, a, b, indexed in four_way:
        kind = Kind(_integer(1, a, b), 2, 0, 4)
        text = f"{name} (4-way, .S)"
        multi = "" if name == "SUDOT" else "101"
        rows += _grouped(text, kind, "001", multi, "101", f"{low} off:3", "sme2")
        rows += _indexed(text, kind, "0101", "1 index:2", f"{indexed} off:3", f"0{indexed} off:3", "sme2")
    for name, u, is_signed in (("SDOT", "0", True), ("UDOT", "1", False)):
        wide = Kind(_integer(1, is_signed, is_signed), 3, 1, 4)
        rows += _grouped(f"{name} (4-way, .D)", wide, "011", "111", "101", f"{u}0 off:3", "i16i64")
        rows += _indexed(
            f"{name} (4-way, .D)", wide, "1101", "00 index:1", f"0{u}1 off:3", f"00{u}1 off:3", "i16i64"
        )
        kind = Kind(_integer(1, is_signed, is_signed), 2, 1, 2)
        rows += _grouped(f"{name} (2-way)", kind, "011", "111", "101", f"{u}1 off:3", "sme2")
        rows += _indexed(
            f"{name} (2-way)", kind, "0101", "1 index:2", f"0{u}0 off:3", f"00{u}0 off:3", "sme2"
        )
    dots: tuple[tuple[str, str, Combine], ...] = (("FDOT", "0", _half_dot), ("BFDOT", "1", _bfloat_dot))
    for name, o, combine in dots:
        kind = Kind(combine, 2, 1, 2)
        rows += _grouped(name, kind, "001", "101", "100", f"{o}0 off:3", "sme2")
        rows += _indexed(name, kind, "0101", "1 index:2", f"0{o}1 off:3", f"00{o}1 off:3", "sme2")
    return rows


def _long() -> list[Row]:
    """FMLAL, SMLAL ...: halves into singles, or words; 2 ZA vectors take turns."""
    rows = []
    floating = (
        ("FMLAL", "00", _half_fused("fmlal")),
        ("FMLSL", "01", _half_fused("fmlsl")),
        ("BFMLAL", "10", _bfloat_fused("fmla")),
        ("BFMLSL", "11", _bfloat_fused("fmls")),
    )
    integer = (
        ("SMLAL", "00", _integer(1, True, True)),
        ("SMLSL", "01", _integer(-1, True, True)),
        ("UMLAL", "10", _integer(1, False, False)),
        ("UMLSL", "11", _integer(-1, False, False)),
    )
    for s, kinds in (("0", floating), ("1", integer)):
        for name, o, combine in kinds:
            kind = Kind(combine, 2, 1)
            rows += _grouped(name, kind, f"0{s}1", f"1{s}1", "010", f"{o}0 off:2", "sme2")
            rows.append(_one(name, kind, f"0{s}10 Zm:4 0 Rv:2 011 Zn:5 {o} off:3", "sme2"))
            rows.append(_one_indexed(name, kind, f"1{s}00 Zm:4 ih:1 Rv:2 1 il:2 Zn:5 {o} off:3", "sme2"))
            low = f"{o} il:1 off:2"
            rows += _indexed(name, kind, f"1{s}01", "1 ih:2", f"0 {low}", f"00 {low}", "sme2")
    return rows


def _one_indexed(name: str, kind: Kind, pattern: str, needs: str) -> Row:
    return _row(f"{name} (1, indexed)", f"{_TOP} {pattern}", kind, 1, needs)


def _long_long() -> list[Row]:
    """SMLALL ...: bytes into words, or halfwords into doublewords; 4 ZA vectors take turns."""
    rows = []
    kinds = (
        ("SMLALL", "00", 1, True, True),
        ("SMLSLL", "01", -1, True, True),
        ("UMLALL", "10", 1, False, False),
        ("UMLSLL", "11", -1, False, False),
    )
    for name, o, sign, a, b in kinds:
        words, doublewords = Kind(_integer(sign, a, b), 2, 0), Kind(_integer(sign, a, b), 3, 1)
        for kind, s, needs in ((words, "0", "sme2"), (doublewords, "1", "i16i64")):
            text = f"{name} (.{'SD'[s == '1']})"
            rows += _grouped(text, kind, f"0{s}1", f"1{s}1", "000", f"{o}00 off:1", needs)
            rows.append(_one(text, kind, f"0{s}10 Zm:4 0 Rv:2 001 Zn:5 {o}0 off:2", needs))
        rows += _long_long_indexed(name, words, doublewords, f"{o}0", f"0{o}")
    us, su = Kind(_integer(1, False, True), 2, 0), Kind(_integer(1, True, False), 2, 0)
    rows += _grouped("USMLALL", us, "001", "101", "000", "0010 off:1", "sme2")
    rows += _grouped("SUMLALL", su, "001", "", "000", "1010 off:1", "sme2")
    rows.append(_one("USMLALL", us, "0010 Zm:4 0 Rv:2 001 Zn:5 001 off:2", "sme2"))
    rows += _long_long_indexed("USMLALL", us, None, "001", "100")
    rows += _long_long_indexed("SUMLALL", su, None, "101", "110")
    return rows


def _long_long_indexed(name: str, words: Kind, doublewords: Kind | None, one: str, several: str) -> list[Row]:
    rows = [_one_indexed(name, words, f"0000 Zm:4 ih:1 Rv:2 il:3 Zn:5 {one} off:2", "sme2")]
    low = f"{several} il:2 off:1"
    rows += _indexed(name, words, "0001", "0 ih:2", low, f"0 {low}", "sme2")
    if doublewords is not None:
        text = f"{name} (.D)"
        pattern = f"1000 Zm:4 ih:1 Rv:2 0 il:2 Zn:5 {one} off:2"
        rows.append(_one_indexed(text, doublewords, pattern, "i16i64"))
        rows += _indexed(text, doublewords, "1001", "00 ih:1", low, f"0 {low}", "i16i64")
    return rows


ROWS = (*_arithmetic(), *_dots(), *_long(), *_long_long())
