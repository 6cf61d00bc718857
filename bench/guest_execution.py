"""Instructions per second of the PE, side by side with the bare engine in one run.

Prints one line per measure: a base-instruction loop on the bare engine, on the PE, on the PE with an
instruction budget; emulated SVE and SME instructions; and a matrix product by outer products against
QEMU's user mode (`qemu-aarch64` or `qemu-aarch64-static`), start-up excluded.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
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


# c = a * b of 256 x 256 singles in streaming mode: x0 a by columns, x1 b by rows, x2 c by rows.
MATRIX = (
    0xD503477F, 0x04A0E3E3, 0xD2800004, 0xD2800005, 0xC0080011, 0x2598E3E0, 0x8B040806, 0x8B050827,
    0xD2802008, 0xA540A0C0, 0xA540A0E1, 0x80810000, 0x911000C6, 0x911000E7, 0xF1000508, 0x54FFFF41,
    0x5280000C, 0x8B042849, 0x8B050929, 0xE0BF0120, 0x91100129, 0x1100058C, 0x6B03019F, 0x54FFFF81,
    0x8B0300A5, 0xF10400BF, 0x54FFFD41, 0x8B030084, 0xF104009F, 0x54FFFCC1, 0xD503467F,
)  # fmt: skip
"""smstart; tiles of za0.s: per step two ld1w and one fmopa; rows stored by st1w; smstop."""
N, VQ, RET = 256, 4, 0xD65F03C0
FMOPAS = N * (N // (4 * VQ)) ** 2


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


def matrix_here() -> float:
    """Seconds for one product on the PE, which must be right."""
    rng = np.random.default_rng(1)
    a, b = (rng.integers(-8, 8, (N, N)).astype(np.float32) for _ in range(2))
    ram = bytearray(0x200000)
    ram[: 4 * len(MATRIX) + 4] = struct.pack(f"<{len(MATRIX) + 1}I", *MATRIX, HVC)
    ram[0x80000:0xC0000], ram[0xC0000:0x100000] = a.T.tobytes(), b.tobytes()
    memory = GuestMemory()
    memory.add(BASE, ram)
    lengths = VectorLengths([VQ])
    pe = PE(PeFeatures(sve=lengths, sme=lengths), memory, Registers())
    pe.core.pc = BASE
    pe.core.x[:3] = [BASE + 0x80000, BASE + 0xC0000, BASE + 0x100000]
    spent = seconds(lambda: require_hvc(pe))
    if ram[0x100000:0x140000] != (a @ b).tobytes():
        raise RuntimeError("the matrix product is wrong")
    return spent


def require_hvc(pe: PE) -> None:
    stop = pe.run()
    if stop.reason is not Reason.HVC:
        raise RuntimeError(str(stop))


def matrix_program(repetitions: int) -> bytes:
    """A static ELF program that multiplies so many times and exits."""
    place = (0xD2A00A00, 0xD2A00C01, 0xD2A00E02)  # x0, x1, x2 := 0x50_0000, 0x60_0000, 0x70_0000
    start = (0xD2800014 | repetitions << 5, *place, 0x94000006, 0xF1000694, 0x54FFFF61)
    words = (*start, 0xD2800000, 0xD2800BA8, 0xD4000001, *MATRIX, RET)
    code = struct.pack(f"<{len(words)}I", *words)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 7, 0, 0x400000, 0x400000, 120 + len(code), 0x400000, 0x1000)
    return header + segment + code


def matrix_in_qemu() -> float | None:
    """Seconds for one product in QEMU's user mode, or None where it is not installed."""
    program = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if program is None:
        return None
    cpu = f"max,sme-default-vector-length={16 * VQ}"
    spent = {}
    with tempfile.TemporaryDirectory() as folder:
        for repetitions in (1, 11):
            path = Path(folder) / f"matrix{repetitions}"
            path.write_bytes(matrix_program(repetitions))
            path.chmod(0o755)
            command = [program, "-cpu", cpu, str(path)]
            spent[repetitions] = seconds(lambda command=command: subprocess.run(command, check=True))
    return (spent[11] - spent[1]) / 10


def compare_matrix() -> str:
    here, there = matrix_here(), matrix_in_qemu()
    text = f"matrix product {N} x {N}, SVL {128 * VQ}: {here:.2f} s here"
    text += f", {FMOPAS / here / 1e3:.1f} thousand fmopa/s, which dominate it"
    if there is None:
        return f"{text}; QEMU's user mode is not installed"
    return f"{text}; {there:.3f} s in QEMU's user mode, {here / there:.1f} times that"


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
    out(compare_matrix() + "\n")


if __name__ == "__main__":
    main()
