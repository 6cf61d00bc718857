"""A restore tried out on a throw-away VM: what each call answers, and nothing kept.

Where `restore` wants the state to arrive, a rehearsal wants to know all that would be refused,
missing, extra or changed, in a given order of writing; checks are made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from armkvm.abi.regid import RegId
from armkvm.abi.structs import is_feature_id
from armkvm.backends.base import System, Vcpu
from armkvm.catalog import parse
from armkvm.errors import KvmError, errno_name
from armkvm.migration.build import make_vm
from armkvm.migration.bulk import read_all, write_all
from armkvm.migration.lengths import finalize, listed
from armkvm.migration.ordering import VOLATILE
from armkvm.migration.plan import LENGTHS, finalizing, plan
from armkvm.migration.snapshot import VcpuState, VmConfig
from armkvm.value import Value

SVCR = parse("SVCR")
_UNCOMPARED = frozenset(row.reg for row in VOLATILE if row.bits == (1 << 64) - 1)


class Order(StrEnum):
    """In which order a rehearsal writes."""

    PLANNED = "planned"
    """As a restore does, by the rules of `ordering`."""

    IDS_FIRST = "ids-first"
    """Feature ID registers ascending, vector lengths, FINALIZE, SVCR, the rest as listed."""

    LISTED = "listed"
    """As KVM_GET_REG_LIST names them, after the vector lengths and FINALIZE: the naive way."""


class Rehearsal(Value):
    """What a place answered. `lengths` and `refused` hold refusals, None where a call succeeded.

    `initial` is what the registers held before anything was written, `differs` what reads back
    other than written; registers that change by themselves are not looked at. `listed` counts the
    registers that the vCPU has afterwards.
    """

    init: KvmError | None
    lengths: Mapping[RegId, KvmError | None] = {}
    finalize: KvmError | None = None
    finalized: bool = False
    refused: Mapping[RegId, KvmError] = {}
    initial: Mapping[RegId, bytes] = {}
    differs: Mapping[RegId, bytes | None] = {}
    missing_here: tuple[RegId, ...] = ()
    extra_here: tuple[RegId, ...] = ()
    listed: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether everything was taken and reads back as written."""
        refusals = (self.init, self.finalize, *self.lengths.values())
        return not (any(refusals) or self.refused or self.differs or self.missing_here)

    def as_record(self) -> dict[str, object]:
        """The form in which recordings of real restores keep it: errnos by name, ids in hex.

        They leave out registers that change by themselves, whatever became of them.
        """
        record: dict[str, object] = {"init": _told(self.init)}
        if self.init is not None:
            return record
        for reg, name in zip(LENGTHS, ("vls", "sme_vls"), strict=True):
            if reg in self.lengths:
                record[name] = _told(self.lengths[reg])
        if self.finalized or self.finalize is not None:
            record["finalize"] = _told(self.finalize)
        record["refused"] = {
            reg.hex: _told(error) for reg, error in self.refused.items() if reg not in _UNCOMPARED
        }
        record["missing_here"] = sorted(reg.hex for reg in self.missing_here if reg not in _UNCOMPARED)
        record["extra_here"] = sorted(reg.hex for reg in self.extra_here)
        record["differs"] = [reg.hex for reg in self.differs]
        return record


def rehearse(
    place: System, state: VcpuState, config: VmConfig | None = None, order: Order = Order.PLANNED
) -> Rehearsal:
    """Try to restore one vCPU's state at a place."""
    with make_vm(place, config or VmConfig()) as vm, vm.create_vcpu(state.id) as vcpu:
        refused = _attempt(vcpu.init, state.features)
        if refused is not None:
            return Rehearsal(init=refused)
        return _carry_out(vcpu, state, order)


def _carry_out(vcpu: Vcpu, state: VcpuState, order: Order) -> Rehearsal:
    contents = dict(state.registers.items())
    configuring, filling = _arranged(state, order)
    initial, _ = read_all(vcpu, [*configuring])
    answers = write_all(vcpu, configuring.items())
    unfinal, finalized = None, False
    what = finalizing(state.registers)
    if what is not None:
        unfinal = _attempt(finalize, vcpu, what)
        finalized = unfinal is None
    answers |= write_all(vcpu, filling.items())
    has = frozenset(_listed(vcpu))
    compared = [
        reg
        for reg in contents
        if reg in has and reg not in _UNCOMPARED and (reg not in answers or reg in LENGTHS)
    ]
    there, _ = read_all(vcpu, compared)
    return Rehearsal(
        init=None,
        lengths={reg: answers.get(reg) for reg in LENGTHS if reg in contents},
        finalize=unfinal,
        finalized=finalized,
        refused={reg: error for reg, error in answers.items() if reg not in LENGTHS},
        initial=initial,
        differs={reg: there.get(reg) for reg in compared if there.get(reg) != contents[reg]},
        missing_here=tuple(sorted(contents.keys() - has)),
        extra_here=tuple(sorted(has - contents.keys() - _UNCOMPARED)),
        listed=len(has),
    )


def _arranged(state: VcpuState, order: Order) -> tuple[dict[RegId, bytes], dict[RegId, bytes]]:
    """What is written before FINALIZE, and what after."""
    held = dict(state.registers.items())
    if order is Order.PLANNED:
        how = plan(state)
        return how.values(how.configuring, held), how.values(how.filling, held)
    first = [reg for reg in LENGTHS if reg in held]
    early: list[RegId] = []
    if order is Order.IDS_FIRST:
        first = [*sorted(filter(is_feature_id, held)), *first]
        early = [SVCR] if SVCR in held else []
    rest = [*early, *(reg for reg in held if reg not in {*first, *early})]
    return {reg: held[reg] for reg in first}, {reg: held[reg] for reg in rest}


def _listed(vcpu: Vcpu) -> list[RegId]:
    """The register list, empty while the vCPU could not be finalized."""
    try:
        return listed(vcpu)
    except KvmError:
        return []


def _attempt(call: Callable[..., None], *args: object) -> KvmError | None:
    try:
        call(*args)
    except KvmError as refused:
        return refused
    return None


def _told(error: KvmError | None) -> str | None:
    return None if error is None else errno_name(error.errno or 0)
