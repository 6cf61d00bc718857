"""Any bytes as code, any registers: a run ends within its budget, in one of the documented stops."""

from __future__ import annotations

import random

import pytest
from tests.unit.cpu.recorded_guests import Registers

from armkvm.arch.sysregs import sysreg
from armkvm.arch.vectors import VectorLengths
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.guest_memory import GuestMemory
from armkvm.cpu.pe import DECODER, PE
from armkvm.cpu.port import CPACR_EL1, SCTLR_EL1, SMCR_EL1, TCR_EL1, TTBR0_EL1, VBAR_EL1, ZCR_EL1
from armkvm.cpu.stop import Reason

RAM_BASE, RAM_BYTES, BUDGET = 0x4000_0000, 0x4000, 100
BR_X28 = 0xD61F0380


def random_word(rng: random.Random) -> int:
    """Any bits, an instruction of ours, a system instruction, or one of a random base group."""
    kind = rng.random()
    if kind < 0.3:
        return rng.getrandbits(32)
    if kind < 0.6:
        row = rng.choice(DECODER.rows)
        return row.value | rng.getrandbits(32) & ~row.mask & 0xFFFFFFFF
    if kind < 0.75:
        return 0xD5000000 | rng.getrandbits(22)
    return rng.getrandbits(32) & ~(15 << 25) | rng.choice((4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)) << 25


@pytest.mark.parametrize("seed", range(4))
def test_random_guests_stay_within_their_budget(seed: int) -> None:
    rng = random.Random(seed)
    ram, memory, registers = bytearray(RAM_BYTES), GuestMemory(), Registers()
    memory.add(RAM_BASE, ram)
    lengths = VectorLengths([1, 2, 4])
    pe = PE(PeFeatures(sve=lengths, sme=lengths), memory, registers)
    for _ in range(30):
        code = b"".join(random_word(rng).to_bytes(4, "little") for _ in range(64))
        ram[:] = code + rng.randbytes(RAM_BYTES - len(code))
        registers.values = {
            CPACR_EL1: rng.choice((0, 0x3330000, rng.getrandbits(32))),
            VBAR_EL1: rng.choice((RAM_BASE, 0, rng.getrandbits(64))),
            SCTLR_EL1: rng.choice((0, 0, 1, rng.getrandbits(64))),
            TCR_EL1: rng.getrandbits(40),
            TTBR0_EL1: RAM_BASE + rng.randrange(RAM_BYTES),
            ZCR_EL1: rng.getrandbits(4),
            SMCR_EL1: rng.choice((0, 0xC000000F)),
            sysreg("TPIDR_EL0"): rng.getrandbits(64),
        }
        core = pe.core
        core.pc, core.pstate = RAM_BASE, rng.choice((0x3C5, 0x3C4, 0x3C0))
        core.x[:] = [
            rng.choice((RAM_BASE + rng.randrange(RAM_BYTES), rng.getrandbits(64), rng.randrange(64)))
            for _ in range(31)
        ]
        pe.vectors.svcr = rng.randrange(4)
        stop = pe.run(instructions=BUDGET)
        assert stop.executed is not None
        assert stop.executed <= BUDGET
        assert stop.reason is not Reason.STOPPED
