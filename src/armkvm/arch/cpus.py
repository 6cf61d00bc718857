"""CPUs by what MIDR_EL1 says they are."""

from __future__ import annotations

from armkvm.arch.tables.cpus import ROWS
from armkvm.value import Value


class Cpu(Value):
    """One CPU design. `nv` is its ID_AA64MMFR2_EL1.NV."""

    implementer: int
    part: int
    name: str
    nv: int


_BY_PART = {(row[0], row[1]): Cpu(*row) for row in ROWS}


def parts(midr: int) -> tuple[int, int]:
    """(Implementer, PartNum) of a MIDR_EL1 value."""
    return midr >> 24 & 0xFF, midr >> 4 & 0xFFF


def cpu_of(midr: int) -> Cpu | None:
    """The CPU a MIDR_EL1 names, None if it is not in the table."""
    return _BY_PART.get(parts(midr))
