"""Every rule of the context switch, broken: who is hurt, and how they notice.

A scenario is harmless with the rules as they are. With one rule in a defective form it must end in damage
that a task, a guest or the host sees. The defects that reviews of the SME series found come first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import pytest
from tests.contexts import BIG, FULL, NO_SVE, WIDE_SVE, Damage, World

from armkvm.cpu.exceptions import ExceptionClass
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.legality import CPTR_TSM
from armkvm.model.context import image as memory
from armkvm.model.context.image import Enables, HostDamage
from armkvm.model.context.rules import ORDER, ROWS, RULES, Before, Control, Lengths, Rules, Step
from armkvm.model.context.switch import Guest
from armkvm.model.el2 import controls

NO_FA64 = Enables(fa64=False, sme2=True)
NO_SME2 = Enables(fa64=True, sme2=False)
BOTH, STREAMING, MATRIX = 3, 1, 2
ZEN, SMEN, FPEN = 3 << 16, 3 << 24, 3 << 20


@dataclass(frozen=True)
class Mutant:
    """One rule in a defective form. `damage` is what the message of the damage says."""

    name: str
    rule: str
    form: object
    scenario: Callable[[World], None]
    damage: str
    features: PeFeatures = BIG
    vhe: bool = True


def _ran(world: World, svcr: int = 0, *, sve: int = 2, sme: int = 4, enables: Enables = FULL) -> Guest:
    """A guest with a filled state, run by a task on CPU 0."""
    features = world.host.features
    guest = world.guest(sve=min(sve, features.sve.max), sme=min(sme, features.sme.max), enables=enables)
    task = world.task(on=0)
    world.start(task, guest)
    if svcr:
        world.mode(guest, svcr)
    world.fill(guest)
    return guest


def interrupted(svcr: int = 0, *, enables: Enables = FULL, **lengths: int) -> Callable[[World], None]:
    """The kernel computes between two entries."""

    def scenario(world: World) -> None:
        guest = _ran(world, svcr, enables=enables, **lengths)
        world.kernel_mode(0)
        world.look(guest)

    return scenario


def efi_during(svcr: int, enables: Enables = FULL) -> Callable[[World], None]:
    def scenario(world: World) -> None:
        guest = _ran(world, svcr, enables=enables)
        world.efi(0)
        world.look(guest)

    return scenario


def task_after_guest(svcr: int = 0, enables: Enables = FULL) -> Callable[[World], None]:
    """A task fills its state, runs a guest that does so too, and looks."""

    def scenario(world: World) -> None:
        task = world.task(on=0)
        if svcr:
            world.mode(task, svcr)
        world.fill(task)
        guest = world.guest(sve=2, sme=1, enables=enables)
        world.start(task, guest)
        world.mode(guest, BOTH)
        world.fill(guest)
        world.stop(task)
        world.look(task)
        world.mode(task, BOTH)
        world.fill(task)
        world.look(task)

    return scenario


def guest_without(features_of_guest: str) -> Callable[[World], None]:
    """A guest without SME, after a task that uses everything."""

    def scenario(world: World) -> None:
        task = world.task(on=0)
        world.mode(task, BOTH)
        world.fill(task)
        guest = world.guest(features_of_guest, sve=2 if features_of_guest == "sve" else 0)
        world.start(task, guest)
        world.fill(guest)
        world.look(guest)

    return scenario


def moved_and_back(world: World) -> None:
    task = world.task(on=0)
    world.fill(task)
    world.schedule(0, world.task("other"))
    world.schedule(1, task)
    world.fill(task)
    world.schedule(1, world.task("third"))
    world.schedule(0, task)
    world.look(task)


def two_take_turns(world: World) -> None:
    task, other = world.task(on=0), world.task("other")
    world.fill(task)
    world.schedule(0, other)
    world.look(other)
    world.fill(other)
    world.schedule(0, task)
    world.look(task)


def stored_where_userspace_reads(world: World) -> None:
    """KVM_GET_ONE_REG of Z0 of a streaming vCPU, whose streaming length is the shorter."""
    guest = _ran(world, STREAMING, sve=4, sme=2)
    expected = world.do(guest, lambda cpu: cpu.read_z(0))[1]
    world.switch.put(0)
    if bytes(guest.image.zp[:32]) != expected:
        raise Damage("userspace reads another Z0 than the guest wrote")


def finalized(world: World) -> None:
    """A vCPU at half the architecture's size fits into what the largest needs."""
    guest = _ran(world, STREAMING)
    if len(guest.image.zp) > memory.zp_bytes(16):
        raise Damage(f"KVM_ARM_VCPU_FINALIZE charges {len(guest.image.zp)} bytes for a small vCPU")
    world.kernel_mode(0)
    world.look(guest)


