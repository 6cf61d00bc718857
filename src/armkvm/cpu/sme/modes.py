"""SMSTART and SMSTOP: MSR (immediate) on PSTATE.SM and PSTATE.ZA."""

# ruff: noqa: D103 - rows name and cite the functions; parameters are Arm's names of the fields

from __future__ import annotations

from armkvm.cpu.decode import Row
from armkvm.cpu.exceptions import Undefined
from armkvm.cpu.legality import Check
from armkvm.cpu.machine import Machine


def msr_svcr(m: Machine, which: int, on: int) -> None:
    if not which:
        raise Undefined
    m.set_svcr(m.vectors.svcr | which if on else m.vectors.svcr & ~which)


ROWS = (
    Row("SMSTART, SMSTOP", "11010101 00000011 0100 0 which:2 on:1 011 11111", Check.SME_ACCESS, msr_svcr),
)
