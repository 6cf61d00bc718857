"""Putting a snapshot into a fresh VM: planned, applied, read back, and undone if anything is amiss.

Everything is tried before the verdict, so that one attempt names every obstacle; then the new VM
is kept if its state is the snapshot's bit for bit, and closed otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from armkvm.abi import vls
from armkvm.abi.regid import RegId
from armkvm.backends.base import System, Vcpu, Vm
from armkvm.errors import KvmError
from armkvm.migration import findings, ordering
from armkvm.migration.advice import Code
from armkvm.migration.build import build
from armkvm.migration.bulk import Refused, read_all, write_all
from armkvm.migration.findings import Finding, in_hex
from armkvm.migration.lengths import finalize, writing
from armkvm.migration.ordering import Stage
from armkvm.migration.plan import LENGTHS, Plan, plan
from armkvm.migration.snapshot import Origin, Snapshot, VcpuEvents, VcpuState
from armkvm.migration.verdict import RestoreReport, VcpuOutcome, same


class Restored:
    """A restore's result: the report, and the live VM if the state arrived whole (else None)."""

    def __init__(self, report: RestoreReport, vm: Vm | None, vcpus: tuple[Vcpu, ...]) -> None:
        self.report = report
        self.vm = vm
        self.vcpus = vcpus

    def close(self) -> None:
        """Close the VM, if there is one."""
        if self.vm is not None:
            self.vm.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def restore(system: System, snapshot: Snapshot) -> Restored:
    """Make a VM at `system` that holds the snapshot's state.

    Obstacles are findings of the report, not exceptions; PlaceError if the place itself fails.
    Unless the report says `verified`, the VM is closed and nothing is left at the destination.
    """
    states = snapshot.vcpus
    plans = [plan(state, first=state is states[0]) for state in states]
    found = [
        findings.unread(state.id, reg, number) for state in states for reg, number in state.refused.items()
    ]
    outcomes = [VcpuOutcome(id=state.id, plan=how) for state, how in zip(states, plans, strict=True)]
    with ExitStack() as undo:
        wishes = [(state.id, state.features) for state in states]
        built = build(system, snapshot.vm, wishes, undo, found)
        if built is not None:
            works = [_Work(*each, found) for each in zip(built[1], states, plans, strict=True)]
            for work in works:
                work.apply()
            outcomes = [work.verify() for work in works]
        report = RestoreReport(Origin(system.uri, system.kernel), tuple(outcomes), tuple(found))
        if built is not None and report.verified:
            undo.pop_all()
            return Restored(report, built[0], tuple(built[1]))
    return Restored(report, None, ())


