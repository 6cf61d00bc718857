"""Random machine states, what QEMU's user mode makes of them, and what ours does."""

from __future__ import annotations

import hashlib
import random
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.differential.cpu.cases import MEMORY, STREAMING, Case
from tests.unit.cpu.recorded_guests import Registers

from armkvm.arch.vectors import VectorLengths
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.guest_memory import GuestMemory
from armkvm.cpu.legality import SMCR_FA64
from armkvm.cpu.pe import PE
from armkvm.cpu.port import CPACR_EL1, SMCR_EL1, ZCR_EL1
from armkvm.cpu.stop import Reason

SHELL = Path(__file__).with_name("shell.S")
SCALARS = 256
MEMORY_BYTES = 16384
CODE_BASE, MEMORY_BASE = 0x4000_0000, 0x4010_0000
TOOLS = ("aarch64-linux-gnu-as", "aarch64-linux-gnu-ld", "aarch64-linux-gnu-objcopy", "qemu-aarch64-static")

_SPECIAL = {
    1: (0, 0x8000, 0x3C00, 0xBC00, 0x7C00, 0xFC00, 0x7E00, 0x7D01, 0x0001, 0x83FF, 0x7BFF, 0x0400, 0x3555),
    2: (
        0, 1 << 31, 0x3F800000, 0xBF800000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7FA00001, 1, 0x807FFFFF,
        0x7F7FFFFF, 0x00800000, 0x4F000000, 0xCF000000, 0x4F800000, 0x3F000000, 0xFFC12345,
    ),
    3: (
        0, 1 << 63, 0x3FF << 52, 0xBFF << 52, 0x7FF << 52, 0xFFF << 52, 0x7FF8 << 48, 0x7FF4000000000001, 1,
        0x800FFFFFFFFFFFFF, 0x7FEFFFFFFFFFFFFF, 0x0010000000000000, 0x43E0000000000000, 0xC3E0000000000000,
        0x43F0000000000000, 0x3FE0000000000000, 0xFFF8000000012345,
    ),
}  # fmt: skip
_FPCR_CHOICES = (0, 0, 1 << 25, 1 << 24, 1 << 22, 2 << 22, 3 << 22, 1 << 19, 3 << 24 | 1 << 19)


def available() -> bool:
    """Whether the assembler and QEMU's user mode are installed."""
    return all(map(shutil.which, TOOLS))


@dataclass(frozen=True, slots=True)
class State:
    """One block of shell.S, taken apart; `tail` is FPCR going in and FPSR coming out."""

    x: tuple[int, ...]
    x17: int
    nzcv: int
    tail: int
    z: bytes
    p: bytes
    memory: bytes
    za: bytes

    def pack(self) -> bytes:
        scalars = struct.pack("<19Q", *self.x, self.x17, self.nzcv, self.tail)
        return scalars.ljust(SCALARS, b"\0") + self.z + self.p + self.memory + self.za

    @classmethod
    def unpack(cls, block: bytes, case: Case, vl: int) -> State:
        numbers = struct.unpack_from("<19Q", block)
        at = SCALARS
        parts = []
        for size in sizes(case, vl):
            parts.append(block[at : at + size])
            at += size
        return cls(numbers[:16], *numbers[16:19], *parts)


def sizes(case: Case, vl: int) -> tuple[int, int, int, int]:
    """Bytes of Z, of P with FFR, of memory and of ZA in a block."""
    memory = MEMORY_BYTES if case.flags & MEMORY else 0
    return 32 * vl, 17 * vl // 8, memory, vl * vl if case.flags & STREAMING else 0


