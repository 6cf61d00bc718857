"""Every row, by register id, and the order in which KVM_GET_REG_LIST names them."""

from __future__ import annotations

from functools import cache

from armkvm.abi.regid import RegClass
from armkvm.arch.sysregs import sysreg
from armkvm.catalog import id_of
from armkvm.errors import ModelBug
from armkvm.model.profile import KernelProfile
from armkvm.model.sysregs import el1, el2, idregs, pmu, sme, timers
from armkvm.model.sysregs.table import Reset, Row, Visible, always
from armkvm.model.vcpu import Vcpu
from armkvm.model.vcpu_behaviours import HOST_CACHE_GEOMETRY, SYSREG_TABLE_IS_WHOLE

_ALL: list[Row] = [*el1.ROWS, *el2.ROWS, *idregs.ROWS, *pmu.ROWS, *sme.ROWS, *timers.ROWS]

BY_ID: dict[int, Row] = {row.id: row for row in _ALL}
if len(BY_ID) != len(_ALL):
    raise ModelBug("a system register has two rows")

RESET_VALUES: dict[int, int] = {row.id: row.reset for row in _ALL if isinstance(row.reset, int)}
RESET_BY: list[tuple[Row, Reset]] = [(row, row.reset) for row in _ALL if callable(row.reset)]
_ASCENDING = sorted(_ALL, key=lambda row: row.reg)

# Kernels before the table became whole listed these ahead of it.
_AHEAD_TIMERS = [row.id for row in timers.ROWS]
_AHEAD_INVARIANT = [int(id_of(sysreg(name))) for name in ("MIDR_EL1", "REVIDR_EL1", "AIDR_EL1")]
_AHEAD_INVARIANT_6_1 = [
    int(id_of(sysreg(name))) for name in ("MIDR_EL1", "REVIDR_EL1", "CLIDR_EL1", "AIDR_EL1", "CTR_EL0")
]


def _ahead(profile: KernelProfile) -> tuple[int, ...]:
    if SYSREG_TABLE_IS_WHOLE in profile:
        return ()
    invariant = _AHEAD_INVARIANT_6_1 if HOST_CACHE_GEOMETRY in profile else _AHEAD_INVARIANT
    return (*_AHEAD_TIMERS, *invariant)


_CLASS = 0xFFF << 16
_SYSREG = RegClass.SYSREG << 16


def invariant_of(profile: KernelProfile, reg: int) -> int | None:
    """The invariant register that an id of a class unknown to the kernel names after all.

    Kernels with a table of its own for these looked there by encoding, whatever the class. Seen on 6.1
    and 6.12, and no longer on 7.2.
    """
    if SYSREG_TABLE_IS_WHOLE in profile:
        return None
    twin = reg & ~_CLASS | _SYSREG
    return twin if twin in _ahead(profile) and twin not in _AHEAD_TIMERS else None


@cache
def _list_order(ahead: tuple[int, ...]) -> tuple[tuple[int, Visible | None], ...]:
    """Ids in order, each with the condition it is listed under; None for the many that have none."""
    rows = [*map(BY_ID.__getitem__, ahead), *(row for row in _ASCENDING if row.id not in ahead)]
    return tuple((row.id, None if row.visible is always else row.visible) for row in rows)


def listed(vcpu: Vcpu) -> list[int]:
    """The system registers a vCPU has now, in KVM_GET_REG_LIST's order."""
    order = _list_order(_ahead(vcpu.vm.profile))
    return [reg for reg, visible in order if visible is None or visible(vcpu)]
