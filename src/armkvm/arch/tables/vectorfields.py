"""Fields of the registers that control SVE, SME and FP8, none of which describes the hardware.

Source: Arm Architecture Registers. No value of a control stands for another, so none has an order.
Bits 8:4 of ZCR_ELx and SMCR_ELx, which read as zero and ignore writes, count as RES0 here.
"""

from __future__ import annotations

from armkvm.arch.fields import EXACT, Direction, Row, Rule, Table

SIGNED = Rule(Direction.EXACT, signed=True)
LENGTHS = {0: "up to 1 quadword", **{n: f"up to {n + 1} quadwords" for n in range(1, 16)}}
FORMATS = {0: "E5M2", 1: "E4M3"}

_LEN: Row = ("LEN", 3, 0, EXACT, LENGTHS)
_ZCR: tuple[Row, ...] = (_LEN,)
_SMCR: tuple[Row, ...] = (
    ("FA64", 31, 31, EXACT, {0: "a subset of A64 in streaming mode", 1: "all of A64 in streaming mode"}),
    ("EZT0", 30, 30, EXACT, {0: "ZT0 traps", 1: "ZT0 can be used"}),
    _LEN,
)  # fmt: skip

ROWS: Table = (
    ("SVCR", (
        ("ZA", 1, 1, EXACT, {0: "ZA and ZT0 are off", 1: "ZA and ZT0 are on"}),
        ("SM", 0, 0, EXACT, {0: "not in streaming mode", 1: "in streaming mode"}),
    )),
    *((register, _ZCR) for register in ("ZCR_EL1", "ZCR_EL2", "ZCR_EL12")),
    *((register, _SMCR) for register in ("SMCR_EL1", "SMCR_EL2", "SMCR_EL12")),
    ("SMPRI_EL1", (
        ("Priority", 3, 0, EXACT, {}),
    )),
    ("SMPRIMAP_EL2", tuple((f"P{n}", 4 * n + 3, 4 * n, EXACT, {}) for n in range(15, -1, -1))),
    ("FPMR", (
        ("LSCALE2", 37, 32, EXACT, {}),
        ("NSCALE", 31, 24, SIGNED, {}),
        ("LSCALE", 22, 16, EXACT, {}),
        ("OSC", 15, 15, EXACT, {0: "conversions overflow to infinity or NaN", 1: "conversions saturate"}),
        ("OSM", 14, 14, EXACT, {0: "multiplications overflow to infinity", 1: "multiplications saturate"}),
        ("F8D", 8, 6, EXACT, FORMATS),
        ("F8S2", 5, 3, EXACT, FORMATS),
        ("F8S1", 2, 0, EXACT, FORMATS),
    )),
)  # fmt: skip
