"""A context's vector state in memory, as the kernel lays it out, and the moves between it and a CPU.

One buffer holds Z0..Z31, P0..P15 and FFR one after another at some length; the kernel's routines take
the address of FFR in it and find the rest at the *live* length, downwards. Another holds ZA, SVL rows
of SVL bytes, then ZT0. V0..V31 have a place of their own, for contexts without anything wider.

Source: Linux arch/arm64/include/asm/fpsimd.h (sve_ffr_offset), fpsimdmacros.h (sve_save, sme_save_za).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from armkvm.arch.vectors import Vq
from armkvm.cpu.exceptions import GuestException
from armkvm.cpu.legality import SMCR_EZT0, SMCR_FA64
from armkvm.cpu.state import ZT0_BYTES
from armkvm.model.context.registers import Cpu

Z_COUNT, P_COUNT = 32, 16


class HostDamage(Exception):
    """What a broken rule does to the host: it crashes, or kills or refuses a program for no reason.

    Never raised with the rules as they are.
    """


class Kind(Enum):
    """Which of an image's two places is valid."""

    FPSIMD = "V0..V31"
    SVE = "Z, P and FFR"


@dataclass(frozen=True, slots=True)
class Enables:
    """Two features whose registers exist for one context and not for another: FFR in streaming mode
    (FA64), and ZT0 (SME2).
    """

    fa64: bool
    sme2: bool

    @property
    def bits(self) -> int:
        """As SMCR_ELx enables them."""
        return (SMCR_FA64 if self.fa64 else 0) | (SMCR_EZT0 if self.sme2 else 0)


@dataclass(slots=True)
class Image:
    """One context's copy. Buffers are zero when made."""

    v: bytearray = field(default_factory=lambda: bytearray(16 * Z_COUNT))
    zp: bytearray = field(default_factory=bytearray)
    za: bytearray = field(default_factory=bytearray)
    svcr: int = 0
    fpsr: int = 0
    fpcr: int = 0
    fpmr: int = 0
    kind: Kind = Kind.FPSIMD


def ffr_offset(vq: int) -> int:
    """Where FFR lies, in bytes, in a buffer laid out for `vq` quadwords."""
    return Z_COUNT * 16 * vq + P_COUNT * 2 * vq


def zp_bytes(vq: int) -> int:
    """The size of Z, P and FFR at `vq` quadwords."""
    return ffr_offset(vq) + 2 * vq


def za_bytes(vq: int) -> int:
    """The size of ZA and ZT0 at a streaming length of `vq` quadwords."""
    return Vq(vq).vl ** 2 + ZT0_BYTES


def _bottom(cpu: Cpu, buffer: bytearray, ffr_at: int) -> int:
    at = ffr_at - ffr_offset(cpu.vq)
    if at < 0 or at + zp_bytes(cpu.vq) > len(buffer):
        raise HostDamage(
            f"the kernel moves Z, P and FFR at {Vq(cpu.vq).bits} bits outside their buffer of "
            f"{len(buffer)} bytes: memory that is not theirs is overwritten"
        )
    return at


def store_zp(cpu: Cpu, buffer: bytearray, ffr_at: int, *, with_ffr: bool) -> None:
    """Z, P and FFR to memory, FFR at `ffr_at`; zero in FFR's place without it."""
    vq, at = cpu.vq, _bottom(cpu, buffer, ffr_at)
    for n in range(Z_COUNT):
        buffer[at + 16 * vq * n : at + 16 * vq * (n + 1)] = cpu.read_z(n)
    at += Z_COUNT * 16 * vq
    for n in range(P_COUNT):
        buffer[at + 2 * vq * n : at + 2 * vq * (n + 1)] = cpu.read_p(n)
    buffer[ffr_at : ffr_at + 2 * vq] = cpu.read_ffr() if with_ffr else bytes(2 * vq)


def load_zp(cpu: Cpu, buffer: bytearray, ffr_at: int, *, with_ffr: bool) -> None:
    """The other way."""
    vq, at = cpu.vq, _bottom(cpu, buffer, ffr_at)
    if with_ffr:
        cpu.write_ffr(bytes(buffer[ffr_at : ffr_at + 2 * vq]))
    for n in range(Z_COUNT):
        cpu.write_z(n, bytes(buffer[at + 16 * vq * n : at + 16 * vq * (n + 1)]))
    at += Z_COUNT * 16 * vq
    for n in range(P_COUNT):
        cpu.write_p(n, bytes(buffer[at + 2 * vq * n : at + 2 * vq * (n + 1)]))


def store_v(cpu: Cpu, buffer: bytearray) -> None:
    """V0..V31 to memory."""
    for n in range(Z_COUNT):
        buffer[16 * n : 16 * n + 16] = cpu.read_v(n)


def load_v(cpu: Cpu, buffer: bytearray) -> None:
    """The other way: everything of Z above V becomes zero."""
    for n in range(Z_COUNT):
        cpu.write_v(n, bytes(buffer[16 * n : 16 * n + 16]), by_load=True)


def store_za(cpu: Cpu, buffer: bytearray, *, with_zt0: bool) -> None:
    """ZA, and ZT0 after it, to memory."""
    svl = cpu.svl
    if svl * svl + (ZT0_BYTES if with_zt0 else 0) > len(buffer):
        raise HostDamage(f"the kernel stores ZA at {svl} bytes into {len(buffer)} bytes")
    for row in range(svl):
        buffer[row * svl : (row + 1) * svl] = cpu.read_za(row)
    if with_zt0:
        buffer[svl * svl : svl * svl + ZT0_BYTES] = cpu.read_zt0()


def load_za(cpu: Cpu, buffer: bytearray, *, with_zt0: bool) -> None:
    """The other way."""
    svl = cpu.svl
    for row in range(svl):
        cpu.write_za(row, bytes(buffer[row * svl : (row + 1) * svl]))
    if with_zt0:
        cpu.write_zt0(bytes(buffer[svl * svl : svl * svl + ZT0_BYTES]))


def crash(refusal: GuestException, doing: str) -> HostDamage:
    """A kernel's own instruction was refused."""
    return HostDamage(
        f"the host crashes: {doing}, it takes an exception of class {refusal.ec:#04x}, code {refusal.iss:#x}"
    )