def userspace_writes_tpidr2(world: World) -> None:
    guest = _ran(world)
    task = next(iter(world.running))
    world.stop(task)
    world.switch.load(0, guest)
    world.switch.set_tpidr2(0, 0x1234)
    world.twins[guest].tpidr2 = 0x1234
    if world.switch.get_tpidr2(0) != 0x1234:
        raise Damage("userspace reads another TPIDR2_EL0 than it wrote")
    world.switch.put(0)
    world.start(task, guest)
    world.look(guest)


def streaming_entry(world: World) -> None:
    """SVE is closed at EL1, SME open: in streaming mode an SVE instruction executes."""
    guest = _ran(world, STREAMING)
    guest.cpacr = SMEN | FPEN
    world.control(guest)
    world.kernel_mode(0)
    world.do(guest, lambda cpu: cpu.read_z(0), "an SVE instruction")


def entered_without_use(world: World) -> None:
    """A streaming guest exits twice without touching a vector register."""
    guest = _ran(world, STREAMING)
    world.kernel_mode(0)
    for _ in range(2):
        world.write(guest, "TPIDR2")
        world.interrupt(0)
    world.look(guest)


def hypervisor(world: World) -> Guest:
    guest = world.guest("hypervisor", sve=2, sme=4, has_el2=True)
    world.start(world.task(on=0), guest)
    return guest


def l1_after_l2(world: World) -> None:
    """A guest's hypervisor and its guest each choose a streaming length for themselves."""
    guest = hypervisor(world)
    world.mode(guest, BOTH)
    world.length(guest, streaming=True, value=3 << 30 | 1)
    world.go(guest, in_hyp=False)
    world.length(guest, streaming=True, value=3 << 30)
    world.go(guest, in_hyp=True)
    world.kernel_mode(0)
    world.look(guest)


def l2_with(smcr_el2: int, svcr: int = BOTH) -> Callable[[World], None]:
    """A guest's guest under its hypervisor's SMCR_EL2, interrupted by the kernel."""

    def scenario(world: World) -> None:
        guest = hypervisor(world)
        world.mode(guest, svcr)
        world.length(guest, streaming=True, value=smcr_el2)
        world.length(guest, streaming=False, value=0)
        world.go(guest, in_hyp=False)
        world.kernel_mode(0)
        world.look(guest)

    return scenario


def guest_after_narrow_task(world: World) -> None:
    """The task's lengths are in EL2's registers when the guest first uses its own."""
    task = world.task("narrow", Lengths(1, 1), on=0)
    world.fill(task)
    guest = world.guest(sve=2, sme=4)
    world.start(task, guest)
    world.fill(guest)
    world.kernel_mode(0)
    world.schedule(0, world.task("narrower", Lengths(1, 1)))
    world.fill(next(one for one in world.on if one is not guest))
    world.schedule(0, task)
    world.look(guest)


def wide_task_after_narrow_guest(world: World) -> None:
    """Without VHE a task's length is limited by what the hypervisor leaves at EL2."""
    task = world.task(on=0)
    world.fill(task)
    guest = world.guest(sve=1, sme=1)
    world.start(task, guest)
    world.fill(guest)
    world.stop(task)
    world.fill(task)
    world.look(task)


