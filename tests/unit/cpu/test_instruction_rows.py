"""The tables of instructions prove themselves; instructions QEMU cannot vouch for have scalar twins here."""

from __future__ import annotations

import inspect
import random

import pytest

from armkvm.arch.vectors import VectorLengths
from armkvm.cpu.allocation import is_allocated
from armkvm.cpu.decode import Row, parse_pattern, signed
from armkvm.cpu.emulation import DECODER
from armkvm.cpu.exceptions import GuestException, OutsideMemory
from armkvm.cpu.features import PeFeatures
from armkvm.cpu.machine import Machine
from armkvm.cpu.state import VectorState


class Flat:
    """Memory from 0, ending with a fault."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def load(self, va: int, size: int) -> bytes:
        if va + size > len(self.data):
            raise GuestException(0x25)
        return bytes(self.data[va : va + size])

    def store(self, va: int, data: bytes) -> None:
        if va + len(data) > len(self.data):
            raise GuestException(0x25)
        self.data[va : va + len(data)] = data


def machine(vl: int, seed: int = 0, memory: Flat | None = None, svcr: int = 3) -> Machine:
    """Random registers at one vector length."""
    rng = random.Random(seed)
    lengths = VectorLengths([vl // 16])
    vectors = VectorState()
    vectors.svcr = svcr
    for n in range(32):
        vectors.z[256 * n : 256 * n + vl] = rng.randbytes(vl)
    for n in range(16):
        vectors.p[32 * n : 32 * n + vl // 8] = rng.randbytes(vl // 8)
    for row in range(vl):
        vectors.za[256 * row : 256 * row + vl] = rng.randbytes(vl)
    vectors.zt0[:] = rng.randbytes(64)
    x = [rng.getrandbits(64) for _ in range(32)]
    return Machine(PeFeatures(sve=lengths, sme=lengths), vectors, memory or Flat(b""), x)


def execute(m: Machine, word: int) -> Row:
    decoded = DECODER.decode(word)
    assert decoded is not None
    decoded.execute(m)
    return decoded.row


def test_no_two_rows_claim_one_word() -> None:
    assert DECODER.overlaps() == []


@pytest.mark.parametrize("row", DECODER.rows, ids=lambda row: row.mnemonic)
def test_a_row_s_fields_are_what_its_function_takes(row: Row) -> None:
    parameters = list(inspect.signature(row.execute).parameters.values())[1:]
    if parameters and parameters[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return
    assert [p.name for p in parameters] == [f.name for f in row.fields]


def test_a_pattern_describes_32_bits() -> None:
    with pytest.raises(ValueError, match="31 bits"):
        parse_pattern("0000 size:2 " + "0" * 25)
    with pytest.raises(ValueError, match="neither bits nor"):
        parse_pattern("0000 size:x " + "0" * 26)


@pytest.mark.parametrize("vl", [16, 64, 256])
@pytest.mark.parametrize(
    ("word", "left_signed", "right_signed", "subtract"),
    [
        (0xA0824420, 1, 1, 0),
        (0xA0824430, 1, 1, 1),
        (0xA1A24420, 0, 0, 0),
        (0xA0A24420, 1, 0, 0),
        (0xA1824420, 0, 1, 0),
    ],
)
def test_byte_outer_products(vl: int, word: int, left_signed: int, right_signed: int, subtract: int) -> None:
    """[SU][SU]MOPA, MOPS za0.s, p1/m, p2/m, z1.b, z2.b, element by element as the architecture has it."""
    m = machine(vl, word)
    before, z, p = bytes(m.vectors.za), bytes(m.vectors.z), bytes(m.vectors.p)
    execute(m, word)
    assert m.vectors.za != before
    count = vl // 4

    def lane(n: int, at: int, pg: int, is_signed: int) -> int:
        if not p[32 * pg + at // 8] >> at % 8 & 1:
            return 0
        value = z[256 * n + at]
        return signed(value, 8) if is_signed else value

    for row in range(0, count, max(1, count // 5)):
        for column in range(0, count, max(1, count // 5)):
            at = 256 * 4 * row + 4 * column
            total = sum(
                lane(1, 4 * row + k, 1, left_signed) * lane(2, 4 * column + k, 2, right_signed)
                for k in range(4)
            )
            start = int.from_bytes(before[at : at + 4], "little")
            expected = start - total if subtract else start + total
            assert int.from_bytes(m.vectors.za[at : at + 4], "little") == expected & 0xFFFFFFFF


@pytest.mark.parametrize("vl", [16, 64])
@pytest.mark.parametrize("size", range(4))
def test_a_vertical_load_zeroes_inactive_elements(vl: int, size: int) -> None:
    """LD1 { za0v.T[w12, 0] }, p1/z, [x16, xzr]."""
    m = machine(vl, size, Flat(bytes((i * 7 + 1) & 255 for i in range(1024))))
    m.x[16] = 64
    word = 0xE0008000 | size << 22 | 31 << 16 | 1 << 10 | 16 << 5
    execute(m, word)
    count, width = vl >> size, 1 << size
    column = (m.x[12] & 0xFFFFFFFF) % count
    for row in range(count):
        at = 256 * (row << size) + column * width
        active = m.vectors.p[32 + (row << size) // 8] >> (row << size) % 8 & 1
        expected = m.memory.load(64 + row * width, width) if active else bytes(width)
        assert m.vectors.za[at : at + width] == expected


@pytest.mark.parametrize("vl", [16, 48, 112, 208, 256])
@pytest.mark.parametrize("size", range(4))
@pytest.mark.parametrize("odd", [0, 1])
def test_uzp_of_predicates_takes_every_other_element_of_both(vl: int, size: int, odd: int) -> None:
    """UZP1, UZP2 p1.T, p2.T, p3.T."""
    lengths = VectorLengths([vl // 16])
    vectors = VectorState()
    rng = random.Random(vl)
    for n in (2, 3):
        vectors.p[32 * n : 32 * n + vl // 8] = rng.randbytes(vl // 8)
    m = Machine(PeFeatures(sve=lengths), vectors, Flat(b""), [0] * 32)
    m.zcr = 15
    m.update_lengths()
    bits = [vectors.p[32 * n + i // 8] >> i % 8 & 1 for n in (2, 3) for i in range(vl)]
    elements = [bits[i : i + (1 << size)] for i in range(0, 2 * vl, 1 << size)][odd::2]
    execute(m, 0x05204800 | size << 22 | 3 << 16 | odd << 10 | 2 << 5 | 1)
    assert [vectors.p[32 + i // 8] >> i % 8 & 1 for i in range(vl)] == [
        bit for element in elements for bit in element
    ]


@pytest.mark.parametrize("size", range(4))
def test_a_first_fault_load_keeps_what_it_got_and_clears_ffr_from_the_fault(size: int) -> None:
    """LDFF1 z0.T, p1/z, [x16, xzr is x17 = 0]; the sixth element faults."""
    width, count = 1 << size, 64 >> size
    m = machine(64, 1, Flat(bytes(range(1, 1 + 5 * width))), svcr=0)
    m.vectors.p[32:64], m.vectors.ffr[:] = b"\xff" * 8 + bytes(24), b"\xff" * 8 + bytes(24)
    m.x[16] = m.x[17] = 0
    dtype = (0, 5, 10, 15)[size]
    execute(m, 0xA4006000 | dtype << 21 | 17 << 16 | 1 << 10 | 16 << 5)
    assert m.vectors.z[: 5 * width] == bytes(range(1, 1 + 5 * width))
    assert m.vectors.z[5 * width : 64] == bytes(64 - 5 * width)
    assert list(m.ffr()[::width]) == [True] * 5 + [False] * (count - 5)
    m.x[16] = 4096
    with pytest.raises((GuestException, OutsideMemory)):
        execute(m, 0xA4006000 | dtype << 21 | 17 << 16 | 1 << 10 | 16 << 5)


@pytest.mark.parametrize("vl", [16, 64, 256])
@pytest.mark.parametrize(
    ("base", "bits", "vectors"),
    [
        (0xC0CC0000, 2, 1),
        (0xC08C4000, 2, 2),
        (0xC08C8000, 2, 4),
        (0xC0CA0000, 4, 1),
        (0xC08A4000, 4, 2),
        (0xC08A8000, 4, 4),
    ],
)
def test_table_lookups(vl: int, base: int, bits: int, vectors: int) -> None:
    """LUTI2, LUTI4, every segment: the 32-bit entry of ZT0 that an index names, cut to the lane."""
    low = {1: 14, 2: 15, 4: 16}[vectors]
    top = {(2, 1): 18, (2, 2): 18, (2, 4): 18, (4, 1): 17, (4, 2): 17, (4, 4): 17}[bits, vectors]
    for size in range(1 if bits == 4 and vectors == 4 else 0, 3):
        elements = vl >> size
        for segment in range(1 << top - low):
            m = machine(vl, segment)
            word = base | segment << low | size << 12 | 9 << 5
            source = int.from_bytes(m.vectors.z[256 * 9 :][:vl], "little")
            execute(m, word)
            segments = (8 << size) // (bits * vectors)
            for i in range(vectors):
                for e in range(0, elements, max(1, elements // 4)):
                    lane = elements * (vectors * (segment % segments) + i) + e
                    at = lane * bits
                    index = source >> at & (1 << bits) - 1
                    expected = m.vectors.zt0[4 * index : 4 * index + (1 << size)]
                    assert m.vectors.z[256 * i + (e << size) :][: 1 << size] == expected


@pytest.mark.parametrize(
    ("word", "name"),
    [
        (0xDAC02020, "abs x0, x1"),
        (0xC4004000, "a gather"),
        (0x1D0795F0, "cpypwtrn"),
        (0x691783A9, "stgp"),
        (0x54D67D19, "bc.ls"),
        (0xC1A00000, "an SME2 multi-vector instruction"),
    ],
)
def test_instructions_of_the_architecture_are_not_taken_for_holes(word: int, name: str) -> None:
    lengths = VectorLengths([1])
    assert is_allocated(word, PeFeatures(sve=lengths, sme=lengths)), name
    assert not is_allocated(0x00000000, PeFeatures(sve=lengths, sme=lengths))
    assert not is_allocated(0xC4004000, PeFeatures())
