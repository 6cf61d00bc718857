"""Hostile guests: any bytes as code, any registers, any page tables, under a budget.

``python -m tests.unit.cpu.hostile [COUNT [FIRST]]`` runs COUNT of them (100,000) and says how they
ended; the test suite runs a few. A guest that does something other than stop in a documented way is
named by its number, and ``... 1 NUMBER`` runs it again.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter

from tests.unit.cpu.recorded_guests import Registers

from armkvm.arch.sysregs import sysreg
from armkvm.arch.vectors import VectorLengths
from armkvm.cpu.emulation import DECODER
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.guest_memory import GuestMemory
from armkvm.cpu.pe import PE
from armkvm.cpu.port import CPACR_EL1, SCTLR_EL1, SMCR_EL1, TCR_EL1, TTBR0_EL1, TTBR1_EL1, VBAR_EL1, ZCR_EL1
from armkvm.cpu.state import CoreState, VectorState
from armkvm.cpu.stop import Reason

RAM_BASE, RAM_BYTES, ROM_BASE = 0x4000_0000, 0x8000, 0x5000_0000
DOCUMENTED = frozenset(Reason) - {Reason.STOPPED}
_SHARE = 2000  # guests per process, so that one that ends its process is found


def random_word(rng: random.Random) -> int:
    """Any bits, an instruction of ours, a system instruction, a memory access, or any base group."""
    kind = rng.random()
    if kind < 0.25:
        return rng.getrandbits(32)
    if kind < 0.5:
        row = rng.choice(DECODER.rows)
        return row.value | rng.getrandbits(32) & ~row.mask & 0xFFFFFFFF
    if kind < 0.65:
        return 0xD5000000 | rng.getrandbits(22)
    if kind < 0.8:
        return rng.getrandbits(32) & ~(15 << 25) | rng.choice((4, 6, 12, 14)) << 25
    return rng.getrandbits(32) & ~(15 << 25) | rng.choice((5, 7, 8, 9, 10, 11, 13, 15)) << 25


def page_tables(rng: random.Random) -> bytes:
    """A page of descriptors: some plausible, pointing here and there, some not."""
    entries = []
    for _ in range(64):
        draw = rng.random()
        target = rng.choice((RAM_BASE, RAM_BASE, ROM_BASE, rng.getrandbits(40))) + (rng.randrange(8) << 12)
        if draw < 0.3:
            entries.append(
                target & ~0xFFF | rng.choice((0x403, 0x443, 0x703, 0x7C3)) | rng.getrandbits(3) << 52
            )
        elif draw < 0.6:
            entries.append(RAM_BASE | rng.randrange(8) << 12 | 3)
        elif draw < 0.8:
            entries.append(RAM_BASE & ~0x1FFFFF | 0x401 | rng.getrandbits(2) << 6)
        else:
            entries.append(rng.getrandbits(64))
    return b"".join(e.to_bytes(8, "little") for e in entries) * 8


class Hostile:
    """The machine that hostile guests share, one after the other."""

    def __init__(self, vqs: tuple[int, ...]) -> None:
        self.ram, self.rom, self.registers = bytearray(RAM_BYTES), bytearray(0x1000), Registers()
        memory = GuestMemory()
        memory.add(RAM_BASE, self.ram)
        memory.add(ROM_BASE, self.rom, readonly=True)
        sme = VectorLengths([vq for vq in vqs if not vq & vq - 1])
        self.pe = PE(PeFeatures(sve=VectorLengths(vqs), sme=sme), memory, self.registers)

    def run(self, number: int) -> Reason:
        """Let guest `number` run; AssertionError unless it stops within its budget, as documented."""
        rng = random.Random(number)
        self._prepare(rng)
        budget = 3000 if rng.random() < 0.01 else rng.choice((1, 20, 50, 100))
        stop = self.pe.run(instructions=budget)
        assert stop.executed is not None
        assert 0 <= stop.executed <= budget, f"guest {number} executed {stop.executed} of {budget}"
        assert stop.reason in DOCUMENTED, f"guest {number} stopped by {stop.reason}"
        assert stop.executed == budget or stop.reason is not Reason.BUDGET, f"guest {number} gave up early"
        return stop.reason

    def _prepare(self, rng: random.Random) -> None:
        if rng.random() < 0.3:
            code = rng.randbytes(0x1000)
        else:
            code = b"".join(random_word(rng).to_bytes(4, "little") for _ in range(128))
        tables = b"".join(page_tables(rng) for _ in range(2)) if rng.random() < 0.5 else b""
        rest = rng.randbytes(0x800).ljust(RAM_BYTES - len(code) - len(tables), rng.choice((b"\0", b"\x1f")))
        self.ram[:] = (code + rest)[: RAM_BYTES - len(tables)] + tables
        mmu = bool(tables) and rng.random() < 0.7
        self.registers.values = {
            CPACR_EL1: rng.choice((0, 0x3330000, 0x3330000, rng.getrandbits(32))),
            VBAR_EL1: rng.choice((RAM_BASE, RAM_BASE + 0x1000, 0, rng.getrandbits(64))),
            SCTLR_EL1: 1 if mmu else rng.choice((0, 0, 1, rng.getrandbits(64))),
            TCR_EL1: rng.choice((25, 16, 32, rng.getrandbits(40))),
            TTBR0_EL1: RAM_BASE + RAM_BYTES - rng.choice((0x1000, 0x2000)),
            TTBR1_EL1: rng.getrandbits(48),
            ZCR_EL1: rng.getrandbits(4),
            SMCR_EL1: rng.choice((0, 0xC000000F, 0xC0000000 | rng.getrandbits(4))),
            sysreg("TPIDR_EL0"): rng.getrandbits(64),
        }
        core, vectors = CoreState(), VectorState()
        core.pc = rng.choice((RAM_BASE, RAM_BASE, RAM_BASE + 4 * rng.randrange(64), rng.getrandbits(64)))
        core.pstate = rng.choice((0x3C5, 0x3C4, 0x3C0, 0x3C5 | rng.getrandbits(4) << 28))
        core.sp_el0, core.sp_el1 = RAM_BASE + 0x4000, RAM_BASE + rng.randrange(RAM_BYTES)
        core.x[:] = [
            rng.choice((RAM_BASE + rng.randrange(RAM_BYTES), rng.getrandbits(64), rng.randrange(64)))
            for _ in range(31)
        ]
        vectors.svcr, vectors.fpcr = rng.randrange(4), rng.getrandbits(32) & 0x07F7_0000
        vectors.z[:], vectors.p[:] = rng.randbytes(len(vectors.z)), rng.randbytes(len(vectors.p))
        mine, theirs = self.pe.vectors, vectors
        mine.z[:], mine.p[:], mine.svcr, mine.fpcr = theirs.z, theirs.p, theirs.svcr, theirs.fpcr
        self.pe.core = core


def run_share(first: int, count: int) -> Counter[str]:
    """How guests `first` and following ended."""
    machines = [Hostile((1, 2, 4)), Hostile(tuple(range(1, 17)))]
    return Counter(machines[number & 1].run(number).name for number in range(first, first + count))


def campaign(count: int, first: int) -> int:
    """Run guests in shares, each in a process of its own; the number of shares that failed."""
    ended: Counter[str] = Counter()
    failed = 0
    for start in range(first, first + count, _SHARE):
        size = min(_SHARE, first + count - start)
        command = [sys.executable, "-m", "tests.unit.cpu.hostile", "share", str(start), str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3600)
        if done.returncode:
            failed += 1
            sys.stdout.write(f"guests {start} and following: {done.returncode}\n{done.stderr[-600:]}\n")
        for line in done.stdout.splitlines():
            name, number = line.split()
            ended[name] += int(number)
    total = sum(ended.values())
    sys.stdout.write(f"{total} guests: {', '.join(f'{n} {k}' for k, n in ended.most_common())}\n")
    return failed


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["share"]:
        for name, number in run_share(int(arguments[1]), int(arguments[2])).items():
            sys.stdout.write(f"{name} {number}\n")
        return 0
    count, first = (int(a) for a in (*arguments, *("100000", "0")[len(arguments) :]))
    return campaign(count, first)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
