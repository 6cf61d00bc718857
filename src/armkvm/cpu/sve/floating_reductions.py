"""Reductions of floating-point vectors to a scalar."""

# ruff: noqa: N803 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Machine
from armkvm.cpu.sve.fp_lanes import DEFAULT_NAN, INFINITY, operate, sign_bit


def reduction(name: str, identity: tuple[int, ...], negative: bool = False) -> Callable[..., None]:
    """Pairwise, over the vector padded with the identity to a power of two."""

    def execute(m: Machine, size: int, Pg: int, Zn: int, Vd: int) -> None:
        neutral = UNSIGNED[size].type(identity[size])
        if negative:
            neutral |= sign_bit(size)
        lanes = np.full(1 << (m.counts[size] - 1).bit_length(), neutral, UNSIGNED[size])
        lanes[: m.counts[size]] = np.where(m.active(Pg, size), m.u(Zn, size), neutral)
        while len(lanes) > 1:
            lanes = operate(m, name, size, lanes[0::2], lanes[1::2])
        m.set_v(Vd, size, int(lanes[0]))

    return execute


def ordered_sum(m: Machine, size: int, Pg: int, Zm: int, Vdn: int) -> None:
    """FADDA: from the lowest active lane up, each sum rounded."""
    start, lanes = int(m.u(Vdn, size)[0]), m.u(Zm, size)[m.active(Pg, size)]
    total, m.vectors.fpsr = m.fp.add_in_order(size, start, lanes, m.vectors.fpcr, m.vectors.fpsr)
    m.set_v(Vdn, size, total)


_F = "01100101"
ROWS = (
    *(
        Row(name, f"{_F} size:2!0 000 {bits} 001 Pg:3 Zn:5 Vd:5", Check.SVE, execute)
        for bits, name, execute in (
            ("000", "FADDV", reduction("fadd", (0, 0, 0, 0))),
            ("100", "FMAXNMV", reduction("fmaxnm", DEFAULT_NAN)),
            ("101", "FMINNMV", reduction("fminnm", DEFAULT_NAN)),
            ("110", "FMAXV", reduction("fmax", INFINITY, True)),
            ("111", "FMINV", reduction("fmin", INFINITY)),
        )
    ),
    Row("FADDA", f"{_F} size:2!0 011000 001 Pg:3 Zm:5 Vdn:5", Check.NON_STREAMING, ordered_sum),
)
