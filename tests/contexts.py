"""Tasks and guests on a modelled host, each with a twin that has a CPU to itself.

Whatever a context does is done on the shared machine and on its twin; a value or an exception that
differs is damage that the context sees. The twin knows nothing of switching.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from armkvm.arch.vectors import VectorLengths
from armkvm.cpu.exceptions import GuestException
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.legality import SMCR_EZT0, SMCR_FA64
from armkvm.cpu.state import P_BYTES, SVCR_ZA, Z_BYTES
from armkvm.model.context.host import Host, Task
from armkvm.model.context.image import Enables
from armkvm.model.context.registers import Cpu
from armkvm.model.context.rules import RULES, Lengths, Rules
from armkvm.model.context.switch import Guest, Switch

Op = Callable[[Cpu], object]

BIG = PeFeatures(sve=VectorLengths([1, 2]), sme=VectorLengths([1, 2, 4]), fpmr=True)
"""SME wider than SVE, FA64, SME2, FPMR."""
WIDE_SVE = PeFeatures(sve=VectorLengths([1, 2, 3, 4]), sme=VectorLengths([1, 2]), fpmr=True)
NO_SVE = PeFeatures(sme=VectorLengths([1, 2]), fa64=False, fpmr=True)
NO_SME = PeFeatures(sve=VectorLengths([1, 2]), fpmr=True)

Z, P = (0, 1, 31), (0, 15)
PLACES: dict[str, tuple[int, ...]] = {"V": Z, "simd": Z, "Z": Z, "P": P, "ZA": (0, 1, 15)}
FULL = Enables(fa64=True, sme2=True)


class Damage(AssertionError):
    """A context saw something that is not its own doing."""


def outcome(do: Callable[[], object], *, by_level: bool) -> tuple[object, ...]:
    try:
        return ("gives", do())
    except GuestException as refusal:
        return ("takes", refusal.ec, refusal.iss, refusal.to_el if by_level else None)


def _reads() -> dict[str, Op]:
    """One instruction for every piece of state that a context can look at."""
    ops: dict[str, Op] = {
        "SVCR": lambda cpu: cpu.read_svcr(),
        "FFR": lambda cpu: cpu.read_ffr(),
        "ZT0": lambda cpu: cpu.read_zt0(),
        "FPSR": lambda cpu: cpu.read_fpsr(),
        "FPCR": lambda cpu: cpu.read_fpcr(),
        "FPMR": lambda cpu: cpu.read_fpmr(),
        "TPIDR2": lambda cpu: cpu.read_tpidr2(),
    }
    ops |= {f"Z{n}": lambda cpu, n=n: cpu.read_z(n) for n in Z}  # type: ignore[misc]
    ops |= {f"V{n}": lambda cpu, n=n: cpu.read_v(n) for n in Z}  # type: ignore[misc]
    ops |= {f"P{n}": lambda cpu, n=n: cpu.read_p(n) for n in P}  # type: ignore[misc]
    ops |= {f"ZA{row}": lambda cpu, row=row: cpu.read_za(row) for row in PLACES["ZA"]}  # type: ignore[misc]
    return ops


READS = _reads()
WRITES: dict[str, Callable[[Cpu, int, bytes, int], None]] = {
    "simd": lambda cpu, n, bits, _: cpu.write_v(n, bits),
    "V": lambda cpu, n, bits, _: cpu.write_v(n, bits, by_load=True),
    "Z": lambda cpu, n, bits, _: cpu.write_z(n, bits),
    "P": lambda cpu, n, bits, _: cpu.write_p(n, bits),
    "FFR": lambda cpu, _, bits, __: cpu.write_ffr(bits),
    "ZA": lambda cpu, n, bits, _: cpu.write_za(n, bits),
    "ZT0": lambda cpu, _, bits, __: cpu.write_zt0(bits),
    "FPSR": lambda cpu, _, __, number: cpu.write_fpsr(number),
    "FPCR": lambda cpu, _, __, number: cpu.write_fpcr(number),
    "FPMR": lambda cpu, _, __, number: cpu.write_fpmr(number),
    "TPIDR2": lambda cpu, _, __, number: cpu.write_tpidr2(number),
}


class World:
    """A host with KVM, contexts by name and their twins."""

    def __init__(
        self,
        features: PeFeatures = BIG,
        *,
        vhe: bool = True,
        cpus: int = 1,
        retains: bool = False,
        rules: Rules = RULES,
        seed: int = 0,
    ) -> None:
        self.host = Host(features, vhe=vhe, cpus=cpus, retains=retains, rules=rules)
        self.switch = Switch(self.host)
        self.random = random.Random(seed)
        self.twins: dict[Task | Guest, Cpu] = {}
        self.on: dict[Task | Guest, int] = {}
        """Where a task is current; where a guest is loaded."""
        self.running: dict[Task, Guest] = {}

    # -- contexts

    def task(self, name: str = "task", lengths: Lengths | None = None, on: int | None = None) -> Task:
        features = self.host.features
        task = self.host.new_task(name, lengths)
        twin = Cpu(features, has_el2=False, retains=self.retains, el=0)
        twin.zcr[1] = max(task.lengths.sve - 1, 0)
        twin.smcr[1] = max(task.lengths.sme - 1, 0) | SMCR_FA64 | SMCR_EZT0
        self.twins[task] = twin
        if on is not None:
            self.schedule(on, task)
        return task

    def guest(
        self,
        name: str = "guest",
        *,
        sve: int = 0,
        sme: int = 0,
        enables: Enables = FULL,
        has_el2: bool = False,
        e2h: bool = True,
    ) -> Guest:
        """A vCPU whose registers enable all it has, at its largest lengths."""
        host = self.host
        has = Enables(
            enables.fa64 and bool(sme) and host.enables.fa64, enables.sme2 and bool(sme) and host.enables.sme2
        )
        guest = self.switch.new_guest(
            Guest(name, Lengths(sve, sme), has, has_el2=has_el2, e2h=e2h, in_hyp=has_el2)
        )
        if has_el2 and not e2h:
            guest.cptr = 0
        features = replace(
            host.features,
            sve=host.features.sve.up_to(sve),
            sme=host.features.sme.up_to(sme),
            sve_trapped=bool(host.features.sve) and not sve,
            sme_trapped=bool(host.features.sme) and not sme,
            fa64=has.fa64,
            sme2=has.sme2,
            sme2_trapped=host.enables.sme2 and not has.sme2,
        )
        guest.el = 2 if has_el2 else 1
        for level in (1, 2):
            guest.zcr[level] = max(sve - 1, 0)
            guest.smcr[level] = max(sme - 1, 0) | SMCR_FA64 | SMCR_EZT0
        twin = Cpu(features, has_el2=has_el2, retains=self.retains, e2h=e2h)
        twin.zcr, twin.smcr = dict(guest.zcr), dict(guest.smcr)
        self.twins[guest] = twin
        self.control(guest)
        return guest

    @property
    def retains(self) -> bool:
        return self.host.slots[0].cpu.retains

    # -- what contexts do

    def do(self, who: Task | Guest, op: Op, what: str = "an instruction") -> tuple[object, ...]:
        """One instruction, here and on the twin."""
        machine = self.switch.guest if isinstance(who, Guest) else self.host.user
        by_level = isinstance(who, Guest)
        expected = outcome(lambda: op(self.twins[who]), by_level=by_level)
        seen = outcome(lambda: machine(self.on[who], op), by_level=by_level)
        if seen != expected:
            raise Damage(f"{who.name}: {what} {seen}, alone it {expected}")
        return seen

    def look(self, who: Task | Guest) -> None:
        """Everything a context can see is its own."""
        for name, op in READS.items():
            self.do(who, op, name)

    def write(self, who: Task | Guest, what: str, place: int | None = None) -> None:
        """A random value to one register; `place` chooses among its kind."""
        if place is None:
            place = self.random.choice(PLACES.get(what, (0,)))
        bits, number = self.random.randbytes(64), self.random.getrandbits(32)
        self.do(who, lambda cpu: WRITES[what](cpu, place, bits, number), f"write of {what}{place}")

    def fill(self, who: Task | Guest) -> None:
        """Write all that a look sees, but for the mode."""
        for what in WRITES:
            for place in PLACES.get(what, (0,)):
                self.write(who, what, place)

    def mode(self, who: Task | Guest, svcr: int) -> None:
        self.do(who, lambda cpu: cpu.write_svcr(svcr), f"SVCR={svcr}")

    def length(self, guest: Guest, *, streaming: bool, value: int) -> None:
        """The guest writes its ZCR or SMCR, and then its registers, as it must after a change."""
        self.do(guest, lambda cpu: cpu.write_control(streaming, value), "a write of its length")
        self.fill(guest)

    def go(self, guest: Guest, *, in_hyp: bool, el: int | None = None, tge: bool = False) -> None:
        """The guest's hypervisor and its guest change places; who comes fills its registers."""
        self.leave(guest)
        guest.in_hyp, guest.tge = in_hyp, tge
        guest.el = el if el is not None else 2 if in_hyp else 1
        self.control(guest)
        self.fill(guest)

    def control(self, guest: Guest) -> None:
        """Out of the guest; the twin has the controls that the guest's record now holds."""
        self.leave(guest)
        twin = self.twins[guest]
        twin.cpacr, twin.cptr, twin.tge = guest.cpacr, guest.cptr, guest.tge
        twin.go(guest.el)

    # -- what the kernel does

    def leave(self, guest: Guest) -> None:
        if guest in self.on:
            self.switch.leave(self.on[guest])

    def interrupt(self, number: int) -> None:
        """Out of whatever runs on that CPU."""
        for guest in self.running.values():
            if self.on.get(guest) == number:
                self.leave(guest)

    def schedule(self, number: int, task: Task) -> None:
        """Let the task run there; a vCPU that it runs goes with it."""
        self.interrupt(number)
        current = self.host.slots[number].current
        if current in self.running:
            self.switch.put(number)
            del self.on[self.running[current]]
        self.on.pop(current, None)
        self.host.schedule(number, task)
        self.on[task] = number
        if task in self.running:
            self.switch.load(number, self.running[task])
            self.on[self.running[task]] = number

    def start(self, task: Task, guest: Guest) -> None:
        """KVM_RUN."""
        self.host.enter_call(self.on[task])
        called(self.twins[task])
        self.switch.load(self.on[task], guest)
        self.running[task] = guest
        self.on[guest] = self.on[task]

    def stop(self, task: Task) -> None:
        """KVM_RUN returns."""
        self.switch.put(self.on[task])
        self.host.leave_call(self.on[task])
        del self.on[self.running.pop(task)]

    def kernel_mode(self, number: int) -> None:
        self.interrupt(number)
        self.host.kernel_mode(number)

    def efi(self, number: int) -> None:
        self.interrupt(number)
        self.host.efi(number)


def called(twin: Cpu) -> None:
    """What a system call makes of its caller's state: no streaming mode, nothing beyond V."""
    vectors = twin.vectors
    if vectors.streaming:
        vectors.set_svcr(vectors.svcr & SVCR_ZA)
        return
    for n in range(32):
        vectors.z[n * Z_BYTES + 16 : (n + 1) * Z_BYTES] = bytes(Z_BYTES - 16)
    vectors.p[:] = bytes(16 * P_BYTES)
    vectors.ffr[:] = bytes(P_BYTES)
