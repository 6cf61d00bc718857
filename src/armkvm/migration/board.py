"""The machine around a guest: memory, a console, markers; and running the guest on it.

The console prints every byte that is stored at `CONSOLE`. A word stored at `MARKER` tells how far
the guest is. Every other address without memory reads as zero and ignores what is stored. Everything
is bounded: what is printed, how often the guest may exit and how long that may take, and (by the place's
option ``run_limit``) how long it may run without an exit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from errno import EINTR
from hashlib import sha256
from time import monotonic

from armkvm.abi.structs import ExitReason
from armkvm.backends.base import Vcpu, Vm
from armkvm.catalog import parse
from armkvm.errors import KvmError, errno_name
from armkvm.migration.program import RAM_BASE, Program
from armkvm.state import Exit, Mmio

CONSOLE, MARKER = 0x0900_0000, 0x0900_1000

_MOST_PRINTED = 1 << 20
_MOST_EXITS = 1_000_000
_MOST_SECONDS = 30.0
"""For all KVM_RUNs that ended with a device access, but the longest, which has the place's limit."""
_PC = parse("PC")
_EVENTS = {1: "SYSTEM_OFF", 2: "SYSTEM_RESET", 3: "a crash", 4: "a wakeup", 5: "SYSTEM_SUSPEND"}


@dataclass(frozen=True, slots=True)
class StopAt:
    """Where to stop a guest: at its n-th marker, after so many instructions, or so many after a marker."""

    marker: int | None = None
    instructions: int | None = None

    def __str__(self) -> str:
        after = ""
        if self.instructions is not None:
            after = f"{self.instructions:,} instruction{'' if self.instructions == 1 else 's'} after "
        return after + ("the start" if self.marker is None else f"marker {self.marker}")


class End(Enum):
    """How a run of a guest came to its end."""

    STOPPED = "stopped where it was to stop"
    SYSTEM = "ended the system"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Ending:
    """How, and in words."""

    end: End
    words: str