def _nvhe_by_sve(
    guest: Lengths, bits: int, host: Lengths, host_bits: int, *, vhe: bool
) -> dict[int, Control]:
    wanted = RULES.return_lengths(guest, bits, host, host_bits, vhe=vhe)
    if not vhe and guest.sve:
        wanted[1] = wanted[1]._replace(smcr=(guest.sve - 1) | bits)
    return wanted


def _left_narrow(guest: Lengths, bits: int, host: Lengths, host_bits: int, **_: object) -> dict[int, Control]:
    own = RULES.return_lengths(guest, bits, host, host_bits, vhe=True)[2]
    return {2: own, 1: own}


REVIEWED: tuple[Mutant, ...] = (
    Mutant(
        "v4: nVHE sets SMCR_EL1 to SVE's length on the way back",
        "return_lengths",
        _nvhe_by_sve,
        interrupted(STREAMING),
        "the host kills",
        vhe=False,
    ),
    Mutant(
        "v4: SMCR_EL1 is loaded while the guest's hypervisor runs",
        "own_control_level",
        lambda _in_hyp: 1,
        l1_after_l2,
        "hypervisor: .* alone it",
    ),
    Mutant(
        "v4: the stored layout follows SVE's length alone, SME's longer",
        "layout_vq",
        lambda lengths, _streaming: lengths.sve,
        interrupted(STREAMING),
        "outside their buffer",
    ),
    Mutant(
        "v4: the stored layout follows SVE's length alone, SME's shorter",
        "layout_vq",
        lambda lengths, _streaming: lengths.sve,
        stored_where_userspace_reads,
        "userspace reads another Z0",
        WIDE_SVE,
    ),
    Mutant(
        "v4: the buffer's size is computed from bytes",
        "buffer_vq",
        lambda lengths: 16 * max(lengths),
        finalized,
        "charges",
    ),
    Mutant(
        "v4 to v10: SVCR is set only when the guest owns the registers",
        "sets_mode_on_entry",
        lambda _has_sme, owns: owns,
        streaming_entry,
        "SVE_ACCESS",
    ),
    Mutant(
        "an exit without ownership leaves the guest's mode",
        "stops_on_exit",
        lambda _has_sme, _owns: False,
        entered_without_use,
        "refused",
    ),
    Mutant(
        "v12: a guest's guest has FA64 if the VM has",
        "nested_enables",
        lambda vm, _chosen: vm,
        l2_with(1 << 30 | 3),
        "alone it .*ILLEGAL_IN_STREAMING",
    ),
    Mutant(
        "before v4: FA64 and EZT0 are enabled once, at boot",
        "task_enables",
        lambda _host: None,
        task_after_guest(0, Enables(fa64=False, sme2=False)),
        "SME_ACCESS.*alone it .'gives'",
    ),
    Mutant(
        "before v4: ZT0 is saved if the host has it",
        "state_has",
        lambda context, host: replace(context, sme2=host.sme2),
        interrupted(MATRIX, enables=NO_SME2),
        "the host crashes: saving",
    ),
    Mutant(
        "before v4: streaming FFR is saved if the host has it",
        "state_has",
        lambda context, host: replace(context, fa64=host.fa64),
        interrupted(STREAMING, enables=NO_FA64),
        "the host crashes: saving",
    ),
    Mutant(
        "v9 and v11: EFI's wrapper goes by the host's FA64",
        "efi_has_ffr",
        lambda _live, host: host,
        efi_during(STREAMING, NO_FA64),
        "the host crashes: calling EFI",
    ),
    Mutant(
        "v4 to v10: TPIDR2_EL0 is written to memory while it is in the CPU",
        "live_tpidr2",
        lambda _vhe, _loaded: False,
        userspace_writes_tpidr2,
        "TPIDR2",
    ),
)

