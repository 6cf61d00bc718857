"""The message format between a client and an agent. `docs/wire.md` says it in full.

A connection starts with eight bytes from the client, `HELLO` and a version, which the agent
answers with its own eight. If the versions agree, both sides exchange *frames*: a 32-bit
length, one byte of `Kind`, and a body of as many bytes as the length says. All numbers are
little-endian. Bodies follow the rows of `OPERATIONS` and `REPLIES`: every field has a type
known beforehand, so a message cannot nest, name code, or claim more elements than it carries.

This module is pure: bytes to values and back. Streams are in `stream`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct, pack, unpack_from
from typing import Any, Generic, TypeVar

from armkvm.abi.regid import RegId
from armkvm.abi.vcpu_features import VcpuFeature
from armkvm.errors import ArmKvmError
from armkvm.state import Exit, Mmio, SystemEvent

MAGIC = b"armkvm"
VERSION = 2
HELLO = Struct("<6sH")
FRAME = Struct("<IB")
MAX_BODY = 4 << 20
"""The longest body either side accepts, in bytes."""
MAX_TEXT = 1 << 16
"""The longest text in a body, in bytes of UTF-8."""
MAX_ANSWER_DATA = 1 << 20
"""What one question may ask for at most, in bytes; clients split larger ones."""


class Kind(IntEnum):
    """What a frame is."""

    CALL = 1  # client: an operation
    ANSWER = 2  # agent: its result
    REFUSED = 3  # agent: KVM said no
    MISTAKE = 4  # agent: the caller's arguments make no sense (ValueError)
    FAILED = 5  # agent: the place failed (PlaceError)
    UNKNOWN = 6  # agent: the place's facts do not say (MissingFacts)
    WELCOME = 7  # agent: the place is open
    BYE = 8  # client: no more calls


class WireError(ArmKvmError):
    """A message is not what the format allows."""


class Reader:
    """Takes values off the front of a body; refuses to read past its end."""

    __slots__ = ("_at", "_body")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._body):
            raise WireError(f"a message ends after {len(self._body)} bytes where {end} were announced")
        data = self._body[self._at : end]
        self._at = end
        return data

    def numbers(self, layout: str, count: int, size: int) -> tuple[int, ...]:
        end = self._at + count * size
        if end > len(self._body):
            raise WireError(f"a message ends after {len(self._body)} bytes where {end} were announced")
        values = unpack_from(f"<{count}{layout}", self._body, self._at)
        self._at = end
        return values

    def number(self, layout: str, size: int) -> int:
        return self.numbers(layout, 1, size)[0]

    def done(self) -> None:
        if self._at != len(self._body):
            raise WireError(f"{len(self._body) - self._at} bytes follow the end of a message")


T = TypeVar("T")
Value = Any  # whatever a row's codec carries
Chunks = list[bytes]


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """How one type travels: `write` appends its bytes, `read` takes them off."""

    name: str
    write: Callable[[Chunks, T], None]
    read: Callable[[Reader], T]


def _scalar(name: str, layout: str) -> Codec[int]:
    packer = Struct(f"<{layout}")

    def write(out: Chunks, value: int) -> None:
        try:
            out.append(packer.pack(value))
        except struct.error:
            raise ValueError(f"{value!r} is not a {name} number") from None

    return Codec(name, write, lambda reader: reader.number(layout, packer.size))


U8 = _scalar("unsigned 8-bit", "B")
U32 = _scalar("unsigned 32-bit", "I")
I64 = _scalar("signed 64-bit", "q")
U64 = _scalar("unsigned 64-bit", "Q")
NOTHING: Codec[None] = Codec("nothing", lambda _out, _value: None, lambda _reader: None)


def _write_bool(out: Chunks, value: bool) -> None:
    out.append(b"\1" if value else b"\0")


def _read_bool(reader: Reader) -> bool:
    value = reader.number("B", 1)
    if value > 1:
        raise WireError(f"a truth value is 0 or 1, not {value}")
    return bool(value)


BOOL = Codec("truth value", _write_bool, _read_bool)


def optional(inner: Codec[T]) -> Codec[T | None]:
    """A truth value, then the value if it was true."""

    def write(out: Chunks, value: T | None) -> None:
        _write_bool(out, value is not None)
        if value is not None:
            inner.write(out, value)

    return Codec(f"{inner.name} or none", write, lambda r: inner.read(r) if _read_bool(r) else None)


def _write_bytes(out: Chunks, value: bytes) -> None:
    out.append(pack("<I", len(value)))
    out.append(value)


BYTES: Codec[bytes] = Codec("bytes", _write_bytes, lambda reader: reader.take(reader.number("I", 4)))


def _write_text(out: Chunks, value: str) -> None:
    data = value.encode("utf-8", "replace")[:MAX_TEXT]
    _write_bytes(out, data)


def _read_text(reader: Reader) -> str:
    size = reader.number("I", 4)
    if size > MAX_TEXT:
        raise WireError(f"a text of {size} bytes exceeds {MAX_TEXT}")
    return reader.take(size).decode("utf-8", "replace")


TEXT = Codec("text", _write_text, _read_text)


def _write_numbers(out: Chunks, values: Iterable[int]) -> None:
    values = tuple(values)
    try:
        out.append(pack(f"<I{len(values)}Q", len(values), *values))
    except struct.error:
        raise ValueError("register ids and numbers in a list have 64 bits") from None


def _read_numbers(reader: Reader) -> tuple[int, ...]:
    return reader.numbers("Q", reader.number("I", 4), 8)


NUMBERS: Codec[tuple[int, ...]] = Codec("unsigned 64-bit numbers", _write_numbers, _read_numbers)


def _read_regs(reader: Reader) -> list[RegId]:
    return [RegId(number) for number in _read_numbers(reader)]


REGS: Codec[Any] = Codec("register ids", _write_numbers, _read_regs)


def _write_blobs(out: Chunks, values: Iterable[bytes]) -> None:
    values = tuple(values)
    out.append(pack(f"<I{len(values)}I", len(values), *map(len, values)))
    out.extend(values)


def _read_blobs(reader: Reader) -> list[bytes]:
    sizes = reader.numbers("I", reader.number("I", 4), 4)
    data = reader.take(sum(sizes))
    values, start = [], 0
    for size in sizes:
        end = start + size
        values.append(data[start:end])
        start = end
    return values


BLOBS: Codec[Any] = Codec("byte strings", _write_blobs, _read_blobs)


def _write_masks(out: Chunks, masks: Mapping[RegId, int]) -> None:
    _write_numbers(out, masks.keys())
    _write_numbers(out, masks.values())


def _read_masks(reader: Reader) -> dict[RegId, int]:
    regs, masks = _read_regs(reader), _read_numbers(reader)
    if len(regs) != len(masks):
        raise WireError(f"{len(regs)} register ids come with {len(masks)} masks")
    return dict(zip(regs, masks, strict=True))


MASKS: Codec[Any] = Codec("register ids with masks", _write_masks, _read_masks)


def _write_feature(out: Chunks, feature: VcpuFeature | int) -> None:
    if isinstance(feature, VcpuFeature):
        _write_bool(out, True)
        _write_text(out, feature.value)
    else:
        _write_bool(out, False)
        I64.write(out, feature)


def _read_feature(reader: Reader) -> VcpuFeature | int:
    if not _read_bool(reader):
        return I64.read(reader)
    name = _read_text(reader)
    try:
        return VcpuFeature(name)
    except ValueError:
        raise WireError(f"no vCPU feature is called {name!r}") from None


FEATURE: Codec[Any] = Codec("vCPU feature", _write_feature, _read_feature)


def _write_features(out: Chunks, features: Iterable[VcpuFeature | int]) -> None:
    features = tuple(features)
    U32.write(out, len(features))
    for feature in features:
        _write_feature(out, feature)


def _read_features(reader: Reader) -> list[VcpuFeature | int]:
    return [_read_feature(reader) for _ in range(U32.read(reader))]


FEATURES: Codec[Any] = Codec("vCPU features", _write_features, _read_features)


def _write_exit(out: Chunks, value: Exit) -> None:
    U32.write(out, value.reason)
    _write_bool(out, value.mmio is not None)
    if value.mmio is not None:
        U64.write(out, value.mmio.address)
        _write_bytes(out, value.mmio.data)
        _write_bool(out, value.mmio.is_write)
    _write_bool(out, value.system_event is not None)
    if value.system_event is not None:
        U32.write(out, value.system_event.type)
        _write_numbers(out, value.system_event.data)
    _write_bytes(out, value.payload)
    _EXECUTED.write(out, value.executed)


_EXECUTED = optional(U64)


def _read_exit(reader: Reader) -> Exit:
    reason = U32.read(reader)
    mmio = event = None
    if _read_bool(reader):
        mmio = Mmio(U64.read(reader), BYTES.read(reader), _read_bool(reader))
    if _read_bool(reader):
        event = SystemEvent(U32.read(reader), _read_numbers(reader))
    return Exit(reason, mmio, event, BYTES.read(reader), _EXECUTED.read(reader))


EXIT = Codec("exit", _write_exit, _read_exit)


def _write_target(out: Chunks, value: tuple[int, Iterable[int]]) -> None:
    U32.write(out, value[0])
    _write_numbers(out, value[1])


def _read_target(reader: Reader) -> tuple[int, tuple[int, ...]]:
    return U32.read(reader), _read_numbers(reader)


TARGET: Codec[Any] = Codec("target with features", _write_target, _read_target)

# A handle is a number the agent gives to what it created; 0 is the place itself. In the rows
# below HANDLE stands for a result that becomes one, and `OPTIONAL_HANDLE` for one or nothing.
HANDLE = Codec("handle", U32.write, U32.read)
OPTIONAL_HANDLE = optional(HANDLE)


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of the protocol: its number, the method, what goes there and what comes back."""

    number: int
    method: str
    arguments: tuple[Codec[Any], ...] = ()
    result: Codec[Any] = NOTHING