def random_state(case: Case, vl: int, trial: int) -> State:
    """The same state for the same arguments, always."""
    rng = random.Random(f"{case.key} {vl} {trial}")
    near = rng.getrandbits(64)
    x = [rng.getrandbits(64) for _ in range(16)]
    x[3] = near
    x[4] = (near + rng.randrange(-8, 2 * vl)) & (1 << 64) - 1
    if trial == 1:
        x[2] = x[4] = (1 << 63) - 1
        x[1] = x[3] = x[4] - rng.randrange(vl)
    elif trial == 2:
        x[1] = x[2] = x[3] = x[4] = 1 << 63
    z = bytearray(rng.randbytes(32 * vl))
    for n in (4, 5):  # small numbers, as shift amounts, divisors, indices, immediates need
        small = [rng.choice((0, 1, 2, 3, 7, 8, 15, 31, 64, 127, 128, 255)) for _ in range(vl)]
        z[n * vl : (n + 1) * vl] = bytes(small)
        if n == 5 and trial & 1:
            z[n * vl : (n + 1) * vl] = b"".join(
                rng.randrange(70).to_bytes(8, "little") for _ in range(vl // 8)
            )
    z[3 * vl : 4 * vl] = z[vl : 2 * vl]
    z[3 * vl] ^= 1
    if case.fp:
        z = bytearray(_numbers(rng, case.fp, 32 * vl))
    p = b"".join(_predicate(rng, vl) for _ in range(17))
    _z, _p, memory, za = sizes(case, vl)
    za_bytes = _numbers(rng, case.fp, za) if case.fp and za else rng.randbytes(za)
    return State(
        tuple(x),
        rng.randrange(0, 16),
        rng.getrandbits(4) << 28,
        rng.choice(_FPCR_CHOICES) if case.fp else 0,
        bytes(z),
        p,
        rng.randbytes(memory),
        za_bytes,
    )


def _numbers(rng: random.Random, size: int, length: int) -> bytes:
    """Floating-point elements: special ones, ones of like exponent, any bits."""
    width, out = 1 << size, []
    exponent_bits, fraction_bits = {1: (5, 10), 2: (8, 23), 3: (11, 52)}[size]
    bias = (1 << exponent_bits - 1) - 1
    for _ in range(length // width):
        draw = rng.random()
        if draw < 0.2:
            value = rng.choice(_SPECIAL[size])
        elif draw < 0.8:
            exponent = bias + rng.randrange(-3, 4)
            value = (
                rng.getrandbits(1) << 8 * width - 1
                | exponent << fraction_bits
                | rng.getrandbits(fraction_bits)
            )
        else:
            value = rng.getrandbits(8 * width)
        out.append(value.to_bytes(width, "little"))
    return b"".join(out)


def _predicate(rng: random.Random, vl: int) -> bytes:
    kind = rng.randrange(5)
    if kind == 0:
        return b"\xff" * (vl // 8)
    if kind == 1:
        return bytes(vl // 8)
    bits = rng.getrandbits(vl)
    if kind == 2:
        bits &= rng.getrandbits(vl) & rng.getrandbits(vl)
    elif kind == 3:
        bits |= rng.getrandbits(vl) | rng.getrandbits(vl)
    return bits.to_bytes(vl // 8, "little")


def digest(states: list[State]) -> str:
    """Sixteen hexadecimal digits over what came out."""
    return hashlib.sha256(b"".join(s.pack() for s in states)).hexdigest()[:16]


def assemble(cases: list[Case], trials: int, folder: Path) -> Path:
    """shell.S with these cases, as a program for QEMU's user mode."""
    lines = [f"CASE {c.flags}, {trials}, {c.asm}" for c in cases]
    source = SHELL.read_text().replace("        CASES\n", "\n".join(lines) + "\n")
    (folder / "t.S").write_text(source)
    subprocess.run([TOOLS[0], "-o", folder / "t.o", folder / "t.S"], check=True)
    subprocess.run([TOOLS[1], "-o", folder / "t", folder / "t.o"], check=True)
    return folder / "t"


def words(cases: list[Case]) -> list[int]:
    """The encodings of the cases, by the assembler."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arch = ".arch armv9-a+sme+sme-f64+sme-i64+f64mm+i8mm+bf16\n"
        (folder / "w.S").write_text(arch + "".join(f"{c.asm}\n" for c in cases))
        subprocess.run([TOOLS[0], "-o", folder / "w.o", folder / "w.S"], check=True)
        subprocess.run([TOOLS[2], "-O", "binary", folder / "w.o", folder / "w.bin"], check=True)
        code = (folder / "w.bin").read_bytes()
    return list(struct.unpack(f"<{len(cases)}I", code))


def qemu(cases: list[Case], vl: int, trials: int) -> list[list[State]]:
    """What QEMU's user mode makes of every trial of every case."""
    blocks = [random_state(case, vl, trial).pack() for case in cases for trial in range(trials)]
    with tempfile.TemporaryDirectory() as name:
        program = assemble(cases, trials, Path(name))
        cpu = f"max,sve-default-vector-length={vl},sme-default-vector-length={vl}"
        done = subprocess.run(
            [TOOLS[3], "-cpu", cpu, program], input=b"".join(blocks), stdout=subprocess.PIPE, check=True
        )
    out, at, results = done.stdout, 0, []
    for case in cases:
        size = SCALARS + sum(sizes(case, vl))
        results.append([State.unpack(out[at + i * size :][:size], case, vl) for i in range(trials)])
        at += trials * size
    if at != len(out):
        raise RuntimeError(f"QEMU wrote {len(out)} bytes instead of {at}")
    return results


class Ours:
    """A PE that executes one instruction at a time on given states."""

    def __init__(self, vl: int) -> None:
        self.vl = vl
        self.code, self.memory = bytearray(4096), bytearray(MEMORY_BYTES)
        guest = GuestMemory()
        guest.add(CODE_BASE, self.code)
        guest.add(MEMORY_BASE, self.memory)
        registers = Registers()
        registers.values |= {CPACR_EL1: 0x3330000, ZCR_EL1: 15, SMCR_EL1: 15 | SMCR_FA64}
        lengths = VectorLengths([vl // 16])
        self.pe = PE(PeFeatures(sve=lengths, sme=lengths), guest, registers)

    def run(self, word: int, case: Case, state: State) -> State:
        vl, pe = self.vl, self.pe
        self.code[:4] = word.to_bytes(4, "little")
        self.memory[:] = state.memory or bytes(MEMORY_BYTES)
        core, vectors = pe.core, pe.vectors
        core.x[:] = [*state.x, MEMORY_BASE + MEMORY_BYTES // 2, state.x17, *([0] * 13)]
        core.pc, core.pstate = CODE_BASE, 0x3C5 | state.nzcv
        vectors.svcr = 3 if case.flags & STREAMING else 0
        vectors.fpcr, vectors.fpsr = state.tail, 0
        vectors.za[:] = bytes(len(vectors.za))
        for n in range(32):
            vectors.z[256 * n : 256 * (n + 1)] = state.z[n * vl : (n + 1) * vl].ljust(256, b"\0")
        for n in range(17):
            register = vectors.p if n < 16 else vectors.ffr
            at = 32 * n if n < 16 else 0
            register[at : at + 32] = state.p[n * vl // 8 : (n + 1) * vl // 8].ljust(32, b"\0")
        for row in range(len(state.za) // vl):
            vectors.za[256 * row : 256 * row + vl] = state.za[row * vl : (row + 1) * vl]
        stop = pe.run(instructions=1)
        if stop.reason is not Reason.BUDGET or core.pc != CODE_BASE + 4:
            raise AssertionError(f"{case.asm}: {stop}, at {core.pc:#x}")
        return State(
            tuple(core.x[:16]),
            core.x[17],
            core.pstate & 0xF0000000,
            vectors.fpsr,
            b"".join(bytes(vectors.z[256 * n : 256 * n + vl]) for n in range(32)),
            b"".join(bytes(vectors.p[32 * n : 32 * n + vl // 8]) for n in range(16))
            + bytes(vectors.ffr[: vl // 8]),
            bytes(self.memory) if case.flags & MEMORY else b"",
            b"".join(
                bytes(vectors.za[256 * n : 256 * n + vl]) for n in range(vl if case.flags & STREAMING else 0)
            ),
        )
