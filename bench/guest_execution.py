"""Instructions per second of the PE, side by side with the bare engine in one run.

Prints one line per measure: a base-instruction loop on the bare engine, on the PE, on the PE with an
instruction budget; and emulated SVE and SME instructions.
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Callable

import unicorn
from unicorn import arm64_const as arm

from armkvm.arch.encoding import SysReg
from armkvm.arch.vectors import VectorLengths
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.guest_memory import GuestMemory
from armkvm.cpu.pe import PE
from armkvm.cpu.port import CPACR_EL1, SMCR_EL1, ZCR_EL1, Refusal
from armkvm.cpu.stop import Reason

BASE = 0x4000_0000
SUBS_X0_1, B_NE_BACK, HVC = 0xF1000400, 0x54000001, 0xD4000002
LOOPS = {
    "base: add, eor, subs, b.ne": (0x91000421, 0xCA010042),
    "SVE: add z0.s, z1.s, z2.s": (0x04A20020,),
    "SVE: fmla z0.s, p1/m, z1.s, z2.s": (0x65A20420,),
    "SVE: eight integer adds in a row": (0x04A20020,) * 8,
    "SME: fmopa za0.s, p1/m, p1/m, z1.s, z2.s": (0x80822420,),
}


class Registers:
    """Everything enabled, everything else zero."""

    def __init__(self) -> None:
        self.values = {CPACR_EL1: 0x3330000, ZCR_EL1: 15, SMCR_EL1: 0xC000000F}

    def read(self, reg: SysReg, el: int) -> int | Refusal:
        return self.current(reg) + 0 * el

    def write(self, reg: SysReg, value: int, el: int) -> Refusal | None:
        self.values[reg] = value + 0 * el
        return None

    def execute(self, operation: SysReg, el: int) -> Refusal | None:
        return None if (operation, el) else Refusal.UNDEFINED

    def current(self, reg: SysReg) -> int:
        return self.values.get(reg, 0)

    def store(self, reg: SysReg, value: int) -> None:
        self.values[reg] = value


def loop(body: tuple[int, ...]) -> bytes:
    """`body`, x0 counted down, then HVC."""
    back = B_NE_BACK | (-(len(body) + 1) & 0x7FFFF) << 5
    return struct.pack(f"<{len(body) + 3}I", *body, SUBS_X0_1, back, HVC)


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def bare(body: tuple[int, ...], trips: int) -> float:
    code = loop(body)
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM, arm.UC_CPU_ARM64_MAX)
    uc.mem_map(BASE, 0x10000)
    uc.mem_write(BASE, code)
    uc.reg_write(arm.UC_ARM64_REG_X0, trips)
    return seconds(lambda: uc.emu_start(BASE, BASE + len(code) - 4))


def ours(body: tuple[int, ...], trips: int, vq: int, *, counted: bool = False, svcr: int = 0) -> float:
    code = loop(body)
    ram = bytearray(0x10000)
    ram[: len(code)] = code
    memory = GuestMemory()
    memory.add(BASE, ram)
    lengths = VectorLengths([vq])
    pe = PE(PeFeatures(sve=lengths, sme=lengths), memory, Registers())
    pe.core.pc, pe.core.x[0] = BASE, trips
    pe.vectors.svcr = svcr
    pe.vectors.p[32:64] = b"\xff" * (2 * vq) + bytes(32 - 2 * vq)
    budget = trips * (len(body) + 2) + 1

    def run() -> None:
        stop = pe.run(instructions=budget if counted else None)
        if stop.reason is not Reason.HVC:
            raise RuntimeError(str(stop))

    return seconds(run)


def main() -> None:
    out = sys.stdout.write
    base = LOOPS["base: add, eor, subs, b.ne"]
    trips = 20_000_000
    reference = bare(base, trips)
    free = ours(base, trips, 4)
    counted = ours(base, trips // 100, 4, counted=True) * 100
    for name, spent in (("bare engine", reference), ("PE", free), ("PE with a budget", counted)):
        rate = trips * 4 / spent / 1e6
        out(f"{name:17} {rate:8.1f} million instructions/s, {spent / reference:.2f} times the bare engine\n")
    for name, body in list(LOOPS.items())[1:]:
        trips = 20_000 // len(body)
        spent = ours(body, trips, 4, svcr=3 if name.startswith("SME") else 0)
        rate = trips * len(body) / spent / 1e3
        out(f"{name:42} {rate:8.1f} thousand instructions/s at 512 bits\n")


if __name__ == "__main__":
    main()
