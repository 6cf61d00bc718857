"""Instruction words to compare, drawn from the rows themselves, and the state each of them starts from."""

from __future__ import annotations

import random
from dataclasses import dataclass

from armkvm.cpu.decode import Row
from armkvm.cpu.legality import Check

MEMORY, STREAMING, TABLE, WHOLE_FFR = 1, 2, 4, 8
MEMORY_BASE, MEMORY_BYTES = 0x4010_0000, 32768
SCALARS = 256
ADDRESS_VECTORS = range(4, 9)
"""Z registers that hold offsets or addresses wherever an instruction may take its addresses from a vector."""

_STREAMING_CHECKS = {Check.STREAMING, Check.ZA, Check.STREAMING_ZA, Check.ZT0, Check.SME}
_GENERAL = {"Rd", "Rdn", "Rt", "Rn", "Rm", "Xn", "Xm"}

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


@dataclass(frozen=True, slots=True)
class Sample:
    """One instruction word; `flags` combine those above, `seed` names its state."""

    word: int
    flags: int
    seed: int


@dataclass(frozen=True, slots=True)
class State:
    """One block of shell.S, taken apart; `tail` is FPCR going in and FPSR coming out."""

    x: tuple[int, ...]
    x17: int
    nzcv: int
    tail: int
    table: bytes
    z: bytes
    p: bytes
    za: bytes
    memory: bytes

    def pack(self) -> bytes:
        numbers = b"".join(n.to_bytes(8, "little") for n in (*self.x, self.x17, self.nzcv, self.tail))
        scalars = numbers.ljust(SCALARS - 64, b"\0") + self.table.ljust(64, b"\0")
        return scalars + self.z + self.p + self.za + self.memory

    @classmethod
    def unpack(cls, block: bytes, flags: int, vl: int) -> State:
        numbers = [int.from_bytes(block[8 * n : 8 * n + 8], "little") for n in range(19)]
        at, parts = SCALARS, []
        for size in sizes(flags, vl):
            parts.append(block[at : at + size])
            at += size
        table = block[SCALARS - 64 : SCALARS] if flags & TABLE else b""
        z, p, za, memory = parts
        x17, nzcv, tail = numbers[16:19]
        return cls(tuple(numbers[:16]), x17, nzcv, tail, table, z, p, za, memory)


def sizes(flags: int, vl: int) -> tuple[int, int, int, int]:
    """Bytes of Z, of P with FFR, of ZA and of memory in a block."""
    za = vl * vl if flags & STREAMING else 0
    return 32 * vl, 17 * vl // 8, za, MEMORY_BYTES if flags & MEMORY else 0


def is_access(row: Row) -> bool:
    """Whether the instruction of a row reads or writes memory."""
    return row.mnemonic.startswith(("LD", "ST", "PRF"))


def draw(row: Row, rng: random.Random) -> Sample:
    """A word of the row, its addresses within the memory that the state has."""
    word, access = row.value, is_access(row)
    for field in row.fields:
        value = rng.getrandbits(field.width)
        while value == field.excluded:
            value = rng.getrandbits(field.width)
        if field.name == "U" and rng.random() < 0.5:
            value = 1
        if access and field.name == "Rn":
            value = 16
        elif access and field.name == "Rm" and field.width == 5:
            value = 17
        elif field.name in _GENERAL and field.width == 5:
            value %= 16
        elif field.name == "imm9h":
            value = rng.choice((0, 1, 2, 62, 63))
        elif access and "vector" in row.mnemonic and field.name in ("Zm", "Zn"):
            value = rng.choice((4, 5, 6) if field.name == "Zm" else (7, 8))
        word |= value << field.low
    flags = MEMORY if access else 0
    if row.check in _STREAMING_CHECKS or (row.check is Check.SVE and rng.random() < 0.2):
        flags |= STREAMING
    if row.check is Check.ZT0:
        flags |= TABLE | STREAMING
    if row.mnemonic.startswith(("LDFF", "LDNF")):
        flags |= WHOLE_FFR  # lanes whose bit is already false hold what the implementation likes
    return Sample(word, flags, rng.getrandbits(32))


