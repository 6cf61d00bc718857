"""An instruction budget is exact, whoever executes the instructions and however they end."""

from __future__ import annotations

import random

import pytest
import unicorn as uc
from tests.unit.cpu.test_pe import B_BACK_1, BASE, ERET, HVC0, NOP, STR_W1_X2, SVC7, VECTORS, Guest
from unicorn import arm64_const as arm

from armkvm.cpu.counting import InstructionCounter, counter_offset
from armkvm.cpu.stop import Reason

BODY = (
    0x91000421,  # add x1, x1, #1
    0x0430E3E6,  # incb x6: emulated
    0x04A20020,  # add z0.s, z1.s, z2.s: emulated, in a row with the one before
    STR_W1_X2,  # into this page: the engine stops translating from it
    0xD53BD043,  # mrs x3, tpidr_el0: the PE's
    0xD51BD041,  # msr tpidr_el0, x1
    SVC7,  # and back, after one more instruction
    0x00000000,  # UNDEFINED: an exception, and its handler skips it
    0xF8408507,  # ldr x7, [x8], #8: leaves memory in the end, which is an exception of the handler's
    0x14000002,  # b over the next
    NOP,
    0xF1000400,  # subs x0, x0, #1
    0x54000001 | (-11 & 0x7FFFF) << 5,  # b.ne to the start
    HVC0,
)
ADVANCE_X4 = 0x91000484
HANDLER = (  # add x4, x4, #1; if EC is not SVC, ELR += 4; eret
    ADVANCE_X4,
    0xD5385209,  # mrs x9, esr_el1
    0xD35AFD29,  # lsr x9, x9, #26
    0xF100553F,  # cmp x9, #0x15
    0x54000080,  # b.eq to eret
    0xD538402A,  # mrs x10, elr_el1
    0x9100114A,  # add x10, x10, #4
    0xD518402A,  # msr elr_el1, x10
    ERET,
)
TRIPS = 4


def guest() -> Guest:
    made = Guest(*BODY)
    for n, word in enumerate(HANDLER):
        made.word(VECTORS - BASE + 0x200 + 4 * n, word)
    core = made.pe.core
    core.x[0], core.x[2], core.x[8] = TRIPS, BASE + 0x800, BASE + 0x10000 - 16
    return made


def seen(made: Guest) -> tuple[object, ...]:
    core = made.pe.core
    return core.pc, core.pstate, list(core.x), core.elr_el1, bytes(made.pe.vectors.z), bytes(made.ram)


def one_by_one() -> list[tuple[object, ...]]:
    """What is seen after each instruction, until the guest calls its hypervisor or reads outside memory."""
    made, states = guest(), []
    states.append(seen(made))
    while True:
        stop = made.pe.run(instructions=1)
        assert stop.executed == 1
        states.append(seen(made))
        if stop.reason is not Reason.BUDGET:
            return states
        assert len(states) < 1000


def test_a_run_of_any_length_ends_where_single_steps_do() -> None:
    states = one_by_one()
    assert len(states) > 50
    rng = random.Random(1)
    for _ in range(60):
        made, at = guest(), 0
        while at < len(states) - 1:
            length = rng.choice((1, 2, 3, rng.randrange(1, 2 * len(states))))
            stop = made.pe.run(instructions=length)
            assert stop.executed is not None
            at += stop.executed
            assert stop.executed == length or at == len(states) - 1
            assert seen(made) == states[at]


@pytest.mark.parametrize("count", [1, 1023, 1024, 1025, 300_000, 1_000_000])
def test_long_budgets_are_exact_too(count: int) -> None:
    """Of a loop whose every other instruction is emulated."""
    trips = min(count, 3000)
    made = Guest(0x0430E3E6, 0x91000421, 0xF1000400, 0x54000001 | (-3 & 0x7FFFF) << 5, 0x91000421, B_BACK_1)
    made.pe.core.x[0] = trips
    stop = made.pe.run(instructions=count)
    assert (stop.reason, stop.executed) == (Reason.BUDGET, count)
    in_loop = min(count, 4 * trips)
    after = count - in_loop
    assert made.pe.core.x[1] == (in_loop + 2) // 4 + (after + 1) // 2
    at = 16 + 4 * (after & 1) if count >= 4 * trips else 4 * (in_loop & 3)
    assert made.pe.core.pc == BASE + at


def test_the_place_of_the_engine_s_counter_is_known() -> None:
    assert counter_offset() is not None


def test_the_counter_counts_what_was_begun() -> None:
    engine = uc.Uc(uc.UC_ARCH_ARM64, uc.UC_MODE_ARM, arm.UC_CPU_ARM64_MAX)
    engine.mem_map(0x1000, 0x1000)
    engine.mem_write(0x1000, NOP.to_bytes(4, "little") * 64)
    counter = InstructionCounter(engine)
    assert counter.begun == 0
    counter.starting(10)
    engine.emu_start(0x1000, 0, count=10)
    assert (counter.begun, counter.exhausted) == (10, True)
    counter.starting(100)
    engine.emu_start(0x1020, 0x1020 + 4 * 7, count=100)
    assert (counter.begun, counter.exhausted) == (17, False)
    counter.reset()
    assert counter.begun == 0
