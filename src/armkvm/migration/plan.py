"""How one vCPU's state is put back: the order of `ordering`, around INIT and FINALIZE."""

from __future__ import annotations

from collections.abc import Container, Mapping
from functools import lru_cache
from typing import NamedTuple

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.backends.base import Feature
from armkvm.migration import ordering
from armkvm.migration.ordering import CLEARED_BEFORE, ONCE_PER_VM, Rule, Stage
from armkvm.migration.snapshot import VcpuState
from armkvm.value import Value

LENGTHS = (RegId.sve_vls(), RegId.sme_vls())
"""The pseudo-registers that hold sets of vector lengths."""


class Step(NamedTuple):
    """One stage of a plan: the registers it writes (none for INIT and its like) and why now."""

    stage: Stage
    regs: tuple[RegId, ...] = ()

    @property
    def because(self) -> str:
        return self.stage.value

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rows that put registers here."""
        return tuple(dict.fromkeys(map(ordering.rule_of, self.regs)))


class Plan(Value):
    """Which registers are written in which order, before and after FINALIZE.

    `left` holds registers that the VM's first vCPU restores for all. `cleared` ones are written
    ones instead of their value, which clears them before their partner sets it.
    """

    configuring: tuple[RegId, ...]
    finalize: Feature | None
    filling: tuple[RegId, ...]
    left: tuple[RegId, ...] = ()
    cleared: frozenset[RegId] = frozenset()

    @property
    def written(self) -> tuple[RegId, ...]:
        return self.configuring + self.filling

    def values(self, regs: tuple[RegId, ...], wanted: Mapping[RegId, bytes]) -> dict[RegId, bytes]:
        """What is written for some registers of the plan, given what they shall hold."""
        values = dict(zip(regs, map(wanted.__getitem__, regs), strict=True))
        values.update((reg, b"\xff" * reg.size) for reg in self.cleared if reg in values)
        return values

    def steps(self) -> list[Step]:
        """The plan by stage, in order."""
        steps = [Step(Stage.INIT)]
        steps += [Step(stage, regs) for stage, regs in ordering.stages(self.configuring)]
        if self.finalize is not None:
            steps.append(Step(Stage.FINALIZE))
        steps += [Step(stage, regs) for stage, regs in ordering.stages(self.filling)]
        return [*steps, Step(Stage.EVENTS), Step(Stage.MP_STATE)]


def plan(state: VcpuState, *, first: bool = True) -> Plan:
    """The plan for one vCPU; `first` says whether it is the first of its VM."""
    return _plan(frozenset(state.registers), first)


@lru_cache(maxsize=64)  # the vCPUs of a VM, and of a fleet, mostly list the same registers
def _plan(regs: frozenset[RegId], first: bool) -> Plan:
    left = () if first else tuple(sorted(filter(ONCE_PER_VM, regs)))
    arranged = ordering.arrange(regs.difference(left))
    configuring = tuple(reg for reg in arranged if ordering.before(reg, Stage.FINALIZE))
    cleared = frozenset(reg for reg, partner in CLEARED_BEFORE.items() if reg in regs and partner in regs)
    return Plan(configuring, finalizing(regs), arranged[len(configuring) :], left, cleared)


def finalizing(regs: Container[RegId]) -> Feature | None:
    """What KVM_ARM_VCPU_FINALIZE is called with, given the vector-length registers that exist.

    SVE and SME are finalized by one call, under the name VEC where SME is known.
    """
    if LENGTHS[1] in regs:
        return VcpuFeature.VEC
    return VcpuFeature.SVE if LENGTHS[0] in regs else None