OTHERS: tuple[Mutant, ...] = (
    Mutant("trust the CPU alone", "resident", lambda last, _here: last, moved_and_back, "alone"),
    Mutant("trust the task alone", "resident", lambda _last, here: here, two_take_turns, "alone"),
    Mutant("load without saving", "saved_at_load", lambda: False, task_after_guest(), "task: "),
    Mutant(
        "leave ZA on", "flush_stops_streaming", lambda: False, task_after_guest(MATRIX), "refused .EINVAL"
    ),
    Mutant("own for good", "still_owns", lambda owned, _foreign: owned, interrupted(), "guest: "),
    Mutant("never bind", "bound_after_exit", lambda: False, interrupted(), "guest: "),
    Mutant(
        "open SME to all",
        "opened",
        lambda sve, _sme, owns: RULES.opened(sve, True, owns),
        guest_without("sve"),
        "sve: .*SVCR.*gives|sve: write of ZA",
    ),
    Mutant(
        "open what others left",
        "opened",
        lambda sve, sme, _owns: RULES.opened(sve, sme, True),
        interrupted(),
        "guest: ",
    ),
    Mutant(
        "call in streaming mode",
        "leaves_streaming_for_calls",
        lambda: False,
        task_after_guest(STREAMING),
        "task: SVCR",
    ),
    Mutant("give SVE as it is", "first_use_zeroes", lambda: False, two_take_turns, "other: "),
    Mutant(
        "room for SVE alone",
        "buffer_vq",
        lambda lengths: lengths.sve,
        interrupted(STREAMING),
        "outside their buffer",
    ),
    Mutant("EFI in streaming mode", "efi_keeps_mode", lambda: False, efi_during(STREAMING, NO_FA64), "EFI"),
    Mutant("leave TPIDR2", "switches_tpidr2", lambda _has_sme: False, task_after_guest(), "TPIDR2"),
    Mutant("open TPIDR2", "traps_tpidr2", lambda _has_sme: False, guest_without("plain"), "TPIDR2"),
    Mutant(
        "leave EL2 narrow", "return_lengths", _left_narrow, wide_task_after_narrow_guest, "task: ", vhe=False
    ),
    Mutant(
        "no limit for L2",
        "nested_len",
        lambda largest, _chosen: largest - 1,
        l2_with(3 << 30),
        "hypervisor: ",
    ),
)


def swapped(order: Before) -> tuple[Step, ...]:
    """The right order but for one constraint: the later step moves to just before the earlier."""
    steps = [step for step in RULES.load_steps if step is not order.then]
    steps.insert(steps.index(order.first), order.then)
    return tuple(steps)


ON_L2 = {(Step.VECTORS, Step.OWN_LENGTHS), (Step.MATRIX, Step.OWN_LENGTHS), (Step.SME_LENGTH, Step.MATRIX)}
BY_OTHERS = {(Step.SVE_LENGTH, Step.VECTORS)}


def _order_scenario(order: Before) -> Callable[[World], None]:
    key = (order.first, order.then)
    if key in BY_OTHERS:
        return guest_after_narrow_task
    if key in ON_L2:
        return l2_with(3 << 30)
    return l2_with(3 << 30, STREAMING) if key == (Step.SME_LENGTH, Step.VECTORS) else interrupted(BOTH)


ORDERS = tuple(
    Mutant(
        f"{order.then.name} before {order.first.name}",
        "load_steps",
        swapped(order),
        _order_scenario(order),
        "alone it|outside their buffer|the host crashes",
    )
    for order in ORDER
)
# With the entry of v12 the mode is there before anything is loaded; the order has to hold without.
ENTRY_OF_V4: dict[str, object] = {"sets_mode_on_entry": lambda _has_sme, owns: owns}


