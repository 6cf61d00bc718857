"""SVE2: MATCH, NMATCH and the histograms."""

# ruff: noqa: N803, PLR0917 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import UNSIGNED, Machine


def match(wanted: bool) -> Callable[..., None]:
    """Whether each lane of Zn is (or is not) among the lanes of Zm's same quadword."""

    def execute(m: Machine, size: int, Zm: int, Pg: int, Zn: int, Pd: int) -> None:
        if size > 1:
            raise Undefined
        lanes, table = (m.u(n, size).reshape(-1, 16 >> size) for n in (Zn, Zm))
        found = (lanes[:, :, None] == table[:, None, :]).any(axis=2).reshape(-1)
        mask = m.active(Pg, size)
        result = (found == wanted) & mask
        m.set_p(Pd, size, result)
        m.test(mask, result)

    return execute


def histcnt(m: Machine, size: int, Zm: int, Pg: int, Zn: int, Zd: int) -> None:
    """How many active lanes of Zm, up to and including the own place, equal the lane of Zn."""
    if size < 2:
        raise Undefined
    mask = m.active(Pg, size)
    equal = (m.u(Zn, size)[:, None] == m.u(Zm, size)[None, :]) & mask[None, :] & mask[:, None]
    m.set_z(Zd, size, np.tril(equal).sum(axis=1).astype(UNSIGNED[size]))


def histseg(m: Machine, Zm: int, Zn: int, Zd: int) -> None:
    """How many bytes of Zm's same quadword equal the byte of Zn."""
    lanes, table = (m.u(n, 0).reshape(-1, 16) for n in (Zn, Zm))
    m.set_z(Zd, 0, (lanes[:, :, None] == table[:, None, :]).sum(axis=2).reshape(-1).astype(np.uint8))


ROWS = (
    *(
        Row(
            name,
            f"01000101 size:2 1 Zm:5 100 Pg:3 Zn:5 {inverted} Pd:4",
            Check.NON_STREAMING,
            match(not inverted),
            "sve2",
        )
        for inverted, name in enumerate(("MATCH", "NMATCH"))
    ),
    Row("HISTCNT", "01000101 size:2 1 Zm:5 110 Pg:3 Zn:5 Zd:5", Check.NON_STREAMING, histcnt, "sve2"),
    Row("HISTSEG", "01000101 00 1 Zm:5 101000 Zn:5 Zd:5", Check.NON_STREAMING, histseg, "sve2"),
)