def state(sample: Sample, vl: int) -> State:
    """The same state for the same arguments, always."""
    rng = random.Random(f"{sample.word} {sample.seed} {vl}")
    kind = rng.choice((-1, 0, 0, 1, 2, 3, 4))
    z = bytearray().join(_vector(rng, kind, vl) for _ in range(32))
    if sample.flags & MEMORY:
        for n in ADDRESS_VECTORS:
            z[n * vl : (n + 1) * vl] = _addresses(rng, n, vl)
    p = b"".join(_predicate(rng, vl) for _ in range(16))
    p += b"\xff" * (vl // 8) if sample.flags & WHOLE_FFR else _predicate(rng, vl)
    _z, _p, za_bytes, memory = sizes(sample.flags, vl)
    za = b"".join(_vector(rng, kind, vl) for _ in range(za_bytes // vl))
    return State(
        _numbers(rng, vl),
        rng.randrange(0, 16),
        rng.getrandbits(4) << 28,
        rng.choice(_FPCR_CHOICES),
        rng.randbytes(64) if sample.flags & TABLE else b"",
        bytes(z),
        p,
        za,
        rng.randbytes(memory),
    )


def _numbers(rng: random.Random, vl: int) -> tuple[int, ...]:
    """X0..X15: some at random, some a few elements apart, some at the ends of their range."""
    near = rng.choice((rng.getrandbits(64), 0, (1 << 63) - vl // 2, (1 << 64) - vl // 2, 1 << 31))
    draws = (
        lambda: rng.getrandbits(64),
        lambda: near + rng.randrange(-2, 2 * vl),
        lambda: rng.randrange(-8, 256),
    )
    return tuple(rng.choice(draws)() & (1 << 64) - 1 for _ in range(16))


def _vector(rng: random.Random, kind: int, vl: int) -> bytes:
    """Any bits (0), small integers (4), floating-point elements of a size (1 to 3), or any of these (-1)."""
    if kind == -1:
        kind = rng.randrange(5)
    if kind == 0:
        return rng.randbytes(vl)
    if kind == 4:
        width = rng.choice((1, 1, 2, 4, 8))
        small = (0, 1, 2, 3, 7, 8, 15, 31, 64, 127, 128, 255, (1 << 8 * width) - 1, 1 << 8 * width - 1)
        return b"".join(rng.choice(small).to_bytes(width, "little") for _ in range(vl // width))
    return b"".join(_number(rng, kind).to_bytes(1 << kind, "little") for _ in range(vl >> kind))


def _number(rng: random.Random, size: int) -> int:
    """A floating-point element: a special one, one of ordinary exponent, any bits."""
    bits = 8 << size
    exponent_bits, fraction_bits = {1: (5, 10), 2: (8, 23), 3: (11, 52)}[size]
    chance = rng.random()
    if chance < 0.2:
        return rng.choice(_SPECIAL[size])
    if chance < 0.8:
        exponent = (1 << exponent_bits - 1) - 1 + rng.randrange(-3, 4)
        return rng.getrandbits(1) << bits - 1 | exponent << fraction_bits | rng.getrandbits(fraction_bits)
    return rng.getrandbits(bits)


def _addresses(rng: random.Random, n: int, vl: int) -> bytes:
    """Offsets or addresses, as one of ADDRESS_VECTORS holds them."""
    middle = MEMORY_BASE + MEMORY_BYTES // 2
    if n == 4:  # words, small, of either sign
        return b"".join((rng.randrange(-500, 500) & 0xFFFFFFFF).to_bytes(4, "little") for _ in range(vl // 4))
    if n == 5:  # words, small
        return b"".join(rng.randrange(500).to_bytes(4, "little") for _ in range(vl // 4))
    if n == 6:  # doublewords, small, of either sign
        return b"".join(
            (rng.randrange(-500, 500) & (1 << 64) - 1).to_bytes(8, "little") for _ in range(vl // 8)
        )
    width = 8 if n == 7 else 4
    return b"".join(
        (middle + rng.randrange(-2000, 2000)).to_bytes(width, "little") for _ in range(vl // width)
    )


def _predicate(rng: random.Random, vl: int) -> bytes:
    kind = rng.randrange(6)
    if kind == 0:
        return b"\xff" * (vl // 8)
    if kind == 1:
        return bytes(vl // 8)
    if kind == 5:  # as a counter: an element size, a count of true elements, perhaps inverted
        size = rng.randrange(4)
        counter = rng.randrange(min(4 * vl + 2, 1 << 15 - size)) << size + 1 | 1 << size
        return (counter & 0x7FFF | rng.getrandbits(1) << 15).to_bytes(2, "little").ljust(vl // 8, b"\0")
    bits = rng.getrandbits(vl)
    if kind == 2:
        bits &= rng.getrandbits(vl) & rng.getrandbits(vl)
    elif kind == 3:
        bits |= rng.getrandbits(vl) | rng.getrandbits(vl)
    return bits.to_bytes(vl // 8, "little")


def doubted(row: Row, sample: Sample, vl: int) -> bool:
    """Whether QEMU's answer is not to be believed; scalar twins in `tests/unit/cpu` check these instead.

    QEMU 11.1 leaves inactive elements of a vertical LD1 as they were, and a first-fault load whose first
    active element is not the first of the vector leaves it zero. Pairs of quadwords leave something over
    where the length is an odd number of them, which QEMU does not clear.
    """
    if row.needs == "f64mm" and vl % 32:
        return True
    if "tile slice" in row.mnemonic and row.mnemonic.startswith("LD1"):
        return bool(sample.word >> 15 & 1)
    if "LDFF1" in row.mnemonic or "LDNF1" in row.mnemonic:
        fields = {f.name: f.of(sample.word) for f in row.fields}
        return bool(fields.get("ff", 1))
    return False