def world_with(mutant: Mutant, rules: Rules, *, retains: bool = False) -> World:
    return World(mutant.features, vhe=mutant.vhe, cpus=2, retains=retains, rules=rules, seed=1)


@pytest.mark.parametrize("retains", [False, True])
@pytest.mark.parametrize("mutant", [*REVIEWED, *OTHERS], ids=lambda mutant: mutant.name)
def test_a_broken_rule_does_damage(mutant: Mutant, retains: bool) -> None:
    """Harmless as the rules are, on CPUs that keep or zero what becomes inaccessible; not so broken."""
    mutant.scenario(world_with(mutant, RULES, retains=retains))
    broken = replace(RULES, **{mutant.rule: mutant.form})  # type: ignore[arg-type]
    with pytest.raises((Damage, HostDamage), match=mutant.damage):
        mutant.scenario(world_with(mutant, broken, retains=retains))


@pytest.mark.parametrize("mutant", ORDERS, ids=lambda mutant: mutant.name)
def test_a_broken_order_does_damage(mutant: Mutant) -> None:
    base = replace(RULES, **ENTRY_OF_V4)  # type: ignore[arg-type]
    mutant.scenario(world_with(mutant, base))
    broken = replace(base, load_steps=mutant.form)  # type: ignore[arg-type]
    with pytest.raises((Damage, HostDamage), match=mutant.damage):
        mutant.scenario(world_with(mutant, broken))


def test_a_lost_bit_of_cptr_lets_a_hypervisor_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before v11, CPTR_EL2.TSM of a guest without HCR_EL2.E2H was not put into CPACR_EL1 while its
    hypervisor ran: SME that it had closed was open to it."""

    def closed_to_itself() -> tuple[object, ...]:
        world = World()
        guest = world.guest("hypervisor", sve=2, sme=4, has_el2=True, e2h=False)
        world.start(world.task(on=0), guest)
        world.fill(guest)  # it owns the registers: nothing else traps
        guest.cptr = CPTR_TSM
        world.control(guest)
        return world.do(guest, lambda cpu: cpu.read_svcr())

    assert closed_to_itself() == ("takes", ExceptionClass.SME_ACCESS, 0, 2)
    right = controls.cpacr_of
    monkeypatch.setattr(controls, "cpacr_of", lambda el2: right(el2._replace(cptr=el2.cptr & ~CPTR_TSM)))
    with pytest.raises(Damage, match="gives"):
        closed_to_itself()


def test_the_order_obeys_every_constraint() -> None:
    steps = RULES.load_steps
    assert set(steps) == set(Step)
    assert all(steps.index(order.first) < steps.index(order.then) for order in ORDER)


def test_every_rule_has_a_mutant() -> None:
    broken = {mutant.rule for mutant in (*REVIEWED, *OTHERS, *ORDERS)}
    assert broken == {one.name for one in fields(Rules)} == {row.name for row in ROWS}


@pytest.mark.parametrize("vhe", [False, True])
@pytest.mark.parametrize("svcr", range(4))
@pytest.mark.parametrize("features", [BIG, WIDE_SVE, NO_SVE], ids=["big", "wide-sve", "no-sve"])
def test_a_task_in_any_mode_can_run_a_guest(features: PeFeatures, svcr: int, vhe: bool) -> None:
    """The caller's PSTATE.SM is gone, its ZA and ZT0 are not, and the guest starts in its own mode."""
    world = World(features, vhe=vhe)
    task = world.task(on=0)
    world.mode(task, svcr)
    world.fill(task)
    guest = world.guest(sve=features.sve.max, sme=features.sme.max)
    world.start(task, guest)
    assert world.do(guest, lambda cpu: cpu.read_svcr()) == ("gives", 0)
    world.mode(guest, BOTH)
    world.fill(guest)
    world.stop(task)
    assert world.do(task, lambda cpu: cpu.read_svcr()) == ("gives", svcr & MATRIX)
    world.look(task)
    world.start(task, guest)
    world.look(guest)