class _Work:
    """One vCPU's restore under way."""

    def __init__(self, vcpu: Vcpu, state: VcpuState, how: Plan, found: list[Finding]) -> None:
        self.vcpu = vcpu
        self.state = state
        self.plan = how
        self.found = found
        self.wanted = dict(state.registers.items())
        self.refused: Refused = {}
        self.skipped: frozenset[RegId] = frozenset()

    def apply(self) -> None:
        """Write everything, noting refusals and going on."""
        state, what = self.state, self.plan.finalize
        self.skipped = self._beyond_reach()
        self._write(self.plan.configuring)
        if what is not None:
            self._attempt(Code.FINALIZE, lambda: finalize(self.vcpu, what), asked=str(what))
        self._write(self.plan.filling)
        self._attempt(Code.EVENTS, lambda: self.vcpu.set_vcpu_events(state.events.carried.pack()))
        self._attempt(
            Code.MP_STATE, lambda: self.vcpu.set_mp_state(state.mp_state), asked=str(state.mp_state)
        )

    def verify(self) -> VcpuOutcome:
        """Read everything back and compare, with a finding for whatever is not as it should be."""
        wanted = self.wanted
        missed = self.refused.keys() | self.skipped
        written = self.plan.written
        if missed:
            written = tuple(reg for reg in written if reg not in missed)
        values, unread = read_all(self.vcpu, written)
        differs = {
            reg: data
            for reg, data in values.items()
            if data != wanted[reg] and not same(reg, data, wanted[reg])
        }
        there, _ = read_all(self.vcpu, tuple(self.refused))
        for reg, error in self.refused.items():
            have = in_hex(there[reg]) if reg in there else ""
            self._refusal(Code.REGISTER_REFUSED, error, reg, asked=in_hex(wanted[reg]), there=have)
        for reg, error in unread.items():
            self._refusal(Code.REGISTER_UNREAD, error, reg, asked=in_hex(wanted[reg]))
        self.found += [
            findings.differs(self.state.id, reg, wanted[reg], data) for reg, data in differs.items()
        ]
        self._attempt(Code.EVENTS, self._compare_events)
        self._attempt(Code.MP_STATE, self._compare_mp_state)
        return VcpuOutcome(
            id=self.state.id,
            plan=self.plan,
            tried=True,
            refused={reg: error.errno or 0 for reg, error in (self.refused | unread).items()},
            differs=differs,
            skipped=self.skipped,
            extra=self._extra(),
        )

    def _refusal(
        self, code: Code, error: KvmError, reg: RegId | None = None, *, asked: str = "", there: str = ""
    ) -> None:
        self.found.append(
            findings.refusal(code, error, vcpu=self.state.id, reg=reg, asked=asked, there=there)
        )

    def _attempt(self, code: Code, call: Callable[[], None], *, asked: str = "") -> None:
        try:
            call()
        except KvmError as error:
            self._refusal(code, error, asked=asked)

    def _beyond_reach(self) -> frozenset[RegId]:
        """Registers not worth writing because the place does not take the vector lengths.

        The lengths are compared before anything is written: KVM takes a set only if it is the
        beginning of its own, so what both sides accept is the common beginning.
        """
        skipped: set[RegId] = set()
        for reg in LENGTHS:
            wanted = self.state.lengths(reg)
            if wanted is None:
                continue
            held, _ = read_all(self.vcpu, (reg,))
            if reg not in held:
                continue  # the write will be refused in the same way, and be reported
            offered = vls.decode(held[reg])
            if not (wanted and wanted.is_prefix_of(offered)):
                operation = writing(self.vcpu, reg)
                self.found.append(findings.lengths(self.state.id, reg, wanted, offered, operation=operation))
                skipped.add(reg)
        if skipped:
            tainted = {Stage.VECTORS, Stage.MATRIX}
            skipped.update(reg for reg in self.plan.filling if ordering.rule_of(reg).stage in tainted)
        return frozenset(skipped)

    def _write(self, regs: tuple[RegId, ...]) -> None:
        values = self.plan.values(regs, self.wanted)
        for reg in self.skipped:
            values.pop(reg, None)
        self.refused |= write_all(self.vcpu, values.items())

    def _compare_events(self) -> None:
        asked, there = self.state.events.carried, VcpuEvents.parse(self.vcpu.get_vcpu_events()).carried
        if asked != there:
            self.found.append(findings.changed(Code.EVENTS, self.state.id, str(asked), str(there)))

    def _compare_mp_state(self) -> None:
        asked, there = self.state.mp_state, self.vcpu.get_mp_state()
        if asked != there:
            self.found.append(findings.changed(Code.MP_STATE, self.state.id, str(asked), str(there)))

    def _extra(self) -> tuple[RegId, ...]:
        """Registers that exist here and not in the snapshot: noted, for they keep their reset values."""
        try:
            listed = self.vcpu.reg_list()
        except KvmError:  # FINALIZE was refused, which is a finding already
            return ()
        wanted, refused = self.wanted, self.state.refused
        extra = tuple(reg for reg in listed if reg not in wanted and reg not in refused)
        if extra:
            self.found.append(findings.only_here(self.state.id, extra))
        return extra
