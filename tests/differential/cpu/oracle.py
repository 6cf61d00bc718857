"""What QEMU's user mode makes of an instruction in a given state, and what our rows do."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.differential.cpu.samples import (
    MEMORY,
    MEMORY_BASE,
    MEMORY_BYTES,
    SCALARS,
    STREAMING,
    TABLE,
    Sample,
    State,
    sizes,
    state,
)

from armkvm.arch.vectors import VectorLengths
from armkvm.cpu.emulation import DECODER
from armkvm.cpu.exceptions import GuestException
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.machine import Machine
from armkvm.cpu.state import VectorState

SHELL = Path(__file__).with_name("shell.S")
TOOLS = ("aarch64-linux-gnu-as", "aarch64-linux-gnu-ld")
_EMULATORS = ("qemu-aarch64", "qemu-aarch64-static")
Answer = State | None
"""The state after an instruction; None: it is UNDEFINED, or an access of it faulted."""


def version(program: str | None = None) -> str:
    """The first line of what QEMU says of itself, in short: "qemu-aarch64 11.1.3"."""
    asked = [program or str(emulator()), "--version"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return "qemu-aarch64 " + said.split("version ")[1].split()[0]


def emulator() -> str | None:
    """QEMU's user mode, if one is installed that knows SME2."""
    for name in _EMULATORS:
        path = shutil.which(name)
        if path and int(version(path).split()[1].split(".")[0]) >= 11:
            return path
    return None


def available() -> bool:
    """Whether the assembler and a young enough QEMU are installed."""
    return all(map(shutil.which, TOOLS)) and emulator() is not None


def digest(answer: Answer) -> str:
    """Sixteen hexadecimal digits over what came out."""
    return hashlib.sha256(b"refused" if answer is None else answer.pack()).hexdigest()[:16]


def qemu(samples: Iterable[Sample], vl: int) -> list[Answer]:
    """What QEMU's user mode makes of each sample."""
    chosen = list(samples)
    blocks = b"".join(
        s.flags.to_bytes(8, "little") + s.word.to_bytes(8, "little") + state(s, vl).pack() for s in chosen
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([TOOLS[0], "-o", folder / "t.o", SHELL], check=True)
        subprocess.run([TOOLS[1], "-o", folder / "t", folder / "t.o"], check=True)
        cpu = f"max,sve-default-vector-length={vl},sme-default-vector-length={vl}"
        command = [str(emulator()), "-cpu", cpu, str(folder / "t")]
        out = subprocess.run(command, input=blocks, stdout=subprocess.PIPE, check=True).stdout
    at, answers = 0, []
    for sample in chosen:
        refused, at = out[at], at + 8
        size = 0 if refused else SCALARS + sum(sizes(sample.flags, vl))
        answers.append(None if refused else State.unpack(out[at : at + size], sample.flags, vl))
        at += size
    if at != len(out):
        raise RuntimeError(f"QEMU wrote {len(out)} bytes instead of {at}")
    return answers


class Flat:
    """Guest memory at one place; everything else faults."""

    def __init__(self) -> None:
        self.data = bytearray(MEMORY_BYTES)

    def load(self, va: int, size: int) -> bytes:
        at = self._at(va, size)
        return bytes(self.data[at : at + size])

    def store(self, va: int, data: bytes) -> None:
        at = self._at(va, len(data))
        self.data[at : at + len(data)] = data

    def _at(self, va: int, size: int) -> int:
        if not MEMORY_BASE <= va <= MEMORY_BASE + MEMORY_BYTES - size:
            raise GuestException(0x25)
        return va - MEMORY_BASE


class Ours:
    """Our rows, executed on given states at one vector length."""

    def __init__(self, vl: int) -> None:
        self.vl = vl
        self.vectors, self.memory, self.x = VectorState(), Flat(), [0] * 32
        lengths = VectorLengths([vl // 16])
        self.machine = Machine(PeFeatures(sve=lengths, sme=lengths), self.vectors, self.memory, self.x)

    def run(self, sample: Sample) -> Answer:
        before = state(sample, self.vl)
        self._load(before, sample.flags)
        decoded = DECODER.decode(sample.word)
        if decoded is None:
            raise AssertionError(f"{sample.word:#010x} belongs to no row")
        try:
            decoded.execute(self.machine)
        except GuestException:
            return None
        return self._store(sample.flags)

    def _load(self, before: State, flags: int) -> None:
        vl, vectors, machine = self.vl, self.vectors, self.machine
        self.x[:] = [*before.x, MEMORY_BASE + MEMORY_BYTES // 2, before.x17, *([0] * 14)]
        vectors.svcr = 3 if flags & STREAMING else 0
        machine.zcr = machine.smcr = 15
        machine.update_lengths()
        machine.nzcv = before.nzcv
        vectors.fpcr, vectors.fpsr = before.tail, 0
        self.memory.data[:] = before.memory or bytes(MEMORY_BYTES)
        vectors.zt0[:] = before.table or bytes(64)
        for n in range(32):
            vectors.z[256 * n : 256 * n + vl] = before.z[n * vl : (n + 1) * vl]
        for n in range(17):
            register, at = (vectors.p, 32 * n) if n < 16 else (vectors.ffr, 0)
            register[at : at + vl // 8] = before.p[n * vl // 8 : (n + 1) * vl // 8]
        for row in range(len(before.za) // vl):
            vectors.za[256 * row : 256 * row + vl] = before.za[row * vl : (row + 1) * vl]

    def _store(self, flags: int) -> State:
        vl, vectors = self.vl, self.vectors
        p = b"".join(bytes(vectors.p[32 * n : 32 * n + vl // 8]) for n in range(16))
        rows = vl if flags & STREAMING else 0
        return State(
            tuple(self.x[:16]),
            self.x[17],
            self.machine.nzcv,
            vectors.fpsr,
            bytes(vectors.zt0) if flags & TABLE else b"",
            b"".join(bytes(vectors.z[256 * n : 256 * n + vl]) for n in range(32)),
            p + bytes(vectors.ffr[: vl // 8]),
            b"".join(bytes(vectors.za[256 * n : 256 * n + vl]) for n in range(rows)),
            bytes(self.memory.data) if flags & MEMORY else b"",
        )
