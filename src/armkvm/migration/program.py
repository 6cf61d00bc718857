"""A guest program from a file: a flat binary, or a static 64-bit ELF file for arm64.

Source: System V ABI (ELF), ELF for the Arm 64-bit Architecture.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from armkvm.errors import Fault, InputError

RAM_BASE = 0x4000_0000
MOST_BYTES = 256 << 20
"""The largest file, and the most memory a program can ask for."""

_MAGIC = b"\x7fELF"
_IDENT = Struct("<4sBBB")  # magic, class, data, version
_HEADER = Struct(
    "<HHIQQQIHHHHHH"
)  # type, machine, version, entry, phoff, shoff, flags, then sizes and counts
_SEGMENT = Struct("<IIQQQQQQ")  # type, flags, offset, vaddr, paddr, filesz, memsz, align
_IDENT_BYTES = 16
_CLASS_64, _LITTLE_ENDIAN, _EXECUTABLE, _AARCH64 = 2, 1, 2, 183
_LOAD, _INTERPRETER = 1, 3
_MOST_SEGMENTS = 64


@dataclass(frozen=True, slots=True)
class Program:
    """What to put where into a guest's memory, and where it starts. Memory begins at `RAM_BASE`."""

    name: str
    entry: int
    segments: tuple[tuple[int, bytes], ...]
    memory: int

    @property
    def size(self) -> int:
        """Bytes that are loaded."""
        return sum(len(data) for _, data in self.segments)


def parse(data: bytes, name: str, memory: int) -> Program:
    """The program in a file, for a machine with `memory` bytes; InputError with everything wrong with it.

    What does not begin like an ELF file is a flat binary, loaded at `RAM_BASE` and entered there.
    """
    if data[: len(_MAGIC)] == _MAGIC:
        return _parse_elf(data, name, memory)
    faults = []
    if not data:
        faults.append(Fault("file", "expected code, and it is empty"))
    if len(data) > memory:
        faults.append(Fault("file", f"{len(data):,} bytes do not fit the guest's {memory:,} bytes of memory"))
    if faults:
        raise InputError(name, faults)
    return Program(name, RAM_BASE, ((RAM_BASE, data),), memory)


def _parse_elf(data: bytes, name: str, memory: int) -> Program:
    if len(data) < _IDENT_BYTES + _HEADER.size:
        raise InputError(name, [Fault("header", f"an ELF file's has 64 bytes, this file {len(data)}")])
    _, width, order, _ = _IDENT.unpack_from(data)
    kind, machine, _, entry, at, _, _, _, size, count, *_ = _HEADER.unpack_from(data, _IDENT_BYTES)
    faults = [
        Fault(f"header.{field}", f"expected {wanted} ({meaning}), got {got}")
        for field, got, wanted, meaning in (
            ("class", width, _CLASS_64, "64 bits"),
            ("data", order, _LITTLE_ENDIAN, "little-endian"),
            ("type", kind, _EXECUTABLE, "a static executable"),
            ("machine", machine, _AARCH64, "arm64"),
            ("phentsize", size, _SEGMENT.size, "64-bit program headers"),
        )
        if got != wanted
    ]
    if not 0 < count <= _MOST_SEGMENTS or at + count * _SEGMENT.size > len(data):
        faults.append(
            Fault("header.phnum", f"expected 1 to {_MOST_SEGMENTS} headers in the file, got {count}")
        )
    if faults:
        raise InputError(name, faults)
    segments = []
    for n in range(count):
        loaded, wrong = _segment(data, at + n * _SEGMENT.size, memory)
        faults += [Fault(f"segment[{n}]", message) for message in wrong]
        if loaded is not None and not wrong:
            segments.append(loaded)
    if entry % 4 or not RAM_BASE <= entry < RAM_BASE + memory:
        faults.append(Fault("header.entry", f"{entry:#x} is no place for code in {_range(memory)}"))
    if not segments and not faults:
        faults.append(Fault("header.phnum", "no segment is to be loaded"))
    if faults:
        raise InputError(name, faults)
    return Program(name, entry, tuple(segments), memory)


def _segment(data: bytes, at: int, memory: int) -> tuple[tuple[int, bytes] | None, list[str]]:
    """(address, contents) of a segment that is to be loaded, and what is wrong with it."""
    kind, _, offset, _, address, size, room, _ = _SEGMENT.unpack_from(data, at)
    if kind == _INTERPRETER:
        return None, ["the program needs a dynamic linker; link it statically"]
    if kind != _LOAD or not room:
        return None, []
    wrong = []
    if size > room:
        wrong.append(f"{size:#x} bytes of the file for {room:#x} bytes of memory")
    if offset + size > len(data):
        wrong.append(f"it ends at {offset + size:#x}, the file at {len(data):#x}")
    if not RAM_BASE <= address <= address + room <= RAM_BASE + memory:
        wrong.append(f"{address:#x} to {address + room:#x} is not in {_range(memory)}")
    return (address, data[offset : offset + size]), wrong


def _range(memory: int) -> str:
    return f"the guest's memory, {RAM_BASE:#x} to {RAM_BASE + memory:#x}"
