"""Moving a VM in the middle of what its guest computes, and looking whether it finishes as if nothing was.

The guest runs twice: once at the source from beginning to end, once to the point where it is
stopped, moved with its memory, and resumed at the destination.
"""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import dataclass

from armkvm.backends.base import System, Vcpu
from armkvm.catalog import parse
from armkvm.migration.board import Board, End, Ending, Outcome, StopAt, Transcript
from armkvm.migration.build import build
from armkvm.migration.capture import capture
from armkvm.migration.findings import Finding
from armkvm.migration.move import MigrationReport, Prepared, Wanted, configure
from armkvm.migration.program import Program
from armkvm.migration.restore import restore
from armkvm.migration.snapshot import Origin, Snapshot
from armkvm.migration.verdict import RestoreReport

_PC, _SVCR = parse("PC"), parse("SVCR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Halfway:
    """A guest stopped at the source: where, and what it had done until then."""

    snapshot: Snapshot
    memory: bytes
    done: Transcript
    ending: Ending

    @property
    def pc(self) -> int:
        return int.from_bytes(self.snapshot.vcpus[0].registers[_PC], "little")

    @property
    def svcr(self) -> int:
        """PSTATE.SM and PSTATE.ZA; 0 without SME."""
        return int.from_bytes(self.snapshot.vcpus[0].registers.get(_SVCR, b""), "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestReport:
    """A guest's move. `moved` is None where it could not be moved, `halfway` where it was not stopped."""

    program: Program
    stop: StopAt
    migration: MigrationReport
    unmoved: Outcome | None = None
    halfway: Halfway | None = None
    moved: Outcome | None = None

    @property
    def differences(self) -> list[str]:
        """What the moved guest did other than the one that stayed."""
        if self.unmoved is None or self.moved is None:
            return []
        return self.unmoved.differences(self.moved)

    @property
    def agrees(self) -> bool:
        """Whether the guest was moved, ended by itself, and did exactly what it does unmoved."""
        ended = self.unmoved is not None and self.unmoved.ending.end is End.SYSTEM
        return ended and self.moved is not None and not self.differences


def move_guest(
    source: System, destination: System, wanted: Wanted, program: Program, stop: StopAt
) -> GuestReport:
    """Run a guest at `source`, move it to `destination` where `stop` says, and let it finish there.

    Refusals are findings of the report; PlaceError where a place fails, or cannot run guests.
    """
    if wanted.vcpus != 1:
        raise ValueError(f"a guest is moved with one vCPU, not {wanted.vcpus}")
    found: list[Finding] = []
    halfway, moved, restored = None, None, None
    unmoved = run_unmoved(source, wanted, program, found, destination)
    if unmoved is not None:
        halfway = run_halfway(source, wanted, program, stop)
    snapshot = None if halfway is None else halfway.snapshot
    if halfway is not None:
        restored, moved = finish(destination, program, halfway)
    return GuestReport(
        program=program,
        stop=stop,
        migration=MigrationReport(
            source=Origin(source.uri, source.kernel),
            destination=Origin(destination.uri, destination.kernel),
            seed=0,
            prepared=Prepared(snapshot=snapshot, findings=tuple(found)),
            restored=restored,
        ),
        unmoved=unmoved,
        halfway=halfway,
        moved=moved,
    )


def run_halfway(source: System, wanted: Wanted, program: Program, stop: StopAt) -> Halfway | None:
    """The guest at the point where it is to be moved; None if it does not get there."""
    with ExitStack() as undo:
        started = _start(source, wanted, program, undo, [])
        if started is None:
            return None
        board, vcpu = started
        ending = board.run(stop)
        if ending.end is not End.STOPPED:
            return None
        snapshot = capture(source, wanted.vm, [(vcpu, wanted.features)])
        return Halfway(snapshot=snapshot, memory=board.read_memory(), done=board.done, ending=ending)


def finish(destination: System, program: Program, halfway: Halfway) -> tuple[RestoreReport, Outcome | None]:
    """Put a stopped guest into a VM of its own and let it run to its end; None if it did not arrive."""
    with restore(destination, halfway.snapshot) as result:
        if result.vm is None:
            return result.report, None
        board = Board(result.vm, result.vcpus[0], program.memory, copy.deepcopy(halfway.done))
        board.write_memory(halfway.memory)
        return result.report, board.outcome(board.run())


def run_unmoved(
    source: System,
    wanted: Wanted,
    program: Program,
    found: list[Finding] | None = None,
    destination: System | None = None,
) -> Outcome | None:
    """The guest from beginning to end at one place; None, and findings, if it cannot be made there."""
    with ExitStack() as undo:
        found = [] if found is None else found
        started = _start(source, wanted, program, undo, found, destination=destination)
        if started is None:
            return None
        board, _ = started
        return board.outcome(board.run())


def _start(
    system: System,
    wanted: Wanted,
    program: Program,
    undo: ExitStack,
    found: list[Finding],
    *,
    destination: System | None = None,
) -> tuple[Board, Vcpu] | None:
    """A VM, which `undo` will close, with the program loaded; None and findings where it is refused."""
    built = build(system, wanted.vm, [(0, wanted.features)], undo, found)
    if built is None:
        return None
    vm, (vcpu,) = built
    configure(vcpu, wanted, destination, found)
    if found:
        return None
    board = Board(vm, vcpu, program.memory)
    board.load(program)
    return board, vcpu
