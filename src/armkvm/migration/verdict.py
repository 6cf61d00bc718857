"""What became of a restore, register by register."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

from armkvm.abi.regid import RegId
from armkvm.migration.findings import Finding
from armkvm.migration.ordering import VOLATILE
from armkvm.migration.plan import Plan
from armkvm.migration.snapshot import Origin
from armkvm.value import Value

_VOLATILE = {row.reg: row.bits for row in VOLATILE}


class Result(Enum):
    """What became of one register."""

    EXACT = "restored bit for bit"
    VOLATILE = "restored; bits that change by themselves were not compared"
    REFUSED = "refused"
    DIFFERS = "accepted, and reads back differently"
    LEFT = "belongs to the whole VM and came with its first vCPU"
    NOT_TRIED = "not tried after an earlier refusal"


class VcpuOutcome(Value):
    """What became of one vCPU's registers.

    `refused` holds errnos, `differs` what reads back instead; `extra` are registers that the
    destination lists beyond the snapshot's.
    """

    id: int
    plan: Plan
    tried: bool = False
    refused: Mapping[RegId, int] = {}
    differs: Mapping[RegId, bytes] = {}
    skipped: frozenset[RegId] = frozenset()
    extra: tuple[RegId, ...] = ()

    def result(self, reg: RegId) -> Result:
        """What became of a register of the plan."""
        if not self.tried or reg in self.skipped:
            return Result.NOT_TRIED
        if reg in self.plan.left:
            return Result.LEFT
        if reg in self.refused:
            return Result.REFUSED
        if reg in self.differs:
            return Result.DIFFERS
        return Result.VOLATILE if reg in _VOLATILE else Result.EXACT

    def results(self) -> Iterator[tuple[RegId, Result]]:
        """Every register with what became of it, in the order of the plan."""
        return ((reg, self.result(reg)) for reg in self.plan.written + self.plan.left)


class RestoreReport(Value):
    """The verdict: what was done with each vCPU, and every finding."""

    destination: Origin
    vcpus: tuple[VcpuOutcome, ...]
    findings: tuple[Finding, ...]

    @property
    def verified(self) -> bool:
        """Whether the destination holds the snapshot's state, compared register by register."""
        return all(vcpu.tried for vcpu in self.vcpus) and not any(
            finding.blocking for finding in self.findings
        )


def same(reg: RegId, here: bytes, there: bytes) -> bool:
    """Whether two values agree in all bits that do not change by themselves."""
    if here == there:
        return True
    volatile = _VOLATILE.get(reg, 0)
    return not (int.from_bytes(here, "little") ^ int.from_bytes(there, "little")) & ~volatile
