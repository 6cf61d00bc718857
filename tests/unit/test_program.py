"""Guest programs from files: flat and ELF, every fault named, nothing read past its end."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, strategies as st
from tests.recordings import REPOSITORY

from armkvm.errors import InputError
from armkvm.migration.program import RAM_BASE, Program, parse

MEMORY = 1 << 20
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.elf"))
HEADER_BYTES, SEGMENT_BYTES = 64, 56
BEYOND = (
    "segment[0]: 0xfffffffffffffffc to 0x1fffffffffffffffb is not in the guest's memory, "
    "0x40000000 to 0x40100000"
)


def elf(
    *segments: tuple[int, int, int, int, int],
    entry: int = RAM_BASE,
    kind: int = 2,
    machine: int = 183,
    width: int = 2,
    order: int = 1,
    size: int = SEGMENT_BYTES,
    count: int | None = None,
    tail: bytes = b"",
) -> bytes:
    """A file with segments (type, offset, address, bytes in the file, bytes in memory)."""
    ident = struct.pack("<4sBBB9x", b"\x7fELF", width, order, 1)
    count = len(segments) if count is None else count
    header = struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, entry, 64, 0, 0, 64, size, count, 0, 0, 0)
    rows = b"".join(struct.pack("<IIQQQQQQ", t, 5, at, va, va, n, room, 1) for t, at, va, n, room in segments)
    return ident + header + rows + tail


def faults(data: bytes) -> list[str]:
    with pytest.raises(InputError) as refused:
        parse(data, "guest", MEMORY)
    return [str(fault) for fault in refused.value.faults]


def test_a_flat_binary_is_entered_where_it_is_loaded() -> None:
    assert parse(b"abcd", "guest", MEMORY) == Program("guest", RAM_BASE, ((RAM_BASE, b"abcd"),), MEMORY)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_programs(path: object) -> None:
    program = parse(REPOSITORY.joinpath(str(path)).read_bytes(), "guest", MEMORY)
    assert program.entry == RAM_BASE
    assert program.size == 4096


def test_segments_are_loaded_where_they_say_and_the_rest_is_zero() -> None:
    code = b"CODEDATA"
    at = HEADER_BYTES + 3 * SEGMENT_BYTES
    data = elf(
        (1, at, RAM_BASE + 0x1000, 4, 4),
        (1, at + 4, RAM_BASE + 0x2000, 4, 0x100),
        (4, 0, 0, 99, 99),  # a note
        entry=RAM_BASE + 0x1000,
        tail=code,
    )
    program = parse(data, "guest", MEMORY)
    assert program.segments == ((RAM_BASE + 0x1000, b"CODE"), (RAM_BASE + 0x2000, b"DATA"))
    assert program.entry == RAM_BASE + 0x1000


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", ["file: expected code, and it is empty"]),
        (bytes(MEMORY + 1), ["file: 1,048,577 bytes do not fit the guest's 1,048,576 bytes of memory"]),
        (b"\x7fELF", ["header: an ELF file's has 64 bytes, this file 4"]),
        (
            elf((1, 0, RAM_BASE, 4, 4), width=1, order=2, kind=3, machine=62),
            [
                "header.class: expected 2 (64 bits), got 1",
                "header.data: expected 1 (little-endian), got 2",
                "header.type: expected 2 (a static executable), got 3",
                "header.machine: expected 183 (arm64), got 62",
            ],
        ),
        (elf(), ["header.phnum: expected 1 to 64 headers in the file, got 0"]),
        (elf((1, 0, RAM_BASE, 4, 4), count=2), ["header.phnum: expected 1 to 64 headers in the file, got 2"]),
        (
            elf(
                (1, 0, RAM_BASE - 4, 8, 8), (1, 0, RAM_BASE, 900, 900),
                (1, 0, RAM_BASE, 8, 4), (3, 0, 0, 1, 1),
            ),
            [
                "segment[0]: 0x3ffffffc to 0x40000004 is not in the guest's memory, 0x40000000 to 0x40100000",
                "segment[1]: it ends at 0x384, the file at 0x120",
                "segment[2]: 0x8 bytes of the file for 0x4 bytes of memory",
                "segment[3]: the program needs a dynamic linker; link it statically",
            ],
        ),
        (
            elf((1, 0, RAM_BASE, 4, 4), entry=RAM_BASE + 2),
            ["header.entry: 0x40000002 is no place for code in the guest's memory, 0x40000000 to 0x40100000"],
        ),
        (elf((4, 0, RAM_BASE, 4, 4)), ["header.phnum: no segment is to be loaded"]),
        (
            elf((1, 0, (1 << 64) - 4, 4, (1 << 64) - 1)),
            [BEYOND],
        ),
    ],
)  # fmt: skip
def test_everything_wrong_is_named(data: bytes, told: list[str]) -> None:
    assert faults(data) == told


@given(st.binary(max_size=400), st.integers(0, 300), st.integers(0, 255))
def test_any_bytes_are_a_program_or_an_input_error(tail: bytes, at: int, value: int) -> None:
    data = bytearray(elf((1, 0, RAM_BASE, 4, 4), tail=tail))
    data[at % len(data)] = value
    try:
        program = parse(bytes(data), "guest", MEMORY)
    except InputError as refused:
        told = refused.faults
    else:
        told = ()
        assert all(a >= RAM_BASE and a + len(d) <= RAM_BASE + MEMORY for a, d in program.segments)
    assert all(fault.message for fault in told)
