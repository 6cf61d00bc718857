"""Under any schedule of tasks, guests and kernel events, every context sees what it last wrote."""

from __future__ import annotations

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from tests.contexts import BIG, FULL, NO_SME, NO_SVE, WIDE_SVE, WRITES, World

from armkvm.cpu.features import PeFeatures
from armkvm.cpu.legality import CPTR_TFP, CPTR_TSM, CPTR_TZ
from armkvm.model.context.host import Task
from armkvm.model.context.image import Enables
from armkvm.model.context.rules import Lengths
from armkvm.model.context.switch import Guest

CPUS = 2
SOME = Enables(fa64=False, sme2=False)


class Schedules(RuleBasedStateMachine):
    """Two CPUs, three tasks, six guests; every look compares with a context that has a CPU to itself."""

    @initialize(
        features=st.sampled_from([BIG, WIDE_SVE, NO_SVE, NO_SME]),
        vhe=st.booleans(),
        retains=st.booleans(),
        seed=st.integers(0, 99),
        less=st.sampled_from([FULL, SOME, Enables(fa64=True, sme2=False), Enables(fa64=False, sme2=True)]),
    )
    def boot(self, features: PeFeatures, vhe: bool, retains: bool, seed: int, less: Enables) -> None:
        self.world = world = World(features, vhe=vhe, cpus=CPUS, retains=retains, seed=seed)
        sve, sme = features.sve.max, features.sme.max
        narrow = Lengths(min(sve, 1), min(features.sme, default=0))
        self.tasks = [world.task("wide"), world.task("narrow", narrow), world.task("another")]
        self.guests = [
            world.guest("plain"),
            world.guest("sve", sve=sve),
            world.guest("sme", sme=narrow.sme, enables=less),
            world.guest("both", sve=sve, sme=sme, enables=less),
            world.guest("l1", sve=sve, sme=sme, enables=less, has_el2=True),
            world.guest("l1 without E2H", sve=sve, sme=sme, enables=less, has_el2=True, e2h=False),
        ]
        for number in range(CPUS):
            world.schedule(number, self.tasks[number])

    def _current(self, number: int) -> Task:
        return self.world.host.slots[number].current

    def _who(self, number: int) -> Task | Guest:
        task = self._current(number)
        return self.world.running.get(task, task)

    @rule(number=st.integers(0, CPUS - 1), what=st.sampled_from(sorted(WRITES)))
    def writes(self, number: int, what: str) -> None:
        self.world.write(self._who(number), what)

    @rule(number=st.integers(0, CPUS - 1))
    def fills(self, number: int) -> None:
        self.world.fill(self._who(number))

    @rule(number=st.integers(0, CPUS - 1))
    def looks(self, number: int) -> None:
        self.world.look(self._who(number))

    @rule(number=st.integers(0, CPUS - 1), svcr=st.integers(0, 3))
    def changes_mode(self, number: int, svcr: int) -> None:
        self.world.mode(self._who(number), svcr)

    @rule(
        number=st.integers(0, CPUS - 1),
        streaming=st.booleans(),
        length=st.integers(0, 15),
        enables=st.integers(0, 3),
    )
    def changes_length(self, number: int, streaming: bool, length: int, enables: int) -> None:
        who = self._who(number)
        if isinstance(who, Guest):
            value = length | (enables << 30 if streaming else 0)
            self.world.length(who, streaming=streaming, value=value)

    @rule(number=st.integers(0, CPUS - 1), in_hyp=st.booleans(), level=st.integers(0, 1))
    def changes_level(self, number: int, in_hyp: bool, level: int) -> None:
        who = self._who(number)
        if isinstance(who, Guest) and who.has_el2:
            el = 0 if not level and (who.e2h or not in_hyp) else None
            self.world.go(who, in_hyp=in_hyp, el=el, tge=in_hyp and who.e2h)
        elif isinstance(who, Guest):
            who.el = level
            self.world.control(who)

    @rule(
        number=st.integers(0, CPUS - 1),
        cpacr=st.integers(0, 63),
        cptr=st.integers(0, 63),
    )
    def closes_units(self, number: int, cpacr: int, cptr: int) -> None:
        """CPACR_EL1 and, with EL2, CPTR_EL2: any setting of ZEN, FPEN and SMEN."""
        who = self._who(number)
        if isinstance(who, Guest):
            who.cpacr = _fields(cpacr)
            if who.has_el2:
                who.cptr = _fields(cptr) if who.e2h else _trap_bits(cptr)
            self.world.control(who)

    @rule(number=st.integers(0, CPUS - 1))
    def opens_units(self, number: int) -> None:
        self.closes_units(number, 63, 63)

    @rule(number=st.integers(0, CPUS - 1), task=st.integers(0, 2))
    def schedules(self, number: int, task: int) -> None:
        if self.world.on.get(self.tasks[task], number) == number:
            self.world.schedule(number, self.tasks[task])

    @rule(number=st.integers(0, CPUS - 1), guest=st.integers(0, 5))
    def runs(self, number: int, guest: int) -> None:
        task = self._current(number)
        idle = task in self.tasks and task not in self.world.running
        if idle and self.guests[guest] not in self.world.running.values():
            self.world.start(task, self.guests[guest])

    @rule(number=st.integers(0, CPUS - 1))
    def returns(self, number: int) -> None:
        if self._current(number) in self.world.running:
            self.world.stop(self._current(number))

    @rule(number=st.integers(0, CPUS - 1))
    def exits(self, number: int) -> None:
        self.world.interrupt(number)

    @rule(number=st.integers(0, CPUS - 1))
    def computes_in_the_kernel(self, number: int) -> None:
        self.world.kernel_mode(number)

    @rule(number=st.integers(0, CPUS - 1))
    def calls_efi(self, number: int) -> None:
        self.world.efi(number)

    def teardown(self) -> None:
        """Everybody looks once more."""
        if not hasattr(self, "world"):
            return
        world = self.world
        for task in list(world.running):
            world.schedule(world.on.get(task, 0), task)
            world.look(world.running[task])
            world.stop(task)
        for task in self.tasks:
            world.schedule(world.on.get(task, 0), task)
            world.look(task)
        for guest in self.guests:
            world.start(self.tasks[-1], guest)
            world.look(guest)
            world.stop(self.tasks[-1])


def _trap_bits(six: int) -> int:
    """TZ, TFP and TSM: each open where its two bits are 3."""
    return sum(bit for n, bit in enumerate((CPTR_TZ, CPTR_TFP, CPTR_TSM)) if six >> 2 * n & 3 != 3)


def _fields(six: int) -> int:
    """ZEN, FPEN and SMEN from two bits each."""
    return (six & 3) << 16 | (six >> 2 & 3) << 20 | (six >> 4) << 24


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