@dataclass(slots=True)
class Transcript:
    """All that a guest has done to the outside."""

    printed: bytearray = field(default_factory=bytearray)
    markers: list[int] = field(default_factory=list)
    others: list[tuple[int, bytes]] = field(default_factory=list)
    exits: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is compared of two runs: all stores to devices, the ending, and memory afterwards."""

    printed: bytes
    markers: tuple[int, ...]
    others: tuple[tuple[int, bytes], ...]
    ending: Ending
    memory: str

    @property
    def text(self) -> str:
        """What was printed, for people."""
        return self.printed.decode("utf-8", "backslashreplace")

    def differences(self, other: Outcome) -> list[str]:
        """In words, what another run did otherwise."""
        parts = (
            ("it printed something else", self.printed == other.printed),
            ("it came by other markers", self.markers == other.markers),
            ("it stored other data to devices", self.others == other.others),
            (f"it ended otherwise: {other.ending.words}", self.ending == other.ending),
            ("its memory holds something else", self.memory == other.memory),
        )
        return [words for words, same in parts if not same]


class Board:
    """A VM whose vCPU 0 runs a guest. `before` is what the guest did ere it came to this VM."""

    def __init__(self, vm: Vm, vcpu: Vcpu, memory: int, before: Transcript | None = None) -> None:
        self._vm, self._vcpu, self._memory = vm, vcpu, memory
        self.done = before or Transcript()
        self._spent = self._longest = 0.0
        vm.set_memory(0, RAM_BASE, memory)

    def load(self, program: Program) -> None:
        """Put a program into memory, and the vCPU at its entry."""
        for address, data in program.segments:
            self._vm.write_memory(address, data)
        self._vcpu.set_one_reg(_PC, program.entry.to_bytes(8, "little"))

    def read_memory(self) -> bytes:
        """All of the guest's memory."""
        return self._vm.read_memory(RAM_BASE, self._memory)

    def write_memory(self, data: bytes) -> None:
        """Replace all of it."""
        self._vm.write_memory(RAM_BASE, data)

    def run(self, stop: StopAt | None = None) -> Ending:
        """Run until it ends, or stops where told; then no access is left half done."""
        self._spent = self._longest = 0.0
        if stop is None:
            return self._run()
        ending = Ending(End.STOPPED, str(stop))
        if stop.marker is not None:
            ending = self._run(marker=stop.marker)
        if stop.instructions is not None and ending.end is End.STOPPED:
            ending = self._run(instructions=stop.instructions)
        return Ending(End.STOPPED, str(stop)) if ending.end is End.STOPPED else ending

    def _run(self, *, marker: int | None = None, instructions: int | None = None) -> Ending:
        left = instructions
        stopped = Ending(End.STOPPED, "")
        while left is None or left > 0:
            began = monotonic()
            try:
                exited = self._vcpu.run(instructions=left)
            except KvmError as refused:
                executed = refused.count or 0
                if left is None or refused.errno != EINTR or not executed or not _by_limit(refused):
                    return _failed(refused, monotonic() - began)
                left -= executed  # less than it was told to, where the place's own limit came first
                continue
            took = monotonic() - began
            self._spent, self._longest = self._spent + took, max(self._longest, took)
            ending = self._ending(exited)
            if ending is not None:
                return ending
            if left is not None:
                left -= exited.executed or 0
            if left == 0 or self._is_at(marker, exited.mmio):
                self._complete()
                return stopped
        return stopped

    def outcome(self, ending: Ending) -> Outcome:
        """What the run comes to, now that it has ended."""
        done = self.done
        digest = sha256(self.read_memory()).hexdigest()
        return Outcome(bytes(done.printed), tuple(done.markers), tuple(done.others), ending, digest)

    def _is_at(self, marker: int | None, access: Mmio | None) -> bool:
        reached = access is not None and access.is_write and access.address == MARKER
        return marker is not None and reached and len(self.done.markers) == marker

    def _complete(self) -> None:
        """Have KVM finish the access it left to us: state is whole only then (KVM_EXIT_MMIO)."""
        try:
            self._vcpu.run(immediate_exit=True)
        except KvmError as refused:
            if refused.errno != EINTR:
                raise

    def _ending(self, exited: Exit) -> Ending | None:
        """The ending an exit means; None after a device access, which is done."""
        if exited.system_event is not None:
            kind = exited.system_event.type
            return Ending(End.SYSTEM, _EVENTS.get(kind, f"system event {kind}"))
        if exited.mmio is None:
            return Ending(End.FAILED, f"KVM_RUN returned with exit reason {exited.reason} ({_name(exited)})")
        done = self.done
        done.exits += 1
        if exited.mmio.is_write:
            _DEVICES.get(exited.mmio.address, _elsewhere)(done, exited.mmio)
        limit = self._reached_limit()
        if limit is None:
            return None
        so_far = f"after {done.exits:,} exits and {len(done.printed):,} bytes printed"
        return Ending(
            End.FAILED, f"it was stopped {so_far}: {limit}; let it print, store and load less there"
        )

    def _reached_limit(self) -> str | None:
        """Which of the board's own limits the guest is at. No option of a place changes any."""
        if len(self.done.printed) >= _MOST_PRINTED:
            return f"the console takes no more than {_MOST_PRINTED:,} bytes"
        if self.done.exits >= _MOST_EXITS:
            return f"a guest may access devices no more than {_MOST_EXITS:,} times"
        if self._spent - self._longest >= _MOST_SECONDS:
            return f"its accesses to devices may take no more than {_MOST_SECONDS:.0f} s"
        return None


def _by_limit(refused: KvmError) -> bool:
    """Whether a limit ended the run, and not that the guest waits; a real KVM does not tell the two apart."""
    return refused.rule is None or refused.rule.name == "run-limit"


def _failed(refused: KvmError, seconds: float) -> Ending:
    why = refused.detail or (refused.rule.sentence if refused.rule else "")
    if refused.errno == EINTR and _by_limit(refused):
        waits = "" if refused.rule else ", if it does not wait for an interrupt"
        why = (
            f"the place's run limit ended it after {seconds:.0f} s without an exit{waits}; one that needs "
            "longer gets it by the place's option run_limit, as in model:max?run_limit=60"
        ) + (f" ({why})" if why else "")
    return Ending(End.FAILED, f"KVM_RUN: {errno_name(refused.errno or 0)}" + (f", {why}" if why else ""))


def _name(exited: Exit) -> str:
    names = {value: name for name, value in vars(ExitReason).items() if name.isupper()}
    return names.get(exited.reason, "unknown")


def _print(done: Transcript, access: Mmio) -> None:
    done.printed += access.data[:1]


def _mark(done: Transcript, access: Mmio) -> None:
    done.markers.append(int.from_bytes(access.data, "little"))


def _elsewhere(done: Transcript, access: Mmio) -> None:
    done.others.append((access.address, access.data))


_DEVICES: dict[int, Callable[[Transcript, Mmio], None]] = {CONSOLE: _print, MARKER: _mark}