# The numbers are part of the format: never reuse one, append new ones and raise VERSION.
OPERATIONS: tuple[Operation, ...] = (
    Operation(1, "close"),
    # the place
    Operation(2, "api_version", (), I64),
    Operation(3, "check_extension", (I64,), I64),
    Operation(4, "create_vm", (U64,), HANDLE),
    # a virtual machine
    Operation(10, "create_vcpu", (I64,), HANDLE),
    Operation(11, "preferred_target", (), TARGET),
    Operation(12, "enable_cap", (I64, NUMBERS, U32)),
    Operation(13, "create_device", (U32, BOOL), OPTIONAL_HANDLE),
    Operation(14, "writable_masks", (U32, NUMBERS), MASKS),
    Operation(15, "set_counter_offset", (U64, U64)),
    Operation(16, "set_memory", (U32, U64, U64, U32)),
    Operation(17, "read_memory", (U64, U64), BYTES),
    Operation(18, "write_memory", (U64, BYTES)),
    # a vCPU
    Operation(30, "init", (FEATURES, optional(U32))),
    Operation(31, "finalize", (FEATURE,)),
    Operation(32, "get_one_reg", (U64,), BYTES),
    Operation(33, "set_one_reg", (U64, BYTES)),
    # values follow one another; their lengths are in the ids
    Operation(34, "get_regs", (NUMBERS,), BYTES),
    Operation(35, "set_regs", (NUMBERS, BYTES)),
    Operation(36, "get_one_reg_null", (U64,)),
    Operation(37, "set_one_reg_null", (U64,)),
    Operation(38, "reg_list", (optional(U64),), REGS),
    Operation(39, "run", (BOOL, BYTES, optional(U64)), EXIT),
    Operation(40, "get_mp_state", (), U32),
    Operation(41, "set_mp_state", (U32,)),
    Operation(42, "get_vcpu_events", (), BYTES),
    Operation(43, "set_vcpu_events", (BYTES,)),
    Operation(44, "set_guest_debug", (U32, BYTES)),
    # attributes, of a device, a vCPU or a virtual machine
    Operation(50, "has_attr", (U32, U64)),
    Operation(51, "get_attr", (U32, U64, U32), BYTES),
    Operation(52, "set_attr", (U32, U64, BYTES)),
    Operation(53, "set_attr_null", (U32, U64)),
    Operation(54, "get_attr_null", (U32, U64)),
)
BY_NUMBER: dict[int, Operation] = {row.number: row for row in OPERATIONS}
BY_METHOD: dict[str, Operation] = {row.method: row for row in OPERATIONS}


def encode_hello() -> bytes:
    """Our greeting."""
    return HELLO.pack(MAGIC, VERSION)


def decode_hello(data: bytes) -> int:
    """The version the other side speaks; WireError if these are not an armkvm greeting."""
    magic, version = HELLO.unpack(data)
    if magic != MAGIC:
        raise WireError(f"no armkvm is at the other end: it sent {data!r}")
    return int(version)


def encode_call(handle: int, method: str, arguments: tuple[Value, ...]) -> bytes:
    """The body of a CALL. A value its row does not allow is a ValueError here, before sending."""
    row = BY_METHOD[method]
    out: Chunks = [pack("<HI", row.number, handle)]
    for codec, value in zip(row.arguments, arguments, strict=True):
        codec.write(out, value)
    return b"".join(out)


def decode_call(body: bytes) -> tuple[int, Operation, list[Any]]:
    """(handle, operation, arguments) of a CALL."""
    reader = Reader(body)
    number, handle = reader.number("H", 2), reader.number("I", 4)
    row = BY_NUMBER.get(number)
    if row is None:
        raise WireError(f"operation {number} is unknown")
    arguments = [codec.read(reader) for codec in row.arguments]
    reader.done()
    return handle, row, arguments


def encode(codec: Codec[T], value: T) -> bytes:
    """A body that holds one value."""
    out: Chunks = []
    codec.write(out, value)
    return b"".join(out)


def decode(codec: Codec[T], body: bytes) -> T:
    """The one value a body holds; WireError if it holds anything else."""
    reader = Reader(body)
    value = codec.read(reader)
    reader.done()
    return value
